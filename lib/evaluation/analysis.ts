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
 * The means of some measurements and their 95 % intervals by the percentile bootstrap, all from the same resamples.
 *
 * @param rows What was measured, by name, of each image.
 * @param groups The drive of each image: whole drives are drawn, because their images resemble each other. Where there are
 * fewer than five, or none is given, images are drawn.
 */
export function bootstrapMeans<K extends string>(
  rows: readonly Readonly<Record<K, number>>[],
  groups?: readonly string[],
): Record<K, Interval> {
  const names = Object.keys(rows[0] ?? {}) as K[], size = names.length;
  let blocks = [...Map.groupBy(rows.keys(), (i) => groups?.[i] ?? String(i)).values()];
  if (blocks.length < 5) blocks = rows.map((_, i) => [i]);
  const counts = Uint32Array.from(blocks, (block) => block.length);
  const sums = Float64Array.from(
    blocks.flatMap((block) => names.map((name) => block.reduce((sum, i) => sum + rows[i][name], 0))),
  );
  const random = new Random(SEED), means = names.map(() => new Float64Array(RESAMPLES));
  const total = new Float64Array(size);
  for (let n = 0; n < RESAMPLES; n++) {
    let count = 0;
    total.fill(0);
    for (let k = 0; k < blocks.length; k++) {
      const block = random.below(blocks.length);
      count += counts[block];
      for (let m = 0; m < size; m++) total[m] += sums[block * size + m];
    }
    for (let m = 0; m < size; m++) means[m][n] = total[m] / count;
  }
  return Object.fromEntries(names.map((name, m) => {
    const sorted = means[m].sort(), at = (q: number) => sorted[Math.round(q * (RESAMPLES - 1))];
    const mean = rows.reduce((sum, row) => sum + row[name], 0) / rows.length;
    return [name, { mean, low: at(0.025), high: at(0.975) }];
  })) as Record<K, Interval>;
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
  const differences = both.map(({ metrics, their }) =>
    Object.fromEntries(metricNames.map((name) => [name, metrics[name] - their[name]])) as Record<
      keyof DepthMetrics,
      number
    >
  );
  const lower = both.filter(({ metrics, their }) => metrics.absRel < their.absRel).length;
  return {
    frames: both.length,
    difference: bootstrapMeans(differences, both.map(({ pair }) => driveOf(pair.left))),
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
    const binOf = Uint8Array.from(
      { length: height },
      (_, y) => DISTANCES.length + Math.floor((y + 0.5) / height * ROWS),
    );
    for (let i = 0; i < actual.length; i++) {
      const error = (predicted[i] - actual[i]) / actual[i], size = Math.abs(error);
      const distance = 3 * BIN_AT[Math.min(80, actual[i]) | 0], row = 3 * binOf[rows[i]];
      sums[distance]++;
      sums[distance + 1] += size;
      sums[distance + 2] += error;
      sums[row]++;
      sums[row + 1] += size;
      sums[row + 2] += error;
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
