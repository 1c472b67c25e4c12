/**
 * Stages kept in folders: one run a stage, each starting where the former ended.
 *
 * @module
 */
import { join } from "@std/path";
import { UsageError } from "../base/errors.ts";
import { exists } from "../base/files.ts";
import { findCheckpoint, scanCheckpoints } from "./checkpoint.ts";
import { type FollowOptions, followTraining, type TrainingSummary } from "./follow.ts";
import { openPart, train } from "./loop.ts";
import { resolveTraining } from "./options.ts";
import { checkRun, openRun, readRunOptions, removeRun, type Run } from "./run_folder.ts";
import { STAGE_NAMES, STAGES } from "./stages.ts";
import { resumedOptions } from "./start.ts";

/** How a stage is run in a folder. */
export interface StageRunOptions extends FollowOptions {
  /** The run's folder. */
  readonly out: string;
  /** Options as the user gave them; a resumed run keeps its own, see `resumedOptions`. */
  readonly given: Readonly<Record<string, unknown>>;
  /** Go on with the run that the folder holds. @default false */
  readonly resume?: boolean;
  /** Start anew, losing it. @default false */
  readonly overwrite?: boolean;
  /** Runs or checkpoints whose weights to start from; later ones win. */
  readonly from?: readonly string[];
  /** Ends the training in good order. */
  readonly signal?: AbortSignal;
  /** Before the progress bar. @default the stage's name */
  readonly label?: string;
}

/**
 * Trains one stage in a folder. A call that is refused leaves the folder as it was.
 *
 * @throws {UsageError} When options, folder or starting point do not fit.
 * @throws {CyclopsError} When training fails; what was saved stays.
 */
export async function runStage(options: StageRunOptions): Promise<TrainingSummary> {
  const { out, given, resume = false, overwrite = false, signal } = options;
  await checkRun(out, { resume, overwrite });
  let training = resolveTraining(given);
  let from: readonly string[] = [];
  if (!resume) {
    from = await Promise.all(
      (options.from ?? []).map(async (place) => (await findCheckpoint(place, "best")).folder),
    );
  }
  let run: Run | undefined;
  const open = async () => run = await openRun(out, { resume, overwrite, options: { ...training }, from });
  try {
    if (resume) {
      const opened = await open();
      training = resolveTraining(resumedOptions(resolveTraining(opened.options), given));
      from = opened.from;
    }
    const records = train({ options: training, run: run ?? open, from, signal });
    return await followTraining(records, options.label ?? training.stage, options);
  } finally {
    run?.close();
  }
}

/** Whether a folder holds a run that went through all its steps. */
export async function isFinished(out: string): Promise<boolean> {
  const folder = join(out, "checkpoints");
  if (!await exists(folder)) return false;
  const { whole } = await scanCheckpoints(folder);
  const last = whole.at(-1);
  return last !== undefined && last.facts.step >= Number(last.facts.state?.steps ?? Infinity);
}

/** What the stages of a row that is resumed have in common, and what was given now. */
async function rowOptions({ out, given }: StageRunOptions): Promise<Readonly<Record<string, unknown>>> {
  for (const stage of STAGE_NAMES) {
    const own = await readRunOptions(join(out, stage));
    if (own) return { ...resumedOptions(resolveTraining(own), { ...given, stage }), stage: undefined };
  }
  throw new UsageError(
    `Cannot resume the stages in ${out}: there is none of ${
      STAGE_NAMES.join(", ")
    }; leave out --resume to start them`,
  );
}

/** Finds out what would be refused before hours of training: options, data, folders. */
async function checkRow(options: StageRunOptions): Promise<void> {
  for (const stage of STAGE_NAMES) {
    const training = resolveTraining({ ...options.given, stage });
    if (stage === STAGE_NAMES[0]) {
      await openPart(training, "train");
      if (training.validateEvery > 0) await openPart(training, "val");
    }
    const out = join(options.out, stage);
    if (!options.resume && await exists(out)) await checkRun(out, { overwrite: options.overwrite });
  }
}

/**
 * Trains all stages in a row, in folders named after them. Resumed, it goes on with the first that is not finished;
 * stages that are still to come get the options of those that were.
 *
 * @returns The last stage's summary; a `signal` ends the row.
 * @throws {UsageError} When options or folders do not fit; nothing is trained, nothing is lost then.
 * @throws {CyclopsError} When training fails; what was saved stays.
 */
export async function runAllStages(options: StageRunOptions): Promise<TrainingSummary> {
  const { resume = false, overwrite = false } = options;
  if (resume && overwrite) {
    throw new UsageError("Cannot open the run: --resume and --overwrite exclude each other");
  }
  const given = resume ? await rowOptions(options) : options.given;
  await checkRow({ ...options, given });
  if (overwrite) {
    // All at once: a later stage of the former row must not pass for one of this row.
    for (const stage of STAGE_NAMES) await removeRun(join(options.out, stage));
  }
  const run = async (stage: (typeof STAGE_NAMES)[number]) => {
    const out = join(options.out, stage), former = STAGES[stage].from;
    const from = former ? [join(options.out, former)] : options.from;
    const there = resume && await exists(out);
    return await runStage({
      ...options,
      out,
      given: { ...given, stage },
      resume: there,
      overwrite: false,
      from,
    });
  };
  let summary: TrainingSummary | undefined;
  for (const stage of STAGE_NAMES) {
    if (resume && stage !== STAGE_NAMES.at(-1) && await isFinished(join(options.out, stage))) continue;
    summary = await run(stage);
    if (summary.reason === "stopped") break;
  }
  return summary!;
}
