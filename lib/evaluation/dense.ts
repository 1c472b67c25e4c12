/**
 * Metrics beyond the field's seven, where the truth allows them: those of stereo benchmarks where it is a disparity map;
 * of depth edges and of the point cloud where every pixel's depth is known.
 *
 * @module
 */
import type { FloatMap } from "../data/image.ts";
import { resizeMap } from "../data/resize.ts";
import { disparityFromDepth } from "../geometry/camera.ts";
import { type Truth, truthMap } from "./truth.ts";

/** Metrics that depend on the kind of truth; each is absent where it cannot be measured. */
export interface ExtraMetrics {
  /** End-point error: mean |predicted − true disparity|, px of the stored image. */
  readonly epe?: number;
  /** Fraction of pixels whose disparity is wrong by ≥ 3 px and ≥ 5 % (KITTI stereo 2015's D1-all). */
  readonly d1All?: number;
  /** Mean distance of predicted depth edges to the nearest true one, of those within 10 px, px (Koch et al. 2018). */
  readonly edgeAccuracy?: number;
  /** Mean distance of true depth edges to the nearest predicted one, at most 10 px each, px. */
  readonly edgeCompleteness?: number;
  /** Fraction of predicted points within 0.1 m of a true one (Örnek et al. 2022). */
  readonly precision?: number;
  /** Fraction of true points within 0.1 m of a predicted one. */
  readonly recall?: number;
  /** Harmonic mean of precision and recall. */
  readonly fScore?: number;
  /** Mean distance of predicted points to the nearest true one, plus that of true points to the nearest predicted one, m. */
  readonly chamfer?: number;
}

/** Depths are clamped to these for edges and point clouds, m. */
const NEAREST = 1e-3, FARTHEST = 80;
/** Share of the pixels whose depth must be known for edges and point clouds to mean something. */
const DENSE = 0.6;

/**
 * The metrics that a frame's truth allows, over the whole image.
 *
 * @param map The prediction, fraction of the image width, at any resolution.
 * @param kind What the truth is: a disparity map, or depths, which are dense or sparse.
 */
export function extraMetrics(truth: Truth, map: FloatMap, kind?: "disparity" | "depth"): ExtraMetrics {
  const { imageSize } = truth.camera, { width, height } = imageSize;
  if (kind === "disparity") return disparityErrors(truth, resizeMap(map, imageSize));
  if (truth.depths.length < DENSE * width * height) return {};
  const disparity = resizeMap(map, imageSize);
  const clamp = (depth: number) => Math.min(FARTHEST, Math.max(NEAREST, depth));
  const reach = disparityFromDepth(1, truth.camera);
  const predicted = disparity.data.map((d) => clamp(reach / d));
  // What is beyond the map's range, the sky, is as far as can be.
  const known = truthMap(truth).data, actual = known.map((depth) => depth > 0 ? clamp(depth) : FARTHEST);
  return {
    ...edgeDistances(depthEdges(predicted, width), depthEdges(actual, width), width),
    ...cloudScores(predicted, actual, known, truth),
    chamfer: chamferDistance(
      ...[predicted, actual].map((depth) => cloudOf(depth, known, truth)) as [Cloud, Cloud],
    ),
  };
}

function disparityErrors({ camera, xs, ys, depths }: Truth, { width, data }: FloatMap): ExtraMetrics {
  let sum = 0, bad = 0;
  for (let i = 0; i < depths.length; i++) {
    const actual = disparityFromDepth(depths[i], camera) * width;
    const error = Math.abs(data[ys[i] * width + xs[i]] * width - actual);
    sum += error;
    if (error >= 3 && error >= 0.05 * actual) bad++;
  }
  return { epe: sum / depths.length, d1All: bad / depths.length };
}

/** Change of ln depth per px above which a ridge of the gradient is an edge. */
const EDGE = 0.1;
/** A Gaussian of σ = 1 px. */
const BLUR = [-2, -1, 0, 1, 2].map((x) => Math.exp(-x * x / 2));

/**
 * Edges of a depth map, as Canny finds them in its logarithm: ridges of the gradient, after a blur of 1 px.
 *
 * @param depth [height, width], m, > 0.
 * @returns Indices of the pixels on an edge.
 */
function depthEdges(depth: Float32Array, width: number): Int32Array {
  const height = depth.length / width, at = (x: number, y: number) => y * width + x;
  const total = BLUR.reduce((sum, weight) => sum + weight, 0);
  let log = depth.map(Math.log);
  for (const [dx, dy] of [[1, 0], [0, 1]]) {
    const out = new Float32Array(log.length);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        let sum = 0;
        for (let k = -2; k <= 2; k++) {
          const u = Math.min(width - 1, Math.max(0, x + k * dx)),
            v = Math.min(height - 1, Math.max(0, y + k * dy));
          sum += BLUR[k + 2] * log[at(u, v)];
        }
        out[at(x, y)] = sum / total;
      }
    }
    log = out;
  }
  const gx = new Float32Array(log.length),
    gy = new Float32Array(log.length),
    g = new Float32Array(log.length);
  for (let y = 1; y < height - 1; y++) {
    for (let x = 1; x < width - 1; x++) {
      const i = at(x, y);
      gx[i] = (log[i + 1] - log[i - 1]) / 2;
      gy[i] = (log[i + width] - log[i - width]) / 2;
      g[i] = Math.hypot(gx[i], gy[i]);
    }
  }
  const edges: number[] = [];
  for (let i = width; i < log.length - width; i++) {
    if (g[i] < EDGE) continue;
    // The neighbors across the edge, in the nearest of eight directions.
    const dx = Math.round(gx[i] / g[i] * 1.2), dy = Math.round(gy[i] / g[i] * 1.2), across = dy * width + dx;
    if (g[i] > g[i - across] && g[i] >= g[i + across]) edges.push(i);
  }
  return Int32Array.from(edges);
}

/** Edges farther away than this are not the same edge, px. */
const NEAR = 10;
/** Offsets within that distance, the nearest first. */
const DISC = Array.from({ length: (2 * NEAR + 1) ** 2 }, (_, i) => {
  const dx = i % (2 * NEAR + 1) - NEAR, dy = Math.floor(i / (2 * NEAR + 1)) - NEAR;
  return { dx, dy, distance: Math.hypot(dx, dy) };
}).filter(({ distance }) => distance < NEAR).sort((a, b) => a.distance - b.distance);

function edgeDistances(predicted: Int32Array, actual: Int32Array, width: number): ExtraMetrics {
  if (actual.length === 0) return {};
  const distances = (from: Int32Array, to: Int32Array) => {
    const there = new Set(to);
    return Array.from(from, (i) => {
      const x = i % width;
      const near = DISC.find(({ dx, dy }) => x + dx >= 0 && x + dx < width && there.has(i + dy * width + dx));
      return near?.distance ?? NEAR;
    });
  };
  const mean = (values: readonly number[]) => values.reduce((sum, v) => sum + v, 0) / values.length;
  const close = distances(predicted, actual).filter((distance) => distance < NEAR);
  return {
    edgeAccuracy: close.length ? mean(close) : NEAR,
    edgeCompleteness: mean(distances(actual, predicted)),
  };
}

/** A point closer than this to one of the other cloud is right, m. */
const TOLERANCE = 0.1;

/**
 * Compares the clouds of the pixels whose depth is known and below the farthest. A point's partner can only lie at a
 * pixel around its own: no tree of neighbors is needed.
 */
function cloudScores(
  predicted: Float32Array,
  actual: Float32Array,
  known: Float32Array,
  { camera: { imageSize: { width, height }, focalPx, centerPx } }: Truth,
): ExtraMetrics {
  const counts = known.map((depth) => depth > 0 && depth < FARTHEST ? 1 : 0);
  const within = (from: Float32Array, to: Float32Array) => {
    let hits = 0, points = 0;
    for (let y = 0, i = 0; y < height; y++) {
      const ry = (y - centerPx.y) / focalPx;
      for (let x = 0; x < width; x++, i++) {
        if (!counts[i]) continue;
        points++;
        const z = from[i], rx = (x - centerPx.x) / focalPx, px = rx * z, py = ry * z;
        const isNear = (u: number, v: number, j: number) => {
          const w = to[j], dx = (u - centerPx.x) / focalPx * w - px, dy = (v - centerPx.y) / focalPx * w - py;
          return counts[j] && dx * dx + dy * dy + (w - z) * (w - z) <= TOLERANCE * TOLERANCE;
        };
        if (isNear(x, y, i)) {
          hits++;
          continue;
        }
        const spread = focalPx * TOLERANCE / Math.max(TOLERANCE, z - TOLERANCE);
        const du = Math.ceil(spread * (1 + Math.abs(rx))), dv = Math.ceil(spread * (1 + Math.abs(ry)));
        const top = Math.max(0, y - dv), bottom = Math.min(height - 1, y + dv);
        const left = Math.max(0, x - du), right = Math.min(width - 1, x + du);
        search: for (let v = top; v <= bottom; v++) {
          for (let u = left; u <= right; u++) {
            if (!isNear(u, v, v * width + u)) continue;
            hits++;
            break search;
          }
        }
      }
    }
    return points ? hits / points : NaN;
  };
  const precision = within(predicted, actual), recall = within(actual, predicted);
  if (Number.isNaN(precision)) return {};
  return {
    precision,
    recall,
    fScore: precision + recall > 0 ? 2 * precision * recall / (precision + recall) : 0,
  };
}

/** Points, three numbers each, m. */
type Cloud = Float32Array;

/** The points of the pixels whose depth is known and below the farthest. */
function cloudOf(
  depth: Float32Array,
  known: Float32Array,
  { camera: { imageSize: { width }, focalPx, centerPx } }: Truth,
): Cloud {
  const points: number[] = [];
  for (let i = 0; i < depth.length; i++) {
    const z = depth[i];
    if (!(known[i] > 0 && known[i] < FARTHEST)) continue;
    points.push(
      (i % width - centerPx.x) / focalPx * z,
      (Math.floor(i / width) - centerPx.y) / focalPx * z,
      z,
    );
  }
  return Float32Array.from(points);
}

/** Points whose nearest neighbor is looked for, spread evenly over a cloud: their mean hardly differs from that of all. */
const QUERIES = 10_000;

function chamferDistance(a: Cloud, b: Cloud): number {
  const mean = (from: Cloud, to: Cloud) => {
    const nearest = nearestIn(to), step = Math.max(1, Math.floor(from.length / 3 / QUERIES));
    let sum = 0, count = 0;
    for (let i = 0; i < from.length; i += 3 * step, count++) {
      sum += nearest(from[i], from[i + 1], from[i + 2]);
    }
    return sum / count;
  };
  return mean(a, b) + mean(b, a);
}

/** Points in a leaf of the tree. */
const LEAF = 12;

/** A k-d tree: places in the cloud, divided in the middle again and again, and the box around each part's points. */
interface Tree {
  readonly order: Int32Array;
  /** Six numbers for each node, lowest and highest x, y, z; the parts of node n are 2n + 1 and 2n + 2. */
  readonly boxes: Float32Array;
}

function treeOf(cloud: Cloud): Tree {
  const order = Int32Array.from({ length: cloud.length / 3 }, (_, i) => 3 * i);
  const levels = Math.max(0, Math.ceil(Math.log2(order.length / LEAF))) + 1;
  const boxes = new Float32Array(6 * 2 ** (levels + 1));
  const build = (node: number, from: number, to: number) => {
    let widest = 0, width = -1;
    for (let axis = 0; axis < 3; axis++) {
      let low = Infinity, high = -Infinity;
      for (let i = from; i < to; i++) {
        const value = cloud[order[i] + axis];
        if (value < low) low = value;
        if (value > high) high = value;
      }
      boxes[6 * node + axis] = low;
      boxes[6 * node + 3 + axis] = high;
      if (high - low > width) widest = axis, width = high - low;
    }
    if (to - from <= LEAF) return;
    const middle = (from + to) >> 1;
    select(cloud, order, widest, from, to, middle);
    build(2 * node + 1, from, middle);
    build(2 * node + 2, middle, to);
  };
  build(0, 0, order.length);
  return { order, boxes };
}

/** Hoare's selection: orders places so that by one axis none before the middle is larger and none after it smaller. */
function select(
  cloud: Cloud,
  order: Int32Array,
  axis: number,
  from: number,
  to: number,
  middle: number,
): void {
  for (let low = from, high = to - 1; low < high;) {
    const pivot = cloud[order[(low + high) >> 1] + axis];
    let i = low, j = high;
    while (i <= j) {
      while (cloud[order[i] + axis] < pivot) i++;
      while (cloud[order[j] + axis] > pivot) j--;
      if (i <= j) {
        const swapped = order[i];
        order[i++] = order[j];
        order[j--] = swapped;
      }
    }
    if (middle <= j) high = j;
    else if (middle >= i) low = i;
    else return;
  }
}

/** What tells the distance of any point to the nearest of a cloud. */
function nearestIn(cloud: Cloud): (x: number, y: number, z: number) => number {
  const { order, boxes } = treeOf(cloud);
  let x = 0, y = 0, z = 0, best = Infinity;
  const outside = (node: number) => {
    const at = 6 * node;
    const dx = Math.max(0, boxes[at] - x, x - boxes[at + 3]),
      dy = Math.max(0, boxes[at + 1] - y, y - boxes[at + 4]);
    const dz = Math.max(0, boxes[at + 2] - z, z - boxes[at + 5]);
    return dx * dx + dy * dy + dz * dz;
  };
  const search = (node: number, from: number, to: number) => {
    if (to - from <= LEAF) {
      for (let i = from; i < to; i++) {
        const at = order[i], dx = cloud[at] - x, dy = cloud[at + 1] - y, dz = cloud[at + 2] - z;
        best = Math.min(best, dx * dx + dy * dy + dz * dz);
      }
      return;
    }
    const middle = (from + to) >> 1, left = outside(2 * node + 1), right = outside(2 * node + 2);
    if (left < right) {
      if (left < best) search(2 * node + 1, from, middle);
      if (right < best) search(2 * node + 2, middle, to);
    } else {
      if (right < best) search(2 * node + 2, middle, to);
      if (left < best) search(2 * node + 1, from, middle);
    }
  };
  return (...point) => {
    [x, y, z] = point;
    best = Infinity;
    search(0, 0, order.length);
    return Math.sqrt(best);
  };
}
