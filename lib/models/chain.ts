/**
 * The chain of networks ("Refine and Distill", CVPR 2019): student → warp → backward network on the generated image →
 * warp back → inconsistency → refine network. One encoder–decoder, called up to three times. All inputs derive from
 * the one image seen, except those of the privileged teacher.
 *
 * @module
 */
import { detach, noGradient, scaleGradient } from "../backend/ops.ts";
import { type Scalar, type Tensor4D, tf } from "../backend/tf.ts";
import { opposite, type View, warp, type WarpOptions } from "../geometry/warp.ts";
import { type Architecture, HEAD_CHANNELS, type Prediction, SCALES } from "./architecture.ts";
import { type Network, runNetwork } from "./network.ts";

/** An image at every disparity scale, finest first: [B,H/2^s,W/2^s,C]. */
export type Pyramid = readonly Tensor4D[];

/** Where the losses of coarse disparities are computed: at their own size, or upsampled to the image's. */
export type LossSize = "scale" | "full";

/**
 * Halves an image three times by 2×2 averaging: [B,H,W,C] → {@linkcode Pyramid}.
 *
 * @param lossSize "full" repeats the image instead. @default "scale"
 */
export function imagePyramid(image: Tensor4D, lossSize: LossSize = "scale"): Pyramid {
  if (lossSize === "full") return new Array<Tensor4D>(SCALES).fill(image);
  const pyramid = [image];
  while (pyramid.length < SCALES) pyramid.push(tf.avgPool(pyramid.at(-1)!, 2, 2, "valid"));
  return pyramid;
}

/** One scale's disparities, by the view that they are aligned with: fractions of width, [B,H,W,1] each. */
export interface AlignedDisparity {
  /** Aligned with the opposite view; the warp that synthesizes that view uses it. */
  readonly target: Tensor4D;
  /** Aligned with the network's input: the depth of that image. */
  readonly source: Tensor4D;
}

/** How a prediction synthesizes the opposite view. */
export interface SynthesisOptions extends WarpOptions {
  /**
   * Disparities of each pair's camera relative to the predicted ones, [B,1,1,1]: networks that predict for the canonical
   * camera need it, see `canonicalScales`. @default 1
   */
  readonly scale?: Tensor4D;
}

/** Splits a head's two channels: [B,H,W,2] → two of [B,H,W,1]. */
export function splitAligned(disparity: Tensor4D): AlignedDisparity {
  const [batch, height, width] = disparity.shape;
  // The gradient of a transpose is half the work of that of a split.
  const channels = tf.unstack(tf.transpose(disparity, [3, 0, 1, 2]));
  const [target, source] = channels.map((d) => tf.reshape(d, [batch, height, width, 1]) as Tensor4D);
  return { target, source };
}

/** One network's disparities and the view synthesized with them. */
export interface Synthesis {
  /** What the network predicted. */
  readonly prediction: Prediction;
  /** The disparities of the pair's own camera, split, at every scale and of the pyramid's size. */
  readonly aligned: readonly AlignedDisparity[];
  /** The opposite view in [0,1], sampled from the input by the target-aligned disparity, at every scale. */
  readonly synthesized: Pyramid;
}

/**
 * The half-cycle: a network sees one view, and its disparity synthesizes the opposite one.
 *
 * @param input The seen view at every scale; see {@linkcode imagePyramid}.
 * @param produced The view to synthesize.
 * @param seen What the network sees, where that differs from the view: changed colors. @default input[0]
 *
 * @example
 * ```ts
 * import { selectBackend, type Tensor4D, tf } from "../backend/mod.ts";
 * import { ARCHITECTURES } from "./architecture.ts";
 * import { halfCycle, imagePyramid } from "./chain.ts";
 * import { createNetwork } from "./network.ts";
 *
 * await selectBackend();
 * const student = createNetwork({ scope: "student", architecture: ARCHITECTURES.quick, seed: 1 });
 * const left = tf.zeros([1, 64, 192, 3]) as Tensor4D;
 * const { aligned, synthesized } = halfCycle(student, imagePyramid(left), "right");
 * aligned[0].source.shape; // [1, 64, 192, 1]: the depth of the left image
 * synthesized[3].shape; // [1, 8, 24, 3]: the right view at the coarsest scale
 * ```
 */
export function halfCycle(
  network: Network,
  input: Pyramid,
  produced: View,
  options: SynthesisOptions = {},
  seen: Tensor4D = input[0],
): Synthesis {
  return synthesize(input, runNetwork(network, seen), produced, options);
}

/** Warps the seen view into the opposite one by a prediction's target-aligned disparities, at every scale. */
export function synthesize(
  input: Pyramid,
  prediction: Prediction,
  produced: View,
  options: SynthesisOptions = {},
): Synthesis {
  const { scale } = options;
  const aligned = prediction.disparities.map((disparity, s) => {
    const [, height, width] = input[s].shape;
    const sized = disparity.shape[1] === height
      ? disparity
      : tf.image.resizeBilinear(disparity, [height, width], false, true);
    return splitAligned(scale ? tf.mul(sized, scale) : sized);
  });
  const synthesized = aligned.map(({ target }, s) => warp(input[s], target, produced, options));
  return { prediction, aligned, synthesized };
}

/** What the refine network can see besides the image. */
export type TeacherInput = "inconsistency" | "disparity" | "features";

/** What the refine network sees. */
export interface RefineOptions {
  /** Its inputs besides the image. */
  readonly inputs: readonly TeacherInput[];
  /** Feeds zeros in place of the inconsistency: the control that shows what the inconsistency contributes. */
  readonly blind: boolean;
  /**
   * Sees the real opposite view, too, and as the inconsistency the error of the image that the student's disparity
   * makes from it. That view is not known at test time. @default false
   */
  readonly privileged?: boolean;
}

/** Number of input channels of the refine network. */
export function refineChannels(architecture: Architecture, { inputs, privileged }: RefineOptions): number {
  let channels = 3;
  if (privileged) channels += 3;
  if (inputs.includes("inconsistency")) channels += 6;
  if (inputs.includes("disparity")) channels += 2 * HEAD_CHANNELS;
  if (inputs.includes("features")) channels += architecture.decoder[0];
  return channels;
}

/**
 * The refine network's input: the image, then, as chosen, the opposite view, the image's re-synthesis with the
 * inconsistency (image minus re-synthesis), both networks' disparities, the student's decoder features.
 *
 * @param image The seen view, [B,H,W,3].
 * @param opposite The real opposite view, for a privileged network, [B,H,W,3].
 * @param resynthesis The seen view after the whole cycle, [B,H,W,3].
 * @returns [B,H,W,{@linkcode refineChannels}].
 */
function refineInput(
  image: Tensor4D,
  opposite: Tensor4D | undefined,
  resynthesis: Tensor4D,
  student: Prediction,
  backward: Prediction | undefined,
  { inputs, blind }: RefineOptions,
): Tensor4D {
  const parts: Tensor4D[] = opposite ? [image, opposite] : [image];
  if (inputs.includes("inconsistency")) {
    const pair = tf.concat([resynthesis, tf.sub(image, resynthesis)], 3);
    parts.push((blind ? tf.zerosLike(pair) : pair) as Tensor4D);
  }
  if (inputs.includes("disparity")) {
    const own = student.disparities[0];
    parts.push(own, backward?.disparities[0] ?? tf.zerosLike(own) as Tensor4D);
  }
  if (inputs.includes("features")) parts.push(student.features);
  return parts.length > 1 ? tf.concat(parts, 3) : parts[0];
}

/** The networks of a chain; later stages of training add the later ones. */
export interface Networks {
  /** Sees one view; the network that ships. */
  readonly student: Network;
  /** Sees the synthesized view. */
  readonly backward?: Network;
  /** Sees the inconsistency. */
  readonly refine?: Network;
}

/** How much of a gradient passes between networks: 0 stops it, 1 lets all of it pass. */
export interface GradientGates {
  /** From the backward network's losses into the student. */
  readonly cycleIntoStudent: number | Scalar;
  /** From the refine network's losses into student and backward network. */
  readonly refineIntoOthers: number | Scalar;
}

/** Every loss trains its own network only. */
export const CLOSED_GATES: GradientGates = { cycleIntoStudent: 0, refineIntoOthers: 0 };

/** Options of {@linkcode runChain}. */
export interface ChainOptions extends SynthesisOptions {
  /** The seen view. @default "left" */
  readonly view?: View;
  /** What the refine network sees; needed where there is one. */
  readonly refine?: RefineOptions;
  /** Where gradients stop. @default CLOSED_GATES */
  readonly gates?: GradientGates;
  /** The real opposite view, [B,H,W,3], which a privileged refine network sees. */
  readonly opposite?: Tensor4D;
  /** What the student sees, where that differs from the view: changed colors, [B,H,W,3]. @default the view */
  readonly seen?: Tensor4D;
  /** Networks whose outputs are constants: no gradient reaches or passes them. @default none */
  readonly constant?: readonly (keyof Networks)[];
}

/** The output of {@linkcode runChain}, as far as its networks go. */
export interface Chain {
  /** The seen view. */
  readonly input: Pyramid;
  /** The student's disparities and the opposite view they synthesize. */
  readonly student: Synthesis;
  /** The backward network's disparities and the seen view, re-synthesized from the generated opposite one. */
  readonly backward?: Synthesis;
  /** The refined disparities, laid out like the student's, and the opposite view they synthesize. */
  readonly refined?: Synthesis;
}

/**
 * Runs student, backward and refine network, as far as `networks` has them.
 *
 * @param input The seen view at every scale; see {@linkcode imagePyramid}.
 * @throws {RangeError} When there is a refine network but no `options.refine`, or no opposite view for a privileged one.
 */
export function runChain(networks: Networks, input: Pyramid, options: ChainOptions = {}): Chain {
  const { view = "left", refine, gates = CLOSED_GATES, constant = [] } = options;
  const run = <T>(name: keyof Networks, compute: () => T): T =>
    constant.includes(name) ? noGradient(compute) : compute();
  const student = run(
    "student",
    () => halfCycle(networks.student, input, opposite(view), options, options.seen),
  );

  let backward: Synthesis | undefined;
  if (networks.backward) {
    const generated = student.synthesized.map((image) => scaleGradient(image, gates.cycleIntoStudent));
    const network = networks.backward;
    backward = run("backward", () => halfCycle(network, generated, view, options));
  }
  if (!networks.refine) return { input, student, backward };
  if (!refine) throw new RangeError("Cannot run the refine network: options.refine is missing");
  const real = refine.privileged ? options.opposite : undefined;
  if (refine.privileged && !real) {
    throw new RangeError(
      "Cannot run a privileged refine network: options.opposite, the opposite view, is missing",
    );
  }

  const gated = (x: Tensor4D): Tensor4D => scaleGradient(x, gates.refineIntoOthers);
  const seenOf = ({ logits, disparities, features }: Prediction): Prediction => ({
    logits: logits.map(gated),
    disparities: disparities.map(gated),
    features: gated(features),
  });
  const seenOfStudent = seenOf(student.prediction);
  const seenOfBackward = backward && seenOf(backward.prediction);
  const resynthesis = real
    ? warp(real, gated(student.aligned[0].source), view, options)
    : backward
    ? gated(backward.synthesized[0])
    : detach(input[0]);
  const fed = refineInput(input[0], real, resynthesis, seenOfStudent, seenOfBackward, refine);
  const refined = synthesize(input, runNetwork(networks.refine, fed), opposite(view), options);
  return { input, student, backward, refined };
}
