/**
 * True depths of frames: LiDAR returns projected into the left image as the field does it, or a dense depth map; and
 * their mean over a training set, the baseline that sees no image.
 *
 * @module
 */
import { join } from "@std/path";
import { CyclopsError } from "../base/errors.ts";
import { fileError, fillFrom } from "../base/files.ts";
import { cityscapesCameraPath, cityscapesDisparityPath, readCityscapesDepth } from "../data/cityscapes.ts";
import {
  annotatedPaths,
  type Calibration,
  calibrationPaths,
  depthPath,
  type Frame,
  hasDepthMap,
  parseFrame,
  readCalibration,
  readDepthPng,
  readVelodyne,
  velodyneParts,
  velodynePath,
} from "../data/kitti.ts";
import { readManifestTruth } from "../data/manifest.ts";
import { folderLookup, listFiles, type StereoPair } from "../data/split.ts";
import type { FloatMap } from "../data/image.ts";
import type { ImageSize, StereoCamera } from "../geometry/camera.ts";

/** Points at or below this depth are ignored, predictions are clamped to it, m. */
export const MIN_DEPTH_M = 1e-3;

/** The sources of true depths. */
export const TRUTH_KINDS = {
  lidar: "LiDAR x (forward), nearest return",
  "lidar-z": "LiDAR z (along the camera's axis), nearest return",
  improved: "KITTI's annotated depth maps (improved LiDAR)",
  dense: "dense depth map",
  occ: "stereo 2015's disparities, occluded pixels included",
  noc: "stereo 2015's disparities, occluded pixels left out",
  cityscapes: "Cityscapes' disparity maps (semi-global matching)",
  make3d: "Make3D's laser distances, middle rows (2:1)",
} as const;

/** The source of true depths; a manifest's pairs have their own. */
export type TruthKind = keyof typeof TRUTH_KINDS;

/**
 * Truths whose benchmarks count every known pixel, however far, and clamp only the prediction: KITTI's annotated depth
 * maps and stereo 2015.
 */
export function isUncapped(kind: TruthKind): boolean {
  return kind === "improved" || kind === "occ" || kind === "noc";
}

/** Whether a frame has such a truth: KITTI has no annotated depth map of the first and last five frames of a drive. */
export function hasTruth({ left, truth }: StereoPair, kind: TruthKind): boolean {
  return kind !== "improved" || truth !== undefined || hasDepthMap(parseFrame(left));
}

/** True depths at some pixels of the left image, each at most once, in any order. */
export interface Truth {
  /** The left camera; its image size is the one that the pixels count in. */
  readonly camera: StereoCamera;
  /** Column of each point, px. */
  readonly xs: Uint16Array;
  /** Row of each point, px. */
  readonly ys: Uint16Array;
  /** Depth of each point, m, > 0. */
  readonly depths: Float32Array;
}

/** Adding and subtracting this rounds a double to an integer, halves to the even neighbor as numpy does. */
const TO_INTEGER = 1.5 * 2 ** 52;

/**
 * Depths of one image's pixels, all 0 between calls, and the pixels that are known, as they became so: allocating and
 * looking through an image for each scan would cost more than projecting it.
 */
let pixels = new Float32Array(0), order = { xs: new Uint16Array(0), ys: new Uint16Array(0) };

/**
 * Projects a laser scan into the left image with the rounding of KITTI's own tools, which every published number
 * shares: only points with x ≥ 0, pixel = round(projection) − 1 (the tools count from 1), the nearest return of a
 * pixel wins, and depth is the scanner's own x, not the camera's z.
 *
 * @param scan [points × 4]: x, y, z in m, reflectance.
 * @param axis Which depth is meant: the scanner's x, or the camera's z, 0.27 m less. @default "x"
 */
export function projectScan(scan: Float32Array, calibration: Calibration, axis: "x" | "z" = "x"): Truth {
  return projectParts([scan], calibration, axis);
}

/** As {@linkcode projectScan}; no two scans at a time. */
function projectParts(
  parts: Iterable<Float32Array>,
  calibration: Calibration,
  axis: "x" | "z",
): Truth {
  const { width, height } = calibration.imageSize;
  if (pixels.length < width * height) {
    pixels = new Float32Array(width * height);
    order = { xs: new Uint16Array(width * height), ys: new Uint16Array(width * height) };
  }
  let count = 0;
  try {
    for (const part of parts) count = putPoints(part, calibration, axis, count);
  } catch (error) {
    pixels.fill(0);
    throw error;
  }
  const xs = order.xs.slice(0, count), ys = order.ys.slice(0, count), depths = new Float32Array(count);
  const map = pixels, whole = Math.trunc(width);
  for (let n = 0; n < count; n++) {
    const pixel = Math.imul(ys[n], whole) + xs[n];
    depths[n] = map[pixel];
    map[pixel] = 0;
  }
  return { camera: calibration, xs, ys, depths };
}

/** Puts the nearest depths into `pixels`. @param count Pixels that are known already. @returns How many are now. */
function putPoints(
  points: Float32Array,
  { imageSize: { width, height }, velodyneToImage }: Calibration,
  axis: "x" | "z",
  count: number,
): number {
  const [a, b, c, d, e, f, g, h, i, j, k, l] = velodyneToImage;
  const map = pixels, { xs, ys } = order, whole = Math.trunc(width);
  for (let at = 0; at < points.length; at += 4) {
    const x = points[at];
    if (!(x >= 0)) continue;
    const y = points[at + 1], z = points[at + 2];
    const depth = i * x + j * y + k * z + l, across = a * x + b * y + c * z + d;
    // Most points ahead lie beside the image: a division is saved, and the half pixel of rounding is well inside.
    if (depth > 0 && !(across >= 0 && across <= (width + 1) * depth)) continue;
    const u = across / depth + TO_INTEGER - TO_INTEGER - 1;
    if (!(u >= 0 && u < width)) continue;
    const v = (e * x + f * y + g * z + h) / depth + TO_INTEGER - TO_INTEGER - 1;
    if (!(v >= 0 && v < height)) continue;
    // Integers, as far as the compiler is concerned: indices that are doubles are several times slower.
    const column = u | 0, row = v | 0, pixel = Math.imul(row, whole) + column;
    const before = map[pixel], value = axis === "x" ? x : depth;
    if (!(value > 0)) continue;
    if (before === 0) {
      xs[count] = column;
      ys[count++] = row;
      map[pixel] = value;
    } else if (value < before) map[pixel] = value;
  }
  return count;
}

/** A scan without a point in the image would otherwise only make the average one over fewer frames. */
function uselessScan(path: string, scan: Float32Array): CyclopsError {
  const points = scan.length / 4;
  let numbers = 0, ahead = 0;
  for (let at = 0; at < scan.length; at += 4) {
    if (Number.isFinite(scan[at] + scan[at + 1] + scan[at + 2])) numbers++;
    if (scan[at] >= 0) ahead++;
  }
  const found = numbers === 0
    ? "all are NaN or infinite"
    : `${numbers} are numbers, ${ahead} of them lie ahead, none in the image`;
  return new CyclopsError(
    `Cannot use the Velodyne scan ${path}: of its ${points} points ${found}, expected some in the left image ` +
      "(is it this frame's scan, and this date's calibration?): fetch it again",
  );
}

/** Keeps the pixels whose depth is known. */
function gather(map: Float32Array, { width, height }: ImageSize, camera: StereoCamera): Truth {
  let count = 0;
  for (let p = 0; p < map.length; p++) if (map[p] > 0) count++;
  const xs = new Uint16Array(count), ys = new Uint16Array(count), depths = new Float32Array(count);
  for (let y = 0, p = 0, n = 0; y < height; y++) {
    for (let x = 0; x < width; x++, p++) {
      if (!(map[p] > 0)) continue;
      xs[n] = x;
      ys[n] = y;
      depths[n++] = map[p];
    }
  }
  return { camera, xs, ys, depths };
}

/**
 * Reads the true depths of a frame.
 *
 * @param root The data's root folder.
 * @param pair Names the frame; its images are not read.
 * @throws {CyclopsError} When scan, depth map or calibration is missing or damaged.
 */
export async function readTruth(root: string, pair: StereoPair, kind: TruthKind): Promise<Truth> {
  return await truthReader(root, kind)(pair);
}

/**
 * A reader of many frames that reads each calibration once; see {@linkcode readTruth}.
 *
 * @param options.keep Keep the points in memory, about 200 KB per frame, for repeated evaluation of the same frames.
 * @default false
 */
export function truthReader(
  root: string,
  kind: TruthKind,
  options: { readonly keep?: boolean } = {},
): (pair: StereoPair) => Promise<Truth> {
  const calibrations = new Map<string, Calibration>(),
    kept = new Map<string, Truth>(),
    has = folderLookup(root);
  const read = async (pair: StereoPair): Promise<Truth> => {
    const { camera, truth } = pair;
    if (camera && truth) {
      const found = await readManifestTruth(root, { ...pair, camera, truth: truthFile(truth, kind) });
      return gather(found.depth.data, found.depth, found.camera);
    }
    if (camera && pair.packed) return await readPoints(pair.root ?? root, pair, camera, kind);
    if (kind === "cityscapes" && camera) {
      return gather((await readCityscapesDepth(root, pair.left, camera)).data, camera.imageSize, camera);
    }
    const frame = parseFrame(pair.left), { date } = frame;
    const calibration = calibrations.get(date) ?? await readCalibration(root, date);
    calibrations.set(date, calibration);
    if (kind === "lidar" || kind === "lidar-z") {
      const path = join(root, velodynePath(frame));
      const truth = projectParts(velodyneParts(path), calibration, kind === "lidar" ? "x" : "z");
      if (truth.depths.length === 0) throw uselessScan(path, await readVelodyne(path));
      return truth;
    }
    const path = join(root, await depthFile(has, frame, kind) ?? depthPath(frame, 2));
    const map = await readDepthPng(path);
    const { width, height } = calibration.imageSize;
    if (map.width !== width || map.height !== height) {
      throw new CyclopsError(
        `Cannot use the depth map ${path}: it has ${map.width}×${map.height} px, expected ${width}×${height} as in ` +
          `the calibration of ${date}`,
      );
    }
    return gather(map.data, map, calibration);
  };
  return async (pair) => {
    const truth = kept.get(pair.left) ?? await read(pair);
    if (options.keep) kept.set(pair.left, truth);
    return truth;
  };
}

/** Points as prepared data keep them: their number, columns, rows, depths; 4, 2, 2 and 4 bytes each. */
export function encodePoints({ xs, ys, depths }: Truth): Uint8Array {
  const count = depths.length, buffer = new ArrayBuffer(4 + 8 * count);
  new Uint32Array(buffer, 0, 1)[0] = count;
  new Uint16Array(buffer, 4, count).set(xs);
  new Uint16Array(buffer, 4 + 2 * count, count).set(ys);
  new Float32Array(buffer, 4 + 4 * count, count).set(depths);
  return new Uint8Array(buffer);
}

async function readPoints(
  root: string,
  { left, packed }: StereoPair,
  camera: StereoCamera,
  kind: TruthKind,
): Promise<Truth> {
  const points = packed?.points;
  if (kind !== "lidar" || !points) {
    throw new CyclopsError(
      `Cannot evaluate against ${kind} of ${left}: prepared data hold ${
        points ? "LiDAR x alone" : "no scan of it"
      }, ` +
        "evaluate on the data that they were made from",
    );
  }
  const path = join(root, points.path);
  try {
    using file = await Deno.open(path);
    const read = async (offset: number, bytes: number) => {
      const buffer = new Uint8Array(bytes);
      await file.seek(offset, Deno.SeekMode.Start);
      if (await fillFrom(file, buffer) < bytes) {
        throw new CyclopsError(`Cannot read the points ${path}: it is truncated`);
      }
      return buffer.buffer;
    };
    const [count] = new Uint32Array(await read(points.offset, 4)),
      buffer = await read(points.offset + 4, 8 * count);
    return {
      camera,
      xs: new Uint16Array(buffer, 0, count),
      ys: new Uint16Array(buffer, 2 * count, count),
      depths: new Float32Array(buffer, 4 * count, count),
    };
  } catch (error) {
    throw error instanceof CyclopsError ? error : fileError("read the points", path, error);
  }
}

/** The file of a manifest's or stereo 2015's truth. */
function truthFile(
  truth: NonNullable<StereoPair["truth"]>,
  kind: TruthKind,
): NonNullable<StereoPair["truth"]> {
  return kind === "noc" ? { ...truth, path: truth.path.replace("/disp_occ_0/", "/disp_noc_0/") } : truth;
}

/** A frame's depth map; `undefined` if it is absent. */
async function depthFile(
  has: (path: string) => Promise<boolean>,
  frame: Frame,
  kind: TruthKind,
): Promise<string | undefined> {
  for (const path of kind === "improved" ? annotatedPaths(frame) : [depthPath(frame, 2)]) {
    if (await has(path)) return path;
  }
}

/**
 * Checks that scans or depth maps and calibrations of all frames exist, before long work begins.
 *
 * @throws {CyclopsError} When files are missing; the message says how many and lists them.
 */
export async function checkTruth(
  root: string,
  pairs: readonly StereoPair[],
  kind: TruthKind,
): Promise<void> {
  const has = folderLookup(root);
  const needed = new Set<string>();
  for (const pair of pairs) {
    const { left, truth } = pair;
    if (truth) needed.add(truthFile(truth, kind).path);
    else if (pair.packed) needed.add(pair.packed.points?.path ?? velodynePath(parseFrame(left)));
    else if (kind === "cityscapes") needed.add(cityscapesCameraPath(left)).add(cityscapesDisparityPath(left));
    else if (hasTruth(pair, kind)) {
      const frame = parseFrame(left), { camToCam, veloToCam } = calibrationPaths(frame.date);
      const scan = kind === "lidar" || kind === "lidar-z";
      const file = scan ? velodynePath(frame) : await depthFile(has, frame, kind) ?? depthPath(frame, 2);
      needed.add(camToCam).add(veloToCam).add(file);
    }
  }
  const absent: string[] = [];
  for (const path of needed) if (!await has(path)) absent.push(path);
  if (absent.length) {
    throw new CyclopsError(
      `Cannot evaluate against ${
        kind.startsWith("lidar") ? "laser scans" : "depth maps"
      }: ${absent.length} of ` +
        `${needed.size} files are missing under ${root}\n${listFiles(absent)}`,
    );
  }
}

/** True depths as a map of the whole image, m, 0 where unknown. */
export function truthMap({ camera, xs, ys, depths }: Truth): FloatMap {
  const { width, height } = camera.imageSize;
  const data = new Float32Array(width * height);
  for (let i = 0; i < depths.length; i++) data[ys[i] * width + xs[i]] = depths[i];
  return { width, height, data };
}

/**
 * The mean depth of the training set at each pixel ("train set mean" in Eigen et al. 2014), as a disparity map that the
 * evaluator accepts for every frame: what a network learned is its gain over this. Each known depth counts in the cell
 * of the map that contains its pixel; a cell without any (the sky, above the scanner's beams) takes the value of its
 * nearest neighbor. Depth is converted with the mean camera of the training frames: KITTI's dates differ by 0.3 %.
 *
 * @param input.root The data's root folder.
 * @param input.pairs The training frames.
 * @param input.size Size of the map, px: the network's, for a fair comparison.
 * @param input.truth Source of true depths. @default "lidar"
 * @param input.capM Depths at or beyond this are ignored, as in the protocol, m. @default 80
 * @returns Fraction of the image width.
 * @throws {CyclopsError} When a file is missing or damaged, or no depth is known at all.
 *
 * @example
 * ```ts ignore
 * const mean = await trainSetMean({ root, pairs: train, size: { width: 416, height: 128 } });
 * const baseline = await evaluate({ root, pairs: test, disparities: mean, crop: "garg", capM: 80 });
 * ```
 */
export async function trainSetMean(input: {
  readonly root: string;
  readonly pairs: readonly StereoPair[];
  readonly size: ImageSize;
  readonly truth?: TruthKind;
  readonly capM?: number;
}): Promise<FloatMap> {
  const { root, pairs, size: { width, height }, truth = "lidar", capM = 80 } = input;
  const read = truthReader(root, truth);
  const sums = new Float64Array(width * height), counts = new Uint32Array(width * height);
  let factors = 0;
  for (const pair of pairs) {
    const { camera, xs, ys, depths } = await read(pair);
    const sx = width / camera.imageSize.width, sy = height / camera.imageSize.height;
    for (let p = 0; p < depths.length; p++) {
      if (!(depths[p] > MIN_DEPTH_M && depths[p] < capM)) continue;
      const cell = Math.floor((ys[p] + 0.5) * sy) * width + Math.floor((xs[p] + 0.5) * sx);
      sums[cell] += depths[p];
      counts[cell]++;
    }
    factors += camera.focalPx * camera.baselineM / camera.imageSize.width;
  }
  const known = [...counts.keys()].filter((cell) => counts[cell] > 0);
  if (known.length === 0) {
    throw new CyclopsError(
      `Cannot average the training set: none of its ${pairs.length} frames has a known depth below ${capM} m`,
    );
  }
  const factor = factors / pairs.length;
  const data = new Float32Array(width * height);
  for (const cell of known) data[cell] = factor / (sums[cell] / counts[cell]);
  // Ring by ring, each empty cell takes the value of the nearest known one.
  const queue = [...known];
  for (const cell of queue) {
    const x = cell % width;
    for (const next of [cell - width, cell + width, x > 0 ? cell - 1 : -1, x < width - 1 ? cell + 1 : -1]) {
      if (next < 0 || next >= data.length || data[next] !== 0) continue;
      data[next] = data[cell];
      queue.push(next);
    }
  }
  return { width, height, data };
}
