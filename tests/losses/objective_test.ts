import { assertAlmostEquals, assertEquals, assertGreater, assertLess } from "../_assert.ts";
import { checkGradients, seededTensor } from "../_finite_differences.ts";
import { selectBackend, type Tensor4D, tf } from "../../lib/backend/mod.ts";
import { opposite, warp } from "../../lib/geometry/warp.ts";
import { lossTerms, type ObjectiveOptions, viewPyramids } from "../../lib/losses/objective.ts";
import { synthesize } from "../../lib/models/chain.ts";
import { uniform } from "../_tensors.ts";

await selectBackend();

/** Disparities of one value per channel at every scale, as a network of 32×64 px would predict them. */
function flat(target: number, source: number) {
  const disparities = [0, 1, 2, 3].map((s) => {
    const channel = (d: number) => tf.fill([1, 32 >> s, 64 >> s, 1], d) as Tensor4D;
    return tf.concat([channel(target), channel(source)], 3) as Tensor4D;
  });
  return { logits: disparities, disparities, features: disparities[0] };
}

/** A smooth pair whose true disparity is 1/16 of the width everywhere, 4 px at the finest scale. */
function smoothPair(): { left: Tensor4D; right: Tensor4D } {
  const left = tf.image.resizeBilinear(uniform([1, 5, 9, 3], 1), [32, 64]) as Tensor4D;
  return { left, right: warp(left, tf.fill([1, 32, 64, 1], 1 / 16) as Tensor4D, "right") };
}

Deno.test("the backward network is compared with the real opposite view: cloning the student does not pay", () => {
  tf.tidy(() => {
    const { left, right } = smoothPair();
    const views = viewPyramids(left, right, "full"); // no half pixels at coarse scales
    // The student is wrong by half.
    const student = synthesize(views.source, flat(1 / 32, 1 / 32), "right");
    const cycle = (source: number) => {
      const backward = synthesize(student.synthesized, flat(1 / 32, source), "left");
      const chain = { input: views.source, student, backward };
      const term = (photometricViews: "both" | "target") =>
        lossTerms(chain, views, { cycle: 1 }, { photometricViews }).cycle!.dataSync()[0];
      return term("both") - term("target");
    };
    const [clone, truth] = [cycle(1 / 32), cycle(1 / 16)];
    assertAlmostEquals(truth, 0, 1e-6);
    // The clone makes exactly the student's own error.
    const weights = { photometric: 1 }, options = { photometricViews: "target" } as const;
    const own = lossTerms({ input: views.source, student }, views, weights, options).photometric!;
    assertAlmostEquals(clone, own.dataSync()[0], 1e-6);
    assertGreater(clone, 0.01);
    assertLess(truth, 1e-3 * clone);
  });
});

Deno.test("an occlusion mask takes what one view hides out of the photometric term and its gradient", () => {
  // Background at 2 px, a foreground at 8 px: columns 12 to 21 of the right view, 20 to 29 of the left one.
  const row = (from: number) =>
    tf.tile(
      tf.tensor4d(Array.from({ length: 64 }, (_, x) => (x >= from && x < from + 10 ? 8 : 2) / 64), [
        1,
        1,
        64,
        1,
      ]),
      [1, 32, 1, 1],
    ) as Tensor4D;
  const [inRight, inLeft] = [row(12), row(20)];
  const right = uniform([1, 32, 64, 3], 3), left = uniform([1, 32, 64, 3], 4);
  const term = (target: Tensor4D, occlusionMask: boolean) => {
    const coarse = flat(2 / 64, 2 / 64), finest = tf.concat([target, inLeft], 3) as Tensor4D;
    const views = viewPyramids(left, right, "full");
    const prediction = { ...coarse, disparities: [finest], logits: [finest] };
    const student = synthesize(views.source.slice(0, 1), prediction, "right");
    const options = { occlusionMask, photometricViews: "target" } as const;
    return lossTerms({ input: views.source, student }, views, { photometric: 1 }, options).photometric!;
  };
  const gradient = (masked: boolean) => tf.tidy(() => tf.grad((d) => term(d as Tensor4D, masked))(inRight));
  const [masked, whole] = [true, false].map((mask) => gradient(mask).arraySync() as number[][][][]);
  const size = (columns: readonly number[], of: number[][][][]) =>
    columns.reduce((sum, x) => sum + of[0].reduce((sum, row) => sum + Math.abs(row[x][0]), 0), 0);
  const hidden = [22, 23, 24, 25, 26, 27], seen = [4, 5, 6, 14, 15, 16, 34, 35, 36];
  assertEquals(size(hidden, masked), 0);
  assertGreater(size(hidden, whole), 1e-4);
  assertGreater(size(seen, masked), 1e-4);
  assertLess(term(inRight, true).dataSync()[0], term(inRight, false).dataSync()[0]);
});

const fill = (value: number) => tf.fill([1, 32, 64, 1], value) as Tensor4D;

/** The hint term of disparities of one value per channel against hints of one value per channel, for a smooth pair. */
function hintTerm(
  [target, source]: readonly [number, number],
  hints: readonly [number, number] | { readonly target: Tensor4D; readonly source: Tensor4D },
  options: ObjectiveOptions & { readonly scale?: number } = {},
): number {
  return tf.tidy(() => {
    const { view = "left", scale = 1 } = options, pair = smoothPair();
    const views = viewPyramids(pair[view], pair[opposite(view)]);
    const prediction = flat(target, source), scales = tf.fill([1, 1, 1, 1], scale) as Tensor4D;
    const student = synthesize(views.source, prediction, opposite(view), { scale: scales });
    const given = "target" in hints ? hints : { target: fill(hints[0]), source: fill(hints[1]) };
    return { v: lossTerms({ input: views.source, student }, views, { hint: 1 }, options, undefined, given) };
  }).v.hint!.dataSync()[0];
}

Deno.test("hints: each channel against its own, logarithms, at four scales; after the camera's scale", () => {
  const all = { hintMask: false } as const;
  assertAlmostEquals(hintTerm([0.05, 0.1], [0.05, 0.1], all), 0, 1e-5);
  assertAlmostEquals(hintTerm([0.05, 0.1], [0.1, 0.1], all), 4 * Math.log(2), 1e-5);
  assertAlmostEquals(hintTerm([0.05, 0.1], [0.05, 0.3], all), 4 * Math.log(3), 1e-5);
  // Only the channel that photometric terms train.
  const source = { ...all, photometricViews: "source" } as const;
  assertAlmostEquals(hintTerm([0.05, 0.1], [0.2, 0.3], source), 4 * Math.log(3), 1e-5);
  assertAlmostEquals(hintTerm([0.025, 0.05], [0.05, 0.1], { ...all, scale: 2 }), 0, 1e-5);
});

Deno.test("hints: unknown pixels do not count, none at all is 0 with finite gradients", () => {
  tf.tidy(() => {
    const left = tf.tile(tf.tensor4d([0.1, 0], [1, 1, 2, 1]), [1, 32, 32, 1]) as Tensor4D;
    assertAlmostEquals(
      hintTerm([0.05, 0.05], { target: left, source: left }, { hintMask: false }),
      8 * Math.log(2),
      1e-5,
    );
    const { left: seen, right } = smoothPair();
    const views = viewPyramids(seen, right), none = { target: fill(0), source: fill(0) };
    for (const hintMask of [true, false]) {
      const { value, grad } = tf.valueAndGrad((d) => {
        const prediction = { ...flat(0.05, 0.05), disparities: [d as Tensor4D] };
        const student = synthesize(views.source, prediction, "right");
        const chain = { input: views.source, student };
        return lossTerms(chain, views, { hint: 1 }, { hintMask }, undefined, none).hint!;
      })(tf.fill([1, 32, 64, 2], 0.05));
      assertEquals([value.dataSync()[0], ...new Set(grad.dataSync())].map(Math.abs), [0, 0]);
    }
  });
});

Deno.test("hints: a hint counts only where it explains the views better than the student does", () => {
  tf.tidy(() => {
    const truth = 1 / 16;
    // Beyond the edges neither can explain anything.
    const inner = (value: number) =>
      tf.pad(tf.fill([1, 32, 40, 1], value), [[0, 0], [0, 0], [12, 12], [0, 0]]) as Tensor4D;
    for (const view of ["left", "right"] as const) {
      const term = (student: readonly [number, number], target: number, source: number) =>
        hintTerm(student, { target: inner(target), source: inner(source) }, { view }) / (4 * Math.log(2));
      // The student is wrong, the hint right: it counts.
      for (const wrong of [1 / 32, 1 / 8]) {
        assertAlmostEquals(term([wrong, wrong], truth, truth), 2, 0.05);
      }
      // The hint is wrong, the student right.
      assertLess(term([truth, truth], 1 / 32, 1 / 8), 1e-3);
      // Channel by channel.
      assertAlmostEquals(term([truth, 1 / 8], 1 / 8, truth), 1, 0.05);
    }
  });
});

Deno.test("hints: gradient by finite differences, at the pixels' own size and upsampled, through the camera's scale", () => {
  for (const lossSize of ["scale", "full"] as const) {
    tf.tidy(() => {
      const { left, right } = smoothPair();
      const views = viewPyramids(left, right, lossSize);
      const scale = tf.fill([1, 1, 1, 1], 1.5) as Tensor4D;
      // Half of the pixels are unknown; the others lie far from the student's disparities, where |x| has its kink.
      const hints = seededTensor<Tensor4D>([1, 32, 64, 1], 3, { low: 0.3, high: 0.4 });
      const known = tf.cast(tf.greater(uniform([1, 32, 64, 1], 4), 0.5), "float32");
      const given = { target: tf.mul<Tensor4D>(hints, known), source: hints };
      const disparities = [0, 1, 2, 3].map((s) =>
        seededTensor<Tensor4D>([1, 32 >> s, 64 >> s, 2], 5 + s, { low: 0.05, high: 0.15 })
      );
      checkGradients(
        (...predicted) => {
          const prediction = { ...flat(0.1, 0.1), disparities: predicted as Tensor4D[] };
          const student = synthesize(views.source, prediction, "right", { scale });
          const chain = { input: views.source, student };
          return lossTerms(chain, views, { hint: 1 }, { hintMask: false }, undefined, given).hint!;
        },
        disparities,
        { step: 4e-3, tolerance: 2e-2, samples: 12 },
      );
    });
  }
});
