/**
 * `deno task train`: trains one stage, or all of them in a row.
 *
 * @module
 */
import { dirname, join, resolve } from "@std/path";
import { backendOptions, selectBackend } from "../lib/backend/select.ts";
import { CyclopsError, messageOf, UsageError } from "../lib/base/errors.ts";
import { flag, integer, list, type OptionsOf, text } from "../lib/base/options.ts";
import { formatBytes } from "../lib/base/terminal.ts";
import { clusterMember, clusterOptions, joinCluster, LOST } from "../lib/training/cluster.ts";
import { configOptions, type PresetName, readTraining, TRAINING_HEADINGS } from "../lib/training/options.ts";
import {
  findLearningRate,
  profileUpdates,
  type RateTest,
  runAllStages,
  runStage,
  type UpdateProfile,
} from "../lib/training/run.ts";
import { STAGE_NAMES } from "../lib/training/stages.ts";
import { parseTime, runTask, stopSignal, TIME } from "./_task.ts";

const options = (preset?: PresetName) => ({
  out: text({ default: "runs/first", value: "DIR", help: "Folder of the run." }),
  resume: flag({ help: "Resume the run in the folder, with its own options." }),
  overwrite: flag({ help: "Start over, deleting the run in the folder." }),
  report: flag({ default: true, help: "Write report.html into the run's folder at the end." }),
  maxTime: text({ ...TIME, help: "Stop after this time, with a checkpoint to resume from." }),
  findLearningRate: flag({
    help: "Instead: raise the rate from update to update and say where the loss is lowest.",
  }),
  profile: integer({ min: 1, unit: "updates", help: "Instead: say where the time of so many updates goes." }),
  from: list({
    value: "RUN|NAME",
    help: "Runs, checkpoints or models (a file, or street, kitti) whose weights to start from.",
  }),
  config: text({
    value: "FILE",
    help: "Options from a JSON file (schema: data/train.schema.json), e.g. a run's options.json.",
  }),
  ...backendOptions,
  ...clusterOptions,
  ...configOptions(preset),
});

/** The task; its options, with the defaults of the preset that is given, are all that its help shows. */
export const TRAIN = {
  name: "train",
  summary:
    "Trains on stereo pairs. The run's folder gets metrics.jsonl, the resolved options and checkpoints; " +
    "Ctrl-C stops the training after the current step and saves it. Defaults are those of --preset; " +
    "--help --preset vgg shows the preset vgg's.",
  options: options(),
  headings: { out: "Run", backend: "Backend", processes: "Several processes", ...TRAINING_HEADINGS },
  helpOptions: ({ preset }: { readonly preset: PresetName }) => options(preset),
  examples: [
    "deno task train --data data/street --steps 1200",
    "deno task train --stage cycle --from runs/first --out runs/cycle",
    "deno task train --stage all --out runs/whole",
    "deno task train --config runs/first/options.json --seed 2 --out runs/second",
    "deno task train --preset resnet50 --data /data/kitti --split eigen --out runs/kitti",
    "deno task train --data /data/cityscapes --split cityscapes --out runs/city",
    "deno task train --preset lite0 --from street --data my_rig/pairs.csv --out runs/tuned",
    "deno task train --data my_rig/pairs.csv --overfit 4 --steps 300 --out runs/sanity",
    "deno task train --data my_rig/pairs.csv --find-learning-rate",
    "deno task train --resume --max-time 2h --out runs/first",
    "deno task train --processes 2 --out runs/both",
    "deno task train --cluster node[1-2]:2222 --task 0 --out runs/both",
  ],
};

type TrainTaskOptions = OptionsOf<typeof TRAIN.options>;

/** The learning-rate range test, as lines with bars. */
function showRates({ rates, losses, lowest }: RateTest): void {
  const highest = Math.max(...losses), rows = 16;
  for (let row = 0; row < rows; row++) {
    const i = Math.round(row * (rates.length - 1) / (rows - 1));
    const bar = "█".repeat(Math.round(50 * losses[i] / highest));
    console.log(`${rates[i].toExponential(1).padStart(8)}  ${losses[i].toPrecision(3).padStart(6)}  ${bar}`);
  }
  console.log(
    `The loss is lowest at ${lowest.toExponential(1)}: as a run's peak rate, --learning-rate ` +
      `${lowest.toExponential(0)} is about\nthe highest that learns. Nothing was kept.`,
  );
}

function showProfile({ waiting, update, rest, rate, validation, memory }: UpdateProfile): void {
  const whole = waiting + update + rest;
  for (
    const [name, time] of Object.entries({ "waiting for images": waiting, update, rest, together: whole })
  ) {
    const share = `${(100 * time / whole).toFixed(1)} %`;
    console.log(`${name.padEnd(20)}${time.toFixed(1).padStart(8)} ms  ${share.padStart(8)}`);
  }
  if (validation) {
    const { pairs, milliseconds, every } = validation, seconds = (milliseconds / 1000).toFixed(1);
    const share = (100 * milliseconds / (milliseconds + every * whole)).toFixed(1);
    console.log(
      `a validation of ${pairs} pairs takes ${seconds} s: every ${every} updates, that is ${share} % of a run.`,
    );
  }
  console.log(
    `${rate.toFixed(0)} pairs/s, ${formatBytes(memory)} resident; medians. Nothing was kept.\n` +
      "deno task bench --profile shows the operations of an update.",
  );
}

/** Aborts after that time; AbortSignal.timeout ends at 24 days. */
function deadline(milliseconds: number): AbortSignal {
  const late = new AbortController(), end = Date.now() + milliseconds;
  Deno.unrefTimer(setInterval(() => Date.now() < end || late.abort(), Math.min(milliseconds, 1000)));
  return late.signal;
}

/** Milliseconds that the other workers get to end by themselves. */
const GRACE = 1000;

/** Starts the other workers on this machine, each with a log of its own; this process is worker 0. */
async function startWorkers(options: TrainTaskOptions, processes: number, threads: number) {
  const { out } = options;
  const ports = Array.from({ length: processes }, () => Deno.listen({ hostname: "127.0.0.1", port: 0 }));
  const addresses = ports.map(({ addr }) => `127.0.0.1:${(addr as Deno.NetAddr).port}`);
  for (const port of ports) port.close();
  // Where there are GPUs, each process has one of its own.
  const gpus = Deno.env.get("CUDA_VISIBLE_DEVICES")?.split(",") ?? addresses.map((_, i) => String(i));
  Deno.env.set("CUDA_VISIBLE_DEVICES", gpus[0]);
  const at = Deno.args.findIndex((arg) => arg.startsWith("--processes"));
  const given = Deno.args.toSpliced(at, Deno.args[at].includes("=") ? 1 : 2);
  await Deno.mkdir(dirname(out), { recursive: true });
  const running = new Map<number, Deno.ChildProcess>();
  const faults: string[] = [];
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => {});
  const logOf = (task: number) => `${out}.worker-${task}.log`;
  const ends = addresses.slice(1).map(async (_, i) => {
    const task = i + 1, log = logOf(task);
    const file = await Deno.open(log, { write: true, create: true, truncate: true });
    const child = new Deno.Command("deno", {
      args: [
        ...["run", "-q", "-P=compute", import.meta.filename!, ...given],
        ...["--cluster", addresses.join(), "--task", String(task)],
        ...options.threads === undefined ? ["--threads", String(threads)] : [],
      ],
      env: { CUDA_VISIBLE_DEVICES: gpus[task] ?? "", NO_COLOR: "1" },
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    running.set(task, child);
    await child.stderr.pipeTo(file.writable);
    const { code, signal } = await child.status;
    running.delete(task);
    // Ctrl-C stops all workers alike.
    if ([0, 130, 143].includes(code)) return;
    const said = (await Deno.readTextFile(log)).match(/^error: .*/m)?.[0] ?? "it said nothing";
    // What another worker's end caused is no news.
    if (!said.includes(LOST)) faults.push(`worker ${task} ended by ${signal ?? `itself`}: ${said} (${log})`);
    failed.reject(new CyclopsError(`Cannot start: ${faults.at(-1)}`));
  });
  return {
    member: { addresses, task: 0 },
    /** Fails when a worker does. */
    failed: failed.promise,
    /** Waits for the other workers, kills those that go on, and says what was wrong with them. */
    async end(): Promise<string[]> {
      await Promise.race([Promise.all(ends), new Promise((resolve) => setTimeout(resolve, GRACE))]);
      for (const [task, child] of running) {
        faults.push(`worker ${task} did not end and was killed (${logOf(task)})`);
        child.kill("SIGKILL");
      }
      return faults;
    },
  };
}

/**
 * Writes the report of a run that has ended, as deno task compare does. In a process of its own: what draws is a third of
 * the program, and its failure must not be the training's.
 */
async function writeReport(run: string, { backend }: TrainTaskOptions): Promise<void> {
  const path = join(run, "report.html");
  const { code, stderr } = await new Deno.Command("deno", {
    args: [
      ...["run", "-q", "-P=compute", join(import.meta.dirname!, "compare.ts"), resolve(run)],
      ...["--out", resolve(path), "--overwrite", ...backend ? ["--backend", backend] : []],
    ],
    // The training holds the GPUs' memory.
    env: { CUDA_VISIBLE_DEVICES: "", NO_COLOR: "1" },
    stdin: "null",
    stdout: "null",
  }).output();
  const said = new TextDecoder().decode(stderr).match(/^error: (.*)/m)?.[1] ?? "it said nothing";
  console.error(code === 0 ? `report: ${path}` : `warning: no ${path}: ${said}`);
}

async function main(
  options: TrainTaskOptions,
  _: readonly string[],
  given: ReadonlySet<string>,
): Promise<number> {
  const { out, resume, overwrite } = options;
  const commandLine = Object.fromEntries(
    Object.entries(options).filter(([key]) => given.has(key) && key in configOptions()),
  );
  const { stage, ...overrides } = await readTraining(options.config, commandLine);
  const { processes = 1, cluster: addresses } = options;
  const maxTime = options.maxTime && parseTime(options.maxTime);
  /** When to stop: on Ctrl-C, or after --max-time from now. */
  const stopping = () => {
    const stop = stopSignal(), late = maxTime ? deadline(maxTime) : undefined;
    return { stop, late, signal: late ? AbortSignal.any([stop.signal, late]) : stop.signal };
  };
  const trial = options.findLearningRate ? "--find-learning-rate" : options.profile ? "--profile" : undefined;
  if (trial) {
    if (
      stage === "all" || processes > 1 || addresses || resume || options.findLearningRate && options.profile
    ) {
      throw new UsageError(
        `Cannot train: ${trial} tries one stage in one process, expected no other of --stage all, --processes, ` +
          "--cluster, --resume, --find-learning-rate and --profile",
      );
    }
    await selectBackend(options);
    const { stop, signal } = stopping();
    const how = { overrides: { ...overrides, stage }, from: options.from, signal };
    if (options.profile) showProfile(await profileUpdates(how, options.profile));
    else showRates(await findLearningRate(how));
    return stop.status;
  }
  if (processes > 1 && addresses) {
    throw new UsageError("Cannot train: --processes and --cluster exclude each other");
  }
  const threads = options.threads ??
    (processes > 1 ? Math.max(1, Math.floor(navigator.hardwareConcurrency / processes)) : undefined);
  const workers = processes > 1 ? await startWorkers(options, processes, threads!) : undefined;
  const member = workers?.member ?? clusterMember(options);
  try {
    const joined = member && joinCluster(member, { ...options, threads });
    const cluster = await (workers ? Promise.race([joined, workers.failed]) : joined);
    if (!cluster) await selectBackend(options);
    const { stop, late, signal } = stopping();
    const run = { out, resume, overwrite, from: options.from, signal, cluster };
    const summary = stage === "all"
      ? await runAllStages({ ...run, overrides })
      : await runStage({ ...run, overrides: { ...overrides, stage } });
    await workers?.end();
    if (options.report && summary.reason === "finished" && !member?.task) {
      const folders = stage === "all" ? STAGE_NAMES.map((name) => join(out, name)) : [out];
      for (const folder of folders) await writeReport(folder, options);
    }
    if (summary.reason === "stopped" && late?.aborted && !stop.signal.aborted) {
      console.error(`stopped after ${options.maxTime}; --resume goes on`);
    }
    if (options.overfit && summary.photometric) {
      const [first, last] = summary.photometric;
      console.error(
        `overfit: the photometric loss of these pairs went from ${first.toFixed(3)} to ${last.toFixed(3)}; ` +
          (last < first / 2
            ? "the network learns them"
            : "where it does not fall below half, look at them with deno task check-data, or raise --steps"),
      );
    }
    if (summary.checkpoint) console.log(summary.checkpoint);
    return stop.status;
  } catch (error) {
    const faults = await workers?.end() ?? [];
    if (error instanceof UsageError || faults.length === 0) throw error;
    throw new CyclopsError([messageOf(error), ...faults].join("\n  "), { cause: error });
  }
}

if (import.meta.main) await runTask(TRAIN, main);
