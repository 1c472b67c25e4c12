import { assertEquals, assertRejects } from "@std/assert";
import { CyclopsError } from "../../lib/base/errors.ts";
import { decodeRgb } from "../../lib/data/image.ts";
import { Browser, findChromium } from "../../lib/notebooks/browser.ts";

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

Deno.test("a browser that is none is refused with its last words", async () => {
  const script = await Deno.makeTempFile();
  await Deno.writeTextFile(script, "#!/bin/sh\necho cannot open display >&2\n", { mode: 0o755 });
  await Deno.chmod(script, 0o755);
  await assertRejects(
    () => Browser.launch(script, { width: 1, height: 1 }),
    CyclopsError,
    "cannot open display",
  );
  await Deno.remove(script);
});
