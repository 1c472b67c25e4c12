import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "../_assert.ts";
import { join } from "@std/path";
import facts from "../../data/paper_tables.json" with { type: "json" };
import { CyclopsError } from "../../lib/base/errors.ts";
import { metricNames } from "../../lib/evaluation/protocol.ts";
import {
  aggregateResults,
  pairedGain,
  parseResults,
  publishedTables,
  putResults,
  readResults,
  seedMean,
  writeResults,
} from "../../lib/evaluation/results.ts";
import { withFolder } from "../_folder.ts";
import { result } from "./_results.ts";

Deno.test("a mean over seeds has the sample's standard deviation, and none for one seed", () => {
  const { interval, ...rest } = seedMean([2, 4, 9])!;
  assertEquals(rest, { mean: 5, deviation: Math.sqrt(13), seeds: 3 });
  assertAlmostEquals(interval!, 4.3027 * Math.sqrt(13 / 3), 1e-3);
  assertEquals(seedMean([2]), { mean: 2, deviation: undefined, interval: undefined, seeds: 1 });
  assertEquals(seedMean([]), undefined);
});

Deno.test("results are averaged over seeds, never over settings, caps or flip averaging", () => {
  const results = [
    result({ seed: 2, absRel: 0.2, parameters: 10 }),
    result({ seed: 1, absRel: 0.1, parameters: 10 }),
    result({ seed: 1, absRel: 0.5, flip: true }),
    result({ seed: 1, absRel: 0.6, capM: 50 }),
    result({ seed: 1, absRel: 0.7, row: "train-set mean" }),
    result({ seed: 1, absRel: 0.3, dataset: "kitti", split: "eigen" }),
    result({ seed: 1, absRel: 0.4, truth: "dense" }),
    result({ seed: 1, absRel: 0.9, row: "my experiment" }),
  ];
  const [street, kitti, dense] = aggregateResults(results);
  assertEquals([kitti.rows.length, kitti.setting.dataset, kitti.rows[0].metrics.absRel.mean], [
    1,
    "kitti",
    0.3,
  ]);
  assertEquals([dense.rows.length, dense.setting.truth], [1, "dense"]);
  assertEquals(street.capsM, [80, 50]);
  // The table's own rows in the table's order, others after them.
  assertEquals(street.rows.map(({ row }) => row), ["train-set mean", "HC", "HC", "HC", "my experiment"]);
  const [, hc, flipped, near] = street.rows;
  assertEquals(hc.seeds, [1, 2]);
  assertAlmostEquals(hc.metrics.absRel.mean, 0.15, 1e-12);
  assertAlmostEquals(hc.metrics.absRel.deviation!, Math.SQRT2 * 0.05, 1e-12);
  assertEquals([hc.cost.parameters, hc.cost.msPerImage], [10, undefined]);
  assertEquals([flipped.flip, flipped.metrics.absRel.mean, near.capM], [true, 0.5, 50]);
});

Deno.test("a gain compares the same seed of two rows", () => {
  const results = [
    result({ row: "HC-continued", seed: 1, absRel: 0.1 }),
    result({ row: "HC-continued", seed: 2, absRel: 0.2 }),
    result({ row: "S", seed: 1, absRel: 0.09 }),
    result({ row: "S", seed: 2, absRel: 0.16 }),
    result({ row: "S", seed: 3, absRel: 0.001 }),
  ];
  const at = { flip: false, capM: 80 };
  const gain = pairedGain(results, "S", "HC-continued", at)!;
  assertAlmostEquals(gain.mean, 0.15, 1e-12);
  assertAlmostEquals(gain.deviation!, Math.SQRT2 * 0.05, 1e-12);
  assertEquals(gain.seeds, 2);
  assertEquals(pairedGain(results, "S", "HC-continued", { ...at, flip: true }), undefined);
  assert(pairedGain(results, "HC-continued", "S", at)!.mean < 0);
});

Deno.test("results files come back as written, and are read together", async () => {
  await withFolder(async (folder) => {
    const a = join(folder, "a.json"), b = join(folder, "b.json");
    const one = result({ parameters: 3, run: "runs/a", commit: "abc" }), two = result({ seed: 2 });
    await writeResults(a, { about: { command: "deno task reproduce" }, results: [one] });
    await writeResults(b, { about: {}, results: [two] });
    const { about, results } = await readResults([a, b]);
    assertEquals(results, [one, two]);
    assertEquals(about.get(a), { command: "deno task reproduce" });
    // One result a line: a new one changes one line of the file's history.
    assertEquals((await Deno.readTextFile(a)).split("\n").filter((line) => line.includes('"HC"')).length, 1);
    await assertRejects(
      () => readResults([a, a]),
      CyclopsError,
      "two results for HC, seed 1, without flip",
    );
  });
});

Deno.test("a new measurement takes the old one's place", () => {
  const before = [result({ absRel: 0.2 }), result({ seed: 2 })];
  const after = putResults(before, [result({ absRel: 0.1 }), result({ seed: 3 })]);
  assertEquals(after.map(({ seed, metrics }) => [seed, metrics.absRel]), [[1, 0.1], [2, 0.15], [3, 0.15]]);
});

Deno.test("a damaged result is refused with its place and key", () => {
  const file = (change: object) => ({
    format: "cyclops-results",
    version: 1,
    results: [result(), { ...result({ seed: 2 }), ...change }],
  });
  const cases: [unknown, string][] = [
    [file({ row: "" }), 'result 1 of r.json: row is "", expected a string'],
    [file({ truth: "sonar" }), 'truth is "sonar", expected lidar, lidar-z'],
    [file({ size: "big" }), 'size is "big", expected HEIGHTxWIDTH'],
    [file({ seed: 1.5 }), "seed is 1.5"],
    [file({ capM: 0 }), "capM is 0, expected meters above 0"],
    [file({ flip: "no" }), 'flip is "no"'],
    [file({ parameters: -1 }), "parameters is -1"],
    [file({ metrics: { ...result().metrics, a1: null } }), "metrics.a1 is null, expected a number"],
    [file({ seed: 1 }), "two results for"],
    [{ format: "cyclops-results", version: 2, results: [] }, "version 2, expected"],
    [null, "format undefined"],
    [{ ...file({}), about: { n: 1 } }, "about is not an object of strings"],
  ];
  for (const [json, message] of cases) {
    assertThrows(() => parseResults(json, "r.json"), CyclopsError, message);
  }
});

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
