/**
 * Convolution with bias and ELU as the kernel `CyclopsConvolution`: on the tensorflow backend five of TensorFlow's own
 * operations for value and gradients, where tfjs would broadcast an addition, sum its gradient over three axes and
 * keep every intermediate. Other backends compose it of tfjs's operations.
 *
 * @module
 */
import { attr, type Attribute, execute, isNative } from "./native.ts";
import { defineKernel } from "./own_kernels.ts";
import { type Tensor, type Tensor1D, type Tensor4D, tf } from "./tf.ts";

/** How a convolution is done. */
export interface ConvolutionAttributes {
  /** px between two results, in both directions. */
  readonly stride: 1 | 2;
  /** Apply ELU to the result. */
  readonly elu: boolean;
}

const FLOAT = attr.type("T", "float32");

function convolutionAttributes(stride: number): Attribute[] {
  return [
    FLOAT,
    attr.int("strides", [1, stride, stride, 1]),
    attr.string("padding", "SAME"),
    attr.string("data_format", "NHWC"),
    attr.bool("use_cudnn_on_gpu", true),
  ];
}

const convolution = defineKernel<ConvolutionAttributes>({
  name: "CyclopsConvolution",
  inputs: ["x", "kernel", "bias"],
  native: ([x, kernel, bias], { stride, elu }) =>
    tf.tidy(() => {
      const z = execute("Conv2D", convolutionAttributes(stride), [x, kernel])[0];
      const biased = execute("BiasAdd", [FLOAT, attr.string("data_format", "NHWC")], [z, bias])[0];
      return [elu ? execute("Elu", [FLOAT], [biased])[0] : biased];
    }),
  gradients: (dy, [x, kernel], [y], { stride, elu }) => {
    const dz = elu ? execute("EluGrad", [FLOAT], [dy, y])[0] : dy;
    const attributes = convolutionAttributes(stride);
    const sizes = (t: Tensor) => tf.tensor1d(t.shape, "int32");
    return [
      () => execute("Conv2DBackpropInput", attributes, [sizes(x), kernel, dz])[0],
      () => execute("Conv2DBackpropFilter", attributes, [x, sizes(kernel), dz])[0],
      () => execute("BiasAddGrad", [FLOAT, attr.string("data_format", "NHWC")], [dz])[0],
    ];
  },
});

/**
 * Convolution with "same" padding and bias, and ELU if wanted.
 *
 * @param x [B,H,W,inputs].
 * @param kernel [k,k,inputs,outputs].
 * @param bias [outputs].
 * @returns [B,⌈H/stride⌉,⌈W/stride⌉,outputs].
 */
export function convolution2d(
  x: Tensor4D,
  kernel: Tensor4D,
  bias: Tensor1D,
  attributes: ConvolutionAttributes,
): Tensor4D {
  if (isNative()) return convolution([x, kernel, bias], attributes)[0] as Tensor4D;
  const y = tf.add(tf.conv2d(x, kernel, attributes.stride, "same"), bias) as Tensor4D;
  return attributes.elu ? tf.elu(y) : y;
}
