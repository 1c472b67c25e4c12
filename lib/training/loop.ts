/**
 * Training as a stream of records: whoever runs it (a task, a notebook, a test) takes them as they come, shows them,
 * and may stop at any of them.
 *
 * @module
 */
import { selectBackend } from "../backend/select.ts";
import { tf } from "../backend/tf.ts";
import { messageOf, UsageError } from "../base/errors.ts";
import { augmentationOptions, resolveAugmentation } from "../data/augment.ts";
import { openBatches } from "../data/batches.ts";
import { type DataPart, openDataset, type StereoDataset } from "../data/dataset.ts";
import { identityDifferences } from "../data/identity.ts";
import type { PredictOptions } from "../evaluation/predict.ts";
import { Alarms } from "./alarms.ts";
import { type CheckpointFacts, loadCheckpoint, pruneCheckpoints, saveCheckpoint } from "./checkpoint.ts";
import { refineWiring, type TrainingOptions } from "./options.ts";
import type { Run } from "./run_folder.ts";
import { STAGES } from "./stages.ts";
import { type StepResult, Trainer } from "./trainer.ts";
import { prepareValidation, spreadPairs, type ValidationResult } from "./validation.ts";
import { collectMoments, collectWeights, hasNetwork, restoreMoments, restoreWeights } from "./weights.ts";

/** The project's version, saved with every checkpoint. */
export const VERSION = "0.1.0";

/** What a training tells while it runs. */
export type TrainRecord =
  /** Once, at the start. */
  | {
    readonly kind: "start";
    readonly step: number;
    readonly steps: number;
    readonly parameters: number;
    readonly pairs: number;
  }
  /** After every update. */
  | { readonly kind: "step"; readonly step: number; readonly steps: number; readonly milliseconds: number }
    & StepResult
  /** After a validation. */
  | { readonly kind: "validation"; readonly step: number; readonly result: ValidationResult }
  /** A checkpoint was written. */
  | { readonly kind: "checkpoint"; readonly step: number; readonly folder: string }
  /** Something the user should know; training goes on. */
  | { readonly kind: "warning"; readonly step: number; readonly message: string }
  /** Once, at the end. */
  | {
    readonly kind: "end";
    readonly step: number;
    readonly reason: "finished" | "stopped";
    readonly folder?: string;
  };

/** What a training is given besides its options. */
export interface TrainInput {
  /** As `resolveTraining` gives them. */
  readonly options: TrainingOptions;
  /** Where it is kept; without one nothing is written. */
  readonly run?: Run;
  /** Checkpoint folders to start from, e.g. that of the former stage; later ones win. */
  readonly from?: readonly string[];
  /** Ends the training after the current update, with a last checkpoint. */
  readonly signal?: AbortSignal;
  /** Training pairs, if they are open already. */
  readonly dataset?: StereoDataset;
  /** Validation pairs, if they are open already; `null` for none. */
  readonly validation?: StereoDataset | null;
}

/** Updates between two lines of metrics.jsonl. */
const LOG_EVERY = 10;
/** Milliseconds before a checkpoint that could not be written is tried again. */
const RETRY_AFTER = 30_000;

/** The updates of a run: given, or counted from epochs. */
export function plannedSteps(options: TrainingOptions, pairs: number): number {
  if (options.steps !== undefined) return options.steps;
  if (options.epochs === undefined) {
    throw new UsageError("Cannot train: neither steps nor epochs is given");
  }
  return Math.max(1, Math.ceil(options.epochs * pairs / options.batch));
}

/** How a model in training predicts: the last network that learns decides whose disparity is measured. */
export function predictOptions(trainer: Trainer): PredictOptions {
  const { options, size } = trainer;
  const teacher = options.stage === "teacher" && !options.privilegedTeacher;
  return { size, view: options.view, of: teacher ? "teacher" : "student", refine: refineWiring(options) };
}

async function startWeights(trainer: Trainer, from: readonly string[]): Promise<string[]> {
  const { options, networks } = trainer;
  const missing = new Set(networks.keys());
  for (const folder of from) {
    const { model } = await loadCheckpoint(folder, "model");
    for (const [name, network] of networks) {
      // The teacher's own student while another one is distilled, and that one's beginning, are the former student.
      const saved = name === "guide" ? "student" : name;
      if (name === "student" && options.stage === "distill" && options.distillFrom === "scratch") continue;
      if (!hasNetwork(model, saved)) continue;
      restoreWeights(network, model, folder, saved);
      missing.delete(name);
    }
  }
  const needed = STAGES[options.stage].networks.filter((n) => missing.has(n) && !trainer.moving.includes(n));
  if (needed.length) {
    throw new UsageError(
      `Cannot train stage ${options.stage}: it needs a trained ${
        needed.map((n) => n === "guide" ? "student" : n).join(" and ")
      } ` +
        `to start from; give --from with a run of stage ${STAGES[options.stage].from}`,
    );
  }
  return [...missing];
}

async function resume(trainer: Trainer, run: Run, dataset: StereoDataset): Promise<string[]> {
  const { folder, facts, model, optimizer } = await loadCheckpoint(run.resumed!.folder);
  for (const network of trainer.networks.values()) restoreWeights(network, model, folder);
  if (optimizer) restoreMoments(trainer.optimizer, optimizer, Number(facts.state?.updates ?? facts.step));
  trainer.step = facts.step;
  return facts.data ? identityDifferences(facts.data, dataset.identity) : [];
}

/** Writes checkpoints, and keeps trying where a disk is full. */
class Keeper {
  readonly #run: Run;
  readonly #trainer: Trainer;
  readonly #facts: (metrics: CheckpointFacts["metrics"]) => CheckpointFacts;
  #savedAt = performance.now();
  #savedStep: number;
  #failedAt: number | undefined;
  last: string | undefined;

  constructor(run: Run, trainer: Trainer, facts: (metrics: CheckpointFacts["metrics"]) => CheckpointFacts) {
    this.#run = run;
    this.#trainer = trainer;
    this.#facts = facts;
    this.#savedStep = trainer.step;
    this.last = run.resumed?.folder;
  }

  /** Whether it is time, by steps, minutes or after a failure. */
  get due(): boolean {
    const { checkpointEvery, checkpointMinutes } = this.#trainer.options;
    const now = performance.now();
    if (this.#failedAt !== undefined) return now - this.#failedAt > RETRY_AFTER;
    return (checkpointEvery > 0 && this.#trainer.step % checkpointEvery === 0) ||
      (checkpointMinutes > 0 && now - this.#savedAt > checkpointMinutes * 60_000);
  }

  async save(metrics: CheckpointFacts["metrics"], final: boolean): Promise<TrainRecord | undefined> {
    const { step } = this.#trainer;
    if (step === this.#savedStep && this.last && this.#failedAt === undefined) return undefined;
    try {
      this.#run.metrics.flush();
      const entry = await saveCheckpoint(this.#run.checkpoints, {
        model: collectWeights(this.#trainer.networks.values()),
        optimizer: collectMoments(this.#trainer.optimizer),
        facts: this.#facts(metrics),
      });
      this.last = entry.folder;
      this.#savedStep = step;
      this.#savedAt = performance.now();
      this.#failedAt = undefined;
      await pruneCheckpoints(this.#run.checkpoints, { keepLast: this.#trainer.options.keep });
      return { kind: "checkpoint", step, folder: entry.folder };
    } catch (error) {
      if (final) throw error;
      this.#failedAt = performance.now();
      const message = `${messageOf(error)}; training goes on in memory and tries again`;
      return { kind: "warning", step, message };
    }
  }
}

/**
 * Trains one stage.
 *
 * Stopping the iteration early (a `break`) ends the training at once; `signal` ends it in good order, with a
 * checkpoint. Memory is freed either way.
 *
 * @throws {UsageError} When the options do not fit the data or the checkpoint.
 * @throws {CyclopsError} When data cannot be read, the loss is not finite, or the last checkpoint cannot be written.
 *
 * @example
 * ```ts ignore
 * const options = resolveTraining({ data: "data/street", steps: 100 });
 * for await (const record of train({ options })) {
 *   if (record.kind === "step") console.log(record.step, record.loss);
 * }
 * ```
 */
export async function* train(input: TrainInput): AsyncGenerator<TrainRecord, void, void> {
  const { options, run, signal } = input;
  const backend = await selectBackend();
  const dataset = input.dataset ??
    await openPart(options, "train");
  const steps = plannedSteps(options, dataset.pairs.length);
  const trainer = new Trainer(options, steps);
  const { size } = trainer;
  const augmentation = resolveAugmentation(pick(options, augmentationOptions));
  const { batch, seed, workers, prefetch, cacheMib } = options;
  const batches = openBatches(dataset, { size, batch, seed, augmentation, workers, prefetch, cacheMib });
  try {
    if (run?.resumed) {
      const differences = await resume(trainer, run, dataset);
      if (differences.length) {
        throw new UsageError(
          `Cannot resume the run in ${run.folder}: it was trained on other data (${differences.join("; ")})`,
        );
      }
    } else await startWeights(trainer, input.from ?? []);
    batches.seek(trainer.step);

    const validate = options.validateEvery > 0 && input.validation !== null
      ? await prepareValidation(
        spreadPairs(
          input.validation ?? await openPart(options, "val"),
          options.validationPairs,
        ),
        size,
      )
      : undefined;
    let metrics: Record<string, number> = {};
    const facts = (now: CheckpointFacts["metrics"]): CheckpointFacts => ({
      step: trainer.step,
      epoch: trainer.step / batches.stepsPerEpoch,
      stage: options.stage,
      seed: options.seed,
      options: { ...options },
      data: dataset.identity,
      versions: {
        cyclops: VERSION,
        deno: Deno.version.deno,
        tfjs: tf.version.tfjs,
        [backend.name]: backend.version,
      },
      metrics: now,
      state: { updates: trainer.optimizer.updates, steps },
    });
    const keeper = run && new Keeper(run, trainer, facts);
    const parameters = [...trainer.networks.values()].reduce((n, network) => n + network.parameters, 0);
    yield { kind: "start", step: trainer.step, steps, parameters, pairs: dataset.pairs.length };
    for (const message of run?.warnings ?? []) yield { kind: "warning", step: trainer.step, message };

    const alarms = new Alarms();
    let lines: StepResult[] = [];
    let problem: string | undefined;
    while (trainer.step < steps && !signal?.aborted) {
      const started = performance.now();
      const result = trainer.update(await batches.next());
      const { step } = trainer;
      yield { kind: "step", step, steps, milliseconds: performance.now() - started, ...result };
      // Lets signals, timers and a notebook's interrupt in.
      await new Promise((resolve) => setTimeout(resolve, 0));
      for (const message of alarms.check(result)) yield { kind: "warning", step, message };

      lines.push(result);
      if (run && (step % LOG_EVERY === 0 || step === steps)) {
        run.metrics.write({ step, ...meanOf(lines) });
        if (run.metrics.problem && run.metrics.problem.message !== problem) {
          problem = run.metrics.problem.message;
          yield { kind: "warning", step, message: `${problem}; training goes on` };
        }
        lines = [];
      }
      let fresh = false;
      if (validate && (step % options.validateEvery === 0 || step === steps)) {
        const measured = await validate(trainer.chainNetworks, predictOptions(trainer));
        metrics = Object.fromEntries(Object.entries(measured).filter(([, v]) => v !== undefined));
        fresh = true;
        run?.metrics.write({ step, validation: measured });
        yield { kind: "validation", step, result: measured };
      }
      if (keeper?.due && step < steps) {
        const record = await keeper.save(fresh ? metrics : {}, false);
        if (record) yield record;
      }
      if (step === steps && keeper) {
        const record = await keeper.save(fresh ? metrics : {}, true);
        if (record) yield record;
      }
    }
    const finished = trainer.step >= steps;
    if (!finished && keeper) {
      const record = await keeper.save({}, true);
      if (record) yield record;
    }
    yield {
      kind: "end",
      step: trainer.step,
      reason: finished ? "finished" : "stopped",
      folder: keeper?.last,
    };
  } finally {
    batches.close();
    trainer.dispose();
  }
}

/** A part of the data that a run's options name. */
export function openPart(options: TrainingOptions, part: DataPart): Promise<StereoDataset> {
  const { data, split, cropBottom } = options;
  return openDataset({ data, split, cropBottom, part });
}

/** The options of one group. */
function pick(options: TrainingOptions, group: object): Record<string, unknown> {
  return Object.fromEntries(Object.keys(group).map((key) => [key, options[key as keyof TrainingOptions]]));
}

/** The mean of several updates, for one line of the log. */
function meanOf(results: readonly StepResult[]): Record<string, unknown> {
  const mean = (pick: (r: StepResult) => number | undefined) => {
    const values = results.map(pick).filter((v) => v !== undefined);
    return values.length ? values.reduce((a, b) => a + b, 0) / values.length : undefined;
  };
  const names = Object.keys(results[0].terms) as (keyof StepResult["terms"])[];
  return {
    loss: mean((r) => r.loss),
    terms: Object.fromEntries(names.map((name) => [name, mean((r) => r.terms[name])])),
    learningRate: results.at(-1)!.learningRate,
    disparityMean: mean((r) => r.disparityMean),
    disparityDeviation: mean((r) => r.disparityDeviation),
    residual: mean((r) => r.residual),
  };
}
