/**
 * Your own photographs and stereo pairs.
 *
 * @module
 */
import { join } from "@std/path";
import { exists } from "../base/files.ts";
import type { FloatMap } from "../data/image.ts";
import { imageSize, readGray16, readRgb, type RgbImage } from "../data/image.ts";
import { readCalibration } from "../data/kitti.ts";
import { type ImageSize, resizeCamera, type StereoCamera } from "../geometry/camera.ts";
import { openLessonData, PROJECT, readLessonFrame } from "./data.ts";

/** Files of one's own, and what is known of the camera. */
export interface OwnFiles {
  /** Left image of a rectified pair. */
  readonly left?: string;
  /** Right image. */
  readonly right?: string;
  /** Focal length, px of the file; guessed where it is not known. */
  readonly focalPx?: number;
  /** Distance of the two cameras, m; guessed where it is not known. */
  readonly baselineM?: number;
}

/** A stereo pair with what is known about it. */
export interface OwnPair {
  /** Where it comes from, in words. */
  readonly source: string;
  /** The left view. */
  readonly left: RgbImage;
  /** The right view. */
  readonly right: RgbImage;
  /** The camera of images of this size. */
  readonly camera: StereoCamera;
  /** True disparity of the left view, fraction of width, NaN where unknown. */
  readonly truth?: FloatMap;
}

/**
 * A camera nobody has calibrated: the angle of view of a usual phone, and the baseline of the street's cars.
 *
 * @param size px.
 * @param fovDegrees Horizontal angle of view.
 */
export function guessCamera(size: ImageSize, fovDegrees = 68, baselineM = 0.54): StereoCamera {
  const focalPx = size.width / 2 / Math.tan(fovDegrees / 2 * Math.PI / 180);
  const centerPx = { x: (size.width - 1) / 2, y: (size.height - 1) / 2 };
  return { imageSize: size, focalPx, centerPx, baselineM };
}

/** The size nearest to a file's proportions at which matching works: sides are multiples of 8 px. */
export function lessonSize({ width, height }: ImageSize, wanted = 416): ImageSize {
  return { width: wanted, height: Math.max(32, Math.round(wanted * height / width / 8) * 8) };
}

/**
 * Reads a pair of one's own; without one a real pair of KITTI Stereo 2015 where it is found (KITTI_SAMPLE), else one of
 * the street.
 *
 * @throws {CyclopsError} When a file cannot be read.
 */
export async function readOwnPair({ left, right, focalPx, baselineM }: OwnFiles = {}): Promise<OwnPair> {
  if (left && right) {
    const full = await imageSize(left);
    const guess = guessCamera(full);
    const camera = { ...guess, focalPx: focalPx ?? guess.focalPx, baselineM: baselineM ?? guess.baselineM };
    const known = focalPx && baselineM ? "calibrated" : "camera guessed: metres are rough";
    return await readPair({ left, right }, camera, `${left} (${known})`);
  }
  const sample = Deno.env.get("KITTI_SAMPLE") || join(PROJECT, "../shared/kitti-sample");
  const file = (folder: string) => join(sample, "stereo2015", folder, "000046_10.png");
  if (await exists(file("image_2"))) {
    // The benchmark's cameras are those of the raw drives.
    const camera = await readCalibration(join(sample, "raw"), "2011_09_26");
    const pair = await readPair(
      { left: file("image_2"), right: file("image_3") },
      camera,
      "KITTI Stereo 2015",
    );
    return { ...pair, truth: await readDisparityPng(file("disp_occ_0"), pair.camera.imageSize) };
  }
  const { test } = await openLessonData();
  const frame = await readLessonFrame(test, 14);
  return { ...frame, source: "a street, drawn", truth: frame.disparity };
}

async function readPair(
  files: { readonly left: string; readonly right: string },
  camera: StereoCamera,
  source: string,
): Promise<OwnPair> {
  const size = lessonSize(await imageSize(files.left));
  const [left, right] = await Promise.all([readRgb(files.left, size), readRgb(files.right, size)]);
  return { source, left, right, camera: resizeCamera(camera, size) };
}

/** A disparity map as KITTI's stereo benchmarks store it: px · 256, 0 where unknown; thinned out to a smaller size. */
async function readDisparityPng(path: string, size: ImageSize): Promise<FloatMap> {
  const map = await readGray16(path);
  const data = Float32Array.from({ length: size.width * size.height }, (_, i) => {
    const x = Math.floor((i % size.width + 0.5) * map.width / size.width);
    const y = Math.floor((Math.floor(i / size.width) + 0.5) * map.height / size.height);
    const value = map.data[y * map.width + x];
    return value === 0 ? NaN : value / 256 / map.width;
  });
  return { ...size, data };
}
