/**
 * Tiny notebooks made in a temporary folder.
 *
 * @module
 */
import { join } from "@std/path";
import { writeAtomic } from "../../../lib/base/files.ts";
import { formatNotebook, type Notebook, type NotebookFile } from "../../../tasks/notebooks/notebook.ts";

/** The project's deno.json. */
export const CONFIG = join(import.meta.dirname!, "../../../deno.json");

/** A notebook of code cells; a cell that begins with "# " is Markdown. */
export function notebookOf(...cells: readonly string[]): Notebook {
  return {
    cells: cells.map((source, i) =>
      source.startsWith("# ")
        ? { cell_type: "markdown", id: `c${i}`, metadata: {}, source }
        : { cell_type: "code", id: `c${i}`, metadata: {}, source, outputs: [], execution_count: null }
    ),
    metadata: {},
    nbformat: 4,
    nbformat_minor: 5,
  };
}

/** Runs `use` with notebooks in a temporary folder and removes it again. */
export async function withNotebooks(
  notebooks: Readonly<Record<string, Notebook>>,
  use: (files: NotebookFile[], folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    const files: NotebookFile[] = [];
    for (const [name, notebook] of Object.entries(notebooks)) {
      const path = join(folder, name), text = formatNotebook(notebook);
      await writeAtomic(path, text);
      files.push({ path, notebook, bytes: text.length });
    }
    await use(files, folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
