/**
 * `deno task reproduce`: the whole ablation in a fixed time, on streets or on real pairs: all stages, several seeds, one
 * table.
 *
 * @module
 */
import process from "node:process";
import { basename, join } from "@std/path";
import { cpuFeatures } from "../lib/backend/ops.ts";
import { backendOptions, selectBackend } from "../lib/backend/mod.ts";
import { messageOf, UsageError } from "../lib/base/errors.ts";
import { exists, fileError, readJson, readText, writeAtomic } from "../lib/base/files.ts";
import {
  choice,
  flag,
  formatOptions,
  formatSize,
  integer,
  list,
  number,
  type OptionsOf,
  size,
  text,
} from "../lib/base/options.ts";
import { Progress, setProgressSink, shortDuration, terminalColumns } from "../lib/base/terminal.ts";
import { median } from "../lib/base/random.ts";
import { type AblationReport, ablationReport, writeAblation } from "../lib/charts/ablation.ts";
import { openDataset, type StereoDataset } from "../lib/data/dataset.ts";
import { eigenSplit } from "../lib/data/kitti.ts";
import { isManifest } from "../lib/data/manifest.ts";
import { type InconsistencyGate, inconsistencyGate } from "../lib/evaluation/gate.ts";
import { evaluateNetworks, timePrediction } from "../lib/evaluation/predict.ts";
import { evaluateAll, type Evaluation, type Protocol } from "../lib/evaluation/protocol.ts";
import {
  ABLATION_ROWS,
  aggregateResults,
  publishedTables,
  putResults,
  readResults,
  type Result,
  type ResultSetting,
  writeResults,
} from "../lib/evaluation/results.ts";
import { checkTruth, trainSetMean, type TruthKind } from "../lib/evaluation/truth.ts";
import { countGigaflops } from "../lib/models/architecture.ts";
import { generateStreet } from "../lib/street/mod.ts";
import { PRESET_NAMES, readTraining, resolveTraining, type TrainingInput } from "../lib/training/options.ts";
import { isFinished, runStage } from "../lib/training/run.ts";
import { Trainer } from "../lib/training/trainer.ts";
import { loadModel } from "../lib/training/model.ts";
import { parseTime, runTask, stopSignal, TIME } from "./_task.ts";
import { noiseBatch } from "./bench/noise.ts";
import { type AblationJob, ablationJobs, Budget, jobsOf } from "./reproduce/plan.ts";

/** The options of {@linkcode reproduce}. */
export const reproduceOptions = {
  data: text({
    value: "DIR[,FILE…]",
    help: "Real pairs to train on, as for train: KITTI raw's layout or manifests (default: streets alone).",
  }),
  split: text({
    default: "street",
    value: "street|eigen|FILE",
    help: "How --data is split, as for train; street stands for DIR/splits.",
  }),
  test: text({
    value: "DIR[,FILE…]",
    help: "What to evaluate on: laser scans, depth maps or a manifest's truth (default: --data's test part).",
  }),
  testSplit: text({
    value: "eigen-test|FILE",
    help: "Frames of --test's folders (default: --split's test part).",
  }),
  name: text({ help: 'What to call the data in tables, e.g. "KITTI mini" (default: the name of --data).' }),
  from: text({ value: "RUN", help: "Student of streets that --data continues (default: trained first)." }),
  street: text({ default: "data/street", value: "DIR", help: "Street data, rendered if missing." }),
  pairs: integer({ default: 600, min: 30, help: "Stereo pairs to render." }),
  budget: text({
    default: "2h",
    ...TIME,
    help: "Time for everything; determines how many updates each training gets.",
  }),
  updates: integer({ min: 1, help: "Updates of the half-cycle (default: as many as --budget allows)." }),
  rows: list({
    value: "ROW",
    choices: ABLATION_ROWS.map(({ name }) => name),
    help: "Rows to train, and what they start from (default: all); a later call may add others.",
  }),
  continued: number({
    default: 0.3,
    min: 0.01,
    max: 10,
    help: "Updates of each row after the half-cycle, relative to it.",
  }),
  seeds: integer({ default: 3, min: 1, max: 100, help: "Number of repetitions, with seeds 1, 2, …" }),
  size: size({ default: "64x192", help: "Size of the images, px." }),
  preset: choice(PRESET_NAMES, { default: "quick", help: "Preset of the networks and their training." }),
  config: text({
    value: "FILE",
    help: "Training options that differ from the preset's, for all rows (JSON).",
  }),
  out: text({ value: "DIR", help: "Folder of the runs (default: runs/reproduce, with --name's after it)." }),
  results: text({
    value: "DIR",
    help: "Folder of results and tables (default: data/results/street or …/NAME).",
  }),
  overwrite: flag({ help: "Start over, deleting the runs of an earlier call." }),
} as const;

type ReproduceOptions = OptionsOf<typeof reproduceOptions>;

/** What a reproduction runs, fixed at its start so that it can be resumed. */
interface Plan {
  /** Updates of the half-cycle; the jobs' shares multiply it. */
  readonly updates: number;
  /** Measured time of an update by job, ms. */
  readonly milliseconds: Readonly<Record<string, number>>;
  /** Training options of all jobs. */
  readonly training: TrainingInput;
  /** The call's options, which a resumed call must share. */
  readonly options: Readonly<Record<string, unknown>>;
}

const PROTOCOLS: readonly Protocol[] = [{ crop: "garg", capM: 80 }, { crop: "garg", capM: 50 }];
/** For manifests: the truth of a stereo benchmark covers the image. */
const WHOLE_IMAGE: readonly Protocol[] = [{ crop: "none", capM: 80 }];
/** What preset quick leaves out on streets: with photographs the rate is lower and colors change. */
const REAL_PAIRS: TrainingInput = { learningRate: 1e-3, colourProbability: 0.5 };
/** Frames per drive: few, for as many different streets as possible. */
const FRAMES = 2;
/** Fraction of the budget kept for evaluation, checkpoints and set-up. */
const RESERVE = 0.15;

/**
 * Times an update of each job on noise, interleaved, ms. The jobs' shares are those of processor time, which other load
 * does not change: HC at equal cost depends on them.
 *
 * @param reference Known time of an update of the half-cycle. @default this machine's, under its present load
 */
async function timeJobs(
  jobs: readonly AblationJob[],
  training: TrainingInput,
  reference?: number,
): Promise<Record<string, number>> {
  const kinds = [...Map.groupBy(jobs, ({ stage, options }) => JSON.stringify([stage, options])).values()];
  const trainers = kinds.map(([{ stage, options }]) =>
    // Noise has no camera.
    new Trainer(resolveTraining({ ...training, camera: "fraction", ...options, stage, steps: 100 }), 100)
  );
  const used: number[][] = kinds.map(() => []);
  let elapsed = 0;
  for (let round = 0; round < 9; round++) {
    for (const [i, trainer] of trainers.entries()) {
      const batch = noiseBatch(trainer.options), started = performance.now(), before = process.cpuUsage();
      await trainer.update(batch);
      const { user, system } = process.cpuUsage(before);
      // The first ones are slow: they are compiled.
      if (round < 3) continue;
      elapsed += performance.now() - started;
      used[i].push((user + system) / 1000);
    }
  }
  trainers.forEach((trainer) => trainer.dispose());
  const times = new Map(kinds.flatMap((same, i) => same.map(({ name }) => [name, median(used[i])] as const)));
  const scale = reference
    ? reference / times.get("half-cycle")!
    : elapsed / used.flat().reduce((sum, time) => sum + time, 0);
  return Object.fromEntries([...times].map(([name, time]) => [name, time * scale]));
}

/** Training options of all jobs; real data may mix cameras. */
async function commonTraining({ data, preset, size, config }: ReproduceOptions): Promise<TrainingInput> {
  const real: TrainingInput = data ? { camera: "canonical" } : {};
  return { coarse: 0, ...real, ...await readTraining(config, {}), preset, size: formatSize(size) };
}

/** The plan of an earlier call, or a new one, with its trainings and the student's architecture. */
async function makePlan(
  options: ReproduceOptions,
  out: string,
): Promise<
  Plan & {
    readonly budget: Budget;
    readonly jobs: readonly AblationJob[];
    readonly architecture: string;
  }
> {
  const { overwrite, data, from, rows, continued } = options,
    formatted = formatOptions(reproduceOptions, options);
  const keys = Object.keys(reproduceOptions).filter((key) =>
    !["rows", "out", "results", "overwrite"].includes(key)
  );
  const given = Object.fromEntries(keys.map((key) => [key, formatted[key]]));
  const path = join(out, "plan.json");
  let former: Plan | undefined;
  if (await exists(path) && !overwrite) {
    former = await readJson(path) as Plan;
    for (const key of keys) {
      const there = former.options?.[key], now = given[key];
      if (there === now) continue;
      throw new UsageError(
        `Cannot resume ${out}: it was started with ${key} ${there ?? "unset"}, expected the same, found ` +
          `${now ?? "unset"}; use another --out, or --overwrite`,
      );
    }
  } else if (await exists(path)) await Deno.remove(out, { recursive: true });
  // Before minutes of work, not after them.
  await Deno.mkdir(out, { recursive: true }).catch((error) => {
    throw fileError("make the folder", out, error);
  });
  const training = former?.training ?? await commonTraining(options);
  const { architecture } = resolveTraining({ ...training, steps: 1 });
  const jobs = ablationJobs(data !== undefined, architecture).filter(({ name }) =>
    !(from && name === "street")
  );
  const wanted = rows ? jobsOf(rows, jobs) : jobs;
  // What HC at equal cost costs depends on all of S. A job that a newer version has added is timed when it is first met.
  const timed = rows ? jobsOf([...rows, "HC-continued", "S"], jobs) : jobs;
  const untimed = timed.filter(({ name }) => former?.milliseconds[name] === undefined);
  if (untimed.length) console.error(`timing updates of ${untimed.length} trainings`);
  const reference = former && jobs.find(({ name }) => name === "half-cycle")!;
  const milliseconds = {
    ...untimed.length && await timeJobs(
      reference ? [...untimed, reference] : untimed,
      training,
      former?.milliseconds["half-cycle"],
    ),
    ...former?.milliseconds,
  };
  const thousand = new Budget({ jobs, updates: 1000, continued, milliseconds });
  const cost = wanted.reduce((sum, job) => sum + thousand.duration(job), 0) / 1000 * options.seeds;
  const affordable = Math.floor(parseTime(options.budget) * (1 - RESERVE) / cost);
  const updates = former?.updates ?? options.updates ?? affordable;
  if (updates < 20 && !former && !options.updates) {
    throw new UsageError(
      `Cannot reproduce within ${options.budget}: it leaves ${updates} updates for the half-cycle, expected 20 or ` +
        `more; raise --budget (one update takes ${
          Math.round(milliseconds["half-cycle"])
        } ms here) or lower --seeds`,
    );
  }
  const plan: Plan = { updates, milliseconds, training, options: given };
  if (untimed.length) await writeAtomic(path, JSON.stringify(plan, null, 2) + "\n");
  const budget = new Budget({ jobs, updates, continued, milliseconds });
  return { ...plan, budget, jobs: wanted, architecture };
}

/** Frames that every row is evaluated on. */
interface TestSet {
  readonly dataset: StereoDataset;
  readonly truths: readonly TruthKind[];
  readonly protocols: readonly Protocol[];
  /** Where its results belong. */
  readonly setting: Pick<ResultSetting, "dataset" | "split" | "part">;
  /** Whether the truth is a manifest's. */
  readonly manifest: boolean;
}

/** The sources of truth that all frames of a data set have. */
async function truthsOf({ root, pairs }: StereoDataset): Promise<TruthKind[]> {
  const found: TruthKind[] = [];
  for (const kind of ["lidar", "dense"] as const) {
    try {
      await checkTruth(root, pairs, kind);
      found.push(kind);
    } catch (error) {
      if (kind === "dense" && found.length === 0) throw error;
    }
  }
  return found;
}

/** Opens what to evaluate on: the streets' test part, or the folders and manifests of `--test`. */
async function openTests(options: ReproduceOptions, name: string): Promise<TestSet[]> {
  const { data, test, split, testSplit, street } = options;
  if (!data) {
    const dataset = await openDataset({ data: street, part: "test" });
    const setting = { dataset: "street", split: "street", part: "test" };
    return [{ dataset, truths: ["lidar", "dense"], protocols: PROTOCOLS, setting, manifest: false }];
  }
  const eigen = new Set(eigenSplit("test").map(({ left }) => left.replace(/\.\w+$/, "")));
  const sets: TestSet[] = [];
  for (const source of (test ?? data.split(",")[0].replace(/:\d+$/, "")).split(",")) {
    const manifest = isManifest(source), holdout = test ? 1 : undefined;
    const dataset = await openDataset({
      data: source,
      split: testSplit ?? split,
      holdout,
      part: "test",
      side: "left",
    });
    const { pairs } = dataset;
    const isEigen = pairs.every(({ left }) => eigen.has(left.replace(/\.\w+$/, "")));
    const what = isEigen
      ? `${pairs.length} Eigen test frames`
      : `${pairs.length} frames of ${nameOf(source)}`;
    sets.push({
      dataset,
      truths: manifest ? ["lidar"] : await truthsOf(dataset),
      protocols: manifest ? WHOLE_IMAGE : PROTOCOLS,
      setting: { dataset: name, split: what, part: "test" },
      manifest,
    });
  }
  return sets;
}

/** A path as a name: "my_data/pairs.csv" is "pairs". */
function nameOf(path: string): string {
  return basename(path).replace(/\.\w+$/, "");
}

/** One result of this task. */
function resultOf(
  { points, images, protocol: _, extra, ...metrics }: Evaluation,
  { crop, capM }: Protocol,
  truth: TruthKind,
  { setting, manifest }: TestSet,
  facts: Omit<Result, "metrics" | "crop" | "capM" | "truth" | keyof TestSet["setting"]>,
): Result {
  const whole = { ...metrics, ...extra };
  return {
    ...facts,
    ...setting,
    truth: manifest ? "manifest" : truth,
    crop,
    capM,
    metrics: whole,
    points,
    images,
  };
}

async function hasRightViews({ root, pairs }: StereoDataset): Promise<boolean> {
  const there = await Promise.all(pairs.map((pair) => exists(join(pair.root ?? root, pair.right))));
  return there.every(Boolean);
}

async function evaluateJob(
  job: AblationJob,
  seed: number,
  run: string,
  tests: readonly TestSet[],
  facts: Pick<Result, "updates" | "relativeCost" | "commit" | "architecture">,
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
    // The architecture's, not the seed's.
    const msPerImage = seed <= 1 ? await timePrediction(networks, how) : undefined;
    const results: Result[] = [];
    for (const set of tests) {
      const { dataset, protocols, truths } = set;
      // Of some benchmarks only one view is at hand, where a privileged teacher sees nothing.
      if (refine.privileged && job.network === "teacher" && !await hasRightViews(dataset)) continue;
      for (
        const { truth, flip, metrics, ...protocol } of await evaluateNetworks(networks, dataset, {
          ...how,
          protocols,
          truths,
        })
      ) {
        results.push(resultOf(metrics, protocol, truth, set, {
          ...facts,
          row: job.row!,
          seed,
          flip,
          size: formatSize(size),
          parameters: sum(used.map(({ parameters }) => parameters)),
          gigaflops: gigaflops * (flip ? 2 : 1),
          msPerImage: msPerImage && msPerImage * (flip ? 2 : 1),
          run: run.split("/").slice(-3).join("/"),
        }));
      }
    }
    return results;
  } finally {
    dispose();
  }
}

/** The row that sees no image, where the training frames have depths. */
async function evaluateBaseline(
  { root, pairs: all }: StereoDataset,
  tests: readonly TestSet[],
  training: TrainingInput,
  commit: string | undefined,
): Promise<Result[]> {
  const { size, architecture } = resolveTraining({ ...training, steps: 1 });
  const results: Result[] = [];
  const facts = { row: "train-set mean", seed: 0, flip: false, architecture, size: formatSize(size), commit };
  const pairs = all.filter((pair) => !pair.root);
  for (const set of tests) {
    for (const truth of set.truths) {
      try {
        await checkTruth(root, pairs, truth);
      } catch (error) {
        console.error(`no train-set mean: ${messageOf(error).split("\n")[0]}`);
        return results;
      }
      const disparities = await trainSetMean({ root, pairs, size, truth });
      const evaluations = await evaluateAll({ ...set.dataset, disparities, truth }, set.protocols);
      results.push(
        ...evaluations.map((metrics, i) => resultOf(metrics, set.protocols[i], truth, set, facts)),
      );
    }
  }
  return results;
}

/** How well the inconsistency tells the student's error, in words; nothing where no test frame has both views. */
async function gates(
  tests: readonly TestSet[],
  seeds: number,
  runOf: (name: string, seed: number) => string,
): Promise<{ readonly gate?: string }> {
  const whole = await Promise.all(tests.map(({ dataset }) => hasRightViews(dataset)));
  const set = tests.find((_, i) => whole[i]);
  if (!set) return {};
  const { dataset, truths } = set, found: InconsistencyGate[] = [];
  for (let seed = 1; seed <= seeds; seed++) {
    const { networks, size, options, dispose } = await loadModel(runOf("teacher", seed), "latest");
    const how = { size, camera: options.camera, truth: truths.at(-1) };
    found.push(await inconsistencyGate(networks, dataset, how).finally(dispose));
  }
  const of = (name: keyof InconsistencyGate) => found.map((gate) => gate[name].toFixed(3)).join(", ");
  return {
    gate:
      `rank correlation with the student's error on ${set.setting.split} (seeds 1 to ${seeds}): inconsistency ` +
      `${of("inconsistency")}; edges of the input ${of("edges")}; inconsistency with the real opposite view ${
        of("privileged")
      }`,
  };
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

/** Shows one training on a terminal's last line; in a log, only its warnings. */
function quietProgress(): void {
  const terminal = Deno.stderr.isTerminal(), encoder = new TextEncoder();
  const write = (text: string) => terminal && Deno.stderr.writeSync(encoder.encode(`\r\x1b[2K${text}`));
  setProgressSink(() => ({
    line: (text, last) => write(last ? "" : text.slice(0, terminalColumns() - 1)),
    log: (line) => line.includes("warning: ") && console.error(line),
  }));
}

/**
 * Runs the ablation. Finished jobs are not repeated, so that a stopped or killed call can be resumed.
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
  const { data, split, street, pairs, from, seeds } = options, real = data !== undefined;
  const called = options.name ?? nameOf((data ?? "street").split(",")[0]);
  const slug = called.toLowerCase().replace(/\W+/g, "-");
  const out = options.out ?? (real ? `runs/reproduce-${slug}` : "runs/reproduce");
  const folder = options.results ?? `data/results/${slug}`;
  const plan = await makePlan(options, out), { jobs, budget, architecture } = plan;
  if (!(real && from)) {
    const progress = new Progress({ label: "street", total: pairs, unit: "pairs" });
    const onProgress = (done: number) => progress.update(done);
    await generateStreet({ out: street, pairs, frames: FRAMES }, { onProgress, signal });
    progress.finish();
  }
  const trainingData = real ? { data, split, ...options.test && { holdout: 0 } } : { data: street };
  const train = await openDataset({ ...trainingData, part: "train" });
  const count = new Set(train.pairs.map(({ root, left }) => `${root} ${left}`)).size;
  const tests = await openTests(options, real ? `${called} (${count} pairs)` : called);

  const runOf = (name: string, seed: number) =>
    from && name === "street" ? from : join(out, `seed-${seed}`, name);
  const { commit, ...origin } = provenance;
  const about = {
    ...origin,
    ...(commit ? { commit } : {}),
    ...options.config && { training: JSON.stringify(plan.training) },
    plan: [
      `${plan.updates} half-cycle updates, then ${Math.round(options.continued * plan.updates)}`,
      `${seeds} seeds`,
      ...options.updates ? [] : [options.budget],
    ].join(", "),
    data: `${count} training pairs of ${called}; ` +
      tests.map(({ dataset, setting }) => real ? setting.split : `${dataset.pairs.length} test pairs`).join(
        ", ",
      ),
    ...tests.some(({ setting }) => setting.split.includes("Eigen")) &&
      { license: "measured with KITTI, CC BY-NC-SA 3.0: weights trained on it are for non-commercial use" },
  };
  const file = join(out, "results.json");
  let results: readonly Result[] = await exists(file) ? (await readResults([file])).results : [];
  const add = async (more: readonly Result[]) => {
    results = putResults(results, more);
    await writeResults(file, { about, results });
  };
  const has = (row: string, seed: number) => results.some((r) => r.row === row && r.seed === seed);
  if (!has("train-set mean", 0)) await add(await evaluateBaseline(train, tests, plan.training, commit));
  if (from && !has("street zero-shot", 0)) {
    const job = ablationJobs(true).find(({ name }) => name === "street")!;
    await add(await evaluateJob(job, 0, from, tests, { architecture, commit }));
  }

  const started = performance.now();
  let left = seeds * jobs.reduce((sum, job) => sum + budget.duration(job), 0), spent = 0, done = 0;
  quietProgress();
  try {
    // Row by row, so that a call that is stopped early leaves whole rows, with all their seeds.
    for (const job of jobs) {
      for (let seed = 1; seed <= seeds; seed++) {
        const run = runOf(job.name, seed), begun = performance.now(), finished = await isFinished(run);
        if (!finished) {
          const resume = await exists(join(run, "checkpoints"));
          const onStreet = job.name === "street";
          const summary = await runStage({
            out: run,
            overrides: {
              ...real && !onStreet && plan.training.preset === "quick" && REAL_PAIRS,
              ...plan.training,
              ...onStreet ? { data: street } : trainingData,
              ...job.options,
              stage: job.stage,
              seed,
              steps: budget.updates(job),
              validateEvery: 0,
              checkpointEvery: 0,
              checkpointMinutes: 1,
              keep: 1,
              tensorboard: false,
            },
            resume,
            overwrite: !resume && await exists(run),
            from: job.from.map((name) => runOf(name, seed)),
            signal,
            label: `seed ${seed} ${job.name}`,
          });
          if (summary.reason === "stopped") return undefined;
        }
        if (job.row && !has(job.row, seed)) {
          const relativeCost = budget.cost(job.name) / budget.cost("half-cycle-continued");
          const facts = { updates: budget.studentUpdates(job.name), relativeCost, architecture, commit };
          await add(await evaluateJob(job, seed, run, tests, facts));
        }
        left -= budget.duration(job), done++;
        if (finished) continue;
        spent += budget.duration(job);
        const now = performance.now();
        const absRel = results.find((r) => r.row === job.row && r.seed === seed && !r.flip)?.metrics.absRel;
        console.error(
          `${done}/${seeds * jobs.length}  seed ${seed}  ${job.row ?? job.name}: ${
            budget.updates(job)
          } updates in ` +
            `${shortDuration(now - begun)}${absRel ? `, abs rel ${absRel.toFixed(4)}` : ""}; ` +
            `${shortDuration(left * (now - started) / spent)} left`,
        );
      }
    }
  } finally {
    setProgressSink(undefined);
  }
  await writeResults(join(folder, "results.json"), {
    about: {
      ...about,
      ...jobs.some(({ name }) => name === "teacher") && await gates(tests, seeds, runOf),
    },
    results,
  });
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
      "Trains every row of the ablation on streets or on real pairs, all stages and several seeds, in a fixed time,\n" +
      "and writes results, tables and plots. When it was stopped or killed, the same call resumes it.",
    options: { ...reproduceOptions, ...backendOptions },
    headings: { data: "Real pairs", street: "Reproduction", backend: "Machine" },
    examples: [
      "deno task reproduce",
      "deno task reproduce --budget 8h --seeds 5 --out runs/long",
      "deno task reproduce --data my_rig/pairs.csv",
      "deno task reproduce --name KITTI --data kitti --split eigen",
    ],
  }, async (options) => {
    await selectBackend(options);
    const stop = stopSignal();
    const { cores, model } = cpuFeatures();
    const report = await reproduce(options, {
      command: `deno task reproduce ${
        Deno.args.map((arg) => /^[\w./,:=-]+$/.test(arg) ? arg : `"${arg}"`).join(" ")
      }`,
      machine: `${cores} cores, ${model} CPU, ${Deno.build.target}`,
      commit: await currentCommit(),
    }, stop.signal);
    for (const table of report?.tables ?? []) console.log(`${table.text(terminalColumns())}\n`);
    return stop.status;
  });
}
