/**
 * Inverse warping between the views of a rectified stereo pair. This module is the only home of the disparity's sign:
 *
 *     left(x)  = right(x − d_left · W)
 *     right(x) = left(x + d_right · W)
 *
 * A disparity is a fraction of the image width, ≥ 0, aligned with the view being produced.
 *
 * @module
 */
import { defineOp } from "../backend/ops.ts";
import { type Tensor, type Tensor1D, type Tensor4D, tf } from "../backend/tf.ts";

/** A view of the stereo pair. */
export type View = "left" | "right";

/** The other view. */
export function opposite(view: View): View {
  return view === "left" ? "right" : "left";
}

/** Mirrors images left to right: [B,H,W,C] → [B,H,W,C]. */
export function mirror(x: Tensor4D): Tensor4D {
  return tf.reverse(x, 2);
}

/** What lies beyond the image's left and right edges: black, or the edge pixel. */
export type Border = "zero" | "edge";

/** Options of {@linkcode warp}. */
export interface WarpOptions {
  /** What lies beyond the image. @default "edge" */
  readonly border?: Border;
}

/**
 * Produces one view from the opposite one, by bilinear sampling along x.
 *
 * Differentiable with respect to image and disparity (a sample moves linearly between two pixels). With border "edge",
 * pixels sampled beyond the image pass no gradient to the disparity.
 *
 * @param image The opposite view, or any map of it, [B,H,W,C].
 * @param disparity Aligned with the view to be produced, fraction of width, [B,H,W,1].
 * @param produced The view to produce.
 * @returns [B,H,W,C], in the image's units.
 * @throws {RangeError} When the shapes do not fit.
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
  { border = "edge" }: WarpOptions = {},
): Tensor4D {
  const [batch, height, width] = image.shape;
  const expected = [batch, height, width, 1];
  if (!tf.util.arraysEqual(disparity.shape, expected)) {
    throw new RangeError(
      `Cannot warp an image of shape [${image.shape}]: the disparity has shape [${disparity.shape}], ` +
        `expected [${expected}]`,
    );
  }
  const shift = produced === "left" ? -width : width;
  return sample([image, disparity], { shift, zero: border === "zero" })[0] as Tensor4D;
}

// ---- Sampling: out(x) = image(x + shift · disparity(x)), row by row. tfjs has no sampler with a gradient.

interface Sampling {
  /** Displacement for a disparity of 1, px. */
  readonly shift: number;
  /** Black beyond the edges, instead of the edge pixel. */
  readonly zero: boolean;
}

/** Black columns to add on either side, for samples beyond the image. */
function rim(zero: boolean): number {
  return zero ? 1 : 0;
}

/**
 * The two pixels that each sample lies between, as rows of [B·H·(W+2·rim),C], int32 [B·H·W], and the weight of the
 * second, [B·H·W,1]. Beyond an edge both are the edge pixel, so that the weight does not matter.
 */
function neighbors(disparity: Tensor4D, { shift, zero }: Sampling): [Tensor1D, Tensor1D, Tensor] {
  const [batch, height, width] = disparity.shape;
  const rows = batch * height;
  const columns = width + 2 * rim(zero);
  const int = (value: number) => tf.scalar(value, "int32");
  const grid = tf.tensor1d(Float32Array.from({ length: width }, (_, x) => x + rim(zero)));
  const x = tf.add(tf.mul(tf.reshape(disparity, [rows, width]), shift), grid);
  const left = tf.floor(x);
  // A disparity that is not a number must not become an index out of range: it shows in the loss.
  const column = tf.maximum(tf.cast(tf.clipByValue(left, -1, columns - 1), "int32"), int(-1));
  const starts = tf.tensor2d(Int32Array.from({ length: rows }, (_, y) => y * columns), [rows, 1], "int32");
  const at = (column: Tensor) => tf.reshape(tf.add(column, starts), [-1]) as Tensor1D;
  const before = at(tf.maximum(column, int(0)));
  const after = at(tf.minimum(tf.add(column, int(1)), int(columns - 1)));
  return [before, after, tf.reshape(tf.sub(x, left), [-1, 1])];
}

const sample = defineOp<Sampling>({
  name: "CyclopsSample",
  inputs: ["image", "disparity"],
  forward: ([image, disparity], sampling) => {
    const [before, after, weight] = neighbors(disparity as Tensor4D, sampling);
    const margin = rim(sampling.zero);
    const padded = margin ? tf.pad(image, [[0, 0], [0, 0], [margin, margin], [0, 0]]) : image;
    const pixels = tf.reshape(padded, [-1, image.shape[3]!]);
    const first = tf.gather(pixels, before);
    const step = tf.sub(tf.gather(pixels, after), first);
    const sampled = tf.reshape(tf.add(first, tf.mul(step, weight)), image.shape);
    return [sampled, before, after, weight, step];
  },
  gradients: (dy, [image, disparity], [, before, after, weight, step], { shift, zero }) => {
    const [batch, height, width, channels] = image.shape as Tensor4D["shape"];
    const up = tf.reshape(dy, [-1, channels]);
    return [
      () => {
        const columns = width + 2 * rim(zero);
        const spread = (values: Tensor, at: Tensor) =>
          tf.unsortedSegmentSum(values, at as Tensor1D, batch * height * columns);
        const second = tf.mul(up, weight);
        const sum = tf.add(spread(tf.sub(up, second), before), spread(second, after));
        const padded = tf.reshape(sum, [batch, height, columns, channels]);
        return zero ? tf.slice(padded, [0, 0, 1, 0], [batch, height, width, channels]) : padded;
      },
      () => {
        const slopes = tf.mul(up, step);
        // A sum over a few channels is faster as a matrix product.
        const sum = channels === 1 ? tf.mul(slopes, shift) : tf.matMul(slopes, tf.fill([channels, 1], shift));
        return tf.reshape(sum, disparity.shape);
      },
    ];
  },
});
