/**
 * One walk through the chain of networks, as images and maps.
 *
 * @module
 */
import { type Tensor4D, tf } from "../backend/tf.ts";
import type { FloatMap } from "../data/image.ts";
import type { RgbImage } from "../data/image.ts";
import { warp } from "../geometry/warp.ts";
import { betterPixels } from "../losses/photometric.ts";
import { CLOSED_GATES, imagePyramid, runChain, type Synthesis } from "../models/chain.ts";
import { refineOptions } from "../training/options.ts";
import type { Pair } from "./matching.ts";
import { imageTensor, tensorImage, tensorMap } from "./tensors.ts";
import type { LessonModel } from "./training.ts";

/** What the networks make of one image; disparities are fractions of the width. */
export interface ChainWalk {
  /** The image that was seen. */
  readonly input: RgbImage;
  /** The real opposite view, which no network sees. */
  readonly opposite: RgbImage;
  /** The student's disparity of the input. */
  readonly disparity: FloatMap;
  /** The opposite view as the student generates it. */
  readonly generated: RgbImage;
  /** Mean |real − generated| opposite view: what the student's training lowers. */
  readonly synthesisError: FloatMap;
  /** Mean |input − re-synthesis by the real opposite view|, in the input's frame: what a privileged teacher sees. */
  readonly privileged: FloatMap;
  /** What came of the backward network, where there is one. */
  readonly cycle?: {
    /** The backward network's disparity of the generated view. */
    readonly disparity: FloatMap;
    /** The input as it comes back. */
    readonly resynthesised: RgbImage;
    /** Mean |input − re-synthesis|. */
    readonly inconsistency: FloatMap;
  };
  /** The refined disparity of the input, where there is a refine network. */
  readonly refined?: FloatMap;
  /** Where, in the opposite view, the refined disparity has the lower photometric error: 1, else 0. */
  readonly better?: FloatMap;
}

/**
 * Runs all networks of a model on one pair.
 *
 * @param pair At the model's size.
 */
export function walkChain(model: LessonModel, pair: Pair): ChainWalk {
  const { options, networks } = model;
  const { view, border, ssimWeight } = options;
  const [input, other] = view === "left" ? [pair.left, pair.right] : [pair.right, pair.left];
  let walk: ChainWalk | undefined;
  tf.tidy(() => {
    const source = imageTensor(input), target = imageTensor(other);
    const chain = runChain(networks, imagePyramid(source), {
      view,
      border,
      refine: refineOptions(options),
      gates: CLOSED_GATES,
      privileged: options.privilegedTeacher ? target : undefined,
    });
    const own = ({ aligned }: Synthesis) => tensorMap(aligned[0].source);
    const { student, backward, refined } = chain;
    walk = {
      input,
      opposite: other,
      disparity: own(student),
      generated: tensorImage(student.synthesized[0]),
      synthesisError: tensorMap(difference(target, student.synthesized[0])),
      privileged: tensorMap(difference(source, warp(target, student.aligned[0].source, view, { border }))),
      cycle: backward && {
        disparity: own(backward),
        resynthesised: tensorImage(backward.synthesized[0]),
        inconsistency: tensorMap(difference(source, backward.synthesized[0])),
      },
      refined: refined && own(refined),
      better: refined &&
        tensorMap(betterPixels(refined.synthesized[0], student.synthesized[0], target, ssimWeight)),
    };
  });
  return walk!;
}

/** Mean |a − b| over channels, [B,H,W,1]. */
function difference(a: Tensor4D, b: Tensor4D): Tensor4D {
  return tf.mean(tf.abs(tf.sub(a, b)), 3, true) as Tensor4D;
}
