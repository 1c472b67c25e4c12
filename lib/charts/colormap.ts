/**
 * Numbers to colors: maps of one value per pixel become RGB images.
 *
 * @module
 */
import {
  interpolateInferno,
  interpolateMagma,
  interpolateRdYlBu,
  interpolateTurbo,
  interpolateViridis,
} from "d3-scale-chromatic";
import type { FloatMap, RgbImage } from "../data/image.ts";
import { checkMap } from "../data/resize.ts";

/** Red, green, blue, 0–255. */
export type Color = readonly [red: number, green: number, blue: number];

/** A color map's name. */
export type ColormapName = "magma" | "inferno" | "viridis" | "turbo" | "grey" | "error";

const INTERPOLATORS: Readonly<Record<ColormapName, (t: number) => string>> = {
  magma: interpolateMagma,
  inferno: interpolateInferno,
  turbo: interpolateTurbo,
  viridis: interpolateViridis,
  // ColorBrewer's RdYlBu, from blue (small) over pale yellow to red (large).
  error: (t: number) => interpolateRdYlBu(1 - t),
  grey: (t: number) => `rgb(${Array(3).fill(Math.round(255 * t)).join()})`,
};

const STEPS = 1024;
const tables = new Map<ColormapName, Uint8Array>();

/** A map's colors at evenly spaced places: parsing d3's strings once is what makes images fast. */
function tableOf(name: ColormapName): Uint8Array {
  let table = tables.get(name);
  if (!table) {
    table = new Uint8Array(STEPS * 3);
    for (let i = 0; i < STEPS; i++) {
      const color = INTERPOLATORS[name](i / (STEPS - 1));
      const channels = color.startsWith("#")
        ? [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16))
        : color.match(/\d+/g)!.map(Number);
      table.set(channels.slice(0, 3), i * 3);
    }
    tables.set(name, table);
  }
  return table;
}

/** One color of a map. `t` runs from 0 (low end) to 1 (high end) and is clamped to them. */
export function colorAt(name: ColormapName, t: number): Color {
  const at = Math.round(Math.min(1, Math.max(0, t)) * (STEPS - 1)) * 3;
  const table = tableOf(name);
  return [table[at], table[at + 1], table[at + 2]];
}

/** How values become colors. */
export interface ColorScale {
  readonly min: number;
  readonly max: number;
  readonly map: ColormapName;
  /** Even steps of the logarithm instead of the value; needs min > 0. @default false */
  readonly log?: boolean;
  /** Color where there is no value (NaN). @default light gray */
  readonly none?: Color;
}

/** Color of pixels without a value. */
export const NO_VALUE: Color = [214, 216, 220];

/** The scale of disparity pictures: near is bright. `max` is a fraction of the width. */
export function disparityScale(max: number): ColorScale {
  return { min: 0, max, map: "magma" };
}

/** The scale of error pictures: |error| / truth from 1 % to 100 %, logarithmic. */
export const ERROR_SCALE: ColorScale = { min: 0.01, max: 1, map: "error", log: true, none: [72, 76, 84] };

/** Position of a value on a scale, 0 to 1, not clamped; NaN stays NaN. */
export function positionOn({ min, max, log }: ColorScale, value: number): number {
  if (log) return Math.log(Math.max(value, 1e-12) / min) / Math.log(max / min);
  return max > min ? (value - min) / (max - min) : 0;
}

/** Colors a map of numbers. NaN becomes the scale's `none`. @throws {RangeError} When the data do not fit the size. */
export function mapToRgb(map: FloatMap, scale: ColorScale): RgbImage {
  checkMap(map);
  const table = tableOf(scale.map), { min, max, none = NO_VALUE } = scale;
  const linear = !scale.log && max > min, last = STEPS - 1;
  const data = new Uint8Array(map.data.length * 3);
  for (let i = 0, to = 0; i < map.data.length; i++, to += 3) {
    const value = map.data[i], t = linear ? (value - min) / (max - min) : positionOn(scale, value);
    if (Number.isNaN(t)) data.set(none, to);
    else {
      // Not Math.round, which takes three times as long.
      const at = 3 * (t <= 0 ? 0 : t >= 1 ? last : (t * last + 0.5) | 0);
      data[to] = table[at], data[to + 1] = table[at + 1], data[to + 2] = table[at + 2];
    }
  }
  return { width: map.width, height: map.height, data };
}

/** The value below which the fraction p of all finite values of the maps lies; 1 where there are none. */
export function percentile(maps: readonly FloatMap[], p: number): number {
  const samples = maps.map(({ data }) => {
    // A loop: filter() calls a function for each pixel, twice the time.
    const finite = new Float32Array(data.length);
    let count = 0;
    for (const value of data) if (Number.isFinite(value)) finite[count++] = value;
    // 20,000 values of a dense map are enough and keep it fast.
    const stride = Math.max(1, Math.floor(count / 20_000));
    const sample = new Float32Array(Math.floor(count / stride));
    for (let i = 0; i < sample.length; i++) sample[i] = finite[i * stride];
    return sample;
  });
  const values = new Float32Array(samples.reduce((sum, { length }) => sum + length, 0));
  samples.reduce((at, sample) => (values.set(sample, at), at + sample.length), 0);
  values.sort();
  return values.length ? values[Math.min(values.length - 1, Math.floor(p * values.length))] : 1;
}
