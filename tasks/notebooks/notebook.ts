/**
 * Notebook files (nbformat 4.5) as this project commits them: small, and the same bytes for the same content.
 *
 * @module
 */
import { basename, join } from "@std/path";
import { CyclopsError, UsageError } from "../../lib/base/errors.ts";
import { readJson, writeAtomic } from "../../lib/base/files.ts";
import { formatBytes } from "../../lib/base/terminal.ts";

/** A text, whole or in lines that keep their line ends. */
type MultilineText = string | readonly string[];

/** What a cell showed. */
export interface Output {
  readonly output_type: "stream" | "display_data" | "execute_result" | "error";
  /** By MIME type: text, base64 or JSON. */
  readonly data?: Readonly<Record<string, unknown>>;
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly execution_count?: number | null;
  /** "stdout" or "stderr" of a stream. */
  readonly name?: string;
  readonly text?: MultilineText;
}

export interface Cell {
  readonly cell_type: "code" | "markdown" | "raw";
  readonly id?: string;
  readonly source: MultilineText;
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly execution_count?: number | null;
  readonly outputs?: readonly Output[];
}

export interface Notebook {
  readonly cells: readonly Cell[];
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly nbformat: number;
  readonly nbformat_minor: number;
}

/** A notebook on disk. */
export interface NotebookFile {
  readonly path: string;
  readonly notebook: Notebook;
  /** Size of the file. */
  readonly bytes: number;
}

const FAULTS = {
  type: "type error",
  format: "not formatted",
  error: "error",
  rejection: "unawaited rejection",
  output: "lost output",
  timeout: "too slow",
  committed: "out of date",
  size: "too large",
} as const;

/** One thing wrong with a notebook. */
export interface Fault {
  /** Path of the notebook. */
  readonly notebook: string;
  /** Number of the cell, from 1, Markdown cells counted. */
  readonly cell?: number;
  /** Line in the cell, from 1. */
  readonly line?: number;
  readonly kind: keyof typeof FAULTS;
  readonly message: string;
}

/** "notebooks/01.ipynb, cell 3, line 2: type error: …" */
export function formatFault({ notebook, cell, line, kind, message }: Fault): string {
  const place = [notebook, cell && `cell ${cell}`, line && `line ${line}`].filter(Boolean).join(", ");
  return `${place}: ${FAULTS[kind]}: ${message}`;
}

/** A text in one piece. */
export function textOf(text: MultilineText): string {
  return typeof text === "string" ? text : text.join("");
}

/**
 * Finds notebooks by name.
 *
 * @param names File names, their beginnings ("04"), or none for all.
 * @returns Paths in the order of their names.
 * @throws {UsageError} When a name fits no notebook, or there is none.
 */
export async function findNotebooks(folder: string, names: readonly string[]): Promise<string[]> {
  const entries = await Array.fromAsync(Deno.readDir(folder)).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  });
  const all = entries.map(({ name }) => name).filter((name) => /^[^.].*\.ipynb$/.test(name)).sort();
  const fits = (name: string, wanted: string) => name.startsWith(basename(wanted));
  const unknown = names.filter((wanted) => !all.some((name) => fits(name, wanted)));
  if (unknown.length || all.length === 0) {
    throw new UsageError(
      `Cannot find ${unknown.length ? `the notebook ${unknown.join(", ")}` : "any notebook"} in ${folder}: ` +
        `there ${all.length === 1 ? "is" : "are"} ${all.join(", ") || "none"}`,
    );
  }
  return all.filter((name) => names.length === 0 || names.some((wanted) => fits(name, wanted)))
    .map((name) => join(folder, name));
}

/** @throws {CyclopsError} When it cannot be read, is not JSON, or not a notebook of format 4. */
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

/** A notebook with its size. */
export async function readNotebookFile(path: string): Promise<NotebookFile> {
  return { path, notebook: await readNotebook(path), bytes: (await Deno.stat(path)).size };
}

/** The code cells with their numbers, from 1, Markdown cells counted; empty ones are left out. */
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

/** Drops what changes from run to run or between machines: times, versions, display ids. Code cells count 1..n. */
export function cleanNotebook(notebook: Notebook): Notebook {
  let count = 0;
  const cells = notebook.cells.map((cell, i): Cell => {
    const { cell_type, id = `cell-${i + 1}`, metadata } = cell;
    const common = { cell_type, id, metadata: metadata?.tags ? { tags: metadata.tags } : {} };
    const source = splitLines(textOf(cell.source));
    if (cell_type !== "code") return { ...common, source };
    const execution_count = textOf(cell.source).trim() === "" ? null : ++count;
    const outputs = (cell.outputs ?? []).map((output) => cleanOutput(output, execution_count));
    return { ...common, execution_count, outputs, source };
  });
  return { cells, metadata: METADATA, nbformat: 4, nbformat_minor: 5 };
}

function cleanOutput(output: Output, execution_count: number | null): Output {
  const { output_type, name, text = "", data = {} } = output;
  if (output_type === "error") return output;
  if (output_type === "stream") return { name, output_type, text: splitLines(textOf(text)) };
  const cleanData = Object.fromEntries(
    Object.entries(data).map(([type, value]) => {
      if (typeof value !== "string" && !Array.isArray(value)) return [type, value];
      const whole = textOf(value);
      return [type, type.startsWith("text/") || type === "image/svg+xml" ? splitLines(whole) : whole];
    }),
  );
  const common = { data: cleanData, metadata: altText(cleanData), output_type };
  return output_type === "execute_result" ? { ...common, execution_count } : common;
}

/** What an image shows, in words, where viewers look for it: the output's plain text. */
function altText(data: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const alt = textOf((data["text/plain"] ?? "") as MultilineText).replace(/ \(.*?\)$/, "");
  const images = Object.keys(data).filter((type) => type.startsWith("image/"));
  return Object.fromEntries(images.map((type) => [type, { alt }]));
}

function splitLines(text: string): string[] {
  return text === "" ? [] : text.split(/(?<=\n)/);
}

/** A notebook as the text of a file, as `deno fmt` leaves it. */
export function formatNotebook(notebook: Notebook): string {
  return JSON.stringify(notebook, null, 1) + "\n";
}

/** Writes a notebook, cleaned. */
export async function writeNotebook(path: string, notebook: Notebook): Promise<void> {
  await writeAtomic(path, formatNotebook(cleanNotebook(notebook)));
}

/** What is wrong with the outputs a notebook was committed with: none, counted out of order, or an error. */
export function checkCommitted(path: string, notebook: Notebook): Fault[] {
  for (const [i, { number, cell }] of codeCells(notebook).entries()) {
    const found = cell.execution_count ?? "no";
    const failed = cell.outputs?.some((output) => output.output_type === "error");
    if (found === i + 1 && !failed) continue;
    const what = found === i + 1 ? "an error" : `execution count ${found}, expected ${i + 1}`;
    const message = `committed with ${what}; run deno task notebooks --write`;
    return [{ notebook: path, cell: number, kind: "committed", message }];
  }
  return [];
}

/** Which notebooks are too large to be committed, alone or together; limits in bytes. */
export function checkSizes(
  files: readonly NotebookFile[],
  { each = 400 * 1024, all = 3 * 1024 * 1024 }: { readonly each?: number; readonly all?: number } = {},
): Fault[] {
  const binary = (bytes: number) => formatBytes(bytes, { binary: true });
  const faults = files.filter(({ bytes }) => bytes >= each).map(({ path, notebook, bytes }): Fault => {
    const cells = notebook.cells.map((cell) => JSON.stringify(cell).length);
    const largest = Math.max(...cells);
    const message = `${binary(bytes)}, expected less than ${binary(each)}; this cell alone has ` +
      `${binary(largest)}: show smaller or fewer pictures`;
    return { notebook: path, cell: cells.indexOf(largest) + 1, kind: "size", message };
  });
  const sum = files.reduce((total, { bytes }) => total + bytes, 0);
  if (sum < all) return faults;
  const message = `all ${files.length} together have ${binary(sum)}, expected less than ${binary(all)}`;
  return [...faults, { notebook: "notebooks", kind: "size", message }];
}
