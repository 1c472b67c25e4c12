import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "../_assert.ts";
import { join } from "@std/path";
import { CyclopsError } from "../../lib/base/errors.ts";
import { JUPYTER_DISPLAY } from "../../lib/charts/display.ts";
import { grid, Picture } from "../../lib/charts/picture.ts";
import { rasterizeSvg, svgText, textWidth, wrapText } from "../../lib/charts/svg.ts";
import { decodeRgb, type RgbImage } from "../../lib/data/image.ts";
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

function flat(width: number, height: number, value: number): RgbImage {
  return { width, height, data: new Uint8Array(width * height * 3).fill(value) };
}

/** Columns and rows in which an exact grey occurs: [left, right, top, bottom]. */
function bounds(image: RgbImage, value: number): number[] {
  let [left, right, top, bottom] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let y = 0; y < image.height; y++) {
    for (let x = 0; x < image.width; x++) {
      const at = (y * image.width + x) * 3;
      if (image.data[at] !== value || image.data[at + 1] !== value || image.data[at + 2] !== value) continue;
      left = Math.min(left, x),
        right = Math.max(right, x),
        top = Math.min(top, y),
        bottom = Math.max(bottom, y);
    }
  }
  return [left, right, top, bottom];
}

Deno.test("a row sets its images side by side, equally wide and in proportion", () => {
  const cells = [{ image: flat(400, 100, 10), caption: "a" }, { image: flat(400, 100, 20), caption: "b" }];
  const picture = grid([{ cells }]);
  const [l1, r1, t1, b1] = bounds(picture.image, 10);
  const [l2, r2, t2, b2] = bounds(picture.image, 20);
  assertEquals([r1 - l1, b1 - t1], [r2 - l2, b2 - t2]);
  assertEquals(t1, t2);
  assertEquals(picture.title, "a, b");
  assert(l2 > r1 && l2 - r1 <= 12, `gap ${l2 - r1}`);
  assert(Math.abs((r1 - l1 + 1) / (b1 - t1 + 1) - 4) < 0.1);
  assert(r2 < picture.width && b2 < picture.height - 18, "a caption stands below");
});

Deno.test("small images are not blown up beyond what their labels need, large ones stay at the given width", () => {
  const large = { image: flat(1242, 375, 0) };
  assertEquals(grid([{ cells: [{ image: flat(416, 128, 0) }] }]).width, 440);
  assertEquals(grid([{ cells: [large, large] }]).width, 960);
  assertEquals(grid([{ cells: [large] }], { width: 1600 }).width, 1600);
});

Deno.test("long titles, captions and notes make a picture higher, not wider", () => {
  const image = flat(300, 100, 0);
  const words = "many words that go on and on ".repeat(12);
  const short = grid([{ cells: [{ image }], name: "n", note: "m" }], { title: "t", width: 500 });
  const long = grid([{ cells: [{ image, caption: words }], name: "n", note: words }], {
    title: words,
    width: 500,
  });
  assertEquals(long.width, short.width);
  assert(long.height > short.height + 100);
});

Deno.test("an empty place stays empty, an empty grid is refused", () => {
  const picture = grid([{ cells: [{ image: flat(100, 50, 30) }, undefined] }], { width: 460 });
  assert(bounds(picture.image, 30)[1] < 230);
  assertThrows(() => grid([{ cells: [] }]), RangeError, "no image");
});

Deno.test("a color bar stands under its columns and shows its scale's ends", () => {
  const picture = grid([{ cells: [{ image: flat(200, 50, 30) }, { image: flat(200, 50, 31) }] }], {
    width: 480,
    bars: [{
      scale: { min: 0, max: 1, map: "grey" },
      label: "grey",
      ticks: [{ value: 0.5, label: "half" }],
      column: 1,
    }],
  });
  // The bar's black end lies left of its white one, right of the first column.
  const [left, , top] = bounds(picture.image, 0);
  assert(left > 240 && left < 260, `bar begins at ${left}`);
  assert(top > 60);
});

Deno.test("text darkens pixels in its own rectangle alone, bold text more than regular", async () => {
  const ink: number[] = [];
  for (const bold of [false, true]) {
    const drawing = svgText("δ 0.14", 60, 25, { size: 16, anchor: "middle", bold });
    const { data } = await new Picture(flat(120, 40, 255), "text", drawing).render();
    const wide = textWidth("δ 0.14", 16, bold);
    let dark = 0;
    for (let i = 0; i < data.length; i += 3) {
      if (data[i] === 255) continue;
      dark += 255 - data[i];
      const x = i / 3 % 120, y = Math.floor(i / 360);
      assert(Math.abs(x - 60) <= wide / 2 + 3 && y >= 10 && y <= 30, `ink at ${x}, ${y}`);
    }
    ink.push(dark);
  }
  assert(ink[0] > 60 * 255 / 2, `${ink[0]}: a font is there`);
  assert(ink[1] > 1.2 * ink[0]);
});

Deno.test("long texts are broken at spaces, and a long word is cut", () => {
  assertEquals(wrapText("a b c", 13, 1000), ["a b c"]);
  const lines = wrapText("several words that need more than one line", 13, 120);
  assert(lines.length > 2 && lines.every((line) => textWidth(line, 13) <= 120));
  assertEquals(lines.join(" "), "several words that need more than one line");
  assert(wrapText("Donaudampfschifffahrtsgesellschaft", 13, 80)[0].endsWith("…"));
});

Deno.test("an SVG is drawn on white at the scale asked for", async () => {
  const svg =
    `<svg xmlns="http://www.w3.org/2000/svg" width="4" height="2"><rect width="2" height="2"/></svg>`;
  const { width, height, data } = await decodeRgb(await rasterizeSvg(svg, 2));
  assertEquals([width, height], [8, 4]);
  assertEquals([...data.subarray(0, 3), ...data.subarray(21, 24)], [0, 0, 0, 255, 255, 255]);
});

Deno.test("a machine without fonts draws the same text", () =>
  withFolder(async (folder) => {
    const config = join(folder, "fonts.conf");
    await Deno.writeTextFile(
      config,
      `<?xml version="1.0"?><fontconfig><cachedir>${folder}</cachedir></fontconfig>`,
    );
    const here = await new Picture(flat(60, 20, 255), "text", svgText("0.14", 5, 15)).render();
    const script = `
      import { Picture } from ${JSON.stringify(import.meta.resolve("../../lib/charts/picture.ts"))};
      import { svgText } from ${JSON.stringify(import.meta.resolve("../../lib/charts/svg.ts"))};
      const image = { width: 60, height: 20, data: new Uint8Array(3600).fill(255) };
      const { data } = await new Picture(image, "text", svgText("0.14", 5, 15)).render();
      console.log(data.toBase64());`;
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "-A",
        "--no-lock",
        "--config",
        "deno.json",
        `data:text/typescript,${encodeURIComponent(script)}`,
      ],
      env: { FONTCONFIG_FILE: config },
    }).output();
    const ink = (data: Uint8Array) => data.reduce((sum, value) => sum + 255 - value, 0);
    const bare = ink(Uint8Array.fromBase64(new TextDecoder().decode(stdout).trim()));
    // Hinting is the system's and may differ.
    assert(Math.abs(bare / ink(here.data) - 1) < 0.2, `${bare} of ${ink(here.data)}`);
  }));
