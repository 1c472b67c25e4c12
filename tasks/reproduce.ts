/**
 * `deno task reproduce`: the whole ablation on street in a fixed time: all stages, several seeds, one table.
 *
 * @module
 */
import { join } from "@std/path";
import { cpuFeatures } from "../lib/backend/ops.ts";
import { backendOptions, selectBackend } from "../lib/backend/mod.ts";
import { UsageError } from "../lib/base/errors.ts";
import { exists, readJson, readText, writeAtomic } from "../lib/base/files.ts";
import {
  choice,
  flag,
  formatOptions,
  formatSize,
  integer,
  type OptionsOf,
  type Size,
  size,
  text,
} from "../lib/base/options.ts";
import { Progress, shortDuration, terminalColumns } from "../lib/base/terminal.ts";
import { median } from "../lib/base/random.ts";
import { type AblationReport, ablationReport, writeAblation } from "../lib/charts/ablation.ts";
import { openDataset, type StereoDataset } from "../lib/data/dataset.ts";
import { evaluateNetworks, timePrediction } from "../lib/evaluation/predict.ts";
import { evaluateAll, type Evaluation, type Protocol } from "../lib/evaluation/protocol.ts";
import {
  aggregateResults,
  publishedTables,
  putResults,
  readResults,
  type Result,
  writeResults,
} from "../lib/evaluation/results.ts";
import { trainSetMean, type TruthKind } from "../lib/evaluation/truth.ts";
import { countGigaflops } from "../lib/models/architecture.ts";
import { generateStreet } from "../lib/street/mod.ts";
import { PRESET_NAMES, resolveTraining } from "../lib/training/options.ts";
import { isFinished, runStage } from "../lib/training/run.ts";
import { STAGE_NAMES, type StageName, STAGES } from "../lib/training/stages.ts";
import { Trainer } from "../lib/training/trainer.ts";
import { loadModel } from "../lib/training/weights.ts";
import { runTask, stopSignal } from "./_task.ts";
import { noiseBatch } from "./bench/noise.ts";
import { ABLATION_JOBS, type AblationJob, shareOf } from "./reproduce/plan.ts";

/** The options of {@linkcode reproduce}. */
export const reproduceOptions = {
  out: text({ default: "runs/reproduce", value: "DIR", help: "Folder of the runs." }),
  results: text({ default: "data/results/street", value: "DIR", help: "Folder of results and tables." }),
  data: text({ default: "data/street", value: "DIR", help: "Street data, rendered if missing." }),
  pairs: integer({ default: 600, min: 30, help: "Stereo pairs to render." }),
  budget: text({
    default: "60m",
    value: "TIME",
    pattern: { regexp: /^\d+(\.\d+)?[smh]$/, expected: "a time such as 90s, 60m or 2h" },
    help: "Time for all trainings; determines how many updates each gets.",
  }),
  seeds: integer({ default: 3, min: 1, max: 100, help: "Number of repetitions, with seeds 1, 2, …" }),
  size: size({ default: "64x192", help: "Size of the images, px." }),
  preset: choice(PRESET_NAMES, { default: "quick", help: "Preset of the networks and their training." }),
  overwrite: flag({ help: "Start over, deleting the runs of an earlier call." }),
} as const;

type ReproduceOptions = OptionsOf<typeof reproduceOptions>;

/** What a reproduction runs, fixed at its start so that it can be resumed. */
interface Plan {
  /** Updates of the half-cycle; the jobs' shares multiply it. */
  readonly updates: number;
  /** Measured time of an update by stage, ms. */
  readonly milliseconds: Readonly<Record<StageName, number>>;
  readonly budget: string;
  readonly seeds: number;
  readonly preset: string;
  readonly size: string;
  readonly data: string;
}

const PROTOCOLS: readonly Protocol[] = [{ crop: "garg", capM: 80 }, { crop: "garg", capM: 50 }];
const TRUTHS: readonly TruthKind[] = ["lidar", "dense"];
/** Frames per drive: few, for as many different streets as possible. */
const FRAMES = 2;
/** Fraction of the budget kept for evaluation, validation and checkpoints. */
const RESERVE = 0.15;

/** A time such as "60m" in ms. */
export function parseTime(time: string): number {
  return Number(time.slice(0, -1)) * { s: 1000, m: 60_000, h: 3_600_000 }[time.at(-1) as "s" | "m" | "h"];
}

/** Times an update of each stage on noise, ms. */
async function timeStages(preset: string, size: Size): Promise<Record<StageName, number>> {
  const times: [StageName, number][] = [];
  for (const stage of STAGE_NAMES) {
    const trainer = new Trainer(resolveTraining({ preset, stage, size, steps: 100, coarse: 0 }), 100);
    const batch = noiseBatch(trainer.options);
    const all: number[] = [];
    for (let i = 0; i < 20; i++) {
      const started = performance.now();
      await trainer.update(batch);
      // The first ones are slow: V8 is still compiling.
      if (i >= 10) all.push(performance.now() - started);
    }
    trainer.dispose();
    times.push([stage, median(all)]);
  }
  return Object.fromEntries(times) as Record<StageName, number>;
}

/** The plan of an earlier call, or a new one. */
async function makePlan(options: ReproduceOptions): Promise<Plan> {
  const { out, budget, seeds, preset, size, data, overwrite } = options;
  const path = join(out, "plan.json");
  if (await exists(path) && !overwrite) {
    const plan = await readJson(path) as Plan, given = formatOptions(reproduceOptions, options);
    for (const key of ["budget", "seeds", "preset", "size", "data"] as const) {
      if (plan[key] === given[key]) continue;
      throw new UsageError(
        `Cannot resume ${out}: it was started with ${key} ${plan[key]}, expected the same, found ${
          given[key]
        }; ` +
          "use another --out, or --overwrite",
      );
    }
    return plan;
  }
  if (await exists(path)) await Deno.remove(out, { recursive: true });
  const milliseconds = await timeStages(preset, size);
  const shares = ABLATION_JOBS.map((job) => shareOf(job, milliseconds) * milliseconds[job.stage]);
  const cost = shares.reduce((sum, share) => sum + share, 0) * seeds;
  const updates = Math.floor(parseTime(budget) * (1 - RESERVE) / cost);
  if (updates < 20) {
    throw new UsageError(
      `Cannot reproduce within ${budget}: it leaves ${updates} updates for the half-cycle, expected 20 or more; raise ` +
        `--budget (one update takes ${Math.round(milliseconds["half-cycle"])} ms here) or lower --seeds`,
    );
  }
  const plan: Plan = { updates, milliseconds, budget, seeds, preset, size: formatSize(size), data };
  await writeAtomic(path, JSON.stringify(plan, null, 2) + "\n");
  return plan;
}

function updatesOf(job: AblationJob, { updates, milliseconds }: Plan): number {
  return Math.max(1, Math.round(updates * shareOf(job, milliseconds)));
}

/** Updates of the student in a job and in those it starts from. */
function studentUpdates(name: string, plan: Plan): number {
  const job = ABLATION_JOBS.find((j) => j.name === name)!;
  const frozen = job.options.freeze?.includes("student") ?? !STAGES[job.stage].trains.includes("student");
  const before = job.from.at(-1);
  return (frozen ? 0 : updatesOf(job, plan)) + (before ? studentUpdates(before, plan) : 0);
}

/** One result of this task. */
function resultOf(
  { points, images, protocol: _, ...metrics }: Evaluation,
  { crop, capM }: Protocol,
  facts: Omit<Result, "metrics" | "crop" | "capM" | "dataset" | "split" | "part">,
): Result {
  return { ...facts, dataset: "street", split: "street", part: "test", crop, capM, metrics, points, images };
}

async function evaluateJob(
  job: AblationJob,
  seed: number,
  run: string,
  plan: Plan,
  dataset: StereoDataset,
  commit: string | undefined,
): Promise<Result[]> {
  const { networks, size, options, refine, dispose } = await loadModel(run, "latest");
  try {
    const { view, camera } = options;
    const how = { size, view, camera, network: job.network, refine };
    const used = job.network === "teacher"
      ? [networks.student, networks.backward, networks.refine].filter((n) => n !== undefined)
      : [networks.student];
    const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
    const gigaflops = sum(used.map(({ plan }) => countGigaflops(plan, size.height, size.width)));
    const msPerImage = await timePrediction(networks, how);
    const results = await evaluateNetworks(networks, dataset, {
      ...how,
      protocols: PROTOCOLS,
      truths: TRUTHS,
    });
    return results.map(({ truth, flip, metrics, ...protocol }) =>
      resultOf(metrics, protocol, {
        row: job.row!,
        seed,
        flip,
        truth,
        architecture: options.architecture,
        size: formatSize(size),
        parameters: sum(used.map(({ parameters }) => parameters)),
        gigaflops: gigaflops * (flip ? 2 : 1),
        msPerImage: msPerImage * (flip ? 2 : 1),
        updates: studentUpdates(job.name, plan),
        run,
        commit,
      })
    );
  } finally {
    dispose();
  }
}

async function evaluateBaseline(
  train: StereoDataset,
  { root, pairs }: StereoDataset,
  { size, preset }: Plan,
  commit: string | undefined,
): Promise<Result[]> {
  const options = resolveTraining({ preset, size, steps: 1, coarse: 0 });
  const results: Result[] = [];
  for (const truth of TRUTHS) {
    const mean = await trainSetMean({ root, pairs: train.pairs, size: options.size, truth });
    const evaluations = await evaluateAll({ root, pairs, disparities: mean, truth }, PROTOCOLS);
    const facts = {
      row: "train-set mean",
      seed: 0,
      flip: false,
      architecture: options.architecture,
      size,
      commit,
    };
    results.push(...evaluations.map((metrics, i) => resultOf(metrics, PROTOCOLS[i], { ...facts, truth })));
  }
  return results;
}

/** What made the results. */
export interface Provenance {
  /** The command line. */
  readonly command: string;
  /** Cores, CPU model and platform. */
  readonly machine: string;
  /** The program's commit, if known. */
  readonly commit?: string;
}

/**
 * Runs the ablation. Finished jobs are not repeated, so that a stopped call can be resumed.
 *
 * @param signal Stops it after the current update; a later call resumes.
 * @returns The tables, or `undefined` when it was stopped.
 * @throws {UsageError} When the folder holds a reproduction with other options, or the budget is too small.
 */
export async function reproduce(
  options: ReproduceOptions,
  provenance: Provenance,
  signal?: AbortSignal,
): Promise<AblationReport | undefined> {
  const { out, data, pairs, results: folder } = options;
  const plan = await makePlan(options);
  const street = new Progress({ label: "street", total: pairs, unit: "pairs" });
  const onProgress = (done: number) => street.update(done);
  await generateStreet({ out: data, pairs, frames: FRAMES }, { onProgress, signal });
  street.finish();
  const train = await openDataset({ data, part: "train" });
  const test = await openDataset({ data, part: "test" });

  const { commit, ...origin } = provenance;
  const about = {
    ...origin,
    ...(commit ? { commit } : {}),
    plan: `${plan.updates} half-cycle updates, ${plan.seeds} seeds, ${plan.budget}`,
    data: `${train.pairs.length} training and ${test.pairs.length} test pairs of street, seed 1`,
  };
  const file = join(out, "results.json");
  let results: readonly Result[] = await exists(file) ? (await readResults([file])).results : [];
  const add = async (more: readonly Result[]) => {
    results = putResults(results, more);
    await writeResults(file, { about, results });
  };
  await add(await evaluateBaseline(train, test, plan, commit));

  const started = performance.now();
  for (let seed = 1; seed <= plan.seeds; seed++) {
    const runOf = (name: string) => join(out, `seed-${seed}`, name);
    for (const job of ABLATION_JOBS) {
      const run = runOf(job.name);
      if (!await isFinished(run)) {
        const begun = await exists(join(run, "checkpoints"));
        const summary = await runStage({
          out: run,
          overrides: {
            preset: plan.preset,
            size: plan.size,
            coarse: 0,
            data,
            ...job.options,
            stage: job.stage,
            seed,
            steps: updatesOf(job, plan),
            validateEvery: 0,
            checkpointEvery: 0,
            tensorboard: false,
          },
          resume: begun,
          overwrite: !begun && await exists(run),
          from: job.from.map(runOf),
          signal,
          label: `seed ${seed} ${job.name}`,
        });
        if (summary.reason === "stopped") return undefined;
      }
      if (job.row && !results.some((r) => r.row === job.row && r.seed === seed)) {
        await add(await evaluateJob(job, seed, run, plan, test, commit));
      }
    }
    console.error(`seed ${seed} of ${plan.seeds}: done after ${shortDuration(performance.now() - started)}`);
  }
  await writeResults(join(folder, "results.json"), { about, results });
  const report = ablationReport(aggregateResults(results), publishedTables());
  await writeAblation(folder, report, new Map([[join(folder, "results.json"), about]]));
  return report;
}

/** The checked-out commit, read from `.git` without running git; `undefined` outside a clone. */
async function currentCommit(): Promise<string | undefined> {
  const read = async (name: string) =>
    await exists(`.git/${name}`) ? (await readText(`.git/${name}`)).trim() : "";
  const head = await read("HEAD");
  if (!head.startsWith("ref: ")) return head.slice(0, 12) || undefined;
  const ref = head.slice(5);
  const packed = (await read("packed-refs")).split("\n").find((line) => line.endsWith(` ${ref}`));
  return (await read(ref) || packed)?.slice(0, 12);
}

if (import.meta.main) {
  await runTask({
    name: "reproduce",
    summary:
      "Trains every row of the ablation on street, all stages and several seeds, in a fixed time, and writes\n" +
      "results, tables and plot. When stopped, the next call resumes it.",
    options: { ...reproduceOptions, ...backendOptions },
    examples: ["deno task reproduce", "deno task reproduce --budget 8h --seeds 5 --out runs/long"],
  }, async (options) => {
    await selectBackend(options);
    const stop = stopSignal();
    const { cores, model } = cpuFeatures();
    const report = await reproduce(options, {
      command: ["deno task reproduce", ...Deno.args].join(" "),
      machine: `${cores} cores, ${model} CPU, ${Deno.build.target}`,
      commit: await currentCommit(),
    }, stop.signal);
    for (const table of report?.tables ?? []) console.log(`${table.text(terminalColumns())}\n`);
    return stop.status;
  });
}
