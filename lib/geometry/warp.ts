/**
 * Inverse warping between the views of a rectified stereo pair. This module is the only home of the disparity's sign:
 *
 *     left(x)  = right(x − d_left · W)
 *     right(x) = left(x + d_right · W)
 *
 * Disparity is a fraction of the image width, ≥ 0, aligned with the view being produced (METHOD.md, geometry).
 *
 * @module
 */
import { type Tensor4D, tf } from "../backend/tf.ts";
import { sampleAlongX, type SampleAttributes } from "./sample.ts";

/** A view of the stereo pair. */
export type View = "left" | "right";

/** The other view. */
export function opposite(view: View): View {
  return view === "left" ? "right" : "left";
}

/** What is read beyond the image's left and right edges: black, or the edge pixel. */
export type Border = "zero" | "edge";

/** Options of {@linkcode warp}. */
export interface WarpOptions {
  /** What lies beyond the image. @default "edge" */
  readonly border?: Border;
}

/**
 * Produces one view from the opposite one, by bilinear sampling along x.
 *
 * Differentiable with respect to the image and the disparity (a sample moves linearly between two pixels). With border
 * "edge", pixels sampled beyond the image pass no gradient to the disparity.
 *
 * @param image The opposite view, or any map of it, [B,H,W,C].
 * @param disparity Aligned with the view to be produced, fraction of width, [B,H,W,1].
 * @param produced Which view comes out.
 * @returns The produced view, [B,H,W,C].
 *
 * @example
 * ```ts
 * import { tf } from "../backend/tf.ts";
 * import { warp } from "./warp.ts";
 *
 * const right = tf.tensor4d([10, 20, 30, 40], [1, 1, 4, 1]);
 * const disparity = tf.fill([1, 1, 4, 1], 1 / 4) as typeof right; // one pixel
 * warp(right, disparity, "left").dataSync(); // [10, 10, 20, 30]
 * ```
 */
export function warp(
  image: Tensor4D,
  disparity: Tensor4D,
  produced: View,
  options: WarpOptions = {},
): Tensor4D {
  const [, height, width] = image.shape;
  const [, h, w, c] = disparity.shape;
  if (h !== height || w !== width || c !== 1 || image.shape[0] !== disparity.shape[0]) {
    throw new RangeError(
      `Cannot warp an image of shape [${image.shape}]: the disparity has shape [${disparity.shape}], ` +
        `wanted [${image.shape[0]},${height},${width},1]`,
    );
  }
  return sampleAlongX(image, disparity, samplingOf(produced, width, options));
}

/** Where a warp samples: the sign of the disparity and what lies beyond the image. */
export function samplingOf(produced: View, width: number, options: WarpOptions = {}): SampleAttributes {
  return { shift: produced === "left" ? -width : width, zero: options.border === "zero" };
}

/** Mirrors a batch left to right: [B,H,W,C] → [B,H,W,C]. */
export function mirror(x: Tensor4D): Tensor4D {
  return tf.reverse(x, 2);
}
