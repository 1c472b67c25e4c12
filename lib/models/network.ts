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
  const { scope, architecture, inputChannels = 3, seed, headBias = 0, headScale = 1, precision = "fp32" } =
    options;
  const plan = planNetwork(architecture, inputChannels);
  const random = seed === undefined ? undefined : new Random(seed).fork(scope);
  const variables = new Map<string, Variable>();
  const add = (name: string, initial: Tensor) => {
    variables.set(`${scope}/${name}`, tf.variable(initial, true));
    initial.dispose();
  };
  for (const { name, kernel, inputs, outputs } of plan.convolutions) {
    const head = name.startsWith("head/");
    // The two branches that a bottleneck adds share the variance of one convolution.
    const summed = name.endsWith("/conv3") || name.endsWith("/project");
    const scale = head ? headScale : summed ? Math.SQRT1_2 : 1;
    const deviation = scale * Math.sqrt(2 / (kernel * kernel * inputs));
    const values = new Float32Array(kernel * kernel * inputs * outputs);
    if (random) { for (let i = 0; i < values.length; i++) values[i] = random.normal(0, deviation); }
    add(`${name}/kernel`, tf.tensor(values, [kernel, kernel, inputs, outputs]));
    add(`${name}/bias`, tf.fill([outputs], head ? headBias : 0));
  }
  return { scope, plan, variables, parameters: countParameters(plan), precision };
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

/**
 * Predicts disparities.
 *
 * @param input [B,H,W,inputChannels], images in [0,1]; H and W are multiples of 2^stages, see `checkSize`.
 * @param baseLogits Logits to add to this network's own, by scale: turns it into a correction of that prediction.
 * @throws {RangeError} From TensorFlow, when the shapes do not fit.
 */
export function runNetwork(network: Network, input: Tensor4D, baseLogits?: readonly Tensor4D[]): Prediction {
  const { scope, variables, precision, plan: { architecture: { encoder, decoder } } } = network;
  const convolve = (
    name: string,
    x: Tensor4D,
    { stride = 1 as 1 | 2, elu = true, upsample = false } = {},
  ): Tensor4D =>
    convolution2d(
      x,
      variables.get(`${scope}/${name}/kernel`) as unknown as Tensor4D,
      variables.get(`${scope}/${name}/bias`) as unknown as Tensor1D,
      { stride, elu, upsample, precision },
    );

  let x = input;
  const skips: Tensor4D[] = []; // by encoder stage i: [B,H/2^(i+1),W/2^(i+1),C]
  encoder.forEach((stage, i) => {
    const at = `encoder/${i + 1}`;
    if (stage.kind === "pool") x = tf.maxPool(x, 3, 2, "same");
    else if (stage.kind === "plain") {
      for (let c = 0; c < stage.convolutions; c++) {
        x = convolve(`${at}/conv${c + 1}`, x, { stride: c === stage.strideAt ? 2 : 1 });
      }
    } else {
      for (let b = 0; b < stage.blocks; b++) {
        const block = `${at}/block${b + 1}`;
        const stride = b === stage.blocks - 1 ? 2 : 1;
        let y = convolve(`${block}/conv1`, x);
        y = convolve(`${block}/conv2`, y, { stride });
        y = convolve(`${block}/conv3`, y, { elu: false });
        x = tf.elu(tf.add(y, convolve(`${block}/project`, x, { stride, elu: false })));
      }
    }
    skips.push(x);
  });

  const logits = new Array<Tensor4D>(SCALES);
  const disparities = new Array<Tensor4D>(SCALES);
  for (let level = decoder.length - 1; level >= 0; level--) { // level l: [B,H/2^l,W/2^l,decoder[l]]
    const parts = [convolve(`decoder/${level}/up`, x, { upsample: true })];
    if (level > 0) parts.push(skips[level - 1]);
    if (level < SCALES - 1) parts.push(upsampled(disparities[level + 1]));
    x = convolve(`decoder/${level}/merge`, parts.length > 1 ? tf.concat(parts, 3) : parts[0]);
    if (level < SCALES) {
      const own = convolve(`head/${level}`, x, { elu: false });
      logits[level] = baseLogits ? tf.add(own, baseLogits[level]) : own;
      disparities[level] = tf.mul(tf.sigmoid(logits[level]), MAX_DISPARITY);
    }
  }
  return { logits, disparities, features: x };
}
