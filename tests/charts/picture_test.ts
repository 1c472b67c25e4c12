import { assert, assertEquals, assertRejects, assertStringIncludes } from "../_assert.ts";
import { join } from "@std/path";
import { CyclopsError } from "../../lib/base/errors.ts";
import { JUPYTER_DISPLAY } from "../../lib/charts/display.ts";
import { Picture } from "../../lib/charts/picture.ts";
import { decodeRgb } from "../../lib/data/image.ts";
import { withFolder } from "../_folder.ts";

function noise(width: number, height: number): Uint8Array {
  let state = 1;
  return Uint8Array.from({ length: width * height * 3 }, () => (state = state * 48271 % 2147483647) & 255);
}

Deno.test("a picture's PNG holds its pixels exactly", async () => {
  const image = { width: 33, height: 17, data: noise(33, 17) };
  const back = await decodeRgb(await new Picture(image, "noise").png());
  assertEquals([back.width, back.height], [33, 17]);
  assertEquals(back.data, image.data);
});

Deno.test("a picture shows itself as PNG and plain text, a large one as JPEG", async () => {
  const small = await new Picture({ width: 8, height: 8, data: noise(8, 8) }, "eight")[JUPYTER_DISPLAY]();
  assertEquals(Object.keys(small), ["image/png", "text/plain"]);
  assertEquals(small["text/plain"], "eight (8×8 px)");
  const bytes = Uint8Array.fromBase64(small["image/png"] as string);
  assertEquals([...bytes.subarray(1, 4)], [80, 78, 71]);
  const image = { width: 300, height: 200, data: noise(300, 200) };
  const large = await new Picture(image, "large")[JUPYTER_DISPLAY]();
  assertEquals(Object.keys(large), ["image/jpeg", "text/plain"]);
  const jpeg = Uint8Array.fromBase64(large["image/jpeg"] as string);
  assert(jpeg.length < 0.8 * (await new Picture(image, "large").png()).length);
  const back = await decodeRgb(jpeg);
  assertEquals([back.width, back.height], [300, 200]);
});

Deno.test("a picture is written whole, with its folder; its HTML escapes its title", () =>
  withFolder(async (folder) => {
    const picture = new Picture({ width: 4, height: 4, data: noise(4, 4) }, 'a "b" <c>');
    await picture.writePng(join(folder, "deep", "x.png"));
    assertEquals(
      (await decodeRgb(await Deno.readFile(join(folder, "deep", "x.png")))).data,
      picture.image.data,
    );
    const html = await picture.html();
    assertStringIncludes(html, 'alt="a &#34;b&#34; &#60;c&#62;"');
    assertStringIncludes(html, 'src="data:image/png;base64,');
    await Deno.writeTextFile(join(folder, "file"), "");
    await assertRejects(() => picture.writePng(join(folder, "file", "x.png")), CyclopsError, "Cannot write");
  }));
