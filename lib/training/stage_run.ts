/**
 * Stages kept in folders: one run a stage, each starting where the former ended.
 *
 * @module
 */
import { join } from "@std/path";
import { CyclopsError, messageOf } from "../base/errors.ts";
import { exists } from "../base/files.ts";
import { findCheckpoint, scanCheckpoints } from "./checkpoint.ts";
import { followTraining, type TrainingSummary } from "./follow.ts";
import { train } from "./loop.ts";
import { resolveTraining } from "./options.ts";
import { checkRun, openRun, type Run } from "./run_folder.ts";
import { STAGE_NAMES, type StageName, STAGES } from "./stages.ts";
import { resumedOptions } from "./start.ts";

/** How a stage is run in a folder. */
export interface StageRunOptions {
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
    return await followTraining(records, options.label ?? training.stage);
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

/**
 * Trains all stages in a row, in folders named after them.
 *
 * @returns The last stage's summary; a `signal` ends the row.
 */
export async function runAllStages(options: StageRunOptions): Promise<TrainingSummary> {
  let summary: TrainingSummary | undefined;
  for (const stage of STAGE_NAMES) {
    const out = join(options.out, stage);
    if (options.resume && await isFinished(out)) continue;
    const former: StageName | undefined = STAGES[stage].from;
    try {
      summary = await runStage({
        ...options,
        out,
        given: { ...options.given, stage },
        resume: options.resume && await exists(out),
        from: former ? [join(options.out, former)] : options.from,
      });
    } catch (error) {
      if (error instanceof CyclopsError) throw error;
      throw new CyclopsError(`Stage ${stage} failed: ${messageOf(error)}`, { cause: error });
    }
    if (summary.reason === "stopped") break;
  }
  if (!summary) throw new CyclopsError(`Cannot resume ${options.out}: all its stages are finished`);
  return summary;
}
