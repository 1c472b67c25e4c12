import { assertEquals } from "../_assert.ts";
import { compile } from "../../lib/backend/compile.ts";
import { selectBackend } from "../../lib/backend/select.ts";
import { type Tensor4D, tf } from "../../lib/backend/tf.ts";
import { checkGradients, seededTensor } from "../_finite_differences.ts";

const info = await selectBackend({ backend: "cpu" });

Deno.test("the cpu backend is chosen when asked for, and says what it is good for", () => {
  assertEquals(info.name, "cpu");
  assertEquals(tf.getBackend(), "cpu");
  assertEquals(/tiny tests/.test(info.reason), true);
});

const sizes: readonly [number, number][] = [[10, 14], [8, 4], [3, 4]];
for (const [height, width] of sizes) {
  for (const [align, half] of [[false, false], [false, true], [true, false]]) {
    const name = `${align ? "aligned corners" : half ? "half-pixel centers" : "top-left corners"}`;
    Deno.test(`cpu: the gradients of both resizes to ${height}x${width}, ${name}, agree with finite differences`, () => {
      tf.tidy(() => {
        const x = seededTensor<Tensor4D>([2, 5, 7, 2], 3);
        checkGradients((x) => tf.image.resizeBilinear(x as Tensor4D, [height, width], align, half), [x]);
        checkGradients((x) => tf.image.resizeNearestNeighbor(x as Tensor4D, [height, width], align, half), [
          x,
        ]);
      });
    });
  }
}

Deno.test("cpu: a small network's gradients agree with finite differences", () => {
  tf.tidy(() => {
    checkGradients(
      (x, w, b) =>
        tf.abs(tf.mean(tf.elu(tf.add(tf.conv2d(x as Tensor4D, w as Tensor4D, 2, "same"), b)), [1, 2])),
      [seededTensor([2, 5, 6, 3], 1), seededTensor([3, 3, 3, 2], 2), seededTensor([2], 3)],
      { tolerance: 5e-3 },
    );
  });
});

Deno.test("cpu: the gradients of average pooling agree with finite differences", () => {
  tf.tidy(() => {
    checkGradients((x) => tf.avgPool(x as Tensor4D, 3, 1, "valid"), [seededTensor([2, 5, 7, 2], 3)]);
    checkGradients((x) => tf.avgPool(x as Tensor4D, 2, 2, "valid"), [seededTensor([2, 4, 6, 2], 3)]);
  });
});

Deno.test("cpu: a compiled function is the function itself", () => {
  let calls = 0;
  const f = compile((x: Tensor4D) => {
    calls++;
    return tf.square(x).dataSync();
  });
  tf.tidy(() => assertEquals([...f(tf.fill([1, 1, 1, 2], 3)), ...f(tf.fill([1, 1, 1, 2], 2))], [9, 9, 4, 4]));
  assertEquals([calls, f.traces.length], [2, 0]);
  f.dispose();
});
