/**
 * `deno task bench`: how fast a prediction and an update are, beside PyTorch's for the same network, weights, images and
 * loss, on the same CPU and interleaved in the same minutes.
 *
 * @module
 */
import { cpuFeatures, type Precision } from "../lib/backend/ops.ts";
import { compile, type Compiled, selectBackend } from "../lib/backend/mod.ts";
import { type Tensor4D, tf } from "../lib/backend/tf.ts";
import { CyclopsError, messageOf } from "../lib/base/errors.ts";
import { choice, flag, formatSize, integer, type OptionsOf, type Size, text } from "../lib/base/options.ts";
import { Progress, terminalColumns } from "../lib/base/terminal.ts";
import { Table, type TableRow } from "../lib/charts/table.ts";
import type { StereoBatch } from "../lib/data/loader.ts";
import { float32Tensor, type StoredTensor } from "../lib/data/safetensors.ts";
import { type ArchitectureName, ARCHITECTURES, countGigaflops } from "../lib/models/architecture.ts";
import { createNetwork, disposeNetwork, type Network, runNetwork } from "../lib/models/network.ts";
import { resolveTraining, type TrainingOptions } from "../lib/training/options.ts";
import { Trainer } from "../lib/training/trainer.ts";
import { runTask } from "./_task.ts";
import { noiseBatch } from "./bench/noise.ts";
import { type PeerInfo, TorchPeer } from "./bench/peer.ts";

const COMPARISON_NAMES = ["forward", "quick", "vgg"] as const;

const benchOptions = {
  only: choice(COMPARISON_NAMES, { help: "Measure only one comparison (default: all)." }),
  repeats: integer({ default: 15, min: 1, max: 10000, help: "Timed runs of each contender, interleaved." }),
  warmup: integer({ default: 3, min: 1, max: 1000, help: "Untimed runs of each contender before that." }),
  python: text({
    default: "python3",
    value: "FILE|NAME",
    help: "A Python that can import torch; without one PyTorch's cells stay empty.",
  }),
} as const;

/** One way to do the work of a {@linkcode Comparison}. */
export interface Contender {
  /** As the table names it. */
  readonly name: string;
  /** @default "fp32" */
  readonly precision?: Precision;
  /** Operation by operation instead of compiled; our updates only. @default false */
  readonly eager?: boolean;
  /** Run by PyTorch: memory format channels_last, Adam as one fused kernel. @default run by us */
  readonly torch?: { readonly channelsLast?: boolean; readonly fused?: boolean };
}

/** Work and its contenders. */
export interface Comparison {
  /** Above its rows. */
  readonly title: string;
  /** A prediction, or one half-cycle update. */
  readonly kind: "forward" | "step";
  readonly architecture: ArchitectureName;
  readonly size: Size;
  /** Images or pairs. */
  readonly batch: number;
  /** As in the training option. @default "target" */
  readonly photometricViews?: "target" | "both";
  /** The first one is ours: its results are the reference for the others. */
  readonly contenders: readonly Contender[];
}

const TORCH_STEPS: readonly Contender[] = [
  { name: "PyTorch, channels first", torch: {} },
  { name: "PyTorch, channels last, fused Adam", torch: { channelsLast: true, fused: true } },
];

/** What `deno task bench` measures. */
export const COMPARISONS: Readonly<Record<typeof COMPARISON_NAMES[number], Comparison>> = {
  forward: {
    title: "Prediction",
    kind: "forward",
    architecture: "vgg",
    size: { height: 256, width: 512 },
    batch: 1,
    contenders: [
      { name: "ours, fp32" },
      { name: "ours, bf16", precision: "bf16" },
      { name: "PyTorch, channels first", torch: {} },
      { name: "PyTorch, channels last", torch: { channelsLast: true } },
      { name: "PyTorch, channels last, bf16", precision: "bf16", torch: { channelsLast: true } },
    ],
  },
  quick: {
    title: "Half-cycle update",
    kind: "step",
    architecture: "quick",
    size: { height: 64, width: 192 },
    batch: 8,
    photometricViews: "both",
    contenders: [{ name: "ours" }, { name: "ours, eager", eager: true }, ...TORCH_STEPS],
  },
  vgg: {
    title: "Half-cycle update",
    kind: "step",
    architecture: "vgg",
    size: { height: 128, width: 256 },
    batch: 2,
    contenders: [
      { name: "ours" },
      { name: "ours, eager", eager: true },
      { name: "ours, bf16", precision: "bf16" },
      ...TORCH_STEPS,
      {
        name: "PyTorch, channels last, fused Adam, bf16",
        precision: "bf16",
        torch: { channelsLast: true, fused: true },
      },
    ],
  },
};

/** The runs of one contender. */
export interface Timing extends Contender {
  /** Why it did not run; the rest is absent then. */
  readonly absent?: string;
  /** Of every timed run. */
  readonly milliseconds?: readonly number[];
  /** Lower quartile, median and upper quartile, ms. */
  readonly quartiles?: readonly [number, number, number];
  /** Its median over that of the fastest PyTorch at fp32: below 1 is faster. */
  readonly ratio?: number;
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
  /** PyTorch, or why there is none. */
  readonly torch: PeerInfo | { readonly absent: string };
  readonly comparisons: readonly {
    /** Title, network, size. */
    readonly title: string;
    /** Trainable parameters, equal on both sides. */
    readonly parameters: number;
    /** Forward pass of one image, 10⁹ operations, a multiply-add counted as two. */
    readonly gigaflops: number;
    readonly contenders: readonly Timing[];
  }[];
}

/** How {@linkcode bench} measures. */
type Plan = Omit<OptionsOf<typeof benchOptions>, "only"> & {
  /** Called after each run. */
  readonly onProgress?: (done: number, total: number, name: string) => void;
};

/**
 * Measures comparisons, one after another; within each the contenders are interleaved.
 *
 * @throws {CyclopsError} When the backend is not TensorFlow on the CPU, or a contender's result differs from the first's.
 */
export async function bench(comparisons: readonly Comparison[], plan: Plan): Promise<BenchReport> {
  const [load] = Deno.loadavg();
  const { name, gpu, version, threads = navigator.hardwareConcurrency } = await selectBackend();
  if (name !== "tensorflow") {
    throw new CyclopsError(`Cannot compare with PyTorch: the backend is ${name}, expected tensorflow`);
  }
  if (gpu) {
    throw new CyclopsError(
      'Cannot compare with PyTorch on the CPU: TensorFlow uses a GPU; hide it with CUDA_VISIBLE_DEVICES=""',
    );
  }
  const { model, cores } = cpuFeatures();
  const peer = await TorchPeer.start(plan.python, threads).catch((error) => {
    if (error instanceof CyclopsError) return messageOf(error);
    throw error;
  });
  try {
    const rounds = plan.warmup + plan.repeats;
    const total = comparisons.reduce((sum, { contenders }) => sum + contenders.length * rounds, 0);
    let done = 0;
    plan.onProgress?.(0, total, "");
    const measured = [];
    for (const comparison of comparisons) {
      measured.push(await compare(comparison, peer, plan, (name) => plan.onProgress?.(++done, total, name)));
    }
    return {
      machine: `${model}, ${cores} cores`,
      load,
      tensorflow: version,
      threads,
      torch: typeof peer === "string" ? { absent: peer } : peer.info,
      comparisons: measured,
    };
  } finally {
    if (typeof peer !== "string") await peer.close();
  }
}

/** A contender that is ready to run; a string says why it is not. */
type Runner = { run(): Promise<{ readonly milliseconds: number; readonly value: number }> } | string;

async function compare(
  comparison: Comparison,
  peer: TorchPeer | string,
  { warmup, repeats }: Plan,
  onRun: (name: string) => void,
): Promise<BenchReport["comparisons"][number]> {
  const { contenders, architecture, size, batch } = comparison;
  const images = noiseBatch({ size, batch });
  const ours: OwnRunner[] = [];
  try {
    const runners: Runner[] = [];
    for (const contender of contenders) {
      if (contender.precision === "bf16" && !cpuFeatures().bf16) {
        // Emulated, it would only show how slow that is.
        runners.push("this processor has no bf16 instructions");
      } else if (contender.torch) {
        runners.push(
          typeof peer === "string" ? peer : await makePeer(peer, contender, comparison, ours[0], images),
        );
      } else {
        ours.push(new OwnRunner(comparison, contender, images));
        runners.push(ours.at(-1)!);
      }
    }
    const { network } = ours[0];

    const times = contenders.map((): number[] => []), values = contenders.map((): number[] => []);
    for (let round = 0; round < warmup + repeats; round++) {
      for (const [i, runner] of runners.entries()) {
        if (typeof runner !== "string") {
          const { milliseconds, value } = await runner.run();
          values[i].push(value);
          if (round >= warmup) times[i].push(milliseconds);
          if (round === 0) checkValue(value, values[0][0], contenders[i]);
        }
        onRun(contenders[i].name);
      }
    }

    const medians = times.map((list) => quantile(list, 0.5));
    const fastest = Math.min(
      ...medians.filter((_, i) =>
        contenders[i].torch && typeof runners[i] !== "string" && contenders[i].precision !== "bf16"
      ),
    );
    return {
      title: `${comparison.title}, ${architecture}, ${formatSize(size)} px, batch ${batch}`,
      parameters: network.parameters,
      gigaflops: countGigaflops(network.plan, size.height, size.width),
      contenders: contenders.map((contender, i): Timing => {
        const runner = runners[i];
        if (typeof runner === "string") return { ...contender, absent: runner };
        return {
          ...contender,
          milliseconds: times[i],
          quartiles: [quantile(times[i], 0.25), medians[i], quantile(times[i], 0.75)],
          ...(Number.isFinite(fastest) ? { ratio: medians[i] / fastest } : {}),
          values: values[i],
        };
      }),
    };
  } finally {
    for (const runner of ours) runner.dispose();
    // An error of a run is thrown already.
    if (typeof peer !== "string") await peer.drop().catch(() => {});
  }
}

/** All start from the same weights and images: the first result shows whether the work is the same. */
function checkValue(value: number, expected: number, { name, precision }: Contender): void {
  // bfloat16 keeps 8 bits of a number.
  const tolerance = precision === "bf16" ? 0.05 : 1e-4;
  if (Math.abs(value - expected) <= tolerance * Math.abs(expected)) return;
  throw new CyclopsError(
    `Cannot compare: "${name}" computes ${value} from the same weights and images, expected ${expected}; ` +
      "the two implementations have diverged",
  );
}

/** One of our ways, with weights of its own. */
class OwnRunner {
  readonly network: Network;
  readonly options: TrainingOptions;
  /** Absent for predictions. */
  readonly trainer: Trainer | undefined;
  readonly #forward: Compiled<[Tensor4D], Tensor4D>;
  readonly #batch: StereoBatch;

  constructor(
    { kind, architecture, size, batch, photometricViews }: Comparison,
    own: Contender,
    images: StereoBatch,
  ) {
    this.#batch = images;
    this.options = resolveTraining({
      architecture,
      size,
      batch,
      photometricViews: photometricViews ?? "target",
      coarse: 0,
      learningRate: 1e-4,
      schedule: "constant",
      warmup: 0,
      steps: 1,
      eager: own.eager ?? false,
      precision: own.precision ?? "fp32",
    });
    const { seed, headBias, precision } = this.options;
    if (kind === "step") {
      this.trainer = new Trainer(this.options, 1);
      this.network = this.trainer.networks.get("student")!;
    } else {
      const scope = "student";
      this.network = createNetwork({
        scope,
        architecture: ARCHITECTURES[architecture],
        seed,
        headBias,
        precision,
      });
    }
    this.#forward = compile(
      (image: Tensor4D) => tf.tidy(() => runNetwork(this.network, image).disparities[0]),
      { enabled: !this.options.eager },
    );
  }

  async run(): Promise<{ milliseconds: number; value: number }> {
    const start = performance.now();
    const result = await (this.trainer ? this.trainer.update(this.#batch) : this.#predict());
    const milliseconds = performance.now() - start;
    const value = "loss" in result ? result.loss : result.reduce((sum, d) => sum + d, 0) / result.length;
    return { milliseconds, value };
  }

  async #predict(): Promise<Float32Array> {
    const { left, batch, height, width } = this.#batch;
    const image = tf.tensor4d(left, [batch, height, width, 3]);
    const finest = this.#forward(image);
    const values = await finest.data() as Float32Array;
    tf.dispose([image, finest]);
    return values;
  }

  dispose(): void {
    this.#forward.dispose();
    if (this.trainer) this.trainer.dispose();
    else disposeNetwork(this.network);
  }
}

/** The same work in PyTorch, or why it is not available. */
async function makePeer(
  peer: TorchPeer,
  { name, precision, torch }: Contender,
  { kind, architecture }: Comparison,
  { network, trainer, options }: OwnRunner,
  { left, right, batch, height, width }: StereoBatch,
): Promise<Runner> {
  const shape = [batch, height, width, 3];
  const tensors = new Map<string, StoredTensor>([
    ["source", float32Tensor(shape, left)],
    ["target", float32Tensor(shape, right)],
  ]);
  for (const [path, variable] of network.variables) {
    const value = float32Tensor(variable.shape, variable.dataSync() as Float32Array);
    tensors.set(path.slice(network.scope.length + 1), value);
  }
  const { encoder, decoder } = ARCHITECTURES[architecture];
  const loss = trainer && {
    weights: trainer.lossWeights,
    ssimWeight: options.ssimWeight,
    both: options.photometricViews === "both",
  };
  const { channelsLast = false, fused = false } = torch!;
  const { learningRate } = options, bf16 = precision === "bf16";
  let parameters: number;
  try {
    const request = { name, kind, encoder, decoder, bf16, channelsLast, fused, learningRate, loss };
    parameters = await peer.make(request, tensors);
  } catch (error) {
    if (error instanceof CyclopsError) return messageOf(error);
    throw error;
  }
  if (parameters !== network.parameters) {
    throw new CyclopsError(
      `Cannot compare: PyTorch's ${architecture} has ${parameters} parameters, expected ${network.parameters}`,
    );
  }
  return { run: () => peer.run(name) };
}

/** Interpolated linearly between the two neighboring values. */
function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = share * (sorted.length - 1), low = Math.floor(at);
  return sorted[low] + (at - low) * (sorted[Math.ceil(at)] - sorted[low]);
}

/** Load per core above which measurements are unreliable. */
const BUSY = 0.25;

/** A report as a table. */
export function benchTable({ machine, load, tensorflow, threads, torch, comparisons }: BenchReport): Table {
  const rows = comparisons.flatMap(({ title, parameters, gigaflops, contenders }) => {
    const group = `${title} (${(parameters / 1e6).toFixed(2)} M parameters, ${
      gigaflops.toFixed(2)
    } GFLOP per image)`;
    return contenders.map(({ name, quartiles, ratio }): TableRow => {
      const [low, median, high] = quartiles ?? [];
      const spread = quartiles && `${low!.toFixed(1)}–${high!.toFixed(1)}`;
      return { name, group, cells: { median, spread, ratio } };
    });
  });
  const withoutTorch = "absent" in torch ? torch.absent : undefined;
  const absent = comparisons.flatMap(({ contenders }) => contenders)
    .filter((timing) => timing.absent !== undefined && timing.absent !== withoutTorch);
  const lacking = [...Map.groupBy(absent, (timing) => timing.absent)].map(([reason, timings]) =>
    `— ${[...new Set(timings.map(({ name }) => name))].join("; ")}: ${reason}.`
  );
  const versions = "absent" in torch
    ? `no PyTorch (${torch.absent}): pip install torch, or pass a Python that has it with --python.`
    : `PyTorch ${torch.torch}, eager, Python ${torch.python}.`;
  // A core that is taken away slows threads that wait for each other most, and the two sides wait differently.
  const busy = load > BUSY * threads
    ? [`The machine was busy (load ${load.toFixed(1)}): measure again when it is idle.`]
    : [];
  return new Table({
    columns: [
      { key: "median", label: "median ms", digits: 1 },
      { key: "spread", label: "quartiles ms" },
      { key: "ratio", label: "× PyTorch", digits: 2 },
    ],
    rows,
    notes: [
      "× PyTorch: the median over that of the fastest PyTorch at fp32 in the same group; below 1 is faster.",
      `${machine}, ${threads} threads each. TensorFlow ${tensorflow}; ${versions}`,
      ...lacking,
      ...busy,
    ],
  });
}

if (import.meta.main) {
  await runTask({
    name: "bench",
    summary:
      "Measures a prediction and two kinds of updates on this CPU, interleaved with PyTorch for the same\n" +
      "network, weights, images and loss, and checks that both compute the same. Needs an idle machine.",
    options: { ...benchOptions, json: flag({ help: "Print JSON, with every single run." }) },
    examples: ["deno task bench", "deno task bench --only quick --repeats 50 --python venv/bin/python"],
  }, async ({ only, json, ...options }) => {
    await selectBackend({ backend: "tensorflow" });
    let progress: Progress | undefined;
    const report = await bench((only ? [only] : COMPARISON_NAMES).map((name) => COMPARISONS[name]), {
      ...options,
      onProgress: (done, total, name) => {
        progress ??= new Progress({ label: "bench", total, unit: "runs" });
        progress.update(done, name);
      },
    });
    progress?.finish();
    console.log(json ? JSON.stringify(report, null, 2) : benchTable(report).text(terminalColumns()));
  });
}
