import { assertEquals, assertRejects } from "../../_assert.ts";
import { join, toFileUrl } from "@std/path";
import { CyclopsError } from "../../../lib/base/errors.ts";
import { checkFormat, checkTypes, joinCells } from "../../../tasks/notebooks/check.ts";
import { formatFault } from "../../../tasks/notebooks/notebook.ts";
import { CONFIG, notebookOf, withNotebooks } from "./_notebooks.ts";

/** Faults without the folder, which has another name each time. */
const shown = (faults: Parameters<typeof formatFault>[0][], folder: string) =>
  faults.map((fault) =>
    formatFault(fault).replaceAll(`${toFileUrl(folder)}/`, "").replaceAll(`${folder}/`, "")
  );

Deno.test("joined cells remember where each line comes from", () => {
  const { source, origin } = joinCells(notebookOf("# t", "const a = 1;\na;", "", "[a];"));
  assertEquals(source, "const a = 1;\na;\n;\n[a];\n;\nexport {};\n");
  assertEquals(origin.map(({ cell, line }) => [cell, line]), [[2, 1], [2, 2], [2, 3], [4, 1], [4, 2]]);
});

Deno.test("type errors are reported by notebook, cell and line, in all notebooks at once", async () => {
  await withNotebooks({
    "good.ipynb": notebookOf(
      "# t",
      'import { help } from "./help.ts";\nconst a: number = help();',
      "[a].length;",
    ),
    "bad.ipynb": notebookOf("const a = 1;", "# t", "const b: string = a;\nawait a;\nmissing();"),
    "gone.ipynb": notebookOf('import { nothing } from "./help.ts";', 'import "./gone.ts";'),
  }, async (files, folder) => {
    await Deno.writeTextFile(join(folder, "help.ts"), "export const help = () => 1;\n");
    assertEquals(shown(await checkTypes(files, CONFIG), folder).sort(), [
      "bad.ipynb, cell 3, line 1: type error: TS2322: Type 'number' is not assignable to type 'string'.",
      "bad.ipynb, cell 3, line 3: type error: TS2304: Cannot find name 'missing'.",
      "gone.ipynb, cell 1, line 1: type error: TS2305: Module '\"help.ts\"' has no exported member 'nothing'.",
      "gone.ipynb, cell 2, line 1: type error: TS2307: Cannot find module 'gone.ts'.",
    ]);
    const left: string[] = [];
    for await (const { name } of Deno.readDir(folder)) left.push(name);
    assertEquals(left.sort(), ["bad.ipynb", "gone.ipynb", "good.ipynb", "help.ts"]);
  });
});

Deno.test("a cell that does not parse is reported by cell and line", async () => {
  await withNotebooks({ "a.ipynb": notebookOf("1;", "const a = 1;\nconst b = ;") }, async (files, folder) => {
    assertEquals(shown(await checkTypes(files, CONFIG), folder), [
      "a.ipynb, cell 2, line 2: type error: SyntaxError: Expression expected",
    ]);
  });
});

Deno.test("a type error outside the cells is passed on as it is", async () => {
  const notebook = notebookOf('import { a } from "./help.ts";\na;');
  await withNotebooks({ "a.ipynb": notebook }, async (files, folder) => {
    await Deno.writeTextFile(join(folder, "help.ts"), 'export const a: number = "text";\n');
    await assertRejects(() => checkTypes(files, CONFIG), CyclopsError, "help.ts:1:14");
  });
});

Deno.test("cells that are not formatted are reported by their first line that differs, Markdown too", async () => {
  await withNotebooks({
    "good.ipynb": notebookOf("# Title", "const a = 1;\nconsole.log(a);"),
    "bad.ipynb": notebookOf("# Title\n* item", "const a = 1;\nconsole.log( a )", "const b = 2"),
  }, async (files, folder) => {
    assertEquals(shown(await checkFormat(files, CONFIG), folder), [
      'bad.ipynb, cell 1, line 2: not formatted: found "* item", expected ""; run deno task notebooks --write',
      'bad.ipynb, cell 2, line 2: not formatted: found "console.log( a )", expected "console.log(a);"; run deno task notebooks --write',
      'bad.ipynb, cell 3, line 1: not formatted: found "const b = 2", expected "const b = 2;"; run deno task notebooks --write',
    ]);
  });
});
