/**
 * Distillation: the student learns from the teacher's output, a constant. Compute that outside the differentiated
 * function, so that no gradient reaches the teacher.
 *
 * @module
 */
import { type Scalar, type Tensor4D, tf } from "../backend/tf.ts";

/**
 * Mean |d_student − d_teacher|, over the pixels of a mask where one is given.
 *
 * @param student Fraction of width, [B,H,W,C].
 * @param teacher Fraction of width, [B,H,W,C], a constant.
 * @param mask 1 where the student follows the teacher, 0 elsewhere, [B,H,W,C], a constant.
 * @returns Scalar ≥ 0, fraction of width.
 */
export function disparityDistillation(student: Tensor4D, teacher: Tensor4D, mask?: Tensor4D): Scalar {
  return tf.tidy(() => {
    const difference = tf.abs(tf.sub(student, teacher));
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
