/**
 * Numbers to colours: maps of one value a pixel become RGB images.
 *
 * @module
 */
import type { FloatMap, RgbImage } from "../data/image.ts";
import { type Color, INK } from "./draw.ts";

export type { FloatMap };

/**
 * Colour scales as evenly spaced control points, linearly interpolated; with 33 points no channel is more than 2 of 255
 * away from the original. magma and viridis: Smith and van der Walt for matplotlib (CC0); turbo: Mikhailov, 2019.
 * "error" runs from blue (small) over pale yellow to red (large), after ColorBrewer's RdYlBu.
 */
const CONTROL_POINTS: Readonly<Record<ColormapName, string>> = {
  magma:
    "000004 030311 0a0822 130d33 1d1146 28115a 36106a 430f76 50127c 5d177f 691c81 762181 822681 8f2a81 " +
    "9c2e7f a9327d b63779 c33b75 cf4170 db486a e65163 ee5c5e f5695c f9785d fb8761 fd9668 fea571 feb47b fec387 " +
    "fed194 fde0a2 fceeb0 fcfdbf",
  viridis:
    "440154 470d60 48186a 482374 472d7b 453681 424086 3f4989 3b528b 375a8d 33638d 2f6a8e 2c728e 297a8e " +
    "26818e 23898e 21908c 1f988b 1f9f88 21a685 28ae80 31b57b 3ebc74 4cc26c 5dc963 6ece58 82d34c 96d83f abdc32 " +
    "c0df24 d5e21a eae51a fde725",
  turbo:
    "30123b 392a73 4040a1 4456c7 466be3 467ff6 4293ff 37a7fa 29bbec 1dcdd8 18dcc3 1ee8b0 31f299 4cf97e " +
    "6bfd64 8aff4d a3fd3c b8f735 cced34 dee037 edd03a f8c03a fdae35 fe982c fb8022 f56817 ec520f e04009 d23105 " +
    "c02302 ac1701 950d01 7a0403",
  error: "313695 4575b4 74add1 abd9e9 e0f3f8 ffffbf fee090 fdae61 f46d43 d73027 a50026",
  grey: "000000 ffffff",
};

/** A colour scale's name. */
export type ColormapName = "magma" | "viridis" | "turbo" | "error" | "grey";

/** The names of all colour scales. */
export const COLORMAPS: readonly ColormapName[] = Object.keys(CONTROL_POINTS) as ColormapName[];

const STEPS = 1024;
const tables = new Map<ColormapName, Uint8Array>();

function tableOf(name: ColormapName): Uint8Array {
  let table = tables.get(name);
  if (!table) {
    const points = CONTROL_POINTS[name].split(" ")
      .map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));
    table = new Uint8Array(STEPS * 3);
    for (let i = 0; i < STEPS; i++) {
      const at = i / (STEPS - 1) * (points.length - 1);
      const k = Math.min(points.length - 2, Math.floor(at));
      for (let c = 0; c < 3; c++) {
        table[i * 3 + c] = Math.round(points[k][c] + (points[k + 1][c] - points[k][c]) * (at - k));
      }
    }
    tables.set(name, table);
  }
  return table;
}

/**
 * One colour of a scale.
 *
 * @param t 0 (low end) to 1 (high end); beyond them the ends go on.
 */
export function colorAt(name: ColormapName, t: number): Color {
  const table = tableOf(name);
  const at = Math.round(Math.min(1, Math.max(0, t)) * (STEPS - 1)) * 3;
  return [table[at], table[at + 1], table[at + 2]];
}

/** How values become colours. */
export interface ColorScale {
  /** Value at the scale's low end. */
  readonly min: number;
  /** Value at the scale's high end. */
  readonly max: number;
  /** Its colours. */
  readonly map: ColormapName;
  /** Even steps of the logarithm instead of the value; needs min > 0. @default false */
  readonly log?: boolean;
  /** Colour where there is no value (NaN). @default a light grey */
  readonly none?: Color;
}

/** The scale of the disparity pictures: near is bright. `max` is a fraction of the width. */
export function disparityScale(max: number): ColorScale {
  return { min: 0, max, map: "magma" };
}

/** The scale of the error pictures: |error| / truth from 1 % to 100 %, by its logarithm. */
export const ERROR_SCALE: ColorScale = { min: 0.01, max: 1, map: "error", log: true, none: [72, 76, 84] };

/** Where a value stands on a scale, 0 to 1, not cut off; NaN stays NaN. */
export function positionOn(scale: ColorScale, value: number): number {
  const { min, max, log } = scale;
  if (log) return Math.log(Math.max(value, 1e-12) / min) / Math.log(max / min);
  return max > min ? (value - min) / (max - min) : 0;
}

/** Colours a map of numbers. NaN becomes the scale's `none`. */
export function mapToRgb(map: FloatMap, scale: ColorScale): RgbImage {
  checkMap(map);
  const table = tableOf(scale.map);
  const none = scale.none ?? INK.none;
  const data = new Uint8Array(map.data.length * 3);
  for (let i = 0; i < map.data.length; i++) {
    const t = positionOn(scale, map.data[i]);
    if (Number.isNaN(t)) {
      data.set(none, i * 3);
      continue;
    }
    const at = Math.round(Math.min(1, Math.max(0, t)) * (STEPS - 1)) * 3;
    data[i * 3] = table[at], data[i * 3 + 1] = table[at + 1], data[i * 3 + 2] = table[at + 2];
  }
  return { width: map.width, height: map.height, data };
}

/**
 * Colours a disparity map, near bright.
 *
 * @param disparity Fraction of the width, ≥ 0; NaN where unknown.
 * @param scale Ends and colours; by default 0 to the map's 98th percentile, in magma.
 */
export function disparityToRgb(disparity: FloatMap, scale: Partial<ColorScale> = {}): RgbImage {
  return mapToRgb(disparity, { ...disparityScale(scale.max ?? percentile([disparity], 0.98)), ...scale });
}

/**
 * Colours relative errors; see {@linkcode ERROR_SCALE}.
 *
 * @param error |prediction − truth| / truth; NaN where there is no truth.
 */
export function errorToRgb(error: FloatMap, scale: Partial<ColorScale> = {}): RgbImage {
  return mapToRgb(error, { ...ERROR_SCALE, ...scale });
}

/**
 * |prediction − truth| / truth, pixel by pixel.
 *
 * @param prediction Depth, m.
 * @param truth Depth, m, of the same size; 0, negative or not finite where there is none.
 * @returns Fractions; NaN where there is no truth.
 */
export function relativeError(prediction: FloatMap, truth: FloatMap): FloatMap {
  checkMap(prediction);
  checkMap(truth);
  if (prediction.width !== truth.width || prediction.height !== truth.height) {
    throw new RangeError(
      `Cannot compare a prediction of ${prediction.width}×${prediction.height} px with a truth of ` +
        `${truth.width}×${truth.height} px: resize one of them`,
    );
  }
  const data = new Float32Array(truth.data.length);
  for (let i = 0; i < data.length; i++) {
    const t = truth.data[i];
    data[i] = t > 0 && Number.isFinite(t) ? Math.abs(prediction.data[i] - t) / t : NaN;
  }
  return { width: truth.width, height: truth.height, data };
}

/** The value below which the fraction p of all finite values of the maps lies; 1 where there are none. */
export function percentile(maps: readonly FloatMap[], p: number): number {
  const values: number[] = [];
  for (const { data } of maps) {
    const sparse = sparseValues(data);
    // A few thousand values of a dense map are enough and keep it fast.
    const stride = Math.max(1, Math.floor(data.length / 20_000));
    if (sparse) { for (const value of sparse) values.push(value); }
    else for (let i = 0; i < data.length; i += stride) if (Number.isFinite(data[i])) values.push(data[i]);
  }
  if (values.length === 0) return 1;
  values.sort((a, b) => a - b);
  return values[Math.min(values.length - 1, Math.floor(p * values.length))];
}

/** All finite values of a map that has few of them; `undefined` for a dense one. */
function sparseValues(data: Float32Array): number[] | undefined {
  const found: number[] = [];
  for (let i = 0; i < data.length; i++) {
    if (Number.isFinite(data[i])) found.push(data[i]);
    if (found.length > data.length / 10) return undefined;
  }
  return found;
}

/** Throws unless a map's data fit its size. */
export function checkMap(map: FloatMap): void {
  if (map.data.length !== map.width * map.height) {
    throw new RangeError(
      `Cannot draw a map: ${map.data.length} values for ${map.width}×${map.height} px, wanted ${
        map.width * map.height
      }`,
    );
  }
}
