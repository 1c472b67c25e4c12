import { assertAlmostEquals, assertEquals, assertGreater, assertLess } from "../_assert.ts";
import { selectBackend, type Tensor4D, tf } from "../../lib/backend/mod.ts";
import {
  consistencyLoss,
  disparityDistillation,
  type EdgeWeights,
  edgeWeights,
  featureDistillation,
  photometricLoss,
  photometricMap,
  smoothnessLoss,
  ssim,
  visiblePixels,
} from "../../lib/losses/losses.ts";
import { checkGradients } from "../_finite_differences.ts";
import { uniform } from "../_tensors.ts";

await selectBackend();

const scalar = (f: () => { dataSync(): ArrayLike<number> }) => tf.tidy(() => ({ v: f().dataSync()[0] })).v;

/** SSIM of one 3×3 window in float64, straight from its definition. */
function windowSsim(x: number[], y: number[]): number {
  const mean = (a: number[]) => a.reduce((s, v) => s + v, 0) / a.length;
  const [mx, my] = [mean(x), mean(y)];
  const cov = (a: number[], ma: number, b: number[], mb: number) =>
    mean(a.map((v, i) => (v - ma) * (b[i] - mb)));
  const [c1, c2] = [0.01 ** 2, 0.03 ** 2];
  return (2 * mx * my + c1) * (2 * cov(x, mx, y, my) + c2) /
    ((mx * mx + my * my + c1) * (cov(x, mx, x, mx) + cov(y, my, y, my) + c2));
}

Deno.test("SSIM of a window is its definition, 1 for equal images", () => {
  tf.tidy(() => {
    const x = uniform([1, 3, 3, 1], 1);
    const y = uniform([1, 3, 3, 1], 2);
    assertAlmostEquals(ssim(x, y).dataSync()[0], windowSsim([...x.dataSync()], [...y.dataSync()]), 1e-4);
    assertAlmostEquals(ssim(x, x).dataSync()[0], 1, 1e-5);
  });
});

Deno.test("photometric loss: value by definition, gradient by finite differences", () => {
  tf.tidy(() => {
    const x = uniform([2, 5, 7, 3], 3);
    // Away from the kink of |x - y|.
    const y = tf.add(
      x,
      tf.mul(tf.sign(uniform([2, 5, 7, 3], 4, -1)), uniform([2, 5, 7, 3], 5, 0.02, 0.5)),
    ) as Tensor4D;
    const [xs, ys] = [x.arraySync(), y.arraySync()];
    let dissimilarity = 0;
    let windows = 0;
    for (let b = 0; b < 2; b++) {
      for (let r = 0; r < 3; r++) {
        for (let c = 0; c < 5; c++) {
          for (let k = 0; k < 3; k++) {
            const cut = (a: number[][][][]) =>
              [0, 1, 2].flatMap((i) => [0, 1, 2].map((j) => a[b][r + i][c + j][k]));
            dissimilarity += (1 - windowSsim(cut(xs), cut(ys))) / 2;
            windows++;
          }
        }
      }
    }
    const l1 = tf.mean(tf.abs(tf.sub(x, y))).dataSync()[0];
    const expected = 0.85 * dissimilarity / windows + 0.15 * l1;
    assertAlmostEquals(photometricLoss(x, y).dataSync()[0], expected, 1e-5);
    checkGradients((e) => photometricLoss(e as Tensor4D, y), [x], {
      step: 2e-3,
      tolerance: 5e-3,
      samples: 210,
    });
    checkGradients((e) => photometricLoss(e as Tensor4D, y, 0.3), [x], { step: 2e-3, tolerance: 5e-3 });
  });
});

Deno.test("smoothness: value by hand, gradient by finite differences", () => {
  tf.tidy(() => {
    const one = (shape: [number, number, number, number]) => tf.ones(shape) as Tensor4D;
    const flat: EdgeWeights = { x: one([1, 2, 2, 1]), y: one([1, 1, 3, 1]) };
    // Differences along x: 1, 2, 4, 8; along y: 3, 2, 4.
    const d = tf.tensor4d([0, 1, 3, 3, -1, 7], [1, 2, 3, 1]);
    assertAlmostEquals(
      smoothnessLoss(d, flat).dataSync()[0],
      (1 + 2 + 4 + 8) / 4 + (3 + 2 + 4) / 3,
      1e-6,
    );
    const image = uniform([2, 5, 6, 3], 5);
    const weights = edgeWeights(image);
    checkGradients((q) => smoothnessLoss(q as Tensor4D, weights), [uniform([2, 5, 6, 1], 6, 0, 10)]);
  });
});

Deno.test("normalized smoothness does not pay for shrinking, image by image; gradient by finite differences", () => {
  tf.tidy(() => {
    const d = uniform([2, 5, 6, 1], 6, 0.5, 10);
    const weights = edgeWeights(uniform([2, 5, 6, 3], 7));
    const loss = (x: Tensor4D) => smoothnessLoss(x, weights, true).dataSync()[0];
    assertAlmostEquals(loss(tf.mul(d, tf.tensor4d([3, 0.5], [2, 1, 1, 1]))), loss(d), 1e-4);
    checkGradients((q) => smoothnessLoss(q as Tensor4D, weights, true), [d]);
  });
});

Deno.test("smoothness forgives a step at an image edge, in x and in y", () => {
  for (const axis of [1, 2]) {
    const step = tf.tidy(() => {
      const half = (shape: [number, number, number, number], v: number) => tf.fill(shape, v);
      const part: [number, number, number, number] = axis === 1 ? [1, 3, 6, 1] : [1, 6, 3, 1];
      return tf.keep(tf.concat([half(part, 0), half(part, 1)], axis) as Tensor4D);
    });
    const loss = (image: Tensor4D) => scalar(() => smoothnessLoss(step, edgeWeights(image)));
    assertLess(loss(step), 0.5 * loss(tf.zerosLike(step) as Tensor4D));
    step.dispose();
  }
});

Deno.test("consistency: zero for one constant world, and pulls both disparities", () => {
  tf.tidy(() => {
    const flat = (v: number) => tf.fill([1, 4, 16, 1], v) as Tensor4D;
    assertAlmostEquals(consistencyLoss(flat(0.1), flat(0.1), "right").dataSync()[0], 0, 1e-7);
    assertAlmostEquals(consistencyLoss(flat(0.1), flat(0.15), "right").dataSync()[0], 0.1, 1e-6);
    const whole = (seed: number) => tf.floor(uniform([2, 3, 8, 1], seed, 0, 4));
    const near = (seed: number) => tf.div(tf.add(whole(seed), uniform([2, 3, 8, 1], seed + 1, 0.3, 0.7)), 8);
    for (const border of ["edge", "zero"] as const) {
      checkGradients(
        (t, s) => consistencyLoss(t as Tensor4D, s as Tensor4D, "left", { border }),
        [near(1), near(11)],
        { step: 2e-4, tolerance: 1e-2 },
      );
    }
  });
});

Deno.test("consistency compares each view with the other view's disparity", () => {
  // A ramp in the target view; the source disparity is right only where it is the ramp seen from the other side.
  tf.tidy(() => {
    const width = 64;
    const target = tf.tensor4d(Float32Array.from({ length: width }, (_, x) => 0.05 + 0.001 * x), [
      1,
      1,
      width,
      1,
    ]);
    // right(x) = left(x + d_right W): target is aligned with the right view, source with the left one.
    const source = tf.tensor4d(
      Float32Array.from({ length: width }, (_, x) => {
        // Solve x = u + W d(u) for u, with d(u) = 0.05 + 0.001 u.
        const u = (x - width * 0.05) / (1 + width * 0.001);
        return 0.05 + 0.001 * u;
      }),
      [1, 1, width, 1],
    );
    const inner = (t: Tensor4D) => tf.slice4d(t, [0, 0, 0, 0], [1, 1, width, 1]);
    const right = consistencyLoss(inner(target), inner(source), "right").dataSync()[0];
    const wrong = consistencyLoss(inner(target), inner(target), "right").dataSync()[0];
    assertLess(right, 0.5 * wrong);
  });
});

Deno.test("distillation: zero for equal, mean over a mask, gradients to the student alone", () => {
  tf.tidy(() => {
    const [student, teacher] = [1, 2].map((seed) => uniform([2, 3, 4, 2], seed, 0.1, 0.9));
    assertAlmostEquals(disparityDistillation(student, student).dataSync()[0], 0, 1e-9);
    const mask = tf.tensor4d(Float32Array.from({ length: 48 }, (_, i) => i === 5 ? 1 : 0), [2, 3, 4, 2]);
    const expected = Math.abs(Math.log(student.dataSync()[5] / teacher.dataSync()[5]));
    assertAlmostEquals(disparityDistillation(student, teacher, mask).dataSync()[0], expected, 1e-6);
    // Relative: far and near disparities that are wrong by the same factor count the same.
    const twice = disparityDistillation(student, tf.mul(student, 2)).dataSync()[0];
    assertAlmostEquals(twice, Math.log(2), 1e-6);
    checkGradients((s) => disparityDistillation(s as Tensor4D, teacher), [student], { step: 1e-3 });
    checkGradients((s) => featureDistillation(s as Tensor4D, teacher), [student]);
  });
});

Deno.test("visible pixels: a foreground hides a band on its left in the left view, on its right in the right view", () => {
  // Background at 2 px; a foreground at 8 px, columns 20 to 29 of the left view and so 12 to 21 of the right one.
  const width = 48,
    row = (from: number) =>
      tf.tensor4d(Array.from({ length: width }, (_, x) => (x >= from && x < from + 10 ? 8 : 2) / width), [
        1,
        1,
        width,
        1,
      ]);
  const [left, right] = [row(20), row(12)];
  const hidden = (mask: Tensor4D) => [...mask.dataSync()].flatMap((seen, x) => seen ? [] : [x]);
  // Beyond the edge lie the leftmost two columns of the left view and the rightmost two of the right one.
  assertEquals(hidden(visiblePixels(left, right, "left")), [0, 1, 14, 15, 16, 17, 18, 19]);
  assertEquals(hidden(visiblePixels(right, left, "right")), [22, 23, 24, 25, 26, 27, 46, 47]);
});

Deno.test("the photometric map is larger where the images differ", () => {
  tf.tidy(() => {
    const x = uniform([1, 6, 8, 3], 1);
    const y = tf.concat([tf.slice4d(x, [0, 0, 0, 0], [1, 6, 4, 3]), uniform([1, 6, 4, 3], 2)], 2) as Tensor4D;
    const map = photometricMap(x, y).arraySync();
    assertLess(map[0][3][0][0], 1e-3);
    assertGreater(map[0][3][7][0], 0.05);
  });
});

Deno.test("losses leave no tensors behind", () => {
  const [x, y] = [uniform([2, 6, 8, 3], 1), uniform([2, 6, 8, 3], 2)];
  const [d, e] = [uniform([2, 6, 8, 1], 3, 0, 0.2), uniform([2, 6, 8, 1], 4, 0, 0.2)];
  const before = tf.memory().numTensors;
  const edges = edgeWeights(x);
  tf.dispose([
    photometricLoss(x, y),
    consistencyLoss(d, e, "left"),
    smoothnessLoss(d, edges),
    edges.x,
    edges.y,
  ]);
  const after = tf.memory().numTensors;
  assertEquals(after, before);
  tf.dispose([x, y, d, e]);
});
