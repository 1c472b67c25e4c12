/**
 * Initial weights of a stage: from earlier runs, or from the checkpoint that it resumes.
 *
 * @module
 */
import { CyclopsError, UsageError } from "../base/errors.ts";
import { identityDifferences, type StereoDataset } from "../data/dataset.ts";
import { type CheckpointEntry, type CheckpointFacts, loadCheckpoint } from "./checkpoint.ts";
import { STAGES } from "./stages.ts";
import type { Trainer } from "./trainer.ts";
import { hasNetwork, restoreMoments, restoreWeights } from "./weights.ts";

/**
 * Initializes a stage's networks with the weights of checkpoints, as far as these have them.
 *
 * @param from Checkpoint folders; later ones win.
 * @throws {UsageError} When a frozen network is in none of them.
 * @throws {CyclopsError} When a checkpoint is damaged or belongs to another architecture.
 */
export async function startWeights(trainer: Trainer, from: readonly string[]): Promise<void> {
  const { options, networks } = trainer;
  const missing = new Set(networks.keys());
  for (const folder of from) {
    const { model } = await loadCheckpoint(folder, "model");
    for (const [name, network] of networks) {
      // When distilling, the teacher's student and the new one both start from the previous student.
      const saved = name === "teacherStudent" ? "student" : name;
      if (name === "student" && options.stage === "distill" && options.distillFrom === "scratch") continue;
      if (!hasNetwork(model, saved)) continue;
      restoreWeights(network, model, folder, saved);
      missing.delete(name);
    }
  }
  const stage = STAGES[options.stage];
  const needed = stage.networks.filter((name) => missing.has(name) && !trainer.trainable.includes(name))
    .map((name) => name === "teacherStudent" ? "student" : name);
  if (needed.length) {
    const names = [...new Set(needed)];
    throw new UsageError(
      `Cannot train stage ${options.stage}: it needs a trained ${names.join(" and ")} to start from, but ` +
        `${from.length ? `${from.join(", ")} has none` : "--from is not given"}; ` +
        `give --from with a run of stage ${stage.from ?? options.stage}`,
    );
  }
}

/**
 * Restores a run's last checkpoint: weights, optimizer, step.
 *
 * @throws {UsageError} When the data are not those it was trained on.
 * @throws {CyclopsError} When the checkpoint is damaged.
 */
export async function resumeRun(
  trainer: Trainer,
  run: { readonly folder: string; readonly resumed: CheckpointEntry },
  dataset: StereoDataset,
): Promise<CheckpointFacts> {
  const { folder, facts, model, optimizer } = await loadCheckpoint(run.resumed.folder);
  const differences = facts.data ? identityDifferences(facts.data, dataset.identity) : [];
  if (differences.length) {
    throw new UsageError(
      `Cannot resume the run in ${run.folder}: it was trained on other data (${differences.join("; ")})`,
    );
  }
  if (!optimizer) {
    throw new CyclopsError(
      `Cannot resume the run in ${run.folder}: ${folder} has only weights, no optimizer moments; ` +
        `start a new run with --from ${folder}`,
    );
  }
  const networks = [...trainer.networks.values()];
  for (const network of networks) restoreWeights(network, model, folder);
  restoreMoments(trainer.optimizer, networks, optimizer, Number(facts.state?.updates ?? facts.step));
  trainer.step = facts.step;
  return facts;
}
