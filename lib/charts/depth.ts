/**
 * Pictures of disparity and depth, and panels that show prediction, truth and error beside the input.
 *
 * @module
 */
import type { FloatMap } from "../data/image.ts";
import { checkMap, resizeMap } from "../data/resize.ts";
import type { FramePrediction } from "../evaluation/predict.ts";
import {
  depthFromDisparity,
  disparityFromDepth,
  type ImageSize,
  type StereoCamera,
} from "../geometry/camera.ts";
import { type ColorScale, disparityScale, ERROR_SCALE, mapToRgb, percentile } from "./colormap.ts";
import { type ColorBar, grid, type GridRow, type Picture } from "./picture.ts";

/** Depths that make good ticks, m. */
const DEPTH_TICKS = [1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 80];

/** The color bar of a disparity scale: px of an image `widthPx` wide below, meters above where there is a camera. */
export function disparityBar(scale: ColorScale, widthPx: number, camera?: StereoCamera): ColorBar {
  const ticks = niceTicks(scale.min * widthPx, scale.max * widthPx)
    .map((px) => ({ value: px / widthPx, label: `${px} px` }));
  const upperTicks = camera &&
    DEPTH_TICKS.map((depth) => ({ value: disparityFromDepth(depth, camera), label: `${depth} m` }));
  const label = `disparity, px of ${widthPx}${camera ? ", and depth, m" : ""}`;
  return { scale, label, ticks, upperTicks };
}

const ERROR_BAR: ColorBar = {
  scale: ERROR_SCALE,
  label: "|depth error| / true depth",
  ticks: [1, 3, 10, 30, 100].map((percent) => ({ value: percent / 100, label: `${percent} %` })),
};

/** About `count` evenly spaced round numbers that cover a range. */
export function niceTicks(min: number, max: number, count = 6): number[] {
  if (!(max > min)) return [min];
  const rough = (max - min) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((candidate) => candidate >= rough * 0.999)!;
  const first = Math.ceil(min / step - 1e-9), last = Math.floor(max / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(10)));
}

/**
 * A disparity map in colors, near bright up to its 98th percentile, with a color bar in px.
 *
 * @param disparity Fraction of the width, ≥ 0; NaN where unknown.
 */
export function disparityPicture(disparity: FloatMap, title: string): Picture {
  const scale = disparityScale(percentile([disparity], 0.98));
  const bars = [disparityBar(scale, disparity.width)];
  const alt = `Predicted disparity: ${title}, near is bright`;
  return grid([{ cells: [{ image: mapToRgb(disparity, scale) }] }], { title, alt, bars });
}

/** One frame of a {@linkcode panel}; where it has a truth, it needs its camera. The truth may be sparse, and of any size. */
export type PanelSample = Pick<FramePrediction, "input" | "disparity"> & Partial<FramePrediction>;

/** Width of a panel, px. */
const WIDTH = 960;
/** Depths are clamped to this before the error is taken, as the protocol does, m. */
const CAP = 80;

/**
 * A row of input, prediction, truth and error per frame, all disparities on one color scale.
 *
 * @throws {RangeError} When no sample is given, or a sample has truth but no camera.
 */
export function panel(
  samples: readonly PanelSample[],
  options: { readonly title?: string; readonly footnote?: string } = {},
): Picture {
  const { title } = options;
  const truths = samples.map(({ truth, camera, name = "a sample" }) => {
    if (truth && !camera) {
      throw new RangeError(`Cannot draw the panel of ${name}: it has truth but no camera`);
    }
    return truth && truthDisparity(truth, camera!);
  });
  const shown = [
    ...samples.map(({ disparity }) => disparity),
    ...truths.filter((truth) => truth !== undefined),
  ];
  const scale = disparityScale(percentile(shown, 0.98));
  const withTruth = truths.some((truth) => truth !== undefined);
  const headings = ["input", "prediction", "truth", "error"].slice(0, withTruth ? 4 : 2);
  const rows = samples.map(({ input, disparity, truth, camera, name, metrics, crop }, i): GridRow => {
    const cells = [{ image: input }, { image: mapToRgb(disparity, scale) }];
    if (truth) {
      const width = Math.min(input.width, Math.floor(WIDTH / headings.length));
      const size = { width, height: Math.max(1, Math.round(width * input.height / input.width)) };
      const error = depthError(resizeMap(disparity, truth), truth, camera!, crop);
      cells.push(
        { image: mapToRgb(fillSparse(truths[i]!, size), scale) },
        { image: mapToRgb(fillSparse(error, size), ERROR_SCALE) },
      );
    }
    // NaN where no pixel of the frame counts.
    const measured = metrics && Number.isFinite(metrics.absRel) ? metrics : undefined;
    const note = measured &&
      `abs rel ${measured.absRel.toFixed(4)} · RMSE ${measured.rmse.toFixed(3)} m · δ<1.25 ${
        measured.a1.toFixed(3)
      }`;
    return { cells, name, note };
  });
  // Meters stand on the bar only where all frames share them.
  const cameras = samples.flatMap(({ camera }) => camera ?? []);
  const factors = cameras.map((camera) => depthFromDisparity(1, camera));
  const same = cameras.length === samples.length && Math.max(...factors) <= 1.03 * Math.min(...factors);
  const camera = same ? cameras[0] : undefined;
  const bar = disparityBar(scale, camera?.imageSize.width ?? samples[0]?.input.width ?? 1, camera);
  const bars = [
    { ...bar, column: 1, columns: withTruth ? 2 : 1 },
    ...(withTruth ? [{ ...ERROR_BAR, column: 3 }] : []),
  ];
  const alt = `${title ? `${title}: ` : ""}${headings.join(", ")} of ${samples.length} frames`;
  return grid(rows, { ...options, alt, headings, bars, width: WIDTH });
}

/** |predicted − true depth| / true depth, both clamped to the cap; NaN outside the crop and where there is no truth. */
export function depthError(
  disparity: FloatMap,
  truth: FloatMap,
  camera: StereoCamera,
  crop: PanelSample["crop"],
): FloatMap {
  const { width, height } = truth;
  const data = truth.data.map((depth, i) => {
    const x = i % width, y = Math.floor(i / width);
    const counts = !crop || x >= crop.left && x < crop.right && y >= crop.top && y < crop.bottom;
    if (!(counts && depth > 0 && Number.isFinite(depth))) return NaN;
    const predicted = depthFromDisparity(disparity.data[i], camera);
    return Math.abs(Math.min(CAP, Math.max(1e-3, predicted)) - depth) / depth;
  });
  return { width, height, data };
}

/** Depth in m (0 or NaN: none) as a disparity map, fraction of the width, with NaN where there is none. */
export function truthDisparity(depth: FloatMap, camera: StereoCamera): FloatMap {
  const disparity = (d: number) => d > 0 && Number.isFinite(d) ? disparityFromDepth(d, camera) : NaN;
  return { ...depth, data: depth.data.map(disparity) };
}

/**
 * Resizes a map with gaps so that single points stay visible: each target pixel is the mean of the values that fall on
 * it; where values are scattered, points grow by one pixel into the gaps.
 *
 * @param map NaN where there is no value.
 */
export function fillSparse(map: FloatMap, to: ImageSize): FloatMap {
  checkMap(map);
  const { width, height } = to;
  const sum = new Float64Array(width * height), count = new Uint32Array(width * height);
  const add = (at: number, value: number) => {
    if (!Number.isNaN(value)) sum[at] += value, count[at]++;
  };
  if (width > map.width || height > map.height) {
    for (let i = 0; i < sum.length; i++) {
      const u = Math.floor((i % width + 0.5) * map.width / width);
      const v = Math.floor((Math.floor(i / width) + 0.5) * map.height / height);
      add(i, map.data[v * map.width + u]);
    }
  } else {
    map.data.forEach((value, i) => {
      const u = Math.floor((i % map.width + 0.5) * width / map.width);
      const v = Math.floor((Math.floor(i / map.width) + 0.5) * height / map.height);
      add(v * width + u, value);
    });
  }
  const data = Float32Array.from(sum, (total, i) => count[i] ? total / count[i] : NaN);
  const known = count.reduce((total, c) => total + Math.sign(c), 0);
  if (known > 0.6 * data.length) return { width, height, data };
  const grown = data.map((value, i) => {
    if (count[i]) return value;
    const u = i % width;
    const near = [i - width, i + width, u > 0 ? i - 1 : -1, u < width - 1 ? i + 1 : -1].filter((j) =>
      count[j]
    );
    return near.length ? near.reduce((total, j) => total + data[j], 0) / near.length : NaN;
  });
  return { width, height, data: grown };
}
