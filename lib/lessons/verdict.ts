/**
 * The last cell of every notebook: what was seen, held against what was expected.
 *
 * @module
 */
import { Table } from "../charts/table.ts";

/** One thing that was looked for. */
export interface Expectation {
  /** What it is, e.g. "abs rel of the student". */
  readonly what: string;
  /** What came out: a number, or words. */
  readonly seen: number | string;
  /** What was expected, in words. */
  readonly expected: string;
  /** Whether it came out as expected. */
  readonly match: boolean;
  /** Why not, or why it does not matter. */
  readonly note?: string;
}

/** A table of expectations and whether they were met. */
export function verdict(expectations: readonly Expectation[]): Table {
  const met = expectations.filter(({ match }) => match).length;
  return new Table({
    title: `${met} of ${expectations.length} as expected`,
    corner: "what",
    columns: [{ key: "seen", label: "seen" }, { key: "expected", label: "expected" }, {
      key: "match",
      label: "match",
    }],
    rows: expectations.map(({ what, seen, expected, match }) => ({
      name: what,
      cells: { seen, expected, match: match ? "yes" : "no" },
    })),
    notes: expectations.flatMap(({ what, note }) => note ? [`${what}: ${note}`] : []),
  });
}
