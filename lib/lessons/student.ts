/**
 * A trained student for notebooks that need one.
 *
 * @module
 */
import { join } from "@std/path";
import { exists } from "../base/files.ts";
import { findCheckpoint } from "../training/checkpoint.ts";
import { type LoadedModel, loadModel } from "../training/weights.ts";
import { kittiRoot, PROJECT } from "./data.ts";
import { lessonCheckpoint } from "./training.ts";

/** A student, and where it comes from. */
export interface LessonStudent {
  /** Its networks; dispose them at the end. */
  readonly model: LoadedModel;
  /** In words. */
  readonly source: string;
}

/**
 * Loads a trained student: the quickstart's, which has learned for longer, or the one that notebook 04 trains, which is
 * trained now for a minute where there is none. Where KITTI_DIR is set, one that was trained there.
 */
export async function openLessonStudent(): Promise<LessonStudent> {
  const folder = await quickstart() ?? await lessonCheckpoint("student");
  const model = await loadModel(folder);
  const source = `${folder.slice(PROJECT.length + 1)}, ${model.facts.step} steps`;
  return { model, source };
}

/** The quickstart's best checkpoint. */
async function quickstart(): Promise<string | undefined> {
  const run = join(PROJECT, "runs/quickstart");
  if (kittiRoot() || !await exists(join(run, "checkpoints"))) return undefined;
  const found = await findCheckpoint(run, "best").catch(() => undefined);
  return found?.folder;
}
