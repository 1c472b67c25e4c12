/**
 * Disparity hints (Watson et al., ICCV 2019): disparities of a training pair, by semi-global matching or, for the oracle
 * experiment, from its true depths. They are computed once per pair, and kept on disk by the names and times of its files.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { deflateSync, inflateSync } from "node:zlib";
import { join, resolve } from "@std/path";
import { fileError, writeAtomic } from "../base/files.ts";
import type { ImageSize } from "../geometry/camera.ts";
import { matchStereo } from "../geometry/matching.ts";
import { imagePath, type StereoDataset } from "./dataset.ts";
import { croppedRows, fileOf, type FloatMap, type ImageOf, readRgb } from "./image.ts";
import { depthPath, parseFrame, readDepthPng } from "./kitti.ts";
import { readManifestTruth } from "./manifest.ts";
import type { StereoPair } from "./split.ts";

/** Hints of both views, [height, width] each: disparity as a fraction of the width, times {@linkcode HINT_STEPS}; 0 = unknown. */
export interface HintPair {
  readonly left: Uint16Array;
  readonly right: Uint16Array;
}

/** Steps of a hint per image width: 16 bits hold half the width, in steps of 0.003 px at 416 px. */
export const HINT_STEPS = 2 ** 17;

/** Which hints a training uses. */
export interface HintPlan {
  readonly kind: "sgm" | "truth";
  /** Size that they are made for, px; smaller ones are reduced from it. */
  readonly size: ImageSize;
  /** Where they are kept on disk. @default nowhere */
  readonly folder?: string;
}

/** Changes whenever other hints come from the same files. */
const VERSION = 1;

/** Views are matched at the multiple of the training size, up to this factor, that is nearest to this width, px: */
const MATCHING_WIDTH = 832, MOST_FACTOR = 8;
/** and up to this fraction of it: 2.5 m in front of KITTI's cameras. */
const LARGEST = 1 / 8;

/** Known pixels, of those that a hint's pixel covers, below which it is unknown. */
const KNOWN_SHARE = 0.5;

/**
 * The hints of a pair, at the size of a batch.
 *
 * @throws {CyclopsError} When a file is missing or damaged.
 */
export async function readHints(
  dataset: Pick<StereoDataset, "root" | "cropBottom">,
  pair: StereoPair,
  plan: HintPlan,
  size: ImageSize,
): Promise<HintPair> {
  const { left, right } = await storedHints(dataset, pair, plan);
  const reduce = (data: Uint16Array) =>
    size.width === plan.size.width && size.height === plan.size.height
      ? data
      : Uint16Array.from(reduceMap({ ...plan.size, data }, size, KNOWN_SHARE));
  return { left: reduce(left), right: reduce(right) };
}

/** From the disk, or made and put there. A file that is damaged is made again. */
async function storedHints(
  dataset: Pick<StereoDataset, "root" | "cropBottom">,
  pair: StereoPair,
  plan: HintPlan,
): Promise<HintPair> {
  const root = pair.root ?? dataset.root, cropBottom = pair.cropBottom ?? dataset.cropBottom;
  const pixels = plan.size.height * plan.size.width;
  const make = () =>
    plan.kind === "sgm"
      ? matchedHints(root, pair, cropBottom, plan.size)
      : trueHints(root, pair, cropBottom, plan.size);
  if (plan.folder === undefined) return await make();
  const path = join(plan.folder, `${await hintsKey(root, pair, cropBottom, plan)}.z`);
  try {
    // zlib's checksum covers the content.
    const { buffer, byteOffset, byteLength } = inflateSync(await Deno.readFile(path));
    if (byteLength === 4 * pixels) {
      const both = new Uint16Array(buffer.slice(byteOffset, byteOffset + byteLength) as ArrayBuffer);
      return { left: both.subarray(0, pixels), right: both.subarray(pixels) };
    }
  } catch { /* Not there yet, or damaged. */ }
  const made = await make();
  const both = new Uint16Array(2 * pixels);
  both.set(made.left);
  both.set(made.right, pixels);
  // A disk that is full or read-only costs the time of the next run, not this one.
  await writeAtomic(path, deflateSync(new Uint8Array(both.buffer), { level: 1 })).catch(() => {});
  return made;
}

/** Identifies what the hints of a pair are made from: paths, sizes and times of its files, and the parameters. */
async function hintsKey(root: string, pair: StereoPair, cropBottom: number, plan: HintPlan): Promise<string> {
  const { left, truth, camera } = pair, { kind, size } = plan;
  const [image, other] = (["left", "right"] as const).map((side) => imagePath({ root }, pair, side));
  const files = [image, kind === "sgm" ? other : join(root, truth?.path ?? depthPath(parseFrame(left), 2))];
  const facts = await Promise.all(files.map(async (name) => {
    const path = resolve(name);
    try {
      const { size, mtime } = await Deno.stat(fileOf(path));
      return [path, size, mtime?.getTime()];
    } catch (error) {
      throw fileError("read", path, error);
    }
  }));
  const parts = [VERSION, kind, size.height, size.width, cropBottom, facts, kind === "truth" && camera];
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 32);
}

/** Luminance, 0–255. */
function toGray({ width, height, data }: ImageOf<Uint8Array>): Uint8Array {
  const gray = new Uint8Array(width * height);
  for (let p = 0; p < gray.length; p++) {
    gray[p] = 77 * data[3 * p] + 150 * data[3 * p + 1] + 29 * data[3 * p + 2] + 128 >> 8;
  }
  return gray;
}

/** Disparities by matching, at a multiple of the size: finer, and reduced to the median of what agrees. */
async function matchedHints(
  root: string,
  pair: StereoPair,
  cropBottom: number,
  size: ImageSize,
): Promise<HintPair> {
  const factor = Math.max(1, Math.min(MOST_FACTOR, Math.round(MATCHING_WIDTH / size.width)));
  const fine = { width: factor * size.width, height: factor * size.height };
  const [left, right] = await Promise.all(
    (["left", "right"] as const).map(async (side) =>
      toGray(await readRgb(imagePath({ root }, pair, side), fine, cropBottom))
    ),
  );
  const maps = matchStereo(left, right, fine, Math.ceil(LARGEST * fine.width));
  const hints = (data: Float32Array) =>
    encodeHints(reduceMap({ ...fine, data }, size, KNOWN_SHARE), fine.width);
  return { left: hints(maps.left), right: hints(maps.right) };
}

/** True disparities: those of the left image, and the same points seen from the right. */
async function trueHints(
  root: string,
  pair: StereoPair,
  cropBottom: number,
  size: ImageSize,
): Promise<HintPair> {
  const { depth, camera: { focalPx, baselineM } } = await trueDepths(root, pair);
  const { width } = depth, height = croppedRows(depth.height, cropBottom);
  const left = new Float32Array(width * height), right = new Float32Array(width * height);
  for (let p = 0; p < left.length; p++) {
    if (!(depth.data[p] > 0)) continue;
    const d = left[p] = focalPx * baselineM / depth.data[p];
    const x = p % width, there = Math.round(x - d);
    // Of the points that fall on one pixel, the nearest is seen.
    if (there >= 0 && right[p - x + there] < d) right[p - x + there] = d;
  }
  const hints = (data: Float32Array) => encodeHints(reduceMap({ width, height, data }, size, 0), width);
  return { left: hints(left), right: hints(right) };
}

/** The depth map of a manifest's row, or that of KITTI's layout; the camera is that of its image. */
async function trueDepths(root: string, { camera, truth, ...pair }: StereoPair) {
  if (camera && truth) return await readManifestTruth(root, { ...pair, camera, truth });
  const path = join(root, depthPath(parseFrame(pair.left), 2));
  if (!camera) throw new RangeError(`Cannot use the depth map ${path}: the camera is not known`);
  return { depth: await readDepthPng(path), camera };
}

/** Fixed point, from disparities in px of an image of this width. */
function encodeHints(disparities: Float32Array, width: number): Uint16Array {
  const hints = new Uint16Array(disparities.length);
  for (let p = 0; p < hints.length; p++) {
    const value = Math.round(disparities[p] * HINT_STEPS / width);
    hints[p] = value <= 0xffff ? value : 0;
  }
  return hints;
}

/**
 * Reduces a map with unknown pixels (0): the median of the known ones that each pixel covers, or unknown where these are
 * fewer than the share. A mean would mix what lies before an edge with what lies behind it.
 */
function reduceMap(
  { width, height, data }: ImageOf<Float32Array | Uint16Array>,
  to: ImageSize,
  share: number,
): FloatMap["data"] {
  const out = new Float32Array(to.width * to.height);
  const edge = (i: number, from: number, to: number) => Math.round(i * from / to);
  const columns = Int32Array.from({ length: to.width + 1 }, (_, u) => edge(u, width, to.width));
  let known = new Float32Array(64);
  for (let v = 0; v < to.height; v++) {
    const top = edge(v, height, to.height), bottom = Math.max(top + 1, edge(v + 1, height, to.height));
    for (let u = 0; u < to.width; u++) {
      const from = columns[u],
        end = Math.max(from + 1, columns[u + 1]),
        count = (bottom - top) * (end - from);
      if (known.length < count) known = new Float32Array(count);
      let n = 0;
      for (let y = top; y < bottom; y++) {
        for (let x = from; x < end; x++) if (data[y * width + x] > 0) known[n++] = data[y * width + x];
      }
      if (n > 0 && n >= share * count) out[v * to.width + u] = known.subarray(0, n).sort()[n >> 1];
    }
  }
  return out;
}
