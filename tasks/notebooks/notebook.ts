/**
 * Notebook files (nbformat 4.5) as this project commits them: small, and the same bytes for the same content.
 *
 * @module
 */
import { CyclopsError } from "../../lib/base/errors.ts";
import { readJson, writeAtomic } from "../../lib/base/files.ts";
import { formatBytes } from "../../lib/base/terminal.ts";
import type { Fault } from "./fault.ts";

/** A text, whole or in lines that keep their line ends. */
export type MultilineText = string | readonly string[];

/** What a cell showed. */
export interface Output {
  /** What kind of output it is; it decides which of the other fields there are. */
  readonly output_type: "stream" | "display_data" | "execute_result" | "error";
  /** By MIME type: text, base64 or JSON. */
  readonly data?: Readonly<Record<string, unknown>>;
  /** By MIME type: how to show it. */
  readonly metadata?: Readonly<Record<string, unknown>>;
  /** That of the cell whose value this is. */
  readonly execution_count?: number | null;
  /** "stdout" or "stderr" of a stream. */
  readonly name?: string;
  /** What was printed to a stream. */
  readonly text?: MultilineText;
}

/** A piece of a notebook. */
export interface Cell {
  /** Code that runs, Markdown, or text that is left alone. */
  readonly cell_type: "code" | "markdown" | "raw";
  /** Unique in the notebook. */
  readonly id?: string;
  /** What a person wrote. */
  readonly source: MultilineText;
  /** Tags, times and the like. */
  readonly metadata?: Readonly<Record<string, unknown>>;
  /** How many code cells had run when this one did, from 1. */
  readonly execution_count?: number | null;
  /** What a code cell showed when it ran last. */
  readonly outputs?: readonly Output[];
}

/** A notebook. */
export interface Notebook {
  /** From top to bottom. */
  readonly cells: readonly Cell[];
  /** The kernel and its language. */
  readonly metadata: Readonly<Record<string, unknown>>;
  /** 4 */
  readonly nbformat: number;
  /** 5: cells have ids. */
  readonly nbformat_minor: number;
}

/** Largest size of one committed notebook, bytes. */
export const NOTEBOOK_BYTES = 400 * 1024;
/** Largest size of all committed notebooks together, bytes. */
export const ALL_NOTEBOOKS_BYTES = 3 * 1024 * 1024;

/** A text in one piece. */
export function textOf(text: MultilineText): string {
  return typeof text === "string" ? text : text.join("");
}

/**
 * Reads a notebook.
 *
 * @throws {CyclopsError} When it cannot be read, is not JSON, or no notebook of format 4.
 */
export async function readNotebook(path: string): Promise<Notebook> {
  const found = await readJson(path) as Partial<Notebook> | null;
  const good = Array.isArray(found?.cells) && found.nbformat === 4 && found.cells.every(isCell);
  if (good) return found as Notebook;
  throw new CyclopsError(`Cannot read the notebook ${path}: it is not in Jupyter's notebook format 4`);
}

function isCell(cell: Partial<Cell> | null): boolean {
  const { source, cell_type } = cell ?? {};
  return ["code", "markdown", "raw"].includes(cell_type!) &&
    (typeof source === "string" || Array.isArray(source) && source.every((line) => typeof line === "string"));
}

/** The notebook's code cells with their numbers, from 1, Markdown cells counted; empty ones are left out. */
export function codeCells(
  notebook: Notebook,
): { readonly number: number; readonly source: string; readonly cell: Cell }[] {
  return notebook.cells.map((cell, i) => ({ number: i + 1, source: textOf(cell.source), cell }))
    .filter(({ cell, source }) => cell.cell_type === "code" && source.trim() !== "");
}

const METADATA = {
  kernelspec: { display_name: "Deno", language: "typescript", name: "deno" },
  // deno fmt takes the cells' language from here.
  language_info: { file_extension: ".ts", mimetype: "text/x.typescript", name: "typescript" },
};

/**
 * Leaves out what changes from run to run or from machine to machine and says nothing: times, kernel versions,
 * widget states, display ids. Code cells are counted 1..n.
 */
export function cleanNotebook(notebook: Notebook): Notebook {
  let count = 0;
  const cells = notebook.cells.map((cell, i): Cell => {
    const common = { cell_type: cell.cell_type, id: cell.id ?? `cell-${i + 1}`, metadata: tags(cell) };
    const source = splitLines(textOf(cell.source));
    if (cell.cell_type !== "code") return { ...common, source };
    const execution_count = textOf(cell.source).trim() === "" ? null : ++count;
    const outputs = (cell.outputs ?? []).map((output) => cleanOutput(output, execution_count));
    return { ...common, execution_count, outputs, source };
  });
  return { cells, metadata: METADATA, nbformat: 4, nbformat_minor: 5 };
}

function tags({ metadata }: Cell): Record<string, unknown> {
  return metadata?.tags ? { tags: metadata.tags } : {};
}

function cleanOutput(output: Output, execution_count: number | null): Output {
  switch (output.output_type) {
    case "stream":
      return { name: output.name, output_type: "stream", text: splitLines(textOf(output.text ?? "")) };
    case "error":
      return output;
    default: {
      const data = Object.fromEntries(
        Object.entries(output.data ?? {}).map(([type, value]) => [type, cleanData(type, value)]),
      );
      const common = { data, metadata: {}, output_type: output.output_type };
      return output.output_type === "execute_result" ? { ...common, execution_count } : common;
    }
  }
}

function cleanData(type: string, value: unknown): unknown {
  if (typeof value !== "string" && !Array.isArray(value)) return value;
  const text = textOf(value as MultilineText);
  return type.startsWith("text/") || type === "image/svg+xml" ? splitLines(text) : text;
}

function splitLines(text: string): string[] {
  return text === "" ? [] : text.split(/(?<=\n)/);
}

/** A notebook as the text of a file, as `deno fmt` leaves it. */
export function formatNotebook(notebook: Notebook): string {
  return JSON.stringify(notebook, null, 1) + "\n";
}

/** Writes a notebook, cleaned; see {@linkcode cleanNotebook}. @throws {CyclopsError} When it cannot be written. */
export async function writeNotebook(path: string, notebook: Notebook): Promise<void> {
  await writeAtomic(path, formatNotebook(cleanNotebook(notebook)));
}

/** What is wrong with the outputs that a notebook was committed with: none, counted out of order, or an error. */
export function checkCommitted(path: string, notebook: Notebook): Fault[] {
  const cells = codeCells(notebook);
  const mend = "run deno task notebooks --write";
  for (const [i, { number, cell }] of cells.entries()) {
    const found = cell.execution_count ?? "no";
    if (found !== i + 1) {
      const message = `committed with execution count ${found}, wanted ${i + 1}; ${mend}`;
      return [{ notebook: path, cell: number, kind: "committed", message }];
    }
    if (cell.outputs?.some((output) => output.output_type === "error")) {
      return [{
        notebook: path,
        cell: number,
        kind: "committed",
        message: `committed with an error; ${mend}`,
      }];
    }
  }
  return [];
}

/** A notebook on disk. */
export interface NotebookFile {
  /** Its path, as faults name it. */
  readonly path: string;
  /** What the file holds. */
  readonly notebook: Notebook;
  /** Size of the file. */
  readonly bytes: number;
}

/**
 * Which notebooks are too large to be committed, alone or together.
 *
 * @param limits Bytes; a notebook of `each` bytes is too large.
 */
export function checkSizes(
  files: readonly NotebookFile[],
  limits: { readonly each?: number; readonly all?: number } = {},
): Fault[] {
  const { each = NOTEBOOK_BYTES, all = ALL_NOTEBOOKS_BYTES } = limits;
  const binary = (bytes: number) => formatBytes(bytes, { binary: true });
  const faults: Fault[] = files.filter(({ bytes }) => bytes >= each).map(({ path, notebook, bytes }) => {
    const cells = notebook.cells.map((cell) => JSON.stringify(cell).length);
    const largest = Math.max(...cells);
    const message =
      `${binary(bytes)}, wanted less than ${binary(each)}; this cell alone has ${binary(largest)}: ` +
      "show smaller or fewer pictures";
    return { notebook: path, cell: cells.indexOf(largest) + 1, kind: "size", message };
  });
  const sum = files.reduce((total, { bytes }) => total + bytes, 0);
  if (sum >= all) {
    const message = `all ${files.length} together have ${binary(sum)}, wanted less than ${binary(all)}`;
    faults.push({ notebook: "notebooks", kind: "size", message });
  }
  return faults;
}
