/**
 * The rectified stereo camera: converts disparity to depth and back.
 * Camera axes are KITTI's: x right, y down, z forward, in meters.
 *
 * @module
 */
import { UsageError } from "../base/errors.ts";

/** Width and height, px. */
export interface ImageSize {
  /** Columns, px. */
  readonly width: number;
  /** Rows, px. */
  readonly height: number;
}

/** A rectified stereo pair of pinhole cameras, described in the left one's frame. */
export interface StereoCamera {
  /** Size of the images that the focal length and the principal point refer to, px. */
  readonly imageSize: ImageSize;
  /** Focal length, px. */
  readonly focalPx: number;
  /** Principal point of the left image, px. */
  readonly centerPx: { readonly x: number; readonly y: number };
  /** Distance between the optical centers, m. */
  readonly baselineM: number;
}

/**
 * Depth along the optical axis: focal · baseline / (disparity · width).
 *
 * @param disparity Fraction of the image width, ≥ 0.
 * @returns Depth, m; Infinity where the disparity is 0.
 */
export function depthFromDisparity(disparity: number, camera: StereoCamera): number {
  return camera.focalPx * camera.baselineM / (disparity * camera.imageSize.width);
}

/**
 * The inverse of {@linkcode depthFromDisparity}.
 *
 * @param depth m, > 0.
 * @returns Disparity, fraction of the image width.
 */
export function disparityFromDepth(depth: number, camera: StereoCamera): number {
  return camera.focalPx * camera.baselineM / (depth * camera.imageSize.width);
}

/** Baseline of the canonical camera, m: that of KITTI's color cameras on 2011_09_26. */
export const CANONICAL_BASELINE = 0.532725;

/**
 * Disparities of stereo rigs relative to those that a rig of the canonical baseline, with the same cameras, would have.
 * The focal length stays out of it: what an image shows (sizes, heights above the horizon) follows focal length / depth,
 * of which the disparity is a multiple by the baseline alone. Scaling by focal length · baseline / width instead asks the
 * network to see the focal length, and measured worse than no scaling at all (docs/method.md).
 *
 * @param cameras One per image.
 * @param names The images', for the error.
 * @throws {UsageError} When a camera is not known.
 */
export function canonicalScales(
  cameras: readonly (StereoCamera | undefined)[],
  names: readonly string[],
): Float32Array<ArrayBuffer> {
  return Float32Array.from(cameras, (camera, i) => {
    if (camera) return camera.baselineM / CANONICAL_BASELINE;
    throw new UsageError(
      `Cannot use the canonical camera: the baseline of ${
        names[i]
      } is not known; add the data's calibration, write a ` +
        "manifest with focal_px and baseline_m, or train with --camera fraction",
    );
  });
}

/** The same camera after resizing its images: focal length and principal point scale with them. */
export function resizeCamera<C extends StereoCamera>(camera: C, imageSize: ImageSize): C {
  const sx = imageSize.width / camera.imageSize.width;
  const sy = imageSize.height / camera.imageSize.height;
  const { x, y } = camera.centerPx;
  // KITTI puts pixel centers at integers, so the image begins at -0.5.
  const centerPx = { x: (x + 0.5) * sx - 0.5, y: (y + 0.5) * sy - 0.5 };
  return { ...camera, imageSize, focalPx: camera.focalPx * sx, centerPx };
}

/**
 * Product of two row-major matrices.
 *
 * @param a [rows, inner]
 * @param b [inner, columns]
 * @returns [rows, columns]
 */
export function multiply(a: readonly number[], b: readonly number[], inner: number): number[] {
  const rows = a.length / inner, columns = b.length / inner;
  const out = new Array<number>(rows * columns).fill(0);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      for (let k = 0; k < inner; k++) out[i * columns + j] += a[i * inner + k] * b[k * columns + j];
    }
  }
  return out;
}

/** A rigid motion as a row-major 4×4 matrix. @param rotation 3×3, row-major. @param translation m. */
export function rigid(rotation: readonly number[], translation: readonly number[] = [0, 0, 0]): number[] {
  const [a, b, c, d, e, f, g, h, i] = rotation;
  const [x, y, z] = translation;
  return [a, b, c, x, d, e, f, y, g, h, i, z, 0, 0, 0, 1];
}

/** A stereo rig as far as a network's scale depends on it, whatever the size of its images. */
export interface Rig {
  /** Focal length, fraction of the image width. */
  readonly focal: number;
  /** Distance between the optical centers, m. */
  readonly baselineM: number;
}

/** The rig of the canonical camera: KITTI's color cameras on 2011_09_26. */
export const CANONICAL_RIG: Rig = { focal: 721.5377 / 1242, baselineM: CANONICAL_BASELINE };

/**
 * The camera of a single image, as far as it is known; the rest is the training rig's, the principal point the center.
 * Depth from one image has the scale of the rig that the network was trained with: what it predicts is the disparity that
 * this camera would see with that rig's baseline.
 *
 * @param imageSize px.
 */
export function assumeCamera(
  rig: Rig,
  imageSize: ImageSize,
  known: Partial<Omit<StereoCamera, "imageSize">> = {},
): StereoCamera {
  const { width, height } = imageSize;
  const centerPx = known.centerPx ?? { x: (width - 1) / 2, y: (height - 1) / 2 };
  const focalPx = known.focalPx ?? rig.focal * width;
  return { imageSize, focalPx, centerPx, baselineM: known.baselineM ?? rig.baselineM };
}
