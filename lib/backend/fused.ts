/**
 * Convolution, bias and ELU.
 *
 * @module
 */
import { type Tensor1D, type Tensor4D, tf } from "./tf.ts";

/** Convolution ("same" padding), bias and ELU: [B,H,W,inputs] → [B,⌈H/stride⌉,⌈W/stride⌉,outputs]. */
export function convolveElu(
  x: Tensor4D,
  weights: { readonly kernel: Tensor4D; readonly bias: Tensor1D },
  stride: 1 | 2 = 1,
): Tensor4D {
  return tf.elu(tf.add(tf.conv2d(x, weights.kernel, stride, "same"), weights.bias));
}
