/**
 * Pictures of disparity, of its error, and panels that show both beside the input and the truth.
 *
 * @module
 */
import type { RgbImage } from "../data/image.ts";
import type { ImageSize, StereoCamera } from "../geometry/camera.ts";
import { resizePlanes } from "./draw.ts";
import {
  checkMap,
  type ColormapName,
  type ColorScale,
  disparityScale,
  ERROR_SCALE,
  type FloatMap,
  mapToRgb,
  percentile,
  relativeError,
} from "./colormap.ts";
import { type ColorBar, grid, type GridRow, niceTicks } from "./grid.ts";
import type { Picture } from "./picture.ts";

/** What turns a disparity (fraction of width) into metres. */
export type DepthCamera = Pick<StereoCamera, "focalPx" | "baselineM" | "imageSize">;

/** Options of {@linkcode disparityPicture}. */
export interface DisparityPictureOptions {
  /** Above the picture. */
  readonly title?: string;
  /** Gives the colour bar ticks in metres; without it there are px alone. */
  readonly camera?: DepthCamera;
  /** Disparity of the brightest colour, fraction of width. @default the map's 98th percentile */
  readonly max?: number;
  /** Colours. @default "magma" */
  readonly map?: ColormapName;
  /** Width of the picture, px. @default the map's, at most 960 */
  readonly width?: number;
}

/** Depths that make good ticks, m. */
const DEPTH_TICKS = [1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 80];

/** Focal · baseline / width, so that depth = this / disparity. */
export function metresTimesDisparity(camera: DepthCamera): number {
  return camera.focalPx * camera.baselineM / camera.imageSize.width;
}

/**
 * The colour bar of a disparity scale: px below, metres above.
 *
 * @param widthPx Width of the image whose px are counted.
 */
export function disparityBar(scale: ColorScale, widthPx: number, camera?: DepthCamera): ColorBar {
  const ticks = niceTicks(scale.min * widthPx, scale.max * widthPx, 6)
    .map((px) => ({ value: px / widthPx, label: `${px} px` }));
  const upperTicks = camera && DEPTH_TICKS.map((depth) => ({
    value: metresTimesDisparity(camera) / depth,
    label: `${depth} m`,
  }));
  return {
    scale,
    label: `disparity, px of ${widthPx}${camera ? ", and depth, m" : ""}`,
    ticks,
    upperTicks,
  };
}

/** The colour bar of relative depth errors. */
export function errorBar(scale: ColorScale = ERROR_SCALE): ColorBar {
  const ticks = [0.003, 0.01, 0.03, 0.1, 0.3, 1, 3]
    .map((value) => ({ value, label: `${Number((value * 100).toPrecision(3))} %` }));
  return { scale, label: "|depth error| / true depth", ticks };
}

/**
 * A disparity map in colours, with a colour bar in px and metres.
 *
 * @param disparity Fraction of the width, ≥ 0; NaN where unknown.
 */
export function disparityPicture(disparity: FloatMap, options: DisparityPictureOptions = {}): Picture {
  checkMap(disparity);
  const { title, camera, map = "magma" } = options;
  const max = options.max ?? percentile([disparity], 0.98);
  const scale: ColorScale = { ...disparityScale(max), map };
  const bar = disparityBar(scale, camera?.imageSize.width ?? disparity.width, camera);
  return grid([{ cells: [{ image: mapToRgb(disparity, scale) }] }], {
    title,
    bars: [bar],
    width: options.width,
  });
}

/**
 * The relative depth error in colours, grey where there is no truth.
 *
 * @param prediction Depth, m.
 * @param truth Depth, m, of the same size; 0 or NaN where there is none.
 */
export function errorPicture(
  prediction: FloatMap,
  truth: FloatMap,
  options: { readonly title?: string; readonly width?: number } = {},
): Picture {
  const error = relativeError(prediction, truth);
  const image = mapToRgb(fillSparse(error, pictureSize(error, options.width)), ERROR_SCALE);
  return grid([{ cells: [{ image }] }], { ...options, bars: [errorBar()] });
}

/** One frame of a {@linkcode panel}. */
export interface PanelSample {
  /** E.g. the frame's name; bold under its row. */
  readonly name?: string;
  /** The photograph that the network saw. */
  readonly input: RgbImage;
  /** Prediction: fraction of the width, ≥ 0, of any size. */
  readonly disparity: FloatMap;
  /** Truth: depth in m, 0 or NaN where there is none; of any size, sparse or dense. */
  readonly truth?: FloatMap;
  /** Turns disparity into metres; needed where there is truth. */
  readonly camera?: DepthCamera;
  /** Text on the right under the row, e.g. "abs rel 0.147 · RMSE 5.83 m". */
  readonly note?: string;
  /** Pixels of the input that count, fractions of its height and width; the error is shown only there. */
  readonly crop?: {
    readonly top: number;
    readonly bottom: number;
    readonly left: number;
    readonly right: number;
  };
}

/** Options of {@linkcode panel}. */
export interface PanelOptions {
  /** Above the panel. */
  readonly title?: string;
  /** A paragraph below it. */
  readonly footnote?: string;
  /** Width of the whole, px. @default 960 */
  readonly width?: number;
  /** 4: one row a frame; 2: two rows a frame, images twice as large. @default 4 */
  readonly columns?: 4 | 2;
  /** Disparity of the brightest colour, fraction of width. @default 98th percentile of the predictions and truths */
  readonly max?: number;
  /** Depths beyond it are clamped before the error is taken, as the protocol does, m. @default 80 */
  readonly cap?: number;
}

/**
 * Rows of input, prediction, truth and error, all disparities on one colour scale.
 *
 * @throws {RangeError} When no sample is given, or a sample has truth but no camera.
 */
export function panel(samples: readonly PanelSample[], options: PanelOptions = {}): Picture {
  const cap = options.cap ?? 80;
  const withTruth = samples.some((sample) => sample.truth);
  const truths = samples.map(({ truth, camera, name }) => {
    if (!truth) return undefined;
    if (!camera) {
      throw new RangeError(`Cannot draw the panel of ${name ?? "a sample"}: it has truth but no camera`);
    }
    return truthDisparity(truth, camera);
  });
  const max = options.max ??
    percentile(
      [...samples.map((sample) => sample.disparity), ...truths.filter((t) => t !== undefined)],
      0.98,
    );
  const scale = disparityScale(max);
  const kinds = ["input", "prediction", "truth", "error"].slice(0, withTruth ? 4 : 2);
  const columns = Math.min(options.columns ?? 4, kinds.length);
  const width = Math.round(options.width ?? 960);
  const cell = Math.floor(width / columns);
  const rows: GridRow[] = samples.flatMap((sample, i): GridRow[] => {
    const { input, disparity, truth, camera, name, note } = sample;
    const cells = [{ image: input }, { image: mapToRgb(disparity, scale) }];
    const size = pictureSize(input, cell);
    const known = truths[i];
    if (truth && known && camera) {
      const resized = resizeMap(disparity, truth);
      const k = metresTimesDisparity(camera);
      const depth = { ...resized, data: resized.data.map((d) => Math.min(cap, Math.max(1e-3, k / d))) };
      const error = cropMap(relativeError(depth, truth), sample.crop);
      cells.push(
        { image: mapToRgb(fillSparse(known, size), scale) },
        { image: mapToRgb(fillSparse(error, size), ERROR_SCALE) },
      );
    }
    if (columns === kinds.length) return [{ cells, name, note }];
    // Two rows: the kinds stand below the images, as no heading holds for a whole column.
    const named = cells.map((cell, k) => ({ ...cell, caption: kinds[k] }));
    return named.length > 2
      ? [{ cells: named.slice(0, 2) }, { cells: named.slice(2), name, note }]
      : [{ cells: named, name, note }];
  });
  const cameras = samples.flatMap(({ camera }) => camera ? [camera] : []);
  const k = cameras.map(metresTimesDisparity);
  // One metre scale only where all frames share it.
  const shared = k.length === samples.length && Math.max(...k) <= 1.03 * Math.min(...k)
    ? cameras[0]
    : undefined;
  const widthPx = shared?.imageSize.width ?? samples[0]?.input.width ?? 1;
  const place = columns === 4 ? { column: 1, columns: 2 } : { column: withTruth ? 0 : 1, columns: 1 };
  const bars = [{ ...disparityBar(scale, widthPx, shared), ...place }];
  if (withTruth) bars.push({ ...errorBar(), column: columns - 1, columns: 1 });
  return grid(rows, {
    title: options.title,
    headings: columns === kinds.length ? kinds : undefined,
    bars,
    footnote: options.footnote,
    width,
  });
}

/** Depth in m (0 or NaN: none) as a disparity map with NaN where there is none. */
export function truthDisparity(depth: FloatMap, camera: DepthCamera): FloatMap {
  checkMap(depth);
  const k = metresTimesDisparity(camera);
  return { ...depth, data: depth.data.map((d) => d > 0 && Number.isFinite(d) ? k / d : NaN) };
}

/** Resizes a dense map; the average where it shrinks, bilinear where it grows. Fractions of the width stay. */
export function resizeMap(map: FloatMap, to: ImageSize): FloatMap {
  checkMap(map);
  return { width: to.width, height: to.height, data: resizePlanes(map.data, 1, map, to) };
}

function pictureSize(from: ImageSize, width = 960): ImageSize {
  const shown = Math.min(from.width, Math.round(width));
  return { width: shown, height: Math.max(1, Math.round(shown * from.height / from.width)) };
}

function cropMap(map: FloatMap, crop: PanelSample["crop"]): FloatMap {
  if (!crop) return map;
  const { width, height } = map;
  const data = map.data.map((value, i) => {
    const u = i % width, v = Math.floor(i / width);
    const inside = v >= Math.floor(crop.top * height) && v < Math.floor(crop.bottom * height) &&
      u >= Math.floor(crop.left * width) && u < Math.floor(crop.right * width);
    return inside ? value : NaN;
  });
  return { width, height, data };
}

/**
 * Resizes a map with gaps so that single points stay visible: each target pixel takes the mean of the values that
 * fall on it; where the values are scattered, points grow by one pixel into the gaps.
 *
 * @param map NaN where there is no value.
 */
export function fillSparse(map: FloatMap, to: ImageSize): FloatMap {
  checkMap(map);
  const { width, height } = to;
  const sum = new Float64Array(width * height), count = new Uint32Array(width * height);
  let known = 0;
  const growing = width > map.width || height > map.height;
  if (growing) {
    for (let v = 0; v < height; v++) {
      for (let u = 0; u < width; u++) {
        const from = Math.floor((v + 0.5) * map.height / height) * map.width +
          Math.floor((u + 0.5) * map.width / width);
        if (Number.isNaN(map.data[from])) continue;
        sum[v * width + u] = map.data[from];
        count[v * width + u] = 1;
        known++;
      }
    }
  } else {
    for (let i = 0; i < map.data.length; i++) {
      if (Number.isNaN(map.data[i])) continue;
      const u = Math.floor((i % map.width + 0.5) * width / map.width);
      const v = Math.floor((Math.floor(i / map.width) + 0.5) * height / map.height);
      sum[v * width + u] += map.data[i];
      if (count[v * width + u]++ === 0) known++;
    }
  }
  const data = new Float32Array(width * height).fill(NaN);
  for (let i = 0; i < data.length; i++) if (count[i]) data[i] = sum[i] / count[i];
  if (known > 0.6 * data.length || known === 0) return { width, height, data };
  const grown = data.slice();
  for (let i = 0; i < data.length; i++) {
    if (count[i]) continue;
    const u = i % width, v = Math.floor(i / width);
    const near = [
      v > 0 ? i - width : i,
      v < height - 1 ? i + width : i,
      u > 0 ? i - 1 : i,
      u < width - 1 ? i + 1 : i,
    ]
      .filter((j) => count[j]);
    if (near.length) grown[i] = near.reduce((total, j) => total + data[j], 0) / near.length;
  }
  return { width, height, data: grown };
}
