/**
 * The two disparities of a pair describe one world.
 *
 * @module
 */
import { defineKernel, type HostTensor, prefersHost } from "../backend/own_kernels.ts";
import { type Scalar, type Tensor4D, tf } from "../backend/tf.ts";
import { locate, type SampleAttributes } from "../geometry/sample.ts";
import { opposite, samplingOf, type View, warp, type WarpOptions } from "../geometry/warp.ts";

function consistencyPortable(target: Tensor4D, source: Tensor4D, view: View, options: WarpOptions): Scalar {
  const inTarget = tf.mean(tf.abs(tf.sub(warp(source, target, view, options), target)));
  const inSource = tf.mean(tf.abs(tf.sub(warp(target, source, opposite(view), options), source)));
  return tf.add(inTarget, inSource) as Scalar;
}

/** Mean |other, warped by `own` − own|; adds its gradients to those of both. */
function oneWay(
  own: HostTensor,
  other: HostTensor,
  attributes: SampleAttributes,
  ownGradient: Float32Array,
  otherGradient: Float32Array,
): number {
  const { before, after, weight } = locate(own, attributes);
  const pixels = weight.length;
  const from = other.values;
  let sum = 0;
  for (let i = 0; i < pixels; i++) {
    // One past the last pixel stands for black.
    const a = before[i] < pixels ? from[before[i]] : 0;
    const b = after[i] < pixels ? from[after[i]] : 0;
    const w = weight[i];
    const difference = a + w * (b - a) - own.values[i];
    sum += Math.abs(difference);
    const slope = Math.sign(difference) / pixels;
    ownGradient[i] += slope * ((b - a) * attributes.shift - 1);
    if (before[i] < pixels) otherGradient[before[i]] += slope * (1 - w);
    if (after[i] < pixels) otherGradient[after[i]] += slope * w;
  }
  return sum / pixels;
}

const consistency = defineKernel<SampleAttributes>({
  name: "CyclopsConsistency",
  inputs: ["target", "source"],
  host: ([target, source], { shift, zero }) => {
    const gradients = [target, source].map(({ values }) => new Float32Array(values.length));
    const loss = oneWay(target, source, { shift, zero }, gradients[0], gradients[1]) +
      oneWay(source, target, { shift: -shift, zero }, gradients[1], gradients[0]);
    return [
      { values: Float32Array.of(loss), shape: [] },
      { values: gradients[0], shape: target.shape },
      { values: gradients[1], shape: source.shape },
    ];
  },
  gradients: (dy, _inputs, [, target, source]) => [() => tf.mul(target, dy), () => tf.mul(source, dy)],
});

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
  return tf.tidy(() =>
    prefersHost()
      ? consistency([target, source], samplingOf(view, target.shape[2], options))[0] as Scalar
      : consistencyPortable(target, source, view, options)
  );
}
