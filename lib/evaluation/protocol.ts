/**
 * The evaluation protocol of the field for monocular depth on KITTI (Eigen et al. 2014, Garg et al. 2016, Godard et
 * al. 2017): a predicted disparity map is resized bilinearly to the image, converted to meters, clamped, compared at
 * the pixels whose depth is known, and the metrics are averaged over images. No median scaling: stereo training
 * knows the scale. No TensorFlow here; only the pixels with a known depth are sampled.
 *
 * @module
 */
import { CyclopsError } from "../base/errors.ts";
import type { FloatMap } from "../data/image.ts";
import type { StereoPair } from "../data/split.ts";
import type { ImageSize, StereoCamera } from "../geometry/camera.ts";
import {
  hasTruth,
  isUncapped,
  MIN_DEPTH_M,
  type Truth,
  TRUTH_KINDS,
  type TruthKind,
  truthReader,
} from "./truth.ts";

/** The seven depth metrics of the field (Eigen et al. 2014): how far predicted depths are from true ones. */
export interface DepthMetrics {
  /** Mean of |prediction − truth| / truth. */
  readonly absRel: number;
  /** Mean of (prediction − truth)² / truth, m. */
  readonly sqRel: number;
  /** Root mean square of prediction − truth, m. */
  readonly rmse: number;
  /** Root mean square of ln prediction − ln truth. */
  readonly rmseLog: number;
  /** Fraction of points with max(prediction / truth, truth / prediction) < 1.25. */
  readonly a1: number;
  /** The same for 1.25². */
  readonly a2: number;
  /** The same for 1.25³. */
  readonly a3: number;
}

/** The metrics in the order of tables. */
export const metricNames = ["absRel", "sqRel", "rmse", "rmseLog", "a1", "a2", "a3"] as const;

/** 1 / c and ln c for each 128th c below 2: ratios of depths mostly lie there. */
const INVERSES = Float64Array.from({ length: 257 }, (_, k) => 128 / k);
const LOGARITHMS = INVERSES.map((inverse) => -Math.log(inverse));

/** Natural logarithm, exact to 1e-12, in a third of the time: ln x = ln c + ln(x / c), the latter by its series. */
function ln(x: number): number {
  if (!(x > 0.6 && x < 2)) return Math.log(x);
  const k = (x * 128 + 0.5) | 0, r = x * INVERSES[k] - 1;
  return LOGARITHMS[k] + r * (1 + r * (-1 / 2 + r * (1 / 3 + r * (-1 / 4 + r / 5))));
}

/** The errors of some points, summed up; see {@linkcode depthMetrics}. */
export class DepthErrors {
  readonly points: number;
  readonly #sums: readonly number[];

  /**
   * @param predicted m, > 0.
   * @param truth m, > 0, of the same length.
   * @param scale What the predictions were multiplied by: 1 without median scaling.
   */
  constructor(predicted: ArrayLike<number>, truth: ArrayLike<number>, readonly scale = 1) {
    let relative = 0, squareRelative = 0, squares = 0, logs = 0, a1 = 0, a2 = 0, a3 = 0;
    const points = this.points = truth.length;
    for (let i = 0; i < points; i++) {
      const p = predicted[i], t = truth[i], ratio = p / t, log = ln(ratio);
      const difference = p - t, share = Math.abs(ratio - 1);
      relative += share;
      squareRelative += Math.abs(difference) * share;
      squares += difference * difference;
      logs += log * log;
      // Without a branch: nobody could guess which way it goes.
      a1 += +(ratio < 1.25) & +(ratio > 1 / 1.25);
      a2 += +(ratio < 1.25 ** 2) & +(ratio > 1 / 1.25 ** 2);
      a3 += +(ratio < 1.25 ** 3) & +(ratio > 1 / 1.25 ** 3);
    }
    this.#sums = [relative, squareRelative, squares, logs, a1, a2, a3];
  }

  /** The metrics over the points; NaN where there are none. */
  metrics(): DepthMetrics {
    const [absRel, sqRel, square, squareLog, a1, a2, a3] = this.#sums.map((sum) => sum / this.points);
    return { absRel, sqRel, rmse: Math.sqrt(square), rmseLog: Math.sqrt(squareLog), a1, a2, a3 };
  }
}

/**
 * The metrics of predicted against true depths, point by point.
 *
 * @param predicted m, > 0.
 * @param truth m, > 0, of the same length.
 * @throws {RangeError} When the lengths differ.
 *
 * @example
 * ```ts
 * import { depthMetrics } from "./protocol.ts";
 *
 * depthMetrics([11, 18], [10, 20]).absRel; // 0.1
 * ```
 */
export function depthMetrics(predicted: ArrayLike<number>, truth: ArrayLike<number>): DepthMetrics {
  if (predicted.length !== truth.length) {
    throw new RangeError(
      `Cannot compare depths: found ${predicted.length} predicted and ${truth.length} true ones, expected equal numbers`,
    );
  }
  return new DepthErrors(predicted, truth).metrics();
}

/** The mean of each metric over images. */
export function meanMetrics(images: readonly DepthMetrics[]): DepthMetrics {
  const mean = (name: keyof DepthMetrics) =>
    images.reduce((sum, image) => sum + image[name], 0) / images.length;
  return Object.fromEntries(metricNames.map((name) => [name, mean(name)])) as unknown as DepthMetrics;
}

/** The part of the image that is evaluated: Garg's crop, Eigen's, that of Cityscapes (Watson et al. 2021), or all of it. */
export type Crop = "garg" | "eigen" | "cityscapes" | "none";

/** Which points are evaluated. */
export interface Protocol {
  /** Part of the image. */
  readonly crop: Crop;
  /**
   * Points at or beyond this depth are ignored, unless the truth's own protocol counts all that are known; predictions are
   * clamped to it, m.
   */
  readonly capM: number;
  /**
   * Multiply each image's predicted depths by the median of the true ones over their own, as is done for networks that
   * do not know the scale: it takes the scale from the truth. @default false
   */
  readonly medianScaling?: boolean;
}

/** Metrics over a split. */
export interface Evaluation extends DepthMetrics {
  /** Of the first protocol: means of what else was measured, over the frames where it could be. */
  readonly extra?: Readonly<Record<string, number>>;
  /** Points compared, over all images. */
  readonly points: number;
  /** Images averaged: those with at least one point inside crop and cap. */
  readonly images: number;
  readonly protocol: string;
}

/** Top, bottom, left and right as fractions of height and width, as in the field's code. */
const CROPS: Readonly<Record<Exclude<Crop, "cityscapes">, readonly [number, number, number, number]>> = {
  garg: [0.40810811, 0.99189189, 0.03594771, 0.96405229],
  eigen: [0.3324324, 0.91351351, 0.0359477, 0.96405229],
  none: [0, 1, 0, 1],
};

/** A rectangle of pixels; `bottom` and `right` are the first row and column outside. */
export interface CropBox {
  readonly top: number;
  readonly bottom: number;
  readonly left: number;
  readonly right: number;
}

/** The pixels of an image that a crop keeps. */
export function cropBox(crop: Crop, { width, height }: ImageSize): CropBox {
  if (crop === "cityscapes") {
    // Rows 256 to 768 and columns 192 to 1856 of 2048 × 1024 px; rows may have been cut off below.
    const px = width / 2048, at = (place: number) => Math.round(place * px);
    return { top: at(256), bottom: Math.min(height, at(768)), left: at(192), right: at(1856) };
  }
  const [top, bottom, left, right] = CROPS[crop];
  return {
    top: Math.trunc(top * height),
    bottom: Math.trunc(bottom * height),
    left: Math.trunc(left * width),
    right: Math.trunc(right * width),
  };
}

/** A protocol in words. */
function describeProtocol({ crop, capM, medianScaling }: Protocol, input: EvaluationInput): string {
  const { truth = "lidar", pairs, flipped, disparities } = input;
  const own = pairs.some((pair) => pair.truth) && !["occ", "noc", "make3d"].includes(truth);
  const known = isUncapped(truth) ? `all known depths, predictions clamped to ` : "";
  const names = { garg: "Garg crop", eigen: "Eigen crop", cityscapes: "Cityscapes crop", none: "no crop" };
  return [
    own ? "the manifest's disparities or depths" : TRUTH_KINDS[truth],
    names[crop],
    `${known}${MIN_DEPTH_M} to ${capM} m`,
    ...("units" in disparities ? [disparities.units] : []),
    ...(truth === "make3d" && !("absolute" in disparities && disparities.absolute)
      ? ["disparities count as those of KITTI's stereo camera: Make3D's is not known"]
      : []),
    `${"resized" in disparities ? disparities.resized : "disparity"} resized bilinearly (half-pixel centers)`,
    ...(flipped ? ["averaged with the mirrored image's prediction"] : []),
    medianScaling ? "MEDIAN SCALING: each image's scale taken from its truth" : "no median scaling",
    "mean over images",
  ].join("; ");
}

/** The middle of some values, the mean of the two middle ones of an even count, as numpy has it. */
function middle(values: Float32Array | Float64Array): number {
  const sorted = values.toSorted();
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

/** For each pixel along an axis: the cell of the map below its center, and the weight of the next one, if any. */
function neighbors(from: number, to: number) {
  const low = new Int32Array(to), share = new Float64Array(to);
  for (let i = 0; i < to; i++) {
    const at = Math.min(Math.max((i + 0.5) * (from / to) - 0.5, 0), from - 1);
    low[i] = Math.min(at, Math.max(from - 2, 0));
    share[i] = at - low[i];
  }
  return { low, share, step: from > 1 ? 1 : 0 };
}

/** The points of a frame that a protocol counts: their rows, predicted depths as they are compared, true ones, m. */
export interface ScoredPoints {
  readonly rows: Uint16Array;
  readonly predicted: Float64Array;
  readonly actual: Float32Array;
}

/** Memory that every frame uses: threads that fetch and return some for each frame wait for each other. */
let scratch: ScoredPoints = {
  rows: new Uint16Array(0),
  predicted: new Float64Array(0),
  actual: new Float32Array(0),
};

/**
 * Puts the points inside crop and cap into `scratch`, predictions clamped to some limits: the map is sampled bilinearly
 * at the points alone, which is what resizing all of it to the image would give there.
 *
 * @returns How many. Nothing follows the loop: compiled code that has never run what follows is left there each time.
 */
function countPoints(
  { camera: { imageSize, focalPx, baselineM }, xs, ys, depths }: Truth,
  { width, height, data }: FloatMap,
  crop: Crop,
  farthest: number,
  [nearest, cap]: readonly [number, number],
): number {
  const factor = focalPx * baselineM / imageSize.width,
    { top, bottom, left, right } = cropBox(crop, imageSize);
  const { low: column, share: across, step: next } = neighbors(width, imageSize.width);
  const { low: row, share: down, step: under } = neighbors(height, imageSize.height);
  const { rows, predicted, actual } = scratch, line = under * width;
  let count = 0;
  for (let i = 0; i < depths.length; i++) {
    const x = xs[i], y = ys[i], known = depths[i];
    if (!(known > MIN_DEPTH_M && known < farthest && x >= left && x < right && y >= top && y < bottom)) {
      continue;
    }
    const fx = across[x], fy = down[y], at = Math.imul(row[y], width) + column[x];
    const below = at + line;
    const upper = data[at] + fx * (data[at + next] - data[at]);
    const lower = data[below] + fx * (data[below + next] - data[below]);
    const depth = factor / (upper + fy * (lower - upper));
    rows[count] = y;
    predicted[count] = depth > cap ? cap : depth < nearest ? nearest : depth;
    actual[count++] = known;
  }
  return count;
}

/** The points inside crop and cap, predictions clamped, until the next call. */
function countedPoints(
  truth: Truth,
  map: FloatMap,
  { crop, capM, medianScaling }: Protocol,
  uncapped = false,
): ScoredPoints & { readonly scale: number } {
  if (scratch.rows.length < truth.depths.length) {
    const room = 2 * truth.depths.length;
    scratch = {
      rows: new Uint16Array(room),
      predicted: new Float64Array(room),
      actual: new Float32Array(room),
    };
  }
  const limits = [MIN_DEPTH_M, capM] as const, farthest = uncapped ? Infinity : capM;
  const count = countPoints(truth, map, crop, farthest, medianScaling ? [0, Infinity] : limits);
  const rows = scratch.rows.subarray(0, count),
    predicted = scratch.predicted.subarray(0, count),
    actual = scratch.actual.subarray(0, count);
  const scale = medianScaling ? middle(actual) / middle(predicted) : 1;
  if (medianScaling) {
    for (const [i, depth] of predicted.entries()) {
      predicted[i] = Math.min(Math.max(scale * depth, MIN_DEPTH_M), capM);
    }
  }
  return { rows, predicted, actual, scale };
}

/**
 * Scores one frame under several protocols at once.
 *
 * @param map The prediction, fraction of the image width, at any resolution.
 * @param options.uncapped Count known depths beyond the cap, too. @default false
 * @param options.onPoints Called with the points of the first protocol, which are gone afterwards.
 * @returns One sum of errors per protocol.
 */
export function scoreFrame(
  truth: Truth,
  map: FloatMap,
  protocols: readonly Protocol[],
  options: { readonly uncapped?: boolean; readonly onPoints?: (points: ScoredPoints) => void } = {},
): DepthErrors[] {
  return protocols.map((protocol, p) => {
    const points = countedPoints(truth, map, protocol, options.uncapped);
    if (p === 0) options.onPoints?.(points);
    return new DepthErrors(points.predicted, points.actual, points.scale);
  });
}

/** Predictions that are read one at a time. */
export interface PredictionSource {
  readonly count: number;
  /** The file or folder, for errors. */
  readonly path: string;
  /** What the values mean, in words. */
  readonly units: string;
  /** What is resized where a map has another size than the image. */
  readonly resized: "disparity" | "depth";
  /** Whether depths follow from the values alone, whatever the camera. */
  readonly absolute?: boolean;
  /**
   * Frame i's disparities as fractions of the width, by the frame's camera.
   *
   * @param memory An array that is not needed any more, which the map may use.
   */
  read(i: number, camera: StereoCamera, memory?: FloatMap["data"]): Promise<FloatMap>;
}

/** How one frame did under the first protocol. */
export interface FrameScore {
  readonly index: number;
  readonly pair: StereoPair;
  readonly metrics: DepthMetrics;
  readonly points: number;
  /** What the predicted depths were multiplied by: 1 without median scaling. */
  readonly scale: number;
}

/** What to evaluate. */
export interface EvaluationInput {
  readonly root: string;
  /** The frames, in the order of the predictions. */
  readonly pairs: readonly StereoPair[];
  /** A map per pair, or one map for all of them (a baseline). Fraction of the image width. */
  readonly disparities: Disparities | FloatMap | PredictionSource;
  /** Predictions of the mirrored images, as the network gave them, for flip post-processing. */
  readonly flipped?: Disparities | PredictionSource;
  readonly truth?: TruthKind;
  /** Reads the true depths; pass one that keeps them when the same frames are evaluated again. */
  readonly reader?: (pair: StereoPair) => Promise<Truth>;
  /** Measures more than the seven metrics of a frame, e.g. `extraMetrics`; `kind` is that of a manifest's truth. */
  readonly extra?: (truth: Truth, map: FloatMap, kind?: "disparity" | "depth") => object;
  /** Called after each frame with how many are done. */
  readonly onProgress?: (done: number) => void;
  /** Called with how each frame did that has a point inside crop and cap. */
  readonly onFrame?: (score: FrameScore) => void;
  /** Called with each frame's points; see {@linkcode scoreFrame}. */
  readonly onPoints?: (points: ScoredPoints, size: ImageSize) => void;
}

/** Frames whose files are read ahead. */
const AHEAD = 3;

/** The map of frame i; see {@linkcode PredictionSource} for `memory`. */
export async function readMap(
  maps: EvaluationInput["disparities"],
  i: number,
  camera: StereoCamera,
  memory?: FloatMap["data"],
): Promise<FloatMap> {
  if ("read" in maps) return await maps.read(i, camera, memory);
  return "count" in maps ? mapOf(maps, i) : maps;
}

/** What one frame adds to an evaluation. */
export interface FrameResult {
  readonly index: number;
  /** By protocol. */
  readonly scores: readonly (Pick<FrameScore, "metrics" | "points" | "scale">)[];
  readonly extra: object;
}

/**
 * Scores the frames of an evaluation that have a truth.
 *
 * @param indices Which, in this order. @default all
 * @throws {CyclopsError} When a file is missing or damaged.
 */
export async function* scoreFrames(
  input: EvaluationInput,
  protocols: readonly Protocol[],
  indices: Iterable<number> = input.pairs.keys(),
): AsyncGenerator<FrameResult> {
  const { root, pairs, disparities, flipped, truth: kind = "lidar", onPoints } = input;
  const read = input.reader ?? truthReader(root, kind), spare: FloatMap["data"][] = [];
  const load = async (index: number) => {
    if (!hasTruth(pairs[index], kind)) return;
    const truth = await read(pairs[index]), { camera } = truth;
    const map = await readMap(disparities, index, camera, spare.pop());
    return { index, truth, map: flipped ? combineFlipped(map, await readMap(flipped, index, camera)) : map };
  };
  // Files of the next frames are read while one is scored; an error shows when it is the frame's turn.
  const ahead: ReturnType<typeof load>[] = [], rest = indices[Symbol.iterator]();
  for (;;) {
    while (ahead.length < AHEAD) {
      const { value, done } = rest.next();
      if (done) break;
      ahead.push(load(value));
      ahead.at(-1)!.catch(() => {});
    }
    const next = ahead.shift();
    if (!next) return;
    const frame = await next;
    if (!frame) continue;
    const { index, truth, map } = frame, { imageSize } = truth.camera;
    const scores = scoreFrame(truth, map, protocols, {
      uncapped: isUncapped(kind),
      onPoints: onPoints && ((points) => onPoints(points, imageSize)),
    }).map((errors) => ({ metrics: errors.metrics(), points: errors.points, scale: errors.scale }));
    const ofStereo = kind === "occ" || kind === "noc" ? "disparity" : undefined;
    const extra = input.extra?.(truth, map, pairs[index].truth?.kind ?? ofStereo) ?? {};
    if (!flipped && "read" in disparities) spare.push(map.data);
    yield { index, scores, extra };
  }
}

/**
 * Evaluates predictions under several protocols, reading every file once.
 *
 * @param results Of the frames, if they are scored elsewhere.
 * @returns Metrics in the order of the protocols.
 * @throws {CyclopsError} When there are more or fewer predictions than frames, a file is missing or damaged, or no
 * frame has a point inside crop and cap.
 */
export async function evaluateAll(
  input: EvaluationInput,
  protocols: readonly Protocol[],
  results: AsyncIterable<FrameResult> = scoreFrames(input, protocols),
): Promise<Evaluation[]> {
  const { pairs, disparities, flipped } = input;
  for (const maps of ["count" in disparities ? disparities : undefined, flipped]) {
    if (!maps || maps.count === pairs.length) continue;
    throw new CyclopsError(
      `Cannot evaluate ${
        maps.path ?? "the predictions"
      }: found ${maps.count} predictions, expected ${pairs.length}, ` +
        "one per frame of the split and in its order",
    );
  }
  const seen = new Map<string, number>();
  for (const [i, { root = "", left }] of pairs.entries()) {
    const before = seen.get(root + left);
    if (before !== undefined) {
      throw new CyclopsError(
        `Cannot evaluate: ${left} is listed twice, as frames ${before} and ${i} of the split; expected each frame once`,
      );
    }
    seen.set(root + left, i);
  }
  const images: DepthMetrics[][] = protocols.map(() => []);
  const points = protocols.map(() => 0);
  const extras: (readonly [string, number])[] = [];
  for await (const { index, scores, extra } of results) {
    const pair = pairs[index];
    for (const [p, score] of scores.entries()) {
      if (score.points === 0) continue;
      if (!metricNames.every((name) => Number.isFinite(score.metrics[name]))) {
        throw new CyclopsError(
          `Cannot evaluate prediction ${index} (${pair.left}): it is not a number where a depth is known`,
        );
      }
      images[p].push(score.metrics);
      points[p] += score.points;
      if (p === 0) input.onFrame?.({ index, pair, ...score });
    }
    extras.push(...Object.entries(extra));
    input.onProgress?.(index + 1);
  }
  const extra = Object.fromEntries(
    [...Map.groupBy(extras, ([name]) => name)].map((
      [name, values],
    ) => [name, values.reduce((sum, [, value]) => sum + value, 0) / values.length]),
  );
  return protocols.map((protocol, p) => {
    if (images[p].length === 0) {
      throw new CyclopsError(
        `Cannot evaluate: none of the ${pairs.length} frames has a known depth below ${protocol.capM} m ` +
          `inside the crop "${protocol.crop}"`,
      );
    }
    return {
      ...meanMetrics(images[p]),
      ...p === 0 && extras.length && { extra },
      points: points[p],
      images: images[p].length,
      protocol: describeProtocol(protocol, input),
    };
  });
}

/**
 * Evaluates predictions under one protocol; see {@linkcode evaluateAll}.
 *
 * @example
 * ```ts ignore
 * const pairs = await readSplit("split.txt");
 * const disparities = await readDisparities("predictions.npy");
 * const { absRel } = await evaluate({ root: "kitti", pairs, disparities, crop: "garg", capM: 80 });
 * ```
 */
export async function evaluate(input: EvaluationInput & Protocol): Promise<Evaluation> {
  const { crop, capM, medianScaling } = input;
  return (await evaluateAll(input, [{ crop, capM, medianScaling }]))[0];
}

/** The disparity maps of several frames, all of one size. */
export interface Disparities extends ImageSize {
  readonly count: number;
  /** [count, height, width], fraction of the image width, in [0, 1]; 0 is infinitely far. */
  readonly data: Float32Array;
  /** The file they were read from, for errors. */
  readonly path?: string;
}

/** The map of frame i, a view into the same memory. */
export function mapOf({ width, height, data }: Disparities, i: number): FloatMap {
  return { width, height, data: data.subarray(i * width * height, (i + 1) * width * height) };
}

/**
 * Checks that every value is a fraction of the width.
 *
 * @param path Where the disparities come from, for the error.
 * @throws {CyclopsError} On NaN, a negative value, or one above 1, naming frame and pixel.
 */
export function checkDisparities({ width, height, data }: Disparities, path: string): void {
  for (let i = 0; i < data.length; i++) {
    if (data[i] >= 0 && data[i] <= 1) continue;
    const frame = Math.floor(i / (width * height)), y = Math.floor(i / width) % height;
    const hint = data[i] > 1 ? " (if these are px, divide by the map's width)" : "";
    throw new CyclopsError(
      `Cannot evaluate ${path}: prediction ${frame}, row ${y}, column ${i % width} is ${data[i]}, ` +
        `expected disparities as fractions of the image width, 0 to 1${hint}`,
    );
  }
}

/**
 * Flip post-processing of Godard et al. 2017: the average of a prediction and the mirrored-back prediction of the
 * mirrored image, except for the outer 5 % on either side, where only the one is used that does not suffer from what
 * lies outside the image; linear ramps from 5 % to 10 % join them.
 *
 * @param map The prediction.
 * @param flipped The prediction of the mirrored image, as the network gave it (still mirrored), of the same size.
 * @returns A new map.
 */
export function combineFlipped(map: FloatMap, flipped: FloatMap): FloatMap {
  const { width, height } = map;
  if (flipped.width !== width || flipped.height !== height) {
    throw new CyclopsError(
      `Cannot combine predictions of ${height}×${width} px with those of the mirrored images: found ` +
        `${flipped.height}×${flipped.width} px, expected equal sizes`,
    );
  }
  const ramp = (x: number) => {
    const position = width > 1 ? x / (width - 1) : 0.5;
    return 1 - Math.min(1, Math.max(0, 20 * (position - 0.05)));
  };
  // Weight of the plain prediction in each column: 0 at the left border, 1/2 in the middle, 1 at the right.
  const own = Float64Array.from({ length: width }, (_, x) => 0.5 * (1 + ramp(width - 1 - x) - ramp(x)));
  const data = new Float32Array(width * height);
  for (let y = 0; y < height; y++) {
    const row = y * width;
    for (let x = 0; x < width; x++) {
      data[row + x] = own[x] * map.data[row + x] + (1 - own[x]) * flipped.data[row + width - 1 - x];
    }
  }
  return { width, height, data };
}
