/**
 * Between networks and checkpoints.
 *
 * @module
 */
import { tf } from "../backend/tf.ts";
import { CyclopsError } from "../base/errors.ts";
import { float32Tensor, type StoredTensor, type TensorMap, toFloat32 } from "../data/safetensors.ts";
import type { ImageSize } from "../geometry/camera.ts";
import { ARCHITECTURES } from "../models/architecture.ts";
import { type Networks, refineChannels, type RefineWiring } from "../models/chain.ts";
import { createNetwork, disposeNetwork, type Network } from "../models/network.ts";
import { type Adam } from "./adam.ts";
import { type Checkpoint, type CheckpointFacts, loadCheckpoint, matchTensors } from "./checkpoint.ts";
import { refineWiring, resolveTraining, type TrainingOptions } from "./options.ts";
import type { NetworkName } from "./stages.ts";

/** Copies the weights of networks out, by variable name. */
export async function collectWeights(networks: Iterable<Network>): Promise<TensorMap> {
  const tensors = new Map<string, StoredTensor>();
  for (const { variables } of networks) {
    for (const [name, variable] of variables) {
      tensors.set(name, float32Tensor(variable.shape, (await variable.data()).slice() as Float32Array));
    }
  }
  return tensors;
}

/**
 * Writes saved weights into a network.
 *
 * @param scope The name under which they were saved, if not the network's own.
 * @throws {CyclopsError} When they are of another architecture.
 */
export function restoreWeights(
  network: Network,
  saved: TensorMap,
  from: string,
  scope = network.scope,
): void {
  const rename = (name: string) => `${scope}/${name.slice(network.scope.length + 1)}`;
  const wanted = new Map([...network.variables].map(([name, v]) => [rename(name), v.shape]));
  const values = matchTensors(saved, wanted, { from, ignoreUnexpected: true });
  for (const [name, variable] of network.variables) {
    const tensor = tf.tensor(values.get(rename(name))!, variable.shape);
    variable.assign(tensor);
    tensor.dispose();
  }
}

/** Whether saved weights hold a network of that name. */
export function hasNetwork(saved: TensorMap, scope: NetworkName): boolean {
  for (const name of saved.keys()) if (name.startsWith(`${scope}/`)) return true;
  return false;
}

/**
 * Copies an optimiser's moments out, as `NAME/first` and `NAME/second`: by the names that variables have in their
 * networks, for those that tfjs gives them are numbers which differ from process to process.
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
 * Writes saved moments into an optimiser.
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
  /** Those that the checkpoint holds. */
  readonly networks: Networks;
  /** How it was trained. */
  readonly options: TrainingOptions;
  /** What the checkpoint says of itself. */
  readonly facts: CheckpointFacts;
  /** The checkpoint's folder. */
  readonly folder: string;
  /** Size at which its networks see images, px. */
  readonly size: ImageSize;
  /** How its refine network is wired. */
  readonly refine: RefineWiring;
  /** Frees the weights. */
  dispose(): void;
}

/**
 * Loads the networks of a checkpoint.
 *
 * @param folder The checkpoint's own folder; see `findCheckpoint`.
 * @throws {CyclopsError} When it is damaged, or its weights do not fit its own options.
 */
export async function loadModel(folder: string): Promise<LoadedModel> {
  const checkpoint: Checkpoint = await loadCheckpoint(folder, "model");
  const options = resolveTraining(checkpoint.facts.options);
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
  if (!student) throw new CyclopsError(`Cannot load ${folder}: it holds no student network`);
  const networks: Networks = { student, backward: restore("backward"), refine: restore("refine") };
  return {
    networks,
    options,
    facts: checkpoint.facts,
    folder,
    size: options.size,
    refine: refineWiring(options),
    dispose: () =>
      [networks.student, networks.backward, networks.refine].forEach((n) => n && disposeNetwork(n)),
  };
}
