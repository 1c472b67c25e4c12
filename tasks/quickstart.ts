/**
 * `deno task quickstart`: end to end in minutes. Renders streets, trains the half-cycle student on them, evaluates it on
 * streets it has not seen, and predicts real photographs where there are any.
 *
 * @module
 */
import { join } from "@std/path";
import { backendOptions, selectBackend } from "../lib/backend/mod.ts";
import { UsageError } from "../lib/base/errors.ts";
import { exists } from "../lib/base/files.ts";
import { flag, formatSize, integer, type OptionsOf, text } from "../lib/base/options.ts";
import { Progress, terminalColumns, wrap } from "../lib/base/terminal.ts";
import { panel } from "../lib/charts/depth.ts";
import { writeReport } from "../lib/charts/report.ts";
import { frameGalleries, optionsBlock, runCurves } from "../lib/charts/runs.ts";
import { METRIC_COLUMNS, Table } from "../lib/charts/table.ts";
import { openDataset, type StereoDataset } from "../lib/data/dataset.ts";
import {
  evaluateNetworks,
  type FramePrediction,
  predictFrame,
  timePrediction,
} from "../lib/evaluation/predict.ts";
import { evaluate, type Evaluation, type Protocol } from "../lib/evaluation/protocol.ts";
import { trainSetMean, type TruthKind } from "../lib/evaluation/truth.ts";
import { generateStreet } from "../lib/street/mod.ts";
import { trainWithProgress } from "../lib/training/run.ts";
import { train } from "../lib/training/loop.ts";
import { readMetrics } from "../lib/training/records.ts";
import { resolveTraining } from "../lib/training/options.ts";
import { openRun } from "../lib/training/run_folder.ts";
import { spreadPairs } from "../lib/training/validation.ts";
import { type LoadedModel, loadModel } from "../lib/training/model.ts";
import { runTask } from "./_task.ts";

/** The options of {@linkcode quickstart}. */
export const quickstartOptions = {
  out: text({ default: "runs/quickstart", value: "DIR", help: "Folder of the run." }),
  data: text({ default: "data/street", value: "DIR", help: "Street data, rendered if missing." }),
  pairs: integer({ default: 480, min: 30, help: "Stereo pairs to render." }),
  steps: integer({ default: 1900, min: 1, help: "Training steps." }),
  seed: integer({ default: 1, min: 0, help: "Seed of the weights and of the data order." }),
  kitti: text({ value: "DIR", help: "KITTI raw with a split.txt, to predict (default: KITTI_DIR)." }),
  overwrite: flag({ help: "Replace an earlier quickstart." }),
} as const;

const PROTOCOL: Protocol = { crop: "garg", capM: 80 };
const TRUTHS: readonly TruthKind[] = ["lidar", "dense"];
/** What the pictures of real photographs show. */
const TOY =
  "It has never seen a photograph: this shows what carries over from rendered streets, not what the method reaches " +
  "on KITTI.";
/** Validation pairs. */
const VALIDATION = 32;

interface Row {
  readonly name: string;
  readonly truth: TruthKind;
  readonly metrics: Evaluation;
}

function resultTable(rows: readonly Row[], title: string, notes: readonly string[]): Table {
  return new Table({
    title,
    columns: METRIC_COLUMNS,
    rows: rows.map(({ name, truth, metrics }) => ({
      name,
      group: truth === "lidar" ? "LiDAR protocol" : "dense truth",
      cells: { ...metrics },
    })),
    notes,
  });
}

/** The train-set mean, evaluated on another set. */
async function evaluateMean(
  { root, pairs: training }: StereoDataset,
  { pairs }: StereoDataset,
  size: LoadedModel["size"],
  truth: TruthKind,
): Promise<Evaluation> {
  const disparities = await trainSetMean({ root, pairs: training, size, truth });
  return await evaluate({ root, pairs, disparities, truth, ...PROTOCOL });
}

/** Predictions of frames spread over a data set. */
async function predictFrames(
  model: LoadedModel,
  dataset: StereoDataset,
  truth: TruthKind,
): Promise<FramePrediction[]> {
  const { networks, size, options: { view, camera } } = model;
  const count = Math.min(4, dataset.pairs.length);
  return await Promise.all(Array.from({ length: count }, (_, i) => {
    const index = Math.floor((i + 0.5) * dataset.pairs.length / count);
    return predictFrame(networks, dataset, index, { size, view, camera, truth, protocol: PROTOCOL });
  }));
}

/** Real frames, predicted by the street-trained student. */
async function predictKitti(
  model: LoadedModel,
  root: string,
): Promise<{ readonly frames: readonly FramePrediction[]; readonly table: Table }> {
  const dataset = await openDataset({ data: root, split: join(root, "split.txt"), side: "left" });
  const { networks, size, options: { view, camera } } = model;
  const [{ metrics }] = await evaluateNetworks(networks, dataset, {
    size,
    camera,
    view,
    protocols: [PROTOCOL],
    flip: false,
  });
  const frames = await predictFrames(model, dataset, "lidar");
  const row: Row = { name: "student, street-trained", truth: "lidar", metrics };
  const note = "A street-trained toy on real photographs; not a KITTI result.";
  return { frames, table: resultTable([row], `${dataset.pairs.length} real KITTI frames`, [note]) };
}

/** The folder of real frames, if there is one. */
async function findKitti(given: string | undefined): Promise<string | undefined> {
  for (const place of [given, Deno.env.get("KITTI_DIR")]) {
    if (place && await exists(join(place, "split.txt"))) return place;
  }
}

/**
 * Runs the quickstart.
 *
 * @returns The results of student and baseline against laser scans and dense truth, what was learned in a sentence, abs
 * rel by the LiDAR protocol, and the files that were written.
 * @throws {UsageError} When there is an earlier quickstart that must not be replaced.
 */
export async function quickstart(options: OptionsOf<typeof quickstartOptions>) {
  const started = performance.now();
  const { out, data, pairs, steps, seed, overwrite } = options;
  if (!overwrite && await exists(join(out, "options.json"))) {
    throw new UsageError(
      `Cannot start the quickstart in ${out}: it holds an earlier one; give --overwrite to replace it, or another --out`,
    );
  }
  const training = resolveTraining({
    data,
    steps,
    seed,
    validateEvery: 325,
    tensorboard: false,
    validationPairs: VALIDATION,
    checkpointEvery: 0,
  });
  using run = await openRun(out, { overwrite, options: { ...training } });

  const progress = new Progress({ label: "street", total: pairs, unit: "pairs" });
  const { plan } = await generateStreet({ out: data, pairs, frames: 2 }, {
    onProgress: (done) => progress.update(done),
  });
  progress.finish(`street: ${plan.drives * plan.frames} stereo pairs in ${data}`);
  const trainSet = await openDataset({ data, part: "train" });
  const testSet = await openDataset({ data, part: "test" });

  const summary = await trainWithProgress(train({ options: training, run, dataset: trainSet }), "half-cycle");
  const model = await loadModel(summary.checkpoint!);
  try {
    const { networks, size } = model, predict = { size, view: training.view, camera: training.camera };
    const rows: Row[] = [];
    for (const truth of TRUTHS) {
      rows.push({
        name: "train-set mean",
        truth,
        metrics: await evaluateMean(trainSet, testSet, size, truth),
      });
    }
    const how = { ...predict, protocols: [PROTOCOL], truths: TRUTHS };
    for (const { truth, flip, metrics } of await evaluateNetworks(networks, testSet, how)) {
      rows.push({ name: flip ? "student, flip" : "student", truth, metrics });
    }
    const [mean, student] = ["train-set mean", "student"].map((name) =>
      rows.find((row) => row.name === name && row.truth === "lidar")!.metrics.absRel
    );
    const better = Math.round(100 * (1 - student / mean));
    const sentence =
      `The student learned from ${trainSet.pairs.length} stereo pairs and no depth label, in ${summary.steps} steps. On ` +
      `streets it has not seen its abs rel is ${student.toFixed(3)}, ${Math.abs(better)} % ` +
      `${better >= 0 ? "below" : "ABOVE"} the train-set mean's ${mean.toFixed(3)}.`;
    const table = resultTable(rows, "Street, test drives", [
      `${testSet.pairs.length} test frames, ${trainSet.pairs.length} training pairs; ${
        rows[0].metrics.protocol
      }.`,
      "flip: averaged with the prediction of the mirrored image. Rendered streets: these numbers are not KITTI results.",
    ]);

    const street = await predictFrames(model, testSet, "dense");
    const root = await findKitti(options.kitti);
    const kitti = root ? await predictKitti(model, root) : undefined;
    const validation = spreadPairs(await openDataset({ data, part: "val" }), VALIDATION);
    const baseline = await evaluateMean(trainSet, validation, size, "lidar");
    const record = {
      folder: out,
      name: "student",
      options: training,
      records: await readMetrics(run.metrics.path),
    };
    const curves = runCurves([record], { "train-set mean": baseline.absRel });
    const facts = {
      "training pairs": trainSet.pairs.length,
      "steps": summary.steps,
      "ms per step": Math.round(summary.millisecondsPerStep),
      "ms per image": Math.round(await timePrediction(networks, predict)),
      "minutes in all": Number(((performance.now() - started) / 60000).toFixed(1)),
      "checkpoint": summary.checkpoint,
    };

    const files: Record<string, string> = {
      checkpoint: summary.checkpoint!,
      metrics: run.metrics.path,
      panels: run.path("panels.png"),
      report: run.path("report.html"),
    };
    await panel(street, { title: "Streets that the student has not seen" }).writePng(files.panels);
    if (kitti) {
      await panel(kitti.frames, {
        title: "A street-trained toy on real photographs (KITTI)",
        footnote: TOY,
      }).writePng(files.kitti = run.path("kitti.png"));
    }
    await writeReport(files.report, {
      title: "Cyclops quickstart",
      kicker: `half-cycle student, ${formatSize(training.size)} px, seed ${training.seed}`,
      summary: sentence,
      sections: [
        { heading: "Result", blocks: [table] },
        { heading: "Input, prediction, truth, error", blocks: frameGalleries(street.map((one) => [one])) },
        ...(kitti
          ? [{
            heading: "Real photographs",
            blocks: [TOY, ...frameGalleries(kitti.frames.map((one) => [one])), kitti.table],
          }]
          : []),
        { heading: "Training", blocks: [{ charts: curves }] },
        { heading: "Facts and options", blocks: [{ facts }, optionsBlock(record)], folded: true },
      ],
    });
    return { table, sentence, absRel: { mean, student }, files };
  } finally {
    model.dispose();
  }
}

if (import.meta.main) {
  await runTask({
    name: "quickstart",
    summary:
      "Renders streets, trains a small student on them, evaluates it on streets it has not seen, and predicts\n" +
      "real photographs where there are any. About five minutes on two cores.",
    options: { ...quickstartOptions, ...backendOptions },
    examples: ["deno task quickstart", "deno task quickstart --steps 3000 --out runs/longer"],
  }, async (options) => {
    await selectBackend(options);
    const { table, sentence, files } = await quickstart(options);
    console.log(
      `\n${table.text(terminalColumns())}\n\n${wrap(sentence, terminalColumns()).join("\n")}\n`,
    );
    for (const [what, path] of Object.entries(files)) console.log(`${what.padEnd(11)} ${path}`);
  });
}
