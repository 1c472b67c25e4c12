import { assert, assertAlmostEquals, assertEquals } from "../_assert.ts";
import { Random } from "../../lib/base/random.ts";
import { selectBackend, tf } from "../../lib/mod.ts";
import {
  absRel,
  type Frame,
  imageTensor,
  ownSize,
  rankCorrelation,
  search,
  toImage,
} from "../../notebooks/_helpers.ts";
import { compare, figure, offBy, published } from "../../notebooks/_pictures.ts";

await selectBackend();

Deno.test("search finds how far a texture has moved, and leaves no tensor", () => {
  const width = 96, height = 32, shift = 6;
  const random = new Random(7);
  const texture = tf.tidy(() => {
    const noise = tf.tensor4d(Float32Array.from({ length: 16 * 60 * 3 }, () => random.next()), [
      1,
      16,
      60,
      3,
    ]);
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
  const before = tf.memory().numTensors;
  const { data } = search({ left: view(0), right: view(shift) }, 0.15);
  const errors = [...data].map((d) => Math.abs(d * width - shift)).filter((_, i) => i % width > 2 * shift);
  assert(errors.sort((a, b) => a - b)[errors.length >> 1] < 0.6);
  assertEquals(tf.memory().numTensors, before);
});

Deno.test("rank correlation depends on the order only", () => {
  assertAlmostEquals(rankCorrelation([1, 2, 3, 4], [1, 10, 100, 1000]), 1);
  assertAlmostEquals(rankCorrelation([1, 2, 3, 4], [4, 3, 2, 1]), -1);
  // By hand, from ranks 0, 1.5, 1.5, 3 and 0, 2, 1, 3.
  assertAlmostEquals(rankCorrelation([1, 2, 2, 5], [0, 7, 6, 8]), 4.5 / Math.sqrt(4.5 * 5));
});

Deno.test("abs rel counts known depths below 80 m only", () => {
  const camera = { imageSize: { width: 4, height: 1 }, focalPx: 50, baselineM: 0.5 }; // depth = 6.25 / d
  const depth = { width: 4, height: 1, data: Float32Array.of(10, 0, 90, 20) };
  const disparity = { width: 4, height: 1, data: Float32Array.of(6.25 / 11, 1, 1, 6.25 / 16) };
  assertAlmostEquals(absRel(disparity, { depth, camera } as unknown as Frame), (0.1 + 0.2) / 2, 1e-6);
});

Deno.test("a disparity is off by px of the map", () => {
  const map = (...data: number[]) => ({ width: 2, height: 1, data: Float32Array.from(data) });
  assertEquals([...offBy(map(0.5, 0.5), map(0.25, NaN)).data], [0.5, NaN]);
});

Deno.test("a picture keeps its proportions, in sides that can be halved three times", () => {
  assertEquals(ownSize({ width: 1242, height: 375 }), { width: 416, height: 128 });
  assertEquals(ownSize({ width: 3000, height: 4000 }), { width: 416, height: 552 });
  assertEquals(ownSize({ width: 4000, height: 10 }), { width: 416, height: 32 });
});

Deno.test("images survive the way to a tensor and back", () => {
  const image = { width: 2, height: 1, data: Uint8Array.of(0, 51, 255, 10, 20, 30) };
  assertEquals(toImage(imageTensor(image)), image);
});

Deno.test("a figure never enlarges, and has a title for those who do not see it", () => {
  const map = { width: 100, height: 20, data: new Float32Array(2000) };
  const picture = figure("Two maps", [[[map, "one", "disparity"], [map, "other", "offBy"]]]);
  assertEquals([picture.width, picture.title], [2 * 100 + 24 + 8, "Two maps"]);
});

Deno.test("a comparison shows published numbers as such", () => {
  const table = compare([{ what: "abs rel", ours: 0.3, paper: published("HC"), match: "no" }]);
  assert(table.text().includes("0.1487†"));
  assert(table.text().includes("not measured here"));
});
