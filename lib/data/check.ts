/**
 * Checks stereo pairs before anything is trained on them: their files, their cameras and, by matching corners, whether the
 * views are in the right order, their rows agree, and disparities and colors are what training needs.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { dirname, isAbsolute, join, relative, resolve } from "@std/path";
import { CyclopsError, messageOf } from "../base/errors.ts";
import { exists, fileError, fillFrom, readText } from "../base/files.ts";
import { median } from "../base/random.ts";
import type { ImageSize } from "../geometry/camera.ts";
import { type Match, matchCorners } from "../geometry/corners.ts";
import { type DataPart, type DatasetOptions, splitPairs, withCameras } from "./dataset.ts";
import { imageSize, readGray16, readRgb, type RgbImage } from "./image.ts";
import { isManifest, parseManifest } from "./manifest.ts";
import { findImage, folderLookup, type StereoPair } from "./split.ts";

/** What can be wrong with a pair, in the order of the table, and how to fix it. */
export const DATA_PROBLEMS = {
  unreadable: "fetch or convert these images again, or remove their rows",
  sizes: "both images of a pair, and all pairs of a folder with one focal_px, need the same size",
  duplicate: "list each pair once; --data FILE:N visits all pairs N times an epoch",
  overlap: "remove these from one part: what is trained on cannot validate or test",
  same: "left and right show the same picture: pass the other camera's image",
  unmatched: "are both images of one moment, rectified, with at most 40 % of the width between them?",
  swapped: "exchange the columns left and right: near objects lie farther to the right in the left image",
  converging: "rectify for parallel cameras: points far away must have disparity 0, never below",
  rows: "rectify the pairs: a point must lie in the same row of both images",
  large: "resize does not help: move the nearest objects away or the cameras together, or crop",
  small: "there is next to no parallax: place the cameras farther apart or closer to the scene",
  exposure: "fix the cameras' exposure to the same value: the losses compare brightness",
  color: "fix the cameras' white balance to the same value: the losses compare colors",
  calibration: "add the data's calibration, or write a manifest with focal_px and baseline_m",
  focal: "focal_px is in px of the stored image (not mm), and scales with its width when that is resized",
  baseline: "baseline_m is in meters: divide mm by 1000",
  truth: "truth is a 16-bit gray PNG of the left image's size: px · 256 (disparity) or m · 256 (depth)",
} as const;

/** A kind of problem. */
export type DataProblem = keyof typeof DATA_PROBLEMS;

/** A pair as it is listed, whether its files exist or not. */
interface Row extends Omit<StereoPair, "root"> {
  readonly part: DataPart;
  readonly focalPx?: number;
  readonly baselineM?: number;
}

/** What matching a pair's corners said. */
export interface PairCheck extends Pick<Row, "left" | "right" | "focalPx" | "baselineM"> {
  /** Size of the stored images, px. */
  readonly size: ImageSize;
  /** px of the stored images. */
  readonly matches: readonly Match[];
  /** Right over left brightness at the matches, of red, green and blue. */
  readonly gains: readonly number[];
  readonly problems: readonly DataProblem[];
}

/** What {@linkcode checkPairData} found. */
export interface DataReport {
  readonly root: string;
  /** Rows in each part. */
  readonly parts: ReadonlyMap<DataPart, number>;
  /** Occurrences of each problem: the left image and what is wrong with it. */
  readonly problems: ReadonlyMap<DataProblem, readonly string[]>;
  /** The pairs that were matched. */
  readonly checked: readonly PairCheck[];
  /** Pairs of the test part without a right image: enough to evaluate. */
  readonly leftOnly: number;
}

/** Width at which pairs are matched, px. */
const MATCH_WIDTH = 640;
/** Matches that a statement about a pair needs. */
const ENOUGH = 12;
/** Fraction of the width: less parallax than 1 px of 200 teaches nothing. */
const SMALL_DISPARITY = 0.005;
/** Row offset at {@linkcode MATCH_WIDTH} that shows, px; KITTI's is 0.1. */
const ROW_OFFSET = 0.5, ROW_SPREAD = 1;
/** Brightness ratios beyond which views differ; KITTI's stay within 1.1. */
const EXPOSURE = 1.2, COLOR = 1.12;
/** Fields of view from 20° to 140°, as focal length / width. */
const FOCAL = [0.18, 2.8] as const;
/** m */
const BASELINE = [0.01, 3] as const;
/** Bytes of a file that tell it from others. */
const HEAD = 65536;

/** The value below which a fraction q of the values lies. */
function quantile(values: readonly number[], q: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor(q * (values.length - 1))];
}

/** The rows of a manifest or of the parts that a split of a folder has. */
async function listRows(
  data: string,
  split: DatasetOptions["split"],
): Promise<{ readonly root: string; readonly rows: Row[] }> {
  if (isManifest(data)) {
    const root = dirname(data);
    const local = (name: string) => isAbsolute(name) ? relative(resolve(root), name) : name;
    const rows = parseManifest(await readText(data), data).map((row): Row => ({
      ...row,
      left: local(row.left),
      right: local(row.right),
      truth: row.truth && { ...row.truth, path: local(row.truth.path) },
      part: row.part ?? "train",
    }));
    return { root, rows };
  }
  const rows: Row[] = [];
  const named = ["street", "eigen", "cityscapes"].includes(split);
  for (const part of named ? ["train", "val", "test"] as const : ["train"] as const) {
    if (part !== "train" && split === "street" && !await exists(join(data, "splits", `${part}.txt`))) {
      continue;
    }
    const { pairs } = await splitPairs(data, split, part, "both");
    for (const pair of await withCameras(data, pairs, 0)) {
      rows.push({ ...pair, part, focalPx: pair.camera?.focalPx, baselineM: pair.camera?.baselineM });
    }
  }
  return { root: data, rows };
}

/** Tells a file from others by its size and beginning. */
async function fingerprint(path: string): Promise<string> {
  const head = new Uint8Array(HEAD);
  try {
    using file = await Deno.open(path);
    const length = await fillFrom(file, head);
    return `${(await file.stat()).size} ${
      createHash("sha256").update(head.subarray(0, length)).digest("hex")
    }`;
  } catch (error) {
    throw fileError("read the image", path, error);
  }
}

function gray({ width, height, data }: RgbImage) {
  const out = new Float32Array(width * height);
  for (let i = 0; i < out.length; i++) out[i] = (data[3 * i] + data[3 * i + 1] + data[3 * i + 2]) / 3;
  return { width, height, data: out };
}

/** Right over left of each channel, the median over 5 × 5 px around each match. */
function gainsOf(left: RgbImage, right: RgbImage, matches: readonly Match[]): number[] {
  const sum = ({ width, data }: RgbImage, x: number, y: number, channel: number) => {
    let total = 1;
    for (let v = -2; v <= 2; v++) {
      for (let u = -2; u <= 2; u++) total += data[3 * ((y + v) * width + x + u) + channel];
    }
    return total;
  };
  return [0, 1, 2].map((channel) =>
    median(
      matches.map(({ x, y, disparity, rowOffset }) =>
        sum(right, Math.round(x - disparity), Math.round(y + rowOffset), channel) / sum(left, x, y, channel)
      ),
    )
  );
}

const percent = (fraction: number) => `${(100 * fraction).toFixed(1)} %`;

/**
 * Checks a manifest, or a folder as a split divides it.
 *
 * @param options.split As `--split`.
 * @param options.maxDisparity Largest disparity that a network predicts, fraction of the width.
 * @param options.match How many pairs to decode and match, spread over the list; of the others only file names, sizes and
 * cameras are checked. @default all
 * @throws {CyclopsError} When the manifest or the split cannot be read.
 */
export async function checkPairData(data: string, options: {
  readonly split: DatasetOptions["split"];
  readonly maxDisparity: number;
  readonly match?: number;
  readonly onProgress?: (done: number, total: number) => void;
}): Promise<DataReport> {
  const { root, rows } = await listRows(data, options.split);
  const problems = new Map<DataProblem, string[]>(), has = folderLookup(root);
  const add = (kind: DataProblem, row: Row, what?: string) => {
    if (!problems.has(kind)) problems.set(kind, []);
    const name = row.left.startsWith("..") ? resolve(root, row.left) : row.left;
    problems.get(kind)!.push(what ? `${name}: ${what}` : name);
  };
  const names = new Map<string, Row>(), contents = new Map<string, Row>();
  const sizes = new Map<string, readonly [string, Row]>();
  const checked: PairCheck[] = [];
  let leftOnly = 0;
  const every = rows.length / Math.min(rows.length, options.match ?? rows.length);
  for (const [i, row] of rows.entries()) {
    options.onProgress?.(i, rows.length);
    checkCamera(row, add);
    // A pair that was seen before is a duplicate, or in two parts.
    const seen = (before: Row | undefined, by: string) => {
      if (!before) return false;
      if (before.part === row.part) {
        add("duplicate", row, before.left === row.left ? by : `${by} as ${before.left}`);
      } else add("overlap", row, `${by} in ${before.part} and ${row.part}`);
      return true;
    };
    const name = `${row.left} ${row.right}`;
    if (seen(names.get(name), "listed twice")) continue;
    names.set(name, row);
    const left = await findImage(has, row.left), right = await findImage(has, row.right);
    if (left === undefined) add("unreadable", row, "no such file");
    else if (right === undefined && row.part === "test") leftOnly++;
    else if (right === undefined) add("unreadable", row, `no right image ${row.right}`);
    if (left === undefined || right === undefined) continue;
    const paths = [join(root, left), join(root, right)] as const;
    try {
      const [print, other] = await Promise.all(paths.map(fingerprint));
      if (print === other) add("same", row);
      if (seen(contents.get(print), "the same image")) continue;
      contents.set(print, row);
      const [a, b] = (await Promise.all(paths.map(imageSize))).map(({ width, height }) =>
        `${width}×${height} px`
      );
      // The focal length belongs to a size: the first of its folder.
      const key = `${dirname(left)} ${row.focalPx} ${row.baselineM}`,
        [size, first] = sizes.get(key) ?? [a, row];
      sizes.set(key, [size, first]);
      if (a !== b) add("sizes", row, `left ${a}, right ${b}`);
      else if (a !== size && row.focalPx) {
        add("sizes", row, `${a}, ${first.left} of the same focal length ${size}`);
      }
      if (a === b && print !== other && Math.floor(i / every) !== Math.floor((i - 1) / every)) {
        checked.push(await matchPair(root, row, left, right, options.maxDisparity, add));
      }
    } catch (error) {
      if (!(error instanceof CyclopsError)) throw error;
      add("unreadable", row, messageOf(error).replace(/^Cannot read the (16-bit )?image /, ""));
    }
  }
  options.onProgress?.(rows.length, rows.length);
  const parts = new Map(
    [...Map.groupBy(rows, ({ part }) => part)].map(([part, { length }]) => [part, length]),
  );
  return { root, parts, problems, checked, leftOnly };
}

type Add = (kind: DataProblem, row: Row, what?: string) => void;

function checkCamera(row: Row, add: Add): void {
  const { focalPx, baselineM } = row;
  if (focalPx === undefined || baselineM === undefined) return add("calibration", row);
  if (baselineM < BASELINE[0] || baselineM > BASELINE[1]) {
    const mm = baselineM > BASELINE[1] ? `; ${baselineM / 1000} if that is mm` : "";
    add("baseline", row, `baseline ${baselineM} m${mm}`);
  }
}

/** Matches a pair and says what is wrong with it. */
async function matchPair(
  root: string,
  row: Row,
  leftName: string,
  rightName: string,
  maxDisparity: number,
  add: Add,
): Promise<PairCheck> {
  const problems: DataProblem[] = [];
  const found = (kind: DataProblem, what: string) => {
    problems.push(kind);
    add(kind, row, what);
  };
  const stored = await imageSize(join(root, leftName));
  const width = Math.min(MATCH_WIDTH, stored.width), scale = stored.width / width;
  const size = { width, height: Math.max(1, Math.round(stored.height / scale)) };
  const [left, right] = await Promise.all(
    [leftName, rightName].map((name) => readRgb(join(root, name), size)),
  );
  const matches = matchCorners(gray(left), gray(right));
  const gains = gainsOf(left, right, matches);
  const { focalPx, baselineM, truth } = row;
  if (focalPx && (focalPx < FOCAL[0] * stored.width || focalPx > FOCAL[1] * stored.width)) {
    found("focal", `focal length ${focalPx} px of ${stored.width} px`);
  }
  if (matches.length < ENOUGH) found("unmatched", `${matches.length} corners found again`);
  else {
    const disparities = matches.map(({ disparity }) => disparity);
    const rows = matches.map(({ rowOffset }) => rowOffset), offset = median(rows);
    const spread = quantile(rows.map((r) => Math.abs(r - offset)), 0.8);
    const near = quantile(disparities, 0.95) / width;
    const negative = disparities.filter((d) => d < -1).length / matches.length;
    const px = (value: number) => (value * scale).toFixed(1);
    if (negative > 0.5) found("swapped", `median disparity ${px(median(disparities))} px`);
    else if (negative > 0.2) found("converging", `${percent(negative)} of the disparities are negative`);
    else if (near > maxDisparity) {
      found("large", `${percent(near)} of the width, at most ${percent(maxDisparity)}`);
    } else if (near < SMALL_DISPARITY) {
      found("small", `nearest points at ${px(near * width)} px of ${stored.width}`);
    }
    if (Math.abs(offset) > ROW_OFFSET) found("rows", `rows ${px(offset)} px apart`);
    else if (spread > ROW_SPREAD) {
      found("rows", `rows up to ${px(spread)} px apart, ${px(offset)} px on average`);
    }
    const gain = gains[1], casts = Math.max(...gains) / Math.min(...gains);
    if (Math.abs(Math.log(gain)) > Math.log(EXPOSURE)) found("exposure", `right ${gain.toFixed(2)} × left`);
    if (casts > COLOR) {
      found(
        "color",
        `right/left ${gains.map((g) => g.toFixed(2)).join(", ")} (red, green, blue)`,
      );
    }
  }
  if (truth) {
    try {
      const { width: w, height: h, data } = await readGray16(join(root, truth.path));
      if (w !== stored.width || h !== stored.height) found("truth", `${truth.path} has ${w}×${h} px`);
      else if (matches.length >= ENOUGH) {
        const ratios = matches.flatMap(({ x, y, disparity }) => {
          const value = data[Math.round(y * scale) * w + Math.round(x * scale)] / 256;
          const matched = disparity * scale;
          if (!(value > 0 && matched > 0)) return [];
          return [truth.kind === "disparity" ? value / matched : value * matched / (focalPx! * baselineM!)];
        });
        const ratio = median(ratios);
        if (ratios.length >= ENOUGH && (ratio < 0.7 || ratio > 1.4)) {
          found("truth", `${truth.kind} is ${Number(ratio.toPrecision(2))} × what the images match`);
        }
      }
    } catch (error) {
      found("truth", messageOf(error));
    }
  }
  const enlarge = ({ x, y, disparity, rowOffset }: Match): Match => ({
    x: x * scale,
    y: y * scale,
    disparity: disparity * scale,
    rowOffset: rowOffset * scale,
  });
  const { width: w, height: h } = stored;
  return {
    left: leftName,
    right: rightName,
    focalPx,
    baselineM,
    size: { width: w, height: h },
    matches: matches.map(enlarge),
    gains,
    problems,
  };
}
