/**
 * `deno task street`: makes stereo street scenes in the layout of KITTI raw.
 *
 * @module
 */
import { Progress } from "../lib/base/progress.ts";
import { generateStreet, planStreet, STREET_SPECS } from "../lib/street/mod.ts";
import { runTask } from "./_task.ts";

await runTask({
  name: "street",
  summary:
    "Makes seeded stereo street scenes in the layout of KITTI raw, with laser scans, dense depth and a split\n" +
    "by drive. Run again, it finishes what is missing.",
  options: STREET_SPECS,
  examples: ["deno task street", "deno task street --out data/small --pairs 60 --size 64x192 --seed 2"],
}, async (options) => {
  const { plan } = planStreet(options);
  const total = plan.drives * plan.frames;
  const progress = new Progress({ label: "street", total, unit: "pairs" });
  const summary = await generateStreet(options, { onProgress: (done) => progress.update(done) });
  const rate = summary.rendered ? `, ${(summary.rendered / summary.seconds).toFixed(1)} pairs/s` : "";
  progress.finish(
    `street  ${summary.rendered} pairs rendered, ${total - summary.rendered} were there${rate}`,
  );
  const { train, val, test } = summary.splits;
  console.log(
    `${summary.out}: ${plan.drives} drives of ${plan.frames} frames, ${plan.height}×${plan.width} px, seed ${plan.seed}`,
  );
  console.log(`drives by split: train ${train.length}, val ${val.length}, test ${test.length}`);
});
