/**
 * Runs notebooks on the Deno kernel without a browser.
 *
 * @module
 */
import { dirname, join, resolve } from "@std/path";
import { CyclopsError, messageOf } from "../../lib/base/errors.ts";
import type { Lab } from "./environment.ts";
import type { Fault } from "./fault.ts";
import { type Notebook, type NotebookFile, textOf } from "./notebook.ts";
import { placeOfError } from "./stack.ts";

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
  /** Empty when all is well. */
  readonly faults: readonly Fault[];
  /** Time it took, the kernel's start included. */
  readonly seconds: number;
}

/** What the driver tells; see driver.py. */
type Event =
  | { readonly event: "cell"; readonly index: number }
  | { readonly event: "late"; readonly index: number }
  | { readonly event: "timeout"; readonly index: number }
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
 * fails; rejections that nobody awaits, promises shown instead of awaited, and output that came too late are faults too.
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
  const end = await drive(lab, job, options, async (event) => {
    if (event.event === "cell") options.onCell?.(event.index + 1);
    else if (event.event === "done") ran = event.notebook;
    else faults.push(await faultOf(event, file, timeout));
  });
  options.signal?.throwIfAborted();
  if (!ran) throw new CyclopsError(`Cannot run ${file.path}: the kernel did not start (${end})`);
  faults.push(...shownPromises(file.path, ran));
  return { notebook: ran, faults, seconds: (performance.now() - started) / 1000 };
}

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
    }).spawn();
    const stop = () => child.kill("SIGTERM");
    signal?.addEventListener("abort", stop);
    try {
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
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  } catch (error) {
    throw new CyclopsError(`Cannot run a notebook with ${lab.python}: ${messageOf(error)}`, { cause: error });
  } finally {
    await Deno.remove(runtime, { recursive: true }).catch(() => {});
  }
}

async function faultOf(
  event: Exclude<Event, { readonly event: "cell" } | { readonly event: "done" }>,
  file: NotebookFile,
  timeout: number,
): Promise<Fault> {
  const here = { notebook: file.path, cell: event.index + 1 };
  if (event.event === "late") {
    return { ...here, kind: "output", message: "output came after the cell had ended: await what makes it" };
  }
  if (event.event === "timeout") {
    return { ...here, kind: "timeout", message: `stopped here: the notebook took longer than ${timeout} s` };
  }
  const place = { ...here, ...await placeOfError(event.stack, file.notebook, here.cell) };
  if (event.event === "error") {
    return {
      ...place,
      kind: "error",
      message: event.name ? `${event.name}: ${event.message}` : event.message,
    };
  }
  const [message] = event.stack.split("\n");
  return event.event === "rejection"
    ? { ...place, kind: "rejection", message: `${message}; await the promise` }
    : { ...place, kind: "error", message: `${message}, thrown in a timer or an event listener` };
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
