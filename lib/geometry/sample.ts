/**
 * Bilinear sampling along x with gradients for image and disparity. tfjs has no differentiable sampler
 * (`image.transform` has no gradient).
 *
 * @module
 */
import { defineOp } from "../backend/ops.ts";
import { type Tensor, type Tensor1D, type Tensor4D, tf } from "../backend/tf.ts";

/** How samples are taken. */
export interface SampleAttributes {
  /** px to move for a disparity of 1: minus or plus the width. */
  readonly shift: number;
  /** Black beyond the edges, instead of the edge pixel. */
  readonly zero: boolean;
}

/** Columns of black on either side that stand for what lies beyond the image. */
function rim(zero: boolean): [number, number] {
  return zero ? [1, 1] : [0, 0];
}

/** [B,H,W,C] as pixels, [B·H·W,C]; with black columns where they may be sampled. */
function pixelsOf(image: Tensor4D, zero: boolean): Tensor {
  const padded = zero ? tf.pad(image, [[0, 0], [0, 0], rim(zero), [0, 0]]) : image;
  return tf.reshape(padded, [-1, image.shape[3]]);
}

/**
 * Both pixels next to each sample, as positions among {@linkcode pixelsOf}, int32 [B·H·W], and the weight of the
 * second, [B·H·W,1]. Beyond an edge both are the edge pixel, so that the weight does not matter.
 */
function neighbors(disparity: Tensor4D, { shift, zero }: SampleAttributes): [Tensor1D, Tensor1D, Tensor] {
  const [batch, height, width] = disparity.shape;
  const rows = batch * height;
  const columns = width + rim(zero)[0] + rim(zero)[1];
  const int = (value: number) => tf.scalar(value, "int32");
  const grid = tf.tensor1d(Float32Array.from({ length: width }, (_, x) => x + rim(zero)[0]));
  const x = tf.add(tf.mul(tf.reshape(disparity, [rows, width]), shift), grid);
  const left = tf.floor(x);
  // A disparity that is not a number must not become an index out of range: it shows in the loss.
  const column = tf.maximum(tf.cast(tf.clipByValue(left, -1, columns - 1), "int32"), int(-1));
  const starts = tf.tensor2d(
    Int32Array.from({ length: rows }, (_, row) => row * columns),
    [rows, 1],
    "int32",
  );
  const at = (column: Tensor) => tf.reshape(tf.add(column, starts), [-1]) as Tensor1D;
  const before = at(tf.maximum(column, int(0)));
  const after = at(tf.minimum(tf.add(column, int(1)), int(columns - 1)));
  return [before, after, tf.reshape(tf.sub(x, left), [-1, 1])];
}

const sample = defineOp<SampleAttributes>({
  name: "CyclopsSample",
  inputs: ["image", "disparity"],
  forward: ([image, disparity], attributes) => {
    const [before, after, weight] = neighbors(disparity as Tensor4D, attributes);
    const pixels = pixelsOf(image as Tensor4D, attributes.zero);
    const first = tf.gather(pixels, before);
    const step = tf.sub(tf.gather(pixels, after), first);
    const sampled = tf.reshape(tf.add(first, tf.mul(step, weight)), image.shape);
    return [sampled, before, after, weight, step];
  },
  gradients: (dy, [image, disparity], [, before, after, weight, step], { shift, zero }) => {
    const [batch, height, width, channels] = image.shape;
    const up = tf.reshape(dy, [-1, channels]);
    return [
      () => {
        const second = tf.mul(up, weight);
        const columns = width + rim(zero)[0] + rim(zero)[1];
        const spread = (values: Tensor, at: Tensor) =>
          tf.unsortedSegmentSum(values, at as Tensor1D, batch * height * columns);
        const sum = tf.add(spread(tf.sub(up, second), before), spread(second, after));
        const padded = tf.reshape(sum, [batch, height, columns, channels]);
        return tf.slice(padded, [0, 0, rim(zero)[0], 0], image.shape as [number, number, number, number]);
      },
      () => tf.reshape(tf.mul(tf.sum(tf.mul(up, step), 1), shift), disparity.shape),
    ];
  },
});

/**
 * out(x) = image(x + shift · disparity(x)), row by row. The signs live in `geometry/warp.ts`; call that.
 *
 * @param image [B,H,W,C].
 * @param disparity Fraction of width, [B,H,W,1].
 * @returns [B,H,W,C].
 */
export function sampleAlongX(image: Tensor4D, disparity: Tensor4D, attributes: SampleAttributes): Tensor4D {
  return sample([image, disparity], attributes)[0] as Tensor4D;
}
