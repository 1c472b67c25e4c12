/**
 * Makes training batch number k: which pairs, read from where, augmented how. Its content depends on the data, the
 * seed and k alone, so that any worker may make it and a resumed run sees what an unbroken one would have seen.
 *
 * @module
 */
import { join } from "@std/path";
import type { ImageSize } from "../geometry/camera.ts";
import { Random } from "../base/random.ts";
import { type AugmentationOptions, drawAugmentation, fillPair, type PixelPair } from "./augment.ts";
import { readRgb } from "./image.ts";
import { PairCache, type PairCacheHandle } from "./pair_cache.ts";
import type { StereoPair } from "./split.ts";

/** Stereo pairs, ready for a network. */
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
}

/** All that decides what is in a batch; plain values, so that it can be sent to a worker. */
export interface BatchPlan {
  /** The data's root folder. */
  readonly root: string;
  /** Image paths relative to the root. */
  readonly pairs: readonly StereoPair[];
  /** Share of each image's height that is dropped at the bottom before resizing. */
  readonly cropBottom: number;
  /** Size of the views that the network sees. */
  readonly size: ImageSize;
  /** Pairs a batch. */
  readonly batch: number;
  /** Decides the order of the pairs and their augmentation. */
  readonly seed: number;
  /** From what ranges augmentation is drawn. */
  readonly augmentation: AugmentationOptions;
  /** Where decoded pairs are kept. */
  readonly cache: PairCacheHandle;
}

/** What decides the pixels of a pair. */
export type PairSource = Pick<BatchPlan, "root" | "pairs" | "cropBottom" | "size">;

/** Reads both views of a pair at the wanted size, from the cache where they are there. */
export async function readPair(source: PairSource, index: number, cache: PairCache): Promise<PixelPair> {
  const kept = cache.get(index);
  if (kept) return kept;
  const { root, pairs, cropBottom, size } = source;
  const { left, right } = pairs[index];
  const read = (name: string) => readRgb(join(root, name), size, cropBottom);
  const [l, r] = await Promise.all([read(left), read(right)]);
  const pair = { left: l.data, right: r.data };
  cache.put(index, pair);
  return pair;
}

/**
 * The order in which an epoch visits the pairs.
 *
 * @returns A permutation of 0 … count − 1 that depends on seed and epoch alone.
 */
export function epochOrder(count: number, seed: number, epoch: number): number[] {
  return new Random(epoch).fork(`order ${seed}`).shuffle(Array.from({ length: count }, (_, i) => i));
}

/** Makes batches of one plan. */
export class BatchMaker {
  readonly #plan: BatchPlan;
  readonly #cache: PairCache;
  #epoch = -1;
  #order: readonly number[] = [];

  /** Makes what the plan says. */
  constructor(plan: BatchPlan) {
    this.#plan = plan;
    this.#cache = new PairCache(plan.cache);
  }

  /** The pair at a place of the endless sequence of epochs, each of which visits every pair once. */
  #pairAt(position: number): number {
    const count = this.#plan.pairs.length;
    const epoch = Math.floor(position / count);
    if (epoch !== this.#epoch) {
      this.#order = epochOrder(count, this.#plan.seed, epoch);
      this.#epoch = epoch;
    }
    return this.#order[position % count];
  }

  /**
   * Makes batch number `step`. A batch may span two epochs, so that no pair is left out.
   *
   * @throws {CyclopsError} When an image cannot be read, naming it.
   */
  async make(step: number): Promise<StereoBatch> {
    const { pairs, size, batch, seed, augmentation } = this.#plan;
    const values = batch * size.height * size.width * 3;
    const left = new Float32Array(values), right = new Float32Array(values);
    const ids: string[] = [];
    for (let i = 0; i < batch; i++) {
      const position = step * batch + i;
      const index = this.#pairAt(position);
      // One pair at a time: both views decode in parallel, and more threads would only take cores from the network.
      const pixels = await readPair(this.#plan, index, this.#cache);
      const random = new Random(position).fork(`augment ${seed}`);
      fillPair(pixels, size.width, drawAugmentation(augmentation, random), left, right, i);
      ids.push(pairs[index].left);
    }
    return { left, right, batch, ...size, step, ids };
  }
}
