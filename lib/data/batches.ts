/**
 * Training batches, made ahead of time by workers, and plain batches in order for validation and prediction.
 *
 * @module
 */
import { join } from "@std/path";
import { CyclopsError, receiveError } from "../base/errors.ts";
import { hash32 } from "../base/random.ts";
import { integer, type OptionsOf, resolveOptions } from "../base/options.ts";
import type { ImageSize } from "../geometry/camera.ts";
import { type AugmentationOptions, fillPair, NO_AUGMENTATION, resolveAugmentation } from "./augment.ts";
import { BatchMaker, type BatchPlan, readPair, type StereoBatch } from "./batch_maker.ts";
import type { StereoDataset } from "./dataset.ts";
import { readRgb } from "./image.ts";
import { PairCache } from "./pair_cache.ts";
import type { PrefetchReply, PrefetchRequest } from "./prefetch_worker.ts";
import type { PairSide } from "./split.ts";

export type { StereoBatch } from "./batch_maker.ts";

/** How batches are made ahead of time; none of these changes what is in them. */
export const loaderOptions = {
  workers: integer({
    default: 1,
    min: 0,
    max: 64,
    help: "Workers that read and augment images; each keeps two cores busy while it decodes, 0 uses none.",
  }),
  prefetch: integer({
    default: 4,
    min: 1,
    max: 1024,
    unit: "batches",
    help: "How far the workers run ahead.",
  }),
  cacheMib: integer({
    default: 1024,
    min: 0,
    max: 2 ** 20,
    unit: "MiB",
    help: "Memory for decoded images.",
  }),
} as const;

/** Resolved {@linkcode loaderOptions}. */
export type LoaderOptions = OptionsOf<typeof loaderOptions>;

/** What {@linkcode openBatches} needs to know. */
export interface BatchOptions extends Partial<LoaderOptions> {
  /** Size of the views that the network sees. */
  readonly size: ImageSize;
  /** Pairs a batch. */
  readonly batch: number;
  /** Decides the order of the pairs and their augmentation. */
  readonly seed: number;
  /** As {@linkcode resolveAugmentation} gives it. @default METHOD.md's */
  readonly augmentation?: AugmentationOptions;
  /** Number of the batch that comes first, as when a run is resumed. @default 0 */
  readonly first?: number;
}

/** An endless sequence of training batches. Close it, or its workers keep the process alive. */
export interface BatchSource extends Disposable {
  /** Number of the batch that {@linkcode next} gives next. */
  readonly step: number;
  /** Batches in an epoch: pairs of the data set / pairs a batch; need not be whole. */
  readonly stepsPerEpoch: number;
  /**
   * The next batch; it belongs to the caller.
   *
   * @throws {CyclopsError} When an image cannot be read, naming it.
   */
  next(): Promise<StereoBatch>;
  /** Goes on with batch number `step`, as when a run is resumed. */
  seek(step: number): void;
  /** Ends the workers. */
  close(): void;
}

/** Whatever makes batch k: this thread or workers. */
interface Making {
  make(step: number): Promise<StereoBatch>;
  close(): void;
}

/** One worker and the batches it still owes. */
class PrefetchWorker implements Making {
  readonly #worker: Worker;
  readonly #owed = new Map<number, PromiseWithResolvers<StereoBatch>>();
  #failure: CyclopsError | undefined;

  constructor(plan: BatchPlan) {
    this.#worker = new Worker(new URL("./prefetch_worker.ts", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }: MessageEvent<PrefetchReply>) => this.#settle(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(new CyclopsError(`Cannot read images ahead of time: the worker stopped (${event.message})`));
    };
    this.#send({ plan });
  }

  get owed(): number {
    return this.#owed.size;
  }

  #send(request: PrefetchRequest): void {
    this.#worker.postMessage(request);
  }

  #settle(reply: PrefetchReply): void {
    const owed = this.#owed.get(reply.step);
    this.#owed.delete(reply.step);
    if ("batch" in reply) return owed?.resolve(reply.batch);
    owed?.reject(receiveError(reply.error));
  }

  #fail(error: CyclopsError): void {
    this.#failure = error;
    for (const { reject } of this.#owed.values()) reject(error);
    this.#owed.clear();
  }

  make(step: number): Promise<StereoBatch> {
    if (this.#failure) return Promise.reject(this.#failure);
    let owed = this.#owed.get(step);
    if (!owed) {
      owed = Promise.withResolvers<StereoBatch>();
      this.#owed.set(step, owed);
      this.#send({ step });
    }
    return owed.promise;
  }

  close(): void {
    this.#worker.terminate();
    this.#fail(new CyclopsError("Cannot make a batch: the source of batches was closed"));
  }
}

/** Several workers; the one with the least to do gets the next batch. */
class PrefetchPool implements Making {
  readonly #workers: readonly PrefetchWorker[];

  constructor(plan: BatchPlan, workers: number) {
    this.#workers = Array.from({ length: workers }, () => new PrefetchWorker(plan));
  }

  make(step: number): Promise<StereoBatch> {
    return this.#workers.reduce((a, b) => b.owed < a.owed ? b : a).make(step);
  }

  close(): void {
    for (const worker of this.#workers) worker.close();
  }
}

class QueuedBatches implements BatchSource {
  readonly stepsPerEpoch: number;
  readonly #making: Making;
  readonly #ahead: number;
  readonly #queue = new Map<number, Promise<StereoBatch>>();
  #step = 0;

  constructor(making: Making, ahead: number, stepsPerEpoch: number, first: number) {
    this.#making = making;
    this.#ahead = ahead;
    this.stepsPerEpoch = stepsPerEpoch;
    this.seek(first);
  }

  get step(): number {
    return this.#step;
  }

  #ask(step: number): Promise<StereoBatch> {
    let batch = this.#queue.get(step);
    if (!batch) {
      batch = this.#making.make(step);
      // Whoever takes it sees the error; until then it is not unhandled.
      batch.catch(() => {});
      this.#queue.set(step, batch);
    }
    return batch;
  }

  #fill(): void {
    for (let i = 0; i < this.#ahead; i++) this.#ask(this.#step + i);
  }

  next(): Promise<StereoBatch> {
    const batch = this.#ask(this.#step);
    this.#queue.delete(this.#step++);
    this.#fill();
    return batch;
  }

  seek(step: number): void {
    if (!Number.isSafeInteger(step) || step < 0) {
      throw new RangeError(`Cannot go to batch ${step}: wanted a whole number, at least 0`);
    }
    this.#step = step;
    for (const old of [...this.#queue.keys()]) {
      if (old < step || old >= step + this.#ahead) this.#queue.delete(old);
    }
    this.#fill();
  }

  close(): void {
    this.#queue.clear();
    this.#making.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * Starts making training batches. Batch k has the same bytes for the same data, seed, size, batch size and
 * augmentation, whatever the number of workers and wherever the sequence was entered.
 *
 * @throws {UsageError} When an option is not allowed.
 *
 * @example
 * ```ts ignore
 * using batches = openBatches(await openDataset({ data: "data/street" }), {
 *   size: { height: 64, width: 192 },
 *   batch: 8,
 *   seed: 1,
 * });
 * batches.seek(resumedStep);
 * const { left, right } = await batches.next(); // float32 [8, 64, 192, 3]
 * ```
 */
export function openBatches(dataset: StereoDataset, options: BatchOptions): BatchSource {
  const { size, batch, seed, augmentation = resolveAugmentation(), first = 0, ...given } = options;
  const { workers, prefetch, cacheMib } = resolveOptions("batches", loaderOptions, { ...given });
  for (const [name, value] of Object.entries({ height: size.height, width: size.width, batch })) {
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new RangeError(`Cannot make batches: ${name} is ${value}, wanted a whole number above 0`);
    }
  }
  const cache = openPairCache(dataset, size, cacheMib);
  const plan: BatchPlan = {
    root: dataset.root,
    pairs: dataset.pairs,
    cropBottom: dataset.cropBottom,
    size: { height: size.height, width: size.width },
    batch,
    seed,
    augmentation,
    cache: cache.handle,
  };
  const stepsPerEpoch = dataset.pairs.length / batch;
  if (workers > 0) return new QueuedBatches(new PrefetchPool(plan, workers), prefetch, stepsPerEpoch, first);
  const maker = new BatchMaker(plan);
  return new QueuedBatches({ make: (step) => maker.make(step), close() {} }, 0, stepsPerEpoch, first);
}

/** How {@linkcode sequentialBatches} goes through a data set. */
export interface SequentialOptions {
  /** Size of the views that the network sees. */
  readonly size: ImageSize;
  /** Pairs a batch; the last one may have fewer. @default 8 */
  readonly batch?: number;
  /** Only the first so many pairs. @default all */
  readonly limit?: number;
  /** Read only one view; the other's array is empty. @default "both" */
  readonly side?: PairSide;
  /** Keeps decoded pairs between passes (for `side: "both"`); see {@linkcode openPairCache}. @default none */
  readonly cache?: PairCache;
}

/** What decides the pixels of all pairs, as a short text. */
function cacheKey({ root, pairs, cropBottom }: StereoDataset, { height, width }: ImageSize): string {
  const names = pairs.map(({ left, right }) => `${left} ${right}`).join("\n");
  return `${root} ${pairs.length} ${hash32(names)} ${cropBottom} ${height}x${width}`;
}

/**
 * A cache for {@linkcode sequentialBatches}, for data that are gone through again and again. It serves this data set
 * at this size alone.
 */
export function openPairCache(dataset: StereoDataset, size: ImageSize, limitMib = 256): PairCache {
  const viewBytes = size.height * size.width * 3;
  return PairCache.create(dataset.pairs.length, viewBytes, limitMib, cacheKey(dataset, size));
}

const NO_CACHE = PairCache.create(0, 1, 0);

async function readBatch(
  dataset: StereoDataset,
  from: number,
  to: number,
  { size, side = "both", cache }: SequentialOptions,
): Promise<StereoBatch> {
  const { root, pairs, cropBottom } = dataset, count = to - from;
  const values = count * size.height * size.width * 3;
  const left = new Float32Array(side === "right" ? 0 : values);
  const right = new Float32Array(side === "left" ? 0 : values);
  await Promise.all(
    pairs.slice(from, to).map(async (names, i) => {
      if (side === "both") {
        const pair = await readPair({ root, pairs, cropBottom, size }, from + i, cache ?? NO_CACHE);
        return fillPair(pair, size.width, NO_AUGMENTATION, left, right, i);
      }
      const { data } = await readRgb(join(root, names[side]), size, cropBottom);
      const out = side === "left" ? left : right;
      for (let at = 0; at < data.length; at++) out[i * data.length + at] = data[at] / 255;
    }),
  );
  const ids = pairs.slice(from, to).map((pair) => pair.left);
  return { left, right, batch: count, height: size.height, width: size.width, step: 0, ids };
}

/**
 * Goes through a data set in its own order, without augmentation; the next batch is read while the caller works on
 * the one it has.
 *
 * @throws {CyclopsError} When an image cannot be read, naming it.
 * @throws {RangeError} When the cache was opened for other data or another size.
 */
export async function* sequentialBatches(
  dataset: StereoDataset,
  options: SequentialOptions,
): AsyncGenerator<StereoBatch, void, void> {
  const { batch = 8, limit = Infinity, size, cache } = options;
  if (cache && cache.handle.key !== cacheKey(dataset, size)) {
    throw new RangeError(
      `Cannot use the cache: it keeps other pairs, another size or another crop than ${dataset.name} at ` +
        `${size.height}x${size.width}; open one by openPairCache for these`,
    );
  }
  const count = Math.min(dataset.pairs.length, limit);
  const read = (step: number) => {
    const made = readBatch(dataset, step * batch, Math.min(count, (step + 1) * batch), options);
    made.catch(() => {});
    return made;
  };
  let ahead = read(0);
  for (let step = 0; step * batch < count; step++) {
    const current = await ahead;
    if ((step + 1) * batch < count) ahead = read(step + 1);
    yield { ...current, step };
  }
}

/**
 * Reads one pair as a batch of one, [1, height, width, 3].
 *
 * @throws {CyclopsError} When an image cannot be read, naming it.
 */
export async function readStereo(
  dataset: StereoDataset,
  index: number,
  size: ImageSize,
): Promise<StereoBatch> {
  if (!(index in dataset.pairs)) {
    throw new RangeError(
      `Cannot read pair ${index} of ${dataset.name}: it has ${dataset.pairs.length} pairs`,
    );
  }
  return await readBatch(dataset, index, index + 1, { size });
}
