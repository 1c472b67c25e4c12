/**
 * Pictures with one color scale per quantity, the same in all notebooks, and tables that compare.
 *
 * @module
 */
import type { Chart } from "../lib/charts/chart.ts";
import { colorAt, type ColorScale, mapToRgb } from "../lib/charts/colormap.ts";
import { niceTicks } from "../lib/charts/depth.ts";
import type { ColorBar } from "../lib/charts/picture.ts";
import type { TableCell } from "../lib/charts/table.ts";
import type { CropBox } from "../lib/evaluation/protocol.ts";
import {
  type DepthMetrics,
  disparityFromDepth,
  type FloatMap,
  grid,
  lineChart,
  type Picture,
  publishedTables,
  type RgbImage,
  type StereoCamera,
  Table,
  type Tensor4D,
  tf,
  type Truth,
} from "../lib/mod.ts";
import { type Frame, toMap } from "./_helpers.ts";

/** One color scale per quantity, the same in all notebooks. */
const SCALES = {
  /** Fraction of width; its bar is in px. Near is bright. */
  disparity: { scale: { min: 0, max: 0.1, map: "magma" }, label: "disparity, px" },
  /** Mean |a − b| of intensities in [0,1], and photometric error. */
  difference: { scale: { min: 0, max: 0.3, map: "viridis" }, label: "difference, 0 to 1" },
  /** Distance to the true disparity, px. */
  offBy: { scale: { min: 0, max: 4, map: "error" }, label: "off the true disparity by, px" },
  /** |depth error| / true depth. */
  relative: { scale: { min: 0.01, max: 1, map: "error", log: true }, label: "|depth error| / true depth" },
  /** Signed change of a disparity, px. */
  change: { scale: { min: -0.2, max: 0.2, map: "grey" }, label: "change of disparity, px" },
  /** Weight of a step of disparity. */
  weight: { scale: { min: 0.5, max: 1, map: "grey" }, label: "weight" },
  /** A share, e.g. of a mask. */
  share: { scale: { min: 0, max: 1, map: "grey" }, label: "share, 0 to 1" },
} as const satisfies Record<string, { scale: ColorScale; label: string }>;
/** What a map shows. */
export type Quantity = keyof typeof SCALES;

/** A picture's cell: a photograph, or a map (a colored image, too) and its quantity. */
export type Cell = readonly [content: RgbImage | FloatMap, caption: string, quantity?: Quantity];

/** Photographs and maps in rows, never enlarged, with a bar for each scale in use. */
export function figure(title: string, rows: readonly (readonly Cell[])[], camera?: StereoCamera): Picture {
  const columns = Math.max(...rows.map((row) => row.length));
  const cells = rows.flat();
  const widest = Math.max(...cells.map(([{ width }]) => width));
  const used = [...new Set(cells.flatMap(([, , quantity]) => quantity ?? []))];
  const bars = used.map((quantity, i): ColorBar => {
    const span = Math.max(1, Math.floor(columns / used.length));
    const map = cells.find(([, , q]) => q === quantity)![0];
    return { ...barOf(quantity, map.width, camera), column: i * span, columns: span };
  });
  return grid(
    rows.map((row) => ({
      cells: row.map(([content, caption, quantity]) => ({
        caption,
        image: quantity && content.data instanceof Float32Array
          ? mapToRgb(content as FloatMap, SCALES[quantity].scale)
          : content as RgbImage,
      })),
    })),
    { title, bars, width: columns * widest + 24 + (columns - 1) * 8 },
  );
}

function barOf(quantity: Quantity, width: number, camera?: StereoCamera): ColorBar {
  const { scale, label } = SCALES[quantity];
  if (quantity === "relative") {
    return {
      scale,
      label,
      ticks: [0.01, 0.03, 0.1, 0.3, 1].map((value) => ({ value, label: `${100 * value} %` })),
    };
  }
  if (quantity !== "disparity") {
    const ticks = niceTicks(scale.min, scale.max, 4).map((value) => ({ value, label: String(value) }));
    return { scale, label, ticks };
  }
  const ticks = niceTicks(0, scale.max * width, 5).map((px) => ({ value: px / width, label: `${px}` }));
  const upperTicks = camera && [4, 5, 7, 10, 20, 80].map((depth) => ({
    value: disparityFromDepth(depth, camera),
    label: `${depth} m`,
  }));
  return { scale, label: `${label} of ${width}${upperTicks ? " and depth" : ""}`, ticks, upperTicks };
}

/** Mean |a − b| over colors as a map. */
export function differenceMap(a: Tensor4D, b: Tensor4D): FloatMap {
  return toMap(tf.tidy(() => tf.mean(tf.abs(tf.sub(a, b)), 3, true) as Tensor4D));
}

/** How far a disparity is off the true one, px; NaN where that is unknown. */
export function offBy(disparity: FloatMap, truth: FloatMap): FloatMap {
  const { width, height } = truth;
  return { width, height, data: disparity.data.map((d, i) => Math.abs(d - truth.data[i]) * width) };
}

/** A gray copy to draw colored marks on. */
function backdrop({ width, height, data }: RgbImage): RgbImage {
  const gray = (i: number) => 70 + 0.35 * (data[i - i % 3] + data[i - i % 3 + 1] + data[i - i % 3 + 2]) / 3;
  return { width, height, data: data.map((_, i) => gray(i)) };
}

function paint(
  image: RgbImage,
  x: number,
  y: number,
  width: number,
  height: number,
  color: readonly number[],
) {
  for (let v = Math.max(0, y); v < Math.min(image.height, y + height); v++) {
    for (let u = Math.max(0, x); u < Math.min(image.width, x + width); u++) {
      image.data.set(color, 3 * (v * image.width + u));
    }
  }
}

/** Colors of marks, in this order: orange, blue, green. */
const MARKS = [[255, 140, 0], [0, 190, 255], [60, 230, 90]] as const;

/** LiDAR points on the frame's gray image, colored by the disparity that belongs to their depth. */
export function lidarImage(image: RgbImage, { camera, xs, ys, depths }: Truth): RgbImage {
  const canvas = backdrop(image);
  const { min, max, map } = SCALES.disparity.scale;
  depths.forEach((depth, i) => {
    const u = Math.floor((xs[i] + 0.5) * image.width / camera.imageSize.width);
    const v = Math.floor((ys[i] + 0.5) * image.height / camera.imageSize.height);
    paint(canvas, u, v, 1, 1, colorAt(map, (disparityFromDepth(depth, camera) - min) / (max - min)));
  });
  return canvas;
}

/** A copy with the outlines of boxes: orange, blue, green. */
export function withBoxes(image: RgbImage, boxes: readonly CropBox[]): RgbImage {
  const canvas = { ...image, data: image.data.slice() };
  boxes.forEach(({ left, top, right, bottom }, i) => {
    for (
      const [x, y, w, h] of [[left, top, right - left, 2], [left, bottom - 2, right - left, 2], [
        left,
        top,
        2,
        bottom - top,
      ], [right - 2, top, 2, bottom - top]]
    ) {
      paint(canvas, x, y, w, h, MARKS[i % MARKS.length]);
    }
  });
  return canvas;
}

/** Points of the left view and, thick, how far left of there the right view has them. */
export function withMatches(frame: Frame, points: readonly { x: number; y: number }[]): [RgbImage, RgbImage] {
  const { width } = frame.disparity;
  const [left, right] = [frame.left, frame.right].map((image) => ({ ...image, data: image.data.slice() }));
  points.forEach(({ x, y }, i) => {
    const shift = Math.round(frame.disparity.data[y * width + x] * width);
    paint(left, x - 1, y - 6, 2, 13, MARKS[i]);
    paint(right, x - shift - 1, y - 6, 2, 13, MARKS[i]);
    paint(right, x - shift, y - 1, shift, 3, MARKS[i]);
  });
  return [left, right];
}

/** A loss over the updates: its running mean, and faintly the loss itself. */
export function lossCurve(title: string, losses: readonly number[]): Chart {
  let mean = losses[0];
  const smooth = losses.map((loss, step) => [step, mean += 0.06 * (loss - mean)] as const);
  const every = Math.max(1, Math.ceil(losses.length / 90));
  const thin = <T>(list: readonly T[]) => list.filter((_, i) => i % every === 0 || i === list.length - 1);
  return lineChart([
    { name: "loss of the batch", points: thin(losses.map((loss, step) => [step, loss] as const)) },
    { name: "running mean", points: thin(smooth) },
  ], { title, xLabel: "update", yLabel: "loss", height: 180 });
}

/** A line of {@linkcode compare}. */
export interface Comparison {
  /** What is compared, with its unit. */
  readonly what: string;
  readonly ours: number | string;
  /** From a published table, or what theory demands, in words. */
  readonly paper?: TableCell | number | string;
  /** What anybody gets without a method. */
  readonly trivial?: number | string;
  /** "yes", or why not. */
  readonly match: string;
}

/** Ours beside the paper's and the trivial baseline. */
export function compare(rows: readonly Comparison[]): Table {
  return new Table({
    columns: [
      { key: "ours", label: "ours" },
      { key: "paper", label: "paper or theory" },
      { key: "trivial", label: "trivial" },
      { key: "match", label: "match, or why not" },
    ],
    rows: rows.map(({ what, ...cells }) => ({ name: what, cells })),
  });
}

/** A number of the paper's ablation (KITTI, Eigen split, ResNet-50), set in the style of published numbers. */
export function published(row: string, metric: keyof DepthMetrics = "absRel"): TableCell {
  const found = publishedTables().refineAndDistill.find(({ name }) => name === row);
  return {
    value: found?.values[metric],
    standing: "published",
  };
}
