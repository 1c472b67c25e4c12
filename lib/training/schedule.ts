/**
 * The learning rate over a run.
 *
 * @module
 */

/** What decides the rate; see `trainingOptions`. */
export interface ScheduleOptions {
  /** Adam's rate at its highest. */
  readonly learningRate: number;
  /** How it falls. */
  readonly schedule: "polynomial" | "halving" | "constant";
  /** Steps over which the rate rises from 0. */
  readonly warmup: number;
  /** Exponent of the polynomial schedule. */
  readonly decayPower: number;
  /** Share of the rate left at the end of the polynomial schedule. */
  readonly finalRate: number;
}

/**
 * The learning rate of one update.
 *
 * @param step Number of the update, from 0.
 * @param steps Updates in the whole run.
 *
 * @example
 * ```ts
 * import { learningRateAt } from "./schedule.ts";
 *
 * const options = { learningRate: 1e-4, schedule: "halving", warmup: 0, decayPower: 0.9, finalRate: 0 } as const;
 * learningRateAt(70, 100, options); // 5e-5
 * ```
 */
export function learningRateAt(step: number, steps: number, options: ScheduleOptions): number {
  const { learningRate, schedule, warmup, decayPower, finalRate } = options;
  if (step < warmup) return learningRate * (step + 1) / (warmup + 1);
  switch (schedule) {
    case "constant":
      return learningRate;
    case "halving":
      return learningRate * (step >= steps * 4 / 5 ? 0.25 : step >= steps * 3 / 5 ? 0.5 : 1);
    case "polynomial": {
      const left = Math.max(0, 1 - (step - warmup) / Math.max(1, steps - warmup));
      return learningRate * (finalRate + (1 - finalRate) * left ** decayPower);
    }
  }
}
