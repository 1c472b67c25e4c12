import { Random } from "../../lib/base/random.ts";
import { extraMetrics } from "../../lib/evaluation/dense.ts";
import type { Truth } from "../../lib/evaluation/truth.ts";
import { disparityFromDepth } from "../../lib/geometry/camera.ts";
import { assert, assertAlmostEquals, assertEquals } from "../_assert.ts";
import { rig } from "../data/_kitti_root.ts";

const { imageSize: { width, height }, focalPx, centerPx } = rig, area = width * height;

/** Truth of every pixel, or of those whose depth is above 0. */
function truthOf(depth: (x: number, y: number) => number): Truth {
  const points = Array.from({ length: area }, (_, i) => [i % width, Math.floor(i / width)] as const)
    .filter(([x, y]) => depth(x, y) > 0);
  return {
    camera: rig,
    xs: Uint16Array.from(points, ([x]) => x),
    ys: Uint16Array.from(points, ([, y]) => y),
    depths: Float32Array.from(points, ([x, y]) => depth(x, y)),
  };
}

const mapOf = (depth: (x: number, y: number) => number) => ({
  width,
  height,
  data: Float32Array.from(
    { length: area },
    (_, i) => disparityFromDepth(depth(i % width, Math.floor(i / width)), rig),
  ),
});

Deno.test("a disparity is wrong from 3 px and 5 % on", () => {
  // 25 px · m: 5 px, 100 px nearly.
  const truth = {
    ...truthOf(() => 0),
    xs: Uint16Array.of(1, 2),
    ys: Uint16Array.of(1, 1),
    depths: Float32Array.of(5, 0.25),
  };
  const by = (px: number) => {
    const found = extraMetrics(truth, mapOf((x) => 25 / ((x === 1 ? 5 : 100) + px)), "disparity");
    assertAlmostEquals(found.epe!, px, 1e-4);
    return found.d1All;
  };
  assertEquals([by(2.9), by(3.1), by(5.1)], [0, 0.5, 1]);
});

Deno.test("sparse depths allow no metrics of edges and clouds", () => {
  assertEquals(extraMetrics(truthOf((x, y) => (x + y) % 2 ? 10 : 0), mapOf(() => 10), "depth"), {});
});

Deno.test("edges are as far apart as a step was moved, and a missing one costs 10 px", () => {
  const step = (at: number) => (x: number) => x < at ? 10 : 20, truth = truthOf(step(30));
  const { edgeAccuracy, edgeCompleteness } = extraMetrics(truth, mapOf(step(33)));
  assertAlmostEquals(edgeAccuracy!, 3, 0.2);
  assertAlmostEquals(edgeCompleteness!, 3, 0.2);
  assertEquals(extraMetrics(truth, mapOf(() => 10)).edgeCompleteness, 10);
});

Deno.test("F-score and Chamfer distance are those that all pairs of points give", () => {
  const random = new Random(5), noise = Array.from({ length: area }, () => random.normal(0, 0.03));
  const depth = (x: number, y: number) => y < 4 ? 90 : 3 + 20 / (1 + y) + 0.2 * Math.sin(x / 5); // the sky does not count
  const predicted = (x: number, y: number) => depth(x, y) * (1 + noise[y * width + x]);
  const truth = truthOf(depth), map = mapOf(predicted), found = extraMetrics(truth, map);
  const cloud = (z: (x: number, y: number) => number) => {
    const points: (readonly [number, number, number])[] = [];
    for (let y = 4; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const d = z(x, y);
        points.push([(x - centerPx.x) / focalPx * d, (y - centerPx.y) / focalPx * d, d]);
      }
    }
    return points;
  };
  const a = cloud(predicted), b = cloud(depth);
  const distances = (from: typeof a, to: typeof a) =>
    from.map((p) => Math.min(...to.map((q) => Math.hypot(p[0] - q[0], p[1] - q[1], p[2] - q[2]))));
  const mean = (list: number[]) => list.reduce((sum, d) => sum + d, 0) / list.length;
  const to = distances(a, b), back = distances(b, a);
  assertAlmostEquals(found.chamfer!, mean(to) + mean(back), 1e-4);
  const precision = mean(to.map((d) => Number(d <= 0.1))), recall = mean(back.map((d) => Number(d <= 0.1)));
  assertAlmostEquals(found.precision!, precision, 2e-3);
  assertAlmostEquals(found.recall!, recall, 2e-3);
  assert(precision > 0.2 && precision < 0.9, String(precision));
  assertAlmostEquals(found.fScore!, 2 * precision * recall / (precision + recall), 2e-3);
  const same = extraMetrics(truth, mapOf(depth));
  assertAlmostEquals(same.chamfer!, 0, 1e-4);
  assertEquals(same.fScore, 1);
});
