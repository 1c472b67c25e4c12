import { assertEquals, assertGreater, assertLess, assertStringIncludes } from "../_assert.ts";
import {
  checkPrecision,
  convolution2d,
  cpuFeatures,
  isNative,
  nativeTensorCount,
  type Precision,
} from "../../lib/backend/ops.ts";
import { selectBackend, type Tensor1D, type Tensor4D, tf } from "../../lib/backend/mod.ts";
import { checkGradients } from "../_finite_differences.ts";
import { distance, uniform } from "../_tensors.ts";

await selectBackend();

const bias = () => tf.tensor1d([0.3, -0.2, 0.1, 0.5]);

Deno.test("convolution, bias and ELU are tfjs's, values and gradients", () => {
  for (const [kernelSize, stride] of [[1, 1], [3, 1], [3, 2], [5, 2], [7, 1]] as const) {
    // Of few pixels a matrix product is made.
    for (const [activation, batch] of [["none", 1], ["elu", 1], ["elu", 7]] as const) {
      tf.tidy(() => {
        const x = uniform([batch, 7, 10, 3], 1, -1);
        const kernel = uniform([kernelSize, kernelSize, 3, 4], 2, -0.5, 0.5);
        const plain = tf.add(tf.conv2d(x, kernel, stride, "same"), bias());
        const ours = convolution2d(x, kernel, bias(), { stride, activation });
        const expected = activation === "elu" ? tf.elu(plain) : plain;
        assertLess(distance(ours.dataSync(), expected.dataSync()), 1e-5);
        checkGradients(
          (a, k, b) => convolution2d(a as Tensor4D, k as Tensor4D, b as Tensor1D, { stride, activation }),
          [x, kernel, bias()],
          { samples: 20, tolerance: 1e-2 },
        );
      });
    }
  }
});

Deno.test("with fewer outputs than inputs, gradients are the same; they are computed with the two swapped", () => {
  for (const padding of ["zero", "reflect"] as const) {
    for (const kernelSize of [1, 3, 5]) {
      tf.tidy(() => {
        checkGradients(
          (a, k, b) => convolution2d(a as Tensor4D, k as Tensor4D, b as Tensor1D, { stride: 1, padding }),
          [
            uniform([2, 8, 9, 5], 1, -1),
            uniform([kernelSize, kernelSize, 5, 2], 2, -0.5),
            tf.tensor1d([0.3, -0.2]),
          ],
          { samples: 40, tolerance: 1e-2 },
        );
      });
    }
  }
});

Deno.test("upsampling and convolution in one are the two one after the other, values and gradients", () => {
  for (const activation of ["none", "elu"] as const) {
    for (const [batch, height, width] of [[2, 3, 5], [3, 9, 11]] as const) { // below and above the threshold
      tf.tidy(() => {
        const x = uniform([batch, height, width, 3], 1, -1);
        const kernel = uniform([3, 3, 3, 4], 2, -0.5, 0.5);
        const twice = tf.image.resizeNearestNeighbor(x, [2 * height, 2 * width]);
        const plain = tf.add(tf.conv2d(twice, kernel, 1, "same"), bias());
        const attributes = { stride: 1, activation, upsample: true } as const;
        const ours = convolution2d(x, kernel, bias(), attributes);
        assertLess(
          distance(ours.dataSync(), (activation === "elu" ? tf.elu(plain) : plain).dataSync()),
          1e-5,
        );
        checkGradients(
          (a, k, b) => convolution2d(a as Tensor4D, k as Tensor4D, b as Tensor1D, attributes),
          [x, kernel, bias()],
          { samples: 36, tolerance: 1e-2 },
        );
      });
    }
  }
});

Deno.test("depthwise convolution with ReLU6 is tfjs's, values and gradients", () => {
  for (const [kernelSize, stride] of [[3, 1], [3, 2], [5, 1], [5, 2]] as const) {
    tf.tidy(() => {
      const x = uniform([2, 6, 9, 4], 1, -1);
      const kernel = uniform([kernelSize, kernelSize, 4, 1], 2, -0.5, 0.5);
      const attributes = { stride, activation: "relu6", depthwise: true } as const;
      const high = tf.tensor1d([5.9, 1, 3, 2]); // the first channel saturates
      const plain = tf.relu6(tf.add(tf.depthwiseConv2d(x, kernel, stride, "same"), high));
      assertLess(
        distance(convolution2d(x, kernel, high, attributes).dataSync(), plain.dataSync()),
        1e-5,
      );
      assertEquals(Math.max(...plain.dataSync()), 6);
      const smooth = tf.tensor1d([3, 1.5, 3, 2]); // far from both kinks
      checkGradients(
        (a, k, b) => convolution2d(a as Tensor4D, k as Tensor4D, b as Tensor1D, attributes),
        [tf.mul(x, 0.1), kernel, smooth],
        { samples: 20, tolerance: 1e-2 },
      );
    });
  }
});

Deno.test("with reflection padding convolution sees the image mirrored, gradients included", () => {
  tf.tidy(() => {
    const ramp = tf.tensor4d([1, 2, 3, 4], [1, 1, 4, 1]).tile([1, 3, 1, 1]) as Tensor4D;
    const left = tf.tensor4d([1, 0, 0], [1, 3, 1, 1]); // the left neighbor
    const zero = tf.tensor1d([0]);
    const shifted = convolution2d(ramp, left, zero, { stride: 1, padding: "reflect" });
    assertEquals([...shifted.dataSync()].slice(0, 4), [2, 1, 2, 3]);
    const kernel = uniform([3, 3, 2, 4], 2, -0.5, 0.5);
    for (const batch of [2, 8]) {
      checkGradients(
        (a, k, b) =>
          convolution2d(a as Tensor4D, k as Tensor4D, b as Tensor1D, {
            stride: 1,
            activation: "elu",
            padding: "reflect",
          }),
        [uniform([batch, 4, 5, 2], 1, -1), kernel, bias()],
        { samples: 40, tolerance: 1e-2 },
      );
    }
  });
});

Deno.test({
  name:
    "bf16 convolutions are float32's within bf16's precision, forwards and backwards, and leave nothing behind",
  ignore: !isNative(),
  fn() {
    const run = (precision: Precision) =>
      tf.tidy(() => {
        const x = uniform([2, 8, 12, 5], 1, -1);
        const kernel = uniform([3, 3, 5, 4], 2, -0.5, 0.5);
        const f = (a: Tensor4D, k: Tensor4D) =>
          tf.sum(tf.square(convolution2d(a, k, bias(), { stride: 2, activation: "elu", precision })));
        const [gx, gk] = tf.grads(f as Parameters<typeof tf.grads>[0])([x, kernel]);
        const y = convolution2d(x, kernel, bias(), { stride: 2, activation: "elu", precision });
        return { all: [...y.dataSync(), ...gx.dataSync(), ...gk.dataSync()] };
      }).all;
    const before = nativeTensorCount();
    const [wide, narrow] = [run("fp32"), run("bf16")];
    assertEquals(nativeTensorCount(), before);
    const size = Math.sqrt(wide.reduce((s, v) => s + v * v, 0) / wide.length);
    const error = Math.sqrt(wide.reduce((s, v, i) => s + (v - narrow[i]) ** 2, 0) / wide.length);
    assertLess(error / size, 0.01);
    assertGreater(error / size, 1e-5);
  },
});

Deno.test("bf16 is refused, with the reason, where the processor has none", () => {
  checkPrecision("fp32");
  let message = "";
  try {
    checkPrecision("bf16");
  } catch (error) {
    message = (error as Error).message;
  }
  if (cpuFeatures().bf16 && isNative()) assertEquals(message, "");
  else assertStringIncludes(message, "--precision fp32");
});
