/**
 * Left-right consistency: the two disparities of a pair describe one scene.
 *
 * @module
 */
import { type Scalar, type Tensor4D, tf } from "../backend/tf.ts";
import { opposite, type View, warp, type WarpOptions } from "../geometry/warp.ts";

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
