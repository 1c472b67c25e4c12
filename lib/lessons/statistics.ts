/**
 * Whether one map tells something about another.
 *
 * @module
 */

import type { FloatMap } from "../data/image.ts";
import type { RgbImage } from "../data/image.ts";

/** How much an image changes along x: mean |I(x + 1) − I(x)| over colours, in [0,1]; 0 in the last column. */
export function edgeStrength({ width, height, data }: RgbImage): FloatMap {
  const edges = Float32Array.from({ length: width * height }, (_, i) => {
    if (i % width === width - 1) return 0;
    const step = (c: number) => Math.abs(data[3 * i + 3 + c] - data[3 * i + c]) / 255;
    return (step(0) + step(1) + step(2)) / 3;
  });
  return { width, height, data: edges };
}

/** Positions of the values in their order, 0 to n − 1; equal values share the mean of their places. */
function ranks(values: ArrayLike<number>): Float64Array {
  const order = Array.from(values, (_, i) => i).sort((a, b) => values[a] - values[b]);
  const found = new Float64Array(values.length);
  for (let i = 0; i < order.length;) {
    let end = i + 1;
    while (end < order.length && values[order[end]] === values[order[i]]) end++;
    for (let k = i; k < end; k++) found[order[k]] = (i + end - 1) / 2;
    i = end;
  }
  return found;
}

/**
 * Spearman's rank correlation: 1 where the one always rises with the other, 0 where it tells nothing.
 *
 * @throws {RangeError} When the lists are of different length, or shorter than 2.
 */
export function rankCorrelation(x: ArrayLike<number>, y: ArrayLike<number>): number {
  const n = x.length;
  if (n !== y.length || n < 2) {
    throw new RangeError(`Cannot correlate ${n} values with ${y.length}: wanted as many, at least 2`);
  }
  const [a, b] = [ranks(x), ranks(y)];
  const mean = (n - 1) / 2;
  let both = 0, first = 0, second = 0;
  for (let i = 0; i < n; i++) {
    both += (a[i] - mean) * (b[i] - mean);
    first += (a[i] - mean) ** 2;
    second += (b[i] - mean) ** 2;
  }
  return first && second ? both / Math.sqrt(first * second) : 0;
}

/**
 * The mean of `y` in equal shares of the values, sorted by `x`.
 *
 * @param bins How many shares. @default 10
 * @returns Pairs of the share's middle, % of the values, and the mean.
 */
export function meanByShare(
  x: ArrayLike<number>,
  y: ArrayLike<number>,
  bins = 10,
): (readonly [percent: number, mean: number])[] {
  const order = Array.from(x, (_, i) => i).sort((a, b) => x[a] - x[b]);
  return Array.from({ length: bins }, (_, bin) => {
    const own = order.slice(
      Math.floor(bin * order.length / bins),
      Math.floor((bin + 1) * order.length / bins),
    );
    return [(bin + 0.5) * 100 / bins, own.reduce((sum, i) => sum + y[i], 0) / own.length] as const;
  });
}
