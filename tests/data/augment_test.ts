import { assert, assertAlmostEquals, assertEquals, assertNotEquals, assertThrows } from "../_assert.ts";
import { UsageError } from "../../lib/base/errors.ts";
import { Random } from "../../lib/base/random.ts";
import {
  colorTable,
  drawAugmentation,
  fillPair,
  NO_AUGMENTATION,
  resolveAugmentation,
} from "../../lib/data/augment.ts";

Deno.test("a flip mirrors both views and swaps their roles", () => {
  // One row of two pixels: channel values tell view, pixel and channel apart.
  const left = Uint8Array.of(10, 11, 12, 20, 21, 22), right = Uint8Array.of(30, 31, 32, 40, 41, 42);
  const l = new Float32Array(6), r = new Float32Array(6);
  fillPair({ left, right }, 2, { ...NO_AUGMENTATION, flip: true }, l, r, 0);
  assertEquals([...l].map((v) => Math.round(v * 255)), [40, 41, 42, 30, 31, 32]);
  assertEquals([...r].map((v) => Math.round(v * 255)), [20, 21, 22, 10, 11, 12]);
});

Deno.test("a flip mirrors each row by itself", () => {
  const left = Uint8Array.from({ length: 2 * 3 * 3 }, (_, i) => i), right = left.map((v) => v + 100);
  const l = new Float32Array(18), r = new Float32Array(18);
  fillPair({ left, right }, 3, { ...NO_AUGMENTATION, flip: true }, l, r, 0);
  const pixel = (view: Float32Array, y: number, x: number) => Math.round(view[(y * 3 + x) * 3] * 255);
  assertEquals([pixel(l, 0, 0), pixel(l, 0, 2), pixel(l, 1, 0)], [106, 100, 115]);
  assertEquals([pixel(r, 0, 0), pixel(r, 1, 2)], [6, 9]);
});

Deno.test("without augmentation values are v / 255, each pair at its place in the batch", () => {
  const left = Uint8Array.of(0, 128, 255), right = Uint8Array.of(1, 2, 3);
  const l = new Float32Array(6), r = new Float32Array(6);
  fillPair({ left, right }, 1, NO_AUGMENTATION, l, r, 1);
  assertEquals([...l], [0, 0, 0, 0, Math.fround(128 / 255), 1]);
  assertEquals([...r.subarray(3)], [1, 2, 3].map((v) => Math.fround(v / 255)));
});

Deno.test("the color table is gamma, brightness and color, clipped to [0, 1]", () => {
  const table = colorTable({ flip: false, gamma: 1.2, brightness: 1.5, color: [0.8, 1, 1.2], gray: false });
  for (const v of [0, 1, 100, 255]) {
    for (const [c, factor] of [0.8, 1, 1.2].entries()) {
      const expected = Math.min(1, (v / 255) ** 1.2 * 1.5 * factor);
      assertAlmostEquals(table[c * 256 + v], expected, 1e-6);
    }
  }
});

Deno.test("both views get the same colors", () => {
  const view = Uint8Array.from({ length: 12 }, (_, i) => 20 * i);
  const l = new Float32Array(12), r = new Float32Array(12);
  fillPair(
    { left: view, right: view },
    4,
    { flip: false, gamma: 0.9, brightness: 0.7, color: [0.9, 1, 1.1], gray: false },
    l,
    r,
    0,
  );
  assertEquals(l, r);
  assertNotEquals(l[5], Math.fround(100 / 255));
});

Deno.test("draws stay in their ranges and occur as often as asked", () => {
  const options = resolveAugmentation({ flipProbability: 0.3, colourProbability: 0.8 });
  const random = new Random(3), count = 4000;
  let flips = 0, recolored = 0;
  for (let i = 0; i < count; i++) {
    const { flip, gamma, brightness, color } = drawAugmentation(options, random);
    flips += Number(flip);
    recolored += Number(gamma !== 1);
    assert(gamma >= 0.8 && gamma <= 1.2);
    assert(brightness >= 0.5 && brightness <= 2);
    assert(color.every((c) => c >= 0.8 && c <= 1.2));
  }
  assertAlmostEquals(flips / count, 0.3, 0.03);
  assertAlmostEquals(recolored / count, 0.8, 0.03);
});

Deno.test("each augmentation option changes the draw, and --no-augment turns all off", () => {
  const draw = (given: Record<string, unknown>) =>
    JSON.stringify(
      Array.from(
        { length: 20 },
        (_, i) => drawAugmentation(resolveAugmentation(given), new Random(i)),
      ),
    );
  const usual = draw({});
  const changes: Record<string, unknown> = {
    flipProbability: 0.9,
    colourProbability: 0.9,
    gammaLow: 0.5,
    gammaHigh: 1.5,
    brightnessLow: 0.1,
    brightnessHigh: 3,
    colourLow: 0.5,
    colourHigh: 1.5,
  };
  for (const [key, value] of Object.entries(changes)) assertNotEquals(draw({ [key]: value }), usual, key);
  const none = JSON.stringify(Array.from({ length: 20 }, () => NO_AUGMENTATION));
  assertEquals(draw({ augment: false }), none);
});

Deno.test("a range whose low end lies above its high end is refused", () => {
  assertThrows(() => resolveAugmentation({ gammaLow: 1.5 }), UsageError, "gammaLow is 1.5");
  assertThrows(() => resolveAugmentation({ gammaLo: 1 }), UsageError, "gammaLow");
});

Deno.test("views that do not fit the batch are refused", () => {
  const pair = { left: new Uint8Array(6), right: new Uint8Array(6) };
  const fill = (width: number, values: number, index: number) => () =>
    fillPair(pair, width, NO_AUGMENTATION, new Float32Array(values), new Float32Array(values), index);
  assertThrows(fill(2, 6, 1), RangeError);
  assertThrows(fill(4, 6, 0), RangeError);
});
