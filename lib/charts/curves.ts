/**
 * Training curves, lines and histograms.
 *
 * @module
 */
import { Chart, PALETTE, type VegaLiteSpec } from "./chart.ts";
import { textWidth } from "./svg.ts";

/**
 * One line of a run's metrics.jsonl: `step`, `loss` (weighted sum), `terms` (loss terms by name), and, on the steps that
 * measured it, `absRel` or `validation.absRel`; everything else is ignored.
 */
export type CurveRecord = Readonly<Record<string, unknown>>;

/** Options of {@linkcode lossCurves}. */
export interface LossCurvesOptions {
  readonly title?: string;
  /** Weight of the past in the running mean, 0 (none) to < 1. @default 0.9 */
  readonly smoothing?: number;
  /** Baselines of the validation abs rel by name, e.g. the train-set mean's. */
  readonly references?: Readonly<Record<string, number>>;
  /** Vertical lines with a label, e.g. where training at half size ends. */
  readonly marks?: readonly { readonly step: number; readonly label: string }[];
  /** Width of the whole chart, px. @default 820 */
  readonly width?: number;
}

/** Height of the plots, px. */
const PLOT = 220;
/** Maximum points per line: more would only make the file larger. */
const MOST_POINTS = 160;

interface Point {
  readonly x: number;
  readonly y: number;
}

function round(value: number): number {
  return Number(value.toPrecision(4));
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

/** At most {@linkcode MOST_POINTS} evenly spaced points, the first and last among them. */
function thin(points: readonly Point[]): readonly Point[] {
  if (points.length <= MOST_POINTS) return points;
  const gap = (points.length - 1) / (MOST_POINTS - 1);
  return Array.from({ length: MOST_POINTS }, (_, i) => points[Math.round(i * gap)]);
}

/** A logarithmic axis over the values: ticks at 1, 2 and 5 of each power of ten, fewer where the range is wide. */
function logAxis(values: readonly number[]) {
  const scale = { type: "log", nice: false };
  if (values.length === 0) return { scale, axis: { format: "~g" } };
  const low = Math.min(...values), high = Math.max(...values);
  const decades = Math.log10(high / low), first = Math.floor(Math.log10(low));
  const powers = Array.from({ length: Math.ceil(Math.log10(high)) - first + 1 }, (_, i) => 10 ** (first + i));
  const steps = decades > 4 ? [1] : decades > 2 ? [1, 3] : [1, 2, 5];
  const ticks = powers.flatMap((power) => steps.map((step) => Number((step * power).toPrecision(1))));
  return { scale: { ...scale, domain: [low / 1.1, high * 1.1] }, axis: { format: "~g", values: ticks } };
}

/** Colors by name, in the order of the names. */
function colorsOf(names: readonly string[]) {
  return { domain: names, range: names.map((_, i) => PALETTE[i % PALETTE.length]) };
}

/** Vertical lines with labels at their top. */
function verticalMarks(values: readonly { readonly label: string }[], x: unknown): VegaLiteSpec[] {
  if (values.length === 0) return [];
  return [
    { data: { values }, mark: { type: "rule", strokeDash: [4, 3], opacity: 0.6 }, encoding: { x } },
    {
      data: { values },
      mark: { type: "text", align: "left", dx: 4, baseline: "top", fontSize: 11 },
      encoding: { x, y: { value: 2 }, text: { field: "label" } },
    },
  ];
}

/** Horizontal lines with name and value on the right. */
function horizontalMarks(values: Readonly<Record<string, number>>): VegaLiteSpec[] {
  return Object.entries(values).filter(([, value]) => Number.isFinite(value)).flatMap(([name, value]) => {
    const data = { values: [{ value: round(value), label: `${name} ${value.toFixed(3)}` }] };
    const y = { field: "value", type: "quantitative" };
    const mark = { type: "text", align: "right", baseline: "bottom", dy: -3, x: "width", fontSize: 11 };
    return [
      { data, mark: { type: "rule", strokeDash: [5, 4], opacity: 0.6 }, encoding: { y } },
      { data, mark, encoding: { y, text: { field: "label" } } },
    ];
  });
}

/**
 * Training curves: the total loss (raw and smoothed) and each named term on a logarithmic axis and, where measured, the
 * validation abs rel beside them.
 *
 * @param records In order of steps; values that are not positive finite numbers are left out.
 */
export function lossCurves(records: readonly CurveRecord[], options: LossCurvesOptions = {}): Chart {
  const { title = "Loss", smoothing = 0.9, width = 820 } = options;
  const group = (record: CurveRecord, key: string) => (record[key] ?? {}) as CurveRecord;
  const lineOf = (value: (record: CurveRecord) => unknown): Point[] =>
    records.flatMap((record) => {
      const x = record.step, y = value(record);
      return typeof x === "number" && typeof y === "number" && Number.isFinite(x) && y > 0 && y < Infinity
        ? [{ x, y }]
        : [];
    });
  const terms = [...new Set(records.flatMap((record) => Object.keys(group(record, "terms"))))];
  const total = lineOf((record) => record.loss);
  const lines = [
    { name: "total", points: total },
    ...terms.map((name) => ({ name, points: lineOf((record) => group(record, "terms")[name]) })),
  ].filter(({ points }) => points.length);
  const names = lines.map(({ name }) => name);
  const rows = lines.flatMap(({ name, points }) =>
    thin(smooth(points, smoothing)).map(({ x, y }) => ({ step: x, name, value: round(y) }))
  );
  const raw = thin(total).map(({ x, y }) => ({ step: x, value: round(y) }));
  const validation = thin(lineOf((record) => record.absRel ?? group(record, "validation").absRel))
    .map(({ x, y }) => ({ step: x, value: round(y) }));

  const x = {
    field: "step",
    type: "quantitative",
    title: "step",
    axis: { format: "~s", tickCount: 6 },
    scale: { nice: false },
  };
  const y = {
    field: "value",
    type: "quantitative",
    title: "loss (logarithmic)",
    ...logAxis([...rows, ...raw].map(({ value }) => value)),
  };
  // Room for axes.
  const plots = width - 190;
  const lossWidth = validation.length ? Math.round(plots * 0.58) : plots + 40;
  const marks = verticalMarks(options.marks ?? [], x);
  const longest = Math.max(0, ...names.map((name) => textWidth(name, 12)));
  const color = {
    field: "name",
    type: "nominal",
    title: null,
    scale: colorsOf(names),
    legend: {
      orient: "bottom",
      columns: Math.max(1, Math.floor(lossWidth / (34 + longest))),
      symbolType: "stroke",
    },
  };
  const heading = (text: string) => ({ text, fontSize: 12, fontWeight: "normal", offset: 6 });
  const loss: VegaLiteSpec = {
    width: lossWidth,
    height: PLOT,
    title: validation.length ? heading("training loss") : undefined,
    layer: [
      {
        data: { values: raw },
        mark: { type: "line", color: PALETTE[0], opacity: 0.22, strokeWidth: 1 },
        encoding: { x, y },
      },
      {
        data: { values: rows },
        mark: { type: "line", strokeWidth: 1.8 },
        encoding: { x, y, color },
      },
      {
        // Invisible points carry the tooltips; a quarter of them is enough to be hit.
        data: {
          values: rows.filter((_, i) => i % 4 === 0).map(({ name, ...point }) => ({ term: name, ...point })),
        },
        mark: { type: "square", filled: true, opacity: 0.001, size: 100 },
        encoding: {
          x,
          y,
          detail: { field: "term" },
          tooltip: [{ field: "term" }, { field: "step" }, { field: "value" }],
        },
      },
      ...marks,
    ],
  };
  if (validation.length === 0) return new Chart({ ...loss, title: { text: title } }, title);

  const absRel: VegaLiteSpec = {
    width: plots - lossWidth,
    height: PLOT,
    title: heading("validation"),
    layer: [
      {
        data: { values: validation },
        mark: {
          type: "line",
          color: PALETTE[1],
          strokeWidth: 1.8,
          point: { size: 26, color: PALETTE[1], filled: true },
        },
        encoding: {
          x: { ...x, axis: { ...x.axis, tickCount: 4 } },
          y: {
            field: "value",
            type: "quantitative",
            title: "abs rel",
            scale: { zero: false },
            axis: { format: ".3~f", tickCount: 6 },
          },
          tooltip: [{ field: "step" }, { field: "value", title: "abs rel" }],
        },
      },
      ...horizontalMarks(options.references ?? {}),
    ],
  };
  return new Chart({ title: { text: title }, spacing: 72, bounds: "flush", hconcat: [loss, absRel] }, title);
}

/** A line of a {@linkcode lineChart}. */
export interface LineSeries {
  readonly name: string;
  /** Pairs of x and y; those that are not finite are left out. */
  readonly points: readonly (readonly [x: number, y: number])[];
}

/** Options of {@linkcode lineChart}. */
export interface LineChartOptions {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly log?: boolean;
  /** Vertical lines with a label, e.g. where the truth lies. */
  readonly marks?: readonly { readonly x: number; readonly label: string }[];
  /** Horizontal lines by name, e.g. a baseline's value. */
  readonly references?: Readonly<Record<string, number>>;
  readonly width?: number;
  readonly height?: number;
}

/** One line per series, with a legend where there are several. */
export function lineChart(series: readonly LineSeries[], options: LineChartOptions): Chart {
  const { title, xLabel, yLabel, log = false, marks = [], references = {} } = options;
  const { width = 620, height = 240 } = options;
  // Five significant digits: more than a chart shows, less than a file should hold.
  const round = (value: number) => Number(value.toPrecision(5));
  const values = series.flatMap(({ name, points }) =>
    points.filter((point) => point.every(Number.isFinite)).map(([x, y]) => ({
      name,
      x: round(x),
      y: round(y),
    }))
  );
  const names = series.map(({ name }) => name);
  const ticks = width < 400 ? { axis: { tickCount: 5 } } : {};
  const x = {
    field: "x",
    type: "quantitative",
    title: xLabel,
    scale: { nice: false, zero: false },
    ...ticks,
  };
  const scale = log ? { type: "log", nice: false } : { zero: false };
  const longest = Math.max(0, ...names.map((name) => textWidth(name, 12)));
  // Beside each other as far as they fit.
  const columns = Math.max(1, Math.floor(width / (34 + longest)));
  const wrapped = columns < names.length ? { columns } : {};
  const legend = names.length > 1 ? { orient: "bottom", symbolType: "stroke", ...wrapped } : null;
  const lines: VegaLiteSpec = {
    data: { values },
    mark: { type: "line", strokeWidth: 2 },
    encoding: {
      x,
      y: { field: "y", type: "quantitative", title: yLabel, scale },
      color: { field: "name", type: "nominal", title: null, scale: colorsOf(names), legend },
      tooltip: [{ field: "name", title: " " }, { field: "x", title: xLabel }, { field: "y", title: yLabel }],
    },
  };
  return new Chart(
    {
      ...{ width, height, title: { text: title } },
      layer: [lines, ...verticalMarks(marks, x), ...horizontalMarks(references)],
    },
    title,
  );
}

/** Options of {@linkcode histogram}. */
export interface HistogramOptions {
  readonly title?: string;
  /** What is counted, with its unit: the axis title. */
  readonly label?: string;
  /** How many bins the range is divided into. @default 40 */
  readonly bins?: number;
  /** Ends of the axis. @default the 0.5th and 99.5th percentile of all values */
  readonly range?: readonly [low: number, high: number];
}

/** How values are distributed: the share of each bin, one or more series over each other; NaN and infinities are left out. */
export function histogram(
  series: readonly { readonly name: string; readonly values: ArrayLike<number> }[],
  options: HistogramOptions = {},
): Chart {
  const { title = "Distribution", label = "value", bins = 40 } = options;
  const lists = series.map(({ values }) => Array.from(values).filter(Number.isFinite));
  const all = lists.flat().sort((a, b) => a - b);
  const at = (p: number) => all[Math.min(all.length - 1, Math.floor(p * all.length))] ?? p;
  let [low, high] = options.range ?? [at(0.005), at(0.995)];
  if (!(high > low)) high = low + (Math.abs(low) || 1) * 0.01;
  const values = lists.flatMap((list, s) => {
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
  const domain = series.map(({ name }) => name);
  const legend = domain.length > 1 ? { orient: "top", symbolType: "square" } : null;
  return new Chart({
    title: { text: title },
    width: 620,
    height: 200,
    data: { values },
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
        axis: { format: ".2~p", tickCount: 5 },
      },
      color: { field: "name", type: "nominal", title: null, scale: { domain }, legend },
      tooltip: [{ field: "name" }, { field: "value", title: "from" }, { field: "share", format: ".2%" }],
    },
  }, title);
}
