/**
 * The evaluation protocol of the field for monocular depth on KITTI (Eigen et al. 2014, Garg et al. 2016, Godard et
 * al. 2017): a predicted disparity map is resized bilinearly to the image, turned into metres, clamped, compared at
 * the pixels whose depth is known, and the metrics are averaged over images. No median scaling: stereo training
 * knows the scale. No TensorFlow here; only the pixels with a known depth are sampled.
 *
 * @module
 */
import { CyclopsError } from "../base/errors.ts";
import type { StereoPair } from "../data/split.ts";
import type { ImageSize } from "../geometry/camera.ts";
import type { FloatMap } from "../data/image.ts";
import { combineFlipped, type Disparities, mapOf } from "./disparities.ts";
import { DepthErrors, type DepthMetrics, meanMetrics, metricNames } from "./metrics.ts";
import { type Truth, type TruthKind, type TruthReader, truthReader } from "./truth.ts";

/** Which part of the image counts: Garg's crop, Eigen's, or all of it. */
export type Crop = "garg" | "eigen" | "none";

/** Which points count. */
export interface Protocol {
  /** Part of the image. */
  readonly crop: Crop;
  /** Points at or beyond this depth are left out, predictions are clamped to it, m. */
  readonly capM: number;
}

/** Points at or below this depth are left out, predictions are clamped to it, m. */
export const MIN_DEPTH_M = 1e-3;

/** The four combinations that papers report. */
export const paperProtocols: readonly Protocol[] = [
  { crop: "garg", capM: 80 },
  { crop: "garg", capM: 50 },
  { crop: "eigen", capM: 80 },
  { crop: "eigen", capM: 50 },
];

/** Metrics over a split. */
export interface Metrics extends DepthMetrics {
  /** Points compared, over all images. */
  readonly points: number;
  /** Images averaged: those with at least one point that counts. */
  readonly images: number;
  /** What was measured, in words. */
  readonly protocol: string;
}

/** Top, bottom, left and right as fractions of height and width, as the field's code has them. */
const CROPS: Readonly<Record<Crop, readonly [top: number, bottom: number, left: number, right: number]>> = {
  garg: [0.40810811, 0.99189189, 0.03594771, 0.96405229],
  eigen: [0.3324324, 0.91351351, 0.0359477, 0.96405229],
  none: [0, 1, 0, 1],
};

/** A rectangle of pixels; `bottom` and `right` are the first row and column outside. */
export interface CropBox {
  /** First row, px. */
  readonly top: number;
  /** First row below, px. */
  readonly bottom: number;
  /** First column, px. */
  readonly left: number;
  /** First column to the right, px. */
  readonly right: number;
}

/** The pixels of an image that a crop keeps. */
export function cropBox(crop: Crop, { width, height }: ImageSize): CropBox {
  const [top, bottom, left, right] = CROPS[crop];
  return {
    top: Math.trunc(top * height),
    bottom: Math.trunc(bottom * height),
    left: Math.trunc(left * width),
    right: Math.trunc(right * width),
  };
}

/** A protocol in words. */
export function describeProtocol({ crop, capM }: Protocol, truth: TruthKind, flipped = false): string {
  const source = truth === "lidar" ? "LiDAR x (forward), nearest return" : "dense depth map";
  const area = crop === "none" ? "no crop" : `${crop === "garg" ? "Garg" : "Eigen"} crop`;
  return `${source}; ${area}; ${MIN_DEPTH_M} to ${capM} m; disparity resized bilinearly (half-pixel centres); ` +
    `${flipped ? "averaged with the mirrored image's; " : ""}no median scaling; mean over images`;
}

/**
 * Scores one frame under several protocols at once.
 *
 * @param truth Known depths.
 * @param map The prediction, at any resolution.
 * @returns One sum of errors for each protocol.
 */
export function scoreFrame(truth: Truth, map: FloatMap, protocols: readonly Protocol[]): DepthErrors[] {
  const { camera, xs, ys, depths } = truth;
  const { imageSize, focalPx, baselineM } = camera;
  const { width, height, data } = map;
  const boxes = protocols.map(({ crop }) => cropBox(crop, imageSize));
  const sums = protocols.map(() => new DepthErrors());
  const factor = focalPx * baselineM / imageSize.width;
  const sx = width / imageSize.width, sy = height / imageSize.height;
  for (let i = 0; i < depths.length; i++) {
    const x = xs[i], y = ys[i], depth = depths[i];
    if (depth <= MIN_DEPTH_M) continue;
    let predicted = -1;
    for (let p = 0; p < protocols.length; p++) {
      const { top, bottom, left, right } = boxes[p], { capM } = protocols[p];
      if (depth >= capM || x < left || x >= right || y < top || y >= bottom) continue;
      if (predicted < 0) {
        const mx = Math.min(Math.max((x + 0.5) * sx - 0.5, 0), width - 1);
        const my = Math.min(Math.max((y + 0.5) * sy - 0.5, 0), height - 1);
        const x0 = Math.floor(mx), y0 = Math.floor(my), fx = mx - x0, fy = my - y0;
        const at = y0 * width + x0, right = fx > 0 ? 1 : 0, down = fy > 0 ? width : 0;
        const upper = data[at] + fx * (data[at + right] - data[at]);
        const lower = data[at + down] + fx * (data[at + down + right] - data[at + down]);
        predicted = factor / (upper + fy * (lower - upper));
      }
      sums[p].add(Math.min(Math.max(predicted, MIN_DEPTH_M), capM), depth);
    }
  }
  return sums;
}

/** What to evaluate. */
export interface EvaluationInput {
  /** The data's root folder. */
  readonly root: string;
  /** The frames, in the order of the predictions. */
  readonly pairs: readonly StereoPair[];
  /** A map for each pair, or one map for all of them (a baseline). Fraction of the image width. */
  readonly disparities: Disparities | FloatMap;
  /** Predictions of the mirrored images, as the network gave them, for flip post-processing. */
  readonly flipped?: Disparities;
  /** Where true depths come from. @default "lidar" */
  readonly truth?: TruthKind;
  /** Reads the true depths; give one that keeps them when the same frames come again. */
  readonly reader?: TruthReader;
  /** Called after each frame with how many are done. */
  readonly onProgress?: (done: number) => void;
}

function checkCount(what: string, count: number, pairs: readonly StereoPair[]): void {
  if (count !== pairs.length) {
    throw new CyclopsError(
      `Cannot evaluate: there are ${count} ${what} for ${pairs.length} frames of the split, ` +
        `wanted one a frame, in the split's order`,
    );
  }
}

/**
 * Evaluates predictions under several protocols, reading every file once.
 *
 * @returns Metrics in the order of the protocols.
 * @throws {CyclopsError} When there are more or fewer predictions than frames, a file is missing or damaged, or no
 * frame has a point that counts.
 */
export async function evaluateAll(
  input: EvaluationInput,
  protocols: readonly Protocol[],
): Promise<Metrics[]> {
  const { root, pairs, disparities, flipped, truth: kind = "lidar" } = input;
  if ("count" in disparities) checkCount("predictions", disparities.count, pairs);
  if (flipped) checkCount("predictions of mirrored images", flipped.count, pairs);
  const read = input.reader ?? truthReader(root, kind);
  const images: DepthMetrics[][] = protocols.map(() => []);
  const points = protocols.map(() => 0);
  for (const [i, pair] of pairs.entries()) {
    const truth = await read(pair);
    let map = "count" in disparities ? mapOf(disparities, i) : disparities;
    if (flipped) map = combineFlipped(map, mapOf(flipped, i));
    for (const [p, errors] of scoreFrame(truth, map, protocols).entries()) {
      if (errors.points === 0) continue;
      const metrics = errors.metrics();
      if (!metricNames.every((name) => Number.isFinite(metrics[name]))) {
        throw new CyclopsError(
          `Cannot evaluate prediction ${i} (${pair.left}): it is not a number where a depth is known`,
        );
      }
      images[p].push(metrics);
      points[p] += errors.points;
    }
    input.onProgress?.(i + 1);
  }
  return protocols.map((protocol, p) => {
    if (images[p].length === 0) {
      throw new CyclopsError(
        `Cannot evaluate: none of the ${pairs.length} frames has a known depth below ${protocol.capM} m ` +
          `inside the crop "${protocol.crop}"`,
      );
    }
    return {
      ...meanMetrics(images[p]),
      points: points[p],
      images: images[p].length,
      protocol: describeProtocol(protocol, kind, flipped !== undefined),
    };
  });
}

/**
 * Evaluates predictions under one protocol; see {@linkcode evaluateAll}.
 *
 * @example
 * ```ts ignore
 * const pairs = await readSplit("split.txt");
 * const disparities = await readDisparities("predictions.npy");
 * const { absRel } = await evaluate({ root: "kitti", pairs, disparities, crop: "garg", capM: 80 });
 * ```
 */
export async function evaluate(input: EvaluationInput & Protocol): Promise<Metrics> {
  return (await evaluateAll(input, [{ crop: input.crop, capM: input.capM }]))[0];
}
