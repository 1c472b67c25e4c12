import { assertEquals } from "../../_assert.ts";
import { checkNotebooks } from "../../../tasks/notebooks/check.ts";
import { findLab, type Lab } from "../../../tasks/notebooks/environment.ts";
import { runNotebook } from "../../../tasks/notebooks/run.ts";
import { cleanNotebook, formatFault, readNotebook } from "../../../tasks/notebooks/notebook.ts";
import { CONFIG, notebookOf, withNotebooks } from "./_notebooks.ts";

// The environment is large: deno task lab --setup makes it.
const lab = await findLab().catch(() => undefined);

const display = (text: string) =>
  `({ [Symbol.for("Jupyter.display")]: () => ({ "text/html": "<b>${text}</b>", "text/plain": "${text}" }) });`;

Deno.test({
  name: "notebooks run in the Deno kernel: outputs are kept, faults are reported by cell and line",
  ignore: lab === undefined,
  fn: async () => {
    const many = Array.from({ length: 12 }, (_, i) => `console.log(${i});\n${display(String(i))}`);
    await withNotebooks({
      "good.ipynb": notebookOf(
        "# t",
        'import { join } from "node:path";',
        'console.log(join("a", "b"));',
        ...many,
      ),
      "failing.ipynb": notebookOf("1", "interface A {\n  a: 1;\n}\n\nthrow new TypeError('boom');", "2"),
      "rejection.ipynb": notebookOf(
        "# t",
        "const f = async () => {\n  await 0;\n  throw 'late';\n};\nf();",
        "3",
      ),
      "timer.ipynb": notebookOf("setTimeout(() => {\n  throw new Error('t');\n}, 1);\nundefined;"),
      "slow.ipynb": notebookOf("1", "for (;;);"),
    }, async (files, folder) => {
      const results = await Promise.all(
        files.map((file) =>
          runNotebook(file, lab as Lab, { timeout: file.path.endsWith("slow.ipynb") ? 2 : 60 })
        ),
      );
      const faults = results.flatMap((result) =>
        result.faults.map((f) => formatFault(f).slice(folder.length + 1))
      );
      assertEquals(faults, [
        "failing.ipynb, cell 2, line 5: error: TypeError: boom",
        "rejection.ipynb, cell 2: unawaited rejection: late; await the promise",
        "rejection.ipynb, cell 2, line 5: lost output: the cell shows a promise instead of its value: await it",
        "timer.ipynb, cell 1, line 2: error: Error: t, thrown in a timer or an event listener",
        "slow.ipynb, cell 2: too slow: stopped here: the notebook took longer than 2 s",
      ]);
      const [, , joined, ...rest] = results[0].notebook.cells;
      assertEquals(joined.outputs?.map(({ text }) => text), ["a/b\n"]);
      assertEquals(joined.execution_count, 2);
      for (const [i, { outputs }] of rest.entries()) {
        assertEquals(outputs?.map(({ text, data }) => text ?? data?.["text/plain"]), [`${i}\n`, String(i)]);
      }
    });
  },
});

Deno.test({
  name: "a notebook whose outputs are of other kinds than committed is reported; --write fixes it",
  ignore: lab === undefined,
  fn: async () => {
    const { cells, ...rest } = cleanNotebook(notebookOf("console.log(1);", "console.error(2);", "3;"));
    const outputs = [{ output_type: "stream" as const, name: "stdout", text: "old" }];
    const committed = { ...rest, cells: cells.map((cell) => ({ ...cell, outputs })) };
    await withNotebooks({ "a.ipynb": committed }, async ([{ path }], folder) => {
      const check = async (write: boolean) =>
        (await checkNotebooks([path], { config: CONFIG, write })).map((f) =>
          formatFault(f).slice(folder.length + 1)
        );
      assertEquals(await check(false), [
        "a.ipynb, cell 2: lost output: committed with stdout, now stderr; if that is right, run deno task notebooks --write",
        "a.ipynb, cell 3: lost output: committed with stdout, now text/plain; if that is right, run deno task notebooks --write",
      ]);
      assertEquals(await check(true), []);
      const { cells } = await readNotebook(path);
      assertEquals(cells.map((cell) => cell.outputs?.map(({ name, data }) => name ?? data)), [
        ["stdout"],
        ["stderr"],
        [{ "text/plain": ["3"] }],
      ]);
    });
  },
});
