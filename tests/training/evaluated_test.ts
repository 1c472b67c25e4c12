import { assertEquals, assertGreater, assertLess } from "../_assert.ts";
import { selectBackend, tf } from "../../lib/backend/mod.ts";
import { PRESET_NAMES, resolveTraining, type TrainingInput } from "../../lib/training/options.ts";
import { STAGE_NAMES, type StageName } from "../../lib/training/stages.ts";
import { Trainer } from "../../lib/training/trainer.ts";
import { uniform } from "../_tensors.ts";
import { ofKind, records, testFolder, TINY } from "./_runs.ts";
import { writePairs } from "../data/_pairs.ts";

await selectBackend();

/** Small, and nothing but the photometric terms. */
const PHOTOMETRIC: TrainingInput = {
  architecture: "quick",
  pretrained: false,
  size: "64x64",
  steps: 1,
  batch: 1,
  coarse: 0,
  eager: true,
  consistencyWeight: 0,
  smoothnessWeight: 0,
  cycleConsistencyWeight: 0,
  cycleSmoothnessWeight: 0,
  refinedConsistencyWeight: 0,
  refinedSmoothnessWeight: 0,
  distillationWeight: 0,
  featureDistillationWeight: 0,
};

/** Length of the gradient by the kernel that predicts the evaluated disparity, the left view's. */
function evaluatedGradient(stage: StageName, given: TrainingInput): number {
  const options = resolveTraining({ ...given, ...PHOTOMETRIC, stage });
  const trainer = new Trainer(options, 1);
  const network = trainer.networks.get(stage === "teacher" ? "refine" : "student")!;
  const length = tf.tidy(() => {
    const { gradients } = trainer.gradients(uniform([1, 64, 64, 3], 1), uniform([1, 64, 64, 3], 2));
    const kernel = network.variables.get(`${network.scope}/head/0/kernel`)!;
    const channel = options.view === "left" ? 1 : 0; // source-aligned or target-aligned
    return { v: tf.norm(tf.gather(gradients[kernel.name], [channel], 3)).dataSync()[0] };
  }).v;
  trainer.dispose();
  return length;
}

for (const preset of PRESET_NAMES) {
  for (const stage of STAGE_NAMES) {
    Deno.test(`${preset}, ${stage}: the photometric terms train the disparity that is evaluated`, () => {
      // lite0 compares the input view alone, which the backward network cannot do with.
      const views = preset === "lite0" && stage !== "half-cycle" ? { photometricViews: "both" as const } : {};
      assertGreater(evaluatedGradient(stage, { preset, ...views }), 1e-4);
    });
  }
}

Deno.test("the paper's wiring, --view right, trains the evaluated disparity; left and target alone do not, and say so", async () => {
  assertGreater(evaluatedGradient("half-cycle", { view: "right", photometricViews: "target" }), 1e-4);
  assertLess(evaluatedGradient("half-cycle", { view: "left", photometricViews: "target" }), 1e-9);
  const data = await testFolder();
  await writePairs(data, 2, { width: 64, height: 32 });
  const warned = async (given: TrainingInput) =>
    ofKind(await records({ ...TINY, data, steps: 1, photometricViews: "target", ...given }), "warning")
      .filter(({ message }) => message.includes("by consistency alone")).length;
  assertEquals([await warned({}), await warned({ view: "right" })], [1, 0]);
});
