import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertGreater,
  assertLess,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "../_assert.ts";
import { join } from "@std/path";
import { selectBackend, type Tensor4D, tf } from "../../lib/backend/mod.ts";
import { UsageError } from "../../lib/base/errors.ts";
import { openDataset } from "../../lib/data/dataset.ts";
import { openBatches, readStereo, sequentialBatches } from "../../lib/data/loader.ts";
import { resolveAugmentation } from "../../lib/data/augment.ts";
import { predictDataset, predictFrame } from "../../lib/evaluation/predict.ts";
import { evaluate } from "../../lib/evaluation/protocol.ts";
import { canonicalScales } from "../../lib/geometry/camera.ts";
import { viewPyramids } from "../../lib/losses/objective.ts";
import { imagePyramid, synthesize } from "../../lib/models/chain.ts";
import type { Prediction } from "../../lib/models/architecture.ts";
import { runNetwork } from "../../lib/models/network.ts";
import { resolveTraining } from "../../lib/training/options.ts";
import { Trainer } from "../../lib/training/trainer.ts";
import { prepareValidation } from "../../lib/training/validation.ts";
import { loadModel } from "../../lib/training/model.ts";
import { writePairs } from "../data/_pairs.ts";
import { checkGradients } from "../_finite_differences.ts";
import { distance, uniform } from "../_tensors.ts";
import {
  checkpointDistance,
  noiseBatch,
  ofKind,
  records,
  recordsIn,
  testFolder,
  TINY,
  tinyStreet,
} from "./_runs.ts";

await selectBackend();

const base = await testFolder(), street = join(base, "street"), noise = join(base, "noise");
await tinyStreet(street);
const pairs = await writePairs(noise, 2, { width: 64, height: 32 });
/** Two pairs whose cameras differ in their baselines alone, by a factor of 2; the same pictures. */
const manifest = join(noise, "pairs.csv");
const { left, right } = pairs[0];
await Deno.writeTextFile(
  manifest,
  `left,right,focal_px,baseline_m\n${left},${right},50,0.3\n${left},${right},50,0.6\n`,
);
const size = { height: 32, width: 64 };
const SMALL = { ...TINY, steps: 10, seed: 3, data: manifest, holdout: 0 } as const;

/** What a run's finest heads predict of an image. */
function predicted(trainer: Trainer, image: Tensor4D): Prediction {
  return runNetwork(trainer.networks.get("student")!, image);
}

Deno.test("canonical: a pair with twice the baseline gets twice the disparity from the same network", async () => {
  const trainer = new Trainer(resolveTraining({ ...SMALL, camera: "canonical" }), 10);
  const dataset = await openDataset({ data: manifest, part: "train", holdout: 0 });
  const how = { size, camera: "canonical", flip: true } as const;
  const { plain, flipped } = await predictDataset(trainer.chainNetworks, dataset, how);
  const { plain: fractions } = await predictDataset(trainer.chainNetworks, dataset, { size });
  const pixels = size.height * size.width;
  for (const { data } of [plain, flipped!]) {
    const [one, two] = [data.subarray(0, pixels), data.subarray(pixels)];
    assertLess(distance(two, one.map((d) => 2 * d)), 1e-6);
  }
  const [scale] = canonicalScales([dataset.pairs[0].camera], [left]);
  assertAlmostEquals(scale, 0.3 / 0.532725, 1e-6);
  assertLess(
    distance(plain.data.subarray(0, pixels), fractions.data.subarray(0, pixels).map((d) => d * scale)),
    1e-6,
  );
  trainer.dispose();
});

Deno.test("canonical: warp and losses of a batch see each pair's own disparity", async () => {
  const trainer = new Trainer(resolveTraining({ ...SMALL, camera: "canonical" }), 10);
  const dataset = await openDataset({ data: manifest, part: "train", holdout: 0 });
  for await (const batch of sequentialBatches(dataset, { size })) {
    tf.tidy(() => {
      const views = [batch.left, batch.right].map((v) => tf.tensor4d(v, [2, 32, 64, 3]));
      const scale = tf.tensor4d(canonicalScales(batch.cameras!, batch.ids), [2, 1, 1, 1]);
      const { aligned, prediction } = synthesize(
        imagePyramid(views[0]),
        predicted(trainer, views[0]),
        "right",
        { scale },
      );
      aligned.forEach(({ source }, s) => {
        const [a, b] = tf.unstack(source).map((d) => d.dataSync());
        assertLess(distance(b, a.map((d) => 2 * d)), 1e-6);
        const [canonical] = tf.unstack(
          tf.mul(prediction.disparities[s], scale).slice([0, 0, 0, 1], [1, -1, -1, 1]),
        );
        assertLess(distance(a, canonical.dataSync()), 1e-7);
      });
      const plain = trainer.gradients(views[0], views[1]).numbers.loss.dataSync()[0];
      const scaled = trainer.gradients(views[0], views[1], { scale }).numbers.loss.dataSync()[0];
      assertGreater(Math.abs(plain - scaled), 1e-4);
    });
  }
  trainer.dispose();
});

Deno.test("gradients pass the scale of a camera and the upsampling of coarse disparities", () => {
  tf.tidy(() => {
    const ramp = tf.range(0, 16).div(16).reshape([1, 1, 16, 1]).tile([2, 8, 1, 3]) as Tensor4D;
    const input = imagePyramid(ramp, "full");
    const scale = tf.tensor4d([0.7, 1.6], [2, 1, 1, 1]);
    const disparities = [1, 2, 4, 8].map((d) => uniform([2, 8 / d, 16 / d, 2], d, 0.03, 0.05));
    checkGradients(
      (...given) => {
        const prediction = { disparities: given } as unknown as Prediction;
        const { synthesized, aligned } = synthesize(input, prediction, "left", { scale });
        assertEquals(aligned.map(({ source }) => source.shape), Array(4).fill([2, 8, 16, 1]));
        return tf.concat([...synthesized, ...aligned.map(({ source }) => source)], 3);
      },
      disparities,
      { step: 1e-4, tolerance: 2e-2, samples: 12 },
    );
  });
});

Deno.test("canonical: data without cameras are refused before anything is trained", async () => {
  const options = { ...SMALL, data: noise, camera: "canonical" };
  const error = await assertRejects(() => records(options), UsageError);
  assertStringIncludes(error.message, `the baseline of ${left} is not known`);
  assertStringIncludes(error.message, "--camera fraction");
});

Deno.test("canonical: validation, evaluation and pictures use the frames' cameras", async () => {
  const options = resolveTraining({ ...TINY, data: street, camera: "canonical", photometricViews: "source" });
  const trainer = new Trainer(options, 1);
  const val = await openDataset({ data: street, part: "val" });
  const { validate } = await prepareValidation(val, { size });
  const result = (await validate(trainer.evaluatedChain, options))!;
  const how = { size, camera: "canonical" } as const;
  const { plain } = await predictDataset(trainer.evaluatedChain, val, how);
  const protocol = { crop: "garg", capM: 80 } as const;
  const expected = await evaluate({ root: street, pairs: val.pairs, disparities: plain, ...protocol });
  assertAlmostEquals(result.absRel!, expected.absRel, 1e-6);
  const frame = await predictFrame(trainer.evaluatedChain, val, 0, { ...how, truth: "lidar", protocol });
  assertLess(distance(frame.disparity.data, plain.data.subarray(0, 32 * 64)), 1e-6);
  trainer.dispose();
});

Deno.test("losses at full size: the pyramid repeats the image, edges are computed once", () => {
  tf.tidy(() => {
    const image = uniform([1, 16, 32, 3], 1);
    const views = viewPyramids(image, image, "full");
    assert(views.source.every((level) => level === image));
    assert(views.targetEdges.every((edges) => edges === views.targetEdges[0]));
    assertEquals(viewPyramids(image, image).source[3].shape, [1, 2, 4, 3]);
  });
});

/** Length of the gradient that Adam saw in the first update. */
async function firstGradient(given: Record<string, unknown>): Promise<number> {
  const trainer = new Trainer(resolveTraining({ ...SMALL, ...given }), 10);
  await trainer.update(await noiseBatch(1));
  const { moments } = await trainer.optimizer.getState();
  trainer.dispose();
  // Its first moment is (1 - beta1) times the gradient.
  return 10 *
    Math.sqrt([...moments.values()].reduce((sum, { first }) => first.reduce((s, x) => s + x * x, sum), 0));
}

Deno.test("clipping shortens the gradient to the norm, and leaves shorter ones alone", async () => {
  const free = await firstGradient({});
  assertAlmostEquals(await firstGradient({ clipNorm: free / 3 }), free / 3, 1e-4 * free);
  assertAlmostEquals(await firstGradient({ clipNorm: 2 * free }), free, 1e-4 * free);
});

Deno.test("the running mean of the weights is the one computed by hand", async () => {
  const trainer = new Trainer(resolveTraining({ ...SMALL, ema: 0.2 }), 10);
  const name = "student/head/0/kernel";
  const read = (networks: typeof trainer.networks) =>
    networks.get("student")!.variables.get(name)!.dataSync().slice();
  let mean: Float32Array | undefined;
  for (let step = 0; step < 4; step++) {
    await trainer.update(await noiseBatch(step));
    const weights = read(trainer.networks) as Float32Array;
    const decay = Math.min(0.2, step / (step + 9));
    mean = mean ? weights.map((w, i) => w + (mean![i] - w) * decay) : weights;
    assertLess(distance(read(trainer.evaluated), mean), 1e-6);
  }
  assertGreater(distance(read(trainer.networks), mean!), 1e-6);
  trainer.dispose();
});

Deno.test("with a running mean a resumed run is an unbroken one, bit for bit; the mean is what is saved", async () => {
  const options = { ...SMALL, steps: 4, ema: 0.5, clipNorm: 1, camera: "canonical", colourViews: "input" };
  const whole = join(base, "whole"), parts = join(base, "parts");
  const [{ folder }] = ofKind(await recordsIn(whole, options), "end");
  await recordsIn(parts, options, { stopAt: 2 });
  const [{ folder: resumed }] = ofKind(await recordsIn(parts, options, { resume: true }), "end");
  assertEquals(await checkpointDistance(folder!, resumed!), 0);
  const model = await loadModel(resumed!);
  assertEquals(model.options.camera, "canonical");
  model.dispose();
});

Deno.test("colors of the input alone: the views stay as they are, the student sees others", async () => {
  const dataset = await openDataset({ data: manifest, part: "train", holdout: 0 });
  const change = {
    flipProbability: 0,
    colourProbability: 1,
    grayProbability: 1,
    brightnessLow: 0.5,
    brightnessHigh: 0.6,
  };
  using batches = openBatches(dataset, {
    size,
    batch: 2,
    seed: 1,
    workers: 0,
    augmentation: resolveAugmentation({ ...change, colourViews: "input" }),
  });
  const batch = await batches.next();
  const stored = await readStereo(dataset, 0, size);
  assertLess(distance(batch.left.subarray(0, stored.left.length), stored.left), 1e-6);
  assertEquals(batch.colors!.length, 10);
  assertEquals([batch.colors![4], batch.colors![9]], [1, 1]);
  const trainer = new Trainer(resolveTraining({ ...SMALL, colourViews: "input" }), 10);
  tf.tidy(() => {
    const [l, r] = [batch.left, batch.right].map((v) => tf.tensor4d(v, [2, 32, 64, 3]));
    const loss = (colors?: number[]) =>
      trainer.gradients(l, r, { colors: colors && tf.tensor2d([colors, colors]) }).numbers.loss.dataSync()[0];
    assertAlmostEquals(loss([1, 1, 1, 1, 0]), loss(), 1e-6);
    assertGreater(Math.abs(loss([1, 0.5, 0.5, 0.5, 1]) - loss()), 1e-5);
  });
  trainer.dispose();
});

Deno.test("photometricViews source is refused wherever the disparity that it does not train is used", () => {
  const refused = { photometricViews: "source" };
  for (const given of [{ stage: "cycle" }, { stage: "teacher" }, { stage: "distill" }, { view: "right" }]) {
    const error = assertThrows(() => resolveTraining({ ...given, ...refused }), UsageError);
    assertStringIncludes(error.message, "give --photometric-views both");
  }
  resolveTraining(refused);
});

Deno.test("what is too small to be mirrored is refused", () => {
  const given = { architecture: "lite0", padding: "reflect", coarse: 0, size: "32x96" } as const;
  assertThrows(() => resolveTraining(given), UsageError);
  resolveTraining({ ...given, size: "64x96" });
});
