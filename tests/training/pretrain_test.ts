import { assertEquals, assertNotEquals } from "../_assert.ts";
import { join } from "@std/path";
import { selectBackend } from "../../lib/backend/mod.ts";
import { exportCityscapes } from "../data/_cityscapes.ts";
import { openDataset } from "../../lib/data/dataset.ts";
import { loadCheckpoint } from "../../lib/training/checkpoint.ts";
import { checkpointDistance, ofKind, recordsIn, testFolder, TINY, tinyStreet } from "./_runs.ts";

await selectBackend();

Deno.test("a run pretrained on Cityscapes' layout is fine-tuned on KITTI's, with a new optimizer", async () => {
  const base = await testFolder();
  const street = join(base, "street"), city = join(base, "city");
  await tinyStreet(street);
  const { root, pairs } = await openDataset({ data: street, part: "train" });
  await exportCityscapes(root, pairs, city, "train");

  const pretraining = { ...TINY, data: city, split: "cityscapes", cropBottom: 0 };
  const before = ofKind(await recordsIn(join(base, "pretrained"), pretraining), "end")[0].folder!;
  const tuning = { ...TINY, data: street, steps: 1, warmup: 0 };
  // With a learning rate of 0 the weights that training starts from are those that it ends with.
  const still = ofKind(
    await recordsIn(join(base, "still"), { ...tuning, learningRate: 0 }, { from: [before] }),
    "end",
  );
  const [{ model: pretrained }, { model: start, facts }] = [
    await loadCheckpoint(before),
    await loadCheckpoint(still[0].folder!),
  ];
  assertEquals(start, pretrained);
  assertEquals([facts.step, facts.stage], [1, "half-cycle"]);
  const tuned = ofKind(await recordsIn(join(base, "tuned"), tuning, { from: [before] }), "end");
  assertNotEquals(await checkpointDistance(tuned[0].folder!, before), 0);
  const losses = async (name: string, from: string[]) =>
    ofKind(await recordsIn(join(base, name), tuning, { from }), "step").map(({ loss }) => loss);
  assertNotEquals(await losses("pretrained-start", [before]), await losses("own-start", []));
});
