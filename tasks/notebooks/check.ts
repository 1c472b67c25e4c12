/**
 * Checks notebooks as a reader would use them: types and formatting of all cells, then all cells from top to bottom in
 * a fresh kernel, then what they were committed with.
 *
 * @module
 */
import { basename, join, resolve, toFileUrl } from "@std/path";
import { CyclopsError, messageOf } from "../../lib/base/errors.ts";
import { asideName, writeAtomic } from "../../lib/base/files.ts";
import { ensureLab } from "./environment.ts";
import {
  checkCommitted,
  checkSizes,
  codeCells,
  type Fault,
  type Notebook,
  type NotebookFile,
  readNotebookFile,
  textOf,
  writeNotebook,
} from "./notebook.ts";
import { runNotebook, type RunOptions } from "./run.ts";

/** What to check, and how. */
export interface CheckOptions extends Pick<RunOptions, "timeout" | "signal"> {
  /** The deno.json that the cells are checked and formatted by. */
  readonly config: string;
  /** Format the cells, and replace the outputs of notebooks that have no fault. @default false */
  readonly write?: boolean;
  /** Run nothing. @default false */
  readonly staticOnly?: boolean;
  /** Called when a cell starts: its number from 1, and how many cells the notebook has. */
  readonly onCell?: (path: string, cell: number, cells: number) => void;
  /** Called when a notebook has run. */
  readonly onNotebook?: (path: string, seconds: number, faults: readonly Fault[]) => void;
}

/** Checks notebooks; none runs while types or formatting are wrong. @returns All faults. */
export async function checkNotebooks(paths: readonly string[], options: CheckOptions): Promise<Fault[]> {
  const { config, onCell, onNotebook, signal, staticOnly, timeout, write } = options;
  let files = await Promise.all(paths.map(readNotebookFile));
  if (write) {
    for (const [i, formatted] of (await formatCells(files, config)).entries()) {
      const { path, notebook } = files[i];
      const cells = notebook.cells.map((cell, k) => ({ ...cell, source: formatted.cells[k].source }));
      await writeNotebook(path, { ...notebook, cells });
    }
    files = await Promise.all(paths.map(readNotebookFile));
  }
  const faults = write ? [] : await checkFormat(files, config);
  faults.push(...await checkTypes(files, config));
  if (faults.length) return faults;
  if (!staticOnly) {
    const lab = await ensureLab({ signal });
    // The kernel would fall back to a slow backend without a word in the outputs.
    const backend = { CYCLOPS_BACKEND: Deno.env.get("CYCLOPS_BACKEND") || "tensorflow" };
    // KITTI's license does not let its pictures be committed here.
    const env = write ? { ...backend, KITTI_DIR: "", KITTI_SAMPLE: "none" } : backend;
    for (const file of files) {
      const { path, notebook: { cells } } = file;
      const onStart = (cell: number) => onCell?.(path, cell, cells.length);
      const ran = await runNotebook(file, lab, { timeout, signal, env, onCell: onStart });
      const found = ran.faults.length || write ? ran.faults : lostOutputs(file, ran.notebook);
      onNotebook?.(path, ran.seconds, found);
      faults.push(...found);
      if (write && found.length === 0) await writeNotebook(path, ran.notebook);
    }
  }
  if (write) files = await Promise.all(paths.map(readNotebookFile));
  for (const { path, notebook } of files) {
    if (!faults.some((fault) => fault.notebook === path)) faults.push(...checkCommitted(path, notebook));
  }
  return [...faults, ...checkSizes(files)];
}

/** Cells that were committed with other kinds of output than they have now. */
function lostOutputs({ path, notebook }: NotebookFile, ran: Notebook): Fault[] {
  const now = new Map(codeCells(ran).map(({ number, cell }) => [number, outputKinds(cell)]));
  return codeCells(notebook).flatMap(({ number, cell }): Fault[] => {
    const was = outputKinds(cell), is = now.get(number) ?? "";
    if (was === is) return [];
    const message = `committed with ${was || "no output"}, now ${is || "no output"}; if that is right, ` +
      "run deno task notebooks --write";
    return [{ notebook: path, cell: number, kind: "output", message }];
  });
}

/**
 * Kinds of a cell's outputs, as a phrase; each stream once, since its parts come as they come. Lines that are displayed,
 * not printed, are the progress of work that is skipped where its result exists.
 */
function outputKinds({ outputs = [] }: Notebook["cells"][number]): string {
  const kinds = outputs.filter(({ output_type, data = {} }) =>
    output_type !== "display_data" || Object.keys(data).join() !== "text/plain"
  ).map(({ output_type, name, data = {} }) =>
    output_type === "stream" ? name! : Object.keys(data).sort().join("+")
      .replace("image/jpeg", "image/png") // which of the two depends on the picture's content
  );
  return kinds.filter((kind, i) => !kind.startsWith("std") || kinds.indexOf(kind) === i).join(", ");
}

/** A notebook's code cells as one module, and the cell and line that each of its lines comes from. */
export function joinCells(
  notebook: Notebook,
): { readonly source: string; readonly origin: readonly Place[] } {
  const lines: string[] = [], origin: Place[] = [];
  for (const { number, source } of codeCells(notebook)) {
    // A lone semicolon keeps a cell that begins with a bracket from continuing the one before.
    for (const [i, line] of [...source.split("\n"), ";"].entries()) {
      lines.push(line);
      origin.push({ cell: number, line: i + 1 });
    }
  }
  return { source: [...lines, "export {};", ""].join("\n"), origin };
}

interface Place {
  readonly cell: number;
  readonly line: number;
}

/**
 * Type-checks the cells with `deno check`. Each notebook's cells become a module beside it for a moment, so that
 * relative imports hold.
 *
 * @throws {CyclopsError} When `deno check` fails for another reason than the cells, e.g. a type error in `lib/`.
 */
export async function checkTypes(files: readonly NotebookFile[], config: string): Promise<Fault[]> {
  if (files.length === 0) return [];
  const modules = files.map(({ path, notebook }) => {
    const file = `${asideName(resolve(path))}.ts`;
    return { path, file, url: toFileUrl(file).href, ...joinCells(notebook) };
  });
  try {
    for (const { file, source } of modules) await writeAtomic(file, source);
    const options = ["--quiet", "--config", config];
    const { success, errors } = await runDeno(["check", ...options, ...modules.map(({ file }) => file)]);
    if (success) return [];
    const faults = parseDiagnostics(errors).flatMap(({ url, line, message }): Fault[] => {
      const module = modules.find((module) => module.url === url);
      return module ? [{ notebook: module.path, kind: "type", message, ...module.origin[line - 1] }] : [];
    });
    if (faults.length === 0) throw new CyclopsError(`Cannot check the notebooks' types:\n${errors.trim()}`);
    return faults;
  } finally {
    for (const { file } of modules) await Deno.remove(file).catch(() => {});
  }
}

/** Parses the errors of `deno check`: each ends with a line "at URL:line:column". */
function parseDiagnostics(errors: string): { url: string; line: number; message: string }[] {
  const found: ReturnType<typeof parseDiagnostics> = [];
  let block: string[] = [];
  for (const line of errors.split("\n")) {
    const place = line.match(/^\s+at (file:\/\/\S+):(\d+):\d+$/);
    if (!place) {
      block = line.trim() === "" ? [] : [...block, line];
      continue;
    }
    // The first lines are followed by the source with a mark under it.
    const error = block.findLast((text) => /^(TS\d+ )?\[?ERROR\]?:|^error:/i.test(text)) ?? block[0] ?? line;
    const message = error.replace(/^error: | ?\[ERROR\](?=:)/, "");
    found.push({ url: place[1], line: Number(place[2]), message });
    block = [];
  }
  return found;
}

/** Columns that JupyterLab shows beside its file browser without scrolling. */
const LINE_WIDTH = 92;

/** Formats the cells as `deno fmt` does (whose own --check rejects every notebook as of Deno 2.9); no outputs. */
async function formatCells(files: readonly NotebookFile[], config: string): Promise<Notebook[]> {
  if (files.length === 0) return [];
  const folder = await Deno.makeTempDir({ prefix: "cyclops-format-" });
  try {
    const copies = files.map(({ path }, i) => join(folder, `${i}-${basename(path)}`));
    for (const [i, { notebook }] of files.entries()) {
      const cells = notebook.cells.map((cell) => ({ ...cell, outputs: [] }));
      await writeNotebook(copies[i], { ...notebook, cells });
    }
    const options = ["--quiet", "--config", config, `--line-width=${LINE_WIDTH}`];
    const { success, errors } = await runDeno(["fmt", ...options, ...copies]);
    if (!success) throw new CyclopsError(`Cannot format the notebooks: ${errors.trim()}`);
    return await Promise.all(copies.map(async (copy) => JSON.parse(await Deno.readTextFile(copy))));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Which cells are not formatted, with the first line of each that differs. */
export async function checkFormat(files: readonly NotebookFile[], config: string): Promise<Fault[]> {
  const formatted = await formatCells(files, config);
  return files.flatMap(({ path, notebook }, i) =>
    notebook.cells.flatMap((cell, k): Fault[] => {
      const found = textOf(cell.source).split("\n");
      const expected = textOf(formatted[i].cells[k].source).split("\n");
      const line = Array.from({ length: Math.max(found.length, expected.length) })
        .findIndex((_, at) => found[at] !== expected[at]);
      if (line < 0) return [];
      const quote = (text?: string) => text === undefined ? "nothing" : `"${text}"`;
      const message = `found ${quote(found[line])}, expected ${quote(expected[line])}; ` +
        "run deno task notebooks --write";
      return [{ notebook: path, cell: k + 1, line: line + 1, kind: "format", message }];
    })
  );
}

/** Runs this very deno. @returns What it printed to standard error. */
async function runDeno(
  args: readonly string[],
): Promise<{ readonly success: boolean; readonly errors: string }> {
  try {
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [...args],
      env: { NO_COLOR: "1", RUST_BACKTRACE: "0" },
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).output();
    return { success, errors: new TextDecoder().decode(stderr) };
  } catch (error) {
    throw new CyclopsError(`Cannot run deno ${args[0]}: ${messageOf(error)}`, { cause: error });
  }
}
