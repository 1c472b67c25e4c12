/**
 * Corners of the left image found again in the right one, in any direction: what says whether a pair is rectified, its
 * views in the right order, and how large its disparities are.
 *
 * @module
 */
import type { ImageSize } from "./camera.ts";

/** Gray values, row by row. */
export interface GrayImage extends ImageSize {
  readonly data: Float32Array;
}

/** A corner and where the other view shows it, px of the images that were matched. */
export interface Match {
  /** In the left image. */
  readonly x: number;
  readonly y: number;
  /** Column in the left image less that in the right one: positive where the views are in the right order. */
  readonly disparity: number;
  /** Row in the right image less that in the left one: 0 where the pair is rectified. */
  readonly rowOffset: number;
}

/** The image is divided into so many cells, each of which gives its best corner. */
const COLUMNS = 24, ROWS = 12;
/** Half the windows that are compared, px: on the quarter-size images, and on the whole ones. */
const COARSE = 3, FINE = 4;
/** Search on the quarter-size images: columns as a fraction of the width, rows in px. */
const REACH = 0.4, ROW_REACH = 4;
/** Least correlation of two windows, at both sizes; how much worse the second best place must be at the smaller one. */
const ROUGHLY_ALIKE = 0.75, ALIKE = 0.85, UNIQUE = 0.05;
/** A match counts where the search back from the right image ends within so many px. */
const RETURN = 1.5;

/** Each px the mean of 4 × 4. */
function quarter({ width, height, data }: GrayImage): GrayImage {
  const w = width >> 2, h = height >> 2, out = new Float32Array(w * h);
  for (let y = 0; y < 4 * h; y++) {
    for (let x = 0; x < 4 * w; x++) out[(y >> 2) * w + (x >> 2)] += data[y * width + x] / 16;
  }
  return { width: w, height: h, data: out };
}

/** The best corner of each cell: where the smaller eigenvalue of the gradients' second moments is largest. */
function corners({ width, height, data }: GrayImage): (readonly [x: number, y: number])[] {
  const margin = FINE + 2, found: (readonly [number, number])[] = [];
  const gx = new Float32Array(width * height), gy = new Float32Array(width * height);
  for (let y = 1; y < height - 1; y++) {
    for (let x = 1, p = y * width + 1; x < width - 1; x++, p++) {
      gx[p] = data[p + 1] - data[p - 1];
      gy[p] = data[p + width] - data[p - width];
    }
  }
  for (let row = 0; row < ROWS; row++) {
    for (let column = 0; column < COLUMNS; column++) {
      let best = 100, at: readonly [number, number] | undefined;
      const [y0, y1] = [row, row + 1].map((r) => Math.floor(margin + r * (height - 2 * margin) / ROWS));
      const [x0, x1] = [column, column + 1].map((c) =>
        Math.floor(margin + c * (width - 2 * margin) / COLUMNS)
      );
      for (let y = y0; y < y1; y += 2) {
        for (let x = x0; x < x1; x += 2) {
          let a = 0, b = 0, c = 0;
          for (let v = y - 2; v <= y + 2; v++) {
            for (let p = v * width + x - 2; p <= v * width + x + 2; p++) {
              a += gx[p] * gx[p], b += gx[p] * gy[p], c += gy[p] * gy[p];
            }
          }
          const score = (a + c - Math.hypot(a - c, 2 * b)) / 2 / 25;
          if (score > best) best = score, at = [x, y];
        }
      }
      if (at) found.push(at);
    }
  }
  return found;
}

/** Windows of an image less their mean, scaled to length 1; kept, because neighboring searches share them. */
function windows(
  { width, height, data }: GrayImage,
  half: number,
): (x: number, y: number) => Float32Array | undefined {
  const side = 2 * half + 1, kept = new Map<number, Float32Array>();
  return (x, y) => {
    if (x < half || y < half || x >= width - half || y >= height - half) return;
    const key = y * width + x, before = kept.get(key);
    if (before) return before;
    const out = new Float32Array(side * side);
    let sum = 0, square = 0;
    for (let v = -half, i = 0; v <= half; v++) {
      for (let p = (y + v) * width + x - half; p <= (y + v) * width + x + half; p++) {
        out[i++] = data[p];
        sum += data[p];
      }
    }
    const mean = sum / out.length;
    for (let i = 0; i < out.length; i++) square += (out[i] -= mean) ** 2;
    // A flat window correlates with nothing.
    const scale = square > out.length ? 1 / Math.sqrt(square) : 0;
    for (let i = 0; i < out.length; i++) out[i] *= scale;
    kept.set(key, out);
    return out;
  };
}

function correlation(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/** Sub-pixel place of the largest of three values at −1, 0 and 1: the tip of a parabola. */
function tip(before: number, here: number, after: number): number {
  const bend = before + after - 2 * here;
  return bend < 0 ? (before - after) / (2 * bend) : 0;
}

type Windows = ReturnType<typeof windows>;

/** The place in `to` that looks most like (x, y) in `from`, searched around (cx, cy). */
function search(
  from: Windows,
  to: Windows,
  [x, y]: readonly [number, number],
  [cx, cy]: readonly [number, number],
  [rx, ry]: readonly [number, number],
  least: number,
  unique: number,
): readonly [number, number] | undefined {
  const own = from(x, y);
  if (!own) return;
  const wide = 2 * rx + 1, scores = new Float32Array(wide * (2 * ry + 1)).fill(-1);
  let best = -1, at = 0;
  for (let v = -ry, i = 0; v <= ry; v++) {
    for (let u = -rx; u <= rx; u++, i++) {
      const other = to(cx + u, cy + v);
      if (!other) continue;
      scores[i] = correlation(own, other);
      if (scores[i] > best) best = scores[i], at = i;
    }
  }
  const u = at % wide, v = Math.floor(at / wide);
  if (best < least) return;
  for (let i = 0; unique && i < scores.length; i++) {
    const near = Math.abs(i % wide - u) <= 2 && Math.abs(Math.floor(i / wide) - v) <= 2;
    if (!near && scores[i] > best - unique) return;
  }
  const score = (i: number) => scores[i] ?? -1;
  const fine = (step: number, inside: boolean) =>
    inside && score(at - step) > 0 && score(at + step) > 0
      ? tip(score(at - step), best, score(at + step))
      : 0;
  return [cx - rx + u + fine(1, u > 0 && u < wide - 1), cy - ry + v + fine(wide, v > 0 && v < 2 * ry)];
}

/**
 * Matches corners of the left image, spread over it, with the right one: first on quarter-size images over 40 % of the
 * width either way and 16 px up and down, then to fractions of a px; only those that are found again from the right.
 *
 * @param left At least 100 px wide, values 0 to 255.
 * @param right Of the same size.
 */
export function matchCorners(left: GrayImage, right: GrayImage): Match[] {
  const whole = [left, right].map((image) => windows(image, FINE));
  const small = [left, right].map((image) => windows(quarter(image), COARSE));
  const reach = Math.round(REACH * left.width / 4);
  const find = (from: 0 | 1, x: number, y: number) => {
    const to = 1 - from, here = [x >> 2, y >> 2] as const;
    const rough = search(small[from], small[to], here, here, [reach, ROW_REACH], ROUGHLY_ALIKE, UNIQUE);
    if (!rough) return;
    const center = [
      x + Math.round(4 * (rough[0] - here[0])),
      y + Math.round(4 * (rough[1] - here[1])),
    ] as const;
    return search(whole[from], whole[to], [x, y], center, [4, 4], ALIKE, 0);
  };
  return corners(left).flatMap(([x, y]) => {
    const there = find(0, x, y);
    if (!there) return [];
    const back = find(1, Math.round(there[0]), Math.round(there[1]));
    if (!back || Math.hypot(back[0] - x, back[1] - y) > RETURN) return [];
    return [{ x, y, disparity: x - there[0], rowOffset: there[1] - y }];
  });
}
