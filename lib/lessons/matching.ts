/**
 * Depth of one stereo pair without any network: by descent along the gradient of the loss, or by search.
 *
 * @module
 */
import { type Scalar, type Tensor4D, tf, type Variable } from "../backend/tf.ts";
import type { FloatMap } from "../data/image.ts";
import { disparityPicture } from "../charts/depth.ts";
import type { Picture } from "../charts/picture.ts";
import type { RgbImage } from "../data/image.ts";
import type { StereoCamera } from "../geometry/camera.ts";
import { warp } from "../geometry/warp.ts";
import { photometricLoss, photometricMap } from "../losses/photometric.ts";
import { edgeWeights, smoothnessLoss } from "../losses/smoothness.ts";
import { imagePyramid } from "../models/chain.ts";
import type { LessonFrame } from "./data.ts";
import { imageTensor, mapTensor, tensorMap } from "./tensors.ts";

/** A rectified stereo pair: images of equal size, each side a multiple of 8 px. */
export interface Pair {
  /** The left view. */
  readonly left: RgbImage;
  /** The right view. */
  readonly right: RgbImage;
  /** Gives pictures metres. */
  readonly camera?: StereoCamera;
}

/** How {@linkcode descend} goes; defaults fit street scenes and KITTI at 416×128 px. */
export interface DescentOptions {
  /** Where it begins, fraction of width: a flat map, or one to refine, at full resolution. @default 0.03 */
  readonly start?: number | FloatMap;
  /** Steps at each resolution, coarse to fine. @default 60 */
  readonly steps?: number;
  /** Step width, px of the resolution at hand. @default 0.25 */
  readonly ratePx?: number;
  /** Weight of smoothness, of disparity in px of the resolution at hand. @default 0.1 */
  readonly smoothness?: number;
  /** Called with a picture of the map so far, some times a second. */
  readonly onStep?: (picture: () => Picture) => void | Promise<void>;
}

/** What came of {@linkcode descend}. */
export interface Descent {
  /** Disparity of the left view, fraction of width. */
  readonly disparity: FloatMap;
  /** The same in colours. */
  readonly picture: Picture;
  /** Photometric loss at each step, all resolutions in a row. */
  readonly losses: readonly number[];
}

/**
 * Changes a disparity map, from a flat one on, so that the right view warped by it looks like the left one.
 */
export async function descend(pair: Pair, options: DescentOptions = {}): Promise<Descent> {
  const { start = 0.03, steps = 60, onStep = () => {} } = options;
  const { width, height } = pair.left;
  const pyramids = [pair.left, pair.right].map((image) => imagePyramid(imageTensor(image)));
  const [left, right] = pyramids;
  const losses: number[] = [];
  const flat = typeof start === "number";
  let map: Tensor4D = flat ? tf.fill([1, height / 8, width / 8, 1], start) : mapTensor(start);
  const picture = (level: Tensor4D) => {
    const full = tf.image.resizeBilinear(level, [height, width], false, true);
    const shown = tensorMap(full);
    full.dispose();
    return disparityPicture(shown, { title: "Disparity found by descent", camera: pair.camera, width: 640 });
  };
  try {
    for (let scale = flat ? 3 : 1; scale >= 0; scale--) {
      const variable = tf.tidy(() => tf.variable(resizeTo(map, left[scale]))) as Variable & Tensor4D;
      map.dispose();
      map = variable;
      const level = makeLevel(left[scale], right[scale], variable, options);
      for (let step = 0; step < steps; step++) {
        losses.push(level.step());
        await onStep(() => picture(variable));
        await tf.nextFrame();
      }
      level.dispose();
      map = tf.tidy(() => tf.relu(variable.clone()));
      variable.dispose();
    }
    return { disparity: tensorMap(map), picture: picture(map), losses };
  } finally {
    tf.dispose([map, ...pyramids.flat()]);
  }
}

/** How {@linkcode planeSweep} searches. */
export interface SweepOptions {
  /** Largest disparity that is tried, fraction of width. @default 0.2 */
  readonly max?: number;
  /** Width of the window whose errors are added up, px of half the resolution, odd. @default 9 */
  readonly window?: number;
}

/**
 * Depth of one stereo pair by search: tries one disparity after the other on the whole image at half the resolution and
 * keeps, at each pixel, the one whose window fits best. No gradient, hence no wrong valley to be caught in; no
 * smoothness either, hence noise where the image has no texture.
 *
 * @returns Disparity of the left view, fraction of width, at full resolution.
 */
export function planeSweep(pair: Pair, options: SweepOptions = {}): FloatMap {
  const { max = 0.2, window = 9 } = options;
  const { width, height } = pair.left;
  const best = tf.tidy(() => {
    const [left, right] = halves(pair);
    const [, rows, columns] = left.shape;
    let [lowest, found] = [tf.fill([1, rows, columns, 1], Infinity), tf.zeros([1, rows, columns, 1])];
    for (let px = 0; px <= max * columns; px += 0.5) {
      [lowest, found] = tf.tidy(() => {
        const error = windowError(left, right, px, window);
        const better = tf.less(error, lowest);
        return [tf.where(better, error, lowest), tf.where(better, tf.fill(found.shape, px / columns), found)];
      });
    }
    return tf.image.resizeBilinear(found as Tensor4D, [height, width], false, true);
  });
  const map = tensorMap(best);
  best.dispose();
  return map;
}

/**
 * The error of every disparity at a few pixels: what {@linkcode planeSweep} takes the lowest of.
 *
 * @param points In the left view, px.
 * @returns For each point pairs of disparity (px of the full resolution) and error.
 */
export function errorCurves(
  pair: Pair,
  points: readonly { readonly x: number; readonly y: number }[],
  options: SweepOptions = {},
): (readonly [px: number, error: number])[][] {
  const { max = 0.2, window = 9 } = options;
  const curves = points.map((): (readonly [number, number])[] => []);
  tf.tidy(() => {
    const [left, right] = halves(pair);
    const columns = left.shape[2];
    for (let px = 0; px <= max * columns; px += 0.5) {
      const errors = tf.tidy(() => windowError(left, right, px, window).dataSync());
      for (const [i, { x, y }] of points.entries()) {
        curves[i].push([2 * px, errors[Math.floor(y / 2) * columns + Math.floor(x / 2)]]);
      }
    }
  });
  return curves;
}

/** Both views at half the resolution. */
function halves({ left, right }: Pair): Tensor4D[] {
  return [left, right].map((image) => imagePyramid(imageTensor(image))[1]);
}

/** Mean photometric error of each pixel's window when everything is shifted by as many px. */
function windowError(left: Tensor4D, right: Tensor4D, px: number, window: number): Tensor4D {
  const [, rows, columns] = left.shape;
  const disparity = tf.fill([1, rows, columns, 1], px / columns) as Tensor4D;
  return tf.avgPool(photometricMap(warp(right, disparity, "left"), left), window, 1, "same");
}

/**
 * Disparities of both views: the true ones of a street; for real photographs, whose truth has gaps, those that search
 * and descent find.
 */
export async function denseDisparities(
  frame: LessonFrame,
): Promise<{ readonly left: FloatMap; readonly right: FloatMap }> {
  const { left, right, disparity, rightDisparity } = frame;
  if (rightDisparity) return { left: disparity, right: rightDisparity };
  const match = async (pair: Pair) => (await descend(pair, { start: planeSweep(pair) })).disparity;
  // Seen in a mirror, the right view is the left one.
  const mirrored = await match({ left: mirror(right, 3), right: mirror(left, 3) });
  return { left: await match(frame), right: mirror(mirrored, 1) };
}

/** An image or map seen in a mirror. */
function mirror<T extends RgbImage | FloatMap>(image: T, channels: number): T {
  const { width, height } = image;
  const data = image.data.slice();
  for (let i = 0; i < width * height; i++) {
    const from = i - i % width + (width - 1 - i % width);
    for (let c = 0; c < channels; c++) data[i * channels + c] = image.data[from * channels + c];
  }
  return { ...image, data };
}

function resizeTo(map: Tensor4D, image: Tensor4D): Tensor4D {
  return tf.image.resizeBilinear(map, [image.shape[1], image.shape[2]], false, true);
}

/** One resolution of the descent. */
interface Level {
  /** Moves the map; the loss before. */
  readonly step: () => number;
  readonly dispose: () => void;
}

function makeLevel(
  left: Tensor4D,
  right: Tensor4D,
  map: Variable & Tensor4D,
  options: DescentOptions,
): Level {
  const { ratePx = 0.25, smoothness = 0.1 } = options;
  const width = left.shape[2];
  const weights = edgeWeights(left);
  const adam = tf.train.adam(ratePx / width);
  const loss = () => {
    const disparity = tf.relu(map);
    const photometric = photometricLoss(warp(right, disparity, "left"), left);
    return tf.add(photometric, tf.mul(smoothnessLoss(disparity, weights), smoothness * width)) as Scalar;
  };
  return {
    step: () => tf.tidy(() => adam.minimize(loss, true, [map])!.dataSync()[0]),
    dispose: () => {
      adam.dispose();
      tf.dispose([weights.x, weights.y]);
    },
  };
}
