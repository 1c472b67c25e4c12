/**
 * `deno task eval`: predicted disparities against true depths, by the protocol of the field.
 *
 * @module
 */
import { backendOptions } from "../lib/backend/options.ts";
import { UsageError } from "../lib/base/errors.ts";
import { choice, flag, number, type OptionsOf, text } from "../lib/base/options.ts";
import { Progress } from "../lib/base/progress.ts";
import { METRIC_COLUMNS, Table } from "../lib/charts/table.ts";
import { openDataset } from "../lib/data/dataset.ts";
import type { StereoPair } from "../lib/data/split.ts";
import { type Disparities, readDisparities } from "../lib/evaluation/disparities.ts";
import { evaluate } from "../lib/evaluation/protocol.ts";
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
  data: text({ value: "DIR", help: "Root folder of KITTI raw or street data (default: the run's own)." }),
  split: text({
    value: "FILE|NAME",
    help: "Frames, in the predictions' order: a file, eigen-test, eigen-val, or a name under DIR/splits " +
      "(default: the test part of the run's data).",
  }),
  crop: choice(["garg", "eigen", "none"], { default: "garg", help: "Part of the image that counts." }),
  cap: number({ default: 80, min: 0.01, unit: "m", help: "Greatest depth that counts." }),
  truth: choice(["lidar", "dense"], {
    default: "lidar",
    help: "True depths: the laser scans, or the depth maps under proj_depth/groundtruth.",
  }),
  json: flag({ help: "Print one JSON object and nothing else on standard output." }),
  ...backendOptions,
} as const;

type EvalOptions = OptionsOf<typeof evalOptions>;

/** What is evaluated: predictions and the frames they are of. */
interface Subject {
  readonly name: string;
  readonly root: string;
  readonly pairs: readonly StereoPair[];
  readonly disparities: Disparities;
  readonly flipped?: Disparities;
}

await runTask({
  name: "eval",
  summary:
    "Evaluates predicted disparities by the protocol of the field (Eigen et al. 2014): metrics of depth,\n" +
    "averaged over the images of a split. The predictions come from a file or from a run's network.",
  options: evalOptions,
  examples: [
    "deno task eval --predictions disparities.npy --data kitti --split eigen-test --crop garg --cap 80",
    "deno task eval --predictions disparities.npy --data data/street --split test --truth dense --json",
    "deno task eval --run runs/first --flip",
    "deno task eval --run runs/kitti --data kitti --split eigen-test --save-predictions disparities.npy",
  ],
}, async (options) => {
  const { crop, cap: capM, truth } = options;
  checkCall(options);
  const { name, ...subject } = options.run ? await predicted(options.run, options) : await stored(options);
  const progress = new Progress({ label: "evaluate", total: subject.pairs.length, unit: "frames" });
  const onProgress = (done: number) => progress.update(done);
  const metrics = await evaluate({ ...subject, crop, capM, truth, onProgress });
  progress.finish();
  if (metrics.images < subject.pairs.length) {
    progress.log(
      `${subject.pairs.length - metrics.images} of ${subject.pairs.length} frames have no point that counts`,
    );
  }
  if (options.json) return console.log(JSON.stringify(metrics));
  const { points, images, protocol } = metrics;
  const table = new Table({ columns: METRIC_COLUMNS, rows: [{ name, cells: { ...metrics } }] });
  console.log(`${table.text()}\n\n${images} images, ${points} points\n${protocol}`);
});

/** Refuses options that do not go together. */
function checkCall(options: EvalOptions): void {
  const { run, predictions, data, split } = options;
  const fail = (why: string): never => {
    throw new UsageError(`Cannot evaluate: ${why}`);
  };
  if (run === undefined) {
    const missing = Object.entries({ predictions, data, split }).filter(([, value]) => value === undefined);
    if (missing.length) fail(`${missing.map(([key]) => `--${key}`).join(", ")} not given (or --run)`);
    const { checkpoint, of, flip, savePredictions } = options;
    const idle = Object.entries({
      checkpoint,
      of,
      flip: flip || undefined,
      "save-predictions": savePredictions,
    })
      .filter(([, value]) => value !== undefined);
    if (idle.length) fail(`--${idle[0][0]} goes with --run, not with --predictions`);
  } else if (predictions ?? options.predictionsFlipped) {
    fail("--run and --predictions are two ways to say the same, wanted one of them");
  }
}

async function stored(
  { predictions, predictionsFlipped, data, split, truth }: EvalOptions,
): Promise<Subject> {
  const root = data!;
  const { pairs } = await openDataset({ data: root, split, part: "test", side: "left" });
  await checkTruth(root, pairs, truth);
  const disparities = await readDisparities(predictions!);
  const flipped = predictionsFlipped ? await readDisparities(predictionsFlipped) : undefined;
  return { name: predictions!, root, pairs, disparities, flipped };
}

/** Loads TensorFlow, which files of predictions do without. */
async function predicted(run: string, options: EvalOptions): Promise<Subject> {
  const { prepareBackend } = await import("../lib/backend/mod.ts");
  const { predictRun, writeDisparities } = await import("../lib/evaluation/run_predictions.ts");
  await prepareBackend(options);
  let progress: Progress | undefined;
  const { dataset, plain, flipped, name } = await predictRun(run, {
    ...options,
    onProgress: (done, total) => {
      progress ??= new Progress({ label: "predict", total, unit: "frames" });
      progress.update(done);
    },
  });
  progress?.finish();
  const path = options.savePredictions;
  if (path) {
    await writeDisparities(path, plain);
    if (flipped) await writeDisparities(path.replace(/(\.npy)?$/, "-flipped$1"), flipped);
  }
  const { root, pairs } = dataset;
  await checkTruth(root, pairs, options.truth);
  return { name: options.flip ? `${name}, flip-averaged` : name, root, pairs, disparities: plain, flipped };
}
