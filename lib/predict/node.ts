/**
 * Depth from photographs in Node: TensorFlow.js in WebAssembly, nothing of Deno. `deno task build:npm` makes a package of
 * it.
 *
 * @example
 * ```ts ignore
 * import { loadStudent } from "@cyclops/cyclops";
 *
 * const student = await loadStudent();
 * const depth = await student.predict("photo.jpg");
 * await depth.save("depth.png");
 * ```
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-backend-wasm";
import { CyclopsError } from "../base/errors.ts";
import { readIfThere } from "../base/files.ts";
import { createStudent, findStudent, portablePredictor } from "../models/student.ts";
import { Student, tellLicense } from "./student.ts";

export { CyclopsError, UsageError } from "../base/errors.ts";
export type { StudentInfo } from "../models/student.ts";
export { Points } from "../data/points.ts";
export { Depth } from "./depth.ts";
export { DepthMap } from "./map.ts";
export { Student };

/** Where the package keeps its models. */
const MODELS = new URL("./models/", import.meta.url);

/**
 * Loads a network that predicts photographs.
 *
 * @param model A model file (.safetensors), its URL, or the name of a model that comes with the package.
 * @default the best model of the package; `info.license` says what it may be used for
 * @throws {CyclopsError} When there is none, or it is damaged.
 */
export async function loadStudent(model?: string | URL): Promise<Student> {
  const file = await findStudent(model, MODELS, readIfThere);
  if (!file) {
    throw new CyclopsError(`Cannot load the model ${model ?? ""}: the package has none of that name`);
  }
  if (tf.getBackend() !== "wasm" && !await tf.setBackend("wasm")) {
    throw new CyclopsError("Cannot start TensorFlow.js in WebAssembly");
  }
  await tf.ready();
  tellLicense(file.info);
  return new Student(file.info, portablePredictor(tf, createStudent(tf, file)));
}
