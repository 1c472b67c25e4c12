/**
 * How fast a prediction and an update are, beside PyTorch's for the same network, weights, images and loss, on the same
 * CPU and by turns in the same minutes.
 *
 * @module
 */
import type { Precision } from "../../lib/backend/convolution.ts";
import { cpuFeatures } from "../../lib/backend/cpu.ts";
import { type BackendInfo, selectBackend } from "../../lib/backend/select.ts";
import { type Tensor4D, tf } from "../../lib/backend/tf.ts";
import { CyclopsError, messageOf } from "../../lib/base/errors.ts";
import { choice, integer, type OptionsOf, parseSize, text } from "../../lib/base/options.ts";
import { Table, type TableRow } from "../../lib/charts/table.ts";
import type { StereoBatch } from "../../lib/data/loader.ts";
import { float32Tensor, type StoredTensor } from "../../lib/data/safetensors.ts";
import { type ArchitectureName, ARCHITECTURES, countGigaflops } from "../../lib/models/architecture.ts";
import { createNetwork, disposeNetwork, type Network, runNetwork } from "../../lib/models/network.ts";
import { resolveTraining, type TrainingOptions } from "../../lib/training/options.ts";
import { Trainer } from "../../lib/training/trainer.ts";
import { type PeerInfo, TorchPeer } from "./peer.ts";
import { noiseBatch } from "./noise.ts";

/** The comparisons' names. */
export const COMPARISON_NAMES = ["forward", "quick", "vgg"] as const;

/** What a user can choose. */
export const benchOptions = {
  only: choice(COMPARISON_NAMES, { help: "Measure one comparison alone (default: all)." }),
  repeats: integer({ default: 15, min: 1, max: 10000, help: "Timed runs of each contender, by turns." }),
  warmup: integer({ default: 3, min: 1, max: 1000, help: "Runs of each contender before that." }),
  python: text({
    default: "python3",
    value: "FILE|NAME",
    help: "A Python that can import torch; without one PyTorch's cells stay empty.",
  }),
} as const;

/** Resolved {@linkcode benchOptions}. */
export type BenchOptions = OptionsOf<typeof benchOptions>;

/** One of our ways to do the work. */
export interface OwnWay {
  /** As the table names it. */
  readonly name: string;
  /** @default "fp32" */
  readonly precision?: Precision;
  /** Threads that share the batch; updates only. @default 1 */
  readonly replicas?: number;
  /** Who moves the weights: our Adam or tfjs's; updates only. @default "own" */
  readonly adam?: "own" | "tfjs";
}

/** One of PyTorch's. */
export interface PeerWay {
  /** As the table names it. */
  readonly name: string;
  /** @default "fp32" */
  readonly precision?: Precision;
  /** Memory format channels_last instead of channels first. */
  readonly channelsLast?: boolean;
  /** Adam as one fused kernel, which PyTorch 2.4 and newer have for CPUs; updates only. */
  readonly fused?: boolean;
}

/** Work, and everybody who does it. */
export interface Comparison {
  /** Above its rows. */
  readonly title: string;
  /** A prediction, or one half-cycle update. */
  readonly kind: "forward" | "step";
  /** Which network. */
  readonly architecture: ArchitectureName;
  /** Height x width, px. */
  readonly size: string;
  /** Images or pairs. */
  readonly batch: number;
  /** See the training option. @default "target" */
  readonly photometricViews?: "target" | "both";
  /** The first one computes what the others' results are held against. */
  readonly own: readonly OwnWay[];
  /** May be empty. */
  readonly peers: readonly PeerWay[];
}

const PEER_FORWARD: readonly PeerWay[] = [
  { name: "PyTorch, channels first" },
  { name: "PyTorch, channels last", channelsLast: true },
  { name: "PyTorch, channels last, bf16", channelsLast: true, precision: "bf16" },
];
const PEER_STEP: readonly PeerWay[] = [
  { name: "PyTorch, channels first" },
  { name: "PyTorch, channels last, fused Adam", channelsLast: true, fused: true },
];

/** What `deno task bench` measures. */
export const COMPARISONS: Readonly<Record<(typeof COMPARISON_NAMES)[number], Comparison>> = {
  forward: {
    title: "Prediction",
    kind: "forward",
    architecture: "vgg",
    size: "256x512",
    batch: 1,
    own: [{ name: "ours, fp32" }, { name: "ours, bf16", precision: "bf16" }],
    peers: PEER_FORWARD,
  },
  quick: {
    title: "Half-cycle update",
    kind: "step",
    architecture: "quick",
    size: "64x192",
    batch: 8,
    photometricViews: "both",
    own: [{ name: "ours" }, { name: "ours, 2 replicas", replicas: 2 }],
    peers: PEER_STEP,
  },
  vgg: {
    title: "Half-cycle update",
    kind: "step",
    architecture: "vgg",
    size: "128x256",
    batch: 2,
    own: [
      { name: "ours, our Adam" },
      { name: "ours, tfjs's Adam", adam: "tfjs" },
      { name: "ours, our Adam, bf16", precision: "bf16" },
    ],
    peers: [...PEER_STEP, {
      name: "PyTorch, channels last, fused Adam, bf16",
      channelsLast: true,
      fused: true,
      precision: "bf16",
    }],
  },
};

/** What one contender's runs took. */
export interface Measurement {
  /** As the table names it. */
  readonly name: string;
  /** Whether it is PyTorch. */
  readonly peer: boolean;
  /** Its number format. */
  readonly precision: Precision;
  /** Why it did not run; the rest is absent then. */
  readonly absent?: string;
  /** Of every timed run. */
  readonly milliseconds?: readonly number[];
  /** Lower quartile, median and upper quartile of them, ms. */
  readonly quartiles?: readonly [number, number, number];
  /** Its median over that of the fastest PyTorch at fp32: below 1 is faster. */
  readonly ratio?: number;
  /** Result of every run, warm-up too: the loss, or the mean of the finest disparities, fraction of width. */
  readonly values?: readonly number[];
}

/** A comparison's outcome. */
export interface Measured {
  /** Title, network, size. */
  readonly title: string;
  /** Numbers that the network learns, counted alike on both sides. */
  readonly parameters: number;
  /** Multiply–adds of one forward pass of one image, each as two operations, in 10⁹. */
  readonly gigaflops: number;
  /** In the order of the comparison, ours first. */
  readonly contenders: readonly Measurement[];
}

/** What {@linkcode bench} found. */
export interface BenchReport {
  /** Processor and cores. */
  readonly machine: string;
  /** TensorFlow's version. */
  readonly tensorflow: string;
  /** Processes that wanted a core in the last minute, before anything was measured. */
  readonly load: number;
  /** Threads on either side. */
  readonly threads: number;
  /** PyTorch, or why there is none. */
  readonly torch: PeerInfo | { readonly absent: string };
  /** In the order given. */
  readonly comparisons: readonly Measured[];
}

/** How {@linkcode bench} goes on. */
export interface BenchProgress {
  /** Takes the number of runs done, of all, and who was the last. */
  readonly onProgress?: (done: number, total: number, name: string) => void;
}

/**
 * Measures comparisons, one after another; within each the contenders take turns.
 *
 * @throws {CyclopsError} When the backend is not TensorFlow's on the CPU, or when a contender computes something else
 * than the first.
 */
export async function bench(
  comparisons: readonly Comparison[],
  { repeats, warmup, python, onProgress }: Omit<BenchOptions, "only"> & BenchProgress,
): Promise<BenchReport> {
  const [load] = Deno.loadavg();
  const backend = await selectBackend();
  checkBackend(backend);
  const threads = backend.threads ?? navigator.hardwareConcurrency;
  const { model, cores } = cpuFeatures();
  let peer: TorchPeer | undefined;
  let absent = "";
  try {
    peer = await TorchPeer.start(python, threads);
  } catch (error) {
    if (!(error instanceof CyclopsError)) throw error;
    absent = messageOf(error);
  }
  try {
    const measured: Measured[] = [];
    const rounds = warmup + repeats;
    const shares = comparisons.map(({ own, peers }) => (own.length + peers.length) * rounds);
    const total = shares.reduce((sum, share) => sum + share, 0);
    let before = 0;
    onProgress?.(0, total, "");
    for (const [i, comparison] of comparisons.entries()) {
      const tell = (done: number, name: string) => onProgress?.(before + done, total, name);
      measured.push(await measure(comparison, peer ?? absent, { rounds, warmup, tell }));
      before += shares[i];
    }
    return {
      machine: `${model}, ${cores} cores`,
      load,
      tensorflow: backend.version,
      threads,
      torch: peer?.info ?? { absent },
      comparisons: measured,
    };
  } finally {
    await peer?.close();
  }
}

function checkBackend({ name, gpu }: BackendInfo): void {
  if (name !== "tensorflow") {
    throw new CyclopsError(`Cannot compare with PyTorch: the backend is ${name}, wanted tensorflow`);
  }
  if (gpu) {
    throw new CyclopsError(
      'Cannot compare with PyTorch on the CPU: TensorFlow computes on a GPU; hide it by CUDA_VISIBLE_DEVICES=""',
    );
  }
}

/** Somebody who is ready to run. */
interface Contender {
  run(): Promise<{ readonly milliseconds: number; readonly value: number }>;
  dispose?(): void;
}

interface Plan {
  readonly rounds: number;
  readonly warmup: number;
  readonly tell: (done: number, name: string) => void;
}

async function measure(comparison: Comparison, peer: TorchPeer | string, plan: Plan): Promise<Measured> {
  const { own, peers, architecture } = comparison;
  const size = parseSize(comparison.size)!;
  const batch = noiseBatch({ size, batch: comparison.batch });
  const ready: { readonly way: OwnWay | PeerWay; readonly contender: Contender | string }[] = [];
  try {
    let first: OwnContender | undefined;
    for (const way of own) {
      const contender = lacksBf16(way) ?? new OwnContender(comparison, way, batch);
      if (contender instanceof OwnContender) first ??= contender;
      ready.push({ way, contender });
    }
    if (!first) throw new CyclopsError("Cannot compare anything: none of our ways runs on this machine");
    const { parameters } = first.network;
    for (const way of peers) {
      const lack = lacksBf16(way) ?? (typeof peer === "string" ? peer : undefined);
      ready.push({
        way,
        contender: lack ?? await makePeer(peer as TorchPeer, way, comparison, first, batch),
      });
    }

    const times = ready.map((): number[] => []);
    const values = ready.map((): number[] => []);
    let done = 0;
    for (let round = 0; round < plan.rounds; round++) {
      for (const [i, { way, contender }] of ready.entries()) {
        if (typeof contender !== "string") {
          const { milliseconds, value } = await contender.run();
          values[i].push(value);
          if (round >= plan.warmup) times[i].push(milliseconds);
          if (round === 0) checkValue(value, values[0][0], way);
        }
        plan.tell(++done, way.name);
      }
    }

    const medians = ready.map((_, i) => quantile(times[i], 0.5));
    const rivals = medians.filter((_, i) =>
      i >= own.length && typeof ready[i].contender !== "string" && ready[i].way.precision !== "bf16"
    );
    const contenders = ready.map(({ way, contender }, i): Measurement => {
      const about = { name: way.name, peer: i >= own.length, precision: way.precision ?? "fp32" };
      if (typeof contender === "string") return { ...about, absent: contender };
      return {
        ...about,
        milliseconds: times[i],
        quartiles: [quantile(times[i], 0.25), medians[i], quantile(times[i], 0.75)],
        ...(rivals.length ? { ratio: medians[i] / Math.min(...rivals) } : {}),
        values: values[i],
      };
    });
    const gigaflops = countGigaflops(first.network.plan, size.height, size.width);
    const title = `${comparison.title}, ${architecture}, ${comparison.size} px, batch ${comparison.batch}`;
    return { title, parameters, gigaflops, contenders };
  } finally {
    for (const { contender } of ready) if (typeof contender !== "string") contender.dispose?.();
    if (typeof peer !== "string") await peer.drop().catch(() => {}); // what failed is told already
  }
}

/** Emulated, it would only tell how slow that is. */
function lacksBf16({ precision }: OwnWay | PeerWay): string | undefined {
  return precision === "bf16" && !cpuFeatures().bf16 ? "this processor has no bf16 instructions" : undefined;
}

/**
 * Everybody starts from the same weights and images, so that the first result tells whether the work is the same.
 * bfloat16 keeps 8 bits of a number.
 */
function checkValue(value: number, wanted: number, { name, precision }: OwnWay | PeerWay): void {
  const tolerance = precision === "bf16" ? 0.05 : 1e-4;
  if (Math.abs(value - wanted) <= tolerance * Math.abs(wanted)) return;
  throw new CyclopsError(
    `Cannot compare: "${name}" computes ${value} from the same weights and images, wanted ${wanted}; ` +
      "the code of the two has gone apart",
  );
}

/** The preset's update at a rate that neither rises nor falls. */
function trainingOf(
  { architecture, size, batch, photometricViews }: Comparison,
  way: OwnWay,
): TrainingOptions {
  return resolveTraining({
    architecture,
    size,
    batch,
    photometricViews: photometricViews ?? "target",
    coarse: 0,
    learningRate: 1e-4,
    schedule: "constant",
    warmup: 0,
    steps: 1,
    replicas: way.replicas ?? 1,
    precision: way.precision ?? "fp32",
  });
}

/** One of our ways, with weights of its own. */
class OwnContender implements Contender {
  readonly network: Network;
  readonly options: TrainingOptions;
  /** Absent for predictions. */
  readonly trainer: Trainer | undefined;
  readonly #batch: StereoBatch;
  readonly #tfjsAdam: ReturnType<typeof tf.train.adam> | undefined;

  constructor(comparison: Comparison, way: OwnWay, batch: StereoBatch) {
    this.#batch = batch;
    this.options = trainingOf(comparison, way);
    const { seed, headBias, precision, learningRate, beta1, beta2 } = this.options;
    if (comparison.kind === "step") {
      this.trainer = new Trainer(this.options, 1);
      this.network = this.trainer.networks.get("student")!;
      if (way.adam === "tfjs") this.#tfjsAdam = tf.train.adam(learningRate, beta1, beta2);
    } else {
      const architecture = ARCHITECTURES[comparison.architecture];
      this.network = createNetwork({ scope: "student", architecture, seed, headBias, precision });
    }
  }

  async run(): Promise<{ milliseconds: number; value: number }> {
    const start = performance.now();
    const result = await (this.trainer ? this.#update(this.trainer) : this.#predict());
    const milliseconds = performance.now() - start;
    const value = typeof result === "number" ? result : result.reduce((sum, d) => sum + d, 0) / result.length;
    return { milliseconds, value };
  }

  async #update(trainer: Trainer): Promise<number> {
    if (!this.#tfjsAdam) return (await trainer.update(this.#batch)).loss;
    const { numbers, gradients } = await trainer.compute(this.#batch);
    this.#tfjsAdam.applyGradients(Object.entries(gradients).map(([name, tensor]) => ({ name, tensor })));
    tf.dispose(gradients);
    return numbers.loss;
  }

  async #predict(): Promise<Float32Array> {
    const { left, batch, height, width } = this.#batch;
    const finest = tf.tidy(() =>
      runNetwork(this.network, tf.tensor4d(left, [batch, height, width, 3]) as Tensor4D).disparities[0]
    );
    const values = await finest.data() as Float32Array;
    finest.dispose();
    return values;
  }

  dispose(): void {
    this.#tfjsAdam?.dispose();
    if (this.trainer) this.trainer.dispose();
    else disposeNetwork(this.network);
  }
}

/** The same in PyTorch, or why it cannot be had. */
async function makePeer(
  peer: TorchPeer,
  way: PeerWay,
  { kind, architecture }: Comparison,
  own: OwnContender,
  { left, right, batch, height, width }: StereoBatch,
): Promise<Contender | string> {
  const { name, precision = "fp32", channelsLast = false, fused = false } = way;
  const { network, trainer, options } = own;
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
  const bf16 = precision === "bf16", learningRate = options.learningRate;
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
      `Cannot compare: PyTorch's ${architecture} has ${parameters} parameters, wanted ${network.parameters}`,
    );
  }
  const run = () =>
    peer.run(name).catch((error) => {
      throw new CyclopsError(`Cannot go on comparing with "${name}": ${messageOf(error)}`);
    });
  return { run };
}

/** Between the two values around it, linearly. */
function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = share * (sorted.length - 1), low = Math.floor(at);
  return sorted[low] + (at - low) * (sorted[Math.ceil(at)] - sorted[low]);
}

/** Load per core from which measurements cannot be relied on. */
const BUSY = 0.25;

/** A report as a table. */
export function benchTable(report: BenchReport): Table {
  const { machine, load, tensorflow, threads, torch, comparisons } = report;
  const rows = comparisons.flatMap(({ title, parameters, gigaflops, contenders }) => {
    const size = `${(parameters / 1e6).toFixed(2)} M parameters, ${gigaflops.toFixed(2)} GFLOP an image`;
    return contenders.map(({ name, quartiles, ratio }): TableRow => {
      const [low, median, high] = quartiles ?? [];
      const spread = quartiles && `${low!.toFixed(1)}–${high!.toFixed(1)}`;
      return { name, group: `${title} (${size})`, cells: { median, spread, ratio } };
    });
  });
  const reasons = new Map<string, string[]>();
  for (const { name, absent } of comparisons.flatMap(({ contenders }) => contenders)) {
    if (absent === undefined || ("absent" in torch && absent === torch.absent)) continue;
    const names = reasons.get(absent) ?? [];
    if (!names.includes(name)) reasons.set(absent, [...names, name]);
  }
  const lacking = [...reasons].map(([reason, names]) => `— ${names.join("; ")}: ${reason}.`);
  const versions = "absent" in torch
    ? `TensorFlow ${tensorflow}; no PyTorch (${torch.absent}): pip install torch, or name a Python that has it by ` +
      "--python."
    : `TensorFlow ${tensorflow}; PyTorch ${torch.torch}, eager, Python ${torch.python}.`;
  // Threads that wait for each other suffer most from a core that is taken away, and the two sides wait differently.
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
      `${machine}, ${threads} threads each. ${versions}`,
      ...lacking,
      ...busy,
    ],
  });
}
