/**
 * `deno task street`: generates stereo street scenes in the layout of KITTI raw.
 *
 * @module
 */
import { Progress } from "../lib/base/terminal.ts";
import { generateStreet, planStreet, STREET_SPECS } from "../lib/street/mod.ts";
import { runTask } from "./_task.ts";

await runTask({
  name: "street",
  summary:
    "Generates seeded stereo street scenes in the layout of KITTI raw, with laser scans, dense depth and a " +
    "split by drive. Run again, it finishes what is missing.",
  options: STREET_SPECS,
  examples: ["deno task street", "deno task street --out data/small --pairs 60 --size 64x192 --seed 2"],
}, async (options) => {
  const { drives, frames, height, width, seed } = planStreet(options).plan;
  const progress = new Progress({ label: "street", total: drives * frames, unit: "pairs" });
  const { out, splits: { train, val, test }, rendered, seconds } = await generateStreet(options, {
    onProgress: (done) => progress.update(done),
  });
  const rate = rendered ? `, ${(rendered / seconds).toFixed(1)} pairs/s` : "";
  progress.finish(`street  ${rendered} pairs rendered, ${drives * frames - rendered} already there${rate}`);
  console.log(`${out}: ${drives} drives of ${frames} frames, ${height}×${width} px, seed ${seed}`);
  console.log(`drives by split: train ${train.length}, val ${val.length}, test ${test.length}`);
});
