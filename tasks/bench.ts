/**
 * `deno task bench`: how fast predictions and updates are, beside PyTorch's for the same networks, weights, images and
 * loss, on the same CPU and interleaved in the same minutes; where the time goes; how it grows.
 *
 * @module
 */
import { join } from "@std/path";
import { cpuFeatures } from "../lib/backend/ops.ts";
import { CyclopsError, messageOf, UsageError } from "../lib/base/errors.ts";
import { writeAtomic } from "../lib/base/files.ts";
import { choice, flag, formatSize, integer, type OptionsOf, text } from "../lib/base/options.ts";
import { Progress, terminalColumns } from "../lib/base/terminal.ts";
import { Chart } from "../lib/charts/chart.ts";
import { Table, type TableRow } from "../lib/charts/table.ts";
import { runTask } from "./_task.ts";
import type { Model, Work } from "./bench/ours.ts";
import { Peer, type PeerInfo } from "./bench/peer.ts";
import { evaluationTable } from "./bench/evaluation.ts";
import { measurePredict, measureWaits, profileTable, scalingTable } from "./bench/studies.ts";

const COMPARISON_NAMES = ["quick", "teacher", "distill", "vgg", "vgg-forward", "quick-forward"] as const;

const benchOptions = {
  only: choice(COMPARISON_NAMES, { help: "Measure only one comparison (default: all)." }),
  repeats: integer({ default: 15, min: 1, max: 10000, help: "Timed runs of each contender, interleaved." }),
  warmup: integer({ default: 3, min: 2, max: 1000, help: "Untimed runs of each contender before that." }),
  python: text({
    value: "FILE|NAME",
    help:
      "A Python that can import torch (default: TORCH_PYTHON, or python3); without one, PyTorch's cells stay empty.",
  }),
} as const;

const studyOptions = {
  profile: flag({ help: "Measure instead where our time goes, by phase and operation (--only, or quick)." }),
  scaling: flag({ help: "Measure instead how our time grows with pixels, batch and parameters." }),
  waits: flag({ help: "Measure instead how long training at preset quick waits for images." }),
  predict: flag({
    help: "Measure instead predict on JPEG files, beside its network alone; --repeats rounds.",
  }),
  evaluation: flag({ help: "Measure instead eval on 697 frames of --data, beside numpy." }),
  data: text({ value: "DIR", help: "Folder of KITTI raw, for --evaluation." }),
  split: text({ value: "FILE|NAME", help: "Its frames, for --evaluation (default: eigen-test)." }),
} as const;

/** One way to do the work of a {@linkcode Comparison}. */
export interface Contender extends Pick<Work, "precision" | "eager"> {
  /** As the table names it. */
  readonly name: string;
  /** Run by PyTorch: memory format channels_last, torch.compile. @default run by us */
  readonly torch?: { readonly channelsLast?: boolean; readonly compiled?: boolean };
}

/** Work and its contenders. */
export interface Comparison extends Omit<Work, "precision" | "eager"> {
  /** Above its rows. */
  readonly title: string;
  /** The first one is ours: its results are the reference for the others. */
  readonly contenders: readonly Contender[];
}

const CONTENDERS: readonly Contender[] = [
  { name: "ours" },
  { name: "ours, --eager", eager: true },
  { name: "PyTorch NCHW", torch: {} },
  { name: "PyTorch NHWC", torch: { channelsLast: true } },
  { name: "torch.compile", torch: { channelsLast: true, compiled: true } },
];
const BF16: readonly Contender[] = [
  { name: "ours, bf16", precision: "bf16" },
  { name: "PyTorch NHWC, bf16", precision: "bf16", torch: { channelsLast: true } },
];
const QUICK = {
  kind: "step",
  architecture: "quick",
  size: { height: 64, width: 192 },
  batch: 8,
  photometricViews: "both",
  contenders: CONTENDERS,
} as const;

/** What `deno task bench` compares. */
export const COMPARISONS: Readonly<Record<typeof COMPARISON_NAMES[number], Comparison>> = {
  quick: { title: "Half-cycle update", ...QUICK },
  teacher: { title: "Teacher update", ...QUICK, stage: "teacher" },
  distill: { title: "Distillation update", ...QUICK, stage: "distill" },
  vgg: {
    title: "Half-cycle update",
    kind: "step",
    architecture: "vgg",
    size: { height: 128, width: 256 },
    batch: 2,
    contenders: [...CONTENDERS, ...BF16],
  },
  "vgg-forward": {
    title: "Prediction",
    kind: "forward",
    architecture: "vgg",
    size: { height: 256, width: 512 },
    batch: 1,
    contenders: [...CONTENDERS, ...BF16],
  },
  "quick-forward": { title: "Prediction", ...QUICK, kind: "forward", batch: 1 },
};

/** The runs of one contender. */
export interface Timing extends Contender {
  /** Why it did not run; the rest is absent then. */
  readonly absent?: string;
  /** Of every timed run. */
  readonly milliseconds?: readonly number[];
  /** Lower quartile, median and upper quartile, ms. */
  readonly quartiles?: readonly [number, number, number];
  /** The first run, which traces or compiles, s. */
  readonly firstSeconds?: number;
  /** Peak resident memory of the process during the timed runs, MiB. */
  readonly peakMib?: number;
  /** The same without what the process held before its networks were made: libraries, above all. */
  readonly grownMib?: number;
  /** Its median over that of the fastest eager PyTorch at fp32: below 1 is faster. */
  readonly ratio?: number;
  /** Its median over that of torch.compile. */
  readonly compiledRatio?: number;
  /** Result of every run, warm-up included: the loss, or the mean of the finest disparities, fraction of the width. */
  readonly values?: readonly number[];
}

/** What {@linkcode bench} found. */
export interface BenchReport {
  /** Processor and cores. */
  readonly machine: string;
  /** Version. */
  readonly tensorflow: string;
  /** Load average of the last minute, before anything was measured. */
  readonly load: number;
  /** Threads on either side. */
  readonly threads: number;
  /** Fastest convolution of this processor, 10⁹ operations per second. */
  readonly peakGflops: number;
  /** PyTorch, or why there is none. */
  readonly torch: PeerInfo | { readonly absent: string };
  readonly comparisons: readonly {
    /** Title, network, size. */
    readonly title: string;
    /** Of all networks, equal on both sides. */
    readonly parameters: number;
    /** Convolutions of the whole work, 10⁹ operations, a multiply-add counted as two. */
    readonly gigaflops: number;
    readonly contenders: readonly Timing[];
  }[];
}

/** How {@linkcode bench} measures. */
type Plan = Omit<OptionsOf<typeof benchOptions>, "only"> & {
  /** Called after each run. */
  readonly onProgress?: (done: number, total: number, name: string) => void;
};

const pythonName = () => Deno.env.get("TORCH_PYTHON") || "python3";

/** Threads of the last run may still be spinning, ms. */
const PAUSE = 30;

/**
 * Measures comparisons, one after another; within each the contenders are interleaved, every one a process of its own.
 *
 * @throws {CyclopsError} When TensorFlow cannot compute on the CPU, or a contender's results differ from the first's.
 */
export async function bench(comparisons: readonly Comparison[], plan: Plan): Promise<BenchReport> {
  const [load] = Deno.loadavg();
  const { model, cores } = cpuFeatures();
  const ours = await Peer.ours();
  const { gflops } = await ours.ask({ do: "peak" });
  await ours.close();
  const { threads, tensorflow } = ours.info;
  const python = plan.python ?? pythonName();
  let torch: BenchReport["torch"];
  try {
    const peer = await Peer.torch(python, threads);
    torch = peer.info;
    await peer.close();
  } catch (error) {
    if (!(error instanceof CyclopsError)) throw error;
    torch = { absent: messageOf(error) };
  }
  const total = comparisons.reduce((n, { contenders }) => n + contenders.length, 0) *
    (plan.warmup + plan.repeats);
  let done = 0;
  plan.onProgress?.(0, total, "");
  const measured = [];
  for (const comparison of comparisons) {
    const start = (cache?: string) => cache ? Peer.torch(python, threads, cache) : Peer.ours();
    const onRun = (name: string) => plan.onProgress?.(++done, total, name);
    const absent = "absent" in torch ? torch.absent : undefined;
    measured.push(await compare(comparison, plan, start, absent, onRun));
  }
  return {
    machine: `${model}, ${cores} cores`,
    load,
    tensorflow: tensorflow!,
    threads,
    peakGflops: gflops as number,
    torch,
    comparisons: measured,
  };
}

async function compare(
  comparison: Comparison,
  { warmup, repeats }: Plan,
  start: (torchCache?: string) => Promise<Peer>,
  noTorch: string | undefined,
  onRun: (name: string) => void,
): Promise<BenchReport["comparisons"][number]> {
  const { contenders, title, architecture, size, batch } = comparison;
  const folder = await Deno.makeTempDir({ prefix: "cyclops-bench-" });
  const file = join(folder, "work.safetensors");
  const absent = contenders.map(({ precision, torch }) =>
    precision === "bf16" && !cpuFeatures().bf16
      ? "this processor has no bf16 instructions" // emulated, it would only show how slow that is
      : torch && noTorch
  );
  const peers: (Peer | undefined)[] = [], before: number[] = [];
  try {
    let model: Model | undefined;
    for (const [i, { name, precision, eager, torch }] of contenders.entries()) {
      if (absent[i]) continue;
      const peer = peers[i] = await start(torch && folder);
      before[i] = await peer.residentMib();
      if (!torch) {
        const made = await peer.ask({
          do: "make",
          work: { ...comparison, precision, eager },
          ...(model ? {} : { file }),
        });
        model ??= made as Model;
        continue;
      }
      try {
        const { parameters } = await peer.ask({
          ...model,
          ...torch,
          do: "make",
          bf16: precision === "bf16",
          file,
        });
        if (parameters === model!.parameters) continue;
        throw new CyclopsError(
          `Cannot compare: "${name}" has ${parameters} parameters, expected ${model!.parameters}; ` +
            "the two implementations have diverged",
        );
      } catch (error) {
        if (!torch.compiled) throw error;
        absent[i] = messageOf(error);
      }
    }

    const times = contenders.map((): number[] => []), values = contenders.map((): number[] => []);
    const first: number[] = [];
    for (let round = 0; round < warmup + repeats; round++) {
      for (const [i, contender] of contenders.entries()) {
        const peer = peers[i];
        if (peer && !absent[i]) {
          if (round === warmup) await peer.resetPeak();
          await new Promise((resolve) => setTimeout(resolve, PAUSE));
          try {
            const { milliseconds, value } = await peer.run();
            values[i].push(value);
            if (round === 0) first[i] = milliseconds / 1000;
            if (round >= warmup) times[i].push(milliseconds);
            if (round < 2) checkValue(value, values[0][round], contender, round);
          } catch (error) {
            if (!contender.torch?.compiled || round > 0 || !messageOf(error).includes(" says: ")) throw error;
            absent[i] = messageOf(error);
          }
        }
        onRun(contender.name);
      }
    }
    const peaks = await Promise.all(peers.map((peer) => peer?.residentMib("peak")));

    const medians = times.map((list) => quantile(list, 0.5));
    const fastest = (compiled: boolean) =>
      Math.min(
        ...medians.filter((_, i) =>
          !absent[i] && contenders[i].torch && !!contenders[i].torch?.compiled === compiled &&
          contenders[i].precision !== "bf16"
        ),
      );
    const ratio = (i: number, to: number) => Number.isFinite(to) ? medians[i] / to : undefined;
    return {
      title: `${title}, ${architecture}, ${formatSize(size)} px, batch ${batch}`,
      parameters: model!.parameters,
      gigaflops: model!.gigaflops,
      contenders: contenders.map((contender, i): Timing =>
        absent[i] ? { ...contender, absent: absent[i] } : {
          ...contender,
          milliseconds: times[i],
          quartiles: [quantile(times[i], 0.25), medians[i], quantile(times[i], 0.75)],
          firstSeconds: first[i],
          peakMib: peaks[i],
          grownMib: peaks[i]! - before[i],
          ratio: ratio(i, fastest(false)),
          compiledRatio: ratio(i, fastest(true)),
          values: values[i],
        }
      ),
    };
  } finally {
    for (const peer of peers) await peer?.close();
    await Deno.remove(folder, { recursive: true });
  }
}

/**
 * All start from the same weights and images: the first result shows whether the work is the same, the one after an update
 * whether the gradients are. Later ones drift apart: PyTorch's Adam adds its epsilon after correcting the second moment,
 * TensorFlow's before, which matters where gradients are tiny, as in VGG.
 */
function checkValue(value: number, expected: number, { name, precision }: Contender, round: number): void {
  // bfloat16 keeps 8 bits of a number.
  const tolerance = precision === "bf16" ? 0.05 : round === 0 ? 1e-4 : 1e-3;
  if (Math.abs(value - expected) <= tolerance * Math.abs(expected)) return;
  throw new CyclopsError(
    `Cannot compare: "${name}" computes ${value} in run ${round + 1} from the same weights and images, ` +
      `expected ${expected}; the two implementations have diverged`,
  );
}

/** The value below which a share of a list lies, interpolated. */
function quantile(list: readonly number[], share: number): number {
  const sorted = list.toSorted((a, b) => a - b);
  const at = share * (sorted.length - 1), low = Math.floor(at);
  return sorted[low] + (at - low) * (sorted[Math.ceil(at)] - sorted[low]);
}

/** Load per core above which measurements are unreliable. */
const BUSY = 0.75;

/** A report as a table. */
export function benchTable(report: BenchReport): Table {
  const { machine, load, tensorflow, threads, peakGflops, torch, comparisons } = report;
  const rows = comparisons.flatMap(({ title, parameters, gigaflops, contenders }) => {
    const group = `${title}: ${(parameters / 1e6).toFixed(2)} M parameters, ` +
      `${gigaflops.toFixed(1)} GFLOP`;
    return contenders.map(({ name, quartiles, ratio, compiledRatio, peakMib, grownMib }): TableRow => {
      const [low, median, high] = quartiles ?? [];
      const peak = median && 100 * gigaflops / (median / 1000) / peakGflops;
      const spread = quartiles && `${low!.toFixed(1)}–${high!.toFixed(1)}`;
      return {
        name,
        group,
        cells: { median, spread, ratio, compiledRatio, peak, memory: peakMib, grown: grownMib },
      };
    });
  });
  const timings = comparisons.flatMap(({ contenders }) => contenders);
  const withoutTorch = "absent" in torch ? torch.absent : undefined;
  const absent = timings.filter((timing) => timing.absent !== undefined && timing.absent !== withoutTorch);
  const lacking = [...Map.groupBy(absent, (timing) => timing.absent)].map(([reason, timings]) =>
    `— ${[...new Set(timings.map(({ name }) => name))].join("; ")}: ${reason}.`
  );
  const versions = "absent" in torch
    ? `no PyTorch (${torch.absent}): pass a Python that has it with --python; see docs/performance.md.`
    : `PyTorch ${torch.torch}, fused Adam, Python ${torch.python}.`;
  const compiling = timings.filter(({ torch, firstSeconds }) => torch?.compiled && firstSeconds)
    .map(({ firstSeconds }) => firstSeconds!.toFixed(0));
  const tracing = timings.filter(({ torch, eager, firstSeconds }) => !torch && !eager && firstSeconds)
    .map(({ firstSeconds }) => firstSeconds!.toFixed(1));
  // A core that is taken away slows threads that wait for each other most, and the two sides wait differently.
  const busy = load > BUSY * threads
    ? [`The machine was busy (load ${load.toFixed(1)}): measure again when it is idle.`]
    : [];
  return new Table({
    columns: [
      { key: "median", label: "ms", digits: 1 },
      { key: "spread", label: "quartiles" },
      { key: "ratio", label: "×eager", digits: 2 },
      { key: "compiledRatio", label: "×comp.", digits: 2 },
      { key: "peak", label: "peak %", digits: 0 },
      { key: "memory", label: "MiB", digits: 0 },
      { key: "grown", label: "+MiB", digits: 0 },
    ],
    rows,
    notes: [
      "ms: median. ×eager, ×comp.: over that of the fastest eager PyTorch at fp32 and of torch.compile; below 1 is " +
      `faster. peak %: of ${
        peakGflops.toFixed(0)
      } GFLOP/s, this processor's fastest convolution. MiB: peak ` +
      "resident memory of the process; +MiB: without what it held before its networks were made.",
      `${machine}, ${threads} threads each. TensorFlow ${tensorflow}; ${versions}`,
      `The first run, not timed: ours ${tracing.join(", ")} s` +
      (compiling.length ? `; torch.compile ${compiling.join(", ")} s.` : "."),
      ...lacking,
      ...busy,
    ],
  });
}

/** A report as bars. */
export function benchChart({ comparisons, machine }: BenchReport): Chart {
  const values = comparisons.flatMap(({ title, contenders }) =>
    contenders.flatMap(({ name, quartiles, torch }) =>
      quartiles ? [{ title, name, ms: quartiles[1], by: torch ? "PyTorch" : "Cyclops" }] : []
    )
  );
  const title = "Time of an update or a prediction, ms";
  const y = { field: "name", type: "nominal", sort: null, title: null };
  return new Chart({
    title: { text: title, subtitle: machine },
    data: { values },
    facet: {
      row: { field: "title", type: "nominal", sort: null, title: null, header: { labelOrient: "top" } },
    },
    spec: {
      width: 380,
      layer: [
        {
          mark: "bar",
          encoding: {
            y,
            x: { field: "ms", type: "quantitative", title: null },
            color: { field: "by", type: "nominal", title: null },
          },
        },
        {
          mark: { type: "text", align: "left", dx: 4 },
          encoding: {
            y,
            x: { field: "ms", type: "quantitative" },
            text: { field: "ms", type: "quantitative", format: ".1f" },
          },
        },
      ],
    },
    resolve: { scale: { x: "independent", y: "independent" } },
  }, title);
}

if (import.meta.main) {
  await runTask({
    name: "bench",
    summary:
      "Measures updates and predictions on this CPU, interleaved with PyTorch's for the same networks, weights,\n" +
      "images and loss, and checks first that both compute the same. Needs an idle machine.",
    options: {
      ...benchOptions,
      ...studyOptions,
      json: text({ value: "FILE", help: "Also write a JSON file, with every single run." }),
      chart: text({ value: "FILE.svg", help: "Also draw a bar chart." }),
    },
    headings: { profile: "Studies of our own time", json: "Output" },
    examples: [
      "deno task bench --python venv/bin/python --json bench.json",
      "deno task bench --only quick --repeats 50",
      "deno task bench --profile --only vgg",
      "deno task bench --evaluation --data kitti --repeats 3",
    ],
  }, async ({ only, json, chart, profile, scaling, waits, predict, evaluation, data, split, ...plan }) => {
    if ([profile, scaling, waits, predict, evaluation].filter(Boolean).length > 1) {
      throw new UsageError(
        "Cannot run bench: expected only one of --profile, --scaling, --waits, --predict and --evaluation",
      );
    }
    if (evaluation !== (data !== undefined) || (split && !evaluation)) {
      throw new UsageError("Cannot run bench: --evaluation goes with --data DIR, and --split with both");
    }
    const study = profile || scaling || waits || predict || evaluation;
    if (chart && study) throw new UsageError("Cannot draw a chart of a study: leave out --chart");
    const save = async (value: unknown) => {
      if (json) await writeAtomic(json, JSON.stringify(value, null, 2) + "\n");
    };
    let progress: Progress | undefined;
    const onProgress = (done: number, total: number, name: string) => {
      progress ??= new Progress({ label: "bench", total, unit: "runs" });
      progress.update(done, name);
    };
    if (study) {
      const python = plan.python ?? pythonName();
      const table = evaluation
        ? await evaluationTable({ ...plan, data: data!, split: split ?? "eigen-test", python, onProgress })
        : profile
        ? await profileTable(COMPARISONS[only ?? "quick"])
        : scaling
        ? await scalingTable(plan)
        : predict
        ? await measurePredict(plan.repeats)
        : await measureWaits();
      progress?.finish();
      await save(table.content);
      console.log(table.text(terminalColumns()));
      return;
    }
    const report = await bench((only ? [only] : COMPARISON_NAMES).map((name) => COMPARISONS[name]), {
      ...plan,
      onProgress,
    });
    progress?.finish();
    await save(report);
    if (chart) await benchChart(report).writeSvg(chart);
    console.log(benchTable(report).text(terminalColumns()));
  });
}
