import { assert, assertEquals, assertGreater, assertLess, assertThrows } from "../_assert.ts";
import { join } from "@std/path";
import { median, Random } from "../../lib/base/random.ts";
import { readGray16, readRgb } from "../../lib/data/image.ts";
import { matchStereo } from "../../lib/geometry/matching.ts";
import { kittiSample, noKittiSample } from "../data/_kitti_root.ts";

const SIZE = { width: 160, height: 60 };

/** A texture that is smooth enough to be sampled between pixels, about 0 to 255. */
function texture(seed: number): (x: number, y: number) => number {
  const random = new Random(seed);
  const waves = Array.from({ length: 24 }, () => {
    const [u, v, phase] = [random.uniform(-1, 1), random.uniform(-1, 1), random.uniform(0, 7)];
    return (x: number, y: number) => 9 * Math.sin(u * x + v * y + phase);
  });
  return (x, y) => waves.reduce((sum, wave) => sum + wave(x, y), 128);
}

/** A view of planes: the first whose `inside` holds is seen, at its disparity. */
function render(value: (x: number, y: number) => number): Uint8Array {
  return Uint8Array.from({ length: SIZE.width * SIZE.height }, (_, p) => {
    return Math.max(0, Math.min(255, Math.round(value(p % SIZE.width, Math.floor(p / SIZE.width)))));
  });
}

/** Values of a map in a box, as [unknown share, known values]. */
function box(map: Float32Array, [x0, x1]: readonly number[], [y0, y1]: readonly number[]) {
  const known: number[] = [];
  for (let y = y0; y < y1; y++) {
    for (let x = x0; x < x1; x++) if (map[y * SIZE.width + x] > 0) known.push(map[y * SIZE.width + x]);
  }
  return { unknown: 1 - known.length / ((x1 - x0) * (y1 - y0)), known };
}

Deno.test("a plane is found to a quarter of a pixel, in both views, under another exposure", () => {
  const seen = texture(1);
  for (const disparity of [3, 6.5, 11.3]) {
    // left(x) = right(x − d)
    const left = render(seen), right = render((x, y) => 20 + 0.7 * seen(x + disparity, y));
    const maps = matchStereo(left, right, SIZE, 24);
    for (const [map, columns] of [[maps.left, [20, 155]], [maps.right, [5, 140]]] as const) {
      const { unknown, known } = box(map, columns, [4, 56]);
      assertLess(unknown, 0.02);
      assertLess(median(known.map((d) => Math.abs(d - disparity))), 0.25, `at ${disparity} px`);
    }
  }
});

Deno.test("what only one view sees is unknown: beside a near object, on its left in the left view", () => {
  const far = texture(1), near = texture(2), [d0, d1] = [4, 14];
  // In the left view the object covers columns 70 to 110 and all rows.
  const left = render((x, y) => x >= 70 && x < 110 ? near(x, y) : far(x, y));
  const right = render((x, y) => x + d1 >= 70 && x + d1 < 110 ? near(x + d1, y) : far(x + d0, y));
  const maps = matchStereo(left, right, SIZE, 24);
  const rows = [4, 56];
  assertGreater(box(maps.left, [62, 68], rows).unknown, 0.9);
  // In the right view it covers 56 to 96; hidden from the left view is what lies on its right.
  assertGreater(box(maps.right, [98, 104], rows).unknown, 0.9);
  for (const [map, object, plane] of [[maps.left, 70, 125], [maps.right, 56, 115]] as const) {
    const [on, beside] = [box(map, [object + 6, object + 34], rows), box(map, [plane, plane + 25], rows)];
    assertLess(on.unknown, 0.05);
    assertLess(Math.abs(median(on.known) - d1), 0.2);
    assertLess(beside.unknown, 0.05);
    assertLess(Math.abs(median(beside.known) - d0), 0.2);
  }
});

Deno.test("noise matches nothing: nearly all of it is unknown", () => {
  const noise = (seed: number) => {
    const random = new Random(seed);
    return Uint8Array.from({ length: SIZE.width * SIZE.height }, () => random.below(256));
  };
  const { left } = matchStereo(noise(1), noise(2), SIZE, 24);
  assertGreater(left.filter((d) => d === 0).length / left.length, 0.9);
});

Deno.test("any range gives disparities below it, and wrong sizes are refused", () => {
  const view = render(texture(1));
  for (const range of [1, 2, 7, 500]) {
    const { left, right } = matchStereo(view, view, SIZE, range);
    assert([...left, ...right].every((d) => d >= 0 && d < Math.ceil(range / 4) * 4));
  }
  assertThrows(() => matchStereo(view, view.subarray(1), SIZE, 8), RangeError, "expected 60×160 px");
  assertThrows(() => matchStereo(view, view, SIZE, 0), RangeError, "0 disparities");
});

Deno.test({
  name: "KITTI stereo 2015: most of a real frame is matched, to a few pixels",
  ignore: noKittiSample,
  fn: async () => {
    const folder = join(kittiSample, "stereo2015"), size = { width: 832, height: 256 };
    const [left, right] = await Promise.all([2, 3].map(async (camera) => {
      const { data } = await readRgb(join(folder, `image_${camera}`, "000046_10.png"), size);
      return Uint8Array.from({ length: data.length / 3 }, (_, p) => data[3 * p + 1]);
    }));
    const truth = await readGray16(join(folder, "disp_occ_0", "000046_10.png"));
    const map = matchStereo(left, right, size, 104).left;
    let known = 0, close = 0, all = 0;
    truth.data.forEach((value, p) => {
      if (value === 0) return;
      all++;
      const x = Math.floor((p % truth.width + 0.5) * size.width / truth.width);
      const y = Math.floor((Math.floor(p / truth.width) + 0.5) * size.height / truth.height);
      const d = map[y * size.width + x] * truth.width / size.width;
      if (d === 0) return;
      known++;
      if (Math.abs(d - value / 256) < 3) close++;
    });
    assertGreater(known / all, 0.75);
    assertGreater(close / known, 0.93);
    assertEquals(map.length, 832 * 256);
  },
});
