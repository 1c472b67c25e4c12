/**
 * One of our contenders, in a process of its own so that its memory can be measured. Speaks as peer.py does:
 *
 *     {"do": "make", "work": …, "file"?: …} → what PyTorch needs to do the same; weights and images go to the file
 *     {"do": "run"}                         → {"ms": …, "value": …}
 *     {"do": "profile"}                     → time by phase and operation
 *     {"do": "peak"}                        → {"gflops": …} of a large convolution
 *
 * @module
 */
import type { Precision } from "../../lib/backend/ops.ts";
import { type Binding, currentBinding } from "../../lib/backend/binding.ts";
import { compile } from "../../lib/backend/compile.ts";
import { selectBackend } from "../../lib/backend/mod.ts";
import { type Tensor4D, tf } from "../../lib/backend/tf.ts";
import { CyclopsError, messageOf } from "../../lib/base/errors.ts";
import { writeAtomic } from "../../lib/base/files.ts";
import type { Size } from "../../lib/base/options.ts";
import type { StereoBatch } from "../../lib/data/loader.ts";
import { encodeSafetensors, float32Tensor, type StoredTensor } from "../../lib/data/safetensors.ts";
import { type ArchitectureName, ARCHITECTURES, countGigaflops } from "../../lib/models/architecture.ts";
import { createNetwork, type Network, runNetwork } from "../../lib/models/network.ts";
import { resolveTraining, type TrainingOptions } from "../../lib/training/options.ts";
import type { StageName } from "../../lib/training/stages.ts";
import { Trainer } from "../../lib/training/trainer.ts";
import { noiseBatch } from "./noise.ts";

/** What is to be done. */
export interface Work {
  /** A prediction, or an update. */
  readonly kind: "forward" | "step";
  readonly architecture: ArchitectureName;
  readonly size: Size;
  /** Images or pairs. */
  readonly batch: number;
  /** @default "half-cycle" */
  readonly stage?: StageName;
  /** As in the training option. @default "target" */
  readonly photometricViews?: "target" | "both";
  /** @default "fp32" */
  readonly precision?: Precision;
  /** Operation by operation instead of compiled. @default false */
  readonly eager?: boolean;
}

/** The answer to "make": what PyTorch needs to do the same work, and how much it is. */
export interface Model {
  readonly kind: Work["kind"];
  readonly stage: StageName;
  /** Input channels by network. */
  readonly networks: Readonly<Record<string, number>>;
  readonly trainable: readonly string[];
  /** Of all networks. */
  readonly parameters: number;
  /** Convolutions of the whole work, 10⁹ operations, a multiply-add counted as two. */
  readonly gigaflops: number;
  readonly [key: string]: unknown;
}

/** A row of a profile. */
export interface ProfileRow {
  readonly phase: "forward" | "backward" | "Adam";
  /** TensorFlow's name of the operation. */
  readonly operation: string;
  readonly calls: number;
  readonly milliseconds: number;
  /** 0 for all but convolutions. */
  readonly gigaflops: number;
}

class Contender {
  /** Absent for predictions, whose memory Adam's moments would spoil. */
  readonly #trainer: Trainer | undefined;
  readonly #options: TrainingOptions;
  readonly #networks: ReadonlyMap<string, Network>;
  readonly #work: Work;
  readonly #batch: StereoBatch;
  readonly #predict;

  constructor(work: Work) {
    const { architecture, size, batch, stage, photometricViews = "target", eager, precision } = work;
    this.#work = work;
    this.#batch = noiseBatch(work);
    this.#options = resolveTraining({
      architecture,
      size,
      batch,
      stage,
      photometricViews,
      eager,
      precision,
      coarse: 0,
      learningRate: 1e-4,
      schedule: "constant",
      warmup: 0,
      steps: 1,
    });
    if (work.kind === "step") this.#trainer = new Trainer(this.#options, 1);
    const { seed, headBias } = this.#options;
    const student = this.#trainer?.networks.get("student") ??
      createNetwork({
        scope: "student",
        architecture: ARCHITECTURES[architecture],
        seed,
        headBias,
        precision: precision ?? "fp32",
      });
    this.#networks = this.#trainer?.networks ?? new Map([["student", student]]);
    this.#predict = compile(
      (images: Tensor4D) => tf.tidy(() => runNetwork(student, images).disparities[0]),
      { name: "predict", enabled: !eager, frozen: true },
    );
  }

  async run(): Promise<{ ms: number; value: number }> {
    const start = performance.now();
    if (this.#trainer) {
      const { loss } = await this.#trainer.update(this.#batch);
      return { ms: performance.now() - start, value: loss };
    }
    const { left, batch, height, width } = this.#batch;
    const images = tf.tensor4d(left, [batch, height, width, 3]);
    const finest = this.#predict(images);
    const values = await finest.data();
    tf.dispose([images, finest]);
    const ms = performance.now() - start;
    return { ms, value: (values as Float32Array).reduce((sum, d) => sum + d, 0) / values.length };
  }

  describe(): Model {
    const { kind, size, batch } = this.#work;
    const networks = this.#networks, options = this.#options;
    const { trainable = [], lossWeights } = this.#trainer ?? {};
    const list = [...networks].map(([name, { plan, parameters }]) => ({
      parameters,
      // Backward through a convolution are two more of the same cost.
      gigaflops: countGigaflops(plan, size.height, size.width) * batch *
        ((trainable as readonly string[]).includes(name) ? 3 : 1),
    }));
    const sum = (key: "parameters" | "gigaflops") => list.reduce((total, item) => total + item[key], 0);
    const { plan: { architecture: { encoder, decoder } } } = networks.get("student")!;
    return {
      kind,
      stage: options.stage,
      encoder,
      decoder,
      networks: Object.fromEntries([...networks].map(([name, { plan }]) => [name, plan.inputChannels])),
      trainable,
      parameters: sum("parameters"),
      gigaflops: sum("gigaflops"),
      learningRate: options.learningRate,
      loss: {
        weights: lossWeights,
        ssimWeight: options.ssimWeight,
        both: options.photometricViews === "both",
      },
    };
  }

  /** Saves weights and images for PyTorch. */
  async save(file: string): Promise<void> {
    const { left, right, batch, height, width } = this.#batch;
    const shape = [batch, height, width, 3];
    const tensors = new Map<string, StoredTensor>([
      ["source", float32Tensor(shape, left)],
      ["target", float32Tensor(shape, right)],
    ]);
    for (const network of this.#networks.values()) {
      for (const [name, variable] of network.variables) {
        tensors.set(name, float32Tensor(variable.shape, variable.dataSync() as Float32Array));
      }
    }
    await writeAtomic(file, encodeSafetensors(tensors));
  }
}

/**
 * 10⁹ operations of a convolution or one of its gradients: inputs are image or its shape, kernel or its shape, dy. MatMul
 * is a convolution of few pixels: patches and kernel, or for its gradient patches and dy.
 */
function convolutionGigaflops(name: string, inputs: readonly number[][], output: readonly number[]): number {
  const size = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);
  if (name === "MatMul") return 2 * size(inputs[0]) * output[1] / 1e9;
  const kernel = name === "Conv2DBackpropFilter" ? output : inputs[1];
  const image = name === "Conv2D" || name === "_FusedConv2D" ? output : inputs[2];
  return 2 * size(image) * size(kernel.slice(0, 3)) / 1e9;
}

/**
 * Times every operation of one eager run. TensorFlow's own profiler is not part of its C API, so compiled functions
 * cannot be looked into; their convolutions are the same.
 */
async function profile(contender: Contender): Promise<ProfileRow[]> {
  const binding = currentBinding()! as { -readonly [K in keyof Binding]: Binding[K] };
  const { executeOp } = binding;
  const shapeOf = (id: number) => {
    const { id: own, shape } = binding.shareTensor(id);
    binding.deleteTensor(own);
    return shape;
  };
  const { state } = tf.engine() as unknown as { state: { scopeStack: { name: string }[] } };
  const rows = new Map<string, ProfileRow>();
  binding.executeOp = (name, attributes, inputs, outputs) => {
    const start = performance.now();
    const made = executeOp(name, attributes, inputs, outputs);
    const milliseconds = performance.now() - start;
    const backward = state.scopeStack.some((scope) => scope.name === "backward");
    const phase = name.startsWith("ResourceApply") ? "Adam" : backward ? "backward" : "forward";
    const gigaflops = name.includes("Conv2D") || name === "MatMul"
      ? convolutionGigaflops(name, inputs.map(shapeOf), made[0].shape)
      : 0;
    const row = rows.get(`${phase} ${name}`);
    rows.set(`${phase} ${name}`, {
      phase,
      operation: name,
      calls: (row?.calls ?? 0) + 1,
      milliseconds: (row?.milliseconds ?? 0) + milliseconds,
      gigaflops: (row?.gigaflops ?? 0) + gigaflops,
    });
    return made;
  };
  try {
    await contender.run();
  } finally {
    binding.executeOp = executeOp;
  }
  return [...rows.values()];
}

/** The fastest of some large convolutions, 10⁹ operations per second: what this processor can do at best. */
function convolutionPeak(): number {
  const [batch, height, width, channels] = [4, 64, 96, 128];
  const x = tf.randomNormal([batch, height, width, channels]) as Tensor4D;
  const kernel = tf.randomNormal([3, 3, channels, channels]) as Tensor4D;
  let best = Infinity;
  for (let i = 0; i < 15; i++) {
    const start = performance.now();
    tf.conv2d(x, kernel, 1, "same").dispose();
    best = Math.min(best, performance.now() - start);
  }
  tf.dispose([x, kernel]);
  return 2 * batch * height * width * 9 * channels ** 2 / best / 1e6;
}

if (import.meta.main) {
  const { name, gpu, version, threads = navigator.hardwareConcurrency } = await selectBackend({
    backend: "tensorflow",
  });
  const answer = (reply: unknown) => console.log(JSON.stringify(reply));
  answer(
    gpu
      ? {
        error: `${name} uses a GPU, the comparison is on the CPU; hide the GPU with CUDA_VISIBLE_DEVICES=""`,
      }
      : { tensorflow: version, threads },
  );
  let contender: Contender | undefined;
  const handle = async (request: { do: string; work: Work; file?: string }): Promise<unknown> => {
    if (request.do === "peak") return { gflops: convolutionPeak() };
    if (request.do === "make") {
      contender = new Contender(request.work);
      if (request.file) await contender.save(request.file);
      return contender.describe();
    }
    if (!contender) throw new CyclopsError("nothing was made yet");
    return request.do === "run" ? await contender.run() : { rows: await profile(contender) };
  };
  let text = "";
  for await (const part of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    const lines = (text + part).split("\n");
    text = lines.pop()!;
    for (const line of lines) answer(await handle(JSON.parse(line)).catch((e) => ({ error: messageOf(e) })));
  }
}
