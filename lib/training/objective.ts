/**
 * The named loss terms of the method and their weighted sum.
 *
 * @module
 */
import { type Scalar, type Tensor4D, tf } from "../backend/tf.ts";
import { detach, noGradient } from "../backend/gradients.ts";
import { opposite, type View, warp, type WarpOptions } from "../geometry/warp.ts";
import { type Chain, imagePyramid, type Pyramid, type Synthesis } from "../models/chain.ts";
import type { Prediction } from "../models/network.ts";
import { consistencyLoss } from "../losses/consistency.ts";
import { disparityDistillation, featureDistillation } from "../losses/distillation.ts";
import { photometricLoss, SSIM_WEIGHT } from "../losses/photometric.ts";
import { type EdgeWeights, edgeWeights, smoothnessLoss } from "../losses/smoothness.ts";

/** Every term, in the order in which they are logged. */
export const TERM_NAMES = [
  /** Student: synthesised against real opposite view. */
  "photometric",
  /** Student: its two disparities against each other. */
  "consistency",
  /** Student: edge-aware smoothness of both disparities. */
  "smoothness",
  /** Backward: re-synthesised against real input. */
  "cycle",
  "cycleConsistency",
  "cycleSmoothness",
  /** Refine: the view synthesised by the refined disparity against the real opposite view. */
  "refined",
  "refinedConsistency",
  "refinedSmoothness",
  /** Student's disparities against the teacher's. */
  "distillation",
  /** Student's decoder features against the teacher's. */
  "featureDistillation",
] as const;

/** A loss term's name. */
export type TermName = (typeof TERM_NAMES)[number];
/** A weight for every term; 0 leaves it uncomputed. */
export type TermWeights = Readonly<Record<TermName, number>>;
/** The computed terms, each summed over scales, before weighting. */
export type Terms = Partial<Record<TermName, Scalar>>;

/** Weight of smoothness at the finest scale; halved at every coarser one (Godard et al. 2017). */
export const SMOOTHNESS_WEIGHT = 0.1;

/** Options of the objective. */
export interface ObjectiveOptions extends WarpOptions {
  /** The view that is seen. */
  readonly view: View;
  /** Share of SSIM in the photometric terms. @default 0.85 */
  readonly ssimWeight?: number;
  /** Whether photometric terms look at the produced view alone, or at the seen one as well. @default "target" */
  readonly photometricViews?: "target" | "both";
}

/** A batch as the objective needs it: both views at every scale, and where their edges are. All constants. */
export interface Scene {
  /** The seen view. */
  readonly source: Pyramid;
  /** The opposite view. */
  readonly target: Pyramid;
  /** Edge weights of the seen view, by scale. */
  readonly sourceEdges: readonly EdgeWeights[];
  /** Edge weights of the opposite view, by scale. */
  readonly targetEdges: readonly EdgeWeights[];
}

/** Prepares a batch of image pairs, [B,H,W,3] in [0,1] each. */
export function prepareScene(source: Tensor4D, target: Tensor4D): Scene {
  return noGradient(() => {
    const pyramids = { source: imagePyramid(source), target: imagePyramid(target) };
    return {
      ...pyramids,
      sourceEdges: pyramids.source.map(edgeWeights),
      targetEdges: pyramids.target.map(edgeWeights),
    };
  });
}

interface Wanted {
  /** What the network saw. */
  readonly input: Pyramid;
  readonly inputEdges: readonly EdgeWeights[];
  /** What it should have synthesised. */
  readonly wanted: Pyramid;
  readonly wantedEdges: readonly EdgeWeights[];
  /** Which view that is. */
  readonly produced: View;
}

/** What a network's three synthesis terms are called. */
interface SynthesisNames {
  readonly photometric: TermName;
  readonly consistency: TermName;
  readonly smoothness: TermName;
}

const STUDENT_TERMS: SynthesisNames = {
  photometric: "photometric",
  consistency: "consistency",
  smoothness: "smoothness",
};
const BACKWARD_TERMS: SynthesisNames = {
  photometric: "cycle",
  consistency: "cycleConsistency",
  smoothness: "cycleSmoothness",
};
const REFINE_TERMS: SynthesisNames = {
  photometric: "refined",
  consistency: "refinedConsistency",
  smoothness: "refinedSmoothness",
};

/** Photometric loss, consistency and smoothness of one network, summed over scales; only terms with a weight. */
function synthesisTerms(
  synthesis: Synthesis,
  data: Wanted,
  names: SynthesisNames,
  weights: TermWeights,
  options: ObjectiveOptions,
): Terms {
  const { produced } = data;
  const sums: Partial<Record<TermName, Scalar[]>> = {};
  const add = (term: TermName, value: Scalar) => (sums[term] ??= []).push(value);
  synthesis.aligned.forEach(({ target: toTarget, source: toSource }, s) => {
    if (weights[names.photometric]) {
      const ssim = options.ssimWeight ?? SSIM_WEIGHT;
      add(names.photometric, photometricLoss(synthesis.synthesised[s], data.wanted[s], ssim));
      if (options.photometricViews === "both") {
        const back = warp(data.wanted[s], toSource, opposite(produced), options);
        // What was seen is what is wanted here: a generated image must not move towards its own reconstruction.
        add(names.photometric, photometricLoss(back, detach(data.input[s]), ssim));
      }
    }
    if (weights[names.consistency]) {
      add(names.consistency, consistencyLoss(toTarget, toSource, produced, options));
    }
    if (weights[names.smoothness]) {
      const both = tf.add(
        smoothnessLoss(toTarget, data.wantedEdges[s]),
        smoothnessLoss(toSource, data.inputEdges[s]),
      );
      add(names.smoothness, tf.div(both, 2 ** s));
    }
  });
  return Object.fromEntries(Object.entries(sums).map(([term, values]) => [term, tf.addN(values) as Scalar]));
}

/** What a student is to learn from a teacher; constants. */
export interface Lesson {
  /** The teacher's disparities, by scale, [B,H/2^s,W/2^s,2], fractions of the width. */
  readonly disparities: readonly Tensor4D[];
  /** The teacher's last decoder features, [B,H,W,C]. */
  readonly features: Tensor4D;
  /** 1 where the teacher is to be followed, at the finest scale, [B,H,W,2]. */
  readonly mask?: Tensor4D;
}

function distillationTerms(student: Prediction, lesson: Lesson, weights: TermWeights): Terms {
  const terms: Terms = {};
  if (weights.distillation) {
    const perScale = student.disparities.map((d, s) =>
      disparityDistillation(d, lesson.disparities[s], s === 0 ? lesson.mask : undefined)
    );
    terms.distillation = tf.addN(perScale) as Scalar;
  }
  if (weights.featureDistillation) {
    terms.featureDistillation = featureDistillation(student.features, lesson.features);
  }
  return terms;
}

/**
 * Computes every term that has a weight and whose part of the chain was run.
 *
 * @param lesson The teacher's output, where there is distillation.
 * @returns The terms, each summed over scales (METHOD.md, losses).
 */
export function computeTerms(
  chain: Chain,
  scene: Scene,
  weights: TermWeights,
  options: ObjectiveOptions,
  lesson?: Lesson,
): Terms {
  const forward: Wanted = {
    input: scene.source,
    inputEdges: scene.sourceEdges,
    wanted: scene.target,
    wantedEdges: scene.targetEdges,
    produced: opposite(options.view),
  };
  const terms: Terms = synthesisTerms(chain.student, forward, STUDENT_TERMS, weights, options);
  if (chain.backward && chain.generated) {
    const back: Wanted = {
      input: chain.generated,
      inputEdges: scene.targetEdges,
      wanted: scene.source,
      wantedEdges: scene.sourceEdges,
      produced: options.view,
    };
    Object.assign(terms, synthesisTerms(chain.backward, back, BACKWARD_TERMS, weights, options));
  }
  if (chain.refined) {
    Object.assign(terms, synthesisTerms(chain.refined, forward, REFINE_TERMS, weights, options));
  }
  if (lesson) Object.assign(terms, distillationTerms(chain.student.prediction, lesson, weights));
  return terms;
}

/** The weighted sum of the terms. */
export function totalLoss(terms: Terms, weights: TermWeights): Scalar {
  const weighted = Object.entries(terms).map(([name, term]) =>
    tf.mul(term, weights[name as TermName]) as Scalar
  );
  return tf.addN(weighted) as Scalar;
}
