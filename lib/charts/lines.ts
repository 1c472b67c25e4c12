/**
 * Lines over an axis.
 *
 * @module
 */
import { Chart, PALETTE, type VegaLiteSpec } from "./chart.ts";

/** A line of a {@linkcode lineChart}. */
export interface LineSeries {
  /** In the legend. */
  readonly name: string;
  /** Pairs of x and y; those that are not finite are left out. */
  readonly points: readonly (readonly [x: number, y: number])[];
}

/** Options of {@linkcode lineChart}. */
export interface LineChartOptions {
  /** Above the chart. */
  readonly title: string;
  /** Title of the horizontal axis, with its unit. */
  readonly xLabel: string;
  /** Title of the vertical axis, with its unit. */
  readonly yLabel: string;
  /** Logarithmic vertical axis. @default false */
  readonly log?: boolean;
  /** Vertical lines with a label, e.g. where the truth lies. */
  readonly marks?: readonly { readonly x: number; readonly label: string }[];
  /** Of the plot, px. @default 620 */
  readonly width?: number;
  /** Of the plot, px. @default 240 */
  readonly height?: number;
}

/** One line a series, with a legend where there are several. */
export function lineChart(series: readonly LineSeries[], options: LineChartOptions): Chart {
  const { title, xLabel, yLabel, log = false, marks = [], width = 620, height = 240 } = options;
  const values = series.flatMap(({ name, points }) =>
    points.filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y))
      .map(([x, y]) => ({ name, x: round(x), y: round(y) }))
  );
  const names = series.map(({ name }) => name);
  const x = { field: "x", type: "quantitative", title: xLabel, scale: { nice: false, zero: false } };
  const lines: VegaLiteSpec = {
    data: { values },
    mark: { type: "line", strokeWidth: 2 },
    encoding: {
      x,
      y: {
        field: "y",
        type: "quantitative",
        title: yLabel,
        scale: log ? { type: "log", nice: false } : { zero: false },
      },
      color: {
        field: "name",
        type: "nominal",
        title: null,
        scale: { domain: names, range: names.map((_, i) => PALETTE[i % PALETTE.length]) },
        legend: names.length > 1 ? { orient: "bottom", symbolType: "stroke" } : null,
      },
      tooltip: [{ field: "name", title: " " }, { field: "x", title: xLabel }, { field: "y", title: yLabel }],
    },
  };
  const rules = marks.length
    ? [{
      data: { values: marks },
      layer: [
        { mark: { type: "rule", strokeDash: [4, 3], opacity: 0.6 }, encoding: { x } },
        {
          mark: { type: "text", align: "left", dx: 4, baseline: "top" },
          encoding: { x, y: { value: 2 }, text: { field: "label" } },
        },
      ],
    }]
    : [];
  return new Chart({ width, height, title: { text: title }, layer: [lines, ...rules] }, title);
}

/** Five significant digits: more than a chart shows, less than a file should hold. */
function round(value: number): number {
  return Number(value.toPrecision(5));
}
