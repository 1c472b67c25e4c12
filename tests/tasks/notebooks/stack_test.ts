import { assertEquals } from "../../_assert.ts";
import { placeOfError } from "../../../tasks/notebooks/run.ts";
import { notebookOf } from "./_notebooks.ts";

/** As the kernel prints it; lines count in what the cell becomes by transpiling. */
const stack = (...frames: string[]) =>
  ["Error: boom", ...frames.map((frame) => `    at ${frame}`)].join("\n");

Deno.test("a line is found in spite of types, imports and literals that transpiling moves", async () => {
  const cell = [
    "import {",
    "  join,",
    '} from "node:path";',
    'import type { Foo } from "./foo.ts";',
    "",
    "interface Bar {",
    "  a: number;",
    "}",
    "const bar: Bar = { a: 1, b: { c: 2 } };",
    "",
    'throw new Error("boom");',
  ].join("\n");
  // import → one line, the literal → six: the throw stands on line 8.
  const notebook = notebookOf("1", cell);
  assertEquals(await placeOfError(stack("<anonymous>:8:7"), notebook, 2), { cell: 2, line: 11 });
});

Deno.test("what lies outside of functions belongs to the running cell, a function to the cell that declares it", async () => {
  const notebook = notebookOf("const f = () => {\n  throw 1;\n};", "# t", "1;\n\nf();");
  assertEquals(await placeOfError(stack("f (<anonymous>:2:3)", "<anonymous>:2:1"), notebook, 3), {
    cell: 3,
    line: 3,
  });
  assertEquals(await placeOfError(stack("async f (<anonymous>:2:3)"), notebook, 3), { cell: 1, line: 2 });
});

Deno.test("a trace without a place in a cell gives the cell alone", async () => {
  const notebook = notebookOf("1");
  assertEquals(await placeOfError("", notebook, 1), { cell: 1 });
  assertEquals(await placeOfError(stack("readFile (ext:deno_fs/30_fs.js:1:2)"), notebook, 1), { cell: 1 });
  assertEquals(await placeOfError(stack("<anonymous>:99:1"), notebook, 1), { cell: 1, line: undefined });
});
