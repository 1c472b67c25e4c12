/**
 * How much a synthesised view differs from the real one.
 *
 * @module
 */
import { type Scalar, type Tensor4D, tf } from "../backend/tf.ts";

/** Weight of SSIM against L1 in the photometric loss (Godard et al. 2017). */
export const SSIM_WEIGHT = 0.85;
/** SSIM's stabilisers for intensities in [0,1] (Wang et al. 2004). */
export const SSIM_C1 = 0.01 ** 2;
/** See {@linkcode SSIM_C1}. */
export const SSIM_C2 = 0.03 ** 2;

/** Mean over every 3×3 window that lies inside: [B,H,W,C] → [B,H−2,W−2,C]. */
function windowMean(x: Tensor4D): Tensor4D {
  return tf.avgPool(x, 3, 1, "valid");
}

/**
 * Structural similarity over 3×3 windows, without padding.
 *
 * @param a Image in [0,1], [B,H,W,C].
 * @param b Image in [0,1], [B,H,W,C].
 * @returns SSIM in [−1,1], [B,H−2,W−2,C]; 1 where the windows are equal.
 */
export function ssim(a: Tensor4D, b: Tensor4D): Tensor4D {
  return tf.tidy(() => {
    const meanA = windowMean(a);
    const meanB = windowMean(b);
    const meanAB = tf.mul(meanA, meanB);
    const squares = tf.add(tf.square(meanA), tf.square(meanB));
    const covariance = tf.sub(windowMean(tf.mul(a, b)), meanAB);
    const variances = tf.sub(windowMean(tf.add(tf.square(a), tf.square(b))), squares);
    const above = tf.mul(tf.add(tf.mul(meanAB, 2), SSIM_C1), tf.add(tf.mul(covariance, 2), SSIM_C2));
    const below = tf.mul(tf.add(squares, SSIM_C1), tf.add(variances, SSIM_C2));
    return tf.div(above, below);
  });
}

/**
 * Photometric loss: 0.85 · (1 − SSIM)/2 + 0.15 · L1, each averaged over the image (METHOD.md, losses).
 *
 * @param estimate The synthesised view in [0,1], [B,H,W,C]; gradients flow into it.
 * @param target The real view in [0,1], [B,H,W,C].
 * @param ssimWeight Share of SSIM, 0 to 1.
 * @returns Scalar in [0,1].
 */
export function photometricLoss(
  estimate: Tensor4D,
  target: Tensor4D,
  ssimWeight: number = SSIM_WEIGHT,
): Scalar {
  return tf.tidy(() => {
    const l1 = tf.mean(tf.abs(tf.sub(estimate, target)));
    const dissimilarity = tf.mean(tf.clipByValue(tf.div(tf.sub(1, ssim(estimate, target)), 2), 0, 1));
    return tf.add(tf.mul(dissimilarity, ssimWeight), tf.mul(l1, 1 - ssimWeight)) as Scalar;
  });
}
