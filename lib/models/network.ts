/**
 * The encoder–decoder. Student, backward and refine networks are this one function with different inputs and scopes.
 *
 * @module
 */
import { type Tensor, type Tensor1D, type Tensor4D, tf, type Variable } from "../backend/tf.ts";
import type { Precision } from "../backend/convolution.ts";
import { CyclopsError } from "../base/errors.ts";
import { Random } from "../base/random.ts";
import { type Architecture, countParameters, type NetworkPlan, planNetwork, SCALES } from "./architecture.ts";
import { convolve, convolveElu, upsample2, type Weights } from "./blocks.ts";

/** Largest disparity a head can give, fraction of width (Godard et al. 2017). */
export const MAX_DISPARITY = 0.3;

/** What a new network is made from. */
export interface NetworkOptions {
  /** Prefix of every variable's name: "student", "backward", "refine". */
  readonly scope: string;
  /** Encoder and decoder. */
  readonly architecture: Architecture;
  /** Channels of the input. @default 3 */
  readonly inputChannels?: number;
  /**
   * Seed of the initial weights; each scope draws its own numbers from it. Without one they are 0, for a network
   * whose weights are about to be loaded.
   */
  readonly seed?: number;
  /** Initial bias of the disparity heads' logits; −2.4 starts the disparity near 0.025. @default 0 */
  readonly headBias?: number;
  /** Scale of the heads' initial weights against He's. @default 1 */
  readonly headScale?: number;
  /** Number format of the convolutions; weights are float32 in any case. @default "fp32" */
  readonly precision?: Precision;
}

/** A network: its plan and its weights. */
export interface Network {
  /** Before the names of its variables: student, backward, refine. */
  readonly scope: string;
  /** Its convolutions, in their order. */
  readonly plan: NetworkPlan;
  /** By full name, e.g. `student/encoder/1/conv1/kernel`, in a fixed order. */
  readonly variables: ReadonlyMap<string, Variable>;
  /** How many numbers it learns. */
  readonly parameters: number;
  /** Number format of the convolutions. */
  readonly precision: Precision;
}

/** What a network says about its input. */
export interface Prediction {
  /** Before the sigmoid, finest scale first: [B, H/2^s, W/2^s, 2]. */
  readonly logits: readonly Tensor4D[];
  /**
   * Fraction of width, in (0, {@linkcode MAX_DISPARITY}), finest scale first: [B, H/2^s, W/2^s, 2]. Channel 0 is
   * aligned with the target view, channel 1 with the source view.
   */
  readonly disparities: readonly Tensor4D[];
  /** The decoder's last features, [B,H,W,C]. */
  readonly features: Tensor4D;
}

/** Creates a network, with a seed with He-normal weights. */
export function createNetwork(options: NetworkOptions): Network {
  const { scope, architecture, inputChannels = 3, seed, headBias = 0, headScale = 1, precision = "fp32" } =
    options;
  const plan = planNetwork(architecture, inputChannels);
  const random = seed === undefined ? undefined : new Random(seed).fork(scope);
  const variables = new Map<string, Variable>();
  for (const { name, kernel, inputs, outputs } of plan.convolutions) {
    const head = name.startsWith("head/");
    // The two branches that a bottleneck adds share the variance that one convolution would have.
    const summed = name.endsWith("/conv3") || name.endsWith("/project");
    const scale = head ? headScale : summed ? Math.SQRT1_2 : 1;
    const deviation = scale * Math.sqrt(2 / (kernel * kernel * inputs));
    const shape = [kernel, kernel, inputs, outputs];
    const values = new Float32Array(kernel * kernel * inputs * outputs);
    if (random) { for (let i = 0; i < values.length; i++) values[i] = random.normal(0, deviation); }
    const add = (part: string, initial: Tensor) => {
      variables.set(`${scope}/${name}/${part}`, tf.variable(initial, true));
      initial.dispose();
    };
    add("kernel", tf.tensor(values, shape));
    add("bias", tf.fill([outputs], head ? headBias : 0));
  }
  return { scope, plan, variables, parameters: countParameters(plan), precision };
}

/** Frees a network's weights. */
export function disposeNetwork(network: Network): void {
  for (const variable of network.variables.values()) variable.dispose();
}

/** Copies the weights of one network into another of the same plan. */
export function copyWeights(from: Network, to: Network): void {
  const sources = [...from.variables.values()];
  const targets = [...to.variables.values()];
  if (sources.length !== targets.length) {
    throw new CyclopsError(
      `Cannot copy weights from ${from.scope} to ${to.scope}: ${sources.length} variables found, ${targets.length} wanted`,
    );
  }
  sources.forEach((source, i) => targets[i].assign(source));
}

/**
 * Runs a network.
 *
 * @param input [B,H,W,inputChannels]; H and W are multiples of 2^stages, see `checkSize`.
 * @param base Logits to add to this network's own, by scale: makes it a correction of another's prediction.
 * @throws {RangeError} From TensorFlow, when the shapes do not fit.
 */
export function runNetwork(network: Network, input: Tensor4D, base?: readonly Tensor4D[]): Prediction {
  const { encoder, decoder } = network.plan.architecture;
  const weights = (name: string): Weights => ({
    kernel: network.variables.get(`${network.scope}/${name}/kernel`) as unknown as Tensor4D,
    bias: network.variables.get(`${network.scope}/${name}/bias`) as unknown as Tensor1D,
    precision: network.precision,
  });

  let x = input;
  const skips: Tensor4D[] = [];
  encoder.forEach((stage, i) => {
    const at = `encoder/${i + 1}`;
    if (stage.kind === "pool") x = tf.maxPool(x, 3, 2, "same");
    else if (stage.kind === "plain") {
      for (let c = 0; c < stage.convolutions; c++) {
        x = convolveElu(x, weights(`${at}/conv${c + 1}`), c === stage.strideAt ? 2 : 1);
      }
    } else {
      for (let b = 0; b < stage.blocks; b++) {
        const block = `${at}/block${b + 1}`;
        const stride = b === stage.blocks - 1 ? 2 : 1;
        let y = convolveElu(x, weights(`${block}/conv1`));
        y = convolveElu(y, weights(`${block}/conv2`), stride);
        y = convolve(y, weights(`${block}/conv3`));
        x = tf.elu(tf.add(y, convolve(x, weights(`${block}/project`), stride)));
      }
    }
    skips.push(x);
  });

  const logits = new Array<Tensor4D>(SCALES);
  const disparities = new Array<Tensor4D>(SCALES);
  for (let level = decoder.length - 1; level >= 0; level--) {
    const parts = [convolveElu(upsample2(x), weights(`decoder/${level}/up`))];
    if (level > 0) parts.push(skips[level - 1]);
    if (level < SCALES - 1) parts.push(upsample2(disparities[level + 1]));
    x = convolveElu(parts.length > 1 ? tf.concat(parts, 3) : parts[0], weights(`decoder/${level}/merge`));
    if (level < SCALES) {
      const own = convolve(x, weights(`head/${level}`));
      logits[level] = base ? tf.add(own, base[level]) : own;
      disparities[level] = tf.mul(tf.sigmoid(logits[level]), MAX_DISPARITY);
    }
  }
  return { logits, disparities, features: x };
}
