import { assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "../_assert.ts";
import { join } from "@std/path";
import { CyclopsError } from "../../lib/base/errors.ts";
import { ablationChart, ablationReport, ablationTable } from "../../lib/charts/ablation.ts";
import { ABLATION_ROWS, publishedTables, writeResults } from "../../lib/evaluation/results.ts";
import { edgeStrength, meanByShare, rankCorrelation, readLessonResults } from "../../lib/lessons/mod.ts";
import { withFolder } from "../_folder.ts";
import { result } from "../evaluation/_results.ts";

Deno.test("rank correlation looks at the order alone", () => {
  assertAlmostEquals(rankCorrelation([1, 2, 3, 4], [1, 10, 100, 1000]), 1);
  assertAlmostEquals(rankCorrelation([1, 2, 3, 4], [4, 3, 2, 1]), -1);
  // By hand, from ranks 0, 1.5, 1.5, 3 and 0, 2, 1, 3.
  assertAlmostEquals(rankCorrelation([1, 2, 2, 5], [0, 7, 6, 8]), 4.5 / Math.sqrt(4.5 * 5));
  assertEquals(rankCorrelation([1, 1, 1], [1, 2, 3]), 0);
  assertThrows(() => rankCorrelation([1], [1]), RangeError, "at least 2");
  assertThrows(() => rankCorrelation([1, 2], [1, 2, 3]), RangeError, "2 values with 3");
});

Deno.test("edges are steps between neighbours in a row", () => {
  const image = { width: 2, height: 2, data: Uint8Array.of(0, 0, 0, 255, 255, 0, 51, 51, 51, 51, 51, 51) };
  const { data } = edgeStrength(image);
  assertEquals([...data].map((v) => Math.round(1e4 * v)), [6667, 0, 0, 0]);
});

Deno.test("means by share go along with the sorted values", () => {
  assertEquals(meanByShare([3, 1, 2, 4], [30, 10, 20, 40], 2), [[25, 15], [75, 35]]);
});

Deno.test("without results the ablation's table names every row and measures none", async () => {
  await withFolder(async (folder) => {
    const { settings: [means], about, measured } = await readLessonResults(join(folder, "results.json"));
    assertEquals(measured, false);
    assertEquals(about.join().includes("deno task reproduce"), true);
    const { rows } = ablationTable(means, 80, publishedTables()).content;
    assertEquals(rows.map(({ name }) => name), ABLATION_ROWS.map(({ name }) => name));
    const text = ablationTable(means, 80, publishedTables()).text();
    assertEquals(/\d/.test(text.split("\n").filter((line) => line.startsWith("HC")).join()), false);
    assertEquals(JSON.stringify(ablationChart(means, 80, publishedTables()).spec).includes("one pass"), true);
  });
});

Deno.test("results are read where there are any, and refused where they are damaged", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "results.json");
    await writeResults(path, { about: { machine: "a small one" }, results: [result({ absRel: 0.2 })] });
    const { settings, about, measured } = await readLessonResults(path);
    assertEquals([measured, settings.length, settings[0].rows[0].metrics.absRel.mean], [true, 1, 0.2]);
    assertEquals(about, [path, "machine: a small one"]);
    assertEquals(ablationReport(settings).charts.length, 1);
    await Deno.writeTextFile(path, "{}");
    await assertRejects(() => readLessonResults(path), CyclopsError, "Cannot read the results");
  });
});
