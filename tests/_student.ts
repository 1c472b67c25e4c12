/** Untrained students in run folders and model files. */
import { join } from "@std/path";
import { selectBackend } from "../lib/backend/select.ts";
import { ARCHITECTURES } from "../lib/models/architecture.ts";
import { refineChannels } from "../lib/models/chain.ts";
import { createNetwork, disposeNetwork } from "../lib/models/network.ts";
import { saveCheckpoint } from "../lib/training/checkpoint.ts";
import {
  refineOptions,
  resolveTraining,
  storedOptions,
  type TrainingInput,
} from "../lib/training/options.ts";
import type { NetworkName } from "../lib/training/stages.ts";
import { collectWeights } from "../lib/training/weights.ts";
import { facts } from "./training/_checkpoints.ts";

/** A run whose networks never trained: 32×64 px, weights of seed 1. */
export async function untrainedRun(
  folder: string,
  given: TrainingInput = {},
  scopes: readonly NetworkName[] = ["student"],
): Promise<string> {
  await selectBackend();
  const options = resolveTraining({ size: "32x64", coarse: 0, ...given });
  const architecture = ARCHITECTURES[options.architecture];
  const networks = scopes.map((scope) => {
    const inputChannels = scope === "refine" ? refineChannels(architecture, refineOptions(options)) : 3;
    return createNetwork({ scope, architecture, inputChannels, seed: 1, headBias: -2 });
  });
  const model = await collectWeights(networks);
  networks.forEach(disposeNetwork);
  await saveCheckpoint(join(folder, "checkpoints"), {
    model,
    facts: { ...facts(1), options: storedOptions(options) },
  });
  return folder;
}
