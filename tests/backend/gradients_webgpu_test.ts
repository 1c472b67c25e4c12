import { assertEquals } from "../_assert.ts";
import { selectBackend } from "../../lib/backend/select.ts";
import { type Tensor4D, tf } from "../../lib/backend/tf.ts";
import { seededTensor } from "../_finite_differences.ts";

const adapter = await navigator.gpu?.requestAdapter();

/** ⟨resize(x), y⟩ = ⟨x, resizeGradient(y)⟩, because a resize is linear: WebGPU reads back only asynchronously. */
async function assertAdjoint(
  method: "bilinear" | "nearest",
  to: [number, number],
  align: boolean,
  half: boolean,
) {
  const resize = (x: Tensor4D) =>
    method === "bilinear"
      ? tf.image.resizeBilinear(x, to, align, half)
      : tf.image.resizeNearestNeighbor(x, to, align, half);
  const sums = tf.tidy(() => {
    const x = seededTensor<Tensor4D>([2, 5, 7, 2], 1);
    const y = seededTensor<Tensor4D>([2, ...to, 2], 2);
    const gradient = tf.grad((x) => tf.sum(tf.mul(resize(x as Tensor4D), y)))(x);
    return tf.stack([tf.sum(tf.mul(resize(x), y)), tf.sum(tf.mul(x, gradient))]);
  });
  const [forward, backward] = await sums.data();
  sums.dispose();
  assertEquals(
    Math.abs(forward - backward) < 1e-3 * Math.max(1, Math.abs(forward)),
    true,
    `${forward} ≠ ${backward}`,
  );
}

Deno.test({
  name: "webgpu: the gradients of both resizes are the resizes' adjoints",
  ignore: !adapter,
  // The device outlives the test; it is the process's.
  sanitizeResources: false,
  sanitizeOps: false,
  fn: async () => {
    const info = await selectBackend({ backend: "webgpu" });
    assertEquals([info.name, tf.getBackend()], ["webgpu", "webgpu"]);
    for (const method of ["bilinear", "nearest"] as const) {
      for (const to of [[10, 14], [8, 4], [3, 4]] as [number, number][]) {
        for (const [align, half] of [[false, false], [false, true], [true, false]]) {
          await assertAdjoint(method, to, align, half);
        }
      }
    }
  },
});

Deno.test({
  name: "webgpu: a network learns",
  ignore: !adapter,
  sanitizeResources: false,
  sanitizeOps: false,
  fn: async () => {
    await selectBackend({ backend: "webgpu" });
    const kernel = tf.variable(seededTensor([3, 3, 2, 2], 1));
    const x = seededTensor<Tensor4D>([2, 6, 9, 2], 2);
    const optimizer = tf.train.sgd(0.5);
    const losses: number[] = [];
    for (let step = 0; step < 6; step++) {
      const loss = optimizer.minimize(
        () => tf.mean(tf.square(tf.sub(tf.elu(tf.conv2d(x, kernel as unknown as Tensor4D, 1, "same")), x))),
        true,
        [kernel],
      )!;
      losses.push((await loss.data())[0]);
      loss.dispose();
    }
    assertEquals(losses.every((loss, i) => i === 0 || loss < losses[i - 1]), true, losses.join(" "));
    tf.dispose([kernel, x]);
  },
});
