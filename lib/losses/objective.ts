/**
 * The loss terms of the method by name, and their weighted sum.
 *
 * @module
 */
import { type Scalar, type Tensor4D, tf } from "../backend/tf.ts";
import { noGradient } from "../backend/ops.ts";
import { opposite, type View, warp, type WarpOptions } from "../geometry/warp.ts";
import {
  type AlignedDisparity,
  type Chain,
  imagePyramid,
  type LossSize,
  type Pyramid,
  type Synthesis,
} from "../models/chain.ts";
import type { Prediction } from "../models/architecture.ts";
import {
  betterPixels,
  consistencyLoss,
  disparityDistillation,
  type EdgeWeights,
  edgeWeights,
  featureDistillation,
  photometricLoss,
  smoothnessLoss,
  SSIM_WEIGHT,
  visiblePixels,
} from "./losses.ts";

/** Every term, in the order in which they are logged. */
export const TERM_NAMES = [
  /** Student: the synthesized opposite view against the real one. */
  "photometric",
  /** Student: left-right consistency of its two disparities, in widths of 256 px. */
  "consistency",
  /** Student: edge-aware smoothness of both disparities. */
  "smoothness",
  /** Backward network: the re-synthesized seen view against the real one. */
  "cycle",
  "cycleConsistency",
  "cycleSmoothness",
  /** Refine network: the opposite view synthesized by the refined disparity against the real one. */
  "refined",
  "refinedConsistency",
  "refinedSmoothness",
  /** Student: the logarithms of its disparities against the teacher's. */
  "distillation",
  /** Student: its decoder features against the teacher's. */
  "featureDistillation",
  /** Student: the logarithms of its disparities against disparity hints. */
  "hint",
] as const;

/** A loss term's name. */
export type TermName = (typeof TERM_NAMES)[number];
/** Coefficient of each term in the total loss. */
export type LossWeights = Readonly<Record<TermName, number>>;
/** The computed terms, each summed over scales, unweighted. */
export type Terms = Partial<Record<TermName, Scalar>>;

/** Loss weight of smoothness; its share is halved from each scale to the next coarser one (Godard et al. 2017). */
export const SMOOTHNESS_WEIGHT = 0.1;

/**
 * Consistency terms count in widths of this many px of their own scale. The photometric gradient grows with the pixels
 * that a fraction of the width spans; in pixels the share of consistency is the same at every size. With 256 px it is
 * monodepth's share at 256×512, where a coefficient of 1 applies to fractions of the width at each of four scales.
 */
const CONSISTENCY_WIDTH = 256;

/** Options of {@linkcode lossTerms}. */
export interface ObjectiveOptions extends WarpOptions {
  /** The seen view. @default "left" */
  readonly view?: View;
  /** Share of SSIM in the photometric terms; L1 has the rest. @default 0.85 */
  readonly ssimWeight?: number;
  /**
   * The views that photometric terms compare: both, only the produced one, which trains the target-aligned disparity
   * alone, or only the seen one, which trains the source-aligned disparity alone. @default "both"
   */
  readonly photometricViews?: "both" | "target" | "source";
  /** Smoothness of the disparity divided by its mean. @default false */
  readonly normalizeSmoothness?: boolean;
  /**
   * Photometric terms leave out the pixels that the other view does not show, by the network's own two disparities: they
   * take the real color there (Gonzalez Bello and Kim 2020). @default false
   */
  readonly occlusionMask?: boolean;
  /** Hints count only where they synthesize a view with a lower photometric error than the student does. @default true */
  readonly hintMask?: boolean;
}

/** A batch of pairs as the loss terms need it: both views and their edges, at every scale. Constants. */
export interface ViewPyramids {
  /** The seen view. */
  readonly source: Pyramid;
  /** The opposite view. */
  readonly target: Pyramid;
  /** Edge weights of the seen view, by scale. */
  readonly sourceEdges: readonly EdgeWeights[];
  /** Edge weights of the opposite view, by scale. */
  readonly targetEdges: readonly EdgeWeights[];
}

/**
 * Prepares a batch of pairs.
 *
 * @param source The seen view in [0,1], [B,H,W,3].
 * @param target The opposite view in [0,1], [B,H,W,3].
 * @param lossSize See {@linkcode imagePyramid}. @default "scale"
 */
export function viewPyramids(source: Tensor4D, target: Tensor4D, lossSize?: LossSize): ViewPyramids {
  return noGradient(() => {
    const edgesOf = (pyramid: Pyramid) => {
      const edges = new Map([...new Set(pyramid)].map((image) => [image, edgeWeights(image)]));
      return pyramid.map((image) => edges.get(image)!);
    };
    const pyramids = { source: imagePyramid(source, lossSize), target: imagePyramid(target, lossSize) };
    return { ...pyramids, sourceEdges: edgesOf(pyramids.source), targetEdges: edgesOf(pyramids.target) };
  });
}

/** A teacher's output for a student to learn from; constants. */
export interface DistillationTarget {
  /** The teacher's disparities at every scale, fractions of width, [B,H/2^s,W/2^s,2]. */
  readonly disparities: readonly Tensor4D[];
  /** The teacher's last decoder features, [B,H,W,C]. */
  readonly features: Tensor4D;
  /** 1 where the student follows the teacher, 0 elsewhere, at the finest scale, [B,H,W,2]. @default 1 everywhere */
  readonly mask?: Tensor4D;
}

/** What one network's synthesis is compared with: real images, also where the network sees a generated one. */
interface Reference {
  /** The real view that its input shows. */
  readonly input: Pyramid;
  readonly inputEdges: readonly EdgeWeights[];
  /** The real view that it should have synthesized. */
  readonly real: Pyramid;
  readonly realEdges: readonly EdgeWeights[];
  /** Which view that is. */
  readonly produced: View;
}

type SynthesisTerm = "photometric" | "consistency" | "smoothness";
/** What the three terms are called for each network. */
const TERMS_OF: Readonly<
  Record<"student" | "backward" | "refine", Readonly<Record<SynthesisTerm, TermName>>>
> = {
  student: { photometric: "photometric", consistency: "consistency", smoothness: "smoothness" },
  backward: { photometric: "cycle", consistency: "cycleConsistency", smoothness: "cycleSmoothness" },
  refine: { photometric: "refined", consistency: "refinedConsistency", smoothness: "refinedSmoothness" },
};

/** Photometric loss, consistency and smoothness of one network, summed over scales; those with a weight only. */
function synthesisTerms(
  network: keyof typeof TERMS_OF,
  { aligned, synthesized }: Synthesis,
  { input, inputEdges, real, realEdges, produced }: Reference,
  weights: Partial<LossWeights>,
  options: ObjectiveOptions,
): Terms {
  const { ssimWeight = SSIM_WEIGHT, photometricViews = "both", normalizeSmoothness, occlusionMask } = options;
  const names = TERMS_OF[network];
  const sums: Partial<Record<TermName, Scalar[]>> = {};
  const add = (term: TermName, value: Scalar) => (sums[term] ??= []).push(value);
  aligned.forEach(({ target, source }, s) => {
    const compare = (view: View, made: Tensor4D, seen: Tensor4D, own: Tensor4D, other: Tensor4D) => {
      const compared = occlusionMask
        ? tf.where<Tensor4D>(
          noGradient(() => tf.tile(tf.cast(visiblePixels(own, other, view), "bool"), [1, 1, 1, 3])),
          made,
          seen,
        )
        : made;
      add(names.photometric, photometricLoss(compared, seen, ssimWeight));
    };
    if (weights[names.photometric]) {
      if (photometricViews !== "source") compare(produced, synthesized[s], real[s], target, source);
      if (photometricViews !== "target") {
        const view = opposite(produced);
        compare(view, warp(real[s], source, view, options), input[s], source, target);
      }
    }
    if (weights[names.consistency]) {
      const widths = target.shape[2] / CONSISTENCY_WIDTH;
      add(names.consistency, tf.mul(consistencyLoss(target, source, produced, options), widths));
    }
    if (weights[names.smoothness]) {
      const both = tf.add(
        smoothnessLoss(target, realEdges[s], normalizeSmoothness),
        smoothnessLoss(source, inputEdges[s], normalizeSmoothness),
      );
      add(names.smoothness, tf.div(both, 2 ** s));
    }
  });
  return Object.fromEntries(Object.entries(sums).map(([term, values]) => [term, tf.addN(values) as Scalar]));
}

/**
 * What a student learns from a teacher's output. Call it outside of the differentiated function.
 *
 * @param teacher The teacher's chain with its refine network, run on the same views.
 * @param masked Follow the teacher only where the view that it synthesizes has a lower photometric error than that of
 * the student in its chain.
 */
export function distillationTarget(
  teacher: Chain,
  views: ViewPyramids,
  options: ObjectiveOptions = {},
  masked: boolean = false,
): DistillationTarget {
  const { view = "left", ssimWeight } = options;
  const { student, refined } = teacher;
  if (!refined) throw new RangeError("Cannot distill: the teacher's chain has no refine network");
  const { disparities, features } = refined.prediction;
  if (!masked) return { disparities, features };
  const better = betterPixels(
    refined.synthesized[0],
    student.synthesized[0],
    views.target[0],
    ssimWeight,
  );
  const betterInSource = warp(better, refined.aligned[0].source, view, options);
  return { disparities, features, mask: tf.concat([better, betterInSource], 3) };
}

function distillationTerms(
  student: Prediction,
  teacher: DistillationTarget,
  weights: Partial<LossWeights>,
): Terms {
  const terms: Terms = {};
  if (weights.distillation) {
    const perScale = student.disparities.map((d, s) =>
      disparityDistillation(d, teacher.disparities[s], s === 0 ? teacher.mask : undefined)
    );
    terms.distillation = tf.addN(perScale) as Scalar;
  }
  if (weights.featureDistillation) {
    terms.featureDistillation = featureDistillation(student.features, teacher.features);
  }
  return terms;
}

/** A map at a scale of the pyramid: averaged over the pixels that one of the scale covers. */
function atScale(map: Tensor4D, { shape: [, height] }: Tensor4D): Tensor4D {
  const factor = map.shape[1] / height;
  return factor === 1 ? map : tf.avgPool(map, factor, factor, "valid");
}

/**
 * The student's disparities against hints: the mean over the pixels that have one, where those that do not count are 0;
 * summed over scales and over the channels that photometric terms train.
 */
function hintTerm(
  { aligned, synthesized }: Synthesis,
  hints: AlignedDisparity,
  views: ViewPyramids,
  options: ObjectiveOptions,
): Scalar {
  const { view = "left", ssimWeight, photometricViews, hintMask = true } = options;
  const channels = photometricViews === "source" ? ["source"] as const : ["target", "source"] as const;
  return tf.addN(channels.map((channel) => {
    const hint = hints[channel];
    const [counted, share] = noGradient(() => {
      const known = tf.cast(tf.greater(hint, 0), "float32") as Tensor4D;
      if (!hintMask) return [known, 1] as const;
      const [real] = views[channel], [other] = views[channel === "source" ? "target" : "source"];
      const produced = channel === "source" ? view : opposite(view);
      const own = channel === "target" ? synthesized[0] : warp(other, aligned[0].source, produced, options);
      const better = betterPixels(warp(other, hint, produced, options), own, real, ssimWeight);
      const counted = tf.mul<Tensor4D>(known, better);
      return [counted, tf.div(tf.sum(counted), tf.maximum(tf.sum(known), 1))] as const;
    });
    const perScale = aligned.map(({ [channel]: disparity }) => {
      const [mean, weight] = noGradient(() => {
        const weight = atScale(counted, disparity);
        const mean = tf.div(atScale(tf.mul(hint, counted), disparity), tf.maximum(weight, 1e-6));
        return [tf.maximum(mean, 1e-6) as Tensor4D, weight];
      });
      return disparityDistillation(disparity, mean, weight);
    });
    return tf.mul(tf.addN(perScale), share);
  })) as Scalar;
}

/**
 * Computes the terms that have a weight other than 0 and whose part of the chain was run.
 *
 * @param chain The output of `runChain` for the seen view.
 * @param teacher The teacher's output, where there is distillation.
 * @param hints Disparity hints of the pairs' own cameras, where there are any: fractions of width, 0 = unknown, [B,H,W,1].
 * @returns Scalars, each the sum over scales of the means over pixels.
 */
export function lossTerms(
  chain: Chain,
  views: ViewPyramids,
  weights: Partial<LossWeights>,
  options: ObjectiveOptions = {},
  teacher?: DistillationTarget,
  hints?: AlignedDisparity,
): Terms {
  const { view = "left" } = options;
  const forward: Reference = {
    input: views.source,
    inputEdges: views.sourceEdges,
    real: views.target,
    realEdges: views.targetEdges,
    produced: opposite(view),
  };
  const terms: Terms = synthesisTerms("student", chain.student, forward, weights, options);
  if (chain.backward) {
    const back: Reference = {
      // The generated image is no reference: cloning the student's disparity would reproduce it exactly.
      input: views.target,
      inputEdges: views.targetEdges,
      real: views.source,
      realEdges: views.sourceEdges,
      produced: view,
    };
    Object.assign(terms, synthesisTerms("backward", chain.backward, back, weights, options));
  }
  if (chain.refined) {
    Object.assign(terms, synthesisTerms("refine", chain.refined, forward, weights, options));
  }
  if (teacher) Object.assign(terms, distillationTerms(chain.student.prediction, teacher, weights));
  if (hints && weights.hint) terms.hint = hintTerm(chain.student, hints, views, options);
  return terms;
}

/** The weighted sum of the terms. */
export function totalLoss(terms: Terms, weights: Partial<LossWeights>): Scalar {
  const weighted = Object.entries(terms).map(([name, term]) => tf.mul(term, weights[name as TermName] ?? 0));
  return tf.addN(weighted) as Scalar;
}
