/**
 * Loads students to predict photographs with, in Deno.
 *
 * @module
 */
import { openPredictor, type PredictOptions } from "../evaluation/predict.ts";
import { loadModel, trainingRig } from "../training/model.ts";
import { Student, tellLicense } from "./student.ts";

/**
 * Loads a network that predicts photographs.
 *
 * @param model A model file (.safetensors), its URL, the name of a model that comes with Cyclops, or a run's folder.
 * @default the best model that comes with Cyclops; `info.license` says what it may be used for
 * @param options.network Whose disparity; a teacher comes with runs only. @default "student"
 * @param options.checkpoint Which of a run's checkpoints. @default "best"
 * @throws {CyclopsError} When there is none, it is damaged, or its weights are not finite.
 * @throws {UsageError} When the teacher is asked for and there is none.
 *
 * @example Three lines
 * ```ts ignore
 * const student = await loadStudent();
 * const depth = await student.predict("photo.jpg");
 * await depth.save("depth.png");
 * ```
 */
export async function loadStudent(
  model?: string | URL,
  options: Pick<PredictOptions, "network"> & { readonly checkpoint?: "best" | "latest" } = {},
): Promise<Student> {
  const loaded = await loadModel(model, options.checkpoint);
  tellLicense(loaded.info);
  const rig = await trainingRig(loaded);
  return new Student({ ...loaded.info, ...rig && { rig } }, openPredictor(loaded, options));
}
