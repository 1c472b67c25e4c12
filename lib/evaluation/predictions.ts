/**
 * Anyone's predictions as files: a .npy array or a folder of maps, in any unit of the field; and whether unit and order
 * are what they are said to be.
 *
 * @module
 */
import { join } from "@std/path";
import { CyclopsError, UsageError } from "../base/errors.ts";
import { fileError } from "../base/files.ts";
import { median } from "../base/random.ts";
import { type FloatMap, readGray16 } from "../data/image.ts";
import { openNpy, readNpy } from "../data/npy.ts";
import { resizeMap } from "../data/resize.ts";
import type { StereoPair } from "../data/split.ts";
import type { StereoCamera } from "../geometry/camera.ts";
import type { PredictionSource } from "./protocol.ts";
import type { Truth } from "./truth.ts";

/** What the values of a prediction mean. */
export type PredictionUnit = "width" | "px" | "metres" | "inverse" | "monodepth2";

/** monodepth2 trains with a baseline of 0.1 where KITTI's is 0.54 m: its depths times this are meters. */
const MONODEPTH2_SCALE = 5.4;

interface Unit {
  readonly words: string;
  /** Depth in m of a value, for a map of that width. */
  readonly depth: (value: number, camera: StereoCamera, width: number) => number;
}

/** The units, by their names on the command line. */
export const PREDICTION_UNITS: Readonly<Record<PredictionUnit, Unit>> = {
  width: {
    words: "disparities, fractions of the image width",
    depth: (value, camera) => reach(camera) / value,
  },
  px: {
    words: "disparities, px of the predicted map",
    depth: (value, camera, width) => reach(camera) * width / value,
  },
  metres: { words: "depths, m", depth: (value) => value },
  inverse: { words: "inverse depths, 1/m", depth: (value) => 1 / value },
  monodepth2: {
    words: "monodepth2's disparities, 5.4 / depth in m",
    depth: (value) => MONODEPTH2_SCALE / value,
  },
};

/** Depth times disparity as a fraction of the width, m. */
function reach({ focalPx, baselineM, imageSize }: StereoCamera): number {
  return focalPx * baselineM / imageSize.width;
}

/** Predictions in a file or a folder. Close them. */
export interface PredictionFiles extends PredictionSource, Disposable {
  readonly unit: PredictionUnit;
  /** The map of frame i as it is stored; 16-bit PNG divided by 256. @param memory As of `read`. */
  raw(i: number, memory?: FloatMap["data"]): Promise<FloatMap>;
}

/** A 16-bit PNG stores px or m times this. */
const PNG_STEPS = 256;

/** Where maps come from, whatever their unit. */
type RawMaps = Pick<PredictionFiles, "count" | "raw" | typeof Symbol.dispose>;

/** A .npy array of maps; axes of length 1 for the channel are left out. */
async function openArray(path: string): Promise<RawMaps> {
  const file = await openNpy(path);
  const [count, ...rest] = file.shape, axes = rest.length === 3 ? rest.filter((n) => n !== 1) : rest;
  if (axes.length !== 2 || file.shape.includes(0)) {
    file[Symbol.dispose]();
    throw new CyclopsError(
      `Cannot evaluate ${path}: its shape is (${file.shape.join(", ")}), expected (frames, height, width)`,
    );
  }
  const [height, width] = axes, area = height * width;
  return {
    count,
    raw: (i, memory) => {
      const own = memory as Float32Array<ArrayBuffer> | undefined;
      return Promise.resolve({ width, height, data: file.read(i * area, area, own) });
    },
    [Symbol.dispose]: () => file[Symbol.dispose](),
  };
}

/** A folder of maps in the order of their names, numbers by their value; each may have its own size. */
async function openFolder(path: string, unit: PredictionUnit): Promise<RawMaps> {
  const all = (await Array.fromAsync(Deno.readDir(path))).map(({ name }) => name);
  const names = all.filter((name) => /^[^.].*\.(png|npy)$/i.test(name))
    .sort(new Intl.Collator("en", { numeric: true }).compare);
  const kinds = new Set(names.map((name) => name.slice(-3).toLowerCase()));
  if (kinds.size !== 1) {
    throw new CyclopsError(
      `Cannot evaluate ${path}: found ${kinds.size ? "both PNG and .npy" : "neither PNG nor .npy"} files, ` +
        "expected one file per frame of one kind, named in the order of the split",
    );
  }
  if (kinds.has("png") && unit !== "px" && unit !== "metres") {
    throw new UsageError(
      `Cannot evaluate ${path}: 16-bit PNG files hold disparities (px · 256) or depths (m · 256), found --units ${unit}; ` +
        "expected px or metres",
    );
  }
  const raw = async (i: number): Promise<FloatMap> => {
    const file = join(path, names[i]);
    if (kinds.has("png")) {
      const { width, height, data } = await readGray16(file), values = new Float32Array(data.length);
      for (let p = 0; p < data.length; p++) values[p] = data[p] / PNG_STEPS;
      return { width, height, data: values };
    }
    const { shape, data } = await readNpy(file);
    const axes = shape.length === 3 ? shape.filter((n) => n !== 1) : shape, [height, width] = axes;
    if (axes.length !== 2) {
      throw new CyclopsError(
        `Cannot evaluate ${file}: its shape is (${shape.join(", ")}), expected (height, width)`,
      );
    }
    return { width, height, data };
  };
  return { count: names.length, raw, [Symbol.dispose]: () => {} };
}

/**
 * Opens predictions: a .npy file of shape [frames, height, width], or a folder of 16-bit PNG (value / 256) or .npy files,
 * one per frame, in the order of the split. Maps of depths are resized to the image as they are, all others as disparities.
 *
 * @throws {UsageError} When PNG files cannot hold the unit.
 * @throws {CyclopsError} When there is no such file, or it is damaged or has another shape; `read` also where a value is
 * not possible in the unit, naming frame and pixel.
 */
export async function openPredictions(path: string, unit: PredictionUnit): Promise<PredictionFiles> {
  let isFolder: boolean;
  try {
    isFolder = (await Deno.stat(path)).isDirectory;
  } catch (error) {
    throw fileError("read the predictions", path, error);
  }
  const maps = isFolder ? await openFolder(path, unit) : await openArray(path);
  const read: PredictionFiles["read"] = async (i, camera, memory) => {
    const map = await maps.raw(i, memory);
    checkValues(map, i, path, unit);
    if (unit === "metres") {
      const { imageSize } = camera, same = map.width === imageSize.width && map.height === imageSize.height;
      const depth = same ? map : resizeMap(map, imageSize), factor = reach(camera);
      return { ...depth, data: depth.data.map((value) => factor / value) };
    }
    // Anything else is a multiple of the disparity.
    const factor = reach(camera) / PREDICTION_UNITS[unit].depth(1, camera, map.width);
    if (factor !== 1) { for (let p = 0; p < map.data.length; p++) map.data[p] *= factor; }
    return map;
  };
  const { words } = PREDICTION_UNITS[unit], resized = unit === "metres" ? "depth" : "disparity";
  const absolute = unit !== "width" && unit !== "px";
  return { ...maps, path, unit, units: `predictions are ${words}`, resized, absolute, read };
}

/** @throws {CyclopsError} On a value that the unit does not allow. */
function checkValues({ width, data }: FloatMap, frame: number, path: string, unit: PredictionUnit): void {
  const most = unit === "width" ? 1 : unit === "px" ? width : MAX_FLOAT32,
    least = unit === "metres" ? 1e-6 : 0;
  if (allWithin(data, least, most)) return;
  const i = data.findIndex((value) => !(value >= least && value <= most));
  if (i < 0) return; // −0
  const range = unit === "metres" ? "above 0" : most < MAX_FLOAT32 ? `0 to ${most}` : "at least 0";
  throw new CyclopsError(
    `Cannot evaluate ${path}: prediction ${frame}, row ${Math.floor(i / width)}, column ${i % width} is ${
      data[i]
    }, ` +
      `expected ${PREDICTION_UNITS[unit].words}, ${range}` +
      (unit === "width" && data[i] > 1 ? " (if these are px of the map, give --units px)" : ""),
  );
}

/** The largest finite one. */
const MAX_FLOAT32 = 2 ** 128 - 2 ** 104;

/**
 * Whether all values lie in a range at or above 0, where floats have the order of their bits: without a branch and
 * four at a time, this takes a sixth of the time of comparing them. Of −0 it says no.
 */
function allWithin(data: Float32Array, least: number, most: number): boolean {
  const [low, high] = new Int32Array(Float32Array.of(least, most).buffer);
  const bits = new Int32Array(data.buffer, data.byteOffset, data.length), whole = bits.length & ~3;
  let signs = 0;
  for (let i = 0; i < whole; i += 4) {
    const a = bits[i], b = bits[i + 1], c = bits[i + 2], d = bits[i + 3];
    signs |= (a - low) | (high - a) | (b - low) | (high - b) | (c - low) | (high - c) | (d - low) |
      (high - d);
  }
  for (let i = whole; i < bits.length; i++) signs |= (bits[i] - low) | (high - bits[i]);
  return signs >= 0;
}

/** A frame's stored values at points of its truth. */
interface Sample {
  readonly values: readonly number[];
  readonly truth: readonly number[];
  readonly camera: StereoCamera;
  readonly width: number;
}

/** Frames and points of each that {@linkcode checkPredictions} looks at. */
const FRAMES = 12, POINTS = 1000;

function sample({ camera, xs, ys, depths }: Truth, { width, height, data }: FloatMap): Sample {
  const { imageSize } = camera, values: number[] = [], truth: number[] = [];
  for (let i = 0; i < depths.length; i += Math.ceil(depths.length / POINTS)) {
    const x = Math.floor((xs[i] + 0.5) * width / imageSize.width);
    const y = Math.floor((ys[i] + 0.5) * height / imageSize.height);
    const value = data[y * width + x];
    if (!(value > 0 && depths[i] < 80)) continue;
    values.push(value);
    truth.push(depths[i]);
  }
  return { values, truth, camera, width };
}

/** ln of predicted over true depth in one unit, the median over the points. */
function bias({ values, truth, camera, width }: Sample, unit: PredictionUnit): number {
  const { depth } = PREDICTION_UNITS[unit];
  return median(values.map((value, i) => Math.log(depth(value, camera, width) / truth[i])));
}

/**
 * Correlation of the logarithms of values and true depths: above 0 for depths, below for disparities; NaN where either
 * hardly varies.
 */
function correlation({ values, truth }: Sample): number {
  const [a, b] = [values, truth].map((list) => {
    const logs = list.map(Math.log), mean = logs.reduce((sum, v) => sum + v, 0) / logs.length;
    return logs.map((v) => v - mean);
  });
  const dot = (u: readonly number[], v: readonly number[]) =>
    u.reduce((sum, value, i) => sum + value * v[i], 0);
  const flat = [a, b].some((list) => dot(list, list) < 0.01 * list.length);
  return flat ? NaN : dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}

/** Abs rel after median scaling: how well a map fits a frame, whatever its scale. */
function misfit(one: Sample, unit: PredictionUnit): number {
  const { values, truth, camera, width } = one, shift = Math.exp(-bias(one, unit));
  const { depth } = PREDICTION_UNITS[unit];
  return median(values.map((value, i) => Math.abs(shift * depth(value, camera, width) / truth[i] - 1)));
}

/** Depths wrong by this factor are of another unit, where that is wrong by less than the second. */
const WRONG = 2, RIGHT = 1.6;
/** A correlation that tells depths from disparities. */
const CLEAR = 0.3;
/** Another order of the frames must fit this much better. */
const BETTER = 0.8;

/**
 * Compares predictions with the truth of some frames, and refuses them where they fit another unit, or another order of
 * the frames, clearly better than the one they are said to have.
 *
 * @param pairs The frames, in the order that the predictions are said to have.
 * @param options.scaled The scale does not count, because it is taken from the truth.
 * @param options.has Whether a frame has a truth. @default all have
 * @param options.others Other orders of the same frames, by the split's name.
 * @throws {CyclopsError} Naming the likely unit or split.
 */
export async function checkPredictions(
  source: PredictionFiles,
  pairs: readonly StereoPair[],
  read: (pair: StereoPair) => Promise<Truth>,
  options: {
    readonly scaled?: boolean;
    readonly has?: (pair: StereoPair) => boolean;
    readonly others?: Readonly<Record<string, readonly StereoPair[]>>;
  } = {},
): Promise<void> {
  const { unit, path, count } = source, stride = Math.max(1, pairs.length / FRAMES);
  const chosen = [...new Set(Array.from({ length: FRAMES }, (_, i) => Math.floor(i * stride)))]
    .filter((i) => i < Math.min(count, pairs.length) && (options.has?.(pairs[i]) ?? true));
  const truths = await Promise.all(chosen.map((i) => read(pairs[i])));
  const samplesAt = async (indices: readonly number[]) => {
    const all: Sample[] = [];
    for (const [n, i] of indices.entries()) all.push(sample(truths[n], await source.raw(i)));
    return all;
  };
  const samples = (await samplesAt(chosen)).filter(({ values }) => values.length > 1);
  if (samples.length === 0) return;
  const units = Object.keys(PREDICTION_UNITS) as PredictionUnit[];
  const slope = median(samples.map(correlation).filter(Number.isFinite));
  const oriented = (u: PredictionUnit) => !(Math.abs(slope) > CLEAR) || (slope > 0) === (u === "metres");
  const wrongBy = (u: PredictionUnit) => Math.exp(Math.abs(median(samples.map((one) => bias(one, u)))));
  const turned = !oriented(unit), { words } = PREDICTION_UNITS[unit];
  if (turned || !options.scaled && wrongBy(unit) > WRONG) {
    const [likely] = units.filter(oriented).sort((a, b) => wrongBy(a) - wrongBy(b)), fits = wrongBy(likely);
    const why = turned
      ? `near points have ${slope > 0 ? "small" : "large"} values, which ${words} do not`
      : fits < RIGHT && `read as ${words}, depths are ${wrongBy(unit).toFixed(1)} times off the truth`;
    if (why) {
      throw new CyclopsError(
        `Cannot evaluate ${path} as --units ${unit}: ${why}; read as ${
          PREDICTION_UNITS[likely].words
        }, they are off ` +
          `by a factor of ${fits.toFixed(2)}: give --units ${likely} if that is what they are`,
      );
    }
  }
  const fit = (list: readonly Sample[]) => median(list.map((one) => misfit(one, unit)));
  for (const [name, order] of Object.entries(options.others ?? {})) {
    const places = new Map(order.map(({ left }, i) => [left.replace(/\.\w+$/, ""), i]));
    const there = chosen.map((i) => places.get(pairs[i].left.replace(/\.\w+$/, "")) ?? -1);
    if (there.some((i) => i < 0 || i >= count)) continue;
    const ours = fit(await samplesAt(chosen)), theirs = fit(await samplesAt(there));
    if (theirs < BETTER * ours) {
      throw new CyclopsError(
        `Cannot evaluate ${path} in this order of the frames: they fit the truth to ${
          percent(ours)
        }, in the order of ` +
          `${name} to ${percent(theirs)} (median, scaled): give --split ${name} if that is their order`,
      );
    }
  }
}

const percent = (fraction: number) => `${(100 * fraction).toFixed(1)} %`;
