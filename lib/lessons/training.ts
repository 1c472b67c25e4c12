/**
 * Short trainings for notebooks: each can be stopped and goes on from another cell, another kernel or another day.
 *
 * @module
 */
import { basename, join } from "@std/path";
import { tf } from "../backend/tf.ts";
import { exists } from "../base/files.ts";
import { Progress } from "../base/progress.ts";
import { median } from "../base/random.ts";
import { lossCurves } from "../charts/curves.ts";
import type { Chart } from "../charts/chart.ts";
import { LiveDisplay, show } from "../charts/display.ts";
import type { StereoDataset } from "../data/dataset.ts";
import { identityDifferences } from "../data/dataset.ts";
import { type CheckpointEntry, findCheckpoint, scanCheckpoints } from "../training/checkpoint.ts";
import { startWeights, train, type TrainRecord } from "../training/loop.ts";
import { type MetricsRecord, readMetrics } from "../training/records.ts";
import { openPart, resolveTraining, type TrainingInput, type TrainingOptions } from "../training/options.ts";
import { openRun, readRunOptions } from "../training/run_folder.ts";
import { Trainer } from "../training/trainer.ts";
import { type LoadedModel, loadModel } from "../training/weights.ts";
import { spreadPairs } from "../training/validation.ts";
import { kittiRoot, openLessonData, PROJECT } from "./data.ts";
import { meanScore } from "./score.ts";

/** Where notebooks keep their runs; those on real data apart. */
export const LESSON_RUNS: string = join(PROJECT, kittiRoot() ? "runs/notebooks/kitti" : "runs/notebooks");

/** Where notebooks keep their student. */
export const STUDENT_RUN: string = join(LESSON_RUNS, "student");

/** What is trained. */
export interface LessonPlan {
  /** Its options; data, size of validation and the like are filled in. */
  readonly given: TrainingInput & { readonly steps: number };
  /** The training whose weights it starts from. */
  readonly from?: LessonName;
}

/**
 * Small images, so that a minute is enough: most of what is learned first can be seen in them. Replicas would take
 * longer to start than they save.
 */
const SMALL = { size: "32x96", coarse: 0 } as const;
const SHORT = {
  ...SMALL,
  steps: 80,
  warmup: 10,
  smoothnessWeight: 0.2,
} as const;
/** Rate of a student that has learned already: a high one would first undo some of it. */
const GOING_ON = 5e-4;
const TEACHER = { ...SHORT, stage: "teacher", freeze: "student,backward" } as const;

/** What the notebooks train. Students that are held against each other get as many updates. */
export const LESSON_PLANS = {
  /** Notebook 04. */
  student: { given: { ...SMALL, steps: 360, smoothnessWeight: 0.2 } },
  /** Notebook 05: the backward network, on a student that stays as it is. */
  cycle: { given: { ...SHORT, stage: "cycle", freeze: "student" }, from: "student" },
  /** Notebook 06. */
  teacher: { given: TEACHER, from: "cycle" },
  /** Notebook 06: the same without the inconsistency. */
  "teacher-blind": { given: { ...TEACHER, blindTeacher: true }, from: "cycle" },
  /** Notebook 07. */
  distilled: { given: { ...SHORT, stage: "distill", learningRate: GOING_ON }, from: "teacher" },
  /** Notebook 07: the same student without a teacher. */
  continued: { given: { ...SHORT, stage: "half-cycle", learningRate: GOING_ON }, from: "teacher" },
} as const satisfies Readonly<Record<string, { readonly given: object; readonly from?: string }>>;

/** A training of {@linkcode LESSON_PLANS}. */
export type LessonName = keyof typeof LESSON_PLANS;

/** What a {@linkcode LessonTraining} is made of. */
export interface LessonTrainingInput {
  /** The run's folder. */
  readonly folder: string;
  /** What is trained. */
  readonly options: TrainingOptions & { readonly steps: number };
  /** Training pairs. */
  readonly dataset: StereoDataset;
  /** Checkpoints whose weights it starts from. @default none */
  readonly from?: readonly string[];
  /** Lines to hold the validation's abs rel against, by name. @default none */
  readonly references?: Readonly<Record<string, number>>;
}

/**
 * A training that goes on where it stopped, and shows its curve in the cell that runs it.
 *
 * All that it learned is in its folder: a cell may be run again, the kernel restarted. A training that went through all
 * its steps, or that was started with other options or data, begins anew.
 *
 * @example
 * ```ts ignore
 * const training = await openLessonTraining("student");
 * await training.run(100); // stops by itself; so does training.stop() from another cell, when this one was not awaited
 * await training.run(); // to the end
 * ```
 */
export class LessonTraining {
  /** The run's folder. */
  readonly folder: string;
  /** Resolved options. */
  readonly options: TrainingOptions & { readonly steps: number };
  readonly #input: LessonTrainingInput;
  readonly #records: (MetricsRecord | TrainRecord)[] = [];
  #step = 0;
  #resume = false;
  #milliseconds = NaN;
  #running: Promise<void> | undefined;
  #stopping: AbortController | undefined;

  private constructor(input: LessonTrainingInput) {
    this.#input = input;
    this.folder = input.folder;
    this.options = input.options;
  }

  /** Looks at what the folder holds; changes nothing. */
  static async open(input: LessonTrainingInput): Promise<LessonTraining> {
    const training = new LessonTraining(input);
    const last = await lastCheckpoint(input);
    if (!last || last.facts.step >= input.options.steps) return training;
    training.#resume = true;
    training.#step = last.facts.step;
    const records = await readMetrics(join(input.folder, "metrics.jsonl"));
    training.#records.push(...records.filter(({ step }) => Number(step) <= last.facts.step));
    return training;
  }

  /** Updates done. */
  get step(): number {
    return this.#step;
  }

  /** Updates in the whole training. */
  get steps(): number {
    return this.options.steps;
  }

  /** Median time of an update in the last run, ms; NaN before any. */
  get millisecondsPerStep(): number {
    return this.#milliseconds;
  }

  /** The last validation's abs rel; `undefined` before any. */
  get absRel(): number | undefined {
    const found = (this.#records as MetricsRecord[]).findLast((record) => "validation" in record);
    return (found?.validation as { readonly absRel?: number } | undefined)?.absRel;
  }

  /** The curve so far. */
  curve(): Chart {
    const rate = Number.isNaN(this.#milliseconds) ? "" : `, ${this.#milliseconds.toFixed(0)} ms a step`;
    return lossCurves(this.#records as MetricsRecord[], {
      title: `Step ${this.#step} of ${this.steps}${rate}`,
      references: this.#input.references,
      log: false,
      width: 760,
      points: 80,
    });
  }

  /**
   * Trains some steps, at most to the end, and saves; the curve is drawn in place meanwhile.
   *
   * @param options.quiet Show a line of progress instead.
   * @throws {UsageError} When another process trains in the folder, or the options do not fit.
   * @throws {Error} When it is running already.
   */
  async run(steps: number = Infinity, options: { readonly quiet?: boolean } = {}): Promise<void> {
    if (this.#running) throw new Error("Cannot run the training: it is running; await training.stop() first");
    this.#stopping = new AbortController();
    const until = Math.min(this.steps, this.#step + steps);
    this.#running = options.quiet ? this.#follow(until) : this.#draw(until);
    try {
      await this.#running;
    } finally {
      this.#running = undefined;
    }
  }

  /** Ends a run after its current step, saved; waits for that. */
  async stop(): Promise<void> {
    this.#stopping?.abort();
    await this.#running;
  }

  async #draw(until: number): Promise<void> {
    const live = new LiveDisplay({ every: 2 });
    const warnings: string[] = [];
    await this.#train(until, async (record) => {
      if (record.kind === "warning") warnings.push(`step ${record.step}: ${record.message}`);
      await live.update(() => this.curve());
    });
    await live.finish(() => this.curve());
    if (warnings.length) await show(warnings.join("\n"));
  }

  async #follow(until: number): Promise<void> {
    const label = basename(this.folder);
    const progress = new Progress({ label, total: until });
    await this.#train(until, ({ step }) => progress.update(step));
    progress.finish(`${label}: trained to step ${this.#step}`);
  }

  async #train(until: number, tell: (record: TrainRecord) => void | Promise<void>): Promise<void> {
    if (this.#step >= until) return;
    const { folder, options, dataset, from } = this.#input;
    const times: number[] = [];
    const how = this.#resume ? { resume: true } : { overwrite: await exists(folder) };
    using run = await openRun(folder, { ...how, options: { ...options }, from });
    const { signal } = this.#stopping!;
    for await (const record of train({ options, run, dataset, from, signal })) {
      this.#step = record.step;
      if (record.kind === "step") times.push(record.milliseconds);
      if (record.kind === "step" || record.kind === "validation") this.#records.push(record);
      this.#milliseconds = median(times);
      await tell(record);
      // The last step ends it by itself, with a validation.
      if (record.step >= until && until < this.steps) this.#stopping!.abort();
    }
    this.#resume = true;
  }

  /**
   * The networks as they are now: of the last checkpoint, or new ones.
   *
   * @returns Dispose them at the end.
   */
  async model(): Promise<LessonModel> {
    const last = this.#resume ? await lastCheckpoint(this.#input) : undefined;
    if (last) return await loadModel(last.folder);
    const trainer = new Trainer(this.options, this.steps);
    await startWeights(trainer, this.#input.from ?? []);
    return {
      networks: trainer.chainNetworks,
      options: this.options,
      size: trainer.size,
      dispose: () => trainer.dispose(),
    };
  }
}

/** Networks, ready to predict. */
export type LessonModel = Pick<LoadedModel, "networks" | "options" | "size" | "dispose">;

/** The last checkpoint of a run that was started with these options and data. */
async function lastCheckpoint(
  { folder, options, dataset }: LessonTrainingInput,
): Promise<CheckpointEntry | undefined> {
  const saved = await readRunOptions(folder);
  if (JSON.stringify(saved) !== JSON.stringify(options)) return undefined;
  const { whole } = await scanCheckpoints(join(folder, "checkpoints"));
  const last = whole.at(-1);
  const other = last?.facts.data && identityDifferences(last.facts.data, dataset.identity).length > 0;
  return other ? undefined : last;
}

/** Pairs of a validation. */
const VALIDATION_PAIRS = 12;

async function inputOf(name: LessonName): Promise<Omit<LessonTrainingInput, "from">> {
  const plan: LessonPlan = LESSON_PLANS[name];
  const { train: dataset, split } = await openLessonData();
  const options = resolveTraining({
    ...plan.given,
    seed: 1,
    data: dataset.root,
    split,
    // The later stages are too short to see anything there.
    validateEvery: name === "student" ? 40 : 0,
    validationPairs: VALIDATION_PAIRS,
    checkpointEvery: 40,
    keep: 1,
    tensorboard: false,
  });
  return { folder: join(LESSON_RUNS, name), options: { ...options, steps: plan.given.steps }, dataset };
}

/**
 * Opens one of the notebooks' trainings. What it starts from is trained first where it is missing.
 *
 * @param options.baseline Hold the validation's abs rel against the train-set mean's on the same frames.
 */
export async function openLessonTraining(
  name: LessonName,
  options: { readonly baseline?: boolean } = {},
): Promise<LessonTraining> {
  const { from }: LessonPlan = LESSON_PLANS[name];
  const before = from ? [await lessonCheckpoint(from)] : [];
  const input = await inputOf(name);
  const references: Record<string, number> = {};
  if (options.baseline) {
    const validation = spreadPairs(await openPart(input.options, "val"), VALIDATION_PAIRS);
    const { absRel } = await meanScore(await openLessonData(), validation, input.options.size);
    references["train-set mean"] = absRel;
  }
  return await LessonTraining.open({ ...input, from: before, references });
}

/**
 * The checkpoint of one of the notebooks' trainings, which is trained now where it is missing or was made with other
 * options or data.
 *
 * @returns The checkpoint's folder.
 */
export async function lessonCheckpoint(name: LessonName): Promise<string> {
  const input = await inputOf(name);
  const last = await lastCheckpoint(input);
  // Half a student will do, half a stage will not.
  if (last && (name === "student" || last.facts.step >= input.options.steps)) return last.folder;
  await (await openLessonTraining(name)).run(Infinity, { quiet: true });
  return (await findCheckpoint(input.folder, "latest")).folder;
}

/** Loads the networks of one of the notebooks' trainings; see {@linkcode lessonCheckpoint}. Dispose them at the end. */
export async function openLessonModel(name: LessonName): Promise<LoadedModel> {
  return await loadModel(await lessonCheckpoint(name));
}

/** How many tensors there are: the same after a cell as before it, unless the cell keeps some. */
export function tensorCount(): number {
  return tf.memory().numTensors;
}

/**
 * The loss terms of a training's first update, before weighting; nothing is saved.
 *
 * @param given Options.
 * @param from Checkpoints whose weights it starts from.
 */
export async function firstTerms(
  given: Readonly<Record<string, unknown>>,
  dataset: StereoDataset,
  from: readonly string[],
): Promise<Readonly<Record<string, number>>> {
  const options = resolveTraining({ coarse: 0, ...given, steps: 1, data: dataset.root });
  for await (const record of train({ options, dataset, validation: null, from })) {
    if (record.kind === "step") return record.terms;
  }
  throw new Error("a training of one step tells about it");
}
