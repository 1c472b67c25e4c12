/**
 * Metrics as text tables.
 *
 * @module
 */
import { bold } from "@std/fmt/colors";
import { type DepthMetrics, lowerIsBetter, metricNames } from "./metrics.ts";

/** One line of a table. */
export interface MetricsRow {
  /** What was evaluated. */
  readonly name: string;
  /** What came out. */
  readonly metrics: DepthMetrics;
}

/** Column titles, with the unit and an arrow towards the better side. */
const TITLES: Readonly<Record<keyof DepthMetrics, string>> = {
  absRel: "abs rel ↓",
  sqRel: "sq rel m ↓",
  rmse: "RMSE m ↓",
  rmseLog: "RMSE log ↓",
  a1: "δ<1.25 ↑",
  a2: "δ<1.25² ↑",
  a3: "δ<1.25³ ↑",
};

/** The best of each metric, as indices of rows; equal values share the place. */
export function bestRows(rows: readonly MetricsRow[]): Record<keyof DepthMetrics, readonly number[]> {
  const entries = metricNames.map((name) => {
    const values = rows.map(({ metrics }) => metrics[name]);
    const best = lowerIsBetter(name) ? Math.min(...values) : Math.max(...values);
    return [name, [...values.keys()].filter((i) => values[i] === best)];
  });
  return Object.fromEntries(entries);
}

/**
 * A table for the terminal, one row a line; with several rows the best of each metric carries a star.
 *
 * @returns Lines without a final newline.
 */
export function metricsTable(rows: readonly MetricsRow[]): string {
  const best = bestRows(rows);
  const first = Math.max(...rows.map(({ name }) => name.length));
  const header = " ".repeat(first) + metricNames.map((m) => TITLES[m].padStart(12)).join("");
  const lines = rows.map(({ name, metrics }, i) => {
    const cells = metricNames.map((m) => {
      const wins = rows.length > 1 && best[m].includes(i);
      const cell = metrics[m].toFixed(4).padStart(11);
      return wins ? bold(`${cell}*`) : `${cell} `;
    });
    return (name.padEnd(first) + cells.join("")).trimEnd();
  });
  return [header, ...lines].join("\n");
}
