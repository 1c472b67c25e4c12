/**
 * Checks notebooks as a reader would use them: all cells, from top to bottom, in a fresh kernel.
 *
 * @module
 */
import { basename, join } from "@std/path";
import { UsageError } from "../../lib/base/errors.ts";
import { ensureLab } from "./environment.ts";
import type { Fault } from "./fault.ts";
import {
  checkCommitted,
  checkSizes,
  codeCells,
  type Notebook,
  type NotebookFile,
  readNotebook,
  writeNotebook,
} from "./notebook.ts";
import { runNotebook, type RunOptions } from "./run.ts";
import { checkFormat, checkTypes, formatCells } from "./static_check.ts";

export { ensureLab, findLab, type Lab, type LabOptions } from "./environment.ts";
export { type Fault, type FaultKind, formatFault } from "./fault.ts";
export type { Notebook, NotebookFile } from "./notebook.ts";

/** What to check, and how. */
export interface CheckOptions extends Pick<RunOptions, "timeout" | "signal"> {
  /** The deno.json that the cells are checked and formatted by. */
  readonly config: string;
  /** Format the cells, and replace the outputs of notebooks that have no fault. @default false */
  readonly write?: boolean;
  /** Look at types, formatting, sizes and committed outputs only; run nothing. @default false */
  readonly staticOnly?: boolean;
  /** Called when a cell starts: its number from 1, and how many cells the notebook has. */
  readonly onCell?: (path: string, cell: number, cells: number) => void;
  /** Called when a notebook has run. */
  readonly onNotebook?: (path: string, seconds: number, faults: readonly Fault[]) => void;
}

/**
 * Finds notebooks by name.
 *
 * @param folder Where they lie.
 * @param names File names, their beginnings ("04"), or none for all.
 * @returns Paths in the order of their names.
 * @throws {UsageError} When a name fits no notebook, or there is none.
 */
export async function findNotebooks(folder: string, names: readonly string[]): Promise<string[]> {
  const all: string[] = [];
  try {
    for await (const { name } of Deno.readDir(folder)) {
      if (name.endsWith(".ipynb") && !name.startsWith(".")) all.push(name);
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  all.sort();
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

/**
 * Checks notebooks: types and formatting of all cells first, then each in a fresh kernel, then what they were committed
 * with. Nothing runs while types or formatting are wrong.
 *
 * @returns All faults; empty when all is well.
 */
export async function checkNotebooks(paths: readonly string[], options: CheckOptions): Promise<Fault[]> {
  let files = await Promise.all(paths.map(readFile));
  if (options.write) files = await writeFormatted(files, options.config);
  const faults = options.write ? [] : await checkFormat(files, options.config);
  faults.push(...await checkTypes(files, options.config));
  if (faults.length) return faults;
  if (!options.staticOnly) {
    const lab = await ensureLab({ signal: options.signal });
    for (const file of files) {
      const { onCell, onNotebook, timeout, signal, write } = options;
      const { notebook, faults: found, seconds } = await runNotebook(file, lab, {
        timeout,
        signal,
        env: kernelEnvironment(options),
        onCell: (cell) => onCell?.(file.path, cell, file.notebook.cells.length),
      });
      const all = found.length || write ? found : lostOutputs(file.path, file.notebook, notebook);
      onNotebook?.(file.path, seconds, all);
      faults.push(...all);
      if (write && found.length === 0) await writeNotebook(file.path, notebook);
    }
  }
  const now = options.write ? await Promise.all(paths.map(readFile)) : files;
  for (const { path, notebook } of now) {
    if (!faults.some((fault) => fault.notebook === path)) faults.push(...checkCommitted(path, notebook));
  }
  return [...faults, ...checkSizes(now)];
}

/** Variables of the kernel. */
function kernelEnvironment({ write }: CheckOptions): Record<string, string> {
  // The kernel would fall back to a slow backend without a word in the outputs.
  const backend = { CYCLOPS_BACKEND: Deno.env.get("CYCLOPS_BACKEND") || "tensorflow" };
  // KITTI's licence does not let its pictures be committed here.
  return write ? { ...backend, KITTI_DIR: "", KITTI_SAMPLE: "none" } : backend;
}

/** Formats the cells on disk; outputs stay. */
async function writeFormatted(files: readonly NotebookFile[], config: string): Promise<NotebookFile[]> {
  const formatted = await formatCells(files, config);
  return await Promise.all(files.map(async ({ path, notebook }, i) => {
    const cells = notebook.cells.map((cell, k) => ({ ...cell, source: formatted[i].cells[k].source }));
    await writeNotebook(path, { ...notebook, cells });
    return await readFile(path);
  }));
}

async function readFile(path: string): Promise<NotebookFile> {
  const notebook = await readNotebook(path);
  return { path, notebook, bytes: (await Deno.stat(path)).size };
}

/** Cells that were committed with other kinds of output than they have now. */
function lostOutputs(path: string, committed: Notebook, ran: Notebook): Fault[] {
  const now = new Map(codeCells(ran).map(({ number, cell }) => [number, outputKinds(cell)]));
  return codeCells(committed).flatMap(({ number, cell }): Fault[] => {
    const was = outputKinds(cell), is = now.get(number) ?? "";
    if (was === is) return [];
    const message = `committed with ${was || "no output"}, now ${is || "no output"}; if that is right, ` +
      "run deno task notebooks --write";
    return [{ notebook: path, cell: number, kind: "output", message }];
  });
}

/**
 * Kinds of a cell's outputs, as a phrase; streams, whose parts come as they come, once. Lines that are displayed, not
 * printed, are progress: of data that are made, or networks that are trained, only where they are missing.
 */
function outputKinds({ outputs = [] }: Notebook["cells"][number]): string {
  const lasting = outputs.filter(({ output_type, data }) =>
    output_type !== "display_data" || Object.keys(data ?? {}).join() !== "text/plain"
  );
  const kinds = lasting.map((output) =>
    output.output_type === "stream" ? `${output.name}` : Object.keys(output.data ?? {}).sort().join("+")
      .replace("image/jpeg", "image/png") // which of both depends on the picture's content
  );
  return kinds.filter((kind, i) => !kind.startsWith("std") || kinds.indexOf(kind) === i).join(", ");
}
