import { assert, assertEquals, assertThrows } from "../_assert.ts";
import type { RgbImage } from "../../lib/data/image.ts";
import { resizeMap, resizeRgb } from "../../lib/data/resize.ts";

function pixel(image: RgbImage, x: number, y: number): number[] {
  return [...image.data.subarray((y * image.width + x) * 3, (y * image.width + x) * 3 + 3)];
}

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

Deno.test("resized maps keep fractions of the width; data that do not fit the size are refused", () => {
  const map = { width: 4, height: 4, data: new Float32Array(16).fill(0.25) };
  assert(resizeMap(map, { width: 9, height: 3 }).data.every((v) => Math.abs(v - 0.25) < 1e-6));
  const wrong = { width: 3, height: 2, data: new Float32Array(5) };
  assertThrows(() => resizeMap(wrong, map), RangeError, "3×2 px: found 5 values, expected 6");
});
