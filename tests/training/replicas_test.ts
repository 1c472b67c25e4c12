import { assert, assertAlmostEquals, assertEquals, assertLess, assertRejects } from "../_assert.ts";
import { CyclopsError } from "../../lib/base/errors.ts";
import { currentBinding } from "../../lib/backend/binding.ts";
import { selectBackend } from "../../lib/backend/select.ts";
import { nativeTensorCount } from "../../lib/backend/native.ts";
import { tf } from "../../lib/backend/tf.ts";
import { resolveTraining, type TrainingInput } from "../../lib/training/options.ts";
import { replicaCount } from "../../lib/training/replicas.ts";
import { Trainer } from "../../lib/training/trainer.ts";
import { noiseBatch, snapshot } from "./_runs.ts";

await selectBackend();
const ignore = !currentBinding() || currentBinding()!.isUsingGpuDevice();

const SMALL: TrainingInput = { size: "32x64", coarse: 0, batch: 4, steps: 10, warmup: 0, seed: 3 };

for (const stage of ["half-cycle", "teacher", "distill"] as const) {
  Deno.test({
    name: `${stage}: two replicas compute what one trainer computes`,
    ignore,
    async fn() {
      // Distillation and gates hang on the networks that stand still and on the number of the step.
      const given = { ...SMALL, stage, refineHeadScale: 1, refineGradient: 1, gradientRamp: 2, freeze: "" };
      const run = async (replicas: number) => {
        const trainer = new Trainer(resolveTraining({ ...given, replicas }), 10);
        try {
          const results = [];
          for (const seed of [1, 5, 9]) results.push(await trainer.update(await noiseBatch(seed, 4)));
          return { results, weights: [...snapshot(trainer).values()] };
        } finally {
          trainer.dispose();
        }
      };
      const [one, two] = [await run(1), await run(2)];
      one.results.forEach(({ loss, terms, disparityMean }, step) => {
        const other = two.results[step];
        assertAlmostEquals(loss, other.loss, 2e-3 * loss, `step ${step}`);
        assertEquals(Object.keys(terms), Object.keys(other.terms));
        assertAlmostEquals(disparityMean, other.disparityMean, 1e-3);
      });
      assertAlmostEquals(one.results[0].loss, two.results[0].loss, 1e-5);
      let apart = 0, all = 0;
      // Adam's first steps are ±rate wherever the gradient is not tiny; count the values that went elsewhere.
      one.weights.forEach((values, i) =>
        values.forEach((v, k) => {
          if (Math.abs(v - two.weights[i][k]) > 1e-3) apart++;
          all++;
        })
      );
      assertLess(apart / all, 0.01);
    },
  });
}

Deno.test({
  name: "replicas give the same numbers every time and leave nothing behind",
  ignore,
  async fn() {
    const run = async () => {
      const before = [tf.memory().numTensors, nativeTensorCount()];
      const trainer = new Trainer(resolveTraining({ ...SMALL, replicas: 2 }), 10);
      await trainer.update(await noiseBatch(1, 4));
      const [tensors, handles] = [tf.memory().numTensors, nativeTensorCount()];
      const { loss } = await trainer.update(await noiseBatch(5, 4));
      assertEquals([tf.memory().numTensors, nativeTensorCount()], [tensors, handles]);
      const weights = [...snapshot(trainer).values()];
      trainer.dispose();
      assertEquals([tf.memory().numTensors, nativeTensorCount()], before);
      return { loss, weights };
    };
    assertEquals(await run(), await run());
  },
});

Deno.test({
  name: "what stops a replica reaches the user, and the batch is named when the loss is not a number",
  ignore,
  async fn() {
    const trainer = new Trainer(resolveTraining({ ...SMALL, replicas: 2 }), 10);
    try {
      const bad = await noiseBatch(1, 4);
      bad.right[bad.right.length - 5] = NaN;
      const error = await assertRejects(() => trainer.update(bad), CyclopsError);
      assert(error.message.includes("photometric") && error.message.includes("pair 0"), error.message);
      // Images of a size that the network cannot halve five times.
      const odd = { ...await noiseBatch(1, 4), height: 16, width: 128 };
      await assertRejects(() => trainer.update(odd));
      const { loss } = await trainer.update(await noiseBatch(1, 4));
      assert(Number.isFinite(loss), "it goes on with the next batch");
    } finally {
      trainer.dispose();
    }
  },
});

Deno.test("a batch is shared as far as it can be cut into equal parts", () => {
  const count = (batch: number, replicas: number, accumulate = 1) =>
    replicaCount({ batch, replicas, accumulate });
  if (ignore) return assertEquals(count(8, 4), 1);
  assertEquals([count(8, 2), count(8, 3), count(3, 2), count(1, 2)], [2, 2, 1, 1]);
  assertEquals([count(8, 4, 2), count(8, 8, 4), count(8, 4, 8)], [4, 2, 1]);
});
