/**
 * `deno task predict`: disparity of photographs.
 *
 * @module
 */
import { basename, extname, join } from "@std/path";
import { backendOptions, selectBackend } from "../lib/backend/mod.ts";
import { UsageError } from "../lib/base/errors.ts";
import { exists } from "../lib/base/files.ts";
import { choice, flag, text } from "../lib/base/options.ts";
import { disparityPicture } from "../lib/charts/depth.ts";
import { predictPhotograph, writeDisparityPng } from "../lib/evaluation/predict.ts";
import { loadModel } from "../lib/training/weights.ts";
import { runTask, userPath } from "./_task.ts";

await runTask({
  name: "predict",
  summary:
    "Predicts the disparity of image files. Writes NAME_disparity.png, colored, and NAME_disparity16.png,\n" +
    "16 bits per pixel: disparity in px of the image times 256, the format of KITTI.",
  positionals: "IMAGE…",
  options: {
    run: text({ default: "runs/quickstart", value: "RUN", help: "Run, or a checkpoint's own folder." }),
    checkpoint: choice(["best", "latest"], { default: "best", help: "Which of the run's checkpoints." }),
    out: text({ default: "runs/predictions", value: "DIR", help: "Output folder." }),
    of: choice(["student", "teacher"], { default: "student", help: "Whose disparity." }),
    flip: flag({ help: "Average with the mirrored image's prediction: slower, slightly better." }),
    ...backendOptions,
  },
  examples: ["deno task predict photo.jpg", "deno task predict --run runs/kitti --flip a.png b.png"],
}, async ({ run, checkpoint, out, of: network, flip, ...backend }, images) => {
  if (images.length === 0) throw new UsageError("Cannot predict: no image given");
  const names = images.map((image) => basename(image, extname(image)));
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice) {
    throw new UsageError(
      `Cannot predict: two images are called ${twice}, one would replace the other; run the task twice`,
    );
  }
  if (run === "runs/quickstart" && !(await exists(run))) {
    throw new UsageError(
      "Cannot predict: no run in runs/quickstart; train one with deno task quickstart, or give --run",
    );
  }
  await selectBackend(backend);
  const model = await loadModel(run, checkpoint);
  for (const [i, image] of images.entries()) {
    const { disparity } = await predictPhotograph(model, userPath(image), { network, flip });
    const colored = join(out, `${names[i]}_disparity.png`), raw = join(out, `${names[i]}_disparity16.png`);
    await disparityPicture(disparity, basename(image)).writePng(colored);
    await writeDisparityPng(raw, disparity);
    console.log(`${colored}\n${raw}`);
  }
  model.dispose();
});
