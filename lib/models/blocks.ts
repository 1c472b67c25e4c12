/**
 * The few layers the networks are made of. All tensors are NHWC float32.
 *
 * @module
 */
import { type Tensor1D, type Tensor4D, tf } from "../backend/tf.ts";
import { convolution2d, type Precision } from "../backend/convolution.ts";

/** A convolution's weights: kernel [k,k,inputs,outputs] and bias [outputs]. */
export interface Weights {
  readonly kernel: Tensor4D;
  readonly bias: Tensor1D;
  /** Number format of the multiplications. @default "fp32" */
  readonly precision?: Precision;
}

/** Convolution with "same" padding and bias: [B,H,W,inputs] → [B,⌈H/stride⌉,⌈W/stride⌉,outputs]. */
export function convolve(x: Tensor4D, weights: Weights, stride: 1 | 2 = 1): Tensor4D {
  return convolution2d(x, weights.kernel, weights.bias, { stride, elu: false, precision: weights.precision });
}

/** {@linkcode convolve} followed by ELU. */
export function convolveElu(x: Tensor4D, weights: Weights, stride: 1 | 2 = 1): Tensor4D {
  return convolution2d(x, weights.kernel, weights.bias, { stride, elu: true, precision: weights.precision });
}

/** Nearest-neighbour upsampling: [B,H,W,C] → [B,2H,2W,C]. */
export function upsample2(x: Tensor4D): Tensor4D {
  return tf.image.resizeNearestNeighbor(x, [x.shape[1] * 2, x.shape[2] * 2]);
}
