import { assert, assertAlmostEquals, assertEquals, assertStringIncludes } from "../_assert.ts";
import { histogram, lineChart, lossCurves } from "../../lib/charts/curves.ts";

/** All objects in a specification that have the given key. */
// deno-lint-ignore no-explicit-any
function find(spec: unknown, key: string, out: any[] = []): any[] {
  if (typeof spec !== "object" || spec === null) return out;
  if (Object.hasOwn(spec, key)) out.push(spec);
  for (const value of Object.values(spec)) find(value, key, out);
  return out;
}

// deno-lint-ignore no-explicit-any
function rows(spec: unknown): any[] {
  return find(spec, "values").flatMap(({ values }) => values).filter((row) => typeof row === "object");
}

const records = Array.from({ length: 500 }, (_, i) => ({
  step: i + 1,
  loss: 1 / (i + 1),
  terms: { photometric: 0.9 / (i + 1), smoothness: 0.1 / (i + 1) },
  ...(i % 100 === 99 ? { validation: { absRel: 0.3 - i / 2500 } } : {}),
}));

Deno.test("curves show the total, each term and the validation", () => {
  const chart = lossCurves(records, { smoothing: 0 });
  const all = rows(chart.spec);
  for (const name of ["total", "photometric", "smoothness"]) {
    const line = all.filter((row) => row.name === name);
    assertEquals([line[0].step, line.at(-1).step], [1, 500]);
    assertAlmostEquals(
      line.at(-1).value,
      (name === "total" ? 1 : name === "photometric" ? 0.9 : 0.1) / 500,
      1e-6,
    );
    assert(line.length <= 160);
  }
  assertEquals(find(chart.spec, "hconcat").length, 1);
  assertEquals(find(lossCurves(records.map(({ step, loss }) => ({ step, loss }))).spec, "hconcat").length, 0);
});

Deno.test("a point of a curve tells its values under the pointer", async () => {
  const svg = await lossCurves(records, { smoothing: 0 }).svg();
  assert(/<title>step: 1; [^<]*term: total; value: 1<\/title>/.test(svg), svg.match(/<title>[^<]*/)?.[0]);
  assert(svg.length < 100_000, `${svg.length} bytes`);
});

Deno.test("smoothing is a running mean without bias at its start", () => {
  const flat = Array.from({ length: 50 }, (_, i) => ({ step: i, loss: 2 }));
  for (const row of rows(lossCurves(flat, { smoothing: 0.99 }).spec)) {
    if ("value" in row) assertAlmostEquals(row.value, 2, 1e-9);
  }
  const jump = [{ step: 0, loss: 1 }, { step: 1, loss: 3 }];
  const smooth = rows(lossCurves(jump, { smoothing: 0.5 }).spec).filter((row) => row.name === "total");
  // (0.25·1 + 0.5·3) / 0.75
  assertAlmostEquals(smooth[1].value, 2.333, 1e-3);
});

Deno.test("values that are missing or not finite are passed over, as are those a logarithm cannot show", async () => {
  const odd = [
    { step: 1, loss: 1 },
    { step: 2, loss: null },
    { step: 3, loss: NaN },
    { step: 4, loss: -1 },
    { note: "no step" },
    { step: 5, loss: 2, terms: null },
  ];
  assertEquals(
    rows(lossCurves(odd, { smoothing: 0 }).spec).filter((r) => r.name === "total").map((r) => r.step),
    [1, 5],
  );
  assertStringIncludes(await lossCurves([]).svg(), "<svg");
});

Deno.test("reference lines stand beside the validation, marks in the training loss", async () => {
  const marks = [{ step: 150, label: "full size from here" }];
  const chart = lossCurves(records, { references: { "train-set mean": 0.343 }, marks });
  assertStringIncludes(await chart.svg(), "full size from here");
  assertStringIncludes(await chart.svg(), "train-set mean 0.343");
});

Deno.test("a histogram's shares sum to the part of the values within its range", () => {
  const values = Float32Array.from([0.5, 1.5, 1.6, 2.5, 9, NaN]);
  const chart = histogram([{ name: "a", values }], { range: [0, 3], bins: 3 });
  const shares = rows(chart.spec).map((row) => row.share);
  assertEquals(shares, [0.2, 0.4, 0.2, 0.2]);
});

Deno.test("a histogram takes several series, equal values and none at all", async () => {
  const svg = await histogram([{ name: "three", values: [1, 2, 3, NaN] }, { name: "none", values: [] }])
    .svg();
  assertStringIncludes(svg, ">three<");
  assertStringIncludes(await histogram([{ name: "flat", values: [1, 1, 1] }]).svg(), "<svg");
  assertStringIncludes(await histogram([{ name: "none", values: [] }]).svg(), "<svg");
});

Deno.test("a line chart draws each series in its color, leaves out what is no number, and marks places", async () => {
  const chart = lineChart([
    { name: "first", points: [[0, 1], [1, NaN], [2, 3.123456789]] },
    { name: "second", points: [[0, 2], [Infinity, 2], [2, 1]] },
  ], { title: "Two lines", xLabel: "x", yLabel: "y, m", marks: [{ x: 1, label: "here" }] });
  const [lines] = (chart.spec as { layer: { data: { values: unknown[] } }[] }).layer;
  assertEquals(lines.data.values, [
    { name: "first", x: 0, y: 1 },
    { name: "first", x: 2, y: 3.1235 },
    { name: "second", x: 0, y: 2 },
    { name: "second", x: 2, y: 1 },
  ]);
  const svg = await chart.svg();
  for (const part of ["Two lines", "first", "second", "here", "y, m", "#0072b2", "#d55e00"]) {
    assertStringIncludes(svg, part);
  }
});
