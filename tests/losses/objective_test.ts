import { assertAlmostEquals, assertGreater, assertLess } from "../_assert.ts";
import { selectBackend, type Tensor4D, tf } from "../../lib/backend/mod.ts";
import { warp } from "../../lib/geometry/warp.ts";
import { lossTerms, viewPyramids } from "../../lib/losses/objective.ts";
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
