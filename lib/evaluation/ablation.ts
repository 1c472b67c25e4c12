/**
 * The ablation as tables and a chart: what each part of the method brings, with and without flip averaging, mean and
 * standard deviation over seeds. Every setting has tables of its own; published numbers keep their own style.
 *
 * @module
 */
import { join } from "@std/path";
import { writeAtomic } from "../base/files.ts";
import { type AblationBar, ablationBars } from "../charts/curves.ts";
import type { Chart } from "../charts/chart.ts";
import { escapeMarkdown } from "../charts/display.ts";
import { METRIC_COLUMNS, Table, type TableCell, type TableColumn, type TableRow } from "../charts/table.ts";
import { metricNames } from "./metrics.ts";
import type { PublishedRow, PublishedTables } from "./published.ts";
import {
  ABLATION_ROWS,
  pairedGain,
  type ResultSetting,
  type ResultsFile,
  type RowMean,
  type SeedMean,
  type SettingMeans,
} from "./results.ts";

const COST_COLUMNS: readonly TableColumn[] = [
  { key: "parameters", label: "parameters M", digits: 2 },
  { key: "gigaflops", label: "GFLOPs", digits: 2 },
  { key: "msPerImage", label: "ms/image", digits: 1 },
  { key: "updates", label: "student updates", digits: 0 },
  { key: "seeds", label: "seeds", digits: 0 },
];

const SPREAD = "Mean ± standard deviation (n − 1) over seeds; without ± there was one seed.";
const COST =
  "Parameters of all networks that run at test time; GFLOPs and ms of one image, batch 1, a multiply-add " +
  "being two operations; flip averaging runs the network twice.";

/** Data sets as titles spell them. */
const DATASETS: Readonly<Record<string, string>> = {
  street: "Street",
  kitti: "KITTI",
  cityscapes: "Cityscapes",
};

function datasetName(dataset: string): string {
  return DATASETS[dataset] ?? dataset;
}

/** A setting in words, e.g. "Street, test part, LiDAR truth, Garg crop; quick network, 64x192 px". */
export function describeSetting(setting: ResultSetting): string {
  const { dataset, split, part, truth, crop, architecture, size } = setting;
  const name = datasetName(dataset) + (split === dataset ? "" : ` (${split} split)`);
  const area = crop === "none" ? "no crop" : `${crop === "garg" ? "Garg" : "Eigen"} crop`;
  const depths = truth === "lidar" ? "LiDAR truth" : "dense truth";
  return `${name}, ${part} part, ${depths}, ${area}; ${architecture} network, ${size} px`;
}

/** Whether published numbers were measured as these results were, so that one table may hold both. */
function comparable(setting: ResultSetting, capM: number, { protocol }: PublishedTables): boolean {
  return capM === protocol.capM &&
    (["dataset", "split", "part", "truth", "crop"] as const).every((key) => setting[key] === protocol[key]);
}

function cell(mean: SeedMean | undefined, scale = 1): TableCell {
  return {
    value: mean && mean.mean * scale,
    deviation: mean?.deviation === undefined ? undefined : mean.deviation * scale,
  };
}

function measuredRow(name: string, group: string, row: RowMean | undefined): TableRow {
  const cells: Record<string, TableCell> = {};
  for (const metric of metricNames) cells[metric] = cell(row?.metrics[metric]);
  const { parameters, gigaflops, msPerImage, updates } = row?.cost ?? {};
  return {
    name,
    group,
    cells: {
      ...cells,
      parameters: parameters === undefined ? undefined : parameters / 1e6,
      gigaflops,
      msPerImage,
      updates,
      seeds: row?.seeds.length,
    },
  };
}

/** Digits that a published number was printed with, three at least: no digit is made up, none of a zero lost. */
function publishedDigits(value: number | null): number {
  return Math.max(3, String(value ?? "").split(".")[1]?.length ?? 0);
}

function publishedTableRow(row: PublishedRow, group: string): TableRow {
  const cells = metricNames.map((metric) => {
    const value = row.values[metric];
    return [
      metric,
      { value, digits: publishedDigits(value), confidence: row.standings[metric] } satisfies TableCell,
    ];
  });
  return {
    name: row.name,
    group,
    standing: "published",
    confidence: row.standing,
    cells: Object.fromEntries(cells),
  };
}

const OWN_GROUP = "published: Pilzer et al. 2019", OTHERS_GROUP = "published: other methods";

function publishedRows({ refineAndDistill, others }: PublishedTables): TableRow[] {
  return [
    ...refineAndDistill.map((row) => publishedTableRow(row, OWN_GROUP)),
    ...others.map((row) => publishedTableRow(row, OTHERS_GROUP)),
  ];
}

function publishedNotes({ refineAndDistill, others }: PublishedTables): string[] {
  return [...refineAndDistill, ...others].flatMap(({ name, note }) => note ? [`${name}: ${note}.`] : []);
}

/** Names of the rows a table shows: all of the ablation's, measured or not, then the experiments beside it. */
function rowNames({ rows }: SettingMeans): string[] {
  return [...new Set([...ABLATION_ROWS.map(({ name }) => name as string), ...rows.map(({ row }) => row)])];
}

const FLIPS = [[false, "one pass"], [true, "flip averaging"]] as const;

/**
 * The table of one setting at one cap: all rows, without and with flip averaging, each with what it costs. Published
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
    return rowNames(means).map((name) => measuredRow(name, group, measured.get(name)));
  });
  const joins = published !== undefined && comparable(means.setting, capM, published);
  return new Table({
    title: `${describeSetting(means.setting)}, ${capM} m cap`,
    corner: "row",
    columns: [...METRIC_COLUMNS, ...COST_COLUMNS],
    rows: joins ? [...rows, ...publishedRows(published)] : rows,
    notes: [SPREAD, COST, ...(joins ? publishedNotes(published) : [])],
  });
}

/** Rows that a gain is held against: the untaught student, and it trained on for as many updates or as much time. */
const BASES = ["HC", "HC-continued", "HC equal cost"] as const;

/**
 * How much lower each row's abs rel is than that of HC, trained on and not, paired by seed.
 *
 * @param capM One of the setting's caps, m.
 * @returns `undefined` where no row can be compared.
 */
export function gainTable(means: SettingMeans, capM: number): Table | undefined {
  const columns = BASES.flatMap((base) => [
    { key: base, label: `vs ${base} % ↑`, digits: 1, better: "higher" } as const,
    { key: `${base} seeds`, label: "seeds", digits: 0 } as const,
  ]);
  const rows = FLIPS.flatMap(([flip, group]) =>
    rowNames(means).filter((name) => name !== "HC" && name !== "train-set mean").map((name): TableRow => {
      const cells = BASES.filter((base) => base !== name).flatMap((base) => {
        const gain = pairedGain(means.results, name, base, { flip, capM });
        return [[base, cell(gain, 100)], [`${base} seeds`, gain?.seeds]];
      });
      return { name, group, cells: Object.fromEntries(cells) };
    })
  );
  const has = (group: string) =>
    rows.some((row) =>
      row.group === group && BASES.some((base) => typeof row.cells[`${base} seeds`] === "number")
    );
  const shown = FLIPS.flatMap(([, group]) => has(group) ? rows.filter((row) => row.group === group) : []);
  if (shown.length === 0) return undefined;
  return new Table({
    title: `Gain in abs rel: ${describeSetting(means.setting)}, ${capM} m cap`,
    corner: "row",
    columns,
    rows: shown,
    notes: [
      "How much lower abs rel is, compared seed by seed, mean ± standard deviation (n − 1); negative is worse.",
      "HC-continued had as many updates of the student, HC equal cost as much time: a gain over HC alone may be that of " +
      "more training.",
    ],
  });
}

/** The published numbers by themselves, with the paper's own gains over its HC. */
export function publishedTable(published: PublishedTables): Table {
  const { split, crop, capM } = published.protocol;
  const hc = published.refineAndDistill.find(({ name }) => name === "HC")?.values.absRel;
  const rows = publishedRows(published).map((row): TableRow => {
    if (row.group !== OWN_GROUP || row.name === "HC" || !hc) return row;
    const { value, confidence } = row.cells.absRel as TableCell;
    const gain = typeof value === "number" ? 100 * (1 - value / hc) : undefined;
    return { ...row, cells: { ...row.cells, gain: { value: gain, confidence } } };
  });
  return new Table({
    title: `Published, not measured here: ${datasetName(published.protocol.dataset)} (${split} split), ${
      crop === "garg" ? "Garg" : crop
    } crop, ${capM} m cap`,
    corner: "row",
    columns: [...METRIC_COLUMNS, { key: "gain", label: "vs HC % ↑", digits: 1 }],
    rows,
    notes: publishedNotes(published),
  });
}

/**
 * Abs rel of every row with its spread over seeds, the paper's numbers as hollow marks. On other data than the
 * paper's the legend says that the two cannot be compared.
 *
 * @param capM One of the setting's caps, m.
 */
export function ablationChart(means: SettingMeans, capM: number, published?: PublishedTables): Chart {
  const at = means.rows.filter((row) => row.capM === capM);
  const flip = at.length > 0 && !at.some((row) => !row.flip);
  const measured = new Map(at.filter((row) => row.flip === flip).map((row) => [row.row, row.metrics.absRel]));
  const paper = new Map(published?.refineAndDistill.map(({ name, values }) => [name, values.absRel]));
  const bars = rowNames(means).map((name): AblationBar => ({
    name,
    value: measured.get(name)?.mean,
    deviation: measured.get(name)?.deviation,
    published: paper.get(name),
    baseline: name === "train-set mean",
  }));
  const same = published !== undefined && comparable(means.setting, capM, published);
  return ablationBars(bars, {
    title: `Ablation on ${datasetName(means.setting.dataset)}`,
    subtitle: `${describeSetting(means.setting)}, ${capM} m cap, ${flip ? "flip averaging" : "one pass"}`,
    publishedLabel: same
      ? "published by Pilzer et al. 2019"
      : "published by Pilzer et al. 2019 on KITTI (other data: not comparable)",
  });
}

/** All results as one flat table for programs: its `csv()` names the setting of every line. */
export function flatTable(all: readonly SettingMeans[], published?: PublishedTables): Table {
  const keys = ["dataset", "split", "part", "truth", "crop", "architecture", "size", "capM", "flip"];
  const measured = all.flatMap((means) =>
    means.rows.map((row): TableRow => {
      const { cells } = measuredRow(row.row, "measured here", row);
      const flip = row.flip ? "yes" : "no";
      return {
        name: row.row,
        group: "measured here",
        cells: { ...cells, ...means.setting, capM: row.capM, flip, parameters: row.cost.parameters },
      };
    })
  );
  const quoted = published === undefined ? [] : publishedRows(published).map((row) => ({
    ...row,
    cells: { ...row.cells, ...published.protocol },
  }));
  return new Table({
    columns: [
      ...keys.map((key) => ({ key, label: key })),
      ...METRIC_COLUMNS,
      ...COST_COLUMNS.map((column) =>
        column.key === "parameters" ? { ...column, label: "parameters" } : column
      ),
    ],
    rows: [...measured, ...quoted],
  });
}

/** A chart and what it shows. */
export interface SettingChart {
  /** Where and how its numbers were measured. */
  readonly setting: ResultSetting;
  /** Abs rel at the setting's greatest cap. */
  readonly chart: Chart;
}

/** What {@linkcode ablationReport} makes. */
export interface AblationReport {
  /** For each setting the table of each cap and the gains at the greatest; last the published numbers. */
  readonly tables: readonly Table[];
  /** One for each setting. */
  readonly charts: readonly SettingChart[];
  /** Everything in one; see {@linkcode flatTable}. */
  readonly flat: Table;
}

/** All tables and charts of some results. */
export function ablationReport(all: readonly SettingMeans[], published?: PublishedTables): AblationReport {
  const tables = all.flatMap((means) => {
    const gains = gainTable(means, means.capsM[0]);
    return [...means.capsM.map((capM) => ablationTable(means, capM, published)), ...(gains ? [gains] : [])];
  });
  if (published) tables.push(publishedTable(published));
  const charts = all.map((means) => ({
    setting: means.setting,
    chart: ablationChart(means, means.capsM[0], published),
  }));
  return { tables, charts, flat: flatTable(all, published) };
}

/**
 * The tables as one Markdown text, with what the rows mean and what made them.
 *
 * @param about What made each results file, by its path.
 */
export function ablationMarkdown(
  report: AblationReport,
  about: ReadonlyMap<string, ResultsFile["about"]> = new Map(),
): string {
  const rows = ABLATION_ROWS.map(({ name, meaning }) => `- **${name}**: ${meaning}\n`).join("");
  const origins = [...about].filter(([, facts]) => Object.keys(facts).length).map(([path, facts]) =>
    `\nFrom \`${path}\`:\n\n` +
    Object.entries(facts).map(([key, value]) => `- ${key}: ${escapeMarkdown(value)}\n`).join("")
  );
  return [...report.tables.map((table) => table.markdown()), `Rows\n\n${rows}${origins.join("")}`].join("\n");
}

/**
 * Writes `tables.md`, `tables.tex`, `tables.csv` and the chart as `plot.svg` and `plot.png`; with several settings
 * each has a plot of its own, `plot-street-test-lidar-garg-quick-64x192.svg`.
 *
 * @returns Paths of the files.
 * @throws {CyclopsError} When the folder cannot be written.
 */
export async function writeAblation(
  folder: string,
  report: AblationReport,
  about?: ReadonlyMap<string, ResultsFile["about"]>,
): Promise<string[]> {
  const paths: string[] = [];
  const at = (name: string) => {
    paths.push(join(folder, name));
    return paths.at(-1)!;
  };
  await writeAtomic(at("tables.md"), ablationMarkdown(report, about));
  await writeAtomic(at("tables.tex"), report.tables.map((table) => table.latex()).join("\n"));
  await writeAtomic(at("tables.csv"), report.flat.csv());
  for (const { setting, chart } of report.charts) {
    const { dataset, part, truth, crop, architecture, size } = setting;
    const slug = [dataset, part, truth, crop, architecture, size].join("-").replace(/[^\w-]+/g, "_");
    const name = report.charts.length === 1 ? "plot" : `plot-${slug}`;
    await chart.writeSvg(at(`${name}.svg`));
    await chart.writePng(at(`${name}.png`));
  }
  return paths;
}
