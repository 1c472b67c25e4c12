/**
 * Bilinear sampling along x as a TensorFlow.js kernel of ours, `CyclopsWarp`, with its own gradient: tfjs has no
 * differentiable sampler (`image.transform` has no gradient).
 *
 * @module
 */
import { type Tensor, type Tensor1D, type Tensor4D, tf } from "./tf.ts";

/** What `CyclopsWarp` needs to know besides its tensors. */
export interface WarpAttributes {
  /** px to move for a disparity of 1: minus or plus the width. */
  readonly shift: number;
  /** Black beyond the edges instead of the edge pixel. */
  readonly zero: boolean;
}

interface Samples {
  /** Row-major positions of the two neighbours among all B·H·W pixels, [B,H,W,1], int32. */
  readonly at0: Tensor4D;
  readonly at1: Tensor4D;
  /** Weights of the neighbours, [B,H,W,1]. */
  readonly w0: Tensor4D;
  readonly w1: Tensor4D;
  /** 1 where each neighbour lies inside the image; where moving the sample changes its value. */
  readonly inside0: Tensor4D;
  readonly inside1: Tensor4D;
  readonly moves: Tensor4D;
}

function samplesOf(disparity: Tensor4D, { shift }: WarpAttributes): Samples {
  const [batch, height, width] = disparity.shape;
  const column = tf.reshape(tf.range(0, width), [1, 1, width, 1]);
  const x = tf.add(tf.mul(disparity, shift), column) as Tensor4D;
  const left = tf.floor(x);
  const w1 = tf.sub(x, left) as Tensor4D;
  const last = width - 1;
  const within = (q: Tensor) =>
    tf.cast(tf.logicalAnd(tf.greaterEqual(q, 0), tf.lessEqual(q, last)), "float32");
  const row = tf.mul(tf.range(0, batch * height, 1, "int32"), tf.scalar(width, "int32"));
  const rows = tf.reshape(row, [batch, height, 1, 1]);
  const at = (q: Tensor) => tf.add(rows, tf.cast(tf.clipByValue(q, 0, last), "int32")) as Tensor4D;
  const right = tf.add(left, 1);
  return {
    at0: at(left),
    at1: at(right),
    w0: tf.sub(1, w1) as Tensor4D,
    w1,
    inside0: within(left) as Tensor4D,
    inside1: within(right) as Tensor4D,
    moves: within(x) as Tensor4D,
  };
}

function gatherPixels(image: Tensor4D, at: Tensor4D): Tensor4D {
  const [batch, height, width, channels] = image.shape;
  const flat = tf.reshape(image, [batch * height * width, channels]);
  return tf.reshape(tf.gather(flat, tf.reshape(at, [at.size]) as Tensor1D), [batch, height, width, channels]);
}

function warpPortable(image: Tensor4D, disparity: Tensor4D, attributes: WarpAttributes): Tensor4D {
  return tf.tidy(() => {
    const s = samplesOf(disparity, attributes);
    const w0 = attributes.zero ? tf.mul(s.w0, s.inside0) : s.w0;
    const w1 = attributes.zero ? tf.mul(s.w1, s.inside1) : s.w1;
    return tf.add(tf.mul(gatherPixels(image, s.at0), w0), tf.mul(gatherPixels(image, s.at1), w1));
  });
}

function disparityGradientPortable(
  dy: Tensor4D,
  image: Tensor4D,
  disparity: Tensor4D,
  a: WarpAttributes,
): Tensor4D {
  return tf.tidy(() => {
    const s = samplesOf(disparity, a);
    let before = gatherPixels(image, s.at0);
    let after = gatherPixels(image, s.at1);
    if (a.zero) {
      before = tf.mul(before, s.inside0);
      after = tf.mul(after, s.inside1);
    }
    const slope = tf.sum(tf.mul(dy, tf.sub(after, before)), 3, true);
    return tf.mul(a.zero ? slope : tf.mul(slope, s.moves), a.shift) as Tensor4D;
  });
}

function imageGradientPortable(
  dy: Tensor4D,
  image: Tensor4D,
  disparity: Tensor4D,
  a: WarpAttributes,
): Tensor4D {
  return tf.tidy(() => {
    const s = samplesOf(disparity, a);
    const [batch, height, width, channels] = image.shape;
    const pixels = batch * height * width;
    const spread = (at: Tensor4D, weight: Tensor4D) =>
      tf.unsortedSegmentSum(
        tf.reshape(tf.mul(dy, weight), [pixels, channels]),
        tf.reshape(at, [pixels]) as Tensor1D,
        pixels,
      );
    const w0 = a.zero ? tf.mul(s.w0, s.inside0) as Tensor4D : s.w0;
    const w1 = a.zero ? tf.mul(s.w1, s.inside1) as Tensor4D : s.w1;
    return tf.reshape(tf.add(spread(s.at0, w0), spread(s.at1, w1)), image.shape);
  });
}

interface KernelCall {
  readonly inputs: Record<string, unknown>;
  readonly attrs?: unknown;
}

for (const backendName of ["tensorflow", "webgpu", "cpu"]) {
  tf.registerKernel({
    kernelName: "CyclopsWarp",
    backendName,
    kernelFunc: ({ inputs, attrs }: KernelCall) =>
      warpPortable(
        inputs.image as Tensor4D,
        inputs.disparity as Tensor4D,
        attrs as unknown as WarpAttributes,
      ),
  });
}

tf.registerGradient({
  kernelName: "CyclopsWarp",
  inputsToSave: ["image", "disparity"],
  gradFunc: (dy, [image, disparity], attrs) => {
    const attributes = attrs as unknown as WarpAttributes;
    const args = [dy as Tensor4D, image as Tensor4D, disparity as Tensor4D, attributes] as const;
    return {
      image: () => imageGradientPortable(...args),
      disparity: () => disparityGradientPortable(...args),
    };
  },
});

/** Runs `CyclopsWarp`: image [B,H,W,C], disparity [B,H,W,1] → [B,H,W,C]; see `geometry/warp.ts`. */
export function runWarp(image: Tensor4D, disparity: Tensor4D, attributes: WarpAttributes): Tensor4D {
  return tf.engine().runKernel(
    "CyclopsWarp",
    { image, disparity },
    attributes as unknown as Parameters<ReturnType<typeof tf.engine>["runKernel"]>[2],
  ) as Tensor4D;
}
