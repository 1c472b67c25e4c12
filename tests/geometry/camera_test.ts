import { assertAlmostEquals, assertEquals } from "../_assert.ts";
import {
  depthFromDisparity,
  disparityFromDepth,
  multiply,
  resizeCamera,
  rigid,
  type StereoCamera,
} from "../../lib/geometry/camera.ts";

const camera: StereoCamera = {
  imageSize: { width: 1242, height: 375 },
  focalPx: 721.5377,
  centerPx: { x: 609.5593, y: 172.854 },
  baselineM: 0.5327254,
};

Deno.test("a disparity of 10 px on KITTI is 38.4 m", () => {
  assertAlmostEquals(depthFromDisparity(10 / 1242, camera), 38.4381, 1e-4);
});

Deno.test("no disparity is infinitely far", () => {
  assertEquals(depthFromDisparity(0, camera), Infinity);
  assertEquals(disparityFromDepth(Infinity, camera), 0);
});

Deno.test("disparity and depth are each other's inverse", () => {
  for (const depth of [0.5, 7, 80]) {
    assertAlmostEquals(depthFromDisparity(disparityFromDepth(depth, camera), camera), depth, 1e-9);
  }
});

Deno.test("resizing a camera keeps what a fraction of the width means, and where a ray lands", () => {
  const small = resizeCamera(camera, { width: 414, height: 125 });
  assertAlmostEquals(depthFromDisparity(0.03, small), depthFromDisparity(0.03, camera), 1e-9);
  const landsAt = (c: StereoCamera) => (c.focalPx * 0.25 + c.centerPx.x + 0.5) / c.imageSize.width;
  assertAlmostEquals(landsAt(small), landsAt(camera), 1e-12);
});

Deno.test("matrices multiply row by column, also where they are not square", () => {
  assertEquals(multiply([1, 2, 3, 4, 5, 6], [1, 0, 0, 1, 1, 1], 3), [4, 5, 10, 11]);
});

Deno.test("a rigid motion turns, then shifts", () => {
  const quarterTurn = [0, -1, 0, 1, 0, 0, 0, 0, 1];
  assertEquals(multiply(rigid(quarterTurn, [10, 20, 30]), [1, 2, 3, 1], 4), [8, 21, 33, 1]);
});
