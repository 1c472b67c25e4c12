/**
 * The encoder–decoder (Godard et al. 2017) that predicts disparities. Student, backward and refine network are this one
 * function with different inputs and weights.
 *
 * @module
 */
import { convolution2d, type Precision } from "../backend/ops.ts";
import { type Tensor, type Tensor1D, type Tensor4D, tf, type Variable } from "../backend/tf.ts";
import { CyclopsError } from "../base/errors.ts";
import { Random } from "../base/random.ts";
import {
  type Architecture,
  countParameters,
  decode,
  encode,
  type Engine,
  type NetworkPlan,
  type Padding,
  planNetwork,
  type Prediction,
} from "./architecture.ts";

/** Options of {@linkcode createNetwork}. */
export interface NetworkOptions {
  /** Prefix of every variable's name: "student", "backward", "refine". */
  readonly scope: string;
  /** One of `ARCHITECTURES`. */
  readonly architecture: Architecture;
  /** Channels of the input: 3 for an image. @default 3 */
  readonly inputChannels?: number;
  /** Seed of the initial weights, combined with the scope. Without one the weights are 0, ready to be loaded. */
  readonly seed?: number;
  /** Initial bias of the disparity heads' logits; −2.4 starts the disparity near 0.025. @default 0 */
  readonly headBias?: number;
  /** Number format of the convolutions; weights are always float32. @default "fp32" */
  readonly precision?: Precision;
  /** What the decoder's convolutions see beyond the edges; zeros darken the frame of the maps. @default "zero" */
  readonly padding?: Padding;
}

/** A network and its weights. */
export interface Network {
  /** Prefix of its variables' names. */
  readonly scope: string;
  /** Its convolutions, in the order in which they run. */
  readonly plan: NetworkPlan;
  /** By full name, e.g. `student/encoder/1/conv1/kernel`, in a fixed order. */
  readonly variables: ReadonlyMap<string, Variable>;
  /** Number of weights and biases. */
  readonly parameters: number;
  /** Number format of the convolutions. */
  readonly precision: Precision;
  /** What the decoder's convolutions see beyond the edges. */
  readonly padding: Padding;
}

/**
 * Creates a network with He-normal weights. Free it with {@linkcode disposeNetwork}.
 *
 * @example
 * ```ts
 * import { selectBackend } from "../backend/mod.ts";
 * import { ARCHITECTURES } from "./architecture.ts";
 * import { createNetwork, disposeNetwork } from "./network.ts";
 *
 * await selectBackend();
 * const student = createNetwork({ scope: "student", architecture: ARCHITECTURES.quick, seed: 1 });
 * student.variables.get("student/head/0/kernel")!.shape; // [3, 3, 8, 2]
 * disposeNetwork(student);
 * ```
 */
export function createNetwork(options: NetworkOptions): Network {
  const { scope, architecture, inputChannels = 3, seed, headBias = 0 } = options;
  const { precision = "fp32", padding = "zero" } = options;
  const { gains = { decoder: 1, heads: 1 } } = architecture;
  const plan = planNetwork(architecture, inputChannels);
  const random = seed === undefined ? undefined : new Random(seed).fork(scope);
  const variables = new Map<string, Variable>();
  const add = (name: string, initial: Tensor) => {
    variables.set(`${scope}/${name}`, tf.variable(initial, true));
    initial.dispose();
  };
  for (const { name, kernel, inputs, outputs, depthwise } of plan.convolutions) {
    const head = name.startsWith("head/");
    // The two branches that a bottleneck adds share the variance of one convolution.
    const summed = name.endsWith("/conv3") || name.endsWith("/project");
    const decoder = name.startsWith("decoder/") ? gains.decoder : 1;
    const scale = head ? gains.heads : summed ? Math.SQRT1_2 : decoder;
    const deviation = scale * Math.sqrt(2 / (kernel * kernel * inputs));
    const values = new Float32Array(kernel * kernel * inputs * outputs);
    if (random) { for (let i = 0; i < values.length; i++) values[i] = random.normal(0, deviation); }
    const channels = depthwise ? [outputs, 1] : [inputs, outputs];
    add(`${name}/kernel`, tf.tensor(values, [kernel, kernel, ...channels]));
    add(`${name}/bias`, tf.fill([outputs], head ? headBias : 0));
  }
  return { scope, plan, variables, parameters: countParameters(plan), precision, padding };
}

/** Frees a network's weights. */
export function disposeNetwork(network: Network): void {
  for (const variable of network.variables.values()) variable.dispose();
}

/**
 * Copies the weights of one network into another of the same plan. The other may have more input channels: their
 * kernels become 0, so that it starts with the same predictions.
 *
 * @throws {CyclopsError} When the networks differ in their variables.
 */
export function copyWeights(from: Network, to: Network): void {
  const sources = [...from.variables.values()];
  const targets = [...to.variables.values()];
  if (sources.length !== targets.length) {
    throw new CyclopsError(
      `Cannot copy weights from ${from.scope} to ${to.scope}: found ${sources.length} variables, ` +
        `expected ${targets.length}`,
    );
  }
  sources.forEach((source, i) =>
    tf.tidy(() => {
      const more = source.rank === 4 ? targets[i].shape[2]! - source.shape[2]! : 0;
      targets[i].assign(more > 0 ? tf.pad(source, [[0, 0], [0, 0], [0, more], [0, 0]]) : source);
    })
  );
}

/** What runs a network's convolutions here. */
function engineOf({ scope, variables, precision, padding }: Network): Engine {
  return {
    tf,
    padding,
    convolve: (name, x, attributes) =>
      convolution2d(
        x,
        variables.get(`${scope}/${name}/kernel`) as unknown as Tensor4D,
        variables.get(`${scope}/${name}/bias`) as unknown as Tensor1D,
        { precision, ...attributes },
      ),
  };
}

/**
 * The encoder's features.
 *
 * @param input As in {@linkcode runNetwork}.
 * @returns By stage i, [B,H/2^(i+1),W/2^(i+1),C].
 */
export function runEncoder(network: Network, input: Tensor4D): Tensor4D[] {
  return encode(network.plan.architecture, engineOf(network), input);
}

/**
 * Predicts disparities.
 *
 * @param input [B,H,W,inputChannels], images in [0,1]; H and W are multiples of 2^stages, see `checkSize`.
 * @throws {RangeError} From TensorFlow, when the shapes do not fit.
 */
export function runNetwork(network: Network, input: Tensor4D): Prediction {
  return decode(network.plan.architecture, engineOf(network), runEncoder(network, input));
}
