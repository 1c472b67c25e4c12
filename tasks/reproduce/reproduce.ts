/**
 * The whole ablation on street in a fixed time: all stages, several seeds, one table.
 *
 * @module
 */
import { join } from "@std/path";
import { CyclopsError, UsageError } from "../../lib/base/errors.ts";
import { exists, readJson, writeAtomic } from "../../lib/base/files.ts";
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
} from "../../lib/base/options.ts";
import { Progress } from "../../lib/base/progress.ts";
import { shortDuration } from "../../lib/base/terminal.ts";
import { median } from "../../lib/base/random.ts";
import { openDataset, type StereoDataset } from "../../lib/data/dataset.ts";
import { type AblationReport, ablationReport, writeAblation } from "../../lib/charts/ablation.ts";
import { evaluateNetworks, timePrediction } from "../../lib/evaluation/predict.ts";
import { evaluateAll, type Protocol } from "../../lib/evaluation/protocol.ts";
import {
  aggregateResults,
  publishedTables,
  putResults,
  readResults,
  type Result,
  writeResults,
} from "../../lib/evaluation/results.ts";
import { trainSetMean, type TruthKind } from "../../lib/evaluation/truth.ts";
import { countGigaflops } from "../../lib/models/architecture.ts";
import { generateStreet } from "../../lib/street/mod.ts";
import { findCheckpoint } from "../../lib/training/checkpoint.ts";
import { PRESET_NAMES, resolveTraining, type TrainingOptions } from "../../lib/training/options.ts";
import { isFinished, runStage } from "../../lib/training/stage_run.ts";
import { STAGE_NAMES, type StageName, STAGES } from "../../lib/training/stages.ts";
import { Trainer } from "../../lib/training/trainer.ts";
import { type LoadedModel, loadModel } from "../../lib/training/weights.ts";
import { ABLATION_JOBS, type AblationJob, shareOf } from "./plan.ts";
import { noiseBatch } from "../bench/noise.ts";

/** The options of {@linkcode reproduce}. */
export const reproduceOptions = {
  out: text({ default: "runs/reproduce", value: "DIR", help: "Folder of the runs." }),
  results: text({ default: "data/results/street", value: "DIR", help: "Folder of results and tables." }),
  data: text({ default: "data/street", value: "DIR", help: "Street data; made where they are missing." }),
  pairs: integer({ default: 600, min: 30, help: "Stereo pairs to make." }),
  budget: text({
    default: "60m",
    value: "TIME",
    pattern: { regexp: /^\d+(\.\d+)?[smh]$/, expected: "a time such as 90s, 60m or 2h" },
    help: "Time for all trainings; decides how many updates each gets.",
  }),
  seeds: integer({ default: 3, min: 1, max: 100, help: "How often everything is done, with seeds 1, 2, …" }),
  size: size({ default: "64x192", help: "Size of the images, px." }),
  preset: choice(PRESET_NAMES, { default: "quick", help: "Preset of the networks and their training." }),
  overwrite: flag({ help: "Start anew, losing the runs of an earlier call." }),
} as const;

/** Resolved {@linkcode reproduceOptions}. */
export type ReproduceOptions = OptionsOf<typeof reproduceOptions>;

/** What a reproduction runs, fixed at its start so that it can be taken up again. */
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
/** Frames of a drive: as many different streets as possible. */
const FRAMES = 2;
/** Part of the budget kept for evaluation, validation and checkpoints. */
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

async function makePlan(options: ReproduceOptions): Promise<Plan> {
  const { budget, seeds, preset, size, data } = options;
  const given = formatOptions(reproduceOptions, options);
  const path = join(options.out, "plan.json");
  if (await exists(path)) {
    const plan = await readJson(path) as Plan;
    if (options.overwrite) await Deno.remove(options.out, { recursive: true });
    else {
      for (const key of ["budget", "seeds", "preset", "size", "data"] as const) {
        if (plan[key] !== given[key]) {
          throw new UsageError(
            `Cannot go on with ${options.out}: it was started with ${key} ${plan[key]}, now it is ${
              given[key]
            }; ` +
              "give the same, another --out, or --overwrite",
          );
        }
      }
      return plan;
    }
  }
  const milliseconds = await timeStages(preset, size);
  const cost =
    ABLATION_JOBS.reduce((sum, job) => sum + shareOf(job, milliseconds) * milliseconds[job.stage], 0) *
    seeds;
  const updates = Math.floor(parseTime(budget) * (1 - RESERVE) / cost);
  if (updates < 20) {
    throw new UsageError(
      `Cannot reproduce within ${budget}: it leaves ${updates} updates for the half-cycle; raise --budget ` +
        `(one update takes ${Math.round(milliseconds["half-cycle"])} ms here) or lower --seeds`,
    );
  }
  const plan: Plan = { updates, milliseconds, budget, seeds, preset, size: formatSize(size), data };
  await writeAtomic(path, JSON.stringify(plan, null, 2) + "\n");
  return plan;
}

function updatesOf(job: AblationJob, { updates, milliseconds }: Plan): number {
  return Math.max(1, Math.round(updates * shareOf(job, milliseconds)));
}

/** Updates that the student itself got in a job and in those it starts from. */
function studentUpdates(name: string, plan: Plan): number {
  const job = ABLATION_JOBS.find((j) => j.name === name)!;
  const frozen = job.options.freeze?.includes("student") ?? !STAGES[job.stage].trains.includes("student");
  const own = frozen ? 0 : updatesOf(job, plan);
  const before = job.from.at(-1);
  return own + (before ? studentUpdates(before, plan) : 0);
}

async function measureJob(
  job: AblationJob,
  seed: number,
  folder: string,
  plan: Plan,
  dataset: StereoDataset,
  commit: string | undefined,
): Promise<Result[]> {
  const model: LoadedModel = await loadModel((await findCheckpoint(folder, "latest")).folder);
  try {
    const { networks, size, options, refine } = model;
    const how = { size, view: options.view, network: job.of, refine } as const;
    const used = job.of === "teacher"
      ? [networks.student, networks.backward, networks.refine].filter((n) => n !== undefined)
      : [networks.student];
    const gigaflops = used.reduce((sum, n) => sum + countGigaflops(n.plan, size.height, size.width), 0);
    const msPerImage = await timePrediction(networks, how);
    const measured = await evaluateNetworks(networks, dataset, { ...how, protocols: PROTOCOLS, truths: TRUTHS });
    return measured.map(({ truth, crop, capM, flip, metrics: { points, images, ...metrics } }) => ({
      row: job.row!,
      seed,
      flip,
      ...settingOf(options, truth, crop),
      capM,
      metrics,
      points,
      images,
      parameters: used.reduce((sum, n) => sum + n.parameters, 0),
      gigaflops: gigaflops * (flip ? 2 : 1),
      msPerImage: msPerImage * (flip ? 2 : 1),
      updates: studentUpdates(job.name, plan),
      run: folder,
      commit,
    }));
  } finally {
    model.dispose();
  }
}

function settingOf(
  options: Pick<TrainingOptions, "architecture" | "size">,
  truth: TruthKind,
  crop: Protocol["crop"],
) {
  const { architecture, size } = options;
  const setting = { dataset: "street", split: "street", part: "test", truth, crop, architecture };
  return { ...setting, size: formatSize(size) };
}

async function measureBaseline(
  train: StereoDataset,
  test: StereoDataset,
  options: TrainingOptions,
  commit: string | undefined,
): Promise<Result[]> {
  const results: Result[] = [];
  for (const truth of TRUTHS) {
    const mean = await trainSetMean({ root: train.root, pairs: train.pairs, size: options.size, truth });
    const { root, pairs } = test;
    const all = await evaluateAll({ root, pairs, disparities: mean, truth }, PROTOCOLS);
    all.forEach(({ points, images, protocol: _, ...metrics }, i) =>
      results.push({
        row: "train-set mean",
        seed: 0,
        flip: false,
        ...settingOf(options, truth, PROTOCOLS[i].crop),
        capM: PROTOCOLS[i].capM,
        metrics: metrics,
        points,
        images,
        commit,
      })
    );
  }
  return results;
}

/** What is known of where results come from; see `reproduce`. */
export interface Provenance {
  /** The command line. */
  readonly command: string;
  /** The program's commit, where it is known. */
  readonly commit?: string;
  /** The machine in words. */
  readonly machine: string;
}

/**
 * Runs the ablation; what is finished is not done again, so that a stopped call can be taken up.
 *
 * @param signal Ends it after the current update; a later call goes on.
 * @returns The tables, or `undefined` when it was stopped.
 * @throws {UsageError} When the folder holds a reproduction with other options, or the budget is too small.
 */
export async function reproduce(
  options: ReproduceOptions,
  provenance: Provenance,
  signal?: AbortSignal,
): Promise<AblationReport | undefined> {
  const { out, data, results: folder } = options;
  const street = new Progress({ label: "street", total: options.pairs, unit: "pairs" });
  await generateStreet({ out: data, pairs: options.pairs, frames: FRAMES }, {
    onProgress: (done) => street.update(done),
    signal,
  });
  street.finish();
  const plan = await makePlan(options);
  const train = await openDataset({ data, part: "train" });
  const test = await openDataset({ data, part: "test" });
  const file = join(out, "results.json");
  const about = {
    command: provenance.command,
    machine: provenance.machine,
    ...(provenance.commit ? { commit: provenance.commit } : {}),
    plan: `${plan.updates} half-cycle updates, ${plan.seeds} seeds, ${plan.budget}`,
    data: `${train.pairs.length} training and ${test.pairs.length} test pairs of street, seed 1`,
  };
  let results: readonly Result[] = await exists(file) ? (await readResults([file])).results : [];
  const add = async (more: readonly Result[]) => {
    results = putResults(results, more);
    await writeResults(file, { about, results });
  };
  await add(
    await measureBaseline(
      train,
      test,
      resolveTraining({ preset: plan.preset, size: plan.size, steps: 1, coarse: 0 }),
      provenance.commit,
    ),
  );

  const started = performance.now();
  for (let seed = 1; seed <= plan.seeds; seed++) {
    for (const job of ABLATION_JOBS) {
      const place = join(out, `seed-${seed}`, job.name);
      const steps = updatesOf(job, plan);
      if (!await isFinished(place)) {
        const summary = await runStage({
          out: place,
          given: {
            preset: plan.preset,
            size: plan.size,
            coarse: 0,
            data,
            ...job.options,
            stage: job.stage,
            seed,
            steps,
            validateEvery: 0,
            checkpointEvery: 0,
            tensorboard: false,
          },
          resume: await exists(join(place, "checkpoints")),
          overwrite: !await exists(join(place, "checkpoints")) && await exists(place),
          from: job.from.map((name) => join(out, `seed-${seed}`, name)),
          signal,
          label: `seed ${seed} ${job.name}`,
        });
        if (summary.reason === "stopped") return undefined;
      }
      if (job.row && !results.some((r) => r.row === job.row && r.seed === seed)) {
        await add(await measureJob(job, seed, place, plan, test, provenance.commit));
      }
    }
    console.error(`seed ${seed} of ${plan.seeds}: done after ${shortDuration(performance.now() - started)}`);
  }
  if (results.length === 0) throw new CyclopsError("Cannot make tables: nothing was measured");
  await writeResults(join(folder, "results.json"), { about, results });
  const report = ablationReport(aggregateResults(results), publishedTables());
  await writeAblation(folder, report, new Map([[join(folder, "results.json"), about]]));
  return report;
}
