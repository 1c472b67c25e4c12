/**
 * What can be known about notebooks without running them: whether the cells' types fit and whether they are formatted.
 *
 * @module
 */
import { basename, join, resolve, toFileUrl } from "@std/path";
import { CyclopsError, messageOf } from "../../lib/base/errors.ts";
import { asideName, writeAtomic } from "../../lib/base/files.ts";
import type { Fault } from "./fault.ts";
import {
  cleanNotebook,
  codeCells,
  formatNotebook,
  type Notebook,
  type NotebookFile,
  textOf,
} from "./notebook.ts";

/** A notebook's code cells as one module, and where each of its lines comes from. */
export interface JoinedCells {
  /** The module's text. */
  readonly source: string;
  /** Cell and line of each line of `source`. */
  readonly origin: readonly { readonly cell: number; readonly line: number }[];
}

/** Joins code cells in their order, so that later ones see the names of earlier ones, as in the kernel. */
export function joinCells(notebook: Notebook): JoinedCells {
  const lines: string[] = [];
  const origin: { cell: number; line: number }[] = [];
  for (const { number, source } of codeCells(notebook)) {
    // A lone semicolon keeps a cell that begins with a bracket from continuing the one before.
    for (const [i, line] of [...source.split("\n"), ";"].entries()) {
      lines.push(line);
      origin.push({ cell: number, line: i + 1 });
    }
  }
  return { source: [...lines, "export {};", ""].join("\n"), origin };
}

/**
 * Type-checks the cells of notebooks with `deno check`. Each notebook's cells become a module beside it for a moment, so
 * that relative imports hold.
 *
 * @param config The deno.json whose imports and compiler options count.
 * @throws {CyclopsError} When `deno check` fails for another reason than the cells, e.g. a type error in `lib/`.
 */
export async function checkTypes(files: readonly NotebookFile[], config: string): Promise<Fault[]> {
  const modules = files.map(({ path, notebook }) => {
    const file = `${asideName(resolve(path))}.ts`;
    return { path, file, url: toFileUrl(file).href, ...joinCells(notebook) };
  });
  if (modules.length === 0) return [];
  try {
    for (const { file, source } of modules) await writeAtomic(file, source);
    const { success, said } = await runDeno([
      "check",
      "--quiet",
      "--config",
      config,
      ...modules.map(({ file }) => file),
    ]);
    if (success) return [];
    const faults = parseDiagnostics(said).flatMap(({ url, line, message }): Fault[] => {
      const module = modules.find((module) => module.url === url);
      return module ? [{ notebook: module.path, kind: "type", message, ...module.origin[line - 1] }] : [];
    });
    if (faults.length === 0) throw new CyclopsError(`Cannot check the notebooks' types:\n${said.trim()}`);
    return faults;
  } finally {
    for (const { file } of modules) await Deno.remove(file).catch(() => {});
  }
}

/** One complaint of `deno check`. */
interface Diagnostic {
  readonly url: string;
  readonly line: number;
  readonly message: string;
}

/** Takes what `deno check` says apart: each complaint ends with a line "at URL:line:column". */
function parseDiagnostics(said: string): Diagnostic[] {
  const found: Diagnostic[] = [];
  let block: string[] = [];
  for (const line of said.split("\n")) {
    const place = line.match(/^\s+at (file:\/\/\S+):(\d+):\d+$/);
    if (!place) {
      block = line.trim() === "" ? [] : [...block, line];
      continue;
    }
    // What follows the first lines is the source with a mark under it.
    const message = block.findLast((text) => /^(TS\d+ )?\[?ERROR\]?:|^error:/i.test(text)) ?? block[0] ??
      line;
    found.push({
      url: place[1],
      line: Number(place[2]),
      message: message.replace(/^error: | ?\[ERROR\](?=:)/, ""),
    });
    block = [];
  }
  return found;
}

/** What JupyterLab shows of a line beside its file browser, without scrolling. */
const LINE_WIDTH = 92;

/**
 * Formats the cells of notebooks as `deno fmt` does; outputs are left out. (`deno fmt --check` itself finds fault with
 * every notebook, formatted or not, as of Deno 2.9.)
 *
 * @param config The deno.json whose formatting options count.
 * @returns The notebooks in the same order.
 */
export async function formatCells(files: readonly NotebookFile[], config: string): Promise<Notebook[]> {
  if (files.length === 0) return [];
  const folder = await Deno.makeTempDir({ prefix: "cyclops-format-" });
  try {
    const copies = files.map(({ path }, i) => join(folder, `${i}-${basename(path)}`));
    for (const [i, { notebook }] of files.entries()) {
      const cells = notebook.cells.map((cell) => ({ ...cell, outputs: [] }));
      await Deno.writeTextFile(copies[i], formatNotebook(cleanNotebook({ ...notebook, cells })));
    }
    const options = ["--quiet", "--config", config, `--line-width=${LINE_WIDTH}`];
    const { success, said } = await runDeno(["fmt", ...options, ...copies]);
    if (!success) throw new CyclopsError(`Cannot format the notebooks: ${said.trim()}`);
    return await Promise.all(
      copies.map(async (copy) => JSON.parse(await Deno.readTextFile(copy)) as Notebook),
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Which cells {@linkcode formatCells} would change, with the first line of each. */
export async function checkFormat(files: readonly NotebookFile[], config: string): Promise<Fault[]> {
  const formatted = await formatCells(files, config);
  return files.flatMap(({ path, notebook }, i) => formatFaults(path, notebook, formatted[i]));
}

/** The first line of each cell that differs. */
function formatFaults(path: string, notebook: Notebook, formatted: Notebook): Fault[] {
  return notebook.cells.flatMap((cell, i): Fault[] => {
    const is = textOf(cell.source).split("\n"), wanted = textOf(formatted.cells[i].source).split("\n");
    const at = Array.from({ length: Math.max(is.length, wanted.length) }, (_, k) => k)
      .find((k) => is[k] !== wanted[k]);
    if (at === undefined) return [];
    const message = `found ${quote(is[at])}, wanted ${quote(wanted[at])}; run deno task notebooks --write`;
    return [{ notebook: path, cell: i + 1, line: at + 1, kind: "format", message }];
  });
}

function quote(line: string | undefined): string {
  return line === undefined ? "nothing" : `"${line}"`;
}

/** Runs this very deno; what it said on standard error. */
export async function runDeno(
  args: readonly string[],
): Promise<{ readonly success: boolean; readonly said: string }> {
  try {
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [...args],
      env: { NO_COLOR: "1", RUST_BACKTRACE: "0" },
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).output();
    return { success, said: new TextDecoder().decode(stderr) };
  } catch (error) {
    throw new CyclopsError(`Cannot run deno ${args[0]}: ${messageOf(error)}`, { cause: error });
  }
}
