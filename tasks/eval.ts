/**
 * `deno task eval`: predicted disparities or depths against true depths, by the protocols of the field.
 *
 * @module
 */
import { join } from "@std/path";
import { backendOptions, selectBackend } from "../lib/backend/select.ts";
import { UsageError } from "../lib/base/errors.ts";
import { exists, readJson, writeAtomic } from "../lib/base/files.ts";
import { choice, flag, integer, list, number, type OptionsOf, text } from "../lib/base/options.ts";
import { Progress, styled, terminalColumns } from "../lib/base/terminal.ts";
import { EXTRA_COLUMNS, METRIC_COLUMNS, Table } from "../lib/charts/table.ts";
import { imagePath, openDataset, type StereoDataset } from "../lib/data/dataset.ts";
import { readRgb } from "../lib/data/image.ts";
import { eigenNames, eigenSplit } from "../lib/data/kitti.ts";
import { isManifest } from "../lib/data/manifest.ts";
import type { StereoPair } from "../lib/data/split.ts";
import {
  bootstrapMeans,
  compareFrames,
  type Comparison,
  driveOf,
  ErrorProfile,
  type Interval,
  type ProfileBin,
} from "../lib/evaluation/analysis.ts";
import { extraMetrics } from "../lib/evaluation/dense.ts";
import { MAKE3D_CAP_M, openMake3d, readMake3dTruth } from "../lib/evaluation/make3d.ts";
import { scoreInThreads, startThreads } from "../lib/evaluation/parallel.ts";
import {
  checkPredictions,
  openPredictions,
  PREDICTION_UNITS,
  type PredictionFiles,
  type PredictionUnit,
} from "../lib/evaluation/predictions.ts";
import {
  combineFlipped,
  cropBox,
  type DepthMetrics,
  type Disparities,
  evaluateAll,
  type Evaluation,
  type EvaluationInput,
  type FrameScore,
  meanMetrics,
  metricNames,
  type Protocol,
  readMap,
} from "../lib/evaluation/protocol.ts";
import {
  checkTruth,
  hasTruth,
  isUncapped,
  type Truth,
  TRUTH_KINDS,
  type TruthKind,
  truthMap,
  truthReader,
} from "../lib/evaluation/truth.ts";
import { runTask } from "./_task.ts";

const evalOptions = {
  predictions: text({
    value: "FILE.npy|DIR",
    help:
      "Predictions of the left images in the split's order: float32 [frames, height, width], or a folder of .npy " +
      "or 16-bit PNG files (px or m · 256), one per frame.",
  }),
  units: choice(Object.keys(PREDICTION_UNITS) as PredictionUnit[], {
    default: "width",
    help:
      "What they are: disparities as fractions of the width or in px of the map, depths in m, inverse depths in " +
      "1/m, or what monodepth2 saves (5.4 / depth).",
  }),
  predictionsFlipped: text({
    value: "FILE.npy|DIR",
    help: "Those of the mirrored images, as the network gave them: adds flip post-processing.",
  }),
  run: text({
    value: "RUN",
    help: "Predict with a network instead: a run's folder, a checkpoint's, or a model file.",
  }),
  checkpoint: choice(["best", "latest"], { help: "Which of the run's checkpoints (default best)." }),
  of: choice(["student", "teacher"], { help: "Whose disparity, with --run (default student)." }),
  flip: flag({ help: "Average with the mirrored images' predictions, with --run." }),
  savePredictions: text({
    value: "FILE.npy",
    help: "Keep the run's predictions; with --flip those of the mirrored images in FILE-flipped.npy.",
  }),
  shard: text({
    value: "I/N",
    pattern: { regexp: /^\d+\/[1-9]\d*$/, expected: "I/N, with I from 0 to N - 1" },
    help: "Predict only frames I, I + N, …, with --run and --json: the share of one of N machines.",
  }),
  merge: list({
    value: "FILE.json",
    help: "Put together what all of the shards printed, instead of evaluating.",
  }),
  data: text({
    value: "DIR[,FILE…]",
    help:
      "Root folder of KITTI raw, street data, stereo 2015 or Cityscapes, or a manifest (default: the run's own).",
  }),
  split: text({
    value: "FILE|NAME",
    help:
      "Frames, in the predictions' order: a file, eigen-test, eigen-files (the same in the order of the field's " +
      "test_files.txt), eigen-benchmark (the 652 of them with annotated depth), eigen-val, stereo2015, cityscapes, " +
      "make3d, or a name under DIR/splits (default: the test part of the run's data).",
  }),
  truth: choice(Object.keys(TRUTH_KINDS) as TruthKind[], {
    default: "lidar",
    help: "True depths: the laser scans' x or z, KITTI's annotated depth maps, depth maps under " +
      "proj_depth/groundtruth, stereo 2015's disp_occ_0 or disp_noc_0, Cityscapes' disparities. A manifest and make3d have their own.",
  }),
  crop: choice(["garg", "eigen", "cityscapes", "none"], {
    help:
      "Part of the image to evaluate (default: garg; none for improved, occ, noc and make3d; cityscapes for cityscapes).",
  }),
  cap: number({ min: 0.01, unit: "m", help: "Maximum depth to evaluate (default: 80; make3d: 70)." }),
  medianScaling: flag({
    help: "Take each image's scale from its truth, for predictions without a scale of their own.",
  }),
  against: text({
    value: "FILE.npy|DIR|RUN",
    help: "Compare frame by frame with other predictions, in the same units, or another run.",
  }),
  json: flag({ help: "Print one JSON object and nothing else on standard output." }),
  markdown: flag({ help: "Print the table as Markdown." }),
  latex: flag({ help: "Print the table as LaTeX." }),
  csv: text({ value: "FILE.csv", help: "Write the metrics of each image." }),
  overwrite: flag({ help: "--save-predictions, --csv: replace the file that is there." }),
  plots: text({
    value: "DIR",
    help: "Draw error by distance, error by row of the image, and the worst images (.svg, .png).",
  }),
  worst: integer({
    default: 6,
    min: 1,
    max: 50,
    unit: "images",
    help: "How many of the worst images to draw.",
  }),
  ...backendOptions,
} as const;

type EvalOptions = OptionsOf<typeof evalOptions>;

/** Predictions, the frames that they are of, and what to call them. */
interface Subject extends Pick<StereoDataset, "root" | "name" | "pairs" | "cropBottom"> {
  readonly label: string;
  readonly path: string;
  readonly disparities: Exclude<EvaluationInput["disparities"], { readonly count?: undefined }>;
  readonly flipped?: EvaluationInput["flipped"];
  /** They score files; predictions in memory are a network's, whose own time matters more. */
  readonly threads?: readonly Worker[];
  /** Compares files with the truth of some frames, so that no other unit or order is evaluated. */
  readonly check?: () => Promise<void>;
}

/** How predictions did. */
interface Scores {
  readonly subject: Pick<Subject, "label" | "path" | "root" | "name" | "pairs">;
  readonly evaluation: Evaluation;
  readonly frames: readonly FrameScore[];
  readonly profile: ErrorProfile;
  readonly interval: Readonly<Record<keyof DepthMetrics, Interval>>;
}

await runTask({
  name: "eval",
  summary:
    "Evaluates predicted disparities or depths by the protocols of the field: depth metrics, averaged over the images\n" +
    "of a split. The predictions come from anyone's files or from a run's network.",
  options: evalOptions,
  headings: { data: "Truth and protocol", json: "Output", backend: "Backend" },
  examples: [
    "deno task eval --predictions disparities.npy --data kitti --split eigen-test",
    "deno task eval --predictions disps_eigen_split.npy --units monodepth2 --data kitti --split eigen-files",
    "deno task eval --predictions depth_png --units metres --data kitti --split eigen-files --truth improved",
    "deno task eval --run runs/first --data make3d --split make3d --median-scaling",
    "deno task eval --run runs/first --flip --against runs/second --plots runs/first/eval",
    "deno task eval --run runs/kitti --data kitti --split eigen-test --save-predictions d.npy",
    "deno task eval --run runs/kitti --shard 0/2 --json > 0.json",
    "deno task eval --merge 0.json,1.json",
  ],
}, async (given) => {
  checkCall(given);
  for (const file of given.overwrite ? [] : [given.savePredictions, given.csv]) {
    if (file === undefined || !await exists(file)) continue;
    throw new UsageError(`Cannot write ${file}: it is there already; give --overwrite, or another name`);
  }
  const options = { ...given, truth: given.split === "make3d" ? "make3d" : given.truth } as const;
  const { truth, medianScaling } = options, capM = options.cap ?? (truth === "make3d" ? MAKE3D_CAP_M : 80);
  const crop = options.crop ??
    (truth === "cityscapes" ? truth : isUncapped(truth) || truth === "make3d" ? "none" : "garg");
  const protocol: Protocol = { crop, capM, medianScaling };
  if (options.merge) return print(await merged(options.merge), options);
  const subject = options.run
    ? await predicted(options.run, options)
    : await stored(options.predictions!, options.predictionsFlipped, options);
  const scores = await score(subject, options, protocol);
  const rival = options.against === undefined
    ? undefined
    : await score(await rivalOf(options.against, options), options, protocol);
  const comparison = rival && compareFrames(scores.frames, rival.frames);
  if (comparison?.frames === 0) {
    throw new UsageError(
      `Cannot compare with ${options.against}: it has no frame in common, give --data and --split`,
    );
  }
  if (options.plots !== undefined) {
    await draw(options.plots, subject, scores, rival, options.worst, protocol, truth);
  }
  await print(scores, options, rival, comparison);
});

async function print(
  scores: Scores,
  options: EvalOptions,
  rival?: Scores,
  comparison?: Comparison,
): Promise<void> {
  if (options.csv !== undefined) await writeAtomic(options.csv, framesCsv(scores.frames));
  if (options.json) {
    const { label } = scores.subject;
    const shard = options.shard && { shard: { ...parseShard(options.shard), label, frames: scores.frames } };
    return console.log(
      JSON.stringify({ ...scores.evaluation, ...details(scores, rival, comparison), ...shard }),
    );
  }
  const medianScaling = /MEDIAN/.test(scores.evaluation.protocol);
  const table = tableOf(scores, rival, comparison, medianScaling);
  if (options.markdown) console.log(table.markdown());
  else if (options.latex) console.log(table.latex());
  else console.log(`${scores.subject.path}\n\n${table.text(terminalColumns())}\n`);
  // The protocol belongs to the numbers, whatever their form.
  const lines = describe(scores).map((line) => options.latex ? `% ${line}` : line);
  console.log(lines.join(options.markdown ? "  \n" : "\n"));
  if (medianScaling) {
    console.error(styled(["red", "bold"], "Median scaling is on: scale is taken from the truth"));
  }
}

/** Rejects options that do not go together. */
function checkCall(options: EvalOptions): void {
  const { run, predictions, data, split } = options;
  const fail = (why: string): never => {
    throw new UsageError(`Cannot evaluate: ${why}`);
  };
  if (options.truth === "make3d" && split !== "make3d") fail("--truth make3d goes with --split make3d");
  const { shard, merge, against, plots } = options;
  const alone = Object.entries({ run, predictions, shard, against, plots });
  const other = merge && alone.find(([, value]) => value !== undefined);
  if (other) fail(`--${other[0]} does not go with --merge`);
  if (merge) return;
  if (shard && !(run && options.json)) fail("--shard goes with --run and --json");
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
  const forms = (["json", "markdown", "latex"] as const).filter((form) => options[form]);
  if (forms.length > 1) fail(`found --${forms.join(" and --")}, expected one of them`);
}

/** Predictions from files. */
async function stored(path: string, flippedPath: string | undefined, options: EvalOptions): Promise<Subject> {
  const { data, split, truth, units, medianScaling } = options;
  const disparities = await openPredictions(path, units);
  const flipped = flippedPath === undefined ? undefined : await openPredictions(flippedPath, units);
  const started = truth === "make3d" ? [] : startThreads(disparities.count); // its maps are small
  const threads = started.length ? started : undefined;
  const dataset = truth === "make3d"
    ? await openMake3d(data!)
    : await openDataset({ data: data!, split, holdout: 1, part: "test", side: "none" });
  const { root, pairs } = dataset;
  await checkTruth(root, pairs, truth);
  const check = async () => {
    if (disparities.count !== pairs.length) return; // said by the evaluation
    const others = Object.entries(eigenNames).filter(([name, part]) =>
      name !== split && (part === "test" || part === "files")
    );
    const known = split === "eigen-test" || split === "eigen-files";
    await checkPredictions(disparities, pairs, readerOf(root, truth), {
      scaled: medianScaling,
      has: (pair) => hasTruth(pair, truth),
      others: known ? Object.fromEntries(others.map(([name, part]) => [name, eigenSplit(part)])) : {},
    });
  };
  return { ...dataset, label: "predictions", path, disparities, flipped, threads, check };
}

/** What to compare with: files where the path holds some, else a run. */
async function rivalOf(path: string, options: EvalOptions): Promise<Subject> {
  let files = path.endsWith(".npy");
  try {
    for await (const { name } of Deno.readDir(path)) files ||= /\.(npy|png)$/i.test(name);
  } catch { /* a file, or whoever reads it says what is wrong */ }
  const subject = files
    ? await stored(path, undefined, options)
    : await predicted(path, { ...options, savePredictions: undefined });
  return { ...subject, label: "against" };
}

/** Loads TensorFlow, which is not needed for files of predictions. */
async function predicted(run: string, options: EvalOptions): Promise<Subject> {
  const { predictRun } = await import("../lib/evaluation/predict.ts");
  const { writeNpy } = await import("../lib/data/npy.ts");
  await selectBackend(options);
  const { of: network = "student", flip, savePredictions: file } = options;
  let progress: Progress | undefined;
  if (options.split === "make3d" && options.data === undefined) {
    throw new UsageError("Cannot evaluate: --split make3d goes with --data DIR");
  }
  const { dataset, plain, flipped, checkpoint: path } = await predictRun(run, {
    ...options,
    dataset: options.split === "make3d" ? await openMake3d(options.data!) : undefined,
    network,
    shard: options.shard === undefined ? undefined : parseShard(options.shard),
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
  await checkTruth(dataset.root, dataset.pairs, options.truth);
  return { ...dataset, label: flip ? `${network}, flip` : network, path, disparities: plain, flipped };
}

async function score(subject: Subject, { truth }: EvalOptions, protocol: Protocol): Promise<Scores> {
  const total = subject.pairs.length, frames: FrameScore[] = [], profile = new ErrorProfile();
  const progress = new Progress({ label: "evaluate", total, unit: "frames" });
  const { root, pairs, disparities, flipped, threads, check } = subject;
  const input: EvaluationInput = {
    ...subject,
    truth,
    reader: readerOf(root, truth),
    extra: truth === "make3d" ? undefined : extraMetrics,
    onProgress: (done) => progress.update(done),
    onFrame: (frame) => frames.push(frame),
    onPoints: profile.add,
  };
  const source = ({ path, unit }: PredictionFiles) => ({ path, unit });
  const job = { root, pairs, truth, protocol, flipped: flipped && source(flipped as PredictionFiles) };
  if (!threads) await check?.();
  const results = threads && scoreInThreads(
    threads,
    { ...job, disparities: source(disparities as PredictionFiles) },
    input,
    profile,
    check,
  );
  const [measured] = await evaluateAll(input, [protocol], results);
  const evaluation = truth === "make3d"
    ? { ...measured, extra: { log10: measured.rmseLog / Math.LN10 } }
    : measured;
  progress.finish();
  const known = subject.pairs.filter((pair) => hasTruth(pair, truth)).length;
  if (known < total) progress.log(`${total - known} of ${total} frames have no annotated depth`);
  if (evaluation.images < known) {
    progress.log(`${known - evaluation.images} of ${known} frames have no point inside crop and cap`);
  }
  return { subject, evaluation, frames, profile, interval: intervalOf(frames) };
}

/** Reads the truths of a data set. */
function readerOf(root: string, truth: TruthKind): (pair: StereoPair) => Promise<Truth> {
  return truth === "make3d" ? (pair) => readMake3dTruth(root, pair) : truthReader(root, truth);
}

function intervalOf(frames: readonly FrameScore[]): Scores["interval"] {
  return bootstrapMeans(
    frames.map(({ metrics }) => metrics),
    frames.map(({ pair }) => driveOf(pair.left)),
  );
}

function parseShard(text: string): { readonly index: number; readonly of: number } {
  const [index, of] = text.split("/").map(Number);
  if (index < of) return { index, of };
  throw new UsageError(`Cannot evaluate: --shard is ${text}, expected I/N, with I from 0 to N - 1`);
}

/** The evaluation of all frames, from what the shards printed. */
async function merged(paths: readonly string[]): Promise<Scores> {
  const parts = await Promise.all(paths.map(async (path) => {
    const part = await readJson(path) as
      & Evaluation
      & ReturnType<typeof details>
      & { readonly shard: ReturnType<typeof parseShard> & { label: string; frames: FrameScore[] } };
    if (part?.shard) return part;
    throw new UsageError(`Cannot merge ${path}: expected what eval --shard I/N --json prints`);
  }));
  const [{ protocol, shard: { of, label }, details: { predictions, data, split } }] = parts;
  const kinds = new Set(parts.map((part) => `${part.protocol} ${part.details.split} ${part.shard.of}`));
  const found = parts.map(({ shard }) => shard.index).sort((a, b) => a - b);
  if (kinds.size > 1 || found.join() !== [...Array(of).keys()].join()) {
    throw new UsageError(
      `Cannot merge ${paths.join(", ")}: expected shards 0/${of} to ${
        of - 1
      }/${of} of one evaluation, each once`,
    );
  }
  const frames = parts.flatMap(({ shard }) =>
    shard.frames.map((frame) => ({ ...frame, index: shard.index + of * frame.index }))
  ).sort((a, b) => a.index - b.index);
  const sum = (numbers: number[]) => numbers.reduce((a, b) => a + b, 0);
  return {
    subject: {
      label,
      path: predictions,
      root: data,
      name: split,
      pairs: Array(sum(parts.map(({ details }) => details.frames))),
    },
    evaluation: {
      ...meanMetrics(frames.map(({ metrics }) => metrics)),
      points: sum(parts.map(({ points }) => points)),
      images: frames.length,
      protocol,
    },
    frames,
    profile: new ErrorProfile(),
    interval: intervalOf(frames),
  };
}

/** What JSON holds besides the means. */
function details({ subject, frames, profile, interval }: Scores, rival?: Scores, comparison?: Comparison) {
  const { path, root, name, pairs } = subject, { byDistance, byRow } = profile;
  const bounds = ({ low, high }: Interval) => [low, high];
  const ofMetrics = <T>(values: Readonly<Record<keyof DepthMetrics, T>>, change: (value: T) => unknown) =>
    Object.fromEntries(metricNames.map((metric) => [metric, change(values[metric])]));
  return {
    details: {
      predictions: path,
      data: root,
      split: name,
      frames: pairs.length,
      interval95: ofMetrics(interval, bounds),
      scales: scalesOf(frames),
      byDistance,
      byRow,
      against: rival && comparison && {
        predictions: rival.subject.path,
        ...ofMetrics(rival.evaluation, (value) => value),
        difference: ofMetrics(comparison.difference, ({ mean }) => mean),
        interval95: ofMetrics(comparison.difference, bounds),
        frames: comparison.frames,
        better: comparison.better,
      },
    },
  };
}

/** What median scaling multiplied by. */
function scalesOf(frames: readonly FrameScore[]) {
  const scales = frames.map(({ scale }) => scale),
    mean = scales.reduce((sum, s) => sum + s, 0) / scales.length;
  const deviation = Math.sqrt(scales.reduce((sum, s) => sum + (s - mean) ** 2, 0) / scales.length);
  return { mean, deviation };
}

function tableOf(
  scores: Scores,
  rival: Scores | undefined,
  comparison: Comparison | undefined,
  scaled: boolean,
): Table {
  const half = ({ low, high }: Interval) => (high - low) / 2;
  const row = ({ subject: { label }, evaluation, interval }: Scores) => ({
    name: scaled ? `${label}, MEDIAN-SCALED` : label,
    cells: {
      ...Object.fromEntries(
        metricNames.map((name) => [name, { value: evaluation[name], deviation: half(interval[name]) }]),
      ),
      ...evaluation.extra,
      ...evaluation.extra?.log10 !== undefined && {
        log10: { value: evaluation.extra.log10, deviation: half(interval.rmseLog) / Math.LN10 },
      },
    },
  });
  const { extra = {} } = scores.evaluation;
  // Make3D's criterion C1 has four metrics.
  const main = "log10" in extra ? METRIC_COLUMNS.slice(0, 3) : METRIC_COLUMNS;
  const columns = [...main, ...EXTRA_COLUMNS.filter(({ key }) => key in extra)];
  const drives = new Set(scores.frames.map(({ pair }) => driveOf(pair.left))).size;
  const notes = [`± half of the 95 % interval, bootstrap over ${drives < 5 ? "images" : `${drives} drives`}`];
  if (!comparison) return new Table({ columns, rows: [row(scores)], notes });
  const difference = Object.fromEntries(metricNames.map((name) => {
    const interval = comparison.difference[name];
    return [name, { value: interval.mean, deviation: half(interval) }];
  }));
  const better = `${
    (100 * comparison.better).toFixed(0)
  } % of ${comparison.frames} images have a lower abs rel`;
  return new Table({
    columns,
    rows: [row(scores), row(rival!), { name: "difference, paired", group: "difference", cells: difference }],
    notes: [...notes, `against ${rival!.subject.path}: ${better}`],
  });
}

/** The whole protocol, line by line. */
function describe({ subject, evaluation, frames }: Scores): string[] {
  const { images, points, protocol } = evaluation, { mean, deviation } = scalesOf(frames);
  return [
    `${images} images of ${subject.pairs.length} in ${subject.root} (${subject.name}), ${points} points`,
    ...protocol.split("; ").map((part) =>
      part.startsWith("MEDIAN") ? `${part}, × ${mean.toFixed(3)} ± ${deviation.toFixed(3)}` : part
    ),
  ];
}

function framesCsv(frames: readonly FrameScore[]): string {
  const header = ["frame", "left", ...metricNames, "points", "scale"];
  const rows = frames.map((
    { index, pair, metrics, points, scale },
  ) => [index, JSON.stringify(pair.left), ...metricNames.map((name) => metrics[name]), points, scale]);
  return [header, ...rows].map((row) => `${row.join(",")}\n`).join("");
}

/** Draws where errors arise, and the images with the largest. What draws is loaded here: most calls do not. */
async function draw(
  folder: string,
  { root, cropBottom, disparities, flipped }: Subject,
  scores: Scores,
  rival: Scores | undefined,
  worst: number,
  protocol: Protocol,
  kind: TruthKind,
): Promise<void> {
  const { lineChart } = await import("../lib/charts/curves.ts");
  const { panel } = await import("../lib/charts/depth.ts");
  const all = [scores, ...rival ? [rival] : []];
  const lines = (bins: (profile: ErrorProfile) => readonly ProfileBin[], unit: number) =>
    all.flatMap(({ subject: { label }, profile }) =>
      (["absRel", "bias"] as const).map((key) => ({
        name: `${label}, ${key === "absRel" ? "|error|" : "error"}`,
        points: bins(profile).map((bin) =>
          [unit * (Number.isFinite(bin.to) ? (bin.from + bin.to) / 2 : bin.from), bin[key]] as const
        ),
      }))
    );
  const yLabel = "error / true depth";
  const charts = {
    error_by_distance: lineChart(lines((profile) => profile.byDistance, 1), {
      title: "Error by distance",
      xLabel: "true depth, m",
      yLabel,
    }),
    error_by_row: lineChart(lines((profile) => profile.byRow, 100), {
      title: "Error by row of the image",
      xLabel: "row, % of the height from the top",
      yLabel,
    }),
  };
  for (const [name, chart] of Object.entries(charts)) {
    await chart.writeSvg(join(folder, `${name}.svg`));
    await chart.writePng(join(folder, `${name}.png`));
  }
  const order = scores.frames.toSorted((a, b) => b.metrics.absRel - a.metrics.absRel).slice(0, worst);
  const samples = await Promise.all(order.map(async ({ index, pair, metrics, scale }) => {
    const truth = await readerOf(root, kind)(pair), { camera } = truth;
    const plain = await readMap(disparities, index, camera);
    const map = flipped ? combineFlipped(plain, await readMap(flipped, index, camera)) : plain;
    return {
      name: pair.left,
      input: await readRgb(
        imagePath({ root }, pair, "left"),
        undefined,
        pair.cropBottom ?? cropBottom,
        pair.cropTop,
      ),
      disparity: { ...map, data: map.data.map((value) => value / scale) },
      truth: truthMap(truth),
      camera,
      crop: cropBox(protocol.crop, camera.imageSize),
      metrics,
    };
  }));
  const title = `The ${samples.length} images with the largest abs rel`;
  await panel(samples, { title }).writePng(join(folder, "worst.png"));
  console.error(`wrote error_by_distance, error_by_row (.svg, .png) and worst.png in ${folder}`);
}
