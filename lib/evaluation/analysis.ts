/**
 * What lies behind a mean: how sure it is, whether two predictions differ, and where in distance and image errors arise.
 *
 * @module
 */
import { Random } from "../base/random.ts";
import type { ImageSize } from "../geometry/camera.ts";
import { type DepthMetrics, type FrameScore, metricNames, type ScoredPoints } from "./protocol.ts";

/** A mean with its 95 % interval. */
export interface Interval {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
}

/** Resamples of a bootstrap, and the seed that makes them the same each time. */
const RESAMPLES = 1000, SEED = 20190613;

/**
 * The mean of some values and its 95 % interval by the percentile bootstrap.
 *
 * @param values One per image.
 * @param groups The drive of each image: whole drives are drawn, because their images resemble each other. Where there are
 * fewer than five, or none is given, images are drawn.
 */
export function bootstrapMean(values: readonly number[], groups?: readonly string[]): Interval {
  const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
  let blocks = [...Map.groupBy(values.keys(), (i) => groups?.[i] ?? String(i)).values()]
    .map((indices) => ({ sum: indices.reduce((total, i) => total + values[i], 0), count: indices.length }));
  if (blocks.length < 5) blocks = values.map((value) => ({ sum: value, count: 1 }));
  const random = new Random(SEED);
  const means = Float64Array.from({ length: RESAMPLES }, () => {
    let sum = 0, count = 0;
    for (let k = 0; k < blocks.length; k++) {
      const block = blocks[random.below(blocks.length)];
      sum += block.sum;
      count += block.count;
    }
    return sum / count;
  }).sort();
  const at = (q: number) => means[Math.round(q * (RESAMPLES - 1))];
  return { mean, low: at(0.025), high: at(0.975) };
}

/** How two sets of predictions differ on the frames that both were scored on. */
export interface Comparison {
  readonly frames: number;
  /** Ours less theirs. */
  readonly difference: Readonly<Record<keyof DepthMetrics, Interval>>;
  /** Fraction of the frames whose abs rel is lower than theirs. */
  readonly better: number;
}

/** Compares two predictions frame by frame: what makes a frame hard for both cancels. */
export function compareFrames(ours: readonly FrameScore[], theirs: readonly FrameScore[]): Comparison {
  const other = new Map(theirs.map((score) => [score.pair.left, score.metrics]));
  const both = ours.flatMap(({ pair, metrics }) => {
    const their = other.get(pair.left);
    return their ? [{ pair, metrics, their }] : [];
  });
  const groups = both.map(({ pair }) => driveOf(pair.left));
  const difference = (name: keyof DepthMetrics) =>
    bootstrapMean(both.map(({ metrics, their }) => metrics[name] - their[name]), groups);
  const lower = both.filter(({ metrics, their }) => metrics.absRel < their.absRel).length;
  return {
    frames: both.length,
    difference: Object.fromEntries(
      metricNames.map((name) => [name, difference(name)]),
    ) as Comparison["difference"],
    better: lower / both.length,
  };
}

/** What images of one drive share: their folder, of KITTI the drive's. */
export function driveOf(left: string): string {
  return left.split("/").slice(0, left.includes("/image_0") ? -3 : -1).join("/");
}

/** A bin of an {@linkcode ErrorProfile}. */
export interface ProfileBin {
  /** m, or fraction of the image height. */
  readonly from: number;
  readonly to: number;
  readonly points: number;
  readonly absRel: number;
  /** Mean of predicted less true over true depth: above 0 where predictions are too far. */
  readonly bias: number;
}

/** Lower ends of the bins of distance, m; the last one is open. */
const DISTANCES = [0, 5, 10, 15, 20, 25, 30, 40, 50, 60, 70, 80];
/** The bin of each whole meter. */
const BIN_AT = Uint8Array.from({ length: 81 }, (_, m) => DISTANCES.findLastIndex((from) => m >= from));
/** Bins of the image's height. */
const ROWS = 25;

/** Errors by true distance and by row of the image; pass `add` as `onPoints`. */
export class ErrorProfile {
  /** Points, sum of |error|, sum of error of each bin: those of distance, then those of the rows. */
  readonly sums: Float64Array = new Float64Array(3 * (DISTANCES.length + ROWS));

  /** Adds a frame's points. */
  add = ({ rows, predicted, actual }: ScoredPoints, { height }: ImageSize): void => {
    const sums = new Float64Array(this.sums.length);
    const put = (bin: number, error: number) => {
      sums[3 * bin]++;
      sums[3 * bin + 1] += Math.abs(error);
      sums[3 * bin + 2] += error;
    };
    const binOf = Uint8Array.from(
      { length: height },
      (_, y) => DISTANCES.length + Math.floor((y + 0.5) / height * ROWS),
    );
    for (let i = 0; i < actual.length; i++) {
      const error = (predicted[i] - actual[i]) / actual[i];
      put(BIN_AT[Math.min(80, actual[i]) | 0], error);
      put(binOf[rows[i]], error);
    }
    this.merge(sums);
  };

  /** Adds the sums of other points: frame by frame, so that it does not matter which thread did which. */
  merge(sums: Float64Array): void {
    for (const [i, sum] of sums.entries()) this.sums[i] += sum;
  }

  /** By true depth. */
  get byDistance(): ProfileBin[] {
    return this.#bins(0, DISTANCES.length, (i) => DISTANCES[i] ?? Infinity);
  }

  /** From top to bottom, fractions of the height. */
  get byRow(): ProfileBin[] {
    return this.#bins(DISTANCES.length, ROWS, (i) => i / ROWS);
  }

  #bins(first: number, count: number, edge: (i: number) => number): ProfileBin[] {
    return Array.from({ length: count }, (_, i) => {
      const [points, relative, bias] = this.sums.subarray(3 * (first + i));
      return { from: edge(i), to: edge(i + 1), points, absRel: relative / points, bias: bias / points };
    }).filter(({ points }) => points > 0);
  }
}
