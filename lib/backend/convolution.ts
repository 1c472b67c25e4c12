/**
 * Convolution with bias and ELU as the kernel `CyclopsConvolution`: on the tensorflow backend five of TensorFlow's own
 * operations for value and gradients, where tfjs would broadcast an addition, sum its gradient over three axes and
 * keep every intermediate. Other backends compose it of tfjs's operations.
 *
 * @module
 */
import { CyclopsError } from "../base/errors.ts";
import { cpuFeatures } from "./cpu.ts";
import {
  attr,
  type Attribute,
  execute,
  executeNative,
  isNative,
  type NativeInput,
  type NativeTensor,
} from "./native.ts";
import { defineOp } from "./custom_ops.ts";
import { currentBinding } from "./binding.ts";
import { type Tensor, type Tensor1D, type Tensor4D, tf } from "./tf.ts";

/** How a convolution is done. */
export interface ConvolutionAttributes {
  /** px between two results, in both directions. */
  readonly stride: 1 | 2;
  /** Apply ELU to the result. */
  readonly elu: boolean;
  /** Number format of the multiplications; inputs, results and weights stay float32. @default "fp32" */
  readonly precision?: Precision;
}

/** Number formats of a convolution's multiplications. */
export type Precision = "fp32" | "bf16";

/**
 * Checks that a number format pays on this machine.
 *
 * @throws {CyclopsError} When the backend or the processor has no bfloat16 arithmetic; it would be emulated, slower
 * than float32.
 */
export function checkPrecision(precision: Precision): void {
  if (precision === "fp32") return;
  if (!isNative()) {
    throw new CyclopsError(
      `Cannot compute in bf16: the backend is ${tf.getBackend()}, wanted tensorflow; use --precision fp32`,
    );
  }
  const { bf16, known, model } = cpuFeatures();
  if (bf16 || currentBinding()?.isUsingGpuDevice()) return;
  throw new CyclopsError(
    known
      ? `Cannot compute in bf16: this processor (${model}) has no bf16 instructions (avx512_bf16 or amx_bf16), it ` +
        "would be slower than fp32; use --precision fp32"
      : "Cannot compute in bf16: the processor's features could not be read from /proc/cpuinfo; use --precision fp32",
  );
}

const FLOAT = attr.type("T", "float32");

function convolutionAttributes(stride: number, precision: Precision): Attribute[] {
  return [
    attr.type("T", precision === "bf16" ? "bfloat16" : "float32"),
    attr.int("strides", [1, stride, stride, 1]),
    attr.string("padding", "SAME"),
    attr.string("data_format", "NHWC"),
    attr.bool("use_cudnn_on_gpu", true),
  ];
}

/**
 * Runs one of TensorFlow's convolution operations in the given format: float32 tensors go in and come out.
 *
 * @param integers Which inputs are sizes, not values.
 */
function convolve(
  name: string,
  stride: number,
  precision: Precision,
  inputs: readonly Tensor[],
  integers: readonly number[] = [],
): Tensor {
  const attributes = convolutionAttributes(stride, precision);
  if (precision === "fp32") return execute(name, attributes, inputs)[0];
  const narrow: NativeTensor[] = [];
  const cast: NativeInput[] = inputs.map((input, i) => {
    if (integers.includes(i)) return input;
    const [made] = executeNative("Cast", [attr.type("SrcT", "float32"), attr.type("DstT", "bfloat16")], [
      input,
    ]);
    narrow.push(made);
    return made;
  });
  try {
    const [result] = executeNative(name, attributes, cast);
    narrow.push(result);
    return execute("Cast", [attr.type("SrcT", "bfloat16"), attr.type("DstT", "float32")], [result])[0];
  } finally {
    for (const tensor of narrow) tensor.dispose();
  }
}

const convolution = defineOp<ConvolutionAttributes>({
  name: "CyclopsConvolution",
  inputs: ["x", "kernel", "bias"],
  forward: ([x, kernel, bias], { stride, elu, precision = "fp32" }) => {
    const z = convolve("Conv2D", stride, precision, [x, kernel]);
    const biased = execute("BiasAdd", [FLOAT, attr.string("data_format", "NHWC")], [z, bias])[0];
    return [elu ? execute("Elu", [FLOAT], [biased])[0] : biased];
  },
  gradients: (dy, [x, kernel], [y], { stride, elu, precision = "fp32" }) => {
    const dz = elu ? execute("EluGrad", [FLOAT], [dy, y])[0] : dy;
    const sizes = (t: Tensor) => tf.tensor1d(t.shape, "int32");
    return [
      () => convolve("Conv2DBackpropInput", stride, precision, [sizes(x), kernel, dz], [0]),
      () => convolve("Conv2DBackpropFilter", stride, precision, [x, sizes(kernel), dz], [1]),
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
