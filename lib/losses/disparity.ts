/**
 * Losses on disparities: edge-aware smoothness, left-right consistency, and distillation from a teacher.
 *
 * @module
 */
import { type Scalar, type Tensor4D, tf } from "../backend/tf.ts";
import { opposite, type View, warp, type WarpOptions } from "../geometry/warp.ts";

/** Forward difference along x (axis 2) or y (axis 1): one shorter along that axis. */
function difference(x: Tensor4D, axis: 1 | 2): Tensor4D {
  const [batch, height, width, channels] = x.shape;
  const size: [number, number, number, number] = axis === 1
    ? [batch, height - 1, width, channels]
    : [batch, height, width - 1, channels];
  const from: [number, number, number, number] = axis === 1 ? [0, 1, 0, 0] : [0, 0, 1, 0];
  return tf.sub(tf.slice4d(x, from, size), tf.slice4d(x, [0, 0, 0, 0], size));
}

/** Weights exp(−|∇I|), averaged over color, along x and y; they depend on the image alone. */
export interface EdgeWeights {
  /** [B,H,W−1,1], in (0,1]. */
  readonly x: Tensor4D;
  /** [B,H−1,W,1], in (0,1]. */
  readonly y: Tensor4D;
}

/** Computes {@linkcode EdgeWeights} of an image in [0,1], [B,H,W,C]. */
export function edgeWeights(image: Tensor4D): EdgeWeights {
  const along = (axis: 1 | 2) =>
    tf.tidy(() => {
      const steps = tf.abs(difference(image, axis));
      const [batch, height, width, channels] = steps.shape;
      // TensorFlow averages a few channels faster as a matrix product than as a mean.
      const average = tf.fill([channels, 1], -1 / channels);
      const negative = tf.matMul(tf.reshape(steps, [-1, channels]), average);
      return tf.reshape(tf.exp(negative), [batch, height, width, 1]) as Tensor4D;
    });
  return { x: along(2), y: along(1) };
}

/**
 * Edge-aware smoothness (Godard et al. 2017): mean |∂d|·exp(−|∂I|), x plus y.
 *
 * @param disparity Fraction of width, [B,H,W,1].
 * @param weights {@linkcode edgeWeights} of the image that the disparity is aligned with; constants.
 * @param normalize Divide each disparity by its mean first, so that shrinking it does not pay (Wang et al. 2018).
 * @returns Scalar ≥ 0, fraction of width per px; 1 per px if normalized.
 */
export function smoothnessLoss(disparity: Tensor4D, weights: EdgeWeights, normalize = false): Scalar {
  return tf.tidy(() => {
    const mean = () => tf.add(tf.mean(disparity, [1, 2], true), 1e-7);
    const d = normalize ? tf.div<Tensor4D>(disparity, mean()) : disparity;
    return tf.add(
      tf.mean(tf.mul(tf.abs(difference(d, 2)), weights.x)),
      tf.mean(tf.mul(tf.abs(difference(d, 1)), weights.y)),
    ) as Scalar;
  });
}

/**
 * Left-right consistency (Godard et al. 2017): each disparity equals the other, warped into its view.
 *
 * @param target Aligned with `view`, fraction of width, [B,H,W,1].
 * @param source Aligned with the opposite view, fraction of width, [B,H,W,1].
 * @param view The view that `target` is aligned with.
 * @returns Scalar ≥ 0, fraction of width: the mean difference in one view plus that in the other.
 */
export function consistencyLoss(
  target: Tensor4D,
  source: Tensor4D,
  view: View,
  options: WarpOptions = {},
): Scalar {
  return tf.tidy(() => {
    const inTarget = tf.mean(tf.abs(tf.sub(warp(source, target, view, options), target)));
    const inSource = tf.mean(tf.abs(tf.sub(warp(target, source, opposite(view), options), source)));
    return tf.add(inTarget, inSource) as Scalar;
  });
}

/**
 * Mean |ln d_student − ln d_teacher|, over the pixels of a mask where one is given: relative errors, so that far
 * pixels count as near ones do. The teacher's output is a constant: compute it outside the differentiated function, so
 * that no gradient reaches the teacher.
 *
 * @param student Fraction of width, > 0, [B,H,W,C].
 * @param teacher Fraction of width, > 0, [B,H,W,C], a constant.
 * @param mask How much the student follows the teacher, 0 to 1, [B,H,W,C], a constant.
 * @returns Scalar ≥ 0.
 */
export function disparityDistillation(student: Tensor4D, teacher: Tensor4D, mask?: Tensor4D): Scalar {
  return tf.tidy(() => {
    const difference = tf.abs(tf.sub(tf.log(student), tf.log(teacher)));
    if (!mask) return tf.mean(difference) as Scalar;
    return tf.div(tf.sum(tf.mul(difference, mask)), tf.maximum(tf.sum(mask), 1)) as Scalar;
  });
}

/**
 * Mean squared distance of the last decoder features.
 *
 * @param student Features, [B,H,W,C].
 * @param teacher Features of the same shape, a constant.
 * @returns Scalar ≥ 0.
 */
export function featureDistillation(student: Tensor4D, teacher: Tensor4D): Scalar {
  return tf.tidy(() => tf.mean(tf.squaredDifference(student, teacher)) as Scalar);
}
