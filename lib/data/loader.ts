/**
 * Stereo batches: an endless augmented sequence for training, made ahead of time by workers, and plain batches in
 * order for validation and prediction.
 *
 * The content of training batch k depends on the data, the options and k alone, so that any worker may make it and a
 * resumed run sees what an uninterrupted one would have seen.
 *
 * @module
 */
import { CyclopsError, receiveError, type SentError } from "../base/errors.ts";
import { integer, type OptionsOf, resolveOptions } from "../base/options.ts";
import { hash32, Random } from "../base/random.ts";
import type { ImageSize, StereoCamera } from "../geometry/camera.ts";
import {
  type AugmentationOptions,
  drawAugmentation,
  fillHints,
  fillPair,
  NO_AUGMENTATION,
  type PixelPair,
  resolveAugmentation,
} from "./augment.ts";
import { imagePath, type StereoDataset } from "./dataset.ts";
import { type HintPlan, readHints } from "./hints.ts";
import { readRgb } from "./image.ts";
import type { PairSide } from "./split.ts";

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

/** A batch of stereo pairs, ready for a network. */
export interface StereoBatch {
  /** Left views, [batch, height, width, 3], [0, 1]. */
  readonly left: Float32Array<ArrayBuffer>;
  /** Right views, same shape. */
  readonly right: Float32Array<ArrayBuffer>;
  /** How many pairs. */
  readonly batch: number;
  /** px */
  readonly height: number;
  /** px */
  readonly width: number;
  /** The batch's number, from 0. */
  readonly step: number;
  /** The pairs' left images, relative to the data's root: for messages about a batch. */
  readonly ids: readonly string[];
  /** The pairs' cameras, as of the stored images; `undefined` where the data have no calibration. */
  readonly cameras?: readonly (StereoCamera | undefined)[];
  /**
   * Color changes that only the student's input gets, [batch, 5]: the exponent, the factors for red, green and blue, and
   * 1 where the color is removed.
   */
  readonly colors?: Float32Array<ArrayBuffer>;
  /** Disparity hints of either view, [batch, height, width, 1], fractions of the width; 0 = unknown. */
  readonly hints?: { readonly left: Float32Array<ArrayBuffer>; readonly right: Float32Array<ArrayBuffer> };
}

/** A {@linkcode PairCache} as it travels to a worker: the memory is shared, not copied. */
export interface PairCacheHandle {
  readonly key: string;
  readonly viewBytes: number;
  /** Bytes of the hints of a view, 0 where there are none. */
  readonly hintBytes: number;
  /** One flag per pair: 1 once its pixels are stored. */
  readonly ready: SharedArrayBuffer;
  /** Left and right view of each pair, then the hints of both, one after the other. */
  readonly pixels: SharedArrayBuffer;
}

/**
 * Decoded pairs in memory that workers share. It keeps the first pairs of a data set, as many as fit: every epoch
 * visits every pair once, so a fixed subset hits as often as any replacement policy could. Two workers may write the
 * same pair at once: they write the same bytes.
 */
export class PairCache {
  readonly #ready: Int32Array;

  /** Uses memory that {@linkcode openPairCache} allocated, on this thread or another. */
  constructor(readonly handle: PairCacheHandle) {
    this.#ready = new Int32Array(handle.ready);
  }

  #views(index: number): PixelPair {
    const { pixels, viewBytes, hintBytes } = this.handle;
    const left = 2 * index * (viewBytes + hintBytes), right = left + viewBytes, hints = right + viewBytes;
    return {
      left: new Uint8Array(pixels, left, viewBytes),
      right: new Uint8Array(pixels, right, viewBytes),
      hints: hintBytes === 0 ? undefined : {
        left: new Uint16Array(pixels, hints, hintBytes / 2),
        right: new Uint16Array(pixels, hints + hintBytes, hintBytes / 2),
      },
    };
  }

  /** A pair's pixels, read-only; `undefined` when they are not cached. */
  get(index: number): PixelPair | undefined {
    if (index < this.#ready.length && Atomics.load(this.#ready, index) === 1) return this.#views(index);
  }

  /** Stores a copy of a pair if there is room for it. */
  put(index: number, pair: PixelPair): void {
    if (index >= this.#ready.length) return;
    const views = this.#views(index);
    views.left.set(pair.left);
    views.right.set(pair.right);
    if (pair.hints) {
      views.hints?.left.set(pair.hints.left);
      views.hints?.right.set(pair.hints.right);
    }
    Atomics.store(this.#ready, index, 1);
  }
}

/** Where pixels come from. */
type PairList = Pick<StereoDataset, "root" | "pairs" | "cropBottom">;

/** Identifies the pixels of a data set: its pairs, their crop and size. */
function cacheKey({ root, pairs, cropBottom }: PairList, { height, width }: ImageSize): string {
  const names = pairs.map(({ root = "", left, right }) => `${root}${left} ${right}`).join("\n");
  return `${root} ${pairs.length} ${hash32(names)} ${cropBottom} ${height}x${width}`;
}

/**
 * Allocates a cache that serves this data set at this size only; the system hands out the memory only as it is written.
 *
 * @param limitMib Upper bound on the memory, MiB; 0 caches nothing.
 * @param hints The hints that are kept too. @default none
 */
export function openPairCache(
  dataset: PairList,
  size: ImageSize,
  limitMib = 256,
  hints?: HintPlan,
): PairCache {
  const pixels = size.height * size.width, viewBytes = 3 * pixels, hintBytes = hints ? 2 * pixels : 0;
  const pairBytes = 2 * (viewBytes + hintBytes);
  const kept = Math.min(dataset.pairs.length, Math.floor(limitMib * 2 ** 20 / pairBytes));
  return new PairCache({
    key: cacheKey(dataset, size),
    viewBytes,
    hintBytes,
    ready: new SharedArrayBuffer(4 * kept),
    pixels: new SharedArrayBuffer(pairBytes * kept),
  });
}

async function readView(
  dataset: PairList,
  index: number,
  side: "left" | "right",
  size: ImageSize,
): Promise<Uint8Array> {
  const pair = dataset.pairs[index], { cropBottom = dataset.cropBottom, cropTop } = pair;
  return (await readRgb(imagePath(dataset, pair, side), size, cropBottom, cropTop)).data;
}

async function readPair(
  dataset: PairList,
  index: number,
  size: ImageSize,
  cache?: PairCache,
  plan?: HintPlan,
): Promise<PixelPair> {
  const cached = cache?.get(index);
  if (cached) return cached;
  const [left, right] = await Promise.all([
    readView(dataset, index, "left", size),
    readView(dataset, index, "right", size),
  ]);
  const pair = { left, right, hints: plan && await readHints(dataset, dataset.pairs[index], plan, size) };
  // The system keeps packs in memory by itself.
  if (!dataset.pairs[index].packed || plan) cache?.put(index, pair);
  return pair;
}

/** Which of equal parts of every batch to make, where several processes train together. */
export interface BatchShare {
  readonly index: number;
  readonly of: number;
}

/** Everything that determines a training batch: plain values, which can be posted to a worker. */
export interface BatchPlan {
  readonly dataset: PairList;
  readonly size: ImageSize;
  readonly batch: number;
  readonly share: BatchShare;
  readonly seed: number;
  readonly augmentation: AugmentationOptions;
  readonly cache: PairCacheHandle;
  readonly hints?: HintPlan;
}

/**
 * The order in which an epoch visits the pairs.
 *
 * @returns A permutation of 0 … count − 1 that depends on seed and epoch alone.
 */
export function epochOrder(count: number, seed: number, epoch: number): number[] {
  return new Random(epoch).fork(`order ${seed}`).shuffle(Array.from({ length: count }, (_, i) => i));
}

/** Makes the batches of a plan by their number. A batch may span two epochs, so that no pair is left out. */
export function batchMaker(plan: BatchPlan): (step: number) => Promise<StereoBatch> {
  const { dataset, size, seed, augmentation, share } = plan;
  const batch = plan.batch / share.of;
  const cache = new PairCache(plan.cache), count = dataset.pairs.length;
  let epoch = -1, order: readonly number[] = [];
  const pairAt = (position: number) => {
    const current = Math.floor(position / count);
    if (current !== epoch) order = epochOrder(count, seed, epoch = current);
    return order[position % count];
  };
  return async (step) => {
    const values = batch * size.height * size.width * 3;
    const left = new Float32Array(values), right = new Float32Array(values);
    const ids: string[] = [], cameras: (StereoCamera | undefined)[] = [];
    const colors = augmentation.colourViews === "input" ? new Float32Array(batch * 5) : undefined;
    const hints = plan.hints && { left: new Float32Array(values / 3), right: new Float32Array(values / 3) };
    for (let i = 0; i < batch; i++) {
      const position = (step * share.of + share.index) * batch + i, index = pairAt(position);
      // One pair at a time: both views decode in parallel, and more threads would only take cores from the network.
      const pixels = await readPair(dataset, index, size, cache, plan.hints);
      const random = new Random(position).fork(`augment ${seed}`);
      const drawn = drawAugmentation(augmentation, random);
      const seen = colors ? { ...NO_AUGMENTATION, flip: drawn.flip } : drawn;
      fillPair(pixels, size.width, seen, left, right, i);
      if (hints) fillHints(pixels.hints!, size.width, drawn.flip, hints.left, hints.right, i);
      const { gamma, brightness, color, gray } = drawn;
      colors?.set([gamma, ...color.map((factor) => brightness * factor), Number(gray)], 5 * i);
      ids.push(dataset.pairs[index].left);
      cameras.push(dataset.pairs[index].camera);
    }
    return { left, right, batch, ...size, step, ids, cameras, colors, hints };
  };
}

/** What a loader worker is sent: the plan first, then numbers of batches. */
export type LoaderRequest = BatchPlan | number;

/** What it answers each number with, in the order it was asked. */
export type LoaderReply = { readonly batch: StereoBatch } | { readonly error: SentError };

/** A worker and the batches it still owes, in the order of the requests. */
class LoaderWorker {
  readonly #worker = new Worker(new URL("./loader_worker.ts", import.meta.url), { type: "module" });
  readonly #owed: PromiseWithResolvers<StereoBatch>[] = [];
  #failure: CyclopsError | undefined;

  constructor(plan: BatchPlan) {
    this.#worker.onmessage = ({ data }: MessageEvent<LoaderReply>) => {
      const owed = this.#owed.shift();
      if ("batch" in data) owed?.resolve(data.batch);
      else owed?.reject(receiveError(data.error));
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(`Cannot read images ahead of time: the worker stopped (${event.message})`);
    };
    this.#worker.postMessage(plan satisfies LoaderRequest);
  }

  get load(): number {
    return this.#owed.length;
  }

  #fail(message: string): void {
    this.#failure = new CyclopsError(message);
    for (const { reject } of this.#owed.splice(0)) reject(this.#failure);
  }

  make(step: number): Promise<StereoBatch> {
    if (this.#failure) return Promise.reject(this.#failure);
    const owed = Promise.withResolvers<StereoBatch>();
    this.#owed.push(owed);
    this.#worker.postMessage(step satisfies LoaderRequest);
    return owed.promise;
  }

  close(): void {
    this.#worker.terminate();
    this.#fail("Cannot make a batch: the source of batches was closed");
  }
}

/** What {@linkcode openBatches} needs to know. */
export interface BatchOptions extends Partial<LoaderOptions> {
  readonly size: ImageSize;
  readonly batch: number;
  /** Decides the order of the pairs and their augmentation. */
  readonly seed: number;
  /** As {@linkcode resolveAugmentation} returns it. @default Godard et al.'s ranges */
  readonly augmentation?: AugmentationOptions;
  /** Disparity hints that come with the pairs. @default none */
  readonly hints?: HintPlan;
  /** Number of the first batch, as when a run is resumed. @default 0 */
  readonly first?: number;
  /** The part of each batch to make; their number divides it. @default all of it */
  readonly share?: BatchShare;
}

/** An endless sequence of training batches. Close it, or its workers keep the process alive. */
export interface BatchSource extends Disposable {
  /** Batches per epoch: pairs of the data set / pairs per batch; need not be whole. */
  readonly stepsPerEpoch: number;
  /**
   * The next batch; it belongs to the caller.
   *
   * @throws {CyclopsError} When an image cannot be read, naming it.
   */
  next(): Promise<StereoBatch>;
  close(): void;
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
 * const { left, right } = await batches.next(); // float32 [8, 64, 192, 3]
 * ```
 */
export function openBatches(dataset: StereoDataset, options: BatchOptions): BatchSource {
  const {
    size,
    batch,
    seed,
    augmentation = resolveAugmentation(),
    hints,
    first = 0,
    share = { index: 0, of: 1 },
    ...rest
  } = options;
  const { workers, prefetch, cacheMib } = resolveOptions("batches", loaderOptions, { ...rest });
  const { height, width } = size, { root, pairs, cropBottom } = dataset;
  for (
    const [name, value, least] of [
      ["height", height, 1],
      ["width", width, 1],
      ["batch", batch, 1],
      ["first", first, 0],
    ] as const
  ) {
    if (!Number.isSafeInteger(value) || value < least) {
      throw new RangeError(
        `Cannot make batches: ${name} is ${value}, expected an integer of at least ${least}`,
      );
    }
  }
  const plan: BatchPlan = {
    dataset: { root, pairs, cropBottom },
    size: { height, width },
    batch,
    share,
    seed,
    augmentation,
    cache: openPairCache(dataset, size, cacheMib, hints).handle,
    hints,
  };
  const pool = Array.from({ length: workers }, () => new LoaderWorker(plan));
  const make = workers
    ? (step: number) => pool.reduce((a, b) => b.load < a.load ? b : a).make(step)
    : batchMaker(plan);
  const queue: Promise<StereoBatch>[] = [];
  let requested = first;
  const request = (count: number) => {
    while (queue.length < count) {
      const made = make(requested++);
      // The error reaches whoever awaits the batch; until then it must not count as unhandled.
      made.catch(() => {});
      queue.push(made);
    }
  };
  const ahead = workers ? prefetch : 0;
  request(ahead);
  const close = () => pool.forEach((worker) => worker.close());
  return {
    stepsPerEpoch: pairs.length / batch,
    next() {
      request(1 + ahead);
      return queue.shift()!;
    },
    close,
    [Symbol.dispose]: close,
  };
}

/** How {@linkcode sequentialBatches} iterates over a data set. */
export interface SequentialOptions {
  readonly size: ImageSize;
  /** Pairs per batch; the last batch may have fewer. @default 8 */
  readonly batch?: number;
  /** Read only one view; the other's array is empty. @default "both" */
  readonly side?: Exclude<PairSide, "none">;
  /** Keeps decoded pairs between passes (for `side: "both"`); see {@linkcode openPairCache}. @default none */
  readonly cache?: PairCache;
}

async function readBatch(
  dataset: Omit<StereoDataset, "identity">,
  from: number,
  to: number,
  { size, side = "both", cache }: SequentialOptions,
): Promise<StereoBatch> {
  const pairs = dataset.pairs.slice(from, to);
  const values = pairs.length * size.height * size.width * 3;
  const left = new Float32Array(side === "right" ? 0 : values);
  const right = new Float32Array(side === "left" ? 0 : values);
  await Promise.all(pairs.map(async (_, i) => {
    if (side === "both") {
      const pixels = await readPair(dataset, from + i, size, cache);
      return fillPair(pixels, size.width, NO_AUGMENTATION, left, right, i);
    }
    const data = await readView(dataset, from + i, side, size);
    const out = side === "left" ? left : right;
    for (let at = 0; at < data.length; at++) out[i * data.length + at] = data[at] / 255;
  }));
  const ids = pairs.map((pair) => pair.left), cameras = pairs.map((pair) => pair.camera);
  return { left, right, batch: pairs.length, ...size, step: 0, ids, cameras };
}

/**
 * Iterates over a data set in its own order, without augmentation; the next batch is read while the caller works on
 * the current one.
 *
 * @throws {CyclopsError} When an image cannot be read, naming it.
 * @throws {RangeError} When the cache was opened for other data or another size.
 */
export async function* sequentialBatches(
  dataset: Omit<StereoDataset, "identity">,
  options: SequentialOptions,
): AsyncGenerator<StereoBatch, void, void> {
  const { batch = 8, size, cache } = options;
  if (cache && cache.handle.key !== cacheKey(dataset, size)) {
    throw new RangeError(
      `Cannot use the cache: it keeps other pairs, another size or another crop than ${dataset.name} at ` +
        `${size.height}x${size.width}; open one by openPairCache for these`,
    );
  }
  const count = dataset.pairs.length;
  const read = (step: number) => {
    const reading = readBatch(dataset, step * batch, Math.min(count, (step + 1) * batch), options);
    reading.catch(() => {});
    return reading;
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
  dataset: Omit<StereoDataset, "identity">,
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
