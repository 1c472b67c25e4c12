/**
 * `deno task eval`: predicted disparities against true depths, by the protocol of the field.
 *
 * @module
 */
import { backendOptions, selectBackend } from "../lib/backend/select.ts";
import { UsageError } from "../lib/base/errors.ts";
import { choice, flag, number, type OptionsOf, text } from "../lib/base/options.ts";
import { Progress, terminalColumns } from "../lib/base/terminal.ts";
import { METRIC_COLUMNS, Table } from "../lib/charts/table.ts";
import { openDataset } from "../lib/data/dataset.ts";
import { isManifest } from "../lib/data/manifest.ts";
import type { StereoPair } from "../lib/data/split.ts";
import { type Disparities, evaluate } from "../lib/evaluation/protocol.ts";
import { readDisparities } from "../lib/evaluation/results.ts";
import { checkTruth } from "../lib/evaluation/truth.ts";
import { runTask } from "./_task.ts";

const evalOptions = {
  predictions: text({
    value: "FILE.npy",
    help: "Disparities of the left images, float32 [frames, height, width], fractions of the width.",
  }),
  predictionsFlipped: text({
    value: "FILE.npy",
    help: "Those of the mirrored images, as the network gave them: adds flip post-processing.",
  }),
  run: text({ value: "RUN", help: "Predict with a run's network instead: its folder, or a checkpoint's." }),
  checkpoint: choice(["best", "latest"], { help: "Which of the run's checkpoints (default best)." }),
  of: choice(["student", "teacher"], { help: "Whose disparity, with --run (default student)." }),
  flip: flag({ help: "Average with the mirrored images' predictions, with --run." }),
  savePredictions: text({
    value: "FILE.npy",
    help: "Keep the run's predictions; with --flip those of the mirrored images in FILE-flipped.npy.",
  }),
  data: text({
    value: "DIR[,FILE…]",
    help: "Root folder of KITTI raw or street data, or a manifest (default: the run's own).",
  }),
  split: text({
    value: "FILE|NAME",
    help: "Frames, in the predictions' order: a file, eigen-test, eigen-val, or a name under DIR/splits " +
      "(default: the test part of the run's data).",
  }),
  crop: choice(["garg", "eigen", "none"], { default: "garg", help: "Part of the image to evaluate." }),
  cap: number({ default: 80, min: 0.01, unit: "m", help: "Maximum depth to evaluate." }),
  truth: choice(["lidar", "dense"], {
    default: "lidar",
    help: "True depths: the laser scans, or the depth maps under proj_depth/groundtruth.",
  }),
  json: flag({ help: "Print one JSON object and nothing else on standard output." }),
  ...backendOptions,
} as const;

type EvalOptions = OptionsOf<typeof evalOptions>;

/** Predictions, the frames that they are of, and what to call them. */
interface Subject {
  readonly name: string;
  readonly path: string;
  readonly root: string;
  readonly pairs: readonly StereoPair[];
  readonly disparities: Disparities;
  readonly flipped?: Disparities;
}

await runTask({
  name: "eval",
  summary:
    "Evaluates predicted disparities by the protocol of the field (Eigen et al. 2014): depth metrics,\n" +
    "averaged over the images of a split. The predictions come from a file or from a run's network.",
  options: evalOptions,
  examples: [
    "deno task eval --predictions disparities.npy --data kitti --split eigen-test",
    "deno task eval --predictions disparities.npy --data data/street --split test --json",
    "deno task eval --run runs/first --flip",
    "deno task eval --run runs/kitti --data kitti --split eigen-test --save-predictions d.npy",
  ],
}, async (options) => {
  const { crop, cap: capM, truth } = options;
  checkCall(options);
  const subject = options.run ? await predicted(options.run, options) : await stored(options);
  const total = subject.pairs.length;
  const progress = new Progress({ label: "evaluate", total, unit: "frames" });
  const onProgress = (done: number) => progress.update(done);
  const metrics = await evaluate({ ...subject, crop, capM, truth, onProgress });
  progress.finish();
  const { points, images, protocol } = metrics;
  if (images < total) progress.log(`${total - images} of ${total} frames have no point inside crop and cap`);
  if (options.json) return console.log(JSON.stringify(metrics));
  const table = new Table({ columns: METRIC_COLUMNS, rows: [{ name: subject.name, cells: { ...metrics } }] });
  console.log(`${subject.path}\n\n${table.text(terminalColumns())}\n\n${images} images, ${points} points`);
  console.log(protocol.replaceAll("; ", "\n"));
});

/** Rejects options that do not go together. */
function checkCall(options: EvalOptions): void {
  const { run, predictions, data, split } = options;
  const fail = (why: string): never => {
    throw new UsageError(`Cannot evaluate: ${why}`);
  };
  if (run === undefined) {
    const needed = data !== undefined && isManifest(data) ? { predictions } : { predictions, data, split };
    const missing = Object.entries(needed).filter(([, value]) => value === undefined);
    if (missing.length) fail(`missing ${missing.map(([key]) => `--${key}`).join(", ")} (or give --run)`);
    const { checkpoint, of, savePredictions } = options;
    const unused = { checkpoint, of, flip: options.flip || undefined, "save-predictions": savePredictions };
    const found = Object.entries(unused).find(([, value]) => value !== undefined);
    if (found) fail(`--${found[0]} goes with --run, not with --predictions`);
  } else if (predictions ?? options.predictionsFlipped) {
    fail("found --run and --predictions, expected one of them");
  }
}

async function stored(
  { predictions, predictionsFlipped, data, split, truth }: EvalOptions,
): Promise<Subject> {
  const path = predictions!;
  const { root, pairs } = await openDataset({ data: data!, split, holdout: 1, part: "test", side: "left" });
  await checkTruth(root, pairs, truth);
  const disparities = await readDisparities(path);
  const flipped = predictionsFlipped ? await readDisparities(predictionsFlipped) : undefined;
  return { name: "predictions", path, root, pairs, disparities, flipped };
}

/** Loads TensorFlow, which is not needed for files of predictions. */
async function predicted(run: string, options: EvalOptions): Promise<Subject> {
  const { predictRun } = await import("../lib/evaluation/predict.ts");
  const { writeNpy } = await import("../lib/data/npy.ts");
  await selectBackend(options);
  const { of: network = "student", flip, savePredictions: file } = options;
  let progress: Progress | undefined;
  const { dataset: { root, pairs }, plain, flipped, checkpoint: path } = await predictRun(run, {
    ...options,
    network,
    onProgress: (done, total) => {
      progress ??= new Progress({ label: "predict", total, unit: "frames" });
      progress.update(done);
    },
  });
  progress?.finish();
  const save = (to: string, { count, height, width, data }: Disparities) =>
    writeNpy(to, { shape: [count, height, width], data: data as Float32Array<ArrayBuffer> });
  if (file) await save(file, plain);
  if (file && flipped) await save(file.replace(/(\.npy)?$/, "-flipped$1"), flipped);
  await checkTruth(root, pairs, options.truth);
  return { name: flip ? `${network}, flip` : network, path, root, pairs, disparities: plain, flipped };
}
