/**
 * TensorBoard's event files, and the images in them; see a run with `tensorboard --logdir runs`.
 *
 * @module
 */
import { join } from "@std/path";
import { type Tensor, type Tensor4D, tf } from "../backend/tf.ts";
import type { CyclopsError } from "../base/errors.ts";
import { fileError } from "../base/files.ts";
import { encodeRgbPng, imageFromUnit, type RgbImage } from "../data/image.ts";
import type { StereoBatch } from "../data/loader.ts";
import { opposite } from "../geometry/warp.ts";
import { CLOSED_GATES, halfCycle, imagePyramid, type Networks, runChain } from "../models/chain.ts";
import { refineOptions, type TrainingOptions } from "./options.ts";

/** CRC-32C (Castagnoli) of each byte. */
const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >>> 1 ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

/** CRC-32C as TFRecord files mask it, so that data which contain checksums keep good ones. */
function maskedCrc(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 255] ^ crc >>> 8;
  crc = ~crc;
  return (crc >>> 15 | crc << 17) + 0xa282ead8 >>> 0;
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((n, { length }) => n + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** A record of a TFRecord file: length, its checksum, data, their checksum. */
function tfRecord(data: Uint8Array): Uint8Array {
  const head = new DataView(new ArrayBuffer(12)), tail = new DataView(new ArrayBuffer(4));
  head.setBigUint64(0, BigInt(data.length), true);
  head.setUint32(8, maskedCrc(new Uint8Array(head.buffer, 0, 8)), true);
  tail.setUint32(0, maskedCrc(data), true);
  return concat([new Uint8Array(head.buffer), data, new Uint8Array(tail.buffer)]);
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push(value % 128 + 128);
  return [...bytes, value];
}

/** Fields of a protocol buffer by number: an integer, a string or bytes, or a number of 4 or 8 bytes. */
type Fields = Readonly<Record<number, number | string | Uint8Array | Float32Array | Float64Array>>;

function encode(fields: Fields): Uint8Array {
  return concat(
    Object.entries(fields).flatMap(([number, value]) => {
      const key = (kind: number) => varint(Number(number) * 8 + kind);
      if (typeof value === "number") return [Uint8Array.from([...key(0), ...varint(value)])];
      const bytes = typeof value === "string"
        ? new TextEncoder().encode(value)
        : new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
      if (value instanceof Float32Array) return [Uint8Array.from(key(5)), bytes];
      if (value instanceof Float64Array) return [Uint8Array.from(key(1)), bytes];
      return [Uint8Array.from([...key(2), ...varint(bytes.length)]), bytes];
    }),
  );
}

let opened = 0;

/** A run's curves and images, in an event file. */
export class Summary implements Disposable {
  readonly #path: string;
  #file: Deno.FsFile | undefined;
  #problem: CyclopsError | undefined;

  /**
   * Opens an event file in a folder, created where it is missing. Several in one folder, as when a run is resumed, are
   * read as one run.
   *
   * @param after The last step that counts in the existing files: TensorBoard forgets later ones, since a resumed run
   * does them again.
   *
   * @example
   * ```ts ignore
   * using summary = new Summary("runs/first/tensorboard");
   * summary.scalar("loss/total", 0.31, 1);
   * await summary.image("pair1/disparity", image, 1);
   * ```
   */
  constructor(folder: string, after?: number) {
    // TensorBoard reads a folder's files in the order of their names.
    const name = `events.out.tfevents.${(Date.now() / 1000).toFixed(3)}.cyclops.${opened++}`;
    this.#path = join(folder, name);
    this.#try(() => {
      Deno.mkdirSync(folder, { recursive: true });
      this.#file = Deno.openSync(this.#path, { write: true, createNew: true });
    });
    this.#event({ 3: "brain.Event:2" });
    // A session that starts: readers forget this step and later ones.
    if (after !== undefined) this.#event({ 2: after + 1, 7: encode({ 1: 1 }) });
  }

  /**
   * Why nothing, or not everything, is on the disk: it is full or read-only; the first reason stays. `undefined` while
   * all is well. Such failures never throw: a run continues without its event file.
   */
  get problem(): CyclopsError | undefined {
    return this.#problem;
  }

  #try(write: () => void): void {
    try {
      write();
    } catch (error) {
      this.#problem ??= fileError("write TensorBoard's event file", this.#path, error);
    }
  }

  /** Appends an `Event`; field numbers are those of `event.proto` and `summary.proto`. */
  #event(fields: Fields): void {
    const record = tfRecord(encode({ 1: Float64Array.of(Date.now() / 1000), ...fields }));
    // After a record that was cut, readers would not find the next one.
    if (this.#problem || !this.#file) return;
    this.#try(() => {
      for (let at = 0; at < record.length;) at += this.#file!.writeSync(record.subarray(at));
    });
  }

  #value(step: number, fields: Fields): void {
    this.#event({ 2: step, 5: encode({ 1: encode(fields) }) });
  }

  /** Adds a point to a curve. @param name E.g. "loss/photometric": TensorBoard groups by the part before "/". */
  scalar(name: string, value: number, step: number): void {
    this.#value(step, { 1: name, 2: Float32Array.of(value) });
  }

  /**
   * Adds an image; TensorBoard shows it as `NAME/image`.
   *
   * @throws {RangeError} When the image's data do not fit its size.
   */
  async image(name: string, image: RgbImage, step: number): Promise<void> {
    const png = await encodeRgbPng(image);
    this.#value(step, { 1: `${name}/image`, 4: encode({ 1: image.height, 2: image.width, 3: 3, 4: png }) });
  }

  /** Closes the file. Calls after that do nothing. */
  close(): void {
    this.#file?.close();
    this.#file = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }
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
