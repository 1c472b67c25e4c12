/**
 * Weights and optimizer moments between networks and checkpoints.
 *
 * @module
 */
import { selectBackend } from "../backend/select.ts";
import { tf } from "../backend/tf.ts";
import { CyclopsError } from "../base/errors.ts";
import { float32Tensor, type StoredTensor, type TensorMap, toFloat32 } from "../data/safetensors.ts";
import type { ImageSize } from "../geometry/camera.ts";
import { ARCHITECTURES } from "../models/architecture.ts";
import { type Networks, refineChannels, type RefineOptions } from "../models/chain.ts";
import { createNetwork, disposeNetwork, type Network } from "../models/network.ts";
import type { Adam } from "./adam.ts";
import {
  type Checkpoint,
  type CheckpointFacts,
  findCheckpoint,
  loadCheckpoint,
  matchTensors,
} from "./checkpoint.ts";
import { refineOptions, resolveTraining, type TrainingOptions } from "./options.ts";
import type { NetworkName } from "./stages.ts";

/** Copies weights out of networks, by variable name. */
export async function collectWeights(networks: Iterable<Network>): Promise<TensorMap> {
  const tensors = new Map<string, StoredTensor>();
  for (const { variables } of networks) {
    for (const [name, variable] of variables) {
      tensors.set(name, float32Tensor(variable.shape, (await variable.data()).slice() as Float32Array));
    }
  }
  return tensors;
}

/** Scopes under which older versions saved a network. */
const FORMER_SCOPES: Readonly<Record<string, string>> = { teacherStudent: "guide" };

/**
 * Loads saved weights into a network.
 *
 * @param from Where they come from, for errors.
 * @param scope The scope under which they were saved, if not the network's own.
 * @throws {CyclopsError} When they belong to another architecture.
 */
export function restoreWeights(
  network: Network,
  saved: TensorMap,
  from: string,
  scope = network.scope,
): void {
  const former = FORMER_SCOPES[scope];
  const savedScope = former && !hasNetwork(saved, scope) ? former : scope;
  const rename = (name: string) => `${savedScope}/${name.slice(network.scope.length + 1)}`;
  const wanted = new Map([...network.variables].map(([name, v]) => [rename(name), v.shape]));
  const values = matchTensors(saved, wanted, from);
  for (const [name, variable] of network.variables) {
    const tensor = tf.tensor(values.get(rename(name))!, variable.shape);
    variable.assign(tensor);
    tensor.dispose();
  }
}

/** Whether saved weights include a network. */
export function hasNetwork(saved: TensorMap, scope: string): boolean {
  for (const name of saved.keys()) if (name.startsWith(`${scope}/`)) return true;
  return false;
}

/**
 * Copies an optimizer's moments out, as `NAME/first` and `NAME/second`, by the variables' names in their networks:
 * tfjs's own names are numbers that differ from process to process.
 */
export async function collectMoments(optimizer: Adam, networks: Iterable<Network>): Promise<TensorMap> {
  const tensors = new Map<string, StoredTensor>();
  const { moments } = await optimizer.getState();
  for (const { variables } of networks) {
    for (const [name, variable] of variables) {
      const own = moments.get(variable.name);
      if (!own) continue;
      tensors.set(`${name}/first`, float32Tensor(variable.shape, own.first));
      tensors.set(`${name}/second`, float32Tensor(variable.shape, own.second));
    }
  }
  return tensors;
}

/**
 * Loads saved moments into an optimizer.
 *
 * @throws {CyclopsError} When they belong to other variables.
 */
export function restoreMoments(
  optimizer: Adam,
  networks: Iterable<Network>,
  saved: TensorMap,
  updates: number,
): void {
  const moments = new Map<string, { first: Float32Array; second: Float32Array }>();
  for (const { variables } of networks) {
    for (const [name, variable] of variables) {
      const [first, second] = [saved.get(`${name}/first`), saved.get(`${name}/second`)];
      if (!first || !second) continue;
      moments.set(variable.name, { first: toFloat32(first), second: toFloat32(second) });
    }
  }
  optimizer.setState({ updates, moments });
}

/** A trained model, ready to predict. */
export interface LoadedModel {
  /** The networks in the checkpoint. */
  readonly networks: Networks;
  /** The options it was trained with. */
  readonly options: TrainingOptions;
  /** The checkpoint's metadata. */
  readonly facts: CheckpointFacts;
  /** The checkpoint's folder. */
  readonly folder: string;
  /** Size of its networks' input, px. */
  readonly size: ImageSize;
  /** Its refine network's inputs and output. */
  readonly refine: RefineOptions;
  /** Frees the weights. */
  dispose(): void;
}

/**
 * Loads the networks of a run or of one checkpoint.
 *
 * @param place A run's folder, or a checkpoint's own folder.
 * @param which The run's checkpoint with the best validation metric, or its last one.
 * @throws {CyclopsError} When it is damaged, has no student, or its weights do not fit its own options.
 */
export async function loadModel(place: string, which: "best" | "latest" = "best"): Promise<LoadedModel> {
  await selectBackend();
  const { folder } = await findCheckpoint(place, which);
  const checkpoint: Checkpoint = await loadCheckpoint(folder, "model");
  const options = resolveTraining(checkpoint.facts.options, `${folder}/checkpoint.json`);
  const architecture = ARCHITECTURES[options.architecture];
  const restore = (scope: NetworkName): Network | undefined => {
    if (!hasNetwork(checkpoint.model, scope)) return undefined;
    const inputChannels = scope === "refine" ? refineChannels(architecture, options.teacherInputs) : 3;
    const network = createNetwork({ scope, architecture, inputChannels });
    try {
      restoreWeights(network, checkpoint.model, folder);
      return network;
    } catch (error) {
      disposeNetwork(network);
      throw error;
    }
  };
  const student = restore("student");
  if (!student) throw new CyclopsError(`Cannot load ${folder}: it has no student network`);
  const networks: Networks = { student, backward: restore("backward"), refine: restore("refine") };
  return {
    networks,
    options,
    facts: checkpoint.facts,
    folder,
    size: options.size,
    refine: refineOptions(options),
    dispose: () =>
      [networks.student, networks.backward, networks.refine].forEach((n) => n && disposeNetwork(n)),
  };
}
