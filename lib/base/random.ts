/**
 * Seeded random numbers, the same on every machine for the same seed; and the median.
 *
 * @module
 */

/** 32-bit FNV-1a hash of a string, for turning labels into seeds. */
export function hash32(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h >>> 0;
}

/**
 * A small, fast generator: sfc32 by Chris Doty-Humphrey, part of PractRand.
 *
 * @example
 * ```ts
 * import { Random } from "./random.ts";
 *
 * const random = new Random(7);
 * const sameForEveryRun = random.uniform(0, 10);
 * const independent = random.fork("augmentation");
 * ```
 */
export class Random {
  #s: Uint32Array = new Uint32Array(4);

  constructor(seed: number) {
    this.#s.set([seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0, 0x9e3779b9, 1]);
    for (let i = 0; i < 15; i++) this.#next32();
  }

  #next32(): number {
    const s = this.#s;
    const t = (s[0] + s[1] + s[3]) >>> 0;
    s[3] = s[3] + 1;
    s[0] = s[1] ^ (s[1] >>> 9);
    s[1] = s[2] + (s[2] << 3);
    s[2] = ((s[2] << 21) | (s[2] >>> 11)) + t;
    return t;
  }

  /** Uniform in [0, 1) with 32 bits of resolution. */
  next(): number {
    return this.#next32() / 2 ** 32;
  }

  uniform(low: number, high: number): number {
    return low + (high - low) * this.next();
  }

  /** An integer in [0, count). */
  below(count: number): number {
    return Math.floor(this.next() * count);
  }

  chance(p: number): boolean {
    return this.next() < p;
  }

  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)];
  }

  /** Gaussian with the given mean and standard deviation (Box–Muller, one value per call). */
  normal(mean = 0, deviation = 1): number {
    const r = Math.sqrt(-2 * Math.log(1 - this.next()));
    return mean + deviation * r * Math.cos(2 * Math.PI * this.next());
  }

  /** Shuffles in place (Fisher–Yates) and returns the same array. */
  shuffle<T>(values: T[]): T[] {
    for (let i = values.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [values[i], values[j]] = [values[j], values[i]];
    }
    return values;
  }

  /** An independent generator for one purpose, seeded from the label and this state, which it does not advance. */
  fork(label: string): Random {
    const s = this.#s;
    const child = new Random(hash32(label) ^ s[0]);
    child.#s[1] ^= s[1];
    child.#s[2] ^= s[2];
    for (let i = 0; i < 12; i++) child.#next32();
    return child;
  }
}

/** The middle value; of an even count the upper one of the two; NaN of none. */
export function median(values: readonly number[]): number {
  return Float64Array.from(values).sort()[values.length >> 1] ?? NaN;
}
