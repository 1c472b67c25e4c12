import { assertEquals, assertRejects } from "../../_assert.ts";
import { CyclopsError } from "../../../lib/base/errors.ts";
import { decodeRgb } from "../../../lib/data/image.ts";
import { Browser, findChromium } from "../../../tasks/notebooks/browser.ts";

const chromium = await findChromium();

Deno.test({
  name: "a browser opens a page, is clicked, answers and takes a picture",
  ignore: chromium === undefined,
  fn: async () => {
    await using browser = await Browser.launch(chromium!, { width: 300, height: 200 });
    const page =
      `<body style="margin:0;background:#fff"><button onclick="document.body.style.background='#f00'">red</button>`;
    await browser.open(`data:text/html,${encodeURIComponent(page)}`);
    await browser.click("the button", "document.querySelector('button')");
    assertEquals(await browser.evaluate<string>("document.body.style.background"), "rgb(255, 0, 0)");
    const { width, height, data } = await decodeRgb(await browser.screenshot());
    assertEquals([width, height, ...data.slice(-3)], [300, 200, 255, 0, 0]);
    await assertRejects(() => browser.evaluate("nothing.at.all"), CyclopsError, "nothing is not defined");
    await assertRejects(
      () => browser.waitFor("a table", "document.querySelector('table')", 0.1),
      CyclopsError,
      "a table",
    );
  },
});

Deno.test("a program that is no browser is refused with its last words, one that is not there by name", async () => {
  // A shell does not know a browser's options, and says so.
  await assertRejects(() => Browser.launch("/bin/sh", { width: 1, height: 1 }), CyclopsError, "option");
  const absent = "/nowhere/chromium";
  await assertRejects(() => Browser.launch(absent, { width: 1, height: 1 }), CyclopsError, absent);
});
