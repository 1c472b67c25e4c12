/**
 * What the loss terms are made of: the photometric loss, how much a synthesized view differs from the real one; and losses
 * on disparities: edge-aware smoothness, left-right consistency, distillation from a teacher.
 *
 * @module
 */
import { defineOp, noGradient } from "../backend/ops.ts";
import { type Scalar, type Tensor4D, tf } from "../backend/tf.ts";
import { CyclopsError } from "../base/errors.ts";
import { opposite, type View, warp, type WarpOptions } from "../geometry/warp.ts";

/** Weight of SSIM against L1 in the photometric loss (Godard et al. 2017). */
export const SSIM_WEIGHT = 0.85;
/** SSIM's stabilizers for intensities in [0,1] (Wang et al. 2004). */
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
 * [B,H,W,C] as [1,H,W,B·C]: 3×3 averages over many channels take a third of the time of those over three, and all else
 * is elementwise.
 */
function pixelsFirst(x: Tensor4D): Tensor4D {
  const [batch, height, width, channels] = x.shape;
  const pixels = tf.transpose(tf.reshape(x, [batch, height * width, channels]), [1, 0, 2]);
  return tf.reshape(pixels, [1, height, width, batch * channels]);
}

/** The inverse of {@linkcode pixelsFirst}. */
function batchFirst(x: Tensor4D, shape: Tensor4D["shape"]): Tensor4D {
  const [batch, height, width, channels] = shape;
  return tf.reshape(tf.transpose(tf.reshape(x, [height * width, batch, channels]), [1, 0, 2]), shape);
}

/** The transpose of {@linkcode windowMean}. */
function spreadWindows(x: Tensor4D): Tensor4D {
  return windowMean(tf.pad(x, [[0, 0], [2, 2], [2, 2], [0, 0]]));
}

/**
 * The loss and its gradient with respect to the estimate. With window means μ, variances and covariance σ of x
 * (estimate) and y (target), S = A₁A₂ / (B₁B₂), A₁ = 2μₓμᵧ + C₁, A₂ = 2σₓᵧ + C₂, B₁ = μₓ² + μᵧ² + C₁,
 * B₂ = σₓ² + σᵧ² + C₂, the derivative of a window's S with respect to one of its pixels is (2/9) (R + y·P − x·Q), with
 * P = A₁/(B₁B₂), Q = S/B₂ and R = μᵧ·(A₂/(B₁B₂) − P) + μₓ·(Q − S/B₁).
 */
function lossAndGradient(x: Tensor4D, y: Tensor4D, ssimWeight: number): [Scalar, Tensor4D] {
  const meanX = windowMean(x);
  const meanY = windowMean(y);
  const product = tf.mul(meanX, meanY);
  const products = tf.add(product, product);
  const squares = tf.add(tf.square(meanX), tf.square(meanY));
  const moment = windowMean(tf.mul(x, y));
  const a1 = tf.add(products, SSIM_C1);
  const a2 = tf.sub(tf.add(tf.add(moment, moment), SSIM_C2), products);
  const b1 = tf.add(squares, SSIM_C1);
  const b2 = tf.sub(tf.add(windowMean(tf.add(tf.square(x), tf.square(y))), SSIM_C2), squares);
  const inverse = tf.div(1, tf.mul(b1, b2));
  const p = tf.mul(a1, inverse) as Tensor4D;
  const similarity = tf.mul(p, a2);
  const q = tf.div(similarity, b2) as Tensor4D;
  const r = tf.add(
    tf.mul(meanY, tf.sub(tf.mul(a2, inverse), p)),
    tf.mul(meanX, tf.sub(q, tf.div(similarity, b1))),
  ) as Tensor4D;
  const difference = tf.sub(x, y);

  const dissimilarity = tf.mul(tf.sub(1, tf.mean(similarity)), ssimWeight / 2);
  const loss = tf.add(dissimilarity, tf.mul(tf.mean(tf.abs(difference)), 1 - ssimWeight)) as Scalar;
  const slope = tf.add(spreadWindows(r), tf.sub(tf.mul(y, spreadWindows(p)), tf.mul(x, spreadWindows(q))));
  const gradient = tf.add(
    tf.mul(slope, -ssimWeight / similarity.size),
    tf.mul(tf.sign(difference), (1 - ssimWeight) / x.size),
  );
  return [loss, gradient as Tensor4D];
}

const photometric = defineOp<{ readonly ssimWeight: number }>({
  name: "CyclopsPhotometric",
  inputs: ["estimate", "target"],
  forward: ([estimate, target], { ssimWeight }) => {
    const views = [estimate, target].map((view) => pixelsFirst(view as Tensor4D));
    const [loss, gradient] = lossAndGradient(views[0], views[1], ssimWeight);
    return [loss, batchFirst(gradient, estimate.shape as Tensor4D["shape"])];
  },
  gradients: (dy, _inputs, [, gradient]) => [
    () => tf.mul(gradient, dy),
    () => {
      throw new CyclopsError("Cannot differentiate the photometric loss by its target: swap the two images");
    },
  ],
});

/**
 * Photometric loss: 0.85 · (1 − SSIM)/2 + 0.15 · L1, each averaged over the image (Godard et al. 2017).
 *
 * @param estimate The synthesized view in [0,1], [B,H,W,C]; gradients flow into it.
 * @param target The real view in [0,1], [B,H,W,C], a constant.
 * @param ssimWeight Share of SSIM, 0 to 1.
 * @returns Scalar in [0,1].
 */
export function photometricLoss(
  estimate: Tensor4D,
  target: Tensor4D,
  ssimWeight: number = SSIM_WEIGHT,
): Scalar {
  return tf.tidy(() => photometric([estimate, target], { ssimWeight })[0] as Scalar);
}

/**
 * The photometric error at every pixel, for masks and pictures: SSIM of the windows around it, repeated at the rim.
 *
 * @param estimate Image in [0,1], [B,H,W,C]. @param target The real one.
 * @returns [B,H,W,1], in [0,1].
 */
export function photometricMap(
  estimate: Tensor4D,
  target: Tensor4D,
  ssimWeight: number = SSIM_WEIGHT,
): Tensor4D {
  return tf.tidy(() => {
    const inner = tf.div(tf.sub(1, tf.mean(ssim(estimate, target), 3, true)), 2) as Tensor4D;
    const dissimilarity = tf.image.resizeNearestNeighbor(inner, [estimate.shape[1], estimate.shape[2]]);
    const l1 = tf.mean(tf.abs(tf.sub(estimate, target)), 3, true);
    return tf.add(tf.mul(dissimilarity, ssimWeight), tf.mul(l1, 1 - ssimWeight)) as Tensor4D;
  });
}

/**
 * Where one synthesis of a view is better than another: 1 where its {@linkcode photometricMap} is the lower one, 0
 * elsewhere, [B,H,W,1].
 */
export function betterPixels(
  one: Tensor4D,
  other: Tensor4D,
  target: Tensor4D,
  ssimWeight: number = SSIM_WEIGHT,
): Tensor4D {
  return tf.tidy(() => {
    const [a, b] = [one, other].map((image) => photometricMap(image, target, ssimWeight));
    return tf.cast(tf.less(a, b), "float32") as Tensor4D;
  });
}

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

/** By how much a disparity may be smaller than the other view's and still show the same surface: a share of it, and px. */
const SAME_SURFACE = { share: 0.05, px: 1 } as const;

/**
 * Which pixels of a view are seen in the opposite view, too: those that lie inside of it, where the opposite view shows
 * nothing nearer. From the disparities of both views, as consistency is; a constant.
 *
 * @param own Aligned with `view`, fraction of width, [B,H,W,1].
 * @param other Aligned with the opposite view, fraction of width, [B,H,W,1].
 * @returns 1 where a pixel is seen, 0 elsewhere, [B,H,W,1].
 */
export function visiblePixels(own: Tensor4D, other: Tensor4D, view: View): Tensor4D {
  return noGradient(() => {
    const inside = tf.greater(warp(tf.onesLike(own), own, view, { border: "zero" }), 0.5);
    const { share, px } = SAME_SURFACE;
    const farthest = tf.add(tf.mul(own, 1 + share), px / own.shape[2]);
    const nothingNearer = tf.lessEqual(warp(other, own, view), farthest);
    return tf.cast(tf.logicalAnd(inside, nothingNearer), "float32") as Tensor4D;
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
