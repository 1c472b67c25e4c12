/**
 * The ablation as tables and a chart: what each part of the method contributes, with and without flip averaging, mean
 * and standard deviation over seeds. Every setting has its own tables; published numbers keep their own style.
 *
 * @module
 */
import { join } from "@std/path";
import { writeAtomic } from "../base/files.ts";
import { metricNames } from "../evaluation/protocol.ts";
import {
  ABLATION_ROWS,
  pairedGain,
  type PublishedRow,
  type PublishedTables,
  type ResultSetting,
  type ResultsFile,
  type RowMean,
  type SettingMeans,
} from "../evaluation/results.ts";
import { Chart, PALETTE } from "./chart.ts";
import { INK } from "./svg.ts";
import {
  escapeMarkdown,
  EXTRA_COLUMNS,
  METRIC_COLUMNS,
  Table,
  type TableCell,
  type TableColumn,
  type TableRow,
} from "./table.ts";

const COST_COLUMNS: readonly TableColumn[] = [
  { key: "updates", label: "student updates", digits: 0 },
  { key: "relativeCost", label: "cost of training", digits: 2 },
  { key: "seeds", label: "seeds", digits: 0 },
  { key: "parameters", label: "parameters M", digits: 2 },
  { key: "gigaflops", label: "GFLOPs", digits: 2 },
  { key: "msPerImage", label: "ms/image", digits: 1 },
];
/** Rows that the others are compared with, seed by seed: the plain student after equally many updates, and at equal cost. */
const CONTROLS = ["HC-continued", "HC equal cost"] as const;
const GAIN_COLUMNS: readonly TableColumn[] = CONTROLS.map((control) => ({
  key: `over ${control}`,
  label: `% better than ${control}`,
  digits: 1,
}));

const NOTES = [
  "Mean ± standard deviation (n − 1) over seeds; without ± there was one seed.",
  "% better: how much lower abs rel is than the control's, seed by seed, mean ± half of its 95 % interval (Student's t); " +
  "negative is worse, and an interval that contains 0 shows nothing.",
  "Cost of training: time of all trainings that the row needs, its teacher's included, relative to HC-continued's.",
  "Parameters of all networks that run at test time; GFLOPs and ms per image at batch 1, a multiply-add counted as " +
  "two operations; flip averaging runs the network twice.",
];

const DATASETS: Readonly<Record<string, string>> = {
  street: "Street",
  kitti: "KITTI",
  cityscapes: "Cityscapes",
};
const CROPS = {
  garg: "Garg crop",
  eigen: "Eigen crop",
  cityscapes: "Cityscapes crop",
  none: "no crop",
} as const;

const TRUTHS: Readonly<Record<ResultSetting["truth"], string>> = {
  lidar: "LiDAR truth",
  "lidar-z": "LiDAR truth (z)",
  improved: "annotated depth",
  dense: "dense truth",
  occ: "stereo 2015 truth, occluded pixels included",
  noc: "stereo 2015 truth",
  make3d: "laser distances",
  cityscapes: "semi-global matching as truth",
  manifest: "truth of the manifest",
};

/** A setting in words, e.g. "Street, test part, LiDAR truth, Garg crop; quick network, 64x192 px". */
function describeSetting(setting: ResultSetting): string {
  const { dataset, split, part, truth, crop, architecture, size } = setting;
  const known = dataset in DATASETS;
  const name = known
    ? `${DATASETS[dataset]}${split === dataset ? "" : ` (${split} split)`}, ${part} part`
    : `${dataset}, ${split}`;
  return `${name}, ${TRUTHS[truth]}, ${CROPS[crop]}; ${architecture} network, ${size} px`;
}

/** Whether published numbers were measured as these results were, so that one table may hold both. */
function comparable(setting: ResultSetting, capM: number, { protocol }: PublishedTables): boolean {
  return capM === protocol.capM &&
    (["dataset", "split", "part", "truth", "crop"] as const).every((key) => setting[key] === protocol[key]);
}

function measuredRow(name: string, group: string, { results }: SettingMeans, row?: RowMean): TableRow {
  if (!row) return { name, group, cells: {} };
  const metrics = Object.entries(row.metrics).map(([metric, { mean, deviation }]) =>
    [metric, { value: mean, deviation }] as const
  );
  const gains = CONTROLS.map((control) => {
    const gain = control === name ? undefined : pairedGain(results, name, control, row);
    const deviation = gain?.interval && 100 * gain.interval;
    return [`over ${control}`, gain && { value: 100 * gain.mean, deviation }] as const;
  });
  const { parameters, ...cost } = row.cost, seeds = row.seeds.length;
  const cells = { ...Object.fromEntries([...metrics, ...gains]), ...cost, seeds };
  return { name, group, cells: { ...cells, parameters: parameters && parameters / 1e6 } };
}

const OWN_GROUP = "published: Pilzer et al. 2019", OTHERS_GROUP = "published: other methods";

function publishedRows({ refineAndDistill, others }: PublishedTables): TableRow[] {
  const row = ({ name, values }: PublishedRow, group: string): TableRow => {
    const cells = metricNames.map((metric) => {
      const value = values[metric];
      // As many digits as were printed, three at least: none is made up, no zero is lost.
      return [metric, { value, digits: Math.max(3, String(value ?? "").split(".")[1]?.length ?? 0) }];
    });
    return { name, group, standing: "published", cells: Object.fromEntries(cells) };
  };
  return [
    ...refineAndDistill.map((own) => row(own, OWN_GROUP)),
    ...others.map((other) => row(other, OTHERS_GROUP)),
  ];
}

function publishedNotes({ refineAndDistill, others }: PublishedTables): string[] {
  const notes = [...refineAndDistill, ...others].flatMap(({ name, note }) =>
    note ? [`${name}: ${note}.`] : []
  );
  return ["— among published numbers: not read in a source by us.", ...notes];
}

/** Names of the rows a table shows: all of the ablation's, measured or not, then the experiments beside it. */
function rowNames({ rows }: SettingMeans): string[] {
  return [...new Set([...ABLATION_ROWS.map(({ name }) => name as string), ...rows.map(({ row }) => row)])];
}

const FLIPS = [[false, "one pass"], [true, "flip averaging"]] as const;

/**
 * The table of one setting at one cap: all rows, without and with flip averaging, each with what it gains over more
 * training of the plain student, paired by seed, and what it costs. Published
 * rows join it where they were measured by the same protocol on the same data.
 *
 * @param capM One of the setting's caps, m.
 */
export function ablationTable(means: SettingMeans, capM: number, published?: PublishedTables): Table {
  const at = means.rows.filter((row) => row.capM === capM);
  const rows = FLIPS.flatMap(([flip, group]) => {
    const measured = new Map(at.filter((row) => row.flip === flip).map((row) => [row.row, row]));
    // Where nothing was measured at all, the table says so once.
    if (measured.size === 0 && (flip || at.length > 0)) return [];
    return rowNames(means).map((name) => measuredRow(name, group, means, measured.get(name)));
  });
  const joined = published && comparable(means.setting, capM, published) ? published : undefined;
  return new Table({
    title: `${describeSetting(means.setting)}, ${capM} m cap`,
    corner: "row",
    columns: [
      METRIC_COLUMNS[0],
      ...GAIN_COLUMNS,
      ...METRIC_COLUMNS.slice(1),
      ...EXTRA_COLUMNS.filter(({ key }) => at.some(({ metrics }) => key in metrics)),
      ...COST_COLUMNS,
    ],
    rows: [...rows, ...joined ? publishedRows(joined) : []],
    notes: [...NOTES, ...joined ? publishedNotes(joined) : []],
  });
}

/** The published numbers by themselves, with the paper's own gains over its HC. */
export function publishedTable(published: PublishedTables): Table {
  const { dataset, split, crop, capM } = published.protocol;
  const hc = published.refineAndDistill.find(({ name }) => name === "HC")?.values.absRel;
  const rows = publishedRows(published).map((row): TableRow => {
    const { value } = row.cells.absRel as TableCell;
    const known = hc && typeof value === "number" && row.group === OWN_GROUP && row.name !== "HC";
    return known ? { ...row, cells: { ...row.cells, gain: 100 * (1 - value / hc) } } : row;
  });
  return new Table({
    title: `Published, not measured here: ${DATASETS[dataset]} (${split} split), ${
      CROPS[crop]
    }, ${capM} m cap`,
    corner: "row",
    columns: [...METRIC_COLUMNS, { key: "gain", label: "vs HC %", digits: 1 }],
    rows,
    notes: publishedNotes(published),
  });
}

const BASELINE_COLOR = "#a9aeb8";

/**
 * Bars of every row's abs rel with its spread over seeds; the paper's numbers as hollow marks. On other data than the
 * paper's the legend says that the two cannot be compared.
 *
 * @param capM One of the setting's caps, m.
 */
export function ablationChart(means: SettingMeans, capM: number, published?: PublishedTables): Chart {
  const at = means.rows.filter((row) => row.capM === capM);
  const flip = at.length > 0 && !at.some((row) => !row.flip);
  const measured = new Map(at.filter((row) => row.flip === flip).map((row) => [row.row, row.metrics.absRel]));
  const names = rowNames(means);
  const round = (value: number) => Number(value.toPrecision(4));
  const bars = names.flatMap((name) => {
    const { mean, deviation } = measured.get(name) ?? {};
    if (mean === undefined) return [];
    return [{
      name,
      value: round(mean),
      low: deviation && round(mean - deviation),
      high: deviation && round(mean + deviation),
      color: name === "train-set mean" ? BASELINE_COLOR : PALETTE[0],
      text: mean.toFixed(4) + (deviation ? ` ± ${deviation.toFixed(4)}` : ""),
    }];
  });
  const unmeasured = names.filter((name) => !measured.has(name)).map((name) => ({ name, text: "—" }));
  const paper = (published?.refineAndDistill ?? []).flatMap(({ name, values: { absRel } }) =>
    absRel === null ? [] : [{ name, value: absRel }]
  );
  const same = published && comparable(means.setting, capM, published);
  const width = 560;
  const longest = Math.max(...bars.map(({ value, high }) => high ?? value), ...paper.map((p) => p.value));
  const y = {
    field: "name",
    type: "nominal",
    sort: null,
    title: null,
    scale: { domain: names },
    axis: { ticks: false, domain: false, grid: false, labelOpacity: 1, labelLimit: 220 },
  };
  const x = {
    field: "value",
    type: "quantitative",
    title: "abs rel (lower is better)",
    scale: { domain: [0, (longest > 0 ? longest : 1) * 1.02], nice: false },
    axis: { tickCount: 6, format: ".2~f" },
  };
  const title = `Ablation on ${DATASETS[means.setting.dataset] ?? means.setting.dataset}`;
  const subtitle = `${describeSetting(means.setting)}, ${capM} m cap, ${
    flip ? "flip averaging" : "one pass"
  }`;
  const marks = [
    "bars: mean ± standard deviation over seeds; gray: baseline, the mean depth of the training set",
    ...(paper.length
      ? [`◇ published by Pilzer et al. 2019${same ? "" : " on KITTI (other data: not comparable)"}`]
      : []),
  ];
  return new Chart({
    title: { text: title, subtitle: [subtitle, ...marks] },
    width,
    height: { step: 26 },
    layer: [
      {
        data: { values: bars },
        mark: { type: "bar", height: 15, cornerRadiusEnd: 2 },
        encoding: { y, x, color: { field: "color", type: "nominal", scale: null } },
      },
      {
        data: { values: bars.filter(({ low }) => low !== undefined) },
        mark: { type: "rule", strokeWidth: 1.6, color: INK },
        encoding: { y, x: { ...x, field: "low" }, x2: { field: "high" } },
      },
      {
        // To the right of the longest bar.
        data: { values: [...bars, ...unmeasured] },
        mark: { type: "text", align: "left", x: width + 8, fontSize: 12 },
        encoding: { y, text: { field: "text" } },
      },
      {
        data: { values: paper },
        mark: { type: "point", filled: false, size: 70, strokeWidth: 1.6, opacity: 1, fill: "white" },
        encoding: { y, x, stroke: { value: INK }, shape: { value: "diamond" } },
      },
    ],
  }, `${title}: abs rel of each row. ${subtitle}`);
}

/** All results as one flat table for programs: its `csv()` names the setting of every line. */
function flatTable(all: readonly SettingMeans[], published: PublishedTables): Table {
  const keys = ["dataset", "split", "part", "truth", "crop", "architecture", "size", "capM", "flip"];
  const measured = all.flatMap((means) =>
    means.rows.map((row): TableRow => {
      const { cells, ...rest } = measuredRow(row.row, "measured here", means, row);
      const { capM, cost: { parameters } } = row, flip = row.flip ? "yes" : "no";
      return { ...rest, cells: { ...cells, ...means.setting, capM, flip, parameters } };
    })
  );
  const quoted = publishedRows(published)
    .map((row) => ({ ...row, cells: { ...row.cells, ...published.protocol } }));
  const columns = [
    ...keys.map((key) => ({ key, label: key })),
    ...METRIC_COLUMNS,
    ...EXTRA_COLUMNS,
    ...GAIN_COLUMNS,
    ...COST_COLUMNS,
  ];
  return new Table({ columns, rows: [...measured, ...quoted] });
}

/** All tables and charts of some results. */
export type AblationReport = ReturnType<typeof ablationReport>;

/**
 * Makes all tables and charts of some results.
 *
 * @returns `tables`: for each setting that of each cap; last the published numbers.
 * `charts`: abs rel of each setting at its greatest cap. `flat`: everything in one, for `csv()`.
 */
export function ablationReport(all: readonly SettingMeans[], published: PublishedTables) {
  const tables = all.flatMap((means) => means.capsM.map((capM) => ablationTable(means, capM, published)));
  const charts = all.map((means) => ({
    setting: means.setting,
    chart: ablationChart(means, means.capsM[0], published),
  }));
  return { tables: [...tables, publishedTable(published)], charts, flat: flatTable(all, published) };
}

/**
 * The tables as one Markdown text, with what the rows mean and what made them.
 *
 * @param about What made each results file, by its path.
 */
export function ablationMarkdown(
  report: AblationReport,
  about: ReadonlyMap<string, ResultsFile["about"]>,
): string {
  const rows = ABLATION_ROWS.map(({ name, meaning }) => `- **${name}**: ${meaning}\n`).join("");
  const origins = [...about].filter(([, facts]) => Object.keys(facts).length).map(([path, facts]) =>
    `\nFrom \`${path}\`:\n\n` +
    Object.entries(facts).map(([key, value]) => `- ${key}: ${escapeMarkdown(value)}\n`).join("")
  );
  return [...report.tables.map((table) => table.markdown()), `Rows\n\n${rows}${origins.join("")}`].join("\n");
}

/**
 * Writes `tables.md`, `tables.csv` and the chart as `plot.svg` and `plot.png`; with several settings each has a plot of
 * its own, `plot-street-test-lidar-garg-quick-64x192.svg`.
 *
 * @returns Paths of the files.
 * @throws {CyclopsError} When the folder cannot be written.
 */
export async function writeAblation(
  folder: string,
  report: AblationReport,
  about: ReadonlyMap<string, ResultsFile["about"]>,
): Promise<string[]> {
  const paths: string[] = [];
  const at = (name: string) => paths[paths.push(join(folder, name)) - 1];
  await writeAtomic(at("tables.md"), ablationMarkdown(report, about));
  await writeAtomic(at("tables.csv"), report.flat.csv());
  for (const { setting, chart } of report.charts) {
    const { dataset, split, part, truth, crop, architecture, size } = setting;
    const slug = [...new Set([dataset, split, part]), truth, crop, architecture, size].join("-")
      .replace(/[^\w-]+/g, "_").replaceAll("_-", "-");
    const name = report.charts.length === 1 ? "plot" : `plot-${slug}`;
    await chart.writeSvg(at(`${name}.svg`));
    await chart.writePng(at(`${name}.png`));
  }
  return paths;
}
