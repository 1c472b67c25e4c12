/**
 * The encoder–decoder (Godard et al. 2017) that predicts disparities. Student, backward and refine network are this one
 * function with different inputs and weights.
 *
 * @module
 */
import { convolution2d, type ConvolutionAttributes, type Precision } from "../backend/ops.ts";
import { type Tensor, type Tensor1D, type Tensor4D, tf, type Variable } from "../backend/tf.ts";
import { CyclopsError } from "../base/errors.ts";
import { Random } from "../base/random.ts";
import { type Architecture, countParameters, type NetworkPlan, planNetwork, SCALES } from "./architecture.ts";

/** The largest disparity that a head can predict, fraction of width (Godard et al. 2017). */
export const MAX_DISPARITY = 0.3;

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
  /** Scale of the heads' initial weights, relative to He's. @default 1 */
  readonly headScale?: number;
  /** Number format of the convolutions; weights are always float32. @default "fp32" */
  readonly precision?: Precision;
  /** What the decoder's convolutions see beyond the edges; zeros darken the frame of the maps. @default "zero" */
  readonly padding?: Padding;
}

/** Zeros, or the image mirrored. */
export type Padding = "zero" | "reflect";

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

/** A network's output, at `SCALES` scales: the finest, s = 0, first. */
export interface Prediction {
  /** Disparities before the sigmoid, [B,H/2^s,W/2^s,2] each. */
  readonly logits: readonly Tensor4D[];
  /**
   * Fraction of width, in (0, {@linkcode MAX_DISPARITY}), [B,H/2^s,W/2^s,2] each. Channel 0 is aligned with the target
   * (opposite) view, channel 1 with the source (seen) view.
   */
  readonly disparities: readonly Tensor4D[];
  /** The decoder's last features, [B,H,W,C]. */
  readonly features: Tensor4D;
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
  const { scope, architecture, inputChannels = 3, seed, headBias = 0, headScale = 1 } = options;
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
    const scale = head ? headScale * gains.heads : summed ? Math.SQRT1_2 : decoder;
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
 * Copies the weights of one network into another of the same plan.
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
  sources.forEach((source, i) => targets[i].assign(source));
}

/** Nearest-neighbor upsampling: [B,H,W,C] → [B,2H,2W,C]. */
function upsampled(x: Tensor4D): Tensor4D {
  return tf.image.resizeNearestNeighbor(x, [x.shape[1] * 2, x.shape[2] * 2]);
}

/** (image − mean) / deviation of the first three channels; what else a refine network sees stays as it is. */
function normalize(x: Tensor4D, { mean, deviation }: { mean: number; deviation: number }): Tensor4D {
  const byChannel = (image: number, other: number) =>
    tf.tensor1d(Array.from({ length: x.shape[3] }, (_, c) => c < 3 ? image : other));
  return tf.add(tf.mul(x, byChannel(1 / deviation, 1)), byChannel(-mean / deviation, 0));
}

type Convolve = (name: string, x: Tensor4D, attributes?: Partial<ConvolutionAttributes>) => Tensor4D;

/** Runs a network's convolutions by name; with stride 1 and ELU unless told otherwise. */
function convolver({ scope, variables, precision }: Network): Convolve {
  return (name, x, attributes = {}) =>
    convolution2d(
      x,
      variables.get(`${scope}/${name}/kernel`) as unknown as Tensor4D,
      variables.get(`${scope}/${name}/bias`) as unknown as Tensor1D,
      { stride: 1, activation: "elu", precision, ...attributes },
    );
}

const LINEAR = { activation: "none" } as const, RELU6 = { activation: "relu6" } as const;

/**
 * The encoder's features.
 *
 * @param input As in {@linkcode runNetwork}.
 * @returns By stage i, [B,H/2^(i+1),W/2^(i+1),C].
 */
export function runEncoder(network: Network, input: Tensor4D): Tensor4D[] {
  const { encoder, normalization } = network.plan.architecture;
  const convolve = convolver(network);
  let x = normalization ? normalize(input, normalization) : input;
  return encoder.map((stage, i) => {
    const at = `encoder/${i + 1}`;
    if (stage.kind === "pool") return x = tf.maxPool(x, 3, 2, "same");
    if (stage.kind === "plain") {
      for (let c = 0; c < stage.convolutions; c++) {
        x = convolve(`${at}/conv${c + 1}`, x, { stride: c === stage.strideAt ? 2 : 1 });
      }
      return x;
    }
    if (stage.kind === "inverted") {
      if (stage.stem) x = convolve(`${at}/stem`, x, { stride: 2, ...RELU6 });
      stage.blocks.forEach(({ expansion, channels, stride }, b) => {
        const block = `${at}/block${b + 1}`;
        let y = expansion > 1 ? convolve(`${block}/expand`, x, RELU6) : x;
        y = convolve(`${block}/depthwise`, y, { stride, depthwise: true, ...RELU6 });
        y = convolve(`${block}/project`, y, LINEAR);
        x = stride === 1 && channels === x.shape[3] ? tf.add(x, y) : y;
      });
      return x;
    }
    for (let b = 0; b < stage.blocks; b++) {
      const block = `${at}/block${b + 1}`;
      const stride = b === stage.blocks - 1 ? 2 : 1;
      let y = convolve(`${block}/conv1`, x);
      y = convolve(`${block}/conv2`, y, { stride });
      y = convolve(`${block}/conv3`, y, LINEAR);
      x = tf.elu(tf.add(y, convolve(`${block}/project`, x, { stride, ...LINEAR })));
    }
    return x;
  });
}

/**
 * Predicts disparities.
 *
 * @param input [B,H,W,inputChannels], images in [0,1]; H and W are multiples of 2^stages, see `checkSize`.
 * @param baseLogits Logits to add to this network's own, by scale: turns it into a correction of that prediction.
 * @throws {RangeError} From TensorFlow, when the shapes do not fit.
 */
export function runNetwork(network: Network, input: Tensor4D, baseLogits?: readonly Tensor4D[]): Prediction {
  const { padding, plan: { architecture: { decoder, convolveFirst } } } = network;
  const convolve = convolver(network);
  const skips = runEncoder(network, input);
  let x = skips.at(-1)!;
  const logits = new Array<Tensor4D>(SCALES);
  const disparities = new Array<Tensor4D>(SCALES);
  for (let level = decoder.length - 1; level >= 0; level--) { // level l: [B,H/2^l,W/2^l,decoder[l]]
    const up = convolve(`decoder/${level}/up`, x, { padding, upsample: !convolveFirst });
    const parts = [convolveFirst ? upsampled(up) : up];
    if (level > 0) parts.push(skips[level - 1]);
    if (level < SCALES - 1) parts.push(upsampled(disparities[level + 1]));
    x = convolve(`decoder/${level}/merge`, parts.length > 1 ? tf.concat(parts, 3) : parts[0], { padding });
    if (level < SCALES) {
      const own = convolve(`head/${level}`, x, { padding, ...LINEAR });
      logits[level] = baseLogits ? tf.add(own, baseLogits[level]) : own;
      disparities[level] = tf.mul(tf.sigmoid(logits[level]), MAX_DISPARITY);
    }
  }
  return { logits, disparities, features: x };
}
