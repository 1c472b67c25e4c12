/**
 * TensorBoard's event files, written by TensorFlow's own summary operations, and the images in them; see a run with
 * `tensorboard --logdir runs`. Only the tensorflow backend has these operations; elsewhere nothing is written, and
 * `metrics.jsonl` has the same numbers.
 *
 * @module
 */
import {
  attr,
  type Attribute,
  bytesToNative,
  DTYPE,
  executeNative,
  type NativeInput,
  NativeTensor,
} from "../backend/ops.ts";
import { currentBinding } from "../backend/binding.ts";
import { type Tensor, type Tensor4D, tf } from "../backend/tf.ts";
import { CyclopsError } from "../base/errors.ts";
import { imageFromUnit, type RgbImage } from "../data/image.ts";
import type { StereoBatch } from "../data/loader.ts";
import { opposite } from "../geometry/warp.ts";
import { CLOSED_GATES, halfCycle, imagePyramid, type Networks, runChain } from "../models/chain.ts";
import { refineOptions, type TrainingOptions } from "./options.ts";

/** A run's curves and images. */
export interface Summary extends Disposable {
  /**
   * Why nothing, or not everything, is on the disk: another backend, a full disk, a read-only folder; the first
   * reason stays. `undefined` while all is well. Such failures never throw: a run continues without its event file.
   */
  readonly problem: CyclopsError | undefined;
  /** Adds a point to a curve. @param name E.g. "loss/photometric": TensorBoard groups by what stands before "/". */
  scalar(name: string, value: number, step: number): void;
  /**
   * Adds an image; TensorBoard shows it as `NAME/image`.
   *
   * @throws {RangeError} When the image's data do not fit its size.
   */
  image(name: string, image: RgbImage, step: number): void;
  /** Writes what was added to the disk, which also happens every ten seconds. */
  flush(): void;
  /** Flushes and closes the file. Calls after that do nothing. */
  close(): void;
}

/** How long, and how many at most, records wait in memory: TensorBoard reads them during the run. */
const FLUSH_MS = 10_000, QUEUE = 1000;

let opened = 0;

/** A native scalar of a type that tfjs lacks. */
function int64(value: number): NativeTensor {
  const id = currentBinding()!.createTensor([], DTYPE.int64, BigInt64Array.of(BigInt(value)));
  return new NativeTensor({ id, shape: [], dtype: DTYPE.int64 });
}

/** Fields of `event.proto` and its `SessionLog`, by which a reader drops what an earlier file says of a step. */
const EVENT_TIME = 1, EVENT_STEP = 2, EVENT_SESSION = 7, SESSION_STATUS = 1, SESSION_START = 1;

/** An `Event` that tells readers to forget this step and later ones. */
function restartEvent(step: number): Uint8Array {
  const time = new Uint8Array(8);
  new DataView(time.buffer).setFloat64(0, Date.now() / 1000, true);
  const varint: number[] = [];
  for (let rest = step; rest > 0 || varint.length === 0; rest = Math.floor(rest / 128)) {
    varint.push(rest % 128 + (rest >= 128 ? 128 : 0));
  }
  const key = (field: number, kind: number) => field << 3 | kind;
  return Uint8Array.from([
    key(EVENT_TIME, 1),
    ...time,
    key(EVENT_STEP, 0),
    ...varint,
    key(EVENT_SESSION, 2),
    2,
    key(SESSION_STATUS, 0),
    SESSION_START,
  ]);
}

class EventFile implements Summary {
  readonly #writer: NativeTensor;
  readonly #folder: string;
  #problem: CyclopsError | undefined;
  #closed = false;

  constructor(folder: string, after: number | undefined) {
    this.#folder = folder;
    // Writers of one name share one file: each gets a name of its own.
    const name = `cyclops-summary-${opened++}`;
    [this.#writer] = executeNative(
      "SummaryWriter",
      [attr.string("shared_name", name), attr.string("container", "")],
      [],
    );
    this.#try(() => {
      tf.tidy(() => {
        const inputs = [
          this.#writer,
          tf.scalar(folder, "string"),
          tf.scalar(QUEUE, "int32"),
          tf.scalar(FLUSH_MS, "int32"),
          tf.scalar("", "string"),
        ];
        executeNative("CreateSummaryFileWriter", [], inputs, 0);
        if (after === undefined) return;
        const event = tf.tensor1d([restartEvent(after + 1)] as unknown as string[], "string").asScalar();
        executeNative("ImportEvent", [], [this.#writer, event], 0);
      });
    });
    if (this.#problem) this.#end();
  }

  get problem(): CyclopsError | undefined {
    return this.#problem;
  }

  #try(write: () => void): void {
    try {
      write();
    } catch (error) {
      if (!(error instanceof CyclopsError)) throw error;
      this.#problem ??= new CyclopsError(
        `Cannot write TensorBoard's event file in ${this.#folder}: ${error.message}`,
        { cause: error },
      );
    }
  }

  /** Runs a write operation with the inputs all of them begin with: writer, step, then its own. */
  #write(name: string, attributes: readonly Attribute[], step: number, inputs: () => NativeInput[]): void {
    if (this.#closed) return;
    const held: NativeTensor[] = [];
    const own = (input: NativeInput) => {
      if (input instanceof NativeTensor) held.push(input);
      return input;
    };
    try {
      this.#try(() =>
        tf.tidy(() => {
          const all = [own(int64(step)), ...inputs().map(own)];
          executeNative(name, attributes, [this.#writer, ...all], 0);
        })
      );
    } finally {
      for (const tensor of held) tensor.dispose();
    }
  }

  scalar(name: string, value: number, step: number): void {
    this.#write(
      "WriteScalarSummary",
      [attr.type("T", "float32")],
      step,
      () => [tf.scalar(name, "string"), tf.scalar(value, "float32")],
    );
  }

  image(name: string, { width, height, data }: RgbImage, step: number): void {
    if (data.length !== width * height * 3) {
      throw new RangeError(
        `Cannot log the image ${name}: ${data.length} bytes for ${width}×${height} px, expected ${
          width * height * 3
        }`,
      );
    }
    this.#write("WriteImageSummary", [attr.type("T", "uint8"), attr.int("max_images", 1)], step, () => [
      tf.scalar(name, "string"),
      bytesToNative(data, [1, height, width, 3]),
      // The color of values that are not finite; bytes have none.
      bytesToNative(Uint8Array.of(255, 0, 0), [3]),
    ]);
  }

  flush(): void {
    if (!this.#closed) this.#try(() => executeNative("FlushSummaryWriter", [], [this.#writer], 0));
  }

  close(): void {
    if (this.#closed) return;
    this.flush();
    this.#end();
  }

  #end(): void {
    this.#closed = true;
    this.#try(() => executeNative("CloseSummaryWriter", [], [this.#writer], 0));
    this.#writer.dispose();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** The summary of a backend that cannot write any. */
class NoSummary implements Summary {
  readonly problem: CyclopsError | undefined = new CyclopsError(
    `Cannot write TensorBoard's event file: the backend is ${tf.getBackend()}, only tensorflow writes them; ` +
      `metrics.jsonl has the same numbers`,
  );
  scalar(): void {}
  image(): void {}
  flush(): void {}
  close(): void {}
  [Symbol.dispose](): void {}
}

/**
 * Opens an event file in a folder, created where it is missing. Several in one folder, as when a run is resumed, are
 * read as one run.
 *
 * @param options.after The last step that counts in the existing files: TensorBoard forgets later ones, since a
 * resumed run does them again.
 * @returns A summary whose `problem` says when nothing is written.
 *
 * @example
 * ```ts ignore
 * using summary = openSummary("runs/first/tensorboard");
 * if (summary.problem) console.error(summary.problem.message);
 * summary.scalar("loss/total", 0.31, 1);
 * summary.image("panel/street", image, 1);
 * ```
 */
export function openSummary(folder: string, options: { readonly after?: number } = {}): Summary {
  return currentBinding() ? new EventFile(folder, options.after) : new NoSummary();
}

/** Difference of two images, in [0,1], that is drawn white. */
const STRONG_DIFFERENCE = 0.3;

/**
 * Images of what a chain of networks does with a pair: the seen view, the opposite one, the synthesized opposite view
 * and the disparity; of a longer chain also the re-synthesized input, the inconsistency (mean |input − re-synthesis|)
 * and the refined disparity. Disparities are drawn gray, the nearest white.
 *
 * @param networks The chain that is trained, as a `Trainer` has it.
 * @param teacher The teacher that a student is distilled from.
 * @param name Before each image's own name: "pair1" gives "pair1/disparity".
 */
export async function chainImages(
  { networks, teacher, options, pair, name }: {
    readonly networks: Networks;
    readonly teacher?: Networks;
    readonly options: TrainingOptions;
    readonly pair: StereoBatch;
    readonly name: string;
  },
): Promise<Record<string, RgbImage>> {
  const { view, border, privilegedTeacher } = options;
  const { height, width } = pair;
  const drawn = tf.tidy(() => {
    const shape: [number, number, number, number] = [1, height, width, 3];
    const source = tf.tensor4d(pair[view], shape), target = tf.tensor4d(pair[opposite(view)], shape);
    const pyramid = imagePyramid(source);
    const chain = runChain(teacher ?? networks, pyramid, {
      view,
      border,
      refine: refineOptions(options),
      gates: CLOSED_GATES,
      privileged: privilegedTeacher ? target : undefined,
    });
    const student = teacher
      ? halfCycle(networks.student, pyramid, opposite(view), { border })
      : chain.student;
    const gray = (values: Tensor4D, white: Tensor | number): Tensor4D =>
      tf.tile(tf.div<Tensor4D>(values, white), [1, 1, 1, 3]);
    const disparity = (values: Tensor4D) => gray(values, tf.max(values));
    const images: Record<string, Tensor4D> = {
      input: source,
      opposite: target,
      synthesized: student.synthesized[0],
      disparity: disparity(student.aligned[0].source),
    };
    if (chain.backward) {
      images.resynthesis = chain.backward.synthesized[0];
      const difference = tf.mean(tf.abs(tf.sub(source, images.resynthesis)), 3, true) as Tensor4D;
      images.inconsistency = gray(difference, STRONG_DIFFERENCE);
    }
    if (chain.refined) images.refined = disparity(chain.refined.aligned[0].source);
    return images;
  });
  const images: Record<string, RgbImage> = {};
  for (const [own, values] of Object.entries(drawn)) {
    images[`${name}/${own}`] = imageFromUnit({ width, height }, await values.data());
    values.dispose();
  }
  return images;
}
