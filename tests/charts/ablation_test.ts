import { assert, assertEquals } from "../_assert.ts";
import { join } from "@std/path";
import { ablationReport, ablationTable, writeAblation } from "../../lib/charts/ablation.ts";
import { ABLATION_ROWS, aggregateResults, publishedTables } from "../../lib/evaluation/results.ts";
import { withFolder } from "../_folder.ts";
import { ablation, result } from "../evaluation/_results.ts";

const published = publishedTables();

/** Cells of the Markdown lines that begin with a name. */
function lines(markdown: string, name: string): string[][] {
  return markdown.split("\n").filter((line) => line.startsWith(`| ${name} |`)).map((line) =>
    line.split("|").slice(1, -1).map((cell) => cell.trim())
  );
}

Deno.test("the ablation table shows every row with and without flip averaging, — where not measured", () => {
  const [street] = aggregateResults(ablation({}, ["P", "T feat"]));
  const table = ablationTable(street, 80, published);
  const text = table.markdown();
  for (const { name } of ABLATION_ROWS) assertEquals(lines(text, name).length, 2, name);
  for (const cells of lines(text, "P")) assertEquals(new Set(cells.slice(1)), new Set(["—"]));
  const [hc, flipped] = lines(text, "HC");
  assert(/^0\.1[45]\d\d ± 0\.00\d\d$/.test(hc[1]), hc[1]);
  assertEquals([hc[10], hc[12], hc[13], hc[14], flipped[14], hc[15]], [
    "2400",
    "3",
    "0.77",
    "0.60",
    "1.20",
    "5.2",
  ]);
  // A single seed has no spread.
  assertEquals(lines(text, "train-set mean")[0][1], "0.3400");
  // T has the lowest abs rel of each group.
  for (const t of lines(text, "T")) assert(t[1].startsWith("**"), t[1]);
  const [s] = lines(ablationTable(street, 50).markdown(), "S");
  assert(Number.parseFloat(s[1].replaceAll("*", "")) < 0.132, s[1]);
});

Deno.test("published numbers stand beside results of their own protocol alone, in a style of their own", () => {
  const paperLike = { dataset: "kitti", split: "eigen" };
  const [kitti] = aggregateResults(ablation(paperLike));
  const joined = ablationTable(kitti, 80, published).markdown();
  assertEquals(lines(joined, "*HC*").length, 1);
  assertEquals(lines(joined, "*T*")[0].slice(1, 6), ["*0.098* †", "—", "—", "—", "*4.656* †"]);
  assert(!ablationTable(kitti, 50, published).markdown().includes("*HC*"));
  for (
    const other of [{}, { ...paperLike, truth: "dense" as const }, { ...paperLike, crop: "eigen" as const }]
  ) {
    const [means] = aggregateResults(ablation(other));
    assert(!ablationTable(means, 80, published).markdown().includes("†"));
  }
});

Deno.test("settings never share a table, and the published numbers have one of their own", () => {
  const all = aggregateResults([...ablation(), ...ablation({ dataset: "kitti", split: "eigen" })]);
  const { tables, charts, flat } = ablationReport(all, published);
  const titles = tables.map(({ content }) => content.title ?? "");
  assertEquals(titles.filter((title) => title.includes("Street")).length, 2);
  assertEquals(titles.filter((title) => title.startsWith("KITTI")).length, 2);
  assert(titles.at(-1)!.startsWith("Published, not measured here: KITTI"));
  assertEquals(charts.length, 2);
  const [head, ...rows] = flat.csv().trim().split("\n");
  assert(head.startsWith("name,group,standing,dataset,split,part,truth,crop"));
  // Per setting: all rows, 2 caps, with and without flip averaging; 6 + 12 published.
  const measured = 2 * 4 * ABLATION_ROWS.length;
  assertEquals(rows.length, measured + 18);
  assertEquals(rows.filter((row) => row.includes(",measured,")).length, measured);
  assertEquals(rows.filter((row) => row.includes(",published,")).length, 18);
});

Deno.test("each row is held against HC trained on as long and at equal cost, seed by seed, with its interval", () => {
  const seeds = (row: string, absRel: readonly number[]) =>
    absRel.map((value, i) => result({ row, seed: i + 1, absRel: value }));
  const [means] = aggregateResults([
    ...seeds("HC-continued", [0.16, 0.2, 0.1]),
    ...seeds("HC equal cost", [0.1]),
    // 5, 10 and 15 % lower: 10 ± 5, of which Student's t makes ± 12.4.
    ...seeds("S", [0.152, 0.18, 0.085]),
  ]);
  const text = ablationTable(means, 80).markdown();
  assertEquals(lines(text, "S")[0].slice(2, 4), ["10.0 ± 12.4", "-52.0"]);
  assertEquals(lines(text, "HC-continued")[0].slice(2, 4), ["—", "-60.0"]);
  assertEquals(lines(text, "HC equal cost")[0].slice(2, 4), ["37.5", "—"]);
  assert(!/\*\*-?\d+\.\d \|/.test(text), "a gain is never bold");
});

Deno.test("the chart marks the paper's numbers, and says where they cannot be compared", async () => {
  const all = aggregateResults([...ablation({}, ["P"]), ...ablation({ dataset: "kitti", split: "eigen" })]);
  const [street, kitti] = ablationReport(all, published).charts;
  const drawing = await street.chart.svg();
  assert(drawing.includes("on KITTI (other data: not comparable)"));
  assert(drawing.includes("± standard deviation"));
  assert(drawing.includes("—"), "P is not measured");
  assert(!(await kitti.chart.svg()).includes("not comparable"));
});

Deno.test("a report is written whole: Markdown with its origin, CSV, SVG and PNG", async () => {
  await withFolder(async (folder) => {
    const report = ablationReport(aggregateResults(ablation()), published);
    const about = new Map([["results.json", { command: "deno task reproduce --seeds 3" }]]);
    const paths = await writeAblation(folder, report, about);
    const names = ["tables.md", "tables.csv", "plot.svg", "plot.png"];
    assertEquals(paths, names.map((name) => join(folder, name)));
    const text = await Deno.readTextFile(paths[0]);
    assert(text.includes("- command: deno task reproduce --seeds 3"), "origin");
    assert(text.includes("- **P**: ours, not the paper's"), "what rows mean");
    assertEquals([...(await Deno.readFile(paths[3])).subarray(1, 4)], [0x50, 0x4e, 0x47]);
  });
});
