/**
 * Runs notebooks on the Deno kernel without a browser.
 *
 * @module
 */
import { SourceMap } from "node:module";
import { dirname, join, resolve } from "@std/path";
import { CyclopsError, messageOf } from "../../lib/base/errors.ts";
import type { Lab } from "./environment.ts";
import { codeCells, type Fault, type Notebook, type NotebookFile, textOf } from "./notebook.ts";

/** The program that speaks to the kernel. */
const DRIVER = join(import.meta.dirname!, "driver.py");

/** Options of {@linkcode runNotebook}. */
export interface RunOptions {
  /** Time for all cells together, s. @default 300 */
  readonly timeout?: number;
  /** More environment variables for the kernel. */
  readonly env?: Readonly<Record<string, string>>;
  /** Stops the kernel. */
  readonly signal?: AbortSignal;
  /** Called when a cell starts, with its number from 1. */
  readonly onCell?: (cell: number) => void;
}

/** What came of running a notebook. */
export interface RunResult {
  /** With the new outputs. */
  readonly notebook: Notebook;
  readonly faults: readonly Fault[];
  /** Time it took, the kernel's start included. */
  readonly seconds: number;
}

/** A line from driver.py. */
type Event =
  | { readonly event: "cell" | "late" | "timeout"; readonly index: number }
  | { readonly event: "rejection" | "thrown"; readonly index: number; readonly stack: string }
  | {
    readonly event: "error";
    readonly index: number;
    readonly name: string;
    readonly message: string;
    readonly stack: string;
  }
  | { readonly event: "done"; readonly notebook: Notebook };

/**
 * Executes all cells from top to bottom in a fresh kernel, in the notebook's folder. It stops at the first cell that
 * fails; unawaited rejections, promises shown instead of awaited, and late output are faults too.
 *
 * @throws {CyclopsError} When no kernel could be started.
 */
export async function runNotebook(
  file: NotebookFile,
  lab: Lab,
  options: RunOptions = {},
): Promise<RunResult> {
  const { timeout = 300 } = options;
  const started = performance.now();
  const faults: Fault[] = [];
  let ran: Notebook | undefined;
  const cells = file.notebook.cells.map((cell) => ({ ...cell, source: textOf(cell.source), outputs: [] }));
  const job = { notebook: { ...file.notebook, cells }, cwd: resolve(dirname(file.path)), timeout };
  const lastWords = await drive(lab, job, options, async (event) => {
    if (event.event === "cell") options.onCell?.(event.index + 1);
    else if (event.event === "done") ran = event.notebook;
    else faults.push(await faultOf(event, file, timeout));
  });
  options.signal?.throwIfAborted();
  if (!ran) throw new CyclopsError(`Cannot run ${file.path}: the kernel did not start (${lastWords})`);
  faults.push(...shownPromises(file.path, ran));
  return { notebook: ran, faults, seconds: (performance.now() - started) / 1000 };
}

/** Runs the driver. @returns The last line it printed to standard error. */
async function drive(
  lab: Lab,
  job: Readonly<Record<string, unknown>>,
  { env, signal }: RunOptions,
  onEvent: (event: Event) => Promise<void>,
): Promise<string> {
  const runtime = await Deno.makeTempDir({ prefix: "cyclops-kernel-" });
  try {
    const child = new Deno.Command(lab.python, {
      args: [DRIVER],
      env: { ...lab.env, NO_COLOR: "1", JUPYTER_RUNTIME_DIR: runtime, ...env },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
      signal,
    }).spawn();
    const errors = new Response(child.stderr).text();
    await ReadableStream.from([new TextEncoder().encode(JSON.stringify(job))]).pipeTo(child.stdin);
    let rest = "";
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      for (const line of lines) await onEvent(JSON.parse(line) as Event);
    }
    await child.status;
    return (await errors).trim().split("\n").at(-1)!;
  } catch (error) {
    throw new CyclopsError(`Cannot run a notebook with ${lab.python}: ${messageOf(error)}`, { cause: error });
  } finally {
    await Deno.remove(runtime, { recursive: true }).catch(() => {});
  }
}

async function faultOf(
  event: Exclude<Event, { readonly event: "done" }>,
  file: NotebookFile,
  timeout: number,
): Promise<Fault> {
  const here = { notebook: file.path, cell: event.index + 1 };
  const place = "stack" in event
    ? { ...here, ...await placeOfError(event.stack, file.notebook, here.cell) }
    : here;
  const thrown = "stack" in event ? event.stack.split("\n")[0] : "";
  switch (event.event) {
    case "error": {
      const message = event.name ? `${event.name}: ${event.message}` : event.message;
      return { ...place, kind: "error", message };
    }
    case "thrown":
      return { ...place, kind: "error", message: `${thrown}, thrown in a timer or an event listener` };
    case "rejection":
      return { ...place, kind: "rejection", message: `${thrown}; await the promise` };
    case "timeout":
      return {
        ...place,
        kind: "timeout",
        message: `stopped here: the notebook took longer than ${timeout} s`,
      };
    default:
      return {
        ...place,
        kind: "output",
        message: "output came after the cell had ended: await what makes it",
      };
  }
}

/** Cells whose value is a promise: its result is not shown. */
function shownPromises(path: string, notebook: Notebook): Fault[] {
  return notebook.cells.flatMap((cell, i): Fault[] => {
    const shown = cell.outputs?.some(({ data }) =>
      /^Promise \{/.test(textOf(data?.["text/plain"] as string ?? ""))
    );
    if (!shown) return [];
    const line = textOf(cell.source).trimEnd().split("\n").length;
    const message = "the cell shows a promise instead of its value: await it";
    return [{ notebook: path, cell: i + 1, line, kind: "output", message }];
  });
}

/**
 * The cell and line that a stack trace of the kernel points to. The trace does not name cells: what lies outside of all
 * functions belongs to the cell that was running, a function to the last cell so far that declares its name.
 *
 * @param running Number of the cell that was running, from 1.
 * @returns From 1; without a line where the trace names no place in a cell.
 */
export async function placeOfError(
  stack: string,
  notebook: Notebook,
  running: number,
): Promise<{ readonly cell: number; readonly line?: number }> {
  const frames = [...stack.matchAll(/^\s+at (?:async )?(?:(\S+) )?\(?<anonymous>:(\d+):(\d+)\)?$/gm)]
    .map(([, name = "", line, column]) => ({ name, line: Number(line), column: Number(column) }));
  const frame = frames.find(({ name }) => name === "") ?? frames[0];
  if (!frame) return { cell: running };
  const cells = codeCells(notebook).filter(({ number }) => number <= running);
  const declaring = frame.name && cells.findLast(({ source }) => declares(source, frame.name));
  const { number, source } = declaring || cells.at(-1)!;
  return { cell: number, line: await originalLine(source, frame.line, frame.column) };
}

function declares(source: string, name: string): boolean {
  const last = RegExp.escape(name.split(".").at(-1)!);
  return new RegExp(
    `\\bfunction\\*?\\s+${last}\\b|\\b${last}\\s*(=|:)|^\\s*(async\\s+)?${last}\\s*\\(.*\\{`,
    "m",
  ).test(source);
}

/** What the kernel puts before a transpiled cell. */
const PREFIX = '"use strict"; void 0;';

/** The kernel transpiles each cell, which moves lines; `deno transpile` moves them alike and records how. */
async function originalLine(source: string, line: number, column: number): Promise<number | undefined> {
  const folder = await Deno.makeTempDir({ prefix: "cyclops-stack-" });
  try {
    const file = join(folder, "cell.ts"), emitted = join(folder, "cell.js");
    await Deno.writeTextFile(file, keepImports(source));
    const args = ["transpile", "--no-config", "--source-map", "separate", "--output", emitted, file];
    await new Deno.Command(Deno.execPath(), { args, stdin: "null", stdout: "null", stderr: "null" }).output();
    const map = new SourceMap(JSON.parse(await Deno.readTextFile(`${emitted}.map`)));
    const entry = map.findEntry(line - 1, (line === 1 ? column - PREFIX.length : column) - 1);
    return "originalLine" in entry && entry.generatedLine === line - 1 ? entry.originalLine + 1 : undefined;
  } catch {
    return undefined; // The cell's number has to do.
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/**
 * `deno transpile` drops imports that the cell itself does not use. The kernel turns each into one statement: so does
 * this, without moving lines.
 */
function keepImports(source: string): string {
  return source.replace(/^import\s+(type\s)?[^;]*?["'][^"'\n]*["'];?/gm, (statement, type) => {
    const lines = "\n".repeat(statement.split("\n").length - 1);
    return type ? lines : `void 0;${lines}`;
  });
}
