import { assert, assertEquals } from "../_assert.ts";
import { metricNames } from "../../lib/evaluation/metrics.ts";
import { publishedTables } from "../../lib/evaluation/published.ts";
import facts from "../../data/paper_tables.json" with { type: "json" };

Deno.test("a published number that nobody read in a source is null", () => {
  const { refineAndDistill, protocol } = publishedTables();
  const { dataset, split, crop, capM } = protocol;
  assertEquals([dataset, split, crop, capM], ["kitti", "eigen", "garg", 80]);
  const values = new Map(refineAndDistill.map((row) => [row.name, row.values]));
  assertEquals([...values.keys()], ["HC", "C", "T feat", "T disp", "T", "S"]);
  assertEquals(values.get("HC")!.absRel, 0.1487);
  assertEquals(Object.values(values.get("T")!), [0.098, null, 4.656, null, null, null, null]);
  assert(metricNames.every((name) => values.get("S")![name] === null));
});

Deno.test("the file of published numbers has seven plausible values or nulls per row, each name once", () => {
  assertEquals(facts.columns, [...metricNames]);
  const rows = [...facts.refineAndDistill, ...facts.others];
  assertEquals(new Set(rows.map(({ name }) => name)).size, rows.length);
  for (const { name, values } of rows) {
    assertEquals(values.length, 7, name);
    assert(values.every((value, i) => value === null || value > 0 && (i < 4 || value <= 1)), name);
  }
});
