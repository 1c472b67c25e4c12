/**
 * When a run is saved, and what happens where it cannot be.
 *
 * @module
 */
import { CyclopsError } from "../base/errors.ts";
import type { TensorMap } from "../data/safetensors.ts";
import {
  BEST_BY,
  bestCheckpoint,
  type CheckpointFacts,
  pruneCheckpoints,
  saveCheckpoint,
  SaveError,
  scanCheckpoints,
} from "./checkpoint.ts";
import type { Run } from "./run_folder.ts";
import type { Trainer } from "./trainer.ts";
import { collectMoments, collectWeights } from "./weights.ts";

/** Validation metrics by name, lower is better. */
export type Metrics = CheckpointFacts["metrics"];

/** What came of saving: a checkpoint's folder, or why there is none. */
export type Saved = { readonly folder: string } | { readonly problem: string };

/** Milliseconds before a checkpoint that could not be written is tried again, at the latest. */
const RETRY_AFTER = 30_000;

/** A variable with a value that is no number. */
function notFinite(tensors: TensorMap): string | undefined {
  for (const [name, { data }] of tensors) {
    let zero = 0;
    // Infinity and NaN times 0 are NaN, and stay it: no branch for each value.
    for (const value of data as Float32Array) zero += value * 0;
    if (zero !== 0) return name;
  }
}

/**
 * Saves a run: every so many steps or minutes, whenever a validation is the best so far, and at the end. Where the
 * disk is full or read-only, training goes on in memory and the next ones are tried just the same.
 */
export class Keeper {
  readonly #run: Run;
  readonly #trainer: Trainer;
  readonly #facts: (metrics: Metrics) => CheckpointFacts;
  #best: Metrics;
  #savedAt = performance.now();
  #savedStep: number;
  #failedAt: number | undefined;
  #last: string | undefined;

  private constructor(
    run: Run,
    trainer: Trainer,
    facts: (metrics: Metrics) => CheckpointFacts,
    best: Metrics,
  ) {
    this.#run = run;
    this.#trainer = trainer;
    this.#facts = facts;
    this.#best = best;
    this.#savedStep = run.resumed ? trainer.step : -1;
    this.#last = run.resumed?.folder;
  }

  /**
   * Looks at what the run has saved already.
   *
   * @param facts What is saved besides the tensors.
   */
  static async open(
    run: Run,
    trainer: Trainer,
    facts: (metrics: Metrics) => CheckpointFacts,
  ): Promise<Keeper> {
    const whole = run.resumed ? (await scanCheckpoints(run.checkpoints)).whole : [];
    return new Keeper(run, trainer, facts, bestCheckpoint(whole, BEST_BY)?.facts.metrics ?? {});
  }

  /** The last checkpoint's folder. */
  get last(): string | undefined {
    return this.#last;
  }

  /**
   * Whether it is time.
   *
   * @param metrics Those of a validation at this very step; empty where there was none.
   */
  due(metrics: Metrics): boolean {
    const { checkpointEvery, checkpointMinutes } = this.#trainer.options;
    const now = performance.now();
    if (this.#improves(metrics)) return true;
    if (checkpointEvery > 0 && this.#trainer.step % checkpointEvery === 0) return true;
    if (this.#failedAt !== undefined) return now - this.#failedAt > RETRY_AFTER;
    return checkpointMinutes > 0 && now - this.#savedAt > checkpointMinutes * 60_000;
  }

  #improves(metrics: Metrics): boolean {
    const by = BEST_BY.find((name) => Number.isFinite(metrics[name]));
    return by !== undefined && !(this.#best[by] <= metrics[by]);
  }

  /**
   * Saves this step, unless that was done.
   *
   * @returns `undefined` where it was saved before.
   * @throws {CyclopsError} When the weights are no numbers any more: then the older checkpoints are what is left.
   */
  async save(metrics: Metrics): Promise<Saved | undefined> {
    const { step } = this.#trainer;
    if (step === this.#savedStep) return undefined;
    const model = await collectWeights(this.#trainer.networks.values());
    const bad = notFinite(model);
    if (bad) {
      throw new CyclopsError(
        `Training stopped at step ${step}: the weights ${bad} are not numbers; ${
          this.#last ? `the checkpoint ${this.#last} is from before` : "nothing was saved before"
        }, start again with a lower --learning-rate`,
      );
    }
    try {
      const { folder, facts } = await saveCheckpoint(this.#run.checkpoints, {
        model,
        optimizer: await collectMoments(this.#trainer.optimizer, this.#trainer.networks.values()),
        facts: this.#facts(metrics),
      });
      this.#last = folder;
      this.#savedStep = step;
      this.#savedAt = performance.now();
      this.#failedAt = undefined;
      if (this.#improves(facts.metrics)) this.#best = facts.metrics;
      await pruneCheckpoints(this.#run.checkpoints, { keepLast: this.#trainer.options.keep });
      return { folder };
    } catch (error) {
      if (!(error instanceof SaveError)) throw error;
      // An old checkpoint that cannot be removed is none that could not be saved.
      if (this.#savedStep === step) return { problem: error.message };
      this.#failedAt = performance.now();
      return { problem: `${error.message}; training goes on in memory and tries again` };
    }
  }

  /**
   * Saves the last step, unless that was done.
   *
   * @throws {CyclopsError} When it cannot be saved: nothing is left to try.
   */
  async saveLast(metrics: Metrics): Promise<Saved | undefined> {
    const saved = await this.save(metrics);
    if (this.#savedStep === this.#trainer.step || !saved || !("problem" in saved)) return saved;
    const why = saved.problem.replace("; training goes on in memory and tries again", "");
    throw new CyclopsError(
      `${why}; ${
        this.#last ? `what was trained after ${this.#last} is lost` : "what was trained is lost"
      }: mend it, then go on with --resume`,
    );
  }
}
