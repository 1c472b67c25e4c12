/**
 * Runs of `deno task train` in reports: one by itself, or several side by side.
 *
 * @module
 */
import { join } from "@std/path";
import { CyclopsError, UsageError } from "../base/errors.ts";
import { exists } from "../base/files.ts";
import { toKebabCase } from "../base/options.ts";
import { imagePath, type StereoDataset } from "../data/dataset.ts";
import { readRgb } from "../data/image.ts";
import { resizeMap, resizeRgb } from "../data/resize.ts";
import { predictFrame, predictImage } from "../evaluation/predict.ts";
import { checkTruth } from "../evaluation/truth.ts";
import { canonicalScales } from "../geometry/camera.ts";
import { type LoadedModel, loadModel } from "../training/model.ts";
import {
  openPart,
  PRESETS,
  resolveTraining,
  storedOptions,
  type TrainingOptions,
} from "../training/options.ts";
import { type MetricsRecord, readMetrics } from "../training/records.ts";
import { OPTIONS_FILE, readRunOptions } from "../training/run_folder.ts";
import { spreadPairs } from "../training/validation.ts";
import { disparityScale, ERROR_SCALE, mapToRgb, percentile } from "./colormap.ts";
import { lineChart, lossCurves } from "./curves.ts";
import { depthError, fillSparse, type PanelSample, truthDisparity } from "./depth.ts";
import type { Chart } from "./chart.ts";
import { Picture } from "./picture.ts";
import type { Gallery, Report, ReportBlock } from "./report.ts";
import { Table, type TableRow } from "./table.ts";

/** A run as its folder tells it. */
export interface RunRecord {
  readonly folder: string;
  /** As short as tells it from the others. */
  readonly name: string;
  readonly options: TrainingOptions;
  readonly records: readonly MetricsRecord[];
}

/** A validation's metrics by name, and its step. */
type Validation = Readonly<Record<string, number>> & { readonly step: number };

/** Metrics of validations: how they are headed, with how many digits, their charts' titles. */
const METRICS = {
  photometric: { label: "photometric", digits: 4, title: "Photometric loss, validation" },
  absRel: { label: "abs rel", digits: 4, title: "Abs rel, validation" },
  rmse: { label: "RMSE m", digits: 3, title: "RMSE, validation" },
} as const;

/**
 * Reads what runs' folders say.
 *
 * @throws {UsageError} When a folder is given twice, or holds several runs.
 * @throws {CyclopsError} When there is no run in one.
 */
export async function readRuns(folders: readonly string[]): Promise<RunRecord[]> {
  const names = shortNames(folders);
  if (new Set(names).size < names.length) throw new UsageError("Cannot compare runs: one is given twice");
  return await Promise.all(folders.map(async (folder, i) => {
    const own = await readRunOptions(folder);
    if (!own) throw await notARun(folder);
    return {
      folder,
      name: names[i],
      options: resolveTraining(own, join(folder, OPTIONS_FILE)),
      records: await readMetrics(join(folder, "metrics.jsonl")),
    };
  }));
}

async function notARun(folder: string): Promise<CyclopsError> {
  if (!await exists(folder)) return new CyclopsError(`Cannot read the run ${folder}: no such folder`);
  const inside = (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name);
  const stages: string[] = [];
  for (const name of inside.sort()) if (await exists(join(folder, name, OPTIONS_FILE))) stages.push(name);
  return stages.length
    ? new UsageError(
      `Cannot read the run ${folder}: it holds the runs ${stages.join(", ")}; name one of them`,
    )
    : new CyclopsError(
      `Cannot read the run ${folder}: it has no ${OPTIONS_FILE}, expected a run's folder, as deno task train makes it`,
    );
}

/** The last folders of paths, as many as tell them apart. */
function shortNames(folders: readonly string[]): string[] {
  const parts = folders.map((folder) => folder.replace(/\/+$/, "").split("/"));
  const most = Math.max(...parts.map(({ length }) => length));
  for (let count = 1;; count++) {
    const names = parts.map((part) => part.slice(-count).join("/"));
    if (new Set(names).size === names.length || count >= most) return names;
  }
}

function validations({ records }: RunRecord): Validation[] {
  return records.flatMap(({ step, validation }) =>
    typeof step === "number" && typeof validation === "object" ? [{ ...validation, step } as Validation] : []
  );
}

/** The validation that the best checkpoint goes by. */
function bestOf(run: RunRecord): Validation | undefined {
  const all = validations(run), wanted = run.options.selectBy === "abs-rel" ? "absRel" : "photometric";
  const by = all.some((one) => Number.isFinite(one[wanted])) ? wanted : "photometric";
  return all.filter((one) => Number.isFinite(one[by])).reduce<Validation | undefined>(
    (best, one) => best && best[by] <= one[by] ? best : one,
    undefined,
  );
}

/** The last and the best validation of each run. */
export function validationTable(runs: readonly RunRecord[]): Table {
  const rowsOf = (group: string, pick: (run: RunRecord) => Validation | undefined): TableRow[] =>
    runs.map((run) => ({
      name: runs.length === 1 ? group : run.name,
      ...runs.length > 1 && { group },
      cells: { ...pick(run) },
    }));
  const present = Object.entries(METRICS).filter(([key]) =>
    runs.some((run) => validations(run).some((one) => key in one))
  );
  return new Table({
    columns: [
      { key: "step", label: "step", digits: 0 },
      ...present.map(([key, { label, digits }]) => ({ key, label, digits, better: "lower" as const })),
    ],
    rows: [...rowsOf("best", bestOf), ...rowsOf("last", (run) => validations(run).at(-1))],
    notes: [
      `Validation pairs: ${
        [...new Set(runs.map(({ options }) => `${options.validationPairs} at most of ${options.data}`))].join(
          "; ",
        )
      }. best: the checkpoint that eval, predict and export use.`,
    ],
  });
}

/** The options in which runs differ; of one run, those that its preset does not set so. */
export function optionTable(runs: readonly RunRecord[]): Table {
  const stored = runs.map(({ options }) => storedOptions(options));
  const [{ options: { preset } }] = runs;
  const compared = runs.length > 1
    ? stored
    : [...stored, { ...storedOptions(PRESETS[preset]), stage: undefined }];
  const keys = Object.keys(stored[0]).filter((key) => compared.some((one) => one[key] !== stored[0][key]));
  const shown = (value: unknown) => value === undefined ? "—" : String(value);
  return new Table({
    corner: "option",
    columns: runs.map(({ name }, i) => ({ key: String(i), label: name })),
    rows: keys.map((key) => ({
      name: toKebabCase(key),
      cells: Object.fromEntries(stored.map((one, i) => [String(i), shown(one[key])])),
    })),
    notes: keys.length
      ? []
      : [runs.length > 1 ? "No option differs." : `All are those of the preset ${preset}.`],
  });
}

/** The width of a chart of which two stand beside each other, and of its plot, px. */
const CHART = 480, PLOT = 340;
/** Weight of the past in the running means of overlaid losses. */
const SMOOTHING = 0.9;

/**
 * Training losses and validations, those of several runs over each other.
 *
 * @param references Baselines of the validation abs rel by name.
 */
export function runCurves(
  runs: readonly RunRecord[],
  references: Readonly<Record<string, number>> = {},
): Chart[] {
  const losses = runs.map(({ records }) => records.filter(({ loss }) => typeof loss === "number"));
  const coarse = runs.map(({ records, options }) => {
    const start = records.find(({ start }) => typeof start === "object")?.start as
      | { steps?: number }
      | undefined;
    return Math.round(options.coarse * (start?.steps ?? 0));
  });
  const charts: Chart[] = [];
  if (runs.length === 1 && losses[0].length) {
    const marks = coarse[0] > 0 ? [{ step: coarse[0], label: "full size from here" }] : [];
    charts.push(lossCurves(losses[0], { title: "Training loss", marks, width: CHART }));
  } else if (losses.some(({ length }) => length)) {
    const series = runs.map(({ name }, i) => {
      let mean: number | undefined;
      const points = losses[i].map(({ step, loss }) => {
        mean = mean === undefined ? loss as number : SMOOTHING * mean + (1 - SMOOTHING) * (loss as number);
        return [step as number, mean] as const;
      });
      return { name, points };
    });
    const options = {
      title: "Training loss (each run's own sum)",
      xLabel: "step",
      yLabel: "loss",
      log: true,
    };
    charts.push(lineChart(series, { ...options, width: PLOT, height: 200 }));
  }
  for (const [key, { label, title }] of Object.entries(METRICS)) {
    const series = runs.map((run) => ({
      name: run.name,
      points: validations(run).filter((one) => Number.isFinite(one[key])).map((one) =>
        [one.step, one[key]] as const
      ),
    })).filter(({ points }) => points.length > 1);
    if (series.length === 0) continue;
    charts.push(lineChart(series, {
      ...{ title, xLabel: "step", yLabel: label, width: PLOT, height: 200 },
      references: key === "absRel" ? references : {},
    }));
  }
  return charts;
}

/** Frames that are drawn, and the width of a picture, px. */
const FRAMES = 4, CELL = 320;

/** Predicts frame `index` with a run's best checkpoint; without a truth where the data have none. */
async function sampleOf(
  { networks, size, refine, options: { view, camera, stage } }: LoadedModel,
  dataset: StereoDataset,
  index: number,
  withTruth: boolean,
): Promise<PanelSample> {
  // A privileged teacher needs both views: its student is drawn.
  const network = stage === "teacher" && networks.refine && !refine.privileged ? "teacher" : "student";
  const how = { size, view, camera, network, refine } as const;
  if (withTruth) {
    return await predictFrame(networks, dataset, index, {
      ...how,
      truth: "lidar",
      protocol: { crop: "garg", capM: 80 },
    });
  }
  const pair = dataset.pairs[index], crop = pair.cropBottom ?? dataset.cropBottom;
  const scale = camera === "canonical" ? canonicalScales([pair.camera], [pair.left])[0] : undefined;
  const path = imagePath(dataset, pair, view);
  const disparity = await predictImage(networks, await readRgb(path, size, crop), { ...how, scale });
  return { name: pair.left, input: await readRgb(path, undefined, crop), disparity };
}

/**
 * Frames of a panel as a report shows them: the input, the prediction of each run, and where there is one the truth,
 * and for a single run the error; all disparities on one color scale.
 *
 * @param samples By frame, then by run.
 * @param names The runs', or what a single one's predictions are called.
 */
export function frameGalleries(
  samples: readonly (readonly PanelSample[])[],
  names: readonly string[] = ["prediction"],
): ReportBlock[] {
  const one = names.length === 1;
  const truths = samples.map(([{ truth, camera }]) => truth && camera && truthDisparity(truth, camera));
  const shown = [
    ...samples.flat().map(({ disparity }) => disparity),
    ...truths.filter((one) => one !== undefined),
  ];
  const scale = disparityScale(percentile(shown, 0.98));
  const widthPx = samples[0][0].camera?.imageSize.width ?? samples[0][0].input.width;
  const galleries = samples.map((of, frame): Gallery => {
    const [{ name = "", input, truth, camera, crop }] = of;
    const size = { width: CELL, height: Math.max(1, Math.round(CELL * input.height / input.width)) };
    const picture = (image: Picture["image"], what: string) => ({
      caption: what,
      picture: new Picture(image, `${what}: ${name}`),
    });
    const predicted = of.map(({ disparity, metrics }, i) => {
      const absRel = metrics && Number.isFinite(metrics.absRel)
        ? `, abs rel ${metrics.absRel.toFixed(3)}`
        : "";
      const what = `${names[i]}${absRel}`;
      return picture(mapToRgb(resizeMap(disparity, size), scale), what);
    });
    const known = truths[frame];
    const drawnTruth = known ? [picture(mapToRgb(fillSparse(known, size), scale), "truth")] : [];
    const error = truth && camera && one
      ? [picture(
        mapToRgb(
          fillSparse(depthError(resizeMap(of[0].disparity, truth), truth, camera, crop), size),
          ERROR_SCALE,
        ),
        "error",
      )]
      : [];
    const gallery = [
      picture(resizeRgb(input, size.width, size.height), name),
      ...predicted,
      ...drawnTruth,
      ...error,
    ];
    return { gallery, columns: Math.min(4, gallery.length) };
  });
  const errors = samples[0][0].truth && one
    ? " Error: |depth error| / true depth, from 1 % (blue) over 10 % (yellow) to 100 % (red), logarithmic."
    : "";
  return [
    ...galleries,
    `Disparity: 0 px (black) to ${(scale.max * widthPx).toPrecision(3)} px (bright) of ${widthPx}.${errors}`,
  ];
}

/** The same validation frames by each run's best checkpoint; a sentence where that is impossible. */
async function runPanels(runs: readonly RunRecord[]): Promise<ReportBlock[]> {
  try {
    const dataset = spreadPairs(await openPart(runs[0].options, "val"), FRAMES);
    const withTruth = await checkTruth(dataset.root, dataset.pairs, "lidar").then(() => true, () => false);
    const samples: PanelSample[][] = dataset.pairs.map(() => []);
    for (const { folder } of runs) {
      const model = await loadModel(folder);
      try {
        for (const i of dataset.pairs.keys()) samples[i].push(await sampleOf(model, dataset, i, withTruth));
      } finally {
        model.dispose();
      }
    }
    return frameGalleries(samples, runs.length > 1 ? runs.map(({ name }) => name) : undefined);
  } catch (error) {
    if (!(error instanceof CyclopsError)) throw error;
    return [`No pictures: ${error.message}`];
  }
}

/** All options of a run. */
export function optionsBlock({ options }: Pick<RunRecord, "options">): ReportBlock {
  return { code: JSON.stringify(storedOptions(options), undefined, 2) };
}

/** A run's facts from its records. */
function factsOf({ folder, records }: RunRecord) {
  const start = records.findLast(({ start }) => typeof start === "object")?.start as
    | MetricsRecord
    | undefined;
  const end = records.findLast(({ end }) => typeof end === "string");
  const steps = records.filter(({ milliseconds }) => typeof milliseconds === "number");
  const number = (value: unknown) => typeof value === "number" ? value : null;
  return {
    "run": folder,
    "training pairs": number(start?.pairs),
    "parameters": number(start?.parameters),
    "steps": `${records.at(-1)?.step ?? 0} of ${start?.steps ?? "—"}, ${end?.end ?? "not ended"}`,
    "ms per step": number(steps.at(-1)?.milliseconds),
    "minutes": number(end?.seconds) === null ? null : Number((Number(end!.seconds) / 60).toFixed(1)),
    "ended": typeof end?.time === "string" ? end.time : null,
  };
}

/**
 * A report on one run, or on several side by side: validations, curves, pictures, options.
 *
 * @returns The report, and its tables by themselves: the last and best validations, the options.
 */
export async function reportOnRuns(runs: readonly RunRecord[]) {
  const validation = validationTable(runs), options = optionTable(runs), one = runs.length === 1;
  const [{ name, options: { stage, architecture, size, seed } }] = runs;
  const curves = runCurves(runs);
  const report: Report = {
    title: one ? name : runs.map(({ name }) => name).join(" · "),
    kicker: one
      ? `${stage}, ${architecture}, ${size.height}×${size.width} px, seed ${seed}`
      : "Runs compared",
    sections: [
      { heading: "Validation", blocks: [validation] },
      { heading: "Curves", blocks: curves.length ? [{ charts: curves }] : ["Nothing is recorded yet."] },
      { heading: "Validation pairs by the best checkpoint", blocks: await runPanels(runs) },
      { heading: one ? "Options that were changed" : "Options that differ", blocks: [options] },
      ...runs.map((run) => ({
        heading: one ? "Facts and all options" : `${run.name}: facts and all options`,
        blocks: [{ facts: factsOf(run) }, optionsBlock(run)],
        folded: true,
      })),
    ],
  };
  return { report, validation, options };
}
