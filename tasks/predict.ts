/**
 * `deno task predict`: disparity of photographs.
 *
 * @module
 */
import { basename, extname } from "@std/path";
import { backendOptions, prepareBackend } from "../lib/backend/mod.ts";
import { UsageError } from "../lib/base/errors.ts";
import { choice, flag, text } from "../lib/base/options.ts";
import { writePhotograph } from "../lib/evaluation/photograph.ts";
import { findCheckpoint } from "../lib/training/checkpoint.ts";
import { loadModel } from "../lib/training/weights.ts";
import { userPath } from "./_paths.ts";
import { runTask } from "./_task.ts";

await runTask({
  name: "predict",
  summary:
    "Predicts the disparity of image files. Writes NAME_disparity.png, coloured, and NAME_disparity16.png,\n" +
    "16 bits a pixel: disparity in px of the image times 256, as KITTI stores it.",
  positionals: "IMAGE…",
  options: {
    run: text({ default: "runs/quickstart", value: "RUN", help: "Run, or a checkpoint's own folder." }),
    checkpoint: choice(["best", "latest"], { default: "best", help: "Which of the run's checkpoints." }),
    out: text({ default: "runs/predictions", value: "DIR", help: "Folder to write into." }),
    of: choice(["student", "teacher"], { default: "student", help: "Whose disparity." }),
    flip: flag({ help: "Average with the mirrored image's prediction: slower, a little better." }),
    ...backendOptions,
  },
  examples: ["deno task predict photo.jpg", "deno task predict --run runs/kitti --flip a.png b.png"],
}, async (options, images) => {
  if (images.length === 0) throw new UsageError("Cannot predict: no image given");
  const names = images.map((image) => basename(image, extname(image)));
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice) {
    throw new UsageError(
      `Cannot predict: two images are called ${twice}, one would replace the other; call twice`,
    );
  }
  await prepareBackend(options);
  const model = await loadModel((await findCheckpoint(options.run, options.checkpoint)).folder);
  for (const image of images) {
    const { coloured, raw } = await writePhotograph(model, userPath(image), options.out, options);
    console.log(`${coloured}\n${raw}`);
  }
  model.dispose();
});
