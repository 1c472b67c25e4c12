/**
 * Training as a stream of records: whoever runs it (a task, a notebook, a test) takes them as they come, shows them,
 * and may stop at any of them.
 *
 * @module
 */
import { selectBackend } from "../backend/select.ts";
import { tf } from "../backend/tf.ts";
import { UsageError } from "../base/errors.ts";
import { augmentationOptions, resolveAugmentation } from "../data/augment.ts";
import { type BatchSource, openBatches, readStereo, type StereoBatch } from "../data/loader.ts";
import { type DataPart, openDataset, type StereoDataset } from "../data/dataset.ts";
import type { RgbImage } from "../data/image.ts";
import type { ImageSize } from "../geometry/camera.ts";
import { Alarms, type AlarmState } from "./alarms.ts";
import type { CheckpointFacts } from "./checkpoint.ts";
import { Keeper, type Metrics, type Saved } from "./keeper.ts";
import { refineOptions, storedOptions, type TrainingOptions } from "./options.ts";
import { chainPanel } from "./panels.ts";
import { type Ending, Recorder } from "./recorder.ts";
import type { Run } from "./run_folder.ts";
import { resumeRun, startWeights } from "./start.ts";
import { type StepResult, Trainer } from "./trainer.ts";
import {
  prepareValidation,
  spreadPairs,
  type Validate,
  type ValidationResult,
  type ValidationWiring,
} from "./validation.ts";

/** The project's version, saved with every checkpoint. */
export const VERSION = "0.1.0";

/** What a training tells while it runs. */
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
  }
  /** After every update. */
  | {
    readonly kind: "step";
    readonly step: number;
    readonly steps: number;
    /** The whole update. */
    readonly milliseconds: number;
    /** How much of it was spent waiting for images. */
    readonly waited: number;
  } & StepResult
  /** After a validation. */
  | { readonly kind: "validation"; readonly step: number; readonly validation: ValidationResult }
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
  /**
   * Where it is kept; without one nothing is written. A function is called once all else is known to fit, so that a
   * training that is refused leaves no folder behind. Whoever opens it closes it.
   */
  readonly run?: Run | (() => Promise<Run>);
  /** Checkpoint folders to start from, e.g. that of the former stage; later ones win. */
  readonly from?: readonly string[];
  /** Ends the training after the current update, with a last checkpoint. */
  readonly signal?: AbortSignal;
  /** Training pairs, if they are open already. */
  readonly dataset?: StereoDataset;
  /** Validation pairs, if they are open already; `null` for none. */
  readonly validation?: StereoDataset | null;
}

/** Milliseconds after which signals, timers and a notebook's interrupt are let in; each time costs about two. */
const YIELD_EVERY = 40;

/** The updates of a run: given, or counted from epochs. */
export function plannedSteps(options: TrainingOptions, pairs: number): number {
  if (options.steps !== undefined) return options.steps;
  if (options.epochs === undefined) {
    throw new UsageError("Cannot train: neither steps nor epochs is given");
  }
  return Math.max(1, Math.ceil(options.epochs * pairs / options.batch));
}

/** Whose disparity is measured while a model trains: that of the last network that learns. */
export function validationWiring(options: TrainingOptions): ValidationWiring {
  const { stage, view, border, privilegedTeacher } = options;
  const of = stage === "teacher" ? "teacher" : "student";
  return { view, border, of, refine: refineOptions(options), privileged: privilegedTeacher };
}

/** Validation pairs whose pictures go to TensorBoard. */
const PICTURED = 2;

/** What a stage's validations need. */
interface Inspection {
  readonly measure: Validate;
  /** The pairs whose pictures are made. */
  readonly pictured: readonly StereoBatch[];
  /** What the user should know of them. */
  readonly warnings: readonly string[];
}

async function prepareInspection(
  trainer: Trainer,
  training: StereoDataset,
  given: StereoDataset | null | undefined,
  size: ImageSize,
): Promise<Inspection | undefined> {
  const { options } = trainer;
  if (options.validateEvery === 0 || given === null) return undefined;
  const dataset = spreadPairs(given ?? await openPart(options, "val"), options.validationPairs);
  // Images at a time: no more than a training that fits in memory has.
  const batch = Math.min(8, options.batch / options.accumulate);
  const { measure, withoutTruth } = await prepareValidation(dataset, { size, batch });
  const warnings: string[] = [];
  if (withoutTruth) warnings.push(`validation measures the photometric loss alone: ${withoutTruth}`);
  if (dataset.identity.names === training.identity.names) {
    warnings.push(
      "validation looks at the training pairs themselves: it cannot tell when they are learned by heart",
    );
  }
  const pictured: StereoBatch[] = [];
  if (options.tensorboard) {
    for (const index of new Set([0, dataset.pairs.length >> 1])) {
      if (pictured.length < PICTURED) pictured.push(await readStereo(dataset, index, size));
    }
  }
  return { measure, pictured, warnings };
}

async function drawPanels(
  trainer: Trainer,
  pictured: readonly StereoBatch[],
): Promise<Record<string, RgbImage>> {
  const { options } = trainer;
  const teacher = options.stage === "distill" ? trainer.teacherNetworks : undefined;
  const networks = trainer.chainNetworks, wiring = validationWiring(options);
  const images: Record<string, RgbImage> = {};
  for (const [i, pair] of pictured.entries()) {
    images[`pair${i + 1}`] = (await chainPanel({ networks, teacher, pair, wiring })).image;
  }
  return images;
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
  const { options, signal } = input;
  const backend = await selectBackend();
  const dataset = input.dataset ?? await openPart(options, "train");
  const steps = plannedSteps(options, dataset.pairs.length);
  const trainer = new Trainer(options, steps);
  let batches: BatchSource | undefined;
  let recorder: Recorder | undefined;
  let ending: Ending = "stopped";
  let failure: unknown;
  try {
    let run = typeof input.run === "function" ? undefined : input.run;
    let facts: CheckpointFacts | undefined;
    if (run?.resumed) facts = await resumeRun(trainer, run, dataset);
    else await startWeights(trainer, input.from ?? []);
    const { size } = trainer;
    const { batch, seed, workers, prefetch, cacheMib } = options;
    const augmentation = resolveAugmentation(pick(options, augmentationOptions));
    const coarseSteps = Math.round(options.coarse * steps);
    const sizeAt = (step: number): ImageSize =>
      step < coarseSteps ? { height: size.height / 2, width: size.width / 2 } : size;
    const openFrom = (first: number) =>
      openBatches(dataset, {
        size: sizeAt(first),
        batch,
        seed,
        augmentation,
        workers,
        prefetch,
        cacheMib,
        first,
      });
    batches = openFrom(trainer.step);
    let coarse = trainer.step < coarseSteps;
    // A network sees what it was trained on last: half-size images are what the first steps can be measured by.
    let inspection = await prepareInspection(trainer, dataset, input.validation, sizeAt(trainer.step));
    if (typeof input.run === "function") run = await input.run();

    const record = recorder = new Recorder(run, {
      tensorboard: options.tensorboard,
      step: trainer.step,
      seconds: Number(facts?.state?.seconds ?? 0),
    });
    let alarms = new Alarms(trainer.lossWeights, facts?.state?.alarms as AlarmState | undefined);
    const { stepsPerEpoch } = batches;
    const keeper = run && await Keeper.open(run, trainer, (metrics) => ({
      step: trainer.step,
      epoch: trainer.step / stepsPerEpoch,
      stage: options.stage,
      seed: options.seed,
      options: storedOptions(options),
      data: dataset.identity,
      versions: {
        cyclops: VERSION,
        deno: Deno.version.deno,
        tfjs: tf.version.tfjs,
        [backend.name]: backend.version,
      },
      metrics,
      state: { updates: trainer.optimizer.updates, steps, seconds: record.seconds, alarms: alarms.state },
    }));
    const warn = (message: string): TrainRecord => {
      record.warning(trainer.step, message);
      return { kind: "warning", step: trainer.step, message };
    };
    const told = (saved: Saved | undefined): TrainRecord[] => {
      if (!saved) return [];
      return "folder" in saved
        ? [{ kind: "checkpoint", step: trainer.step, folder: saved.folder }]
        : [warn(saved.problem)];
    };

    const parameters = [...trainer.networks.values()].reduce((n, network) => n + network.parameters, 0);
    const pairs = dataset.pairs.length;
    record.start(trainer.step, { stage: options.stage, steps, pairs, batch, parameters });
    yield { kind: "start", step: trainer.step, steps, parameters, pairs };
    for (const message of [...run?.warnings ?? [], ...inspection?.warnings ?? []]) yield warn(message);

    let yielded = performance.now();
    while (trainer.step < steps && !signal?.aborted) {
      const started = performance.now();
      if (coarse && trainer.step >= coarseSteps) {
        coarse = false;
        batches.close();
        batches = openFrom(trainer.step);
        // At another size the terms stand at other heights.
        inspection = await prepareInspection(trainer, dataset, input.validation, size);
        alarms = new Alarms(trainer.lossWeights);
      }
      let images: StereoBatch;
      try {
        images = await batches.next();
      } catch (error) {
        // Images that cannot be read are no reason to lose what was learned from the others.
        if (keeper) yield* told(await keeper.save({}));
        throw error;
      }
      const waited = performance.now() - started;
      const result = await trainer.update(images);
      const { step } = trainer;
      const milliseconds = performance.now() - started;
      yield { kind: "step", step, steps, milliseconds, waited, ...result };
      if (performance.now() - yielded > YIELD_EVERY) {
        await new Promise((resolve) => setTimeout(resolve, 0));
        yielded = performance.now();
      }
      record.step(step, result, milliseconds);
      for (const message of alarms.check(result)) yield warn(message);

      let metrics: Metrics = {};
      const last = step === steps;
      if (inspection && (last || step % options.validateEvery === 0)) {
        const measured = await inspection.measure(trainer.chainNetworks, validationWiring(options), signal);
        if (measured) {
          // What was measured on half-size images does not compare with what comes later: no candidate for the best.
          if (step > coarseSteps) {
            metrics = Object.fromEntries(Object.entries(measured).filter(([, v]) => v !== undefined));
          }
          record.validation(
            step,
            measured,
            record.wantsImages ? await drawPanels(trainer, inspection.pictured) : {},
          );
          yield { kind: "validation", step, validation: measured };
        }
      }
      const save = last || signal?.aborted || keeper?.due(metrics);
      if (keeper && save) {
        // What a resumed run goes on from must hold all that came before.
        record.flush(step);
        yield* told(await (last ? keeper.saveLast(metrics) : keeper.save(metrics)));
      }
      for (const message of record.problems()) yield warn(`${message}; training goes on`);
    }
    ending = trainer.step >= steps ? "finished" : "stopped";
    if (keeper && ending === "stopped") yield* told(await keeper.saveLast({}));
    recorder.end(trainer.step, ending);
    yield { kind: "end", step: trainer.step, reason: ending, folder: keeper?.last };
  } catch (error) {
    ending = "failed";
    failure = error;
    throw error;
  } finally {
    // A reader who breaks off gets no end record, the file does.
    recorder?.end(trainer.step, ending, failure);
    batches?.close();
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
