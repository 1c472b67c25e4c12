/**
 * Training as a stream of records: whoever runs it (a task, a notebook, a test) handles each, and may stop at any.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { join } from "@std/path";
import project from "../../deno.json" with { type: "json" };
import { cacheFolder } from "../backend/install.ts";
import { selectBackend } from "../backend/select.ts";
import { tf } from "../backend/tf.ts";
import { CyclopsError, messageOf, UsageError } from "../base/errors.ts";
import { exists } from "../base/files.ts";
import { identityDifferences, type StereoDataset } from "../data/dataset.ts";
import type { TensorMap } from "../data/safetensors.ts";
import { checkTruth } from "../evaluation/truth.ts";
import { canonicalScales } from "../geometry/camera.ts";
import { type BatchSource, openBatches, type StereoBatch } from "../data/loader.ts";
import type { Cluster } from "./cluster.ts";
import {
  bestBy,
  type CheckpointContent,
  Checkpointer,
  type CheckpointFacts,
  loadCheckpoint,
  loadWeights,
  type Saved,
  type ValidationMetrics,
} from "./checkpoint.ts";
import { openPart, PLACE, refusedRefine, storedOptions, type TrainingOptions } from "./options.ts";
import { Diagnostics, type DiagnosticsState, type Ending, Recorder } from "./records.ts";
import { OPTIONS_FILE, type Run } from "./run_folder.ts";
import { STAGES } from "./stages.ts";
import { type StepResult, Trainer } from "./trainer.ts";
import { openValidation, type RunValidation, type ValidationResult } from "./validation.ts";
import {
  applyPretrained,
  collectMoments,
  collectWeights,
  hasNetwork,
  loadLite0,
  restoreMoments,
  restoreWeights,
} from "./weights.ts";

/** An event of a training. */
export type TrainRecord =
  /** Once, at the start. */
  | {
    readonly kind: "start";
    readonly step: number;
    readonly steps: number;
    /** Weights of all networks. */
    readonly parameters: number;
    /** Training pairs. */
    readonly pairs: number;
    /** In a cluster: how many train together, and how long the exchange of an update's gradients takes by itself. */
    readonly exchange?: {
      readonly workers: number;
      readonly bytes: number;
      readonly milliseconds: number;
    };
  }
  /** After every update. */
  | {
    readonly kind: "step";
    readonly step: number;
    readonly steps: number;
    /** Time of the whole update, ms. */
    readonly milliseconds: number;
    /** How much of it was spent waiting for images, ms. */
    readonly waited: number;
  } & StepResult
  /** Before a validation. */
  | { readonly kind: "validating"; readonly step: number; readonly pairs: number }
  /** After a validation. */
  | { readonly kind: "validation"; readonly step: number; readonly validation: ValidationResult }
  /** A checkpoint was written. */
  | { readonly kind: "checkpoint"; readonly step: number; readonly folder: string }
  /** Something the user should know; training continues. */
  | { readonly kind: "warning"; readonly step: number; readonly message: string }
  /** Once, at the end. */
  | {
    readonly kind: "end";
    readonly step: number;
    readonly reason: "finished" | "stopped";
    /** How many validations in a row were no better than the best, where that ended it early. */
    readonly unimproved?: number;
    /** The last checkpoint. */
    readonly folder?: string;
    /** The step of the best checkpoint, where there were validations. */
    readonly best?: number;
  };

/** The input of a training besides its options. */
export interface TrainInput {
  /** As `resolveTraining` returns them. */
  readonly options: TrainingOptions;
  /**
   * Where it is saved; without one nothing is written. A function is called once all else is known to fit, so that a
   * training that is refused leaves no folder behind. Whoever opens it closes it.
   */
  readonly run?: Run | (() => Promise<Run>);
  /** Checkpoint folders to start from, e.g. that of the previous stage; later ones win. */
  readonly from?: readonly string[];
  /** Stops the training after the current update, with a last checkpoint. */
  readonly signal?: AbortSignal;
  /** Training pairs, if they are open already. */
  readonly dataset?: StereoDataset;
  /** The workers to train with, all on the same options; only worker 0 needs `run` and `from`. @default none */
  readonly cluster?: Cluster;
}

/** Milliseconds after which signals, timers and a notebook's interrupt are let in; each time costs about two. */
const YIELD_EVERY = 40;

/** The updates of a run: given, or counted from epochs. */
function plannedSteps(options: TrainingOptions, pairs: number): number {
  if (options.steps !== undefined) return options.steps;
  if (options.epochs === undefined) {
    throw new UsageError("Cannot train: neither steps nor epochs is given");
  }
  return Math.max(1, Math.ceil(options.epochs * pairs / options.batch));
}

/**
 * Initializes a stage's networks with the weights of checkpoints, as far as these have them; others start from
 * pretrained weights if the options say so.
 *
 * @param from Checkpoint folders and model files; later ones win.
 * @throws {UsageError} When a frozen network is in none of them.
 * @throws {CyclopsError} When a checkpoint is damaged or belongs to another architecture.
 */
export async function startWeights(trainer: Trainer, from: readonly string[]): Promise<void> {
  const { options, networks } = trainer;
  if (options.pretrained) {
    const weights = await loadLite0();
    for (const network of networks.values()) {
      if (network.plan.architecture.name === "lite0") applyPretrained(network, weights);
    }
  }
  const missing = new Set(networks.keys());
  for (const folder of from) {
    const { model, options: stored } = await loadWeights(folder);
    for (const [name, network] of networks) {
      // When distilling, the teacher's student and the new one both start from the previous student.
      const saved = name === "teacherStudent" ? "student" : name;
      if (name === "student" && options.stage === "distill" && options.distillFrom === "scratch") continue;
      if (!hasNetwork(model, saved)) continue;
      if (options.teacherArchitecture) {
        // The larger teacher has a run of its own.
        if (stored.architecture !== network.plan.architecture.name) continue;
        if (name === "teacherStudent") {
          checkSame(["padding", "camera", "view"], stored, options, folder);
        }
      }
      if (name === "refine") checkRefine(stored, options, folder);
      restoreWeights(network, model, folder, saved);
      missing.delete(name);
    }
  }
  // A new teacher starts as a copy of the student that it refines.
  if (missing.has("refine") && trainer.trainable.includes("refine")) trainer.warmStart();
  const taught = options.stage === "distill" && options.distillFrom === "student";
  const needed = [...networks.keys()].filter((name) =>
    missing.has(name) && (!trainer.trainable.includes(name) || taught && name === "student")
  ).map((name) => name === "teacherStudent" ? `${options.teacherArchitecture ?? ""} student`.trim() : name);
  if (needed.length) {
    const names = [...new Set(needed)];
    // What a student alone teaches needs no teacher's run.
    const source = options.teacher === "flip" ? "half-cycle" : STAGES[options.stage].from ?? options.stage;
    throw new UsageError(
      `Cannot train stage ${options.stage}: it needs a trained ${names.join(" and ")} to start from, but ` +
        `${from.length ? `${from.join(", ")} has none` : "--from is not given"}; ` +
        `give --from with a run of stage ${source}`,
    );
  }
}

/**
 * Refuses a refine network that this run would not run as it was trained.
 *
 * @param stored Options of the checkpoint that it is from.
 * @throws {UsageError} When its inputs or its head are others, or its features mean other things than the student's.
 */
function checkRefine(
  stored: Readonly<Record<string, unknown>>,
  options: TrainingOptions,
  folder: string,
): void {
  const refused = refusedRefine(stored);
  if (refused) throw refusedTeacher(folder, refused);
  if (stored.refineHead !== undefined && options.stage === "distill" && options.distill !== "disp") {
    throw refusedTeacher(
      folder,
      "its refine network did not start as a copy of the student, so that its features mean other things; " +
        "give --distill disp",
    );
  }
  checkSame(["teacherInputs", "blindTeacher", "privilegedTeacher"], stored, options, folder);
}

/** Refuses a teacher that was trained with other options. @throws {UsageError} Naming the first that differs. */
function checkSame(
  keys: readonly (keyof TrainingOptions)[],
  stored: Readonly<Record<string, unknown>>,
  options: TrainingOptions,
  folder: string,
): void {
  const own = storedOptions(options);
  for (const key of keys) {
    if (stored[key] === undefined || stored[key] === own[key]) continue;
    const why = `it was trained with ${key} ${stored[key]} and this run has ${own[key]}, expected the same`;
    throw refusedTeacher(folder, why);
  }
}

function refusedTeacher(folder: string, why: string): UsageError {
  return new UsageError(`Cannot use the teacher in ${folder}: ${why}`);
}

/**
 * Restores a run's last checkpoint: weights, optimizer, step.
 *
 * @throws {UsageError} When the data are not those it was trained on.
 * @throws {CyclopsError} When the checkpoint is damaged.
 */
async function resumeRun(
  trainer: Trainer,
  run: Run,
  checkpoint: string,
  dataset: StereoDataset,
): Promise<CheckpointFacts> {
  const { folder, facts, model, optimizer } = await loadCheckpoint(checkpoint);
  const differences = facts.data ? identityDifferences(facts.data, dataset.identity) : [];
  if (differences.length) {
    throw new UsageError(
      `Cannot resume the run in ${run.folder}: it was trained on other data (${differences.join("; ")})`,
    );
  }
  if (!optimizer) {
    throw new CyclopsError(
      `Cannot resume the run in ${run.folder}: ${folder} has only weights, no optimizer moments; ` +
        `start a new run with --from ${folder}`,
    );
  }
  if (trainer.networks.has("refine")) checkRefine(facts.options, trainer.options, folder);
  const networks = [...trainer.networks.values()];
  for (const network of trainer.evaluated.values()) restoreWeights(network, model, folder);
  // The weights that an average is of are saved beside their moments.
  for (const name of trainer.averages.keys()) {
    restoreWeights(trainer.networks.get(name)!, withoutSuffix(optimizer, RAW), folder);
  }
  restoreMoments(trainer.optimizer, networks, optimizer, Number(facts.state?.updates ?? facts.step));
  trainer.step = facts.step;
  return facts;
}

/** Makes sure that all workers train the same, from the weights of worker 0. */
async function synchronize(trainer: Trainer, cluster: Cluster, dataset: StereoDataset) {
  const { options, networks, averages } = trainer;
  const { batch, accumulate } = options;
  if (batch % (accumulate * cluster.size) !== 0) {
    const parts = accumulate > 1 ? ` times ${accumulate} parts (--accumulate)` : "";
    throw new UsageError(
      `Cannot train: batch is ${batch}, expected a multiple of the ${cluster.size} workers${parts}`,
    );
  }
  const own = Object.entries(storedOptions(options)).filter(([name]) => !PLACE.includes(name));
  const data = Object.entries(dataset.identity).map(([name, value]) => [`data ${name}`, value]);
  await cluster.compare({
    cyclops: project.version,
    tfjs: tf.version.tfjs,
    ...cluster.versions,
    ...Object.fromEntries([...own, ...data]),
  });
  const all = [...networks.values(), ...averages.values()];
  const variables = all.flatMap((network) => [...network.variables.values()]);
  trainer.step = await cluster.synchronize(variables, trainer.optimizer, trainer.step);
  const hash = createHash("sha256");
  for (const { data } of (await collectWeights(all)).values()) hash.update(data as Float32Array);
  await cluster.compare({ "the hash of the initial weights": hash.digest("hex") });
  const count = trainer.trainableVariables.reduce((sum, { size }) => sum + size, 0);
  return { workers: cluster.size, bytes: 4 * count, milliseconds: cluster.timeExchange(count) };
}

/** After the name of a weight whose running mean is in the model. */
const RAW = "/raw";

async function rawWeights({ networks, averages }: Trainer): Promise<TensorMap> {
  const weights = await collectWeights([...averages.keys()].map((name) => networks.get(name)!));
  return new Map([...weights].map(([name, tensor]) => [name + RAW, tensor]));
}

function withoutSuffix(tensors: TensorMap, suffix: string): TensorMap {
  const named = [...tensors].filter(([name]) => name.endsWith(suffix));
  return new Map(named.map(([name, tensor]) => [name.slice(0, -suffix.length), tensor]));
}

/**
 * Trains one stage.
 *
 * Breaking out of the iteration ends the training at once; `signal` stops it in an orderly way, with a checkpoint.
 * Memory is freed either way.
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
  const { options, signal, cluster } = input;
  const backend = await selectBackend();
  const dataset = input.dataset ?? await openPart(options, "train");
  const pairs = dataset.pairs.length;
  const steps = plannedSteps(options, pairs);
  if (options.camera === "canonical") {
    canonicalScales(dataset.pairs.map(({ camera }) => camera), dataset.pairs.map(({ left }) => left));
  }
  if (options.hints === "truth") {
    for (const [root, group] of Map.groupBy(dataset.pairs, (pair) => pair.root ?? dataset.root)) {
      await checkTruth(root, group, "dense").catch((error) => {
        throw new CyclopsError(
          messageOf(error).replace("Cannot evaluate", "Cannot train with --hints truth"),
        );
      });
    }
  }
  const trainer = new Trainer(options, steps, cluster);
  // In a cluster all stop after the same update.
  const stopped = () => cluster ? trainer.stopping : signal?.aborted;
  let batches: BatchSource | undefined;
  let recorder: Recorder | undefined;
  let ending: Ending = "stopped";
  let failure: unknown;
  try {
    let run = typeof input.run === "function" ? undefined : input.run;
    const restore = async () => {
      if (run?.resumed) return await resumeRun(trainer, run, run.resumed.folder, dataset);
      await startWeights(trainer, input.from ?? []);
    };
    const resumed = await (cluster ? cluster.lead(restore) : restore());
    const exchange = cluster && await synchronize(trainer, cluster, dataset);

    const { size, batch, seed, workers, prefetch, cacheMib } = options;
    const half = { height: size.height / 2, width: size.width / 2 };
    const coarseSteps = Math.round(options.coarse * steps);
    const isCoarse = () => trainer.step < coarseSteps;
    // Coarse steps are also validated at half the size: networks perform best at the size they were trained at last.
    let coarse = isCoarse();
    let validation: RunValidation | undefined;
    const hints = trainer.lossWeights.hint > 0 && options.hints !== "none"
      ? { kind: options.hints, size, folder: join(cacheFolder(), "hints") }
      : undefined;
    const openData = async () => {
      const now = coarse ? half : size, first = trainer.step;
      batches?.close();
      batches = openBatches(dataset, {
        size: now,
        batch,
        seed,
        augmentation: options,
        workers,
        prefetch,
        cacheMib,
        hints,
        first,
        share: cluster && { index: cluster.task, of: cluster.size },
      });
      validation = await openValidation(options, dataset, now, cluster);
    };
    await openData();
    const { stepsPerEpoch } = batches!;
    if (typeof input.run === "function") run = await input.run();

    const record = recorder = new Recorder(run?.metrics, {
      tensorboard: options.tensorboard ? run?.path("tensorboard") : undefined,
      step: trainer.step,
      seconds: Number(resumed?.state?.seconds ?? 0),
    });
    const state = resumed?.state;
    let diagnostics = new Diagnostics(
      trainer.lossWeights,
      // Checkpoints of version 0.1 call them alarms.
      (state?.diagnostics ?? state?.alarms) as DiagnosticsState | undefined,
    );
    // For early stopping: the best validation so far, and how many came since.
    let best = Number(state?.best ?? Infinity), unimproved = Number(state?.unimproved ?? 0);
    const exhausted = () => options.patience > 0 && unimproved >= options.patience;
    // Whether the validation of this step is due: what stops a run skips it, and the resumed run makes up for it.
    let unvalidated = state?.unvalidated === true;
    const validated = async function* (): AsyncGenerator<TrainRecord, ValidationMetrics> {
      if (!validation || !unvalidated) return {};
      const { step } = trainer;
      yield { kind: "validating", step, pairs: validation.pairs };
      const measured = await validation.validate(trainer.evaluatedChain, options, signal);
      if (!measured) return {};
      unvalidated = false;
      let metrics: ValidationMetrics = {};
      // What was measured at half the size does not compare with what comes later: no candidate for the best.
      if (step > coarseSteps) {
        metrics = Object.fromEntries(Object.entries(measured).filter(([, v]) => v !== undefined));
        const value = metrics[bestBy(options, metrics)!];
        // What is not finite is no improvement, and must not become the best.
        unimproved = value < best ? 0 : unimproved + 1;
        if (value < best) best = value;
      }
      const teacher = options.stage === "distill" ? trainer.teacherNetworks : undefined;
      const images = record.wantsImages ? await validation.draw(trainer.evaluatedChain, teacher) : {};
      await record.validation(step, measured, images);
      yield { kind: "validation", step, validation: measured };
      return metrics;
    };
    const content = async (metrics: ValidationMetrics): Promise<CheckpointContent> => {
      if (!await exists(run!.path(OPTIONS_FILE))) {
        throw new CyclopsError(
          `Cannot save the run in ${run!.folder}: its folder was deleted during the training`,
        );
      }
      const networks = [...trainer.networks.values()];
      return {
        model: await collectWeights(trainer.evaluated.values()),
        optimizer: new Map([
          ...await collectMoments(trainer.optimizer, networks),
          ...await rawWeights(trainer),
        ]),
        facts: {
          step: trainer.step,
          epoch: trainer.step / stepsPerEpoch,
          stage: options.stage,
          seed,
          options: storedOptions(options),
          data: dataset.identity,
          versions: {
            cyclops: project.version,
            deno: Deno.version.deno,
            tfjs: tf.version.tfjs,
            [backend.name]: backend.version,
          },
          metrics,
          state: {
            updates: trainer.step,
            steps,
            seconds: record.seconds,
            diagnostics: diagnostics.state,
            ...best < Infinity && { best, unimproved },
            ...unvalidated && { unvalidated },
          },
        },
      };
    };
    const checkpointer = run && new Checkpointer(run, trainer, content);
    const warn = (message: string): TrainRecord => {
      record.warning(trainer.step, message);
      return { kind: "warning", step: trainer.step, message };
    };
    const report = (saved: Saved | undefined): TrainRecord[] => {
      if (!saved) return [];
      return "folder" in saved
        ? [{ kind: "checkpoint", step: trainer.step, folder: saved.folder }]
        : [warn(saved.problem)];
    };

    const parameters = [...trainer.networks.values()].reduce((n, network) => n + network.parameters, 0);
    record.start(trainer.step, { stage: options.stage, steps, pairs, batch, parameters });
    yield { kind: "start", step: trainer.step, steps, parameters, pairs, exchange };
    const planned = state?.steps ?? steps;
    const extended = planned === steps
      ? []
      : [`the run is extended from ${planned} to ${steps} steps, with the learning rate of the longer run`];
    const untrained = options.photometricViews === "target" && options.view === "left"
      ? ["photometric-views target trains the evaluated disparity, that of the input, by consistency alone"]
      : [];
    for (
      const message of [...run?.warnings ?? [], ...validation?.warnings ?? [], ...untrained, ...extended]
    ) {
      yield warn(message);
    }
    if (unvalidated) {
      const metrics = yield* validated();
      if (checkpointer?.due(metrics)) yield* report(await checkpointer.save(metrics));
    }

    let yielded = performance.now();
    while (trainer.step < steps && !stopped() && !exhausted()) {
      const started = performance.now();
      if (coarse && !isCoarse()) {
        coarse = false;
        await openData();
        // The level of the terms depends on the size.
        diagnostics = new Diagnostics(trainer.lossWeights);
      }
      let images: StereoBatch;
      try {
        images = await batches!.next();
      } catch (error) {
        // Images that cannot be read are no reason to lose what was learned from the others.
        if (checkpointer) yield* report(await checkpointer.save({}));
        throw error;
      }
      const waited = performance.now() - started;
      const result = await trainer.update(images, signal?.aborted);
      const { step } = trainer;
      const milliseconds = performance.now() - started;
      yield { kind: "step", step, steps, milliseconds, waited, ...result };
      if (performance.now() - yielded > YIELD_EVERY) {
        await new Promise((resolve) => setTimeout(resolve, 0));
        yielded = performance.now();
      }
      record.step(step, result, milliseconds);
      for (const message of diagnostics.check(result)) yield warn(message);

      const final = step === steps;
      unvalidated = validation !== undefined && (final || step % options.validateEvery === 0);
      const metrics = yield* validated();
      const last = final || exhausted();
      if (checkpointer && (last || stopped() || checkpointer.due(metrics))) {
        // The log must hold all that came before the checkpoint.
        record.flush(step);
        yield* report(await checkpointer.save(metrics, last));
      }
      for (const message of record.problems()) yield warn(`${message}; training continues`);
    }
    ending = trainer.step >= steps || exhausted() ? "finished" : "stopped";
    if (checkpointer && ending === "stopped") yield* report(await checkpointer.save({}, true));
    recorder.end(trainer.step, ending);
    const early = ending === "finished" && trainer.step < steps ? { unimproved } : {};
    yield {
      kind: "end",
      step: trainer.step,
      reason: ending,
      ...early,
      folder: checkpointer?.last,
      ...checkpointer?.best !== undefined && { best: checkpointer.best },
    };
  } catch (error) {
    ending = "failed";
    failure = cluster ? await cluster.explain(error) : error;
    throw failure;
  } finally {
    // Whoever breaks out of the iteration gets no end record, the file does.
    recorder?.end(trainer.step, ending, failure);
    batches?.close();
    trainer.dispose();
  }
}
