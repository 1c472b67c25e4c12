/**
 * Edge-aware smoothness: disparity changes where the image does.
 *
 * @module
 */
import { type Scalar, type Tensor4D, tf } from "../backend/tf.ts";

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
 * @returns Scalar ≥ 0, fraction of width per px.
 */
export function smoothnessLoss(disparity: Tensor4D, weights: EdgeWeights): Scalar {
  return tf.tidy(() =>
    tf.add(
      tf.mean(tf.mul(tf.abs(difference(disparity, 2)), weights.x)),
      tf.mean(tf.mul(tf.abs(difference(disparity, 1)), weights.y)),
    ) as Scalar
  );
}
