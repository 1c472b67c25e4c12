import { assertEquals, assertStringIncludes } from "../_assert.ts";
import { lineChart } from "../../lib/charts/lines.ts";

Deno.test("a line chart draws each series in its colour, leaves out what is no number, and marks places", async () => {
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
