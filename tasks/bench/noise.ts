/**
 * Images to measure times with.
 *
 * @module
 */
import type { Size } from "../../lib/base/options.ts";
import { Random } from "../../lib/base/random.ts";
import type { StereoBatch } from "../../lib/data/loader.ts";

/**
 * Pairs of noise, the right view the left one some pixels on, which tells left from right. How long they take does not
 * depend on what is seen.
 */
export function noiseBatch({ size, batch }: { readonly size: Size; readonly batch: number }): StereoBatch {
  const { height, width } = size;
  const random = new Random(1).fork("bench");
  const left = Float32Array.from({ length: batch * height * width * 3 }, () => random.next());
  const right = left.map((_, i) => left[(i + 3 * Math.round(width / 40)) % left.length]);
  return { left, right, batch, height, width, step: 0, ids: [] };
}
