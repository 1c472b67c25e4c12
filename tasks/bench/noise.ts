/**
 * Images for timing.
 *
 * @module
 */
import type { Size } from "../../lib/base/options.ts";
import { Random } from "../../lib/base/random.ts";
import type { StereoBatch } from "../../lib/data/loader.ts";

/**
 * Pairs of noise, the right view a shifted left one, which distinguishes the two. Times do not depend on the content of
 * the images.
 */
export function noiseBatch({ size, batch }: { readonly size: Size; readonly batch: number }): StereoBatch {
  const { height, width } = size;
  const random = new Random(1).fork("bench");
  const left = Float32Array.from({ length: batch * height * width * 3 }, () => random.next());
  const right = left.map((_, i) => left[(i + 3 * Math.round(width / 40)) % left.length]);
  return { left, right, batch, height, width, step: 0, ids: [] };
}
