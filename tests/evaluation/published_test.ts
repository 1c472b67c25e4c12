import { assertEquals, assertThrows } from "../_assert.ts";
import { CyclopsError } from "../../lib/base/errors.ts";
import { parsePublished, publishedTables } from "../../lib/evaluation/published.ts";
import facts from "../../data/paper_tables.json" with { type: "json" };

Deno.test("published numbers come with how sure each of them is", () => {
  const { refineAndDistill, others, protocol } = publishedTables();
  assertEquals(refineAndDistill.map(({ name }) => name), ["HC", "C", "T feat", "T disp", "T", "S"]);
  assertEquals(others.length, 12);
  assertEquals([protocol.dataset, protocol.split, protocol.crop, protocol.capM], [
    "kitti",
    "eigen",
    "garg",
    80,
  ]);
  const [hc, , , disp, t, s] = refineAndDistill;
  assertEquals([hc.values.absRel, hc.standings.absRel], [0.1487, "confirmed"]);
  // Not known is null, never 0.
  assertEquals([disp.values.a1, disp.standing], [null, "partial"]);
  assertEquals([t.standings.rmse, t.standings.a1], ["confirmed", "recalled"]);
  assertEquals(t.note, "absRel 0.098 and rmse 4.656 confirmed, the rest recalled");
  assertEquals(s.standing, "recalled");
});

Deno.test("a damaged file of published numbers is refused with the entry's place", () => {
  const row = facts.refineAndDistill[0];
  const withRow = (change: object) => ({ ...facts, refineAndDistill: [{ ...row, ...change }] });
  const cases: [unknown, string][] = [
    [withRow({ values: [0.1] }), "refineAndDistill[0].values is [0.1], wanted 7 numbers or nulls"],
    [withRow({ values: [...row.values.slice(1), -1] }), "wanted 7 numbers or nulls"],
    [withRow({ standing: "sure" }), 'standing is "sure", wanted confirmed, partial, recalled'],
    [withRow({ standings: { absrel: "confirmed" } }), 'standings is "absrel", wanted keys out of absRel'],
    [{ ...facts, refineAndDistill: [row, row] }, 'refineAndDistill is "HC", wanted each name once'],
    [{ ...facts, columns: ["absRel"] }, "columns is"],
    [[], "it is [], wanted an object"],
  ];
  for (const [json, message] of cases) {
    assertThrows(() => parsePublished(json, "p.json"), CyclopsError, message);
  }
});
