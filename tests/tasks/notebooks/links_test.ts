import { assert } from "../../_assert.ts";
import { join } from "@std/path";
import * as api from "../../../lib/mod.ts";
import { readNotebook, textOf } from "../../../tasks/notebooks/notebook.ts";

const NOTEBOOKS = join(import.meta.dirname!, "../../../notebooks");

Deno.test("notebooks link to files that are there and to names that the docs explain", async () => {
  let links = 0;
  for await (const { name } of Deno.readDir(NOTEBOOKS)) {
    if (!name.endsWith(".ipynb")) continue;
    const { cells } = await readNotebook(join(NOTEBOOKS, name));
    const text = cells.filter((cell) => cell.cell_type === "markdown").map((cell) => textOf(cell.source))
      .join("\n");
    for (const [, target] of text.matchAll(/\]\(([^)#:]+)\)/g)) {
      links++;
      const documented = target.match(/^\.\.\/docs\/(?:api\/)?~\/(\w+)\.html$/);
      if (documented) assert(documented[1] in api, `${name}: ${documented[1]} is not exported by lib/mod.ts`);
      else if (!/^\.\.\/docs\/(api\/)?index\.html$/.test(target)) await Deno.stat(join(NOTEBOOKS, target));
    }
  }
  assert(links > 0);
});
