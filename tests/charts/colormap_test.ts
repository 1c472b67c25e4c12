import { assert, assertAlmostEquals, assertEquals, assertThrows } from "../_assert.ts";
import {
  colorAt,
  disparityScale,
  ERROR_SCALE,
  mapToRgb,
  NO_VALUE,
  percentile,
  positionOn,
} from "../../lib/charts/colormap.ts";
import type { FloatMap } from "../../lib/data/image.ts";

function map(values: readonly number[], width = values.length): FloatMap {
  return { width, height: values.length / width, data: Float32Array.from(values) };
}

Deno.test("the color scales run between their known ends", () => {
  assertEquals(colorAt("magma", 0), [0x00, 0x00, 0x04]);
  assertEquals(colorAt("magma", 1), [0xfc, 0xfd, 0xbf]);
  assertEquals(colorAt("viridis", 0.5), [0x21, 0x91, 0x8c]);
  for (const name of ["magma", "viridis", "error", "grey"] as const) {
    assertEquals(colorAt(name, -3), colorAt(name, 0));
    assertEquals(colorAt(name, 9), colorAt(name, 1));
  }
});

Deno.test("magma and viridis grow brighter all the way", () => {
  for (const name of ["magma", "viridis"] as const) {
    let before = -1;
    for (let i = 0; i <= 50; i++) {
      const [r, g, b] = colorAt(name, i / 50);
      const luma = 0.299 * r + 0.587 * g + 0.114 * b;
      assert(luma > before, `${name} at ${i / 50}`);
      before = luma;
    }
  }
});

Deno.test("disparities become colors at known places, gaps become grey", () => {
  const { data, width, height } = mapToRgb(map([0, 0.05, 0.1, 0.2, NaN], 5), disparityScale(0.1));
  assertEquals([width, height], [5, 1]);
  assertEquals([...data.subarray(0, 3)], [0, 0, 4]);
  assertEquals([...data.subarray(3, 6)], [...colorAt("magma", 0.5)]);
  assertEquals([...data.subarray(6, 9)], [0xfc, 0xfd, 0xbf]);
  assertEquals([...data.subarray(9, 12)], [0xfc, 0xfd, 0xbf]);
  assertEquals([...data.subarray(12)], [...NO_VALUE]);
});

Deno.test("the error scale is logarithmic from 1 % to 100 %", () => {
  assertAlmostEquals(positionOn(ERROR_SCALE, 0.01), 0, 1e-12);
  assertAlmostEquals(positionOn(ERROR_SCALE, 0.1), 0.5, 1e-12);
  assertAlmostEquals(positionOn(ERROR_SCALE, 1), 1, 1e-12);
  assert(positionOn(ERROR_SCALE, 0) < 0);
  assert(Number.isNaN(positionOn(ERROR_SCALE, NaN)));
  const { data } = mapToRgb(map([0, 1, NaN]), ERROR_SCALE);
  assertEquals([...data], [0x31, 0x36, 0x95, 0xa5, 0x00, 0x26, ...ERROR_SCALE.none!]);
});

Deno.test("a percentile counts the scattered values of a sparse map and nothing else", () => {
  assertEquals(percentile([map([3, 1, 2, 4, NaN])], 0.5), 3);
  assertEquals(percentile([map([NaN, NaN])], 0.98), 1);
  const sparse = new Float32Array(500_000).fill(NaN);
  for (let i = 0; i < 100; i++) sparse[i * 4999 + 1] = i;
  assertEquals(percentile([{ width: 1000, height: 500, data: sparse }], 0.9), 90);
});

Deno.test("a map whose data do not fit its size is refused", () => {
  const wrong = { width: 3, height: 2, data: new Float32Array(5) };
  assertThrows(() => mapToRgb(wrong, ERROR_SCALE), RangeError, "found 5 values, expected 6");
});
