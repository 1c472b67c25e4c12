/**
 * What is wrong with a notebook, and where.
 *
 * @module
 */

/** What kind of fault it is. */
export type FaultKind =
  | "type"
  | "format"
  | "error"
  | "rejection"
  | "output"
  | "timeout"
  | "committed"
  | "size";

/** One thing wrong with a notebook. */
export interface Fault {
  /** Path of the notebook. */
  readonly notebook: string;
  /** Number of the cell, from 1, Markdown cells counted. */
  readonly cell?: number;
  /** Line in the cell, from 1. */
  readonly line?: number;
  /** What kind of fault it is. */
  readonly kind: FaultKind;
  /** What was found and wanted. */
  readonly message: string;
}

const TITLES: Readonly<Record<FaultKind, string>> = {
  type: "type error",
  format: "not formatted",
  error: "error",
  rejection: "unawaited rejection",
  output: "lost output",
  timeout: "too slow",
  committed: "out of date",
  size: "too large",
};

/** "notebooks/01.ipynb, cell 3, line 2: type error: …" */
export function formatFault({ notebook, cell, line, kind, message }: Fault): string {
  const place = [notebook, cell && `cell ${cell}`, line && `line ${line}`].filter(Boolean).join(", ");
  return `${place}: ${TITLES[kind]}: ${message}`;
}
