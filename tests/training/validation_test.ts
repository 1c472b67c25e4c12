import { assert, assertAlmostEquals, assertEquals, assertRejects, assertStringIncludes } from "../_assert.ts";
import { join } from "@std/path";
import { selectBackend, tf } from "../../lib/backend/mod.ts";
import { sequentialBatches } from "../../lib/data/loader.ts";
import { warp } from "../../lib/geometry/warp.ts";
import { photometricLoss } from "../../lib/losses/losses.ts";
import { openDataset } from "../../lib/data/dataset.ts";
import { evaluateNetworks, predictDataset, predictImage } from "../../lib/evaluation/predict.ts";
import { evaluate } from "../../lib/evaluation/protocol.ts";
import { refineOptions, resolveTraining } from "../../lib/training/options.ts";
import { Trainer } from "../../lib/training/trainer.ts";
import { prepareValidation, spreadPairs } from "../../lib/training/validation.ts";
import { UsageError } from "../../lib/base/errors.ts";
import { distance } from "../_tensors.ts";
import { noiseBatch, testFolder, TINY, tinyStreet } from "./_runs.ts";

await selectBackend();

const root = join(await testFolder(), "street");
await tinyStreet(root);
const val = await openDataset({ data: root, part: "val" });
const size = { height: 32, width: 64 };
const PROTOCOL = { crop: "garg", capM: 80 } as const;
const validation = await prepareValidation(val, { size });

/** What networks of a stage measure that were hardly trained. */
async function measured(given: Record<string, unknown>) {
  const options = resolveTraining({ ...TINY, ...given });
  const trainer = new Trainer(options, 1);
  await trainer.update(await noiseBatch(1));
  const tensors = tf.memory().numTensors;
  const result = (await validation.validate(trainer.chainNetworks, options))!;
  assertEquals(tf.memory().numTensors, tensors);
  const view = options.view, network = options.stage === "teacher" ? "teacher" : "student";
  const predicting = { size, view, network, refine: refineOptions(options) } as const;
  const { plain } = await predictDataset(trainer.chainNetworks, val, predicting);
  const expected = await evaluate({ root, pairs: val.pairs, disparities: plain, ...PROTOCOL });
  // What checkpoints are selected by: how well the evaluated disparity makes the left view from the right one.
  let synthesis = 0;
  for await (const { left, right, batch } of sequentialBatches(val, { size, batch: 8 })) {
    tf.tidy(() => {
      const [real, other] = [left, right].map((images) => tf.tensor4d(images, [batch, 32, 64, 3]));
      const disparity = tf.tensor4d(plain.data, [batch, 32, 64, 1]);
      synthesis += photometricLoss(warp(other, disparity, "left"), real).dataSync()[0];
    });
  }
  trainer.dispose();
  return { result, expected, synthesis };
}

Deno.test("a validation measures what an evaluation of the same pairs does, for student and teacher, both views", async () => {
  for (
    const [stage, view] of [["half-cycle", "left"], ["half-cycle", "right"], ["teacher", "left"], [
      "teacher",
      "right",
    ]]
  ) {
    const { result, expected, synthesis } = await measured({ stage, view });
    assertAlmostEquals(result.absRel!, expected.absRel, 1e-6);
    assertAlmostEquals(result.rmse!, expected.rmse, 1e-5);
    assertAlmostEquals(result.photometric, synthesis, 1e-5);
  }
  assertEquals(validation.withoutTruth, undefined);
});

Deno.test("a privileged teacher is evaluated with the stereo pair that it sees in training", async () => {
  const given = { stage: "teacher", privilegedTeacher: true };
  const { result, expected } = await measured(given);
  assertAlmostEquals(result.absRel!, expected.absRel, 1e-6);
  // The right view matters: with another one the same networks predict something else.
  const options = resolveTraining({ ...TINY, ...given });
  const trainer = new Trainer(options, 1);
  await trainer.update(await noiseBatch(1));
  const how = { size, network: "teacher", refine: refineOptions(options) } as const;
  const predict = async (dataset: typeof val) =>
    (await predictDataset(trainer.chainNetworks, dataset, how)).plain.data;
  const swapped = { ...val, pairs: val.pairs.map(({ left }) => ({ left, right: left })) };
  assert(distance(await predict(val), await predict(swapped)) > 1e-6);
  trainer.dispose();
});

Deno.test("a privileged teacher is refused where there is no stereo pair", async () => {
  const options = resolveTraining({ ...TINY, stage: "teacher", privilegedTeacher: true });
  const trainer = new Trainer(options, 1);
  const how = { size, network: "teacher", refine: refineOptions(options) } as const;
  const photograph = { width: 64, height: 32, data: new Uint8Array(64 * 32 * 3) };
  for (
    const [predict, message] of [
      [() => predictImage(trainer.chainNetworks, photograph, how), "sees the opposite view, found one image"],
      [
        () => predictDataset(trainer.chainNetworks, val, { ...how, flip: true }),
        "this teacher is privileged",
      ],
    ] as const
  ) {
    assertStringIncludes((await assertRejects<UsageError>(predict, UsageError)).message, message);
  }
  const [plain, ...more] = await evaluateNetworks(trainer.chainNetworks, val, {
    ...how,
    protocols: [PROTOCOL],
  });
  assertEquals([plain.flip, more], [false, []]);
  trainer.dispose();
});

Deno.test("pairs are spread over the whole data set, none twice", () => {
  const pairs = Array.from({ length: 10 }, (_, i) => ({ left: `l${i}`, right: `r${i}` }));
  const some = (limit: number) => spreadPairs({ ...val, pairs }, limit).pairs.map(({ left }) => left);
  assertEquals(some(4), ["l0", "l2", "l5", "l7"]);
  assertEquals(some(10).length, 10);
  assertEquals(some(99).length, 10);
});

Deno.test("a validation that is aborted has no result", async () => {
  const options = resolveTraining(TINY);
  const trainer = new Trainer(options, 1);
  const result = await validation.validate(
    trainer.chainNetworks,
    options,
    AbortSignal.abort(),
  );
  assertEquals(result, undefined);
  trainer.dispose();
});
