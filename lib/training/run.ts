/**
 * Runs of stages: trained in a folder, one after the other, with progress shown to a person.
 *
 * @module
 */
import { fromFileUrl, join } from "@std/path";
import { selectBackend } from "../backend/select.ts";
import { CyclopsError, UsageError } from "../base/errors.ts";
import { exists } from "../base/files.ts";
import { formatBytes, Progress } from "../base/terminal.ts";
import { median } from "../base/random.ts";
import { openBatches } from "../data/loader.ts";
import { isNonCommercial } from "../data/safetensors.ts";
import type { TermName } from "../losses/objective.ts";
import { findCheckpoint, readSafetensors, scanCheckpoints } from "./checkpoint.ts";
import type { Cluster } from "./cluster.ts";
import { startWeights, train, type TrainRecord } from "./loop.ts";
import { openPart, resolveTraining, resumedOptions, storedOptions } from "./options.ts";
import { checkRun, openRun, OPTIONS_FILE, readRunOptions, removeRun, type Run } from "./run_folder.ts";
import { STAGE_NAMES, STAGES } from "./stages.ts";
import { Trainer } from "./trainer.ts";
import type { ValidationResult } from "./validation.ts";

/** How a training ended. */
export interface TrainingSummary {
  /** Updates that were made, including those before it was resumed. */
  readonly steps: number;
  /** Whether all steps were done, or it was stopped on request. */
  readonly reason: "finished" | "stopped";
  /** The last checkpoint's folder, where one was written. */
  readonly checkpoint?: string;
  /** The last validation. */
  readonly validation?: ValidationResult;
  /** The student's photometric term: the first one, and the mean of the last. */
  readonly photometric?: readonly [first: number, last: number];
  /** Median time of an update, ms. */
  readonly millisecondsPerStep: number;
}

/** Short names of the terms for the progress line. */
const SHORT: Readonly<Record<TermName, string>> = {
  photometric: "photo",
  consistency: "cons",
  smoothness: "smooth",
  cycle: "cycle",
  cycleConsistency: "c-cons",
  cycleSmoothness: "c-smooth",
  refined: "refined",
  refinedConsistency: "r-cons",
  refinedSmoothness: "r-smooth",
  distillation: "distil",
  featureDistillation: "f-distil",
  hint: "hint",
};

/** Weight of the past in the running means that are shown. */
const SMOOTHING = 0.9;

/** Three significant digits, always, so that the line does not jitter; without an exponent where that is readable. */
function short(value: number): string {
  return Math.abs(value) >= 1e-4 && Math.abs(value) < 1e3 ? value.toPrecision(3) : value.toExponential(1);
}

/** Loss, validation abs rel and terms for the progress line, the most important first. */
function describeStep(means: ReadonlyMap<string, number>, absRel: number | undefined): string[] {
  const { loss, ...terms } = Object.fromEntries(means);
  const parts = [`loss ${short(loss)}`];
  if (absRel !== undefined) parts.push(`abs rel ${absRel.toFixed(4)}`);
  const each = Object.entries(terms).map(([name, value]) => `${SHORT[name as TermName]} ${short(value)}`);
  // A single term is the loss.
  return each.length > 1 ? [...parts, ...each] : parts;
}

/** A validation in words. */
function describeValidation({ absRel, rmse, photometric }: ValidationResult): string {
  const depth = absRel === undefined ? "" : `abs rel ${absRel.toFixed(4)}, RMSE ${rmse?.toFixed(2)} m, `;
  return `${depth}photometric ${photometric.toFixed(4)}`;
}

/**
 * Runs a training to its end with a progress line: rate, loss, terms, validation abs rel, time left.
 *
 * @param records As `train` yields them.
 * @param label Before the bar, e.g. the stage.
 * @param onRecord Receives every record too, e.g. to draw curves in a notebook; training waits for it.
 *
 * @example
 * ```ts ignore
 * const options = resolveTraining({ data: "data/street", steps: 100 });
 * const { validation } = await trainWithProgress(train({ options }), "student");
 * ```
 */
export async function trainWithProgress(
  records: AsyncIterable<TrainRecord>,
  label: string,
  onRecord?: StageRunOptions["onRecord"],
): Promise<TrainingSummary> {
  let progress: Progress | undefined;
  let validation: ValidationResult | undefined;
  const times: number[] = [];
  let first: number | undefined;
  const means = new Map<string, number>();
  for await (const record of records) {
    await onRecord?.(record);
    switch (record.kind) {
      case "start": {
        progress = new Progress({ label, total: record.steps });
        const parameters = (record.parameters / 1e6).toFixed(2);
        const from = record.step > 0 ? `, resuming from step ${record.step}` : "";
        progress.log(
          `${label}: ${record.steps} steps, ${record.pairs} pairs, ${parameters} M parameters${from}`,
        );
        if (record.exchange) {
          const { workers, bytes, milliseconds } = record.exchange;
          progress.log(
            `${label}: ${workers} workers exchange ${formatBytes(bytes)} of gradients each update, ` +
              `in ${milliseconds.toPrecision(2)} ms by itself`,
          );
        }
        break;
      }
      case "step": {
        times.push(record.milliseconds);
        first ??= record.terms.photometric;
        for (const [name, value] of Object.entries({ loss: record.loss, ...record.terms })) {
          means.set(name, (means.get(name) ?? value) * SMOOTHING + value * (1 - SMOOTHING));
        }
        const { waited, milliseconds } = record;
        const slow = waited > milliseconds / 2 ? [`waited ${(waited / 1000).toFixed(1)} s for data`] : [];
        progress?.update(record.step, ...slow, ...describeStep(means, validation?.absRel));
        break;
      }
      case "validating":
        progress?.status(`validating ${record.pairs} pairs`);
        break;
      case "validation":
        validation = record.validation;
        progress?.log(`${label}  step ${record.step}: validation ${describeValidation(validation)}`);
        break;
      case "checkpoint":
        progress?.log(`${label}  step ${record.step}: saved ${record.folder}`);
        break;
      case "warning":
        progress?.log(`${label}  step ${record.step}: warning: ${record.message}`);
        break;
      case "end": {
        const millisecondsPerStep = median(times);
        const rate = times.length ? `, ${millisecondsPerStep.toFixed(0)} ms per step` : "";
        const early = record.unimproved ? `, after ${record.unimproved} validations without improvement` : "";
        const best = record.best === undefined || record.best === record.step
          ? ""
          : `, best at step ${record.best}`;
        progress?.finish(`${label}: ${record.reason} at step ${record.step}${early}${best}${rate}`);
        return {
          steps: record.step,
          reason: record.reason,
          checkpoint: record.folder,
          validation,
          photometric: first === undefined ? undefined : [first, means.get("photometric")!],
          millisecondsPerStep,
        };
      }
    }
  }
  throw new Error("the records of a training end with its end");
}

/** How a stage is run in a folder. */
export interface StageRunOptions {
  /** The run's folder. */
  readonly out: string;
  /** Options as the user gave them; a resumed run keeps its own, see `resumedOptions`. */
  readonly overrides: Readonly<Record<string, unknown>>;
  /** Resume the run in the folder. @default false */
  readonly resume?: boolean;
  /** Start over, deleting it. @default false */
  readonly overwrite?: boolean;
  /** Runs, checkpoints or models whose weights to start from; later ones win. */
  readonly from?: readonly string[];
  /** Stops the training after the current update, with a checkpoint. */
  readonly signal?: AbortSignal;
  /** The workers to train with; only worker 0 touches the folders. @default none */
  readonly cluster?: Cluster;
  /** Before the progress bar. @default the stage's name */
  readonly label?: string;
  /** Receives every record; training waits for it. */
  readonly onRecord?: (record: TrainRecord) => void | Promise<void>;
}

/**
 * Trains one stage in a folder. A call that is refused leaves the folder as it was.
 *
 * @throws {UsageError} When options, folder or starting point do not fit.
 * @throws {CyclopsError} When training fails; what was saved stays.
 */
export async function runStage(options: StageRunOptions): Promise<TrainingSummary> {
  const { out, overrides, resume = false, overwrite = false, signal, cluster } = options;
  let training = resolveTraining(overrides);
  let from: readonly string[] = [];
  let run: Run | undefined;
  const open = async () => run = await openRun(out, { resume, overwrite, options: training, from });
  const prepare = async () => {
    await checkRun(out, { resume, overwrite });
    if (!resume) {
      from = await startingPoints(options.from);
      return;
    }
    const opened = await open();
    const own = resolveTraining(opened.options, opened.path(OPTIONS_FILE));
    training = resolveTraining(resumedOptions(own, overrides, true));
    if (training.steps !== own.steps || training.epochs !== own.epochs) {
      const { steps, epochs } = training;
      await opened.storeOptions({ ...own, steps, epochs });
    }
    from = opened.from;
    return storedOptions(training);
  };
  try {
    const resumed = await leading(cluster, prepare);
    if (cluster?.task && resumed) {
      training = resolveTraining(resumedOptions(resolveTraining(resumed), overrides, true));
    }
    const records = train({
      options: training,
      run: cluster?.task ? undefined : run ?? open,
      from,
      signal,
      cluster,
    });
    return await trainWithProgress(records, options.label ?? training.stage, options.onRecord);
  } finally {
    run?.close();
  }
}

/** What worker 0 finds in the folders, for all workers. */
function leading<T>(cluster: Cluster | undefined, find: () => Promise<T>): Promise<T> {
  return cluster ? cluster.lead(find) : find();
}

/** Whether a folder holds a run that has finished all its steps. */
export async function isFinished(out: string): Promise<boolean> {
  const last = (await scanCheckpoints(join(out, "checkpoints"))).whole.at(-1);
  if (!last) return false;
  const { step, state, options } = last.facts, patience = Number(options.patience ?? 0);
  return step >= Number(state?.steps ?? Infinity) || patience > 0 && Number(state?.unimproved) >= patience;
}

/** The options that all stages share when their sequence is resumed: theirs, with neutral overrides. */
async function rowOptions({ out, overrides }: StageRunOptions): Promise<Readonly<Record<string, unknown>>> {
  for (const stage of STAGE_NAMES) {
    const own = await readRunOptions(join(out, stage));
    if (!own) continue;
    const training = resolveTraining(own, join(out, stage, OPTIONS_FILE));
    return { ...resumedOptions(training, { ...overrides, stage }), stage: undefined };
  }
  throw new UsageError(
    `Cannot resume the stages in ${out}: it has none of ${
      STAGE_NAMES.join(", ")
    }; leave out --resume to start them`,
  );
}

/** Refuses before hours of training what would be refused later: options, data, folders. */
async function checkRow(options: StageRunOptions): Promise<void> {
  for (const stage of STAGE_NAMES) {
    const training = resolveTraining({ ...options.overrides, stage });
    if (stage === STAGE_NAMES[0]) {
      await openPart(training, "train");
      if (training.validateEvery > 0) await openPart(training, "val");
    }
    const out = join(options.out, stage);
    if (!options.resume && await exists(out)) await checkRun(out, { overwrite: options.overwrite });
  }
}

/**
 * Trains all stages in sequence, in folders named after them. When resumed, it continues with the first stage that is
 * not finished; later stages get the options of the earlier ones.
 *
 * @returns The last stage's summary; aborting `signal` ends the sequence.
 * @throws {UsageError} When options or folders do not fit; nothing is trained and nothing is lost then.
 * @throws {CyclopsError} When training fails; what was saved stays.
 */
export async function runAllStages(options: StageRunOptions): Promise<TrainingSummary> {
  const { resume = false, overwrite = false, cluster } = options;
  if (resume && overwrite) {
    throw new UsageError("Cannot open the run: --resume and --overwrite exclude each other");
  }
  const led = await leading(cluster, async () => {
    const overrides = resume ? await rowOptions(options) : options.overrides;
    await checkRow({ ...options, overrides });
    if (overwrite) {
      // All at once: a later stage of the previous row must not pass for one of this row.
      for (const stage of STAGE_NAMES) await removeRun(join(options.out, stage));
    }
    return overrides;
  });
  const overrides = resume ? led : options.overrides;
  let summary: TrainingSummary | undefined;
  for (const stage of STAGE_NAMES) {
    const out = join(options.out, stage), previous = STAGES[stage].from;
    const [finished, there] = await leading(
      cluster,
      async () => resume ? [await isFinished(out), await exists(out)] : [false, false],
    );
    if (finished && stage !== STAGE_NAMES.at(-1)) continue;
    summary = await runStage({
      ...options,
      out,
      overrides: { ...overrides, stage },
      resume: there,
      overwrite: false,
      from: previous ? [join(options.out, previous)] : options.from,
    });
    if (summary.reason === "stopped") break;
  }
  return summary!;
}

/** What short trainings that keep nothing need to know. */
interface TrialOptions {
  readonly overrides: Readonly<Record<string, unknown>>;
  /** Runs, checkpoints or models whose weights to start from. */
  readonly from?: readonly string[];
  readonly signal?: AbortSignal;
}

/** Where to start from: the best checkpoints of runs, model files, and models that come with Cyclops by their names. */
const startingPoints = (places: readonly string[] = []) =>
  Promise.all(places.map(async (place) => {
    const shipped = fromFileUrl(new URL(`../../data/models/${place}.safetensors`, import.meta.url));
    const named = /^[\w-]+$/.test(place) && !await exists(place) && await exists(shipped);
    const model = named ? shipped : place;
    if (!model.endsWith(".safetensors")) return (await findCheckpoint(place, "best")).folder;
    const { license = "" } = (await readSafetensors(model)).metadata;
    if (isNonCommercial(license)) {
      console.error(`What is trained from ${place} is for non-commercial use only, as it is (${license})`);
    }
    return model;
  }));

/** Range of the rates that are tried, and over how many updates they rise. */
const RATES = [1e-6, 0.1] as const, RATE_UPDATES = 120;
/** Losses are smoothed by this; the test ends at this multiple of the lowest. */
const RATE_SMOOTHING = 0.9, DIVERGED = 2;

/** The result of {@linkcode findLearningRate}. */
export interface RateTest {
  /** The rate of each update. */
  readonly rates: readonly number[];
  /** The smoothed loss after each. */
  readonly losses: readonly number[];
  /** Where the loss is lowest; higher rates undo what the lower ones taught. */
  readonly lowest: number;
}

/**
 * A learning-rate range test (Smith 2017): the rate rises exponentially from update to update, until the loss does, too.
 * Keeps nothing.
 *
 * @throws {UsageError} When options or starting point do not fit.
 */
export async function findLearningRate({ overrides, from, signal }: TrialOptions): Promise<RateTest> {
  const options = resolveTraining({ ...overrides, epochs: undefined, steps: RATE_UPDATES, coarse: 0 });
  await selectBackend();
  const dataset = await openPart(options, "train");
  const { size, batch, seed, workers, cacheMib } = options;
  const trainer = new Trainer(options, RATE_UPDATES);
  const progress = new Progress({ label: "learning rates", total: RATE_UPDATES });
  const rates: number[] = [], losses: number[] = [];
  let mean = 0, lowest = 0;
  try {
    await startWeights(trainer, await startingPoints(from));
    using batches = openBatches(dataset, { size, batch, seed, augmentation: options, workers, cacheMib });
    for (let i = 0; i < RATE_UPDATES && !signal?.aborted; i++) {
      const rate = RATES[0] * (RATES[1] / RATES[0]) ** (i / (RATE_UPDATES - 1));
      const result = await trainer.update(await batches.next(), false, rate).catch((error) => {
        // Rates that are far too high end in numbers that are none.
        if (i > RATE_UPDATES / 4 && error instanceof CyclopsError) return undefined;
        throw error;
      });
      if (!result) break;
      mean = RATE_SMOOTHING * mean + (1 - RATE_SMOOTHING) * result.loss;
      const loss = mean / (1 - RATE_SMOOTHING ** (i + 1));
      rates.push(rate);
      losses.push(loss);
      if (loss < losses[lowest]) lowest = i;
      progress.update(i + 1, `rate ${rate.toExponential(1)}`, `loss ${loss.toPrecision(3)}`);
      if (loss > DIVERGED * losses[lowest]) break;
    }
  } finally {
    trainer.dispose();
    progress.finish();
  }
  if (rates.length < 2) throw new CyclopsError("Cannot find a learning rate: it was stopped too early");
  return { rates, losses, lowest: rates[lowest] };
}

/** Where the time of updates goes; medians, ms. */
export interface UpdateProfile {
  /** Waiting for images. */
  readonly waiting: number;
  /** The update: TensorFlow, and reading back the loss. */
  readonly update: number;
  /** Everything else: records, timers. */
  readonly rest: number;
  /** Pairs per second. */
  readonly rate: number;
  /** Resident memory of the process at the end, bytes. */
  readonly memory: number;
  /** A validation, ms, with the compilation that the first one needs, and how many updates a run makes before the next. */
  readonly validation?: { readonly pairs: number; readonly milliseconds: number; readonly every: number };
}

/** Updates before those that are measured: the first ones compile. */
const PROFILE_WARMUP = 5;

/** Times updates of a training that keeps nothing. */
export async function profileUpdates(
  { overrides, from, signal }: TrialOptions,
  updates: number,
): Promise<UpdateProfile> {
  const steps = PROFILE_WARMUP + updates;
  const given = resolveTraining({ ...overrides, epochs: undefined, steps, coarse: 0, patience: 0 });
  const { validateEvery: every } = given, options = { ...given, validateEvery: every && steps };
  const times: Record<"waiting" | "update" | "rest", number[]> = { waiting: [], update: [], rest: [] };
  const progress = new Progress({ label: "profile", total: steps });
  let validation: UpdateProfile["validation"], pairs = 0, began = 0, before = performance.now();
  for await (const record of train({ options, from: await startingPoints(from), signal })) {
    const now = performance.now();
    if (record.kind === "validating") [pairs, began] = [record.pairs, now];
    // Of one that was stopped there is no record.
    if (record.kind === "validation") validation = { pairs, milliseconds: now - began, every };
    if (record.kind !== "step") continue;
    const { milliseconds, waited } = record;
    if (record.step > PROFILE_WARMUP) {
      times.waiting.push(waited);
      times.update.push(milliseconds - waited);
      times.rest.push(now - before - milliseconds);
    }
    progress.update(record.step);
    before = now;
  }
  progress.finish();
  if (times.update.length === 0) throw new CyclopsError("Cannot profile: the training was stopped too early");
  const [waiting, update, rest] = [times.waiting, times.update, times.rest].map(median);
  const rate = 1000 * options.batch / (waiting + update + rest);
  return { waiting, update, rest, rate, validation, memory: Deno.memoryUsage().rss };
}
