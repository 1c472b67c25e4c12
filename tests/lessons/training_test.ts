import { assert, assertEquals, assertNotEquals, assertRejects } from "../_assert.ts";
import { join } from "@std/path";
import { selectBackend } from "../../lib/backend/select.ts";
import { tf } from "../../lib/backend/tf.ts";
import { openDataset } from "../../lib/data/dataset.ts";
import { CLOSED_GATES } from "../../lib/models/chain.ts";
import { findCheckpoint } from "../../lib/training/checkpoint.ts";
import { resolveTraining } from "../../lib/training/options.ts";
import { loadModel } from "../../lib/training/weights.ts";
import {
  firstTerms,
  LESSON_PLANS,
  lessonScore,
  LessonTraining,
  meanScore,
  readLessonFrame,
  tensorCount,
  termGradients,
  walkChain,
} from "../../lib/lessons/mod.ts";
import { checkpointDistance, testFolder, TINY, tinyStreet } from "../training/_runs.ts";

await selectBackend();
const base = await testFolder();
const street = join(base, "street");
await tinyStreet(street);
const dataset = await openDataset({ data: street });
const optionsOf = (given: Readonly<Record<string, unknown>>) => ({
  ...resolveTraining({ ...TINY, data: street, ...given }),
  steps: 4,
});
const open = (name: string, given: Readonly<Record<string, unknown>> = {}, from?: readonly string[]) =>
  LessonTraining.open({ folder: join(base, name), options: optionsOf(given), dataset, from });
const stepsOf = (training: LessonTraining) =>
  JSON.stringify(training.curve().spec.layer).match(/"step":\d+/g)!.length;

Deno.test("a training that is stopped goes on in the same and in another kernel, to the same weights", async () => {
  const before = tensorCount();
  const through = await open("through");
  await through.run();
  assertEquals([through.step, through.steps], [4, 4]);
  const stopped = await open("stopped");
  await stopped.run(1);
  assertEquals(stopped.step, 1);
  await stopped.run(2);
  assertEquals(stopped.step, 3);
  const again = await open("stopped");
  assertEquals(again.step, 3);
  assertEquals(stepsOf(again) > 0, true, "the curve of the earlier kernel is there");
  await again.run();
  assertEquals(again.step, 4);
  const folder = async (name: string) => (await findCheckpoint(join(base, name), "latest")).folder;
  assertEquals(await checkpointDistance(await folder("through"), await folder("stopped")), 0);
  assertEquals(tensorCount(), before);
});

Deno.test("stop ends a run that is not awaited, saved; two at a time are refused", async () => {
  const training = await open("background", { learningRate: 1e-3 });
  const running = training.run();
  await assertRejects(() => training.run(), Error, "it is running");
  await training.stop();
  await running;
  assert(training.step < 4, `stopped at ${training.step}`);
  assertEquals((await open("background", { learningRate: 1e-3 })).step, training.step);
});

Deno.test("what is finished, or was started with other options, begins anew", async () => {
  const training = await open("anew");
  await training.run();
  const again = await open("anew");
  assertEquals(again.step, 0);
  await again.run(1);
  assertEquals((await open("anew")).step, 1);
  assertEquals((await open("anew", { seed: 2 })).step, 0);
});

Deno.test("the model is a new one before training, then that of the last checkpoint; both can be looked at", async () => {
  const before = tf.memory().numTensors;
  const training = await open("model", { seed: 3 });
  const frame = await readLessonFrame(dataset, 0, { width: 64, height: 32 });
  const look = async () => {
    const model = await training.model();
    const walk = walkChain(model, frame);
    model.dispose();
    return walk;
  };
  const first = await look();
  assertEquals((await look()).disparity, first.disparity);
  await training.run(2);
  const second = await look();
  assertNotEquals(second.disparity.data[0], first.disparity.data[0]);
  assertEquals(second.input, frame.left);
  assertEquals(second.opposite, frame.right);
  assertEquals([second.cycle, second.refined, second.better], [undefined, undefined, undefined]);
  assertEquals(tf.memory().numTensors, before);
});

Deno.test("each term moves its own network, and the student as well once the gate is open", async () => {
  const student = await open("terms", { seed: 4 });
  await student.run();
  const from = [(await findCheckpoint(student.folder, "latest")).folder];
  const cycle = await open("terms-cycle", { stage: "cycle", freeze: "student" }, from);
  await cycle.run();
  const before = tf.memory().numTensors;
  const model = await loadModel((await findCheckpoint(cycle.folder, "latest")).folder);
  const frame = await readLessonFrame(dataset, 0, model.size);
  const closed = termGradients(model, frame, CLOSED_GATES);
  assertEquals(closed.map(({ term }) => term), [
    "photometric",
    "consistency",
    "smoothness",
    "cycle",
    "cycleConsistency",
    "cycleSmoothness",
  ]);
  for (const { term, value, norms } of closed) {
    assert(value > 0, term);
    const ofBackward = term.startsWith("cycle");
    assertEquals([norms.student! > 0, norms.backward! > 0], [!ofBackward, ofBackward], term);
  }
  const open_ = termGradients(model, frame, { ...CLOSED_GATES, cycleIntoStudent: 1 });
  assert(open_.find(({ term }) => term === "cycle")!.norms.student! > 0);
  assertEquals(open_.find(({ term }) => term === "photometric")!.norms.backward, 0);

  const walk = walkChain(model, frame);
  const { inconsistency, resynthesised } = walk.cycle!;
  const at = 3 * 70;
  const mean =
    [0, 1, 2].reduce((sum, c) => sum + Math.abs(frame.left.data[at + c] - resynthesised.data[at + c]), 0) /
    3 / 255;
  assert(Math.abs(inconsistency.data[70] - mean) < 1 / 255);
  model.dispose();
  assertEquals(tf.memory().numTensors, before);

  const terms = await firstTerms({ ...TINY, stage: "cycle" }, dataset, from);
  assertEquals(Object.keys(terms).length, 6);
});

Deno.test("students and the train-set mean are scored on the same frames", async () => {
  const training = await open("score", { seed: 5 });
  const model = await training.model();
  const test = await openDataset({ data: street, part: "test" });
  const score = await lessonScore(model, test);
  const mean = await meanScore({ train: dataset, truth: "dense" }, test, model.size);
  model.dispose();
  assertEquals([score.images, score.points, score.protocol], [mean.images, mean.points, mean.protocol]);
  assert(score.absRel > 0 && mean.absRel > 0);
});

Deno.test("plans start from plans that are there, and students that are compared learn as long", () => {
  for (const plan of Object.values(LESSON_PLANS)) {
    resolveTraining(plan.given);
    if ("from" in plan) assert(plan.from in LESSON_PLANS);
  }
  assertEquals(LESSON_PLANS.distilled.given.steps, LESSON_PLANS.continued.given.steps);
  assertEquals(LESSON_PLANS.teacher.given.steps, LESSON_PLANS["teacher-blind"].given.steps);
});
