/**
 * The seven depth metrics of the field (Eigen et al. 2014).
 *
 * @module
 */

/** How far predicted depths are from true ones. */
export interface DepthMetrics {
  /** Mean of |prediction − truth| / truth. */
  readonly absRel: number;
  /** Mean of (prediction − truth)² / truth, m. */
  readonly sqRel: number;
  /** Root mean square of prediction − truth, m. */
  readonly rmse: number;
  /** Root mean square of ln prediction − ln truth. */
  readonly rmseLog: number;
  /** Fraction of points with max(prediction / truth, truth / prediction) < 1.25. */
  readonly a1: number;
  /** The same for 1.25². */
  readonly a2: number;
  /** The same for 1.25³. */
  readonly a3: number;
}

/** The metrics in the order of tables. */
export const metricNames = ["absRel", "sqRel", "rmse", "rmseLog", "a1", "a2", "a3"] as const;

/** Accumulates the errors of points one by one; see {@linkcode depthMetrics}. */
export class DepthErrors {
  points = 0;
  readonly #sums = new Float64Array(metricNames.length);

  /** Adds a point. @param predicted m, > 0. @param truth m, > 0. */
  add(predicted: number, truth: number): void {
    const sums = this.#sums;
    const difference = predicted - truth, square = difference * difference;
    const log = Math.log(predicted / truth);
    const ratio = predicted > truth ? predicted / truth : truth / predicted;
    this.points++;
    sums[0] += Math.abs(difference) / truth;
    sums[1] += square / truth;
    sums[2] += square;
    sums[3] += log * log;
    if (ratio < 1.25) sums[4]++;
    if (ratio < 1.25 ** 2) sums[5]++;
    if (ratio < 1.25 ** 3) sums[6]++;
  }

  /** The metrics over the points added; NaN where there are none. */
  metrics(): DepthMetrics {
    const [absRel, sqRel, square, squareLog, a1, a2, a3] = this.#sums.map((sum) => sum / this.points);
    return { absRel, sqRel, rmse: Math.sqrt(square), rmseLog: Math.sqrt(squareLog), a1, a2, a3 };
  }
}

/**
 * The metrics of predicted against true depths, point by point.
 *
 * @param predicted m, > 0.
 * @param truth m, > 0, of the same length.
 * @throws {RangeError} When the lengths differ.
 *
 * @example
 * ```ts
 * import { depthMetrics } from "./metrics.ts";
 *
 * depthMetrics([11, 18], [10, 20]).absRel; // 0.1
 * ```
 */
export function depthMetrics(predicted: ArrayLike<number>, truth: ArrayLike<number>): DepthMetrics {
  if (predicted.length !== truth.length) {
    throw new RangeError(
      `Cannot compare depths: found ${predicted.length} predicted and ${truth.length} true ones, expected equal numbers`,
    );
  }
  const errors = new DepthErrors();
  for (let i = 0; i < truth.length; i++) errors.add(predicted[i], truth[i]);
  return errors.metrics();
}

/** The mean of each metric over images. */
export function meanMetrics(images: readonly DepthMetrics[]): DepthMetrics {
  const mean = (name: keyof DepthMetrics) =>
    images.reduce((sum, image) => sum + image[name], 0) / images.length;
  return Object.fromEntries(metricNames.map((name) => [name, mean(name)])) as unknown as DepthMetrics;
}
