/**
 * Pictures that explain: matches between two views, laser points, crops.
 *
 * @module
 */
import { colorAt } from "../charts/colormap.ts";
import { PALETTE } from "../charts/chart.ts";
import { grid, type Picture } from "../charts/picture.ts";
import { svgText } from "../charts/svg.ts";
import type { FloatMap, RgbImage } from "../data/image.ts";
import { type CropBox } from "../evaluation/protocol.ts";
import type { Truth } from "../evaluation/truth.ts";

/** A pixel. */
export interface Point {
  /** Column, px. */
  readonly x: number;
  /** Row, px. */
  readonly y: number;
}

/**
 * Points of the left view and where a disparity finds them in the right one: on the same row, further left.
 *
 * @param disparity Of the left view, fraction of width.
 * @param points In the left view.
 */
export function matchPicture(
  left: RgbImage,
  right: RgbImage,
  disparity: FloatMap,
  points: readonly Point[],
): Picture {
  const drawings = ["", ""];
  for (const [i, { x, y }] of points.entries()) {
    const color = PALETTE[i % PALETTE.length], v = y + 0.5;
    const shift = disparity.data[y * disparity.width + x] * disparity.width;
    const line = (path: string, pen: number) => `<path d="${path}" stroke="${color}" stroke-width="${pen}"/>`;
    for (const [k, at] of [x, x - shift].entries()) {
      drawings[k] += line(`M0,${v}H${left.width}`, 0.5) + line(`M${at + 0.5},${v - 7}v14`, 1.25);
    }
    drawings[1] += line(`M${x + 0.5},${v}h${-shift}`, 2);
  }
  return grid(
    [left, right].map((image, k) => ({
      cells: [{ image, drawing: drawings[k] }],
      name: k ? "right view: the thick line is the disparity" : "left view",
    })),
    { title: "The same points in both views", width: 660 },
  );
}

/**
 * Laser points over an image, near bright.
 *
 * @param max Depth of the darkest colour, m.
 */
export function lidarPicture(
  image: RgbImage,
  truth: Truth,
  options: { readonly title?: string; readonly max?: number } = {},
): Picture {
  const { title = `${truth.depths.length} laser points`, max = 60 } = options;
  const { width, height } = truth.camera.imageSize;
  const data = image.data.map((value) => value * 0.55);
  for (let i = 0; i < truth.depths.length; i++) {
    const u = Math.floor((truth.xs[i] + 0.5) * image.width / width);
    const v = Math.floor((truth.ys[i] + 0.5) * image.height / height);
    const t = 1 - Math.min(1, Math.log(truth.depths[i] / 3) / Math.log(max / 3));
    data.set(colorAt("turbo", t), (v * image.width + u) * 3);
  }
  return grid([{ cells: [{ image: { ...image, data } }] }], { title });
}

/** Rectangles of an image, e.g. the parts that count in an evaluation. */
export function cropPicture(
  image: RgbImage,
  boxes: readonly { readonly name: string; readonly box: CropBox }[],
  title: string = "Which pixels count",
): Picture {
  const drawing = boxes.map(({ name, box: { left, top, right, bottom } }, i) => {
    const color = PALETTE[i % PALETTE.length], size = 15 * image.width / 800, tall = bottom - top > 4 * size;
    // Inside where there is room, else above; side by side where boxes begin at nearly the same place.
    const x = left + size / 2 + (tall ? 5 * size * i : 0), y = tall ? top + 1.3 * size : top - size / 3;
    return `<rect x="${left}" y="${top}" width="${right - left}" height="${bottom - top}" fill="none" ` +
      `stroke="${color}" stroke-width="${image.width / 400}"/>${
        svgText(name, x, y, { size, bold: true, color })
      }`;
  });
  return grid([{ cells: [{ image, drawing: drawing.join("") }] }], { title });
}
