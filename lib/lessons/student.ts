/**
 * A trained student for notebooks that need one.
 *
 * @module
 */
import { join } from "@std/path";
import { exists } from "../base/files.ts";
import { findCheckpoint } from "../training/checkpoint.ts";
import { followTraining } from "../training/follow.ts";
import { train } from "../training/loop.ts";
import { resolveTraining } from "../training/options.ts";
import { openRun } from "../training/run_folder.ts";
import { type LoadedModel, loadModel } from "../training/weights.ts";
import { openLessonData, PROJECT } from "./data.ts";

/** Where notebooks keep their student. */
export const STUDENT_RUN: string = join(PROJECT, "runs/notebooks/student");

/** A student, and where it comes from. */
export interface LessonStudent {
  /** Its networks; dispose them at the end. */
  readonly model: LoadedModel;
  /** In words. */
  readonly source: string;
}

/**
 * Loads a student that has been trained on streets: the quickstart's, or the one that notebooks keep in
 * `runs/notebooks/student`. Without either it trains one for a minute.
 *
 * @param options.steps Updates, if it must be trained.
 */
export async function openLessonStudent(options: { readonly steps?: number } = {}): Promise<LessonStudent> {
  for (const run of [join(PROJECT, "runs/quickstart"), STUDENT_RUN]) {
    if (!await exists(join(run, "checkpoints"))) continue;
    const { folder } = await findCheckpoint(run, "best").catch(() => ({ folder: undefined }));
    if (folder === undefined) continue;
    const model = await loadModel(folder);
    return { model, source: `${run.slice(PROJECT.length + 1)}, ${model.facts.step} steps` };
  }
  const steps = options.steps ?? 250;
  const { train: dataset } = await openLessonData();
  const training = resolveTraining({
    steps,
    seed: 1,
    data: dataset.root,
    validateEvery: 0,
    checkpointEvery: 0,
  });
  using run = await openRun(STUDENT_RUN, { overwrite: true, options: { ...training } });
  const { checkpoint } = await followTraining(
    train({ options: training, run, dataset, validation: null }),
    "student",
  );
  return { model: await loadModel(checkpoint!), source: `trained here, ${steps} steps` };
}
