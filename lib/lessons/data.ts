/**
 * Data that notebooks work on: a small set of street scenes, made at the first use, or KITTI raw where KITTI_DIR names it.
 *
 * @module
 */
import { join } from "@std/path";
import { exists } from "../base/files.ts";
import { Progress } from "../base/progress.ts";
import type { FloatMap } from "../data/image.ts";
import { fillSparse } from "../charts/depth.ts";
import { openDataset, type StereoDataset } from "../data/dataset.ts";
import { readRgb, type RgbImage } from "../data/image.ts";
import { type Calibration, depthPath, parseFrame, readCalibration, readDepthPng } from "../data/kitti.ts";
import { readTruth, type Truth, type TruthKind } from "../evaluation/truth.ts";
import { depthFromDisparity, disparityFromDepth, type ImageSize, resizeCamera } from "../geometry/camera.ts";
import { generateStreet } from "../street/mod.ts";

/** The project's folder. */
export const PROJECT: string = join(import.meta.dirname!, "../..");

/** Size at which notebooks look at images, px. */
export const LESSON_SIZE: ImageSize = { width: 416, height: 128 };

/** Data of a notebook. */
export interface LessonData {
  /** Drawn or real. */
  readonly kind: "street" | "kitti";
  /** Frames to learn from. */
  readonly train: StereoDataset;
  /** Frames of other drives, to look at what was learned. */
  readonly test: StereoDataset;
  /** The better of the true depths there are: of every pixel for streets, laser points for KITTI. */
  readonly truth: TruthKind;
  /** How it is split, as `openDataset` takes it. */
  readonly split: string;
}

/** Folder of KITTI raw: KITTI_DIR, where it is set. */
export function kittiRoot(): string | undefined {
  return Deno.env.get("KITTI_DIR") || undefined;
}

/**
 * Opens the data; the street scenes (180 pairs, about 160 MB in `data/street-notebooks`) are made at the first use, and
 * anew when the streets have changed. Of
 * KITTI it takes the pairs that KITTI_DIR/split.txt lists, or else the Eigen split.
 *
 * @throws {CyclopsError} When KITTI_DIR lacks files of its split.
 */
export async function openLessonData(): Promise<LessonData> {
  const root = kittiRoot();
  if (root) {
    const list = join(root, "split.txt");
    const split = await exists(list) ? list : "eigen";
    const [train, test] = [
      await openDataset({ data: root, split, part: "train" }),
      await openDataset({ data: root, split, part: "test" }),
    ];
    return { kind: "kitti", train, test, truth: "lidar", split };
  }
  const out = join(PROJECT, "data/street-notebooks");
  let progress: Progress | undefined;
  const { rendered } = await generateStreet({ out, drives: 90, frames: 2, seed: 5, overwrite: true }, {
    onProgress: (done, total) => {
      progress ??= new Progress({ label: "street", total, unit: "pairs" });
      progress.update(done);
    },
  });
  progress?.finish(`street: ${rendered} stereo pairs made`);
  const [train, test] = [
    await openDataset({ data: out, part: "train" }),
    await openDataset({ data: out, part: "test" }),
  ];
  return { kind: "street", train, test, truth: "dense", split: "street" };
}

/** A stereo pair with all that is known about it, at one size. */
export interface LessonFrame {
  /** Its place in the data set, e.g. "2030_01_01_drive_0003_sync 4". */
  readonly name: string;
  /** The left view. */
  readonly left: RgbImage;
  /** The right view. */
  readonly right: RgbImage;
  /** The camera of images of this size. */
  readonly camera: Calibration;
  /** True depth of the left view, m, 0 where unknown: every pixel of a street, laser points of KITTI. */
  readonly depth: FloatMap;
  /** True disparity of the left view, fraction of width, NaN where unknown. Sky has 0. */
  readonly disparity: FloatMap;
  /** True disparity of the right view; streets only. */
  readonly rightDisparity?: FloatMap;
  /** Laser points in the left view, at the image's own size, m. */
  readonly lidar: Truth;
}

/**
 * Reads a frame.
 *
 * @param index Position in the data set.
 * @param size px.
 * @throws {CyclopsError} When one of its files cannot be read.
 */
export async function readLessonFrame(
  dataset: StereoDataset,
  index: number,
  size: ImageSize = LESSON_SIZE,
): Promise<LessonFrame> {
  const { root, pairs } = dataset;
  const pair = pairs[index];
  const frame = parseFrame(pair.left);
  const [left, right, lidar, calibration] = await Promise.all([
    readRgb(join(root, pair.left), size),
    readRgb(join(root, pair.right), size),
    readTruth(root, pair, "lidar"),
    readCalibration(root, frame.date),
  ]);
  const camera = resizeCamera(calibration, size);
  const dense = await exists(join(root, depthPath(frame, 2)));
  const depth = dense ? await readDepth(join(root, depthPath(frame, 2)), size) : sparseDepth(lidar, size);
  const rightPath = join(root, depthPath(frame, 3));
  const rightDepth = dense && await exists(rightPath) ? await readDepth(rightPath, size) : undefined;
  return {
    name: `${frame.date}_drive_${frame.drive}_sync ${frame.index}`,
    left,
    right,
    camera,
    depth,
    disparity: disparityOf(depth, camera, dense),
    rightDisparity: rightDepth && disparityOf(rightDepth, camera, dense),
    lidar,
  };
}

async function readDepth(path: string, size: ImageSize): Promise<FloatMap> {
  const map = await readDepthPng(path);
  if (map.width === size.width && map.height === size.height) return map;
  // The nearest pixel: a mean of near and far would be the depth of nothing.
  const data = Float32Array.from({ length: size.width * size.height }, (_, i) => {
    const x = Math.floor((i % size.width + 0.5) * map.width / size.width);
    const y = Math.floor((Math.floor(i / size.width) + 0.5) * map.height / size.height);
    return map.data[y * map.width + x];
  });
  return { ...size, data };
}

function sparseDepth({ camera, xs, ys, depths }: Truth, size: ImageSize): FloatMap {
  const { width, height } = camera.imageSize;
  const data = new Float32Array(width * height).fill(NaN);
  for (let i = 0; i < depths.length; i++) data[ys[i] * width + xs[i]] = depths[i];
  const filled = fillSparse({ width, height, data }, size);
  return { ...size, data: filled.data.map((depth) => depth > 0 ? depth : 0) };
}

/** Where a dense map has no depth there is sky, infinitely far away. */
function disparityOf(depth: FloatMap, camera: Calibration, dense: boolean): FloatMap {
  const unknown = dense ? 0 : NaN;
  const data = depth.data.map((metres) => metres > 0 ? disparityFromDepth(metres, camera) : unknown);
  return { ...depth, data };
}

/**
 * Mean |depth − true depth| / true depth over all pixels whose true depth is known and below 80 m.
 *
 * @param disparity Of the left view at the frame's size, fraction of width.
 */
export function absRel(
  disparity: FloatMap,
  { depth, camera }: Pick<LessonFrame, "depth" | "camera">,
): number {
  let sum = 0, count = 0;
  for (const [i, truth] of depth.data.entries()) {
    if (!(truth > 0 && truth < 80)) continue;
    const found = Math.min(80, Math.max(1e-3, depthFromDisparity(disparity.data[i], camera)));
    sum += Math.abs(found - truth) / truth;
    count++;
  }
  return sum / count;
}
