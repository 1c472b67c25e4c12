import { assert, assertEquals, assertThrows } from "../_assert.ts";
import { selectBackend } from "../../lib/backend/select.ts";
import { type Tensor, type Tensor1D, type Tensor2D, type Tensor4D, tf } from "../../lib/backend/tf.ts";
import {
  checkGradients,
  type Differentiable,
  type GradientCheck,
  seededTensor,
} from "../_finite_differences.ts";

await selectBackend({ backend: "tensorflow" });

interface Case {
  readonly f: Differentiable;
  readonly inputs: () => Tensor[];
  readonly check?: GradientCheck;
}

/** A batch of two non-square images with three channels. */
const images = (seed: number, options?: Parameters<typeof seededTensor>[2]) => [
  seededTensor([2, 5, 7, 3], seed, options),
];
const convolution = (
  size: readonly [number, number],
  kernel: number,
  stride: number,
  pad: "same" | "valid",
): Case => ({
  f: (x, w) => tf.conv2d(x as Tensor4D, w as Tensor4D, stride, pad),
  inputs: () => [seededTensor([2, ...size, 3], 1), seededTensor([kernel, kernel, 3, 4], 2)],
});
const resize = (
  to: [number, number],
  method: "bilinear" | "nearest",
  align: boolean,
  half: boolean,
): Case => ({
  f: (x) =>
    method === "bilinear"
      ? tf.image.resizeBilinear(x as Tensor4D, to, align, half)
      : tf.image.resizeNearestNeighbor(x as Tensor4D, to, align, half),
  inputs: () => images(3),
});
const unary = (f: (x: Tensor) => Tensor, options?: Parameters<typeof seededTensor>[2]): Case => ({
  f: (x) => f(x),
  inputs: () => images(4, options),
});
const pair = (
  f: (a: Tensor, b: Tensor) => Tensor,
  shapeB: number[],
  options?: { low: number; high: number },
): Case => ({
  f: (a, b) => f(a, b),
  inputs: () => [seededTensor([2, 5, 7, 3], 5, options), seededTensor(shapeB, 6, options)],
});
const indices = (values: number[], shape: [number, number]) => tf.tensor2d(values, shape, "int32");

const cases: Record<string, Case> = {
  "conv2d 3x3, same padding, odd size": convolution([5, 7], 3, 1, "same"),
  "conv2d 3x3, same padding, even size": convolution([4, 6], 3, 1, "same"),
  "conv2d 3x3, stride 2, odd size": convolution([5, 7], 3, 2, "same"),
  "conv2d 3x3, stride 2, even size": convolution([4, 6], 3, 2, "same"),
  "conv2d 3x3, stride 2, mixed size": convolution([5, 6], 3, 2, "same"),
  "conv2d 7x7, stride 2": convolution([9, 12], 7, 2, "same"),
  "conv2d 5x5, stride 2, even size": convolution([6, 8], 5, 2, "same"),
  "conv2d 1x1, stride 2": convolution([5, 6], 1, 2, "same"),
  "conv2d valid padding": convolution([5, 7], 3, 1, "valid"),
  "conv2d valid padding, stride 2": convolution([6, 7], 3, 2, "valid"),
  "transposed conv2d": {
    f: (x, w) => tf.conv2dTranspose(x as Tensor4D, w as Tensor4D, [2, 10, 14, 4], 2, "same"),
    inputs: () => [seededTensor([2, 5, 7, 3], 1), seededTensor([3, 3, 4, 3], 2)],
  },
  "depthwise conv2d": {
    f: (x, w) => tf.depthwiseConv2d(x as Tensor4D, w as Tensor4D, 1, "same"),
    inputs: () => [seededTensor([2, 5, 7, 3], 1), seededTensor([3, 3, 3, 1], 2)],
  },
  "depthwise conv2d, stride 2": {
    f: (x, w) => tf.depthwiseConv2d(x as Tensor4D, w as Tensor4D, 2, "same"),
    inputs: () => [seededTensor([2, 5, 8, 3], 1), seededTensor([3, 3, 3, 2], 2)],
  },
  "avgPool 3x3 valid": unary((x) => tf.avgPool(x as Tensor4D, 3, 1, "valid")),
  "avgPool 3x2 valid": unary((x) => tf.avgPool(x as Tensor4D, [3, 2], 1, "valid")),
  "avgPool 2x2 in tiles": {
    f: (x) => tf.avgPool(x as Tensor4D, 2, 2, "valid"),
    inputs: () => [seededTensor([2, 4, 6, 3], 3)],
  },
  "avgPool 2x2 same, odd size": unary((x) => tf.avgPool(x as Tensor4D, 2, 2, "same")),
  "maxPool 3x3, stride 2, same": {
    f: (x) => tf.maxPool(x as Tensor4D, 3, 2, "same"),
    inputs: () => [wellSeparated([2, 5, 7, 3])],
    check: { step: 1e-3 },
  },
  "maxPool 2x2": {
    f: (x) => tf.maxPool(x as Tensor4D, 2, 2, "valid"),
    inputs: () => [wellSeparated([2, 4, 6, 3])],
    check: { step: 1e-3 },
  },
  "matMul": {
    f: (a, b) => tf.matMul(a as Tensor2D, b as Tensor2D),
    inputs: () => [seededTensor([4, 5], 1), seededTensor([5, 3], 2)],
  },
  "batched matMul, first transposed": {
    f: (a, b) => tf.matMul(a, b, true),
    inputs: () => [seededTensor([2, 5, 4], 1), seededTensor([2, 5, 3], 2)],
  },
  "elu": unary((x) => tf.elu(x), { away: 0.02 }),
  "relu": unary((x) => tf.relu(x), { away: 0.02 }),
  "leakyRelu": unary((x) => tf.leakyRelu(x, 0.1), { away: 0.02 }),
  "sigmoid": unary((x) => tf.sigmoid(x), { low: -4, high: 4 }),
  "tanh": unary((x) => tf.tanh(x), { low: -3, high: 3 }),
  "softplus": unary((x) => tf.softplus(x)),
  "exp": unary((x) => tf.exp(x)),
  "log": unary((x) => tf.log(x), { low: 0.5, high: 2 }),
  "sqrt": unary((x) => tf.sqrt(x), { low: 0.5, high: 2 }),
  "rsqrt": unary((x) => tf.rsqrt(x), { low: 0.5, high: 2 }),
  "square": unary((x) => tf.square(x)),
  "pow": unary((x) => tf.pow(x, 3)),
  "reciprocal": unary((x) => tf.reciprocal(x), { low: 0.5, high: 2 }),
  "neg": unary((x) => tf.neg(x)),
  "abs": unary((x) => tf.abs(x), { away: 0.02 }),
  "clipByValue": unary((x) => tf.clipByValue(tf.sub(x, 0.5), 0, 1), { low: 0.55, high: 1.4, away: 0.02 }),
  "clipByValue, some outside": {
    f: (x) => tf.clipByValue(x, -0.5, 0.5),
    inputs: () => [tf.tensor([-0.9, -0.6, -0.4, 0, 0.3, 0.48, 0.55, 2], [2, 4])],
  },
  "cos and sin": unary((x) => tf.add(tf.sin(x), tf.cos(x))),
  "floor has no slope": unary((x) => tf.add(x, tf.floor(tf.mul(x, 1e-3))), { low: 0.1 }),
  "cast to int has no slope": unary((x) => tf.mul(x, tf.cast(tf.cast(tf.mul(x, 0.5), "int32"), "float32")), {
    low: 2.1,
    high: 3.9,
  }),
  "add": pair((a, b) => tf.add(a, b), [2, 5, 7, 3]),
  "add, bias": pair((a, b) => tf.add(a, b), [3]),
  "sub, broadcast": pair((a, b) => tf.sub(a, b), [2, 5, 7, 1]),
  "mul": pair((a, b) => tf.mul(a, b), [2, 5, 7, 3]),
  "mul, broadcast": pair((a, b) => tf.mul(a, b), [2, 5, 7, 1]),
  "mul, scalar": pair((a, b) => tf.mul(a, b), []),
  "div": pair((a, b) => tf.div(a, b), [2, 5, 7, 3], { low: 0.5, high: 2 }),
  "div, broadcast": pair((a, b) => tf.div(a, b), [1, 5, 1, 3], { low: 0.5, high: 2 }),
  "squaredDifference": pair((a, b) => tf.squaredDifference(a, b), [2, 5, 7, 3]),
  "maximum": pair((a, b) => tf.maximum(tf.add(a, 0.7), tf.mul(b, 0.1)), [2, 5, 7, 3], {
    low: -0.5,
    high: 0.5,
  }),
  "minimum": pair((a, b) => tf.minimum(a, tf.add(b, 1.2)), [2, 5, 7, 3], { low: -0.5, high: 0.5 }),
  "addN": pair((a, b) => tf.addN([a, b, a]), [2, 5, 7, 3]),
  "sum over all": unary((x) => tf.sum(x)),
  "sum over two axes": unary((x) => tf.sum(x, [1, 3])),
  "sum, kept dimension": unary((x) => tf.sum(x, 2, true)),
  "mean over all": unary((x) => tf.mean(x)),
  "mean over space": unary((x) => tf.mean(x, [1, 2])),
  "mean of the last axis, kept": unary((x) => tf.mean(x, -1, true)),
  "max over an axis": {
    f: (x) => tf.max(x, 3),
    inputs: () => [wellSeparated([2, 3, 4, 3])],
    check: { step: 1e-3 },
  },
  "min over an axis, kept": {
    f: (x) => tf.min(x, 3, true),
    inputs: () => [wellSeparated([2, 3, 4, 3])],
    check: { step: 1e-3 },
  },
  "prod": unary((x) => tf.prod(x, 3), { low: 0.5, high: 1.5 }),
  "cumsum": unary((x) => tf.cumsum(x, 2)),
  "softmax": unary((x) => tf.softmax(x)),
  "concat of channels": {
    f: (a, b, c) => tf.concat([a, b, c], 3),
    inputs:
      () => [seededTensor([2, 3, 4, 3], 1), seededTensor([2, 3, 4, 1], 2), seededTensor([2, 3, 4, 2], 3)],
  },
  "concat of batches": {
    f: (a, b) => tf.mul(tf.concat([a, b], 0), tf.concat([b, a], 0)),
    inputs: () => [seededTensor([2, 3, 4, 3], 1), seededTensor([2, 3, 4, 3], 2)],
  },
  "slice": unary((x) => tf.slice(x, [0, 1, 2, 0], [2, 3, 4, 2])),
  "split": unary((x) => tf.mul(tf.split(x, [1, 2], 3)[1], 2)),
  "stack and unstack": unary((x) => tf.mul(tf.stack(tf.unstack(x, 1), 0), tf.stack(tf.unstack(x, 1), 0))),
  "pad": unary((x) => tf.pad(x, [[0, 0], [1, 2], [3, 0], [0, 0]])),
  "mirrorPad, reflect": unary((x) => tf.mirrorPad(x, [[0, 0], [1, 1], [2, 3], [0, 0]], "reflect")),
  "mirrorPad, symmetric": unary((x) => tf.mirrorPad(x, [[0, 1], [1, 0], [2, 3], [0, 0]], "symmetric")),
  "reshape and transpose": unary((x) => tf.transpose(tf.reshape(x, [10, 7, 3]), [2, 0, 1])),
  "tile": unary((x) => tf.tile(x, [1, 2, 1, 3])),
  "broadcastTo": {
    f: (x) => tf.broadcastTo(x, [2, 4, 5, 3]),
    inputs: () => [seededTensor([2, 1, 5, 1], 3)],
  },
  "reverse": unary((x) => tf.reverse(x, [2])),
  "expandDims and squeeze": unary((x) => tf.squeeze(tf.expandDims(x, 1), [1])),
  "resizeNearest, twice the size": resize([10, 14], "nearest", false, false),
  "resizeNearest, to an odd size": resize([8, 9], "nearest", false, false),
  "resizeNearest down": resize([3, 4], "nearest", false, false),
  "resizeNearest, half-pixel centers": resize([8, 4], "nearest", false, true),
  "resizeNearest, aligned corners": resize([8, 9], "nearest", true, false),
  "resizeBilinear up, half-pixel centers": resize([10, 16], "bilinear", false, true),
  "resizeBilinear down, half-pixel centers": resize([3, 4], "bilinear", false, true),
  "resizeBilinear mixed, half-pixel centers": resize([8, 4], "bilinear", false, true),
  "resizeBilinear up": resize([10, 16], "bilinear", false, false),
  "resizeBilinear, aligned corners": resize([9, 4], "bilinear", true, false),
  "where": pair((a, b) => tf.where(tf.greater(a, 0), tf.mul(a, b), tf.sub(b, a)), [2, 5, 7, 3]),
  "where, with every comparison and logic": {
    f: (x) => {
      const inside = tf.logicalAnd(tf.greaterEqual(x, -0.6), tf.lessEqual(x, 0.6));
      const outside = tf.logicalOr(
        tf.less(x, -0.8),
        tf.notEqual(tf.cast(x, "int32"), tf.zerosLike(tf.cast(x, "int32"))),
      );
      const equal = tf.equal(tf.floor(x), tf.zerosLike(x));
      const chosen = tf.where(tf.logicalNot(inside), tf.mul(x, 3), tf.square(x));
      return tf.where(outside, chosen, tf.where(equal, tf.mul(chosen, 2), chosen));
    },
    inputs: () => [tf.tensor([-1.5, -0.95, -0.7, -0.3, 0.2, 0.5, 0.7, 1.3], [2, 4])],
  },
  "gather of rows": {
    f: (x) => tf.gather(x, tf.tensor1d([1, 3, 1, 0, 3, 3], "int32")),
    inputs: () => [seededTensor([5, 4], 1)],
  },
  "gather, 2-D indices": {
    f: (x) => tf.gather(x, indices([0, 2, 2, 1, 4, 0], [2, 3])),
    inputs: () => [seededTensor([5, 4], 1)],
  },
  "gather along a middle axis": {
    f: (x) => tf.gather(x, tf.tensor1d([2, 0, 2, 1], "int32"), 1),
    inputs: () => [seededTensor([2, 3, 4], 1)],
  },
  "gather, batched": {
    f: (x) => tf.gather(x, indices([2, 0, 2, 1, 1, 0], [2, 3]), 1, 1),
    inputs: () => [seededTensor([2, 3, 4], 1)],
  },
  "gather, indices computed from the input": {
    f: (x) => tf.gather(x, tf.cast(tf.mul(tf.slice(x as Tensor1D, 0, 3), 4), "int32")),
    inputs: () => [tf.tensor([0.1, 0.4, 0.7, 0.35, 0.6])],
  },
  "unsortedSegmentSum": {
    f: (x) => tf.unsortedSegmentSum(x, tf.tensor1d([1, 0, 1, 2], "int32"), 3),
    inputs: () => [seededTensor([4, 3], 1)],
  },
};

/** Values that differ by at least 0.01 from each other, shuffled, so that no maximum is tied. */
function wellSeparated(shape: number[]): Tensor {
  const size = shape.reduce((product, n) => product * n, 1);
  const values = Float32Array.from({ length: size }, (_, i) => ((i * 7919 + 13) % size) * 0.01);
  return tf.tensor(values, shape);
}

for (const [name, { f, inputs, check }] of Object.entries(cases)) {
  Deno.test(`the gradient of ${name} agrees with finite differences`, () => {
    tf.tidy(() => void checkGradients(f, inputs(), check));
  });
}

Deno.test("the gradient of |x| is 0 at 0", () => {
  tf.tidy(() => {
    const slope = tf.grad((x) => tf.sum(tf.abs(x)))(tf.tensor([-2, 0, 3]));
    assertEquals([...slope.dataSync()], [-1, 0, 1]);
  });
});

Deno.test("checkGradients refuses a wrong gradient, a missing input and a value that is not finite", () => {
  const wrong = tf.customGrad((x) => ({
    value: tf.square(x as Tensor),
    gradFunc: (dy: Tensor) => tf.mul(dy, tf.mul(x as Tensor, 2.02)),
  }));
  const x = seededTensor([3, 2], 1, { away: 0.1 });
  assertThrows(() => checkGradients((x) => wrong(x), [x]), Error, "finite differences");
  assertThrows(() => checkGradients((x) => tf.log(tf.sub(x, 5)), [x]), Error);
  assert(checkGradients((x) => tf.square(x), [x]) < 2e-3);
  x.dispose();
});
