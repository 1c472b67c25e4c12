/**
 * What a stage starts from: weights of earlier runs, or a checkpoint of its own.
 *
 * @module
 */
import { CyclopsError, UsageError } from "../base/errors.ts";
import type { StereoDataset } from "../data/dataset.ts";
import { identityDifferences } from "../data/dataset.ts";
import { type CheckpointFacts, loadCheckpoint } from "./checkpoint.ts";
import { storedOptions, type TrainingOptions } from "./options.ts";
import type { Run } from "./run_folder.ts";
import { STAGES } from "./stages.ts";
import type { Trainer } from "./trainer.ts";
import { hasNetwork, restoreMoments, restoreWeights } from "./weights.ts";

/**
 * Gives a stage's networks the weights of checkpoints, as far as these have them.
 *
 * @param from Checkpoint folders; later ones win.
 * @throws {UsageError} When a network that does not learn is in none of them.
 * @throws {CyclopsError} When a checkpoint is damaged or of another architecture.
 */
export async function startWeights(trainer: Trainer, from: readonly string[]): Promise<void> {
  const { options, networks } = trainer;
  const missing = new Set(networks.keys());
  for (const folder of from) {
    const { model } = await loadCheckpoint(folder, "model");
    for (const [name, network] of networks) {
      // The teacher's own student while another one is distilled, and that one's beginning, are the former student.
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
 * Takes up a run where its last checkpoint left it: weights, optimiser, step.
 *
 * @throws {UsageError} When the data are not those it was trained on.
 * @throws {CyclopsError} When the checkpoint is damaged.
 */
export async function resumeRun(
  trainer: Trainer,
  run: Run,
  dataset: StereoDataset,
): Promise<CheckpointFacts> {
  const { folder, facts, model, optimizer } = await loadCheckpoint(run.resumed!.folder);
  const differences = facts.data ? identityDifferences(facts.data, dataset.identity) : [];
  if (differences.length) {
    throw new UsageError(
      `Cannot resume the run in ${run.folder}: it was trained on other data (${differences.join("; ")})`,
    );
  }
  if (!optimizer) {
    throw new CyclopsError(
      `Cannot resume the run in ${run.folder}: ${folder} holds no moments of the optimiser, only weights; ` +
        `start a new run with --from ${folder}`,
    );
  }
  const networks = [...trainer.networks.values()];
  for (const network of networks) restoreWeights(network, model, folder);
  restoreMoments(trainer.optimizer, networks, optimizer, Number(facts.state?.updates ?? facts.step));
  trainer.step = facts.step;
  return facts;
}

/** Options that may differ when a run is resumed: they decide where and how it runs, not what comes out. */
const NEUTRAL: readonly (keyof TrainingOptions)[] = [
  "data",
  "workers",
  "prefetch",
  "cacheMib",
  "validateEvery",
  "validationPairs",
  "checkpointEvery",
  "checkpointMinutes",
  "keep",
  "tensorboard",
];

/**
 * The options of a resumed run: its own, and what was given now of those that do not change what comes out.
 *
 * @param own As the run was started.
 * @param given As the user gives them now.
 * @throws {UsageError} When others are given that differ from the run's own, naming them.
 */
export function resumedOptions(
  own: TrainingOptions,
  given: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const options = storedOptions(own);
  const refused: string[] = [];
  for (const [key, value] of Object.entries(storedOptions(given))) {
    if (value === undefined || value === options[key]) continue;
    if ((NEUTRAL as readonly string[]).includes(key)) options[key] = value;
    else refused.push(`${key} is ${JSON.stringify(options[key])} there and ${JSON.stringify(value)} now`);
  }
  if (refused.length) {
    throw new UsageError(
      `Cannot resume the run with other options: ${refused.join(", ")}; leave them out, or start a new run ` +
        "with --from and another --out",
    );
  }
  return options;
}
