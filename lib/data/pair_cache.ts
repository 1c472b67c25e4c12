/**
 * Decoded stereo pairs kept in memory that workers share, so that a small data set is decoded once.
 *
 * @module
 */
import type { PixelPair } from "./augment.ts";

/** A cache as it travels to a worker: the memory is shared, not copied. */
export interface PairCacheHandle {
  /** Tells which pairs, at which size and crop, it keeps. */
  readonly key: string;
  /** Bytes of one view. */
  readonly viewBytes: number;
  /** One flag a pair: 1 once its pixels are there. */
  readonly ready: SharedArrayBuffer;
  /** Left and right view of each pair, one after the other. */
  readonly pixels: SharedArrayBuffer;
}

/**
 * Keeps the first pairs of a data set, as many as fit. Every epoch visits every pair once, so keeping a fixed part
 * hits as often as any rule of replacement could, and needs no bookkeeping. Two workers may write the same pair at
 * once: they write the same bytes.
 */
export class PairCache {
  readonly #ready: Int32Array;
  /** What a worker builds its own view of the same memory from. */
  readonly handle: PairCacheHandle;

  /** Uses memory that {@linkcode PairCache.create} allocated, here or on another thread. */
  constructor(handle: PairCacheHandle) {
    this.handle = handle;
    this.#ready = new Int32Array(handle.ready);
  }

  /**
   * Allocates a cache; the system hands out the memory only as it is written.
   *
   * @param pairs How many pairs the data set has.
   * @param viewBytes Bytes of one decoded view: height · width · 3.
   * @param limitMib The most memory to use, MiB; 0 caches nothing.
   * @param key Tells which pairs, at which size and crop, it keeps.
   */
  static create(pairs: number, viewBytes: number, limitMib: number, key = ""): PairCache {
    const kept = Math.min(pairs, Math.floor(limitMib * 2 ** 20 / (2 * viewBytes)));
    return new PairCache({
      key,
      viewBytes,
      ready: new SharedArrayBuffer(4 * kept),
      pixels: new SharedArrayBuffer(2 * viewBytes * kept),
    });
  }

  /** How many pairs it can keep. */
  get capacity(): number {
    return this.#ready.length;
  }

  #views(index: number): PixelPair {
    const { pixels, viewBytes } = this.handle;
    return {
      left: new Uint8Array(pixels, 2 * index * viewBytes, viewBytes),
      right: new Uint8Array(pixels, (2 * index + 1) * viewBytes, viewBytes),
    };
  }

  /** The pixels of a pair, not to be written to; `undefined` when they are not there. */
  get(index: number): PixelPair | undefined {
    if (index < this.capacity && Atomics.load(this.#ready, index) === 1) return this.#views(index);
  }

  /** Keeps a copy of a pair where there is room for it. */
  put(index: number, pair: PixelPair): void {
    if (index >= this.capacity) return;
    const views = this.#views(index);
    views.left.set(pair.left);
    views.right.set(pair.right);
    Atomics.store(this.#ready, index, 1);
  }
}
