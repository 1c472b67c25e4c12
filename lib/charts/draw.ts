/**
 * A canvas of 8-bit RGB pixels: rectangles, lines, text and images, drawn the same on every machine.
 * Coordinates are px from the top left corner; whole numbers are pixel edges.
 *
 * @module
 */
import type { RgbImage } from "../data/image.ts";
import type { ImageSize } from "../geometry/camera.ts";
import { CAP_HEIGHT, type FontWeight, textStrokes } from "./font.ts";

/** Red, green, blue, 0–255. */
export type Color = readonly [red: number, green: number, blue: number];

/** Colours of labels and frames. */
export const INK = {
  /** Titles and captions. */
  strong: [28, 32, 40],
  /** Ticks and notes. */
  soft: [92, 99, 112],
  /** Hairlines and frames. */
  line: [208, 212, 219],
  /** Behind everything. */
  paper: [255, 255, 255],
  /** Where there is no value. */
  none: [214, 216, 220],
} as const satisfies Record<string, Color>;

/** How a text is drawn. */
export interface TextStyle {
  /** Font size, px. @default 13 */
  readonly size?: number;
  /** Of the strokes. @default INK.strong */
  readonly color?: Color;
  /** How thick the strokes are. @default "regular" */
  readonly weight?: FontWeight;
  /** Which point of the text x names. @default "start" */
  readonly anchor?: "start" | "middle" | "end";
}

/** Pixels to draw on; `image` is what came of it. */
export class Canvas {
  /** Whole px. */
  readonly width: number;
  /** Whole px. */
  readonly height: number;
  /** [height, width, 3], 0–255. */
  readonly data: Uint8Array;

  /** Opens a canvas of the given size in px, filled with the background. */
  constructor(width: number, height: number, background: Color = INK.paper) {
    this.width = Math.max(1, Math.round(width));
    this.height = Math.max(1, Math.round(height));
    this.data = new Uint8Array(this.width * this.height * 3);
    this.rect(0, 0, this.width, this.height, background);
  }

  /** The pixels as an image; shares its memory with the canvas. */
  get image(): RgbImage {
    return { width: this.width, height: this.height, data: this.data };
  }

  /** Fills a rectangle; parts outside are cut off. */
  rect(x: number, y: number, width: number, height: number, color: Color): void {
    const left = Math.max(0, Math.round(x)), right = Math.min(this.width, Math.round(x + width));
    const top = Math.max(0, Math.round(y)), bottom = Math.min(this.height, Math.round(y + height));
    if (right <= left || bottom <= top) return;
    const row = new Uint8Array((right - left) * 3);
    for (let i = 0; i < row.length; i++) row[i] = color[i % 3];
    for (let v = top; v < bottom; v++) this.data.set(row, (v * this.width + left) * 3);
  }

  /** A frame one px wide just outside the given rectangle. */
  frame(x: number, y: number, width: number, height: number, color: Color = INK.line): void {
    this.rect(x - 1, y - 1, width + 2, 1, color);
    this.rect(x - 1, y + height, width + 2, 1, color);
    this.rect(x - 1, y - 1, 1, height + 2, color);
    this.rect(x + width, y - 1, 1, height + 2, color);
  }

  /** Copies an image; parts outside are cut off. */
  blit(image: RgbImage, x: number, y: number): void {
    const left = Math.max(0, -x), right = Math.min(image.width, this.width - x);
    if (right <= left) return;
    for (let v = Math.max(0, -y); v < Math.min(image.height, this.height - y); v++) {
      const row = image.data.subarray((v * image.width + left) * 3, (v * image.width + right) * 3);
      this.data.set(row, ((y + v) * this.width + x + left) * 3);
    }
  }

  /** A round-ended line through the given points (flat x, y list), smoothed at its edges. */
  line(points: ArrayLike<number>, pen: number, color: Color): void {
    this.#strokes([points], pen, color, 0, 0);
  }

  /**
   * One line of text.
   *
   * @param x px, where `anchor` says.
   * @param y Baseline, px.
   * @returns The text's width, px.
   */
  text(text: string, x: number, y: number, style: TextStyle = {}): number {
    const { size = 13, color = INK.strong, weight = "regular", anchor = "start" } = style;
    const { lines, pen, width } = textStrokes(text, size, weight);
    const start = anchor === "start" ? x : anchor === "middle" ? x - width / 2 : x - width;
    // A baseline through pixel centres keeps feet and bars crisp.
    this.#strokes(lines, Math.max(pen, 1), color, start, Math.round(y) - 0.5);
    return width;
  }

  /** One line of text whose capitals are centred on y, px; see {@linkcode Canvas.text}. */
  textMiddle(text: string, x: number, y: number, style: TextStyle = {}): number {
    return this.text(text, x, y + (style.size ?? 13) * CAP_HEIGHT / 2 + 0.5, style);
  }

  #strokes(lines: readonly ArrayLike<number>[], pen: number, color: Color, dx: number, dy: number): void {
    const radius = pen / 2;
    for (const points of lines) {
      // The nearest segment decides a pixel's coverage, so that joints are not drawn twice.
      let left = Infinity, right = -Infinity, top = Infinity, bottom = -Infinity;
      for (let i = 0; i < points.length; i += 2) {
        left = Math.min(left, points[i]), right = Math.max(right, points[i]);
        top = Math.min(top, points[i + 1]), bottom = Math.max(bottom, points[i + 1]);
      }
      const u0 = Math.max(0, Math.floor(left + dx - radius - 1));
      const u1 = Math.min(this.width, Math.ceil(right + dx + radius + 1));
      const v0 = Math.max(0, Math.floor(top + dy - radius - 1));
      const v1 = Math.min(this.height, Math.ceil(bottom + dy + radius + 1));
      const cols = u1 - u0, rows = v1 - v0;
      if (cols <= 0 || rows <= 0) continue;
      const nearest = new Float32Array(cols * rows).fill(1e9);
      const last = Math.max(1, points.length / 2 - 1);
      for (let s = 0; s < last; s++) {
        const ax = points[2 * s] + dx, ay = points[2 * s + 1] + dy;
        const bx = (points[2 * s + 2] ?? points[0]) + dx, by = (points[2 * s + 3] ?? points[1]) + dy;
        const ex = bx - ax, ey = by - ay, squared = ex * ex + ey * ey;
        const su0 = Math.max(u0, Math.floor(Math.min(ax, bx) - radius - 1));
        const su1 = Math.min(u1, Math.ceil(Math.max(ax, bx) + radius + 1));
        const sv0 = Math.max(v0, Math.floor(Math.min(ay, by) - radius - 1));
        const sv1 = Math.min(v1, Math.ceil(Math.max(ay, by) + radius + 1));
        for (let v = sv0; v < sv1; v++) {
          for (let u = su0; u < su1; u++) {
            const px = u + 0.5 - ax, py = v + 0.5 - ay;
            const t = squared > 0 ? Math.min(1, Math.max(0, (px * ex + py * ey) / squared)) : 0;
            const d = Math.hypot(px - t * ex, py - t * ey);
            const at = (v - v0) * cols + u - u0;
            if (d < nearest[at]) nearest[at] = d;
          }
        }
      }
      for (let v = 0; v < rows; v++) {
        for (let u = 0; u < cols; u++) {
          const cover = Math.min(1, Math.max(0, radius + 0.5 - nearest[v * cols + u]));
          if (cover === 0) continue;
          const at = ((v0 + v) * this.width + u0 + u) * 3;
          for (let c = 0; c < 3; c++) {
            this.data[at + c] = Math.round(this.data[at + c] + (color[c] - this.data[at + c]) * cover);
          }
        }
      }
    }
  }
}

/**
 * Resizes an image: the average of the covered pixels when it shrinks, bilinear (half-pixel centres) when it grows.
 *
 * @param width px. @param height px.
 */
export function resizeRgb(image: RgbImage, width: number, height: number): RgbImage {
  if (width === image.width && height === image.height) return image;
  const planes = resizePlanes(image.data, 3, image, { width, height });
  const data = new Uint8Array(planes.length);
  for (let i = 0; i < data.length; i++) data[i] = Math.round(planes[i]);
  return { width, height, data };
}

/**
 * Resizes interleaved planes of numbers; see {@linkcode resizeRgb}. A NaN spreads over what it touches.
 *
 * @param data [height, width, channels]
 */
export function resizePlanes(
  data: ArrayLike<number>,
  channels: number,
  from: ImageSize,
  to: ImageSize,
): Float32Array {
  const rowIn = from.width * channels, rowOut = to.width * channels;
  const rows = new Float32Array(rowOut * from.height);
  const xs = taps(from.width, to.width), ys = taps(from.height, to.height);
  for (let v = 0; v < from.height; v++) {
    for (let u = 0; u < to.width; u++) {
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        for (let k = xs.start[u]; k < xs.start[u + 1]; k++) {
          sum += xs.weight[k] * data[v * rowIn + xs.source[k] * channels + c];
        }
        rows[v * rowOut + u * channels + c] = sum;
      }
    }
  }
  const out = new Float32Array(rowOut * to.height);
  for (let v = 0; v < to.height; v++) {
    for (let k = ys.start[v]; k < ys.start[v + 1]; k++) {
      const weight = ys.weight[k], at = ys.source[k] * rowOut;
      for (let i = 0; i < rowOut; i++) out[v * rowOut + i] += weight * rows[at + i];
    }
  }
  return out;
}

/** Which source pixels a target pixel is made of: entries start[i] to start[i + 1] of `source` and `weight`. */
function taps(
  source: number,
  target: number,
): { start: Int32Array; source: Int32Array; weight: Float64Array } {
  const scale = source / target, reach = Math.max(1, scale);
  const start = new Int32Array(target + 1), from: number[] = [], weight: number[] = [];
  for (let i = 0; i < target; i++) {
    const centre = (i + 0.5) * scale - 0.5;
    const first = Math.max(0, Math.ceil(centre - reach)),
      last = Math.min(source - 1, Math.floor(centre + reach));
    let total = 0;
    for (let k = first; k <= last; k++) total += Math.max(0, 1 - Math.abs(k - centre) / reach);
    for (let k = first; k <= last; k++) {
      const share = Math.max(0, 1 - Math.abs(k - centre) / reach) / total;
      if (share > 0) from.push(k), weight.push(share);
    }
    start[i + 1] = from.length;
  }
  return { start, source: Int32Array.from(from), weight: Float64Array.from(weight) };
}
