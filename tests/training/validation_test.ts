import { assert, assertAlmostEquals, assertEquals } from "../_assert.ts";
import { join } from "@std/path";
import { selectBackend, tf } from "../../lib/backend/mod.ts";
import { openDataset } from "../../lib/data/dataset.ts";
import { predictDataset } from "../../lib/evaluation/predict.ts";
import { evaluate } from "../../lib/evaluation/protocol.ts";
import { refineOptions, resolveTraining } from "../../lib/training/options.ts";
import { Trainer } from "../../lib/training/trainer.ts";
import { prepareValidation, spreadPairs } from "../../lib/training/validation.ts";
import { testFolder, TINY, tinyStreet } from "./_runs.ts";

await selectBackend();

const root = join(await testFolder(), "street");
await tinyStreet(root);
const val = await openDataset({ data: root, part: "val" });
const size = { height: 32, width: 64 };
const validation = await prepareValidation(val, { size });

/** What untrained networks of a stage measure. */
async function measured(given: Record<string, unknown>) {
  const options = resolveTraining({ ...TINY, refineHeadScale: 1, ...given });
  const trainer = new Trainer(options, 1);
  const tensors = tf.memory().numTensors;
  const result = (await validation.validate(trainer.chainNetworks, options))!;
  assertEquals(tf.memory().numTensors, tensors);
  const view = options.view, network = options.stage === "teacher" ? "teacher" : "student";
  const predicting = { size, view, network, refine: refineOptions(options) } as const;
  const { plain } = await predictDataset(trainer.chainNetworks, val, predicting);
  const expected = await evaluate({ root, pairs: val.pairs, disparities: plain, crop: "garg", capM: 80 });
  trainer.dispose();
  return { result, expected };
}

Deno.test("a validation measures what an evaluation of the same pairs does, for student and teacher, both views", async () => {
  for (
    const [stage, view] of [["half-cycle", "left"], ["half-cycle", "right"], ["teacher", "left"], [
      "teacher",
      "right",
    ]]
  ) {
    const { result, expected } = await measured({ stage, view });
    assertAlmostEquals(result.absRel!, expected.absRel, 1e-6);
    assertAlmostEquals(result.rmse!, expected.rmse, 1e-5);
    assert(result.photometric > 0 && result.photometric < 1, String(result.photometric));
  }
  assertEquals(validation.withoutTruth, undefined);
});

Deno.test("a privileged teacher is measured with what it sees in training", async () => {
  const plain = await measured({ stage: "teacher" });
  const privileged = await measured({ stage: "teacher", privilegedTeacher: true });
  assertAlmostEquals(plain.expected.absRel, privileged.expected.absRel, 1e-9);
  assert(Math.abs(plain.result.absRel! - privileged.result.absRel!) > 1e-6);
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
