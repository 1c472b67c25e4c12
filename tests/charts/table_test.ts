import { assert, assertEquals, assertNotMatch, assertStringIncludes } from "../_assert.ts";
import { stripVTControlCharacters } from "node:util";
import { JUPYTER_DISPLAY } from "../../lib/charts/display.ts";
import { formatNumber, METRIC_COLUMNS, Table } from "../../lib/charts/table.ts";

const table = new Table({
  title: "Results",
  corner: "method",
  columns: [METRIC_COLUMNS[0], METRIC_COLUMNS[4], { key: "note", label: "note" }],
  rows: [
    { name: "train-set mean", cells: { absRel: 0.343, a1: 0.55, note: "a | b" } },
    { name: "student", cells: { absRel: { value: 0.146, deviation: 0.0031 }, a1: 0.812, note: "x_y" } },
    { name: "HC, paper", standing: "published", cells: { absRel: 0.1, a1: null } },
  ],
});

Deno.test("numbers have fixed digits, what was not measured is a dash", () => {
  assertEquals(formatNumber(0.14672, 4), "0.1467");
  assertEquals(formatNumber(1234567), "1,234,567");
  assertEquals(formatNumber(0.0123456), "0.01235");
  for (const nothing of [null, undefined, NaN, Infinity]) assertEquals(formatNumber(nothing, 3), "—");
});

Deno.test("LaTeX: a tabular with the same marks, signs as math, texts escaped", () => {
  assertEquals(
    table.latex(),
    String.raw`\begin{tabular}{lrrl}
  \toprule
  method & abs rel $\downarrow$ & $\delta$$<$1.25 $\uparrow$ & note \\
  \midrule
  train-set mean & 0.3430 & 0.550 & a | b \\
  student & \textbf{0.1460 $\pm$ 0.0031} & \textbf{0.812} & x\_y \\
  HC, paper & \textit{0.1000}$^\dagger$ & --- & --- \\
  \bottomrule
\end{tabular}
% † published by the authors, not measured here.
`,
  );
});

Deno.test("Markdown: the best measured value bold, published ones italic with a mark, texts escaped", () => {
  assertEquals(
    table.markdown(),
    `**Results**

| method | abs rel ↓ | δ\\<1.25 ↑ | note |
|---|---:|---:|---|
| train-set mean | 0.3430 | 0.550 | a \\| b |
| student | **0.1460 ± 0.0031** | **0.812** | x\\_y |
| *HC, paper* | *0.1000* † | — | — |

† published by the authors, not measured here.
`,
  );
});

Deno.test("a published number never wins, however good", () => {
  const html = table.html();
  assertStringIncludes(html, "<em>0.1000</em>");
  assertNotMatch(html, /<strong>(<em>)?0\.1000/);
});

Deno.test("each group has a best of its own, equal values share it, a lone value is no winner", () => {
  const markdown = new Table({
    columns: [METRIC_COLUMNS[0]],
    rows: [
      { name: "a", group: "street", cells: { absRel: 0.14601 } },
      { name: "b", group: "street", cells: { absRel: 0.14604 } },
      { name: "c", group: "street", cells: { absRel: 0.2 } },
      { name: "d", group: "KITTI", cells: { absRel: 0.1 } },
    ],
  }).markdown();
  assertEquals(markdown.match(/\*\*0\.1460\*\*/g)?.length, 2);
  assertStringIncludes(markdown, "| d | 0.1000 |");
  assert(markdown.indexOf("**street**") < markdown.indexOf("**KITTI**"));
});

Deno.test("CSV holds full numbers, quotes what needs it and names each row's standing", () => {
  assertEquals(
    table.csv(),
    `name,group,standing,absRel,absRel_deviation,a1,note
train-set mean,,measured,0.343,,0.55,a | b
student,,measured,0.146,0.0031,0.812,x_y
"HC, paper",,published,0.1,,,
`,
  );
});

Deno.test("a single cell can be published in a measured row", () => {
  const mixed = new Table({
    columns: [{ key: "v", label: "v", digits: 2, better: "lower" }],
    rows: [
      { name: "a", cells: { v: { value: 1, standing: "published" } } },
      { name: "b", cells: { v: 3 } },
      { name: "c", cells: { v: 2 } },
    ],
  });
  assertStringIncludes(mixed.markdown(), "| a | *1.00* † |");
  assertStringIncludes(mixed.markdown(), "| c | **2.00** |");
});

Deno.test("the terminal's columns are aligned and the best carries a star", () => {
  const lines = stripVTControlCharacters(table.text()).split("\n");
  assertEquals(lines.slice(1, 5), [
    "method                   abs rel  δ<1.25  note",
    "train-set mean           0.3430   0.550   a | b",
    "student         0.1460 ± 0.0031*  0.812*  x_y",
    "HC, paper                0.1000†      —   —",
  ]);
  assertStringIncludes(table.text(), "* best measured value of its column");
});

Deno.test("on a narrow terminal the columns follow below each other, and one row of metrics fits 80 columns", () => {
  const cells = { absRel: 0.1467, sqRel: 1.2942, rmse: 5.8, rmseLog: 0.246, a1: 0.805, a2: 0.925, a3: 0.965 };
  const one = new Table({ columns: METRIC_COLUMNS, rows: [{ name: "teacher", cells }] }).text(80).split("\n");
  assertEquals(one.length, 2);
  const lines = stripVTControlCharacters(table.text(40)).split("\n");
  assert(lines.every((line) => line.length <= 40), lines.join("\n"));
  assertEquals(lines.filter((line) => line.startsWith("train-set mean")).length, 2);
});

Deno.test("HTML escapes names and shows itself in a notebook with its other forms", () => {
  const odd = new Table({
    title: "<script>",
    columns: [{ key: "a", label: "<b>" }],
    rows: [{ name: "x<y", cells: { a: '"&' } }],
    notes: ["a < b"],
  });
  assertNotMatch(odd.html(), /<script>|<b>/);
  assertStringIncludes(odd.html(), "&#34;&#38;");
  assertEquals(Object.keys(odd[JUPYTER_DISPLAY]()), ["text/html", "text/markdown", "text/plain"]);
});
