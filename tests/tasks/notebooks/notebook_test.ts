import { assertEquals, assertRejects, assertStringIncludes } from "../../_assert.ts";
import { join } from "@std/path";
import { CyclopsError, UsageError } from "../../../lib/base/errors.ts";
import {
  checkCommitted,
  checkSizes,
  cleanNotebook,
  codeCells,
  findNotebooks,
  formatFault,
  formatNotebook,
  type Notebook,
  readNotebook,
  writeNotebook,
} from "../../../tasks/notebooks/notebook.ts";
import { notebookOf, withNotebooks } from "./_notebooks.ts";

/** A notebook as a kernel leaves it. */
const used: Notebook = {
  cells: [
    { cell_type: "markdown", source: "# Title\n\ntext" },
    {
      cell_type: "code",
      id: "one",
      source: ["const a = 1;\n", "a;"],
      metadata: { execution: { "iopub.status.idle": "2026-01-01T00:00:00Z" }, tags: ["keep"] },
      execution_count: 7,
      outputs: [
        { output_type: "stream", name: "stdout", text: "x\ny\n" },
        {
          output_type: "execute_result",
          execution_count: 7,
          metadata: {},
          data: { "image/png": ["AA", "AA"], "text/plain": "1", "application/json": { a: [1] } },
        },
      ],
    },
    { cell_type: "code", id: "two", source: "", execution_count: 3, outputs: [] },
    { cell_type: "code", id: "three", source: "a", execution_count: 9, outputs: [] },
  ],
  metadata: { language_info: { name: "typescript", version: "6.0.3" }, widgets: {} },
  nbformat: 4,
  nbformat_minor: 5,
};

Deno.test("a cleaned notebook counts its cells, keeps its outputs and forgets times and versions", () => {
  const { cells, metadata } = cleanNotebook(used);
  assertEquals(cells.map((cell) => cell.execution_count), [undefined, 1, null, 2]);
  assertEquals(cells.map((cell) => cell.id), ["cell-1", "one", "two", "three"]);
  assertEquals(cells[1].metadata, { tags: ["keep"] });
  assertEquals(cells[1].source, ["const a = 1;\n", "a;"]);
  assertEquals(cells[1].outputs, [
    { name: "stdout", output_type: "stream", text: ["x\n", "y\n"] },
    {
      data: { "image/png": "AAAA", "text/plain": ["1"], "application/json": { a: [1] } },
      metadata: { "image/png": { alt: "1" } },
      output_type: "execute_result",
      execution_count: 1,
    },
  ]);
  assertEquals(JSON.stringify(metadata).includes("version"), false);
});

Deno.test("cleaning twice changes nothing, and a written notebook is read back alike", async () => {
  await withNotebooks({}, async (_, folder) => {
    const path = join(folder, "a.ipynb");
    await writeNotebook(path, used);
    const back = await readNotebook(path);
    assertEquals(back, JSON.parse(JSON.stringify(cleanNotebook(used))));
    assertEquals(formatNotebook(cleanNotebook(back)), await Deno.readTextFile(path));
  });
});

Deno.test("what is no notebook is refused, naming it", async () => {
  await withNotebooks({}, async (_, folder) => {
    const path = join(folder, "a.ipynb");
    for (
      const content of [
        "[]",
        '{"cells": 1, "nbformat": 4}',
        '{"cells": [{"cell_type": "code"}], "nbformat": 4}',
      ]
    ) {
      await Deno.writeTextFile(path, content);
      await assertRejects(
        () => readNotebook(path),
        CyclopsError,
        "a.ipynb: it is not in Jupyter's notebook format 4",
      );
    }
    await Deno.writeTextFile(path, "{");
    await assertRejects(() => readNotebook(path), CyclopsError, "not valid JSON");
  });
});

Deno.test("code cells are numbered as a reader counts, Markdown included, empty ones left out", () => {
  assertEquals(codeCells(used).map(({ number, source }) => [number, source]), [[2, "const a = 1;\na;"], [
    4,
    "a",
  ]]);
});

Deno.test("a notebook committed without outputs, out of order or with an error is reported by cell", () => {
  assertEquals(checkCommitted("a", cleanNotebook(used)), []);
  assertEquals(checkCommitted("a", notebookOf("# t", "1")).map(formatFault), [
    "a, cell 2: out of date: committed with execution count no, expected 1; run deno task notebooks --write",
  ]);
  assertStringIncludes(
    formatFault(checkCommitted("a", used)[0]),
    "cell 2: out of date: committed with execution count 7",
  );
  const clean = cleanNotebook(used);
  const cells = clean.cells.map((cell, i) =>
    i === 3 ? { ...cell, outputs: [{ output_type: "error" as const }] } : cell
  );
  assertEquals(checkCommitted("a", { ...clean, cells })[0].cell, 4);
});

Deno.test("a notebook that is too large is reported with its largest cell, all together with their sum", () => {
  const notebook = notebookOf("1", "2".repeat(3000), "3");
  const files = ["a", "b", "c"].map((path, i) => ({ path, notebook, bytes: 1000 * (i + 1) }));
  assertEquals(checkSizes(files, { each: 3001, all: 6001 }), []);
  const [each, all] = checkSizes(files, { each: 3000, all: 6000 });
  assertEquals([each.notebook, each.cell, each.kind], ["c", 2, "size"]);
  assertStringIncludes(each.message, "2.93 KiB, expected less than 2.93 KiB");
  assertStringIncludes(all.message, "all 3 together have 5.86 KiB");
});

Deno.test("notebooks are found by the beginning of their names; an unknown name lists those that there are", async () => {
  const empty = notebookOf();
  await withNotebooks(
    { "02_b.ipynb": empty, "01_a.ipynb": empty, ".hidden.ipynb": empty },
    async (_, folder) => {
      const names = async (...expected: string[]) =>
        (await findNotebooks(folder, expected)).map((p) => p.slice(folder.length + 1));
      assertEquals(await names(), ["01_a.ipynb", "02_b.ipynb"]);
      assertEquals(await names("02"), ["02_b.ipynb"]);
      assertEquals(await names(`${folder}/01_a.ipynb`), ["01_a.ipynb"]);
      await assertRejects(() => findNotebooks(folder, ["03"]), UsageError, "the notebook 03 in");
      await assertRejects(() => findNotebooks(folder, ["03"]), UsageError, "01_a.ipynb, 02_b.ipynb");
      await assertRejects(
        () => findNotebooks(join(folder, "none"), []),
        UsageError,
        "Cannot find any notebook",
      );
    },
  );
});
