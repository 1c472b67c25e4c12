/**
 * Trained models: loaded from a run, a checkpoint or a model file, and saved as one file. Training needs none of this.
 *
 * @module
 */
import { basename } from "@std/path";
import { selectBackend } from "../backend/select.ts";
import { CyclopsError } from "../base/errors.ts";
import { exists, readIfThere, writeAtomic } from "../base/files.ts";
import { notFinite, type TensorMap } from "../data/safetensors.ts";
import { CANONICAL_RIG, type ImageSize, type Rig } from "../geometry/camera.ts";
import { ARCHITECTURES } from "../models/architecture.ts";
import { type Networks, refineChannels, type RefineOptions } from "../models/chain.ts";
import { createNetwork, disposeNetwork, type Network } from "../models/network.ts";
import { encodeStudent, findStudent, type StudentInfo } from "../models/student.ts";
import { type CheckpointFacts, findCheckpoint, loadCheckpoint } from "./checkpoint.ts";
import { openPart, refineOptions, refusedRefine, resolveTraining, type TrainingOptions } from "./options.ts";
import type { NetworkName } from "./stages.ts";
import { hasNetwork, restoreWeights } from "./weights.ts";

/** A trained model, ready to predict. */
export interface LoadedModel {
  /** The networks in the checkpoint or model file. */
  readonly networks: Networks;
  /** What whoever uses the student must know. */
  readonly info: StudentInfo;
  /** The options it was trained with; of a model file, those that concern its network, and defaults. */
  readonly options: TrainingOptions;
  /** The checkpoint's metadata; a model file has none. */
  readonly facts?: CheckpointFacts;
  /** The checkpoint's folder, or the model file. */
  readonly folder: string;
  /** Size of its networks' input, px. */
  readonly size: ImageSize;
  /** What its refine network sees. */
  readonly refine: RefineOptions;
  /** Why there is no refine network to predict with, where there is none. */
  readonly withoutTeacher?: string;
  /** Frees the weights. */
  dispose(): void;
}

/** Where the models that come with Cyclops lie. */
const MODELS = new URL("../../data/models/", import.meta.url);

/**
 * Loads the networks of a run or of one checkpoint, or the student of a model file.
 *
 * @param place A run's folder, a checkpoint's own folder, a model file (.safetensors), its URL, or the name of a model
 * that comes with Cyclops. @default the best model that comes with Cyclops
 * @param which The run's checkpoint with the best validation metric, or its last one.
 * @throws {CyclopsError} When it is damaged, has no student, its weights do not fit its own options, or are not finite.
 */
export async function loadModel(
  place?: string | URL,
  which: "best" | "latest" = "best",
): Promise<LoadedModel> {
  await selectBackend();
  if (typeof place !== "string" || place.endsWith(".safetensors") || !await exists(place)) {
    const found = await findStudent(place, MODELS, readIfThere);
    if (found) return modelOf(found.tensors, found.info, found.path);
  }
  if (place === undefined) {
    throw new CyclopsError(
      "Cannot load a model: none is in data/models; name a run, e.g. one that deno task quickstart trains",
    );
  }
  const { folder } = await findCheckpoint(String(place), which);
  const { model, facts } = await loadCheckpoint(folder, "model");
  const options = resolveTraining(facts.options, `${folder}/checkpoint.json`);
  const bad = notFinite(model);
  if (bad) {
    throw new CyclopsError(`Cannot load ${folder}: the weights ${bad} are not finite: its training failed`);
  }
  const info = infoOf(options, basename(String(place)));
  return { ...modelOf(model, info, folder, options, facts.options), facts };
}

/** Builds the networks that weights belong to. */
function modelOf(
  weights: TensorMap,
  info: StudentInfo,
  folder: string,
  options = optionsOf(info),
  stored: Readonly<Record<string, unknown>> = {},
): LoadedModel {
  const architecture = ARCHITECTURES[options.architecture];
  const made: Network[] = [];
  const dispose = () => made.forEach(disposeNetwork);
  const refine = refineOptions(options);
  const restore = (scope: NetworkName): Network | undefined => {
    if (!hasNetwork(weights, scope)) return undefined;
    const inputChannels = scope === "refine" ? refineChannels(architecture, refine) : 3;
    const network = createNetwork({ scope, architecture, inputChannels, padding: options.padding });
    made.push(network);
    restoreWeights(network, weights, folder);
    return network;
  };
  try {
    const student = restore("student");
    if (!student) throw new CyclopsError(`Cannot load ${folder}: it has no student network`);
    const distilled = hasNetwork(weights, "teacherStudent") || hasNetwork(weights, "guide");
    const withoutTeacher = distilled
      ? "it holds a distilled student; its teacher is in the run of stage teacher that it started from"
      : hasNetwork(weights, "refine")
      ? refusedRefine(stored)
      : "it has no refine network, which stage teacher trains";
    const backward = distilled ? undefined : restore("backward");
    const networks: Networks = { student, backward, refine: withoutTeacher ? undefined : restore("refine") };
    return { networks, info, options, folder, size: info.size, refine, withoutTeacher, dispose };
  } catch (error) {
    dispose();
    throw error;
  }
}

/** What a run's options say about its student. */
function infoOf(options: TrainingOptions, name: string): StudentInfo {
  const { architecture, size, view, camera, padding, data } = options;
  const rig = camera === "canonical" && { rig: CANONICAL_RIG };
  const rest = { license: "not given", commit: "not given", data: data.replace(/[^,]*\//g, "") };
  return { name, architecture, size, view, camera, padding, ...rig, ...rest };
}

/** Training options as far as a model file knows them. */
function optionsOf({ architecture, size, view, camera, padding }: StudentInfo): TrainingOptions {
  return resolveTraining({ architecture, size, view, camera, padding, coarse: 0 });
}

/**
 * The rig whose disparities a model predicts: the canonical one, or that of its training data where they are still there
 * and one rig took them all.
 */
export async function trainingRig(
  { info, options }: Pick<LoadedModel, "info" | "options">,
): Promise<Rig | undefined> {
  if (info.rig) return info.rig;
  let rigs: Rig[];
  try {
    const { pairs } = await openPart(options, "train");
    rigs = pairs.flatMap(({ camera }) =>
      camera ? [{ focal: camera.focalPx / camera.imageSize.width, baselineM: camera.baselineM }] : []
    );
  } catch (error) {
    if (error instanceof CyclopsError) return undefined;
    throw error;
  }
  const same = (key: keyof Rig) => rigs.every((rig) => Math.abs(rig[key] / rigs[0][key] - 1) < 0.02);
  return rigs.length && same("focal") && same("baselineM") ? rigs[0] : undefined;
}

/**
 * Writes a run's student as one file: float16 weights and what whoever uses them must know. {@linkcode loadModel} reads
 * it, and so does `createStudent` in Node and browsers.
 *
 * @param run A run's folder, or a checkpoint's own.
 * @param path The file, NAME.safetensors.
 * @param about What the run does not know: what the weights may be used for, e.g. "MIT"; what they were trained on, in
 * words; the commit of the code; the rig, where the data are gone.
 * @param which The run's checkpoint. @default "best"
 * @returns What the file says about itself.
 * @throws {CyclopsError} When the checkpoint is damaged, a weight is not finite, or the file cannot be written.
 */
export async function saveModel(
  run: string,
  path: string,
  about: Partial<Pick<StudentInfo, "license" | "data" | "commit" | "rig">> = {},
  which: "best" | "latest" = "best",
): Promise<StudentInfo> {
  const { folder } = await findCheckpoint(run, which);
  const { model: tensors, facts } = await loadCheckpoint(folder, "model");
  const options = resolveTraining(facts.options, `${folder}/checkpoint.json`);
  if (!hasNetwork(tensors, "student")) {
    throw new CyclopsError(`Cannot save the student of ${folder}: it has no student network`);
  }
  const own = infoOf(options, basename(path, ".safetensors"));
  const rig = await trainingRig({ info: own, options });
  const info = { ...own, ...rig && { rig }, ...about };
  await writeAtomic(path, encodeStudent({ info, tensors }));
  return info;
}
