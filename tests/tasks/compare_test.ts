import { assert, assertEquals, assertNotMatch, assertStringIncludes } from "../_assert.ts";
import { join } from "@std/path";
import { exists } from "../../lib/base/files.ts";
import { findChromium, openPage } from "../../tasks/notebooks/lab_check.ts";
import { testFolder, tinyStreet } from "../training/_runs.ts";
import { task } from "./_run.ts";

const base = await testFolder(), data = join(base, "street");
await tinyStreet(data);
const tiny = "--size 32x64 --batch 2 --steps 2 --coarse 0 --warmup 0 --validate-every 1 --workers 0".split(
  " ",
);
const runs = ["first", "second"].map((name) => join(base, name));
const page = join(base, "compare.html");

Deno.test("train leaves a report, unless told not to; compare puts runs side by side", async () => {
  const [first, second] = [
    await task("train", "--data", data, "--out", runs[0], ...tiny),
    await task("train", "--data", data, "--out", runs[1], ...tiny, "--seed", "2", "--no-report"),
  ];
  assertEquals([first.code, second.code], [0, 0], first.err + second.err);
  assertStringIncludes(first.err, `report: ${join(runs[0], "report.html")}`);
  assert(!await exists(join(runs[1], "report.html")));
  const report = await Deno.readTextFile(join(runs[0], "report.html"));
  for (const part of ["Training loss", "<td", "error", "seed&#34;: 1", "abs rel"]) {
    assertStringIncludes(report, part);
  }
  assertNotMatch(report, /https?:\/\/|<link|<script|No pictures/);

  const compared = await task("compare", ...runs, "--out", page);
  assertEquals(compared.code, 0, compared.err);
  for (const part of ["seed    1      2", "second", page]) assertStringIncludes(compared.out, part);
  const html = await Deno.readTextFile(page);
  // The input, two predictions, the truth.
  assertEquals(html.match(/<img /g)!.length % 4, 0);
  assertStringIncludes(html, "--columns:4");
  const again = await task("compare", ...runs, "--out", page);
  assertEquals(again.code, 2);
  assertStringIncludes(again.err, "is there already");
  assertEquals((await task("compare", join(base, "street"), "--out", join(base, "x.html"))).code, 1);
});

const chromium = await findChromium();

Deno.test({
  name: "on a phone the pages do not scroll sideways, and their charts and pictures fit",
  ignore: chromium === undefined,
  fn: async () => {
    await using cleanup = new AsyncDisposableStack();
    const tab = await openPage(chromium!, cleanup);
    await tab.setViewportSize({ width: 390, height: 844 });
    for (const path of [page, join(runs[0], "report.html")]) {
      await tab.goto(`file://${path}`);
      assertEquals(await tab.evaluate("document.documentElement.scrollWidth"), 390);
      const wide = await tab.evaluate<string[]>(`[...document.querySelectorAll("svg, img, figure, pre")]
        .filter((one) => one.getBoundingClientRect().right > 390).map((one) => one.outerHTML.slice(0, 80))`);
      assertEquals(wide, []);
    }
  },
});
