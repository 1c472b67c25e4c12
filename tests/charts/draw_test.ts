import { assert, assertEquals } from "../_assert.ts";
import { Canvas, type Color, INK, resizeRgb } from "../../lib/charts/draw.ts";
import type { RgbImage } from "../../lib/data/image.ts";

function pixel(image: RgbImage, x: number, y: number): number[] {
  return [...image.data.subarray((y * image.width + x) * 3, (y * image.width + x) * 3 + 3)];
}

const RED: Color = [255, 0, 0];

Deno.test("a rectangle fills exactly its pixels and is cut at the canvas' edges", () => {
  const canvas = new Canvas(6, 4, [0, 0, 0]);
  canvas.rect(4, -1, 10, 2, RED);
  const filled = [];
  for (let y = 0; y < 4; y++) {
    for (let x = 0; x < 6; x++) if (pixel(canvas.image, x, y)[0]) filled.push([x, y]);
  }
  assertEquals(filled, [[4, 0], [5, 0]]);
});

Deno.test("an image is copied to its place and cut on all sides", () => {
  const image = { width: 3, height: 3, data: Uint8Array.from({ length: 27 }, (_, i) => i + 1) };
  const inside = new Canvas(5, 5, [0, 0, 0]);
  inside.blit(image, 1, 2);
  assertEquals(pixel(inside.image, 1, 2), [1, 2, 3]);
  assertEquals(pixel(inside.image, 3, 4), [25, 26, 27]);
  assertEquals(pixel(inside.image, 0, 2), [0, 0, 0]);
  const cut = new Canvas(2, 2, [0, 0, 0]);
  cut.blit(image, -2, -2);
  assertEquals(pixel(cut.image, 0, 0), [25, 26, 27]);
  assertEquals(pixel(cut.image, 1, 1), [0, 0, 0]);
  cut.blit(image, 9, 0);
});

Deno.test("text darkens pixels in its own rectangle alone, where its anchor says", () => {
  for (const [anchor, from, to] of [["start", 60, 120], ["middle", 25, 95], ["end", 0, 60]] as const) {
    const canvas = new Canvas(120, 40);
    const width = canvas.text("δ 0.14", 60, 25, { size: 16, anchor });
    let dark = 0;
    for (let y = 0; y < 40; y++) {
      for (let x = 0; x < 120; x++) {
        if (pixel(canvas.image, x, y)[0] === 255) continue;
        dark++;
        assert(x >= from - 1 && x <= to + 1 && y >= 10 && y <= 30, `${anchor} at ${x}, ${y}`);
      }
    }
    assert(dark > 60 && width > 30, `${dark} dark pixels, ${width} px wide`);
  }
});

Deno.test("bold text is darker than regular text", () => {
  const ink = (weight: "regular" | "bold") => {
    const canvas = new Canvas(80, 30);
    canvas.text("RMSE", 5, 20, { weight });
    return canvas.data.reduce((sum, value) => sum + 255 - value, 0);
  };
  assert(ink("bold") > 1.2 * ink("regular"));
});

Deno.test("a line through pixel centres covers them fully", () => {
  const canvas = new Canvas(8, 3);
  canvas.line([1, 1.5, 7, 1.5], 1, INK.strong);
  assertEquals(pixel(canvas.image, 4, 1), [...INK.strong]);
  assertEquals(pixel(canvas.image, 4, 0), [255, 255, 255]);
});

Deno.test("resizing keeps a flat image flat, averages when it shrinks and interpolates when it grows", () => {
  const flat = { width: 7, height: 5, data: new Uint8Array(105).fill(77) };
  for (const [w, h] of [[3, 2], [20, 11], [7, 5], [1, 1]]) {
    const resized = resizeRgb(flat, w, h);
    assertEquals([resized.width, resized.height], [w, h]);
    assert(resized.data.every((value) => value === 77));
  }
  const ramp = { width: 4, height: 1, data: Uint8Array.from([0, 100, 200, 40].flatMap((v) => [v, v, v])) };
  // Triangle filter of half-width 2 around 0.5: weights 3/4·(0, 100), 1/4·200 over 7/4, the left neighbour cut off.
  assertEquals(
    pixel(resizeRgb(ramp, 2, 1), 0, 0)[0],
    Math.round((0.75 * 0 + 0.75 * 100 + 0.25 * 200) / 1.75),
  );
  const grown = resizeRgb({ width: 2, height: 1, data: Uint8Array.from([0, 0, 0, 100, 100, 100]) }, 4, 1);
  assertEquals([0, 1, 2, 3].map((x) => pixel(grown, x, 0)[0]), [0, 25, 75, 100]);
});
