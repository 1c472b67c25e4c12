/**
 * Curves, histograms and bars.
 *
 * @module
 */
import { Chart, PALETTE, type VegaLiteSpec } from "./chart.ts";
import type { FloatMap } from "./colormap.ts";
import { textWidth } from "./font.ts";

/**
 * One line of a run's metrics.jsonl. Read of it are `step`, `loss` (weighted sum), `terms` (loss terms by name),
 * and, on the steps that measured it, `absRel` or `validation.absRel`; all else is passed over.
 */
export type CurveRecord = Readonly<Record<string, unknown>>;

/** Options of {@linkcode lossCurves}. */
export interface LossCurvesOptions {
  /** Above the chart. @default "Loss" */
  readonly title?: string;
  /** Names of the terms that are drawn. @default all of the records' `terms` */
  readonly terms?: readonly string[];
  /** Weight of the past in the running mean, 0 (none) to < 1. @default 0.9 */
  readonly smoothing?: number;
  /** Logarithmic loss axis. @default true */
  readonly log?: boolean;
  /** Lines to compare the validation abs rel with, by name, e.g. the train-set mean's. */
  readonly references?: Readonly<Record<string, number>>;
  /** Width of the whole, px. @default 820 */
  readonly width?: number;
  /** Height of the plots, px. @default 220 */
  readonly height?: number;
  /** At most so many points a line; fewer make a smaller notebook. @default 160 */
  readonly points?: number;
}

/** A value at a step. */
interface Point {
  readonly x: number;
  readonly y: number;
}

function round(value: number): number {
  return Number(value.toPrecision(4));
}

/** A record's nested values, empty where there are none. */
function groupOf(record: CurveRecord, key: string): CurveRecord {
  const group = record[key];
  return typeof group === "object" && group !== null ? group as CurveRecord : {};
}

/** Running mean with weight `smoothing` on the past, corrected for its start (as in Adam). */
function smooth(points: readonly Point[], smoothing: number): Point[] {
  let sum = 0, weight = 0;
  return points.map(({ x, y }) => {
    sum = smoothing * sum + (1 - smoothing) * y;
    weight = smoothing * weight + 1 - smoothing;
    return { x, y: sum / weight };
  });
}

/** Thins out a line: the last point of each of at most `most` equal shares, the very first and last kept. */
function thin(points: readonly Point[], most: number): Point[] {
  if (points.length <= most) return [...points];
  return Array.from({ length: most }, (_, i) => points[Math.round(i * (points.length - 1) / (most - 1))]);
}

/** Ticks of a logarithmic axis: 1, 2 and 5 of each power of ten, fewer where the range is wide. */
function logTicks(values: readonly number[]): number[] {
  const low = Math.min(...values), high = Math.max(...values);
  const decades = Math.log10(high / low);
  const steps = decades > 4 ? [1] : decades > 2 ? [1, 3] : [1, 2, 5];
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    for (const step of steps) ticks.push(Number((step * 10 ** power).toPrecision(1)));
  }
  return ticks;
}

/**
 * The course of a training: the total loss (raw and smoothed), each named term and, where measured, the validation
 * abs rel beside them.
 *
 * @param records In order of steps; values that are no finite numbers are left out.
 */
export function lossCurves(records: readonly CurveRecord[], options: LossCurvesOptions = {}): Chart {
  // More points than 160 are not seen and make notebooks large.
  const { title = "Loss", smoothing = 0.9, log = true, width = 820, height = 220, points: most = 160 } =
    options;
  const names = options.terms ??
    [...new Set(records.flatMap((record) => Object.keys(groupOf(record, "terms"))))];
  const lineOf = (value: (record: CurveRecord) => unknown): Point[] =>
    records.flatMap((record) => {
      const x = record.step, y = value(record);
      if (typeof x !== "number" || typeof y !== "number") return [];
      return Number.isFinite(x) && Number.isFinite(y) && (!log || y > 0) ? [{ x, y }] : [];
    });
  const total = lineOf((record) => record.loss);
  const rows: Record<string, unknown>[] = [];
  const add = (name: string, points: readonly Point[]) => {
    for (const { x, y } of points) rows.push({ step: x, name, value: round(y) });
  };
  if (total.length) add("total", thin(smooth(total, smoothing), most));
  const drawn = total.length ? ["total"] : [];
  for (const name of names) {
    const points = lineOf((record) => groupOf(record, "terms")[name]);
    if (points.length === 0) continue;
    add(name, thin(smooth(points, smoothing), most));
    drawn.push(name);
  }
  const raw = thin(total, most).map(({ x, y }) => ({ step: x, value: round(y) }));
  const validation = lineOf((record) => record.absRel ?? groupOf(record, "validation").absRel);

  const x = {
    field: "step",
    type: "quantitative",
    title: "step",
    axis: { format: "~s", tickCount: 6 },
    scale: { nice: false },
  };
  const shown = [...rows, ...raw].map((row) => Number(row.value));
  const y = {
    field: "value",
    type: "quantitative",
    title: null,
    scale: log
      ? {
        type: "log",
        nice: false,
        ...(shown.length ? { domain: [Math.min(...shown) / 1.1, Math.max(...shown) * 1.1] } : {}),
      }
      : { zero: false },
    axis: log && shown.length ? { format: "~g", values: logTicks(shown) } : { format: "~g", tickCount: 6 },
  };
  // Room for axes and the legend, so that the whole is `width` wide.
  const plots = width - 190;
  const lossWidth = validation.length ? Math.round(plots * 0.58) : plots + 40;
  const loss: VegaLiteSpec = {
    width: lossWidth,
    height,
    title: validation.length
      ? { text: "training loss", fontSize: 12, fontWeight: "normal", offset: 6 }
      : undefined,
    layer: [
      {
        data: { values: raw },
        mark: { type: "line", color: PALETTE[0], opacity: 0.22, strokeWidth: 1 },
        encoding: { x, y },
      },
      {
        data: { values: rows },
        mark: { type: "line", strokeWidth: 1.8, interpolate: "linear" },
        encoding: {
          x,
          y,
          color: {
            field: "name",
            type: "nominal",
            title: null,
            scale: { domain: drawn, range: drawn.map((_, i) => PALETTE[i % PALETTE.length]) },
            legend: {
              orient: "bottom",
              columns: legendColumns(drawn, lossWidth),
              symbolType: "stroke",
            },
          },
          strokeDash: drawn.length > PALETTE.length
            ? {
              field: "name",
              type: "nominal",
              legend: null,
              scale: { domain: drawn, range: drawn.map((_, i) => i < PALETTE.length ? [1, 0] : [4, 3]) },
            }
            : undefined,
          tooltip: [{ field: "name", title: "term" }, { field: "step" }, { field: "value" }],
        },
      },
    ],
  };
  const heading = { text: title };
  if (validation.length === 0) return new Chart({ ...loss, title: heading }, title);

  const references = Object.entries(options.references ?? {}).filter(([, value]) => Number.isFinite(value));
  const abs: VegaLiteSpec = {
    width: plots - lossWidth,
    height,
    title: { text: "validation abs rel", fontSize: 12, fontWeight: "normal", offset: 6 },
    layer: [
      {
        data: { values: thin(validation, most).map((p) => ({ step: p.x, value: round(p.y) })) },
        mark: {
          type: "line",
          color: PALETTE[1],
          strokeWidth: 1.8,
          point: { size: 26, color: PALETTE[1], filled: true },
        },
        encoding: {
          x,
          y: {
            field: "value",
            type: "quantitative",
            title: null,
            scale: { zero: false },
            axis: { format: ".3~f", tickCount: 6 },
          },
          tooltip: [{ field: "step" }, { field: "value", title: "abs rel" }],
        },
      },
      ...references.flatMap(([name, value]) => {
        const data = { values: [{ value: round(value), label: `${name} ${value.toFixed(3)}` }] };
        const place = { field: "value", type: "quantitative" };
        return [
          { data, mark: { type: "rule", strokeDash: [5, 4], opacity: 0.6 }, encoding: { y: place } },
          {
            data,
            mark: {
              type: "text",
              align: "right",
              baseline: "bottom",
              dy: -3,
              x: "width",
              opacity: 0.75,
              fontSize: 11,
            },
            encoding: { y: place, text: { field: "label" } },
          },
        ];
      }),
    ],
  };
  return new Chart({ title: heading, spacing: 72, bounds: "flush", hconcat: [loss, abs] }, title);
}

/** How many legend entries fit side by side. */
function legendColumns(names: readonly string[], width: number): number {
  return Math.max(1, Math.floor(width / (34 + Math.max(0, ...names.map((name) => textWidth(name, 12))))));
}

/** Values whose distribution is drawn. */
export interface HistogramSeries {
  /** In the legend. */
  readonly name: string;
  /** NaN and infinities are left out. */
  readonly values: ArrayLike<number> | FloatMap;
}

/** Options of {@linkcode histogram}. */
export interface HistogramOptions {
  /** Above the chart. @default "Distribution" */
  readonly title?: string;
  /** What is counted, with its unit: the axis' title. */
  readonly label?: string;
  /** How many bins the range is cut into. @default 40 */
  readonly bins?: number;
  /** Ends of the axis. @default the 0.5th and 99.5th percentile of all values */
  readonly range?: readonly [low: number, high: number];
  /** Logarithmic counts. @default false */
  readonly log?: boolean;
  /** px. @default 620 */
  readonly width?: number;
  /** px. @default 200 */
  readonly height?: number;
}

/** How values are distributed: the share of each bin, one or more series over each other. */
export function histogram(series: readonly HistogramSeries[], options: HistogramOptions = {}): Chart {
  const { title = "Distribution", label = "value", bins = 40, log = false, width = 620, height = 200 } =
    options;
  const lists = series.map(({ values }) => {
    const list = "data" in values ? values.data : values;
    return Float64Array.from(Array.from(list).filter(Number.isFinite)).sort();
  });
  const at = (list: Float64Array, p: number) => list[Math.min(list.length - 1, Math.floor(p * list.length))];
  const full = lists.filter((list) => list.length);
  let [low, high] = options.range ?? [
    Math.min(...full.map((list) => at(list, 0.005))),
    Math.max(...full.map((list) => at(list, 0.995))),
  ];
  if (!(Number.isFinite(low) && Number.isFinite(high))) [low, high] = [0, 1];
  if (!(high > low)) high = low + (Math.abs(low) || 1) * 0.01;
  const rows = lists.flatMap((list, s) => {
    const counts = new Float64Array(bins);
    for (const value of list) {
      if (value >= low && value <= high) {
        counts[Math.min(bins - 1, Math.floor((value - low) / (high - low) * bins))]++;
      }
    }
    // A step is drawn from each bin's left end; the last bin's share is repeated at its right end.
    return Array.from({ length: bins + 1 }, (_, i) => ({
      name: series[s].name,
      value: round(low + (high - low) * i / bins),
      share: round(counts[Math.min(i, bins - 1)] / Math.max(1, list.length)),
    }));
  });
  const names = series.map(({ name }) => name);
  return new Chart({
    title: { text: title },
    width,
    height,
    data: { values: rows },
    mark: { type: "area", interpolate: "step-after", fillOpacity: 0.22, line: { strokeWidth: 1.6 } },
    encoding: {
      x: {
        field: "value",
        type: "quantitative",
        title: label,
        axis: { tickCount: 8 },
        scale: { zero: false, nice: false },
      },
      y: {
        field: "share",
        type: "quantitative",
        stack: null,
        title: "share of the values",
        axis: log ? { format: "~g" } : { format: ".2~p", tickCount: 5 },
        scale: log ? { type: "symlog", constant: 1e-4 } : {},
      },
      color: {
        field: "name",
        type: "nominal",
        title: null,
        scale: { domain: names },
        legend: names.length > 1 ? { orient: "top", symbolType: "square" } : null,
      },
      tooltip: [{ field: "name" }, { field: "value", title: "from" }, { field: "share", format: ".2%" }],
    },
  }, title);
}

/** A bar of an {@linkcode ablationBars} chart. */
export interface AblationBar {
  /** Left of the bar. */
  readonly name: string;
  /** Mean over seeds; absent or NaN: not measured. */
  readonly value?: number | null;
  /** Standard deviation over seeds. */
  readonly deviation?: number | null;
  /** A published number for the same row: another data set or another network, so a mark of another kind. */
  readonly published?: number | null;
  /** Drawn in grey: not a method but what any method must beat. @default false */
  readonly baseline?: boolean;
}

const BASELINE_COLOR = "#a9aeb8";
const MEASURED = "measured here, ± standard deviation over seeds";
const BASELINE = "baseline";
/** Shape, fill and stroke of the legend's symbols. */
const LEGEND: Readonly<Record<string, readonly [string, string, string]>> = {
  [MEASURED]: ["square", PALETTE[0], "transparent"],
  [BASELINE]: ["square", BASELINE_COLOR, "transparent"],
  published: ["diamond", "white", "#1c2028"],
};

/** Options of {@linkcode ablationBars}. */
export interface AblationOptions {
  /** Above the chart. @default "Ablation" */
  readonly title?: string;
  /** Where the measured and the published numbers come from, under the title. */
  readonly subtitle?: string;
  /** Title of the axis. @default "abs rel (lower is better)" */
  readonly label?: string;
  /** Name of the published marks. @default "published (other data: not comparable)" */
  readonly publishedLabel?: string;
  /** px. @default 560 */
  readonly width?: number;
}

/** Bars of a metric with their standard deviations over seeds; published numbers as hollow marks beside them. */
export function ablationBars(bars: readonly AblationBar[], options: AblationOptions = {}): Chart {
  const {
    title = "Ablation",
    label = "abs rel (lower is better)",
    publishedLabel = "published (other data: not comparable)",
    width = 560,
  } = options;
  const known = (value: number | null | undefined) => typeof value === "number" && Number.isFinite(value);
  const values = bars.filter((bar) => known(bar.value)).map((bar) => ({
    name: bar.name,
    value: round(bar.value!),
    low: known(bar.deviation) ? round(bar.value! - bar.deviation!) : undefined,
    high: known(bar.deviation) ? round(bar.value! + bar.deviation!) : undefined,
    kind: bar.baseline ? BASELINE : MEASURED,
    color: bar.baseline ? BASELINE_COLOR : PALETTE[0],
    text: bar.value!.toFixed(4) + (known(bar.deviation) ? ` ± ${bar.deviation!.toFixed(4)}` : ""),
  }));
  const unmeasured = bars.filter((bar) => !known(bar.value)).map((bar) => ({
    name: bar.name,
    text: "—",
    value: 0,
  }));
  const published = bars.filter((bar) => known(bar.published))
    .map((bar) => ({ name: bar.name, value: round(bar.published!), kind: publishedLabel }));
  const hasBaseline = values.some((v) => v.kind === BASELINE);
  const kinds = [MEASURED, ...(hasBaseline ? [BASELINE] : []), ...(published.length ? [publishedLabel] : [])];
  const longest = Math.max(0, ...values.map((v) => v.high ?? v.value), ...published.map((p) => p.value));
  const y = {
    field: "name",
    type: "nominal",
    sort: null,
    title: null,
    scale: { domain: bars.map((b) => b.name) },
    axis: { ticks: false, domain: false, grid: false, labelOpacity: 1, labelLimit: 220 },
  };
  // The texts stand right of the longest bar.
  const x = {
    field: "value",
    type: "quantitative",
    title: label,
    scale: { domain: [0, (longest || 1) * 1.02], nice: false },
    axis: { tickCount: 6, format: ".2~f" },
  };
  // Colours stand in the data, so that the legend's shapes do not merge with a second legend of colours.
  const color = { field: "color", type: "nominal", scale: null };
  return new Chart({
    title: { text: title, subtitle: options.subtitle },
    width,
    height: { step: 26 },
    layer: [
      { data: { values }, mark: { type: "bar", height: 15, cornerRadiusEnd: 2 }, encoding: { y, x, color } },
      {
        data: { values: values.filter((v) => v.low !== undefined) },
        mark: { type: "rule", strokeWidth: 1.6, color: "#1c2028" },
        encoding: { y, x: { ...x, field: "low" }, x2: { field: "high" } },
      },
      {
        data: { values: [...values, ...unmeasured] },
        mark: { type: "text", align: "left", x: width + 8, fontSize: 12 },
        encoding: { y, text: { field: "text" } },
      },
      {
        data: { values: published },
        mark: { type: "point", filled: false, size: 70, strokeWidth: 1.6, opacity: 1, fill: "white" },
        encoding: {
          y,
          x,
          stroke: { value: "#1c2028" },
          shape: { value: "diamond" },
          tooltip: [{ field: "name" }, { field: "value" }],
        },
      },
      {
        // Carries the legend alone: bars and hollow marks need different symbols in one.
        data: { values: kinds.map((kind) => ({ kind })) },
        mark: { type: "point", size: 0, opacity: 0, filled: true },
        encoding: Object.fromEntries(["shape", "fill", "stroke"].map((channel, i) => [channel, {
          field: "kind",
          type: "nominal",
          title: null,
          scale: { domain: kinds, range: kinds.map((kind) => LEGEND[kind]?.[i] ?? LEGEND.published[i]) },
          legend: {
            orient: "bottom",
            direction: "vertical",
            symbolOpacity: 1,
            symbolSize: 90,
            symbolStrokeWidth: 1.6,
            labelLimit: width,
          },
        }])),
      },
    ],
  }, title);
}
