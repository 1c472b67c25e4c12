import { assert, assertAlmostEquals, assertEquals, assertNotEquals } from "../_assert.ts";
import { cellValue, cover, coverPeriodic, detail, MASK, MASKS, valueNoise } from "../../lib/street/noise.ts";

/** The mean of a 0/1 pattern over a pixel, by many samples. */
function sampled(inside: (x: number) => boolean, x: number, footprint: number): number {
  const count = 20000;
  let sum = 0;
  for (let i = 0; i < count; i++) if (inside(x + footprint * ((i + 0.5) / count - 0.5))) sum++;
  return sum / count;
}

Deno.test("patterns are integrated over the pixel, not sampled", () => {
  for (const footprint of [0.01, 0.3, 1.7, 9]) {
    for (const x of [-3.21, 0, 0.4, 2.77]) {
      assertAlmostEquals(
        cover(x, -0.2, 0.5, footprint),
        sampled((s) => s >= -0.2 && s <= 0.5, x, footprint),
        2e-3,
      );
      assertAlmostEquals(
        coverPeriodic(x, 1.3, 0.4, footprint),
        sampled((s) => s - Math.floor(s / 1.3) * 1.3 < 0.4, x, footprint),
        2e-3,
      );
    }
  }
});

Deno.test("noise is continuous, within its range, and repeats after 256 units", () => {
  let least = 0, most = 0;
  for (let i = 0; i < 4000; i++) {
    const x = i * 0.37 - 700, y = i * 0.113;
    const value = valueNoise(x, y);
    least = Math.min(least, value);
    most = Math.max(most, value);
    assertAlmostEquals(valueNoise(x + 1e-6, y), value, 1e-4);
    assertAlmostEquals(valueNoise(x + 256, y - 256), value, 1e-9);
  }
  assert(least >= -1 && least < -0.6 && most <= 1 && most > 0.6, `${least} … ${most}`);
});

Deno.test("texture has contrast from pixel to pixel at every distance, and none finer than a pixel", () => {
  for (const footprint of [0.004, 0.03, 0.2, 1.5]) {
    let neighbors = 0, within = 0;
    for (let i = 0; i < 500; i++) {
      const u = i * 3.1 * footprint * 7, v = i * 1.7 * footprint * 5;
      const here = detail(u, v, footprint, 0.001);
      neighbors += Math.abs(detail(u + 2 * footprint, v, footprint, 0.001) - here) / 500;
      within += Math.abs(detail(u + 0.1 * footprint, v, footprint, 0.001) - here) / 500;
    }
    assert(neighbors > 0.15, `contrast ${neighbors} at ${footprint} m`);
    assert(within < 0.25 * neighbors, `aliasing ${within} at ${footprint} m`);
  }
});

Deno.test("a cell's value is spread evenly and depends on cell and seed", () => {
  let sum = 0;
  for (let i = 0; i < 1000; i++) sum += cellValue(i % 40, Math.floor(i / 40), 3) / 1000;
  assertAlmostEquals(sum, 0.5, 0.04);
  assertEquals(cellValue(4, -5, 6), cellValue(4, -5, 6));
  assertNotEquals(cellValue(4, -5, 6), cellValue(4, -5, 7));
  assertNotEquals(cellValue(4, -5, 6), cellValue(5, -5, 6));
});

Deno.test("leaves have holes, plain faces have none", () => {
  const share = (mask: number) =>
    MASKS.subarray(mask << 12, (mask + 1) << 12).filter((v) => v > 0).length / 4096;
  assertEquals(share(MASK.none), 1);
  for (const mask of [MASK.leaves, MASK.sprays, MASK.needles, MASK.railing, MASK.mesh]) {
    assert(share(mask) > 0.1 && share(mask) < 0.85, `mask ${mask}: ${share(mask)}`);
  }
});
