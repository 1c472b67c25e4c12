/** Tiny trainings for tests. */
import { join } from "@std/path";
import type { StereoBatch } from "../../lib/data/loader.ts";
import type { TensorMap } from "../../lib/data/safetensors.ts";
import { generateStreet } from "../../lib/street/mod.ts";
import { loadCheckpoint } from "../../lib/training/checkpoint.ts";
import { train, type TrainInput, type TrainRecord } from "../../lib/training/loop.ts";
import { resolveTraining, type TrainingInput } from "../../lib/training/options.ts";
import { openRun, type Run } from "../../lib/training/run_folder.ts";
import type { Trainer } from "../../lib/training/trainer.ts";
import { uniform } from "../_tensors.ts";

/** The smallest training: batches of 2 pairs of 32×64 px, nothing validated, nothing saved before the end. */
export const TINY: TrainingInput = {
  size: "32x64",
  batch: 2,
  steps: 4,
  coarse: 0,
  warmup: 2,
  colourProbability: 0.5,
  workers: 0,
  validateEvery: 0,
  checkpointEvery: 0,
  checkpointMinutes: 0,
  tensorboard: false,
  eager: true, // compiling takes longer than these few updates
};

/** A batch of noise. */
export async function noiseBatch(seed: number, batch = 2, height = 32, width = 64): Promise<StereoBatch> {
  const values = async (s: number) => {
    const noise = uniform([batch, height, width, 3], s);
    const data = (await noise.data()).slice() as Float32Array<ArrayBuffer>;
    noise.dispose();
    return data;
  };
  const ids = Array.from({ length: batch }, (_, i) => `pair ${i}`);
  return { left: await values(seed), right: await values(seed + 1), batch, height, width, step: 0, ids };
}

/** Every variable's values by name. */
export function snapshot(trainer: Trainer): Map<string, Float32Array> {
  const all = new Map<string, Float32Array>();
  for (const network of trainer.networks.values()) {
    for (const [name, v] of network.variables) all.set(name, v.dataSync().slice() as Float32Array);
  }
  return all;
}

/** Street scenes with truth: 2 pairs each to train on, to validate with and to test on. */
export async function tinyStreet(out: string): Promise<void> {
  await generateStreet({ out, drives: 3, frames: 2, size: "32x96", workers: 0 });
}

/** A folder that is gone when the tests are. */
export async function testFolder(): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "cyclops-test-" });
  globalThis.addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));
  return folder;
}

/** Trains, and collects every record; `stopAt` stops it after that step. */
export async function records(
  given: Readonly<Record<string, unknown>>,
  input: Partial<TrainInput> & { readonly stopAt?: number } = {},
): Promise<TrainRecord[]> {
  const { stopAt, ...rest } = input;
  const controller = new AbortController();
  const all: TrainRecord[] = [];
  for await (const record of train({ options: resolveTraining(given), signal: controller.signal, ...rest })) {
    all.push(record);
    if (record.kind === "step" && record.step === stopAt) controller.abort();
  }
  return all;
}

/** Opens a run's folder for the time of a training. */
export async function withRun<T>(
  folder: string,
  given: Readonly<Record<string, unknown>>,
  use: (run: Run) => Promise<T>,
  resume = false,
): Promise<T> {
  using run = await openRun(folder, { options: { ...resolveTraining(given) }, resume });
  return await use(run);
}

/** Trains in a folder. */
export function recordsIn(
  folder: string,
  given: Readonly<Record<string, unknown>>,
  input: Parameters<typeof records>[1] & { readonly resume?: boolean } = {},
): Promise<TrainRecord[]> {
  const { resume, ...rest } = input;
  return withRun(folder, given, (run) => records(given, { run, ...rest }), resume);
}

/** The records of one kind. */
export function ofKind<K extends TrainRecord["kind"]>(
  all: readonly TrainRecord[],
  kind: K,
): Extract<TrainRecord, { kind: K }>[] {
  return all.filter((record): record is Extract<TrainRecord, { kind: K }> => record.kind === kind);
}

/** Names of the checkpoints in a run's folder, hidden leftovers included. */
export function checkpointNames(run: string): string[] {
  return [...Deno.readDirSync(join(run, "checkpoints"))].map(({ name }) => name).sort();
}

/** The largest difference between the tensors of two checkpoints, weights and moments. */
export async function checkpointDistance(a: string, b: string): Promise<number> {
  const [one, two] = [await loadCheckpoint(a), await loadCheckpoint(b)];
  const distance = (x: TensorMap, y: TensorMap) => {
    if ([...x.keys()].join() !== [...y.keys()].join()) return Infinity;
    let worst = 0;
    for (const [name, { data }] of x) {
      const other = y.get(name)!.data as Float32Array;
      (data as Float32Array).forEach((value, i) => worst = Math.max(worst, Math.abs(value - other[i])));
    }
    return worst;
  };
  return Math.max(distance(one.model, two.model), distance(one.optimizer!, two.optimizer!));
}

/** Keeps in a folder of the tests' own what else goes to the user's cache: disparity hints. */
export async function withCache<T>(folder: string, use: () => Promise<T>): Promise<T> {
  const own = Deno.env.get("XDG_CACHE_HOME");
  Deno.env.set("XDG_CACHE_HOME", folder);
  try {
    return await use();
  } finally {
    if (own === undefined) Deno.env.delete("XDG_CACHE_HOME");
    else Deno.env.set("XDG_CACHE_HOME", own);
  }
}
