/**
 * Pictures that explain: matches between two views, laser points, crops.
 *
 * @module
 */
import { colorAt, type FloatMap } from "../charts/colormap.ts";
import { Canvas, type Color, resizeRgb } from "../charts/draw.ts";
import { grid } from "../charts/grid.ts";
import type { Picture } from "../charts/picture.ts";
import type { RgbImage } from "../data/image.ts";
import { type CropBox } from "../evaluation/protocol.ts";
import type { Truth } from "../evaluation/truth.ts";
import { PALETTE } from "../charts/chart.ts";

/** A pixel. */
export interface Point {
  /** Column, px. */
  readonly x: number;
  /** Row, px. */
  readonly y: number;
}

/** A colour of the palette as bytes. */
function paletteColor(i: number): Color {
  const hex = PALETTE[i % PALETTE.length];
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)) as unknown as Color;
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
  const scale = 2;
  const views = [left, right].map((image) => {
    const canvas = new Canvas(image.width * scale, image.height * scale);
    canvas.blit(resizeRgb(image, canvas.width, canvas.height), 0, 0);
    return canvas;
  });
  for (const [i, { x, y }] of points.entries()) {
    const shift = disparity.data[y * disparity.width + x] * disparity.width;
    for (const [k, at] of [x, x - shift].entries()) {
      const [u, v] = [(at + 0.5) * scale, (y + 0.5) * scale];
      views[k].line([0, v, views[k].width, v], 1, paletteColor(i));
      views[k].line([u, v - 14, u, v + 14], 2.5, paletteColor(i));
    }
    views[1].line(
      [(x + 0.5) * scale, (y + 0.5) * scale, (x - shift + 0.5) * scale, (y + 0.5) * scale],
      4,
      paletteColor(i),
    );
  }
  return grid(
    views.map(({ image }, k) => ({
      cells: [{ image }],
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
  const canvas = new Canvas(image.width, image.height);
  canvas.blit(dimmed(image), 0, 0);
  const { width, height } = truth.camera.imageSize;
  for (let i = 0; i < truth.depths.length; i++) {
    const u = Math.floor((truth.xs[i] + 0.5) * image.width / width);
    const v = Math.floor((truth.ys[i] + 0.5) * image.height / height);
    canvas.rect(
      u,
      v,
      1,
      1,
      colorAt("turbo", 1 - Math.min(1, Math.log(truth.depths[i] / 3) / Math.log(max / 3))),
    );
  }
  return grid([{ cells: [{ image: canvas.image }] }], { title });
}

function dimmed(image: RgbImage): RgbImage {
  return { ...image, data: image.data.map((value) => value * 0.55) };
}

/** Rectangles of an image, e.g. the parts that count in an evaluation. */
export function cropPicture(
  image: RgbImage,
  boxes: readonly { readonly name: string; readonly box: CropBox }[],
  title: string = "Which pixels count",
): Picture {
  const scale = Math.max(1, Math.floor(800 / image.width));
  const canvas = new Canvas(image.width * scale, image.height * scale);
  canvas.blit(resizeRgb(image, canvas.width, canvas.height), 0, 0);
  for (const [i, { name, box }] of boxes.entries()) {
    const [left, top, right, bottom] = [box.left, box.top, box.right, box.bottom].map((edge) => edge * scale);
    const color = paletteColor(i);
    for (const inset of [1, 2]) {
      canvas.frame(left + inset, top + inset, right - left - 2 * inset, bottom - top - 2 * inset, color);
    }
    // Inside where there is room, else above.
    const y = bottom - top > 60 ? top + 18 : top - 5;
    const style = { weight: "bold", size: 15, color } as const;
    // Side by side where boxes begin at nearly the same place.
    canvas.text(name, left + 6 + 70 * (bottom - top > 60 ? i : 0), y, style);
  }
  return grid([{ cells: [{ image: canvas.image }] }], { title });
}
