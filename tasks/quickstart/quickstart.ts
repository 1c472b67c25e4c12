/**
 * The whole way through in minutes: make a street, train the half-cycle student on it, evaluate it on streets it has
 * not seen, look at real photographs where there are any.
 *
 * @module
 */
import { join } from "@std/path";
import { UsageError } from "../../lib/base/errors.ts";
import { exists } from "../../lib/base/files.ts";
import { flag, formatSize, integer, type OptionsOf, text } from "../../lib/base/options.ts";
import { Progress } from "../../lib/base/progress.ts";
import { lossCurves, METRIC_COLUMNS, panel, type Picture, Table, writeReport } from "../../lib/charts/mod.ts";
import { openDataset, type StereoDataset } from "../../lib/data/dataset.ts";
import { evaluateAll, type Evaluation, type Protocol } from "../../lib/evaluation/protocol.ts";
import { trainSetMean, type TruthKind } from "../../lib/evaluation/truth.ts";
import { generateStreet } from "../../lib/street/mod.ts";
import { followTraining } from "../../lib/training/follow.ts";
import { train } from "../../lib/training/loop.ts";
import { readMetrics } from "../../lib/training/metrics_log.ts";
import { resolveTraining } from "../../lib/training/options.ts";
import { openRun } from "../../lib/training/run_folder.ts";
import { type LoadedModel, loadModel } from "../../lib/training/weights.ts";
import { evaluateNetworks, predictFrame, timePrediction } from "../../lib/evaluation/predict.ts";

/** The options of {@linkcode quickstart}. */
export const quickstartOptions = {
  out: text({ default: "runs/quickstart", value: "DIR", help: "Folder of the run." }),
  data: text({ default: "data/street", value: "DIR", help: "Street data; made where they are missing." }),
  pairs: integer({ default: 480, min: 30, help: "Stereo pairs to make." }),
  steps: integer({ default: 1300, min: 1, help: "Training steps." }),
  seed: integer({ default: 1, min: 0, help: "Seed of the weights and of the data order." }),
  kitti: text({
    value: "DIR",
    help:
      "Real frames to look at, in KITTI raw's layout with a split.txt (default: KITTI_DIR, or ../shared/kitti-sample/raw).",
  }),
  overwrite: flag({ help: "Replace an earlier quickstart." }),
} as const;

/** Resolved {@linkcode quickstartOptions}. */
export type QuickstartOptions = OptionsOf<typeof quickstartOptions>;

/** What a quickstart found out. */
export interface QuickstartResult {
  /** Student and baseline against laser scans and dense truth. */
  readonly table: Table;
  /** What was learned, in a sentence. */
  readonly sentence: string;
  /** Abs rel by the LiDAR protocol. */
  readonly absRel: { readonly mean: number; readonly student: number };
  /** Files that were written, by what they show. */
  readonly files: Readonly<Record<string, string>>;
}

const PROTOCOL: Protocol = { crop: "garg", capM: 80 };
const TRUTHS: readonly TruthKind[] = ["lidar", "dense"];

interface Row {
  readonly name: string;
  readonly truth: TruthKind;
  readonly metrics: Evaluation;
}

/** The data set of streets, made where it is missing or unfinished. */
async function prepareStreet(options: QuickstartOptions): Promise<void> {
  const progress = new Progress({ label: "street", total: options.pairs, unit: "pairs" });
  const { plan } = await generateStreet({ out: options.data, pairs: options.pairs, frames: 2 }, {
    onProgress: (done) => progress.update(done),
  });
  progress.finish(`street: ${plan.drives * plan.frames} stereo pairs in ${options.data}`);
}

async function baselineRows(
  trainSet: StereoDataset,
  testSet: StereoDataset,
  size: LoadedModel["size"],
): Promise<Row[]> {
  const rows: Row[] = [];
  for (const truth of TRUTHS) {
    const mean = await trainSetMean({ root: trainSet.root, pairs: trainSet.pairs, size, truth });
    const { root, pairs } = testSet;
    const [metrics] = await evaluateAll({ root, pairs, disparities: mean, truth }, [PROTOCOL]);
    rows.push({ name: "train-set mean", truth, metrics });
  }
  return rows;
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

/** The folder of real frames, where there is one. */
async function findKitti(given: string | undefined): Promise<string | undefined> {
  const places = [given, Deno.env.get("KITTI_DIR"), "../shared/kitti-sample/raw"];
  for (const place of places) if (place && await exists(join(place, "split.txt"))) return place;
  return undefined;
}

interface Pictures {
  readonly street: Picture;
  readonly kitti?: { readonly picture: Picture; readonly table: Table };
}

async function drawKitti(model: LoadedModel, root: string): Promise<NonNullable<Pictures["kitti"]>> {
  const dataset = await openDataset({ data: root, split: join(root, "split.txt"), side: "left" });
  const options = { size: model.size, view: model.options.view } as const;
  const [result] = await evaluateNetworks(model.networks, dataset, {
    ...options,
    protocols: [PROTOCOL],
    flip: false,
  });
  const samples = await Promise.all(
    dataset.pairs.slice(0, 3).map((_, i) =>
      predictFrame(model.networks, dataset, i, { ...options, truth: "lidar", protocol: PROTOCOL })
    ),
  );
  const picture = panel(samples, {
    title: "A street-trained toy on real photographs (KITTI)",
    footnote:
      "It has never seen a photograph: this shows what carries over from drawn streets, not what the method " +
      "reaches on KITTI.",
  });
  const table = resultTable(
    [{ name: "student, street-trained", truth: "lidar", metrics: result.metrics }],
    `${dataset.pairs.length} real KITTI frames`,
    ["A street-trained toy on real photographs; not a KITTI result."],
  );
  return { picture, table };
}

/**
 * Runs the quickstart; see the module's words.
 *
 * @throws {UsageError} When an earlier quickstart is there and shall not be replaced.
 * @throws {CyclopsError} When a part fails.
 */
export async function quickstart(options: QuickstartOptions): Promise<QuickstartResult> {
  const started = performance.now();
  if (!options.overwrite && await exists(join(options.out, "options.json"))) {
    throw new UsageError(
      `Cannot start the quickstart in ${options.out}: an earlier one is there; give --overwrite to replace it, ` +
        "or --out with another folder",
    );
  }
  const training = resolveTraining({
    data: options.data,
    steps: options.steps,
    seed: options.seed,
    validateEvery: 325,
    tensorboard: false,
    validationPairs: 32,
    checkpointEvery: 0,
  });
  using run = await openRun(options.out, { overwrite: options.overwrite, options: { ...training } });
  await prepareStreet(options);
  const trainSet = await openDataset({ data: options.data, part: "train" });
  const testSet = await openDataset({ data: options.data, part: "test" });
  const summary = await followTraining(train({ options: training, run, dataset: trainSet }), "half-cycle");
  const model = await loadModel(summary.checkpoint!);
  try {
    const predict = { size: model.size, view: training.view } as const;
    const rows = await baselineRows(trainSet, testSet, model.size);
    for (
      const { truth, flip, metrics } of await evaluateNetworks(model.networks, testSet, {
        ...predict,
        protocols: [PROTOCOL],
        truths: TRUTHS,
      })
    ) {
      rows.push({ name: flip ? "student, flip-averaged" : "student", truth, metrics });
    }
    const milliseconds = await timePrediction(model.networks, predict);
    const spread = [0, 1, 2, 3].map((i) => Math.floor((i + 0.5) * testSet.pairs.length / 4));
    const samples = await Promise.all(
      spread.map((i) =>
        predictFrame(model.networks, testSet, i, { ...predict, truth: "dense", protocol: PROTOCOL })
      ),
    );
    const street = panel(samples, { title: "Streets that the student has not seen" });
    const root = await findKitti(options.kitti);
    const kitti = root ? await drawKitti(model, root) : undefined;

    const [mean, student] = ["train-set mean", "student"].map((name) =>
      rows.find((r) => r.name === name && r.truth === "lidar")!.metrics.absRel
    );
    const better = Math.round(100 * (1 - student / mean));
    const sentence =
      `From ${trainSet.pairs.length} stereo pairs and no depth label the student learned, in ` +
      `${summary.steps} steps, to see depth in one image: abs rel ${
        student.toFixed(3)
      } on streets it has not seen, ` +
      `${Math.abs(better)} % ${better >= 0 ? "below" : "ABOVE"} the train-set mean's ${mean.toFixed(3)}.`;
    const table = resultTable(rows, "Street, test drives", [
      `${testSet.pairs.length} test frames, ${trainSet.pairs.length} training pairs; ${
        rows[0].metrics.protocol
      }.`,
      "Drawn streets: these numbers are no KITTI results.",
    ]);

    const files: Record<string, string> = {
      checkpoint: summary.checkpoint!,
      metrics: run.metrics.path,
      panels: run.path("panels.png"),
      report: run.path("report.html"),
    };
    await street.writePng(files.panels);
    if (kitti) await kitti.picture.writePng(files.kitti = run.path("kitti.png"));
    await writeReport(files.report, {
      title: "Cyclops quickstart",
      kicker: `half-cycle student, ${formatSize(training.size)} px, seed ${training.seed}`,
      summary: sentence,
      sections: [
        { heading: "Result", blocks: [table] },
        { heading: "Input, prediction, truth, error", blocks: [street] },
        ...(kitti ? [{ heading: "Real photographs", blocks: [kitti.picture, kitti.table] }] : []),
        { heading: "Training", blocks: [lossCurves(await readMetrics(run.metrics.path))] },
        {
          heading: "Facts",
          blocks: [{
            facts: {
              "training pairs": trainSet.pairs.length,
              "steps": summary.steps,
              "ms a step": Math.round(summary.millisecondsPerStep),
              "ms an image": Math.round(milliseconds),
              "minutes in all": Number(((performance.now() - started) / 60000).toFixed(1)),
              "checkpoint": summary.checkpoint,
            },
          }],
          folded: true,
        },
      ],
    });
    return { table, sentence, absRel: { mean, student }, files };
  } finally {
    model.dispose();
  }
}
