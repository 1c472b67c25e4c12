import { assert, assertAlmostEquals, assertEquals, assertStringIncludes } from "../_assert.ts";
import { ablationBars, histogram, lossCurves } from "../../lib/charts/curves.ts";

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
  const linear = rows(lossCurves(odd, { smoothing: 0, log: false }).spec);
  assertEquals(linear.filter((r) => r.name === "total").map((r) => r.step), [1, 4, 5]);
  assertStringIncludes(await lossCurves([]).svg(), "<svg");
});

Deno.test("reference lines stand beside the validation", async () => {
  const chart = lossCurves(records, { references: { "train-set mean": 0.343 } });
  assertStringIncludes(await chart.svg(), "train-set mean 0.343");
});

Deno.test("a histogram's shares sum to the part of the values within its range", () => {
  const values = Float32Array.from([0.5, 1.5, 1.6, 2.5, 9, NaN]);
  const chart = histogram([{ name: "a", values }], { range: [0, 3], bins: 3 });
  const shares = rows(chart.spec).map((row) => row.share);
  assertEquals(shares, [0.2, 0.4, 0.2, 0.2]);
});

Deno.test("a histogram takes maps, several series and no values at all", async () => {
  const map = { width: 2, height: 2, data: Float32Array.from([1, 2, 3, NaN]) };
  const svg = await histogram([{ name: "map", values: map }, { name: "none", values: [] }]).svg();
  assertStringIncludes(svg, ">map<");
  assertStringIncludes(await histogram([{ name: "flat", values: [1, 1, 1] }], { log: true }).svg(), "<svg");
});

Deno.test("published numbers are marks of another kind, unmeasured rows say so", async () => {
  const chart = ablationBars([
    { name: "mean", value: 0.34, baseline: true },
    { name: "HC", value: 0.146, deviation: 0.003, published: 0.1487 },
    { name: "S", value: null, published: 0.1424 },
  ]);
  // deno-lint-ignore no-explicit-any
  const layers = chart.spec.layer as any[];
  const bars = layers[0],
    points = layers.find((layer) => layer.mark.type === "point" && layer.data.values[0].value);
  assertEquals(bars.mark.type, "bar");
  // deno-lint-ignore no-explicit-any
  assertEquals(bars.data.values.map((row: any) => row.name), ["mean", "HC"]);
  // deno-lint-ignore no-explicit-any
  assertEquals(points.data.values.map((row: any) => row.value), [0.1487, 0.1424]);
  const svg = await chart.svg();
  assertStringIncludes(svg, ">—<");
  assertStringIncludes(svg, "published (other data: not comparable)");
  assertStringIncludes(svg, "0.1460 ± 0.0030");
});
