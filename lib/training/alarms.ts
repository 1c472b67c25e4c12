/**
 * Signs that a run goes wrong, while it still can be mended. A loss that is no number is not among them: it stops the
 * training at once.
 *
 * @module
 */
import type { LossWeights, TermName } from "../losses/objective.ts";
import type { StepResult } from "./trainer.ts";

/** Disparity's standard deviation against its mean below which the prediction is one flat plane. */
const FLAT = 1e-3;
/** Mean |residual| of the refine network's logits below which it changes nothing. */
const DEAD_RESIDUAL = 1e-3;
/** How much a term must rise over its best level to count as diverging. */
const DIVERGING = 2;
/** How much of the loss's best level that rise must be: terms near 0 may double without harm. */
const MATTERS = 0.1;
/** Updates before any alarm: networks start flat. */
const PATIENCE = 100;
/** Share of the newest value in a term's level. */
const NEWEST = 0.05;

/** The running level of a loss term. */
export interface Level {
  /** Running mean. */
  readonly mean: number;
  /** The lowest it has been; `null` before there is patience enough. */
  readonly best: number | null;
}

/** What {@linkcode Alarms} remembers; plain values, for a checkpoint. */
export interface AlarmState {
  /** Updates watched. */
  readonly updates: number;
  /** Alarms that were raised. */
  readonly raised: readonly string[];
  /** Level of each term and of the "loss". */
  readonly levels: Readonly<Record<string, Level>>;
}

/**
 * Watches a run's updates; each alarm is raised once: for a disparity that is the same everywhere, for a refine
 * network that corrects nothing, for each term that rises so far that the loss does.
 */
export class Alarms {
  readonly #weights: LossWeights;
  readonly #raised: Set<string>;
  readonly #levels: Map<string, Level>;
  #updates: number;

  /**
   * Begins to watch.
   *
   * @param weights Of the loss terms: what a term's rise means for the loss.
   * @param state Goes on from there.
   */
  constructor(weights: LossWeights, state?: AlarmState) {
    this.#weights = weights;
    this.#raised = new Set(state?.raised);
    this.#levels = new Map(Object.entries(state?.levels ?? {}));
    this.#updates = state?.updates ?? 0;
  }

  /** What a resumed run goes on with. */
  get state(): AlarmState {
    return {
      updates: this.#updates,
      raised: [...this.#raised],
      levels: Object.fromEntries(this.#levels),
    };
  }

  /** Looks at an update. @returns What to tell the user; mostly nothing. */
  check(result: StepResult): string[] {
    this.#updates++;
    const found = [...this.#diverging(result)];
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
    return found.filter(([key]) => !this.#raised.has(key)).map(([key, message]) => {
      this.#raised.add(key);
      return message;
    });
  }

  *#diverging(result: StepResult): Generator<[key: string, message: string]> {
    const loss = this.#follow("loss", result.loss);
    for (const [name, value] of Object.entries(result.terms)) {
      const { mean, best } = this.#follow(name, value);
      if (best === null || mean <= DIVERGING * best) continue;
      const rise = this.#weights[name as TermName] * (mean - best);
      if (rise < MATTERS * loss.best!) continue;
      yield [name, `the term ${name} diverges: ${mean.toPrecision(3)}, it was ${best.toPrecision(3)}`];
    }
  }

  #follow(name: string, value: number): Level {
    const { mean: before = value, best: lowest = null } = this.#levels.get(name) ?? {};
    const mean = before + NEWEST * (value - before);
    const best = this.#updates > PATIENCE ? Math.min(lowest ?? Infinity, mean) : null;
    const level = { mean, best };
    this.#levels.set(name, level);
    return level;
  }
}
