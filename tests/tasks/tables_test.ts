import { assert, assertEquals } from "../_assert.ts";
import { join } from "@std/path";
import { writeResults } from "../../lib/evaluation/results.ts";
import { withFolder } from "../_folder.ts";
import { ablation } from "../evaluation/_results.ts";
import { task } from "./_run.ts";

Deno.test("tables prints Markdown and writes the files with the permissions it has", async () => {
  await withFolder(async (folder) => {
    const a = join(folder, "a.json"), b = join(folder, "b.json"), out = join(folder, "out");
    await writeResults(a, { about: {}, results: ablation() });
    await writeResults(b, { about: {}, results: ablation({ truth: "dense", crop: "none" }) });
    const { code, out: printed, err } = await task("tables", "--results", `${a},${b}`, "--out", out);
    assertEquals(code, 0, err);
    assert(
      printed.startsWith("**Street, test part, LiDAR truth, Garg crop; quick network, 64x192 px, 80 m cap**"),
    );
    assert(printed.includes("dense truth, no crop"));
    const names = [...Deno.readDirSync(out)].map(({ name }) => name).sort();
    assertEquals(names, [
      "plot-street-test-dense-none-quick-64x192.png",
      "plot-street-test-dense-none-quick-64x192.svg",
      "plot-street-test-lidar-garg-quick-64x192.png",
      "plot-street-test-lidar-garg-quick-64x192.svg",
      "tables.csv",
      "tables.md",
    ]);
    const missing = await task("tables", "--results", join(folder, "none.json"));
    assertEquals([missing.code, missing.out], [1, ""]);
    assert(missing.err.includes("none.json: no such file"), missing.err);
  });
});
