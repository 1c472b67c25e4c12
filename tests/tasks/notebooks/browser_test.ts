import { assertEquals, assertRejects } from "../../_assert.ts";
import { CyclopsError } from "../../../lib/base/errors.ts";
import { decodeRgb } from "../../../lib/data/image.ts";
import { findChromium, openPage } from "../../../tasks/notebooks/lab_check.ts";

const chromium = await findChromium();

Deno.test({
  name: "a browser opens a page, is clicked and takes a picture",
  ignore: chromium === undefined,
  fn: async () => {
    await using cleanup = new AsyncDisposableStack();
    const page = await openPage(chromium!, cleanup);
    await page.setViewportSize({ width: 300, height: 200 });
    await page.setContent(
      `<body style="margin:0;background:#fff"><button onclick="document.body.style.background='#f00'">red</button>`,
    );
    await page.getByRole("button").click();
    const { width, height, data } = await decodeRgb(await page.screenshot());
    assertEquals([width, height, ...data.slice(-3)], [300, 200, 255, 0, 0]);
  },
});

Deno.test("a program that is not there is refused by name", async () => {
  await using cleanup = new AsyncDisposableStack();
  const absent = "/nowhere/chromium";
  await assertRejects(() => openPage(absent, cleanup), CyclopsError, absent);
});
