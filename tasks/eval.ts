/**
 * `deno task eval`: predicted disparities against true depths, by the protocol of the field.
 *
 * @module
 */
import { UsageError } from "../lib/base/errors.ts";
import { choice, flag, number, text } from "../lib/base/options.ts";
import { Progress } from "../lib/base/progress.ts";
import { findSplit } from "../lib/data/kitti.ts";
import { checkPairs } from "../lib/data/split.ts";
import { readDisparities } from "../lib/evaluation/disparities.ts";
import { evaluate } from "../lib/evaluation/protocol.ts";
import { metricsTable } from "../lib/evaluation/tables.ts";
import { checkTruth } from "../lib/evaluation/truth.ts";
import { runTask } from "./_task.ts";

await runTask({
  name: "eval",
  summary:
    "Evaluates predicted disparities by the protocol of the field (Eigen et al. 2014): metrics of depth,\n" +
    "averaged over the images of a split.",
  options: {
    predictions: text({
      value: "FILE.npy",
      help: "Disparities of the left images, float32 [frames, height, width], fractions of the width.",
    }),
    predictionsFlipped: text({
      value: "FILE.npy",
      help: "Those of the mirrored images, as the network gave them: adds flip post-processing.",
    }),
    data: text({ value: "DIR", help: "Root folder of KITTI raw or street data." }),
    split: text({
      value: "FILE|NAME",
      help: "Frames, in the predictions' order: a file, eigen-test, eigen-val, or a name under DIR/splits.",
    }),
    crop: choice(["garg", "eigen", "none"], { default: "garg", help: "Part of the image that counts." }),
    cap: number({ default: 80, min: 0.01, unit: "m", help: "Greatest depth that counts." }),
    truth: choice(["lidar", "dense"], {
      default: "lidar",
      help: "True depths: the laser scans, or the depth maps under proj_depth/groundtruth.",
    }),
    json: flag({ help: "Print one JSON object and nothing else on standard output." }),
  },
  examples: [
    "deno task eval --predictions disparities.npy --data kitti --split eigen-test --crop garg --cap 80",
    "deno task eval --predictions disparities.npy --data data/street --split test --truth dense --json",
  ],
}, async (options) => {
  const { predictions, data: root, split, crop, cap: capM, truth } = options;
  if (!predictions || !root || !split) {
    const missing = Object.entries({ predictions, data: root, split }).filter(([, v]) => !v);
    throw new UsageError(`Cannot evaluate: ${missing.map(([k]) => `--${k}`).join(", ")} not given`);
  }
  const pairs = await checkPairs(root, await findSplit(root, split), "left");
  await checkTruth(root, pairs, truth);
  const disparities = await readDisparities(predictions);
  const flipped = options.predictionsFlipped ? await readDisparities(options.predictionsFlipped) : undefined;
  const progress = new Progress({ label: "evaluate", total: pairs.length, unit: "frames" });
  const onProgress = (done: number) => progress.update(done);
  const metrics = await evaluate({ root, pairs, disparities, flipped, crop, capM, truth, onProgress });
  progress.finish();
  if (metrics.images < pairs.length) {
    progress.log(`${pairs.length - metrics.images} of ${pairs.length} frames have no point that counts`);
  }
  if (options.json) console.log(JSON.stringify(metrics));
  else {
    const { points, images, protocol } = metrics;
    console.log(metricsTable([{ name: predictions, metrics }]));
    console.log(`\n${images} images, ${points} points\n${protocol}`);
  }
});
