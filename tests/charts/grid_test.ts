import { assert, assertEquals, assertThrows } from "../_assert.ts";
import { grid, niceTicks, strip } from "../../lib/charts/grid.ts";
import type { RgbImage } from "../../lib/data/image.ts";

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

Deno.test("a strip sets its images side by side, equally wide and in proportion", () => {
  const picture = strip([{ image: flat(400, 100, 10), caption: "a" }, {
    image: flat(400, 100, 20),
    caption: "b",
  }]);
  const [l1, r1, t1, b1] = bounds(picture.image, 10);
  const [l2, r2, t2, b2] = bounds(picture.image, 20);
  assertEquals([r1 - l1, b1 - t1], [r2 - l2, b2 - t2]);
  assertEquals(t1, t2);
  assert(l2 > r1 && l2 - r1 <= 12, `gap ${l2 - r1}`);
  assert(Math.abs((r1 - l1 + 1) / (b1 - t1 + 1) - 4) < 0.1);
  assert(r2 < picture.width && b2 < picture.height - 18, "a caption stands below");
});

Deno.test("small images are not blown up beyond what their labels need, large ones stay at the given width", () => {
  assertEquals(strip([{ image: flat(416, 128, 0) }]).width, 440);
  assertEquals(strip([{ image: flat(1242, 375, 0) }, { image: flat(1242, 375, 0) }]).width, 960);
  assertEquals(strip([{ image: flat(1242, 375, 0) }], { width: 1600 }).width, 1600);
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

Deno.test("a colour bar stands under its columns and shows its scale's ends", () => {
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

Deno.test("ticks are round numbers that cover the range", () => {
  assertEquals(niceTicks(0, 100, 5), [0, 20, 40, 60, 80, 100]);
  assertEquals(niceTicks(0, 0.7, 7), [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]);
  assertEquals(niceTicks(3, 3), [3]);
});
