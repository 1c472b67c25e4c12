import { assert, assertAlmostEquals, assertEquals, assertStringIncludes, assertThrows } from "../_assert.ts";
import { colorAt, disparityScale, ERROR_SCALE } from "../../lib/charts/colormap.ts";
import {
  disparityBar,
  disparityPicture,
  fillSparse,
  niceTicks,
  panel,
  truthDisparity,
} from "../../lib/charts/depth.ts";
import type { FloatMap, RgbImage } from "../../lib/data/image.ts";
import { depthFromDisparity } from "../../lib/geometry/camera.ts";

const camera = {
  focalPx: 200,
  baselineM: 0.5,
  imageSize: { width: 400, height: 100 },
  centerPx: { x: 200, y: 50 },
};

function constant(width: number, height: number, value: number): FloatMap {
  return { width, height, data: new Float32Array(width * height).fill(value) };
}

function grey(width: number, height: number, value: number): RgbImage {
  return { width, height, data: new Uint8Array(width * height * 3).fill(value) };
}

function counts(image: RgbImage, color: readonly number[]): number {
  let count = 0;
  for (let i = 0; i < image.data.length; i += 3) {
    if (color.every((value, c) => image.data[i + c] === value)) count++;
  }
  return count;
}

Deno.test("the disparity bar's metres and px agree with the camera", () => {
  const bar = disparityBar(disparityScale(0.1), 400, camera);
  assertEquals(bar.ticks.map((t) => t.label), ["0 px", "10 px", "20 px", "30 px", "40 px"]);
  assertAlmostEquals(bar.ticks[2].value, 20 / 400, 1e-9);
  const ten = bar.upperTicks!.find((t) => t.label === "10 m")!;
  assertAlmostEquals(depthFromDisparity(ten.value, camera), 10, 1e-9);
  assertEquals(disparityBar(disparityScale(0.1), 400).upperTicks, undefined);
});

Deno.test("a disparity picture shows the map's colors and has room for its bar", () => {
  const picture = disparityPicture(constant(416, 128, 0.05), "Disparity");
  assertEquals(picture.title, "Predicted disparity: Disparity, near is bright");
  assert(counts(picture.image, colorAt("magma", 1)) >= 416 * 128);
  assert(picture.height > 128 + 60);
});

Deno.test("a panel of a perfect prediction has an error column of the lowest color", () => {
  const disparity = constant(104, 32, 0.025); // 200 · 0.5 / (0.025 · 400) = 10 m
  const truth = constant(416, 128, 10);
  const picture = panel([{
    name: "frame",
    input: grey(416, 128, 99),
    disparity,
    truth,
    camera,
    metrics: { absRel: 0.14672, sqRel: 1, rmse: 5.83, rmseLog: 0.2, a1: 0.8, a2: 0.9, a3: 1 },
  }]);
  assertStringIncludes(picture.drawing, "abs rel 0.1467 · RMSE 5.830 m · δ&#60;1.25 0.800");
  const cell = Math.floor((960 - 24 - 24) / 4);
  const area = cell * Math.round(cell * 128 / 416);
  assert(counts(picture.image, [99, 99, 99]) >= area);
  assert(counts(picture.image, colorAt("error", 0)) >= area);
  // Prediction and truth have one color: the same value on the same scale.
  assert(counts(picture.image, colorAt("magma", 1)) >= 2 * area);
});

Deno.test("a panel's error ignores pixels outside the crop and depths beyond the cap", () => {
  const input = grey(416, 128, 99), truth = constant(416, 128, 80);
  const disparity = constant(416, 128, 0.001); // 250 m, clamped to the cap
  const crop = { top: 64, bottom: 128, left: 0, right: 416 };
  const { image } = panel([{ input, disparity, truth, camera, crop }]);
  const none = counts(image, ERROR_SCALE.none!), blue = counts(image, colorAt("error", 0));
  assert(Math.abs(none - blue) < 0.1 * blue, `${none} outside, ${blue} inside`);
  assertEquals(counts(panel([{ input, disparity, truth, camera }]).image, ERROR_SCALE.none!), 0);
});

Deno.test("a panel without truth has two columns, one with truth needs a camera", () => {
  const input = grey(416, 128, 99), disparity = constant(416, 128, 0.05);
  const two = panel([{ input, disparity }]);
  assert(counts(two.image, [99, 99, 99]) > 400 * 120);
  assertThrows(
    () => panel([{ name: "a", input, disparity, truth: constant(4, 4, 1) }]),
    RangeError,
    "the panel of a: it has truth but no camera",
  );
});

Deno.test("sparse values are averaged when they meet and grow into the gaps", () => {
  const map = constant(8, 8, NaN);
  map.data[0] = 1;
  map.data[1] = 3;
  map.data[63] = 5;
  const { data } = fillSparse(map, { width: 4, height: 4 });
  assertEquals(data[0], 2);
  assertEquals([data[1], data[4]], [2, 2]);
  assert(Number.isNaN(data[5]) && Number.isNaN(data[2]));
  assertEquals([data[15], data[14], data[11]], [5, 5, 5]);
  const dense = fillSparse(constant(4, 4, 7), { width: 8, height: 6 });
  assert(dense.data.every((value) => value === 7));
});

Deno.test("truth in meters becomes disparity", () => {
  const known = truthDisparity({ width: 3, height: 1, data: Float32Array.from([10, 0, NaN]) }, camera);
  assertAlmostEquals(known.data[0], 0.025, 1e-7);
  assert(Number.isNaN(known.data[1]) && Number.isNaN(known.data[2]));
});

Deno.test("ticks are round numbers that cover the range", () => {
  assertEquals(niceTicks(0, 100), [0, 20, 40, 60, 80, 100]);
  assertEquals(niceTicks(0, 0.6), [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]);
  assertEquals(niceTicks(3, 3), [3]);
});
