/** How strongly each loss term pulls at the disparities, at two sizes: coefficients must not mean something else there. */
import { assert } from "../_assert.ts";
import { join } from "@std/path";
import { selectBackend, type Tensor4D, tf } from "../../lib/backend/mod.ts";
import { openDataset } from "../../lib/data/dataset.ts";
import { sequentialBatches } from "../../lib/data/loader.ts";
import { readTruth, type Truth, truthMap } from "../../lib/evaluation/truth.ts";
import type { ImageSize } from "../../lib/geometry/camera.ts";
import { warp } from "../../lib/geometry/warp.ts";
import { lossTerms, viewPyramids } from "../../lib/losses/objective.ts";
import { synthesize } from "../../lib/models/chain.ts";
import { generateStreet } from "../../lib/street/mod.ts";
import { STAGES } from "../../lib/training/stages.ts";
import { uniform } from "../_tensors.ts";
import { testFolder } from "../training/_runs.ts";

await selectBackend();

const street = join(await testFolder(), "street");
await generateStreet({ out: street, drives: 6, frames: 1, size: "128x416", workers: 0 });
const dataset = await openDataset({ data: street, part: "train" });
const truths = await Promise.all(dataset.pairs.map((pair) => readTruth(street, pair, "dense")));
const coefficients = STAGES.distill.lossWeights;

/** The true disparities of both views at every scale, off by up to a fifth, as a network's are. */
function disparities({ camera, ...truth }: Truth, { height, width }: ImageSize, seed: number): Tensor4D[] {
  const { data, ...size } = truthMap({ camera, ...truth });
  const map = data.map((z) => z > 0 ? camera.focalPx * camera.baselineM / z / size.width : 1e-3);
  const finest = tf.tensor4d(map, [1, size.height, size.width, 1]);
  return [0, 1, 2, 3].map((s) => {
    const resize = (x: Tensor4D) => tf.image.resizeBilinear(x, [height >> s, width >> s], false, true);
    const source = resize(finest), target = warp(source, source, "right");
    const error = (of: number) => resize(uniform([1, 6, 18, 1], seed + of, 0.8, 1.2));
    return tf.concat([tf.mul(target, error(0)), tf.mul(source, error(1))], 3) as Tensor4D;
  });
}

/** Σ |d · ∂L/∂d| of each weighted term, over all pairs, scales, pixels and channels. */
async function pulls(size: ImageSize): Promise<Record<string, number>> {
  const sums: Record<string, number> = {};
  let pair = 0;
  for await (const images of sequentialBatches(dataset, { size, batch: 1 })) {
    const truth = truths[pair++];
    tf.tidy(() => {
      const [left, right] = [images.left, images.right].map((view) =>
        tf.tensor4d(view, [1, size.height, size.width, 3])
      );
      const views = viewPyramids(left, right);
      const own = disparities(truth, size, 1);
      const teacher = { disparities: disparities(truth, size, 3), features: left };
      for (const name of ["photometric", "consistency", "distillation"] as const) {
        const gradients = tf.grads((...given) => {
          const prediction = { logits: [], disparities: given as Tensor4D[], features: left };
          const student = synthesize(views.source, prediction, "right");
          const terms = lossTerms({ input: views.source, student }, views, { [name]: 1 }, {}, teacher);
          return tf.mul(terms[name]!, coefficients[name]);
        })(own);
        const pull = tf.addN(gradients.map((g, s) => tf.sum(tf.abs(tf.mul(g, own[s])))));
        sums[name] = (sums[name] ?? 0) + pull.dataSync()[0];
      }
    });
  }
  return sums;
}

const [small, middle, large] = [
  await pulls({ height: 32, width: 96 }),
  await pulls({ height: 64, width: 192 }),
  await pulls({ height: 128, width: 416 }),
];
/** How strongly a term pulls, relative to the photometric one. */
const share = (term: string, of: Record<string, number>) => of[term] / of.photometric;

Deno.test("consistency has the same share of the gradient at 32×96 and 128×416", () => {
  const [at96, at416] = [share("consistency", small), share("consistency", large)];
  const shown = `${at96} at 32×96, ${at416} at 128×416`;
  assert(Math.max(at96 / at416, at416 / at96) < 1.5, shown);
  assert(Math.max(at96, at416) < 0.2 && Math.min(at96, at416) > 0.02, shown);
});

Deno.test("distillation pulls about as strongly as the photometric term at 64×192 and 128×416", () => {
  const [at192, at416] = [share("distillation", middle), share("distillation", large)];
  const shown = `${at192} at 64×192, ${at416} at 128×416`;
  assert(Math.max(at192, at416) < 2 && Math.min(at192, at416) > 0.5, shown);
});
