/**
 * The chain of the method: student → warp → backward on the generated image → warp back → inconsistency → refine.
 * One encoder–decoder, called up to three times. Everything but the privileged inputs derives from the one image seen.
 *
 * @module
 */
import { detach, noGradient, scaleGradient } from "../backend/gradients.ts";
import { type Tensor4D, tf } from "../backend/tf.ts";
import { opposite, type View, warp, type WarpOptions } from "../geometry/warp.ts";
import type { Architecture } from "./architecture.ts";
import { HEAD_CHANNELS, SCALES } from "./architecture.ts";
import { type Network, type Prediction, runNetwork } from "./network.ts";

/** An image at every disparity scale, finest first: [B, H/2^s, W/2^s, 3]. */
export type Pyramid = readonly Tensor4D[];

/** Halves an image three times by averaging. */
export function imagePyramid(image: Tensor4D): Pyramid {
  const pyramid = [image];
  while (pyramid.length < SCALES) pyramid.push(tf.avgPool(pyramid.at(-1)!, 2, 2, "valid"));
  return pyramid;
}

/** One scale's disparities by the view that they are aligned with, [B,H,W,1] each. */
export interface AlignedDisparity {
  /** Aligned with the opposite view, which it synthesises. */
  readonly target: Tensor4D;
  /** Aligned with the image the network was given: the depth of that image. */
  readonly source: Tensor4D;
}

/** Takes the two channels of a head apart: [B,H,W,2] → two of [B,H,W,1]. */
export function splitAligned(disparity: Tensor4D): AlignedDisparity {
  const [target, source] = tf.split(disparity, 2, 3) as Tensor4D[];
  return { target, source };
}

/** One network's disparities and the views they synthesise. */
export interface Synthesis {
  /** What the network gave. */
  readonly prediction: Prediction;
  /** The prediction's disparities taken apart, at every scale. */
  readonly aligned: readonly AlignedDisparity[];
  /** The opposite view, synthesised from the input by the target-aligned disparity, at every scale. */
  readonly synthesised: Pyramid;
}

/**
 * Half a cycle: a network sees one view and synthesises the opposite one.
 *
 * @param input The seen view at every scale.
 * @param produced The opposite view.
 */
export function halfCycle(
  network: Network,
  input: Pyramid,
  produced: View,
  options: WarpOptions = {},
): Synthesis {
  return synthesise(input, runNetwork(network, input[0]), produced, options);
}

/** Warps the seen view into the opposite one by a prediction's target-aligned disparities, at every scale. */
export function synthesise(
  input: Pyramid,
  prediction: Prediction,
  produced: View,
  options: WarpOptions = {},
): Synthesis {
  const aligned = prediction.disparities.map(splitAligned);
  const synthesised = aligned.map(({ target }, s) => warp(input[s], target, produced, options));
  return { prediction, aligned, synthesised };
}

/** What the refine network may see besides the image. */
export type TeacherInput = "inconsistency" | "disparity" | "features";

/** How the refine network is fed and used. */
export interface RefineWiring {
  /** Which inputs it gets besides the image. */
  readonly inputs: readonly TeacherInput[];
  /** Its logits correct the student's, instead of replacing them. */
  readonly residual: boolean;
  /** Feed zeros in place of the inconsistency: the control that shows what the inconsistency brings. */
  readonly blind: boolean;
}

/** Channels of the refine network's input. */
export function refineChannels(architecture: Architecture, inputs: readonly TeacherInput[]): number {
  let channels = 3;
  if (inputs.includes("inconsistency")) channels += 6;
  if (inputs.includes("disparity")) channels += 2 * HEAD_CHANNELS;
  if (inputs.includes("features")) channels += architecture.decoder[0];
  return channels;
}

/**
 * The refine network's input: the image, then, as the wiring says, its re-synthesis and the inconsistency (image minus
 * re-synthesis), both networks' disparities, the student's decoder features.
 *
 * @param image The seen view, [B,H,W,3].
 * @param resynthesis The seen view as it came back through the cycle, [B,H,W,3].
 * @returns [B,H,W,{@linkcode refineChannels}].
 */
export function refineInput(
  image: Tensor4D,
  resynthesis: Tensor4D,
  student: Prediction,
  backward: Prediction | undefined,
  wiring: RefineWiring,
): Tensor4D {
  const parts: Tensor4D[] = [image];
  if (wiring.inputs.includes("inconsistency")) {
    const pair = tf.concat([resynthesis, tf.sub(image, resynthesis)], 3);
    parts.push((wiring.blind ? tf.zerosLike(pair) : pair) as Tensor4D);
  }
  if (wiring.inputs.includes("disparity")) {
    const own = student.disparities[0];
    parts.push(own, backward?.disparities[0] ?? tf.zerosLike(own) as Tensor4D);
  }
  if (wiring.inputs.includes("features")) parts.push(student.features);
  return parts.length > 1 ? tf.concat(parts, 3) : parts[0];
}

/** Networks of the chain; the later ones come with the later stages. */
export interface Networks {
  /** Sees one view; what ships. */
  readonly student: Network;
  /** Sees the synthesised view. */
  readonly backward?: Network;
  /** Sees the inconsistency. */
  readonly refine?: Network;
}

/** How far gradients reach back through the chain: 0 stops them, 1 lets them pass. */
export interface GradientGates {
  /** From the backward network's losses into the student. */
  readonly cycleIntoStudent: number;
  /** From the refine network's losses into student and backward network. */
  readonly refineIntoOthers: number;
}

/** No gradient leaves the network whose loss it is. */
export const CLOSED_GATES: GradientGates = { cycleIntoStudent: 0, refineIntoOthers: 0 };

/** How a chain is run. */
export interface ChainOptions extends WarpOptions {
  /** The view that is seen. */
  readonly view: View;
  /** What the refine network sees. */
  readonly refine: RefineWiring;
  /** Where gradients stop. */
  readonly gates: GradientGates;
  /**
   * The real opposite view, [B,H,W,3]: makes the teacher privileged. Its inconsistency is then where the student's
   * synthesis fails against the truth, which no test image can tell.
   */
  readonly privileged?: Tensor4D;
  /**
   * Networks to run as constants: no gradient reaches or passes them, and nothing is kept for a backward pass.
   * @default none
   */
  readonly constant?: readonly (keyof Networks)[];
}

/** Everything the chain computed, as far as it was run. */
export interface Chain {
  /** The seen view. */
  readonly input: Pyramid;
  /** The student: disparities, and the opposite view. */
  readonly student: Synthesis;
  /** The generated opposite view as the backward network was given it. */
  readonly generated?: Pyramid;
  /** The backward network: the other direction's disparities, and the seen view re-synthesised. */
  readonly backward?: Synthesis;
  /** The refine network: disparities laid out as the student's, and the opposite view. */
  readonly refined?: Synthesis;
}

/**
 * Runs student, backward and refine network, as far as `networks` has them.
 *
 * @param input The seen view at every scale; see {@linkcode imagePyramid}.
 */
export function runChain(networks: Networks, input: Pyramid, options: ChainOptions): Chain {
  const { view, constant = [] } = options;
  const run = <T>(name: keyof Networks, compute: () => T): T =>
    constant.includes(name) ? noGradient(compute) : compute();
  const student = run("student", () => halfCycle(networks.student, input, opposite(view), options));
  const through = (p: Pyramid, factor: number): Pyramid => p.map((x) => scaleGradient(x, factor));

  let generated: Pyramid | undefined;
  let backward: Synthesis | undefined;
  if (networks.backward) {
    generated = through(student.synthesised, options.gates.cycleIntoStudent);
    const given = generated;
    const network = networks.backward;
    backward = run("backward", () => halfCycle(network, given, view, options));
  }
  if (!networks.refine) return { input, student, generated, backward };

  const gate = options.gates.refineIntoOthers;
  const seen = (p: Prediction): Prediction => ({
    logits: through(p.logits, gate),
    disparities: through(p.disparities, gate),
    features: scaleGradient(p.features, gate),
  });
  const ofStudent = seen(student.prediction);
  const ofBackward = backward && seen(backward.prediction);
  const resynthesis = options.privileged
    ? warp(options.privileged, scaleGradient(student.aligned[0].source, gate), view, options)
    : backward && scaleGradient(backward.synthesised[0], gate);
  const fed = refineInput(input[0], resynthesis ?? detach(input[0]), ofStudent, ofBackward, options.refine);
  const base = options.refine.residual ? ofStudent.logits : undefined;
  const prediction = runNetwork(networks.refine, fed, base);
  const refined = synthesise(input, prediction, opposite(view), options);
  return { input, student, generated, backward, refined };
}
