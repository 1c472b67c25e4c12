/**
 * Bilinear sampling along x with gradients for image and disparity, as the kernel `CyclopsSample`. tfjs has no
 * differentiable sampler (`image.transform` has no gradient), and its gather is slow where every pixel moves.
 *
 * @module
 */
import { defineKernel, type HostTensor } from "../backend/own_kernels.ts";
import { type Tensor, type Tensor1D, type Tensor4D, tf } from "../backend/tf.ts";

/** How samples are taken. */
export interface SampleAttributes {
  /** px to move for a disparity of 1: minus or plus the width. */
  readonly shift: number;
  /** Black beyond the edges, instead of the edge pixel. */
  readonly zero: boolean;
}

/** Where each output pixel is sampled: two pixels of its row and the weight of the second. */
export interface Places {
  /** Position among all B·H·W pixels; one past the last stands for black. */
  readonly before: Int32Array;
  readonly after: Int32Array;
  /** Weight of `after`, 0 to 1. Beyond an edge both neighbours are the edge pixel. */
  readonly weight: Float32Array;
}

/** Finds the {@linkcode Places} of every pixel of a disparity, [B,H,W,1]. */
export function locate(disparity: HostTensor, { shift, zero }: SampleAttributes): Places {
  const [batch, height, width] = disparity.shape;
  const values = disparity.values;
  const pixels = values.length;
  const before = new Int32Array(pixels);
  const after = new Int32Array(pixels);
  const weight = new Float32Array(pixels);
  const last = width - 1;
  for (let row = 0, pixel = 0; row < batch * height; row++) {
    const start = row * width;
    for (let column = 0; column < width; column++, pixel++) {
      const x = column + shift * values[pixel];
      const left = Math.floor(x);
      if (left >= 0 && left < last) {
        before[pixel] = start + left;
        after[pixel] = start + left + 1;
        weight[pixel] = x - left;
      } else if (zero) {
        before[pixel] = left >= 0 && left <= last ? start + left : pixels;
        after[pixel] = left >= -1 && left < last ? start + left + 1 : pixels;
        weight[pixel] = x - left;
      } else before[pixel] = after[pixel] = start + (left < 0 ? 0 : last);
    }
  }
  return { before, after, weight };
}

/** The image with a black pixel behind it, where {@linkcode Places} may point. */
function withBlack(image: HostTensor, zero: boolean): Float32Array {
  if (!zero) return image.values;
  const padded = new Float32Array(image.values.length + image.shape[3]);
  padded.set(image.values);
  return padded;
}

function sampleHost(image: HostTensor, disparity: HostTensor, attributes: SampleAttributes): HostTensor {
  const channels = image.shape[3];
  const from = withBlack(image, attributes.zero);
  const out = new Float32Array(image.values.length);
  const { before, after, weight } = locate(disparity, attributes);
  for (let pixel = 0, o = 0; pixel < weight.length; pixel++) {
    const w = weight[pixel];
    let a = before[pixel] * channels;
    let b = after[pixel] * channels;
    for (const end = o + channels; o < end; o++, a++, b++) out[o] = from[a] + w * (from[b] - from[a]);
  }
  return { values: out, shape: image.shape };
}

function disparityGradientHost(
  dy: HostTensor,
  image: HostTensor,
  disparity: HostTensor,
  attributes: SampleAttributes,
): HostTensor {
  const channels = image.shape[3];
  const from = withBlack(image, attributes.zero);
  const up = dy.values;
  const { before, after, weight } = locate(disparity, attributes);
  const out = new Float32Array(weight.length);
  for (let pixel = 0, o = 0; pixel < weight.length; pixel++) {
    let a = before[pixel] * channels;
    let b = after[pixel] * channels;
    let slope = 0;
    for (const end = o + channels; o < end; o++, a++, b++) slope += up[o] * (from[b] - from[a]);
    out[pixel] = slope * attributes.shift;
  }
  return { values: out, shape: disparity.shape };
}

function imageGradientHost(
  dy: HostTensor,
  image: HostTensor,
  disparity: HostTensor,
  attributes: SampleAttributes,
): HostTensor {
  const channels = image.shape[3];
  const up = dy.values;
  const { before, after, weight } = locate(disparity, attributes);
  const out = new Float32Array(image.values.length + channels); // the last pixel takes what falls on black
  for (let pixel = 0, o = 0; pixel < weight.length; pixel++) {
    const w = weight[pixel];
    let a = before[pixel] * channels;
    let b = after[pixel] * channels;
    for (const end = o + channels; o < end; o++, a++, b++) {
      out[a] += up[o] * (1 - w);
      out[b] += up[o] * w;
    }
  }
  return { values: out.subarray(0, image.values.length), shape: image.shape };
}

interface Neighbours {
  /** Row-major positions among all B·H·W pixels, [B·H·W], int32. */
  readonly before: Tensor1D;
  readonly after: Tensor1D;
  /** Weights, 0 for black, [B·H·W,1]. */
  readonly weightBefore: Tensor;
  readonly weightAfter: Tensor;
  /** d weight / d x, [B·H·W,1]. */
  readonly slopeBefore: Tensor;
  readonly slopeAfter: Tensor;
}

function neighboursOf(disparity: Tensor4D, { shift, zero }: SampleAttributes): Neighbours {
  const [batch, height, width] = disparity.shape;
  const pixels = batch * height * width;
  const last = width - 1;
  const x = tf.add(tf.mul(disparity, shift), tf.reshape(tf.range(0, width), [1, 1, width, 1]));
  const left = tf.floor(x);
  const right = tf.add(left, 1);
  const fraction = tf.reshape(tf.sub(x, left), [pixels, 1]);
  const between = (q: Tensor, low: number, high: number) =>
    tf.reshape(
      tf.mul(tf.cast(tf.greaterEqual(q, low), "float32"), tf.cast(tf.lessEqual(q, high), "float32")),
      [pixels, 1],
    );
  const rows = tf.reshape(
    tf.mul(tf.range(0, batch * height, 1, "int32"), tf.scalar(width, "int32")),
    [batch, height, 1, 1],
  );
  const at = (q: Tensor) =>
    tf.reshape(tf.add(rows, tf.cast(tf.clipByValue(q, 0, last), "int32")), [pixels]) as Tensor1D;
  if (zero) {
    const insideBefore = between(left, 0, last);
    const insideAfter = between(right, 0, last);
    return {
      before: at(left),
      after: at(right),
      weightBefore: tf.mul(tf.sub(1, fraction), insideBefore),
      weightAfter: tf.mul(fraction, insideAfter),
      slopeBefore: tf.neg(insideBefore),
      slopeAfter: insideAfter,
    };
  }
  const moves = between(left, 0, last - 1);
  return {
    before: at(left),
    after: at(right),
    weightBefore: tf.sub(1, fraction),
    weightAfter: fraction,
    slopeBefore: tf.neg(moves),
    slopeAfter: moves,
  };
}

/** [B,H,W,C] as pixels: [B·H·W,C]. */
function flatten(image: Tensor4D): Tensor {
  const [batch, height, width, channels] = image.shape;
  return tf.reshape(image, [batch * height * width, channels]);
}

function samplePortable(image: Tensor4D, disparity: Tensor4D, attributes: SampleAttributes): Tensor {
  const n = neighboursOf(disparity, attributes);
  const pixels = flatten(image);
  const mixed = tf.add(
    tf.mul(tf.gather(pixels, n.before), n.weightBefore),
    tf.mul(tf.gather(pixels, n.after), n.weightAfter),
  );
  return tf.reshape(mixed, image.shape);
}

function disparityGradientPortable(
  dy: Tensor4D,
  image: Tensor4D,
  disparity: Tensor4D,
  a: SampleAttributes,
): Tensor {
  const n = neighboursOf(disparity, a);
  const pixels = flatten(image);
  const slope = tf.add(
    tf.mul(tf.gather(pixels, n.before), n.slopeBefore),
    tf.mul(tf.gather(pixels, n.after), n.slopeAfter),
  );
  return tf.reshape(tf.mul(tf.sum(tf.mul(flatten(dy), slope), 1, true), a.shift), disparity.shape);
}

function imageGradientPortable(
  dy: Tensor4D,
  image: Tensor4D,
  disparity: Tensor4D,
  a: SampleAttributes,
): Tensor {
  const n = neighboursOf(disparity, a);
  const up = flatten(dy);
  const spread = (at: Tensor1D, weight: Tensor) =>
    tf.unsortedSegmentSum(tf.mul(up, weight), at, up.shape[0]!);
  return tf.reshape(tf.add(spread(n.before, n.weightBefore), spread(n.after, n.weightAfter)), image.shape);
}

/** Gradients as kernels too, so that they take the fast path where there is one. */
const disparityGradient = defineKernel<SampleAttributes>({
  name: "CyclopsSampleDisparityGradient",
  inputs: ["dy", "image", "disparity"],
  host: ([dy, image, disparity], a) => [disparityGradientHost(dy, image, disparity, a)],
  portable: (
    [dy, image, disparity],
    a,
  ) => [disparityGradientPortable(dy as Tensor4D, image as Tensor4D, disparity as Tensor4D, a)],
});
const imageGradient = defineKernel<SampleAttributes>({
  name: "CyclopsSampleImageGradient",
  inputs: ["dy", "image", "disparity"],
  host: ([dy, image, disparity], a) => [imageGradientHost(dy, image, disparity, a)],
  portable: (
    [dy, image, disparity],
    a,
  ) => [imageGradientPortable(dy as Tensor4D, image as Tensor4D, disparity as Tensor4D, a)],
});
const sample = defineKernel<SampleAttributes>({
  name: "CyclopsSample",
  inputs: ["image", "disparity"],
  host: ([image, disparity], a) => [sampleHost(image, disparity, a)],
  portable: ([image, disparity], a) => [samplePortable(image as Tensor4D, disparity as Tensor4D, a)],
  gradients: (dy, [image, disparity], _outputs, a) => [
    () => imageGradient([dy, image, disparity], a)[0],
    () => disparityGradient([dy, image, disparity], a)[0],
  ],
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
