import { assert, assertEquals, assertMatch, assertNotMatch, assertStringIncludes } from "../_assert.ts";
import { join } from "@std/path";
import { lossCurves } from "../../lib/charts/curves.ts";
import { Picture } from "../../lib/charts/picture.ts";
import { reportHtml, writeReport } from "../../lib/charts/report.ts";
import { METRIC_COLUMNS, Table } from "../../lib/charts/table.ts";
import { withFolder } from "../_folder.ts";

const picture = new Picture({ width: 4, height: 4, data: new Uint8Array(48).fill(9) }, "four <by> four");
const table = new Table({ columns: METRIC_COLUMNS, rows: [{ name: "student", cells: { absRel: 0.1467 } }] });

const report = {
  title: "A <run>",
  summary: "abs rel 0.1467, `57 %` below",
  kicker: "today",
  sections: [
    { heading: "Result & more", blocks: [table, "A <b>plain</b> text with `code`."] },
    { heading: "Pictures", blocks: [picture, lossCurves([{ step: 1, loss: 1 }, { step: 2, loss: 0.5 }])] },
    {
      heading: "How",
      folded: true,
      blocks: [{ facts: { steps: 600, size: "128×416", gpu: null } }, { code: "a < b\n" }, {
        html: () => "<hr>",
      }],
    },
  ],
};

Deno.test("a report loads nothing: no address, no link, no script of its own", async () => {
  const html = await reportHtml(report);
  assertNotMatch(html, /https?:\/\/|<link|<script|@import|url\(|srcset|<iframe/i);
  for (const [, source] of html.matchAll(/ src="([^"]*)"/g)) assertMatch(source, /^data:image\/png;base64,/);
});

Deno.test("a report escapes its texts and shows every block", async () => {
  const html = await reportHtml(report);
  for (
    const part of [
      "<title>A &#60;run&#62;</title>",
      "<code>57 %</code> below",
      "Result &#38; more",
      "&#60;b&#62;plain&#60;/b&#62;",
      'alt="four &#60;by&#62; four"',
      "<svg ",
      "<dt>gpu</dt><dd>—</dd>",
      "<pre>a &#60; b",
      "<hr>",
      "<details><summary>How</summary>",
      ">0.1467<",
    ]
  ) assertStringIncludes(html, part);
  assertNotMatch(html, /<run>|<b>plain/);
});

Deno.test("what was not measured is a dash, and the page is well-formed in its outer tags", async () => {
  const html = await reportHtml(report);
  assertEquals(html.match(/>—<\/td>/g)?.length, METRIC_COLUMNS.length - 1);
  assert(html.startsWith("<!doctype html>\n<html lang"));
  for (const tag of ["main", "table", "section", "details", "figure", "svg", "dl"]) {
    const opened = html.match(new RegExp(`<${tag}[ >]`, "g"))?.length;
    assertEquals(opened, html.match(new RegExp(`</${tag}>`, "g"))?.length, tag);
  }
});

Deno.test("a report is written where it is asked for, the same each time", () =>
  withFolder(async (folder) => {
    const path = join(folder, "run", "report.html");
    await writeReport(path, report);
    assertEquals(await Deno.readTextFile(path), await reportHtml(report));
  }));
