/**
 * A script: a student trains, is saved and predicts on WebGPU; its loss is that of plain JavaScript. Run by webgpu_test.ts
 * in a process of its own: after hundreds of other tests a software adapter answers at a crawl.
 *
 * @module
 */
import { assert, assertAlmostEquals, assertEquals, assertNotEquals } from "../_assert.ts";
import { selectBackend } from "../../lib/backend/select.ts";
import { tf } from "../../lib/backend/tf.ts";
import { predictImage } from "../../lib/evaluation/predict.ts";
import { resolveTraining } from "../../lib/training/options.ts";
import { Trainer } from "../../lib/training/trainer.ts";
import { collectMoments, collectWeights } from "../../lib/training/weights.ts";
import { noiseBatch } from "./_runs.ts";

await selectBackend({ backend: "webgpu" });
const size = { height: 32, width: 32 };
const options = resolveTraining({ size: "32x32", coarse: 0, batch: 1, seed: 2, warmup: 0 });
const batch = await noiseBatch(1, 1, 32, 32);
const losses: number[] = [];
const trainer = new Trainer(options, 10);
const before = await collectWeights(trainer.networks.values());
for (let step = 0; step < 2; step++) losses.push((await trainer.update(batch)).loss);
const after = await collectWeights(trainer.networks.values());
assertEquals((await collectMoments(trainer.optimizer, trainer.networks.values())).size, 2 * after.size);
for (const [name, { data }] of after) assertNotEquals(data, before.get(name)!.data, name);
const image = { ...size, data: new Uint8Array(32 * 32 * 3).fill(90) };
const map = await predictImage({ student: trainer.networks.get("student")! }, image, { size });
assert(map.data.every((d) => d > 0 && d < 0.3));
trainer.dispose();
// The same updates in plain JavaScript.
await tf.setBackend("cpu");
const reference = new Trainer(options, 10);
for (const loss of losses) {
  const expected = (await reference.update(batch)).loss;
  assertAlmostEquals(loss, expected, 2e-3 * expected);
}
reference.dispose();
