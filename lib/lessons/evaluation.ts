/**
 * Frames with predictions to evaluate: real KITTI frames where there are any, else streets.
 *
 * @module
 */
import { dirname, join } from "@std/path";
import { exists, readJson } from "../base/files.ts";
import { parseFrame } from "../data/kitti.ts";
import { readSplit, type StereoPair } from "../data/split.ts";
import type { FloatMap } from "../data/image.ts";
import type { DepthMetrics } from "../evaluation/metrics.ts";
import { type Crop, type Disparities, readDisparities } from "../evaluation/protocol.ts";
import { MIN_DEPTH_M, type Truth } from "../evaluation/truth.ts";
import { LESSON_SIZE, openLessonData, PROJECT, readLessonFrame } from "./data.ts";
import { planeSweep } from "./matching.ts";

/** A row of the reference evaluation, as `expected.json` holds it. */
export interface ExpectedRow extends DepthMetrics {
  /** m */
  readonly capMetres: number;
  /** Part of the image that counted. */
  readonly crop: Crop;
}

/** Frames, what was predicted for them and, where it is known, what the evaluation gives. */
export interface EvaluationData {
  /** Drawn or real. */
  readonly kind: "street" | "kitti";
  /** The data's root folder. */
  readonly root: string;
  /** The frames. */
  readonly pairs: readonly StereoPair[];
  /** A prediction for each. */
  readonly disparities: Disparities;
  /** Where the predictions come from, in words. */
  readonly source: string;
  /** What an independent evaluation of the same predictions gave; none for streets. */
  readonly expected: readonly ExpectedRow[];
}

/** Folders of real frames with a split, in the order they are looked for. */
function realFrames(): string[] {
  const sample = Deno.env.get("KITTI_SAMPLE") || join(PROJECT, "../shared/kitti-sample");
  return [join(sample, "raw"), Deno.env.get("KITTI_DIR")].filter((place) =>
    place !== undefined && place !== ""
  ) as string[];
}

/**
 * Opens frames to evaluate: a folder with `split.txt` and `disparities.npy` (KITTI_SAMPLE/raw or KITTI_DIR), else three
 * frames of streets, predicted by a search in both views.
 */
export async function openEvaluationData(): Promise<EvaluationData> {
  for (const root of realFrames()) {
    const predictions = join(root, "disparities.npy"), reference = join(root, "expected.json");
    if (!await exists(join(root, "split.txt")) || !await exists(predictions)) continue;
    const expected = await exists(reference)
      ? (await readJson(reference) as { rows: ExpectedRow[] }).rows
      : [];
    return {
      kind: "kitti",
      root,
      pairs: await readSplit(join(root, "split.txt")),
      disparities: await readDisparities(predictions),
      source: "disparities.npy beside the frames",
      expected,
    };
  }
  const { test } = await openLessonData();
  const frames = [14, 2, 8];
  const pairs = frames.map((i) => test.pairs[i]);
  const { width, height } = LESSON_SIZE;
  const data = new Float32Array(pairs.length * width * height);
  for (const [i, frame] of frames.entries()) {
    data.set(planeSweep(await readLessonFrame(test, frame), { window: 15 }).data, i * width * height);
  }
  return {
    kind: "street",
    root: test.root,
    pairs,
    disparities: { count: pairs.length, width, height, data },
    source: "a search in both views (notebook 02)",
    expected: [],
  };
}

/** A pair's files and date, relative to the root. */
export function describePair(
  pair: StereoPair,
): { readonly date: string; readonly folder: string; readonly index: number } {
  const { date, index } = parseFrame(pair.left);
  return { date, folder: dirname(dirname(dirname(pair.left))), index };
}

/**
 * Predicted depths at the points of a truth: disparity between pixels by bilinear interpolation (half-pixel centres).
 *
 * @param map Fraction of width, of any size.
 * @returns m, in the truth's order, at least 1 mm.
 */
export function depthsAt({ camera, xs, ys }: Truth, map: FloatMap): Float32Array {
  const { imageSize, focalPx, baselineM } = camera;
  const { width, height, data } = map;
  const at = (x: number, y: number) => data[Math.min(height - 1, y) * width + Math.min(width - 1, x)];
  return Float32Array.from(xs, (column, i) => {
    const x = Math.min(width - 1, Math.max(0, (column + 0.5) * width / imageSize.width - 0.5));
    const y = Math.min(height - 1, Math.max(0, (ys[i] + 0.5) * height / imageSize.height - 0.5));
    const [x0, y0] = [Math.floor(x), Math.floor(y)];
    const upper = at(x0, y0) + (x - x0) * (at(x0 + 1, y0) - at(x0, y0));
    const lower = at(x0, y0 + 1) + (x - x0) * (at(x0 + 1, y0 + 1) - at(x0, y0 + 1));
    const disparity = upper + (y - y0) * (lower - upper);
    return Math.max(MIN_DEPTH_M, focalPx * baselineM / (disparity * imageSize.width));
  });
}
