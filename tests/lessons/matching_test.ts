import { assert, assertAlmostEquals, assertEquals } from "../_assert.ts";
import { selectBackend } from "../../lib/backend/select.ts";
import { tf } from "../../lib/backend/tf.ts";
import { Random } from "../../lib/base/random.ts";
import { descend, errorCurves, planeSweep } from "../../lib/lessons/matching.ts";

await selectBackend();

/** A pair of smooth noise; the left view is the right one, moved 6 px to the right. */
const width = 96, height = 32, shift = 6;
const random = new Random(7);
const texture = tf.tidy(() => {
  const noise = tf.tensor4d(Float32Array.from({ length: 16 * 60 * 3 }, () => random.next()), [1, 16, 60, 3]);
  return tf.image.resizeBilinear(noise, [height, width + shift], false, true).dataSync();
});
const view = (from: number) => ({
  width,
  height,
  data: Uint8Array.from({ length: width * height * 3 }, (_, i) => {
    const [row, rest] = [Math.floor(i / (width * 3)), i % (width * 3)];
    return Math.round(255 * texture[(row * (width + shift) + from) * 3 + rest]);
  }),
});
const pair = { left: view(0), right: view(shift) };

/** Median of |found − shift|, px, away from the border that only the left view sees. */
function error(map: { readonly data: Float32Array }): number {
  const errors = [...map.data].map((d) => Math.abs(d * width - shift)).filter((_, i) =>
    i % width > 2 * shift
  );
  return errors.sort((a, b) => a - b)[errors.length >> 1];
}

Deno.test("search finds how far a texture has moved", () => {
  assert(error(planeSweep(pair, { max: 0.15 })) < 0.6);
});

Deno.test("the error of a pixel is lowest at its true disparity", () => {
  const [curve] = errorCurves(pair, [{ x: 60, y: 16 }], { max: 0.15 });
  assertEquals(curve.map(([px]) => px), Array.from({ length: 15 }, (_, i) => i));
  assertEquals(curve.toSorted((a, b) => a[1] - b[1])[0][0], shift);
});

Deno.test("descent refines a map that is one px off, lowers its loss and leaves no tensor", async () => {
  const before = tf.memory().numTensors;
  const start = { width, height, data: new Float32Array(width * height).fill((shift - 1) / width) };
  const { disparity, losses } = await descend(pair, { start, steps: 30 });
  assert(error(disparity) < 0.3);
  assert(losses[29] < losses[0]);
  assertEquals(losses.length, 60, "half the resolution, then the full one");
  assertEquals(tf.memory().numTensors, before);
});

Deno.test("descent begins at a flat map of any height", async () => {
  const { disparity } = await descend(pair, { start: 0.04, steps: 1, ratePx: 0 });
  for (const d of disparity.data) assertAlmostEquals(d, 0.04, 1e-6);
});
