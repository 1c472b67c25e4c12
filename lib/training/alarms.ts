/**
 * Signs that a run goes wrong, while it still can be mended.
 *
 * @module
 */
import type { StepResult } from "./trainer.ts";

/** Disparity's standard deviation against its mean below which the prediction is one flat plane. */
const FLAT = 1e-3;
/** Mean |residual| of the refine network's logits below which it changes nothing. */
const DEAD_RESIDUAL = 1e-3;
/** How much a term must rise over its best level to count as diverging. */
const DIVERGING = 2;
/** Updates before any alarm: networks start flat. */
const PATIENCE = 100;

/** Watches a run's updates; each alarm is raised once. */
export class Alarms {
  readonly #raised = new Set<string>();
  readonly #level = new Map<string, { mean: number; best: number }>();
  #updates = 0;

  /** @returns What to tell the user; mostly nothing. */
  check(result: StepResult): string[] {
    this.#updates++;
    const found: [key: string, message: string][] = [];
    const { disparityMean, disparityDeviation, residual } = result;
    if (this.#updates > PATIENCE && disparityDeviation < FLAT * disparityMean) {
      found.push([
        "collapse",
        `the disparity has collapsed to ${disparityMean.toFixed(4)} everywhere: lower the ` +
        "learning rate, or check --head-bias",
      ]);
    }
    if (this.#updates > PATIENCE && residual !== undefined && residual < DEAD_RESIDUAL) {
      found.push([
        "residual",
        `the refine network is dead (mean |residual| ${residual.toExponential(1)}): raise ` +
        "--refine-head-scale, or use --refine-head scratch",
      ]);
    }
    for (const [name, value] of Object.entries(result.terms)) {
      const level = this.#level.get(name) ?? { mean: value, best: Infinity };
      level.mean += 0.05 * (value - level.mean);
      if (this.#updates > PATIENCE) {
        if (level.mean > DIVERGING * level.best) {
          found.push([
            name,
            `the term ${name} diverges: ${level.mean.toPrecision(3)}, it was ${level.best.toPrecision(3)}`,
          ]);
        }
        level.best = Math.min(level.best, level.mean);
      }
      this.#level.set(name, level);
    }
    return found.filter(([key]) => !this.#raised.has(key)).map(([key, message]) => {
      this.#raised.add(key);
      return message;
    });
  }
}
