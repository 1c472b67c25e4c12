/**
 * The seven depth metrics of the field (Eigen et al. 2014).
 *
 * @module
 */

/** How far predicted depths lie from true ones. */
export interface DepthMetrics {
  /** Mean of |prediction − truth| / truth. */
  readonly absRel: number;
  /** Mean of (prediction − truth)² / truth, m. */
  readonly sqRel: number;
  /** Root mean square of prediction − truth, m. */
  readonly rmse: number;
  /** Root mean square of ln prediction − ln truth. */
  readonly rmseLog: number;
  /** Share of points with max(prediction / truth, truth / prediction) < 1.25. */
  readonly a1: number;
  /** The same for 1.25². */
  readonly a2: number;
  /** The same for 1.25³. */
  readonly a3: number;
}

/** The metrics in the order that tables show them. */
export const metricNames: readonly (keyof DepthMetrics)[] = [
  "absRel",
  "sqRel",
  "rmse",
  "rmseLog",
  "a1",
  "a2",
  "a3",
];

/** Sums the errors of points one by one; see {@linkcode depthMetrics}. */
export class DepthErrors {
  #points = 0;
  #absRel = 0;
  #sqRel = 0;
  #square = 0;
  #squareLog = 0;
  #within1 = 0;
  #within2 = 0;
  #within3 = 0;

  /** How many points were added. */
  get points(): number {
    return this.#points;
  }

  /** Adds a point. @param predicted m, > 0. @param truth m, > 0. */
  add(predicted: number, truth: number): void {
    const difference = predicted - truth, square = difference * difference;
    const log = Math.log(predicted / truth);
    const ratio = predicted > truth ? predicted / truth : truth / predicted;
    this.#points++;
    this.#absRel += Math.abs(difference) / truth;
    this.#sqRel += square / truth;
    this.#square += square;
    this.#squareLog += log * log;
    if (ratio < 1.25) this.#within1++;
    if (ratio < 1.25 ** 2) this.#within2++;
    if (ratio < 1.25 ** 3) this.#within3++;
  }

  /** The metrics over the points added; NaN when there are none. */
  metrics(): DepthMetrics {
    const n = this.#points;
    return {
      absRel: this.#absRel / n,
      sqRel: this.#sqRel / n,
      rmse: Math.sqrt(this.#square / n),
      rmseLog: Math.sqrt(this.#squareLog / n),
      a1: this.#within1 / n,
      a2: this.#within2 / n,
      a3: this.#within3 / n,
    };
  }
}

/**
 * The metrics of predicted against true depths, point by point.
 *
 * @param predicted m, > 0.
 * @param truth m, > 0, of the same length.
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
    throw new RangeError(`Cannot compare depths: ${predicted.length} predicted, ${truth.length} true`);
  }
  const errors = new DepthErrors();
  for (let i = 0; i < truth.length; i++) errors.add(predicted[i], truth[i]);
  return errors.metrics();
}

/** The mean of each metric over images. */
export function meanMetrics(images: readonly DepthMetrics[]): DepthMetrics {
  const mean = (name: keyof DepthMetrics) => images.reduce((sum, m) => sum + m[name], 0) / images.length;
  return Object.fromEntries(metricNames.map((name) => [name, mean(name)])) as unknown as DepthMetrics;
}
