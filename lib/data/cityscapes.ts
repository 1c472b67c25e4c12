/**
 * Cityscapes on disk (Cordts et al. 2016): where its files lie, its cameras, and an export of KITTI-like data to its
 * layout.
 *
 *     ROOT/leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png      left colour camera
 *          rightImg8bit/train/aachen/aachen_000000_000019_rightImg8bit.png    right colour camera
 *          camera/train/aachen/aachen_000000_000019_camera.json               baseline, focal length, centre
 *
 * The folders `val` and `test` are laid out alike. `train_extra`, 19,998 more pairs, belongs to the training part where
 * it is there: with the 2,975 of `train` these are the 22,973 pairs of Godard et al. 2017.
 *
 * @module
 */
import { basename, dirname, extname, join } from "@std/path";
import { CyclopsError } from "../base/errors.ts";
import { exists, fileError, readBytes, readJson, writeAtomic } from "../base/files.ts";
import type { StereoCamera } from "../geometry/camera.ts";
import { imageSize, readRgb, rowsLeft, writeRgb } from "./image.ts";
import { parseFrame, readCalibration } from "./kitti.ts";
import type { PairSide, StereoPair } from "./split.ts";

/**
 * Share of the image's height that is dropped at the bottom, where the car's own bonnet mirrors the street and breaks
 * photometric constancy. Godard et al. 2017 drop a fifth; up to a quarter is found elsewhere.
 */
export const CITYSCAPES_CROP_BOTTOM = 0.2;

/** Cityscapes' parts. */
export type CityscapesPart = "train" | "val" | "test";

const SUFFIX = { left: "leftImg8bit", right: "rightImg8bit" } as const;
const SOURCE =
  "leftImg8bit_trainvaltest.zip, rightImg8bit_trainvaltest.zip and camera_trainvaltest.zip from " +
  "https://www.cityscapes-dataset.com hold it";

/** Whether an image path, relative to the root, follows Cityscapes' layout. */
export function isCityscapes(path: string): boolean {
  return /^(left|right)Img8bit\/.*_\1Img8bit\.\w+$/.test(path);
}

/** The path of the other files of a frame: `leftImg8bit/…_leftImg8bit.png` with both words and the ending changed. */
function sibling(left: string, word: string, ending: string): string {
  const name = basename(left), extension = extname(name);
  const stem = name.slice(0, -`_${SUFFIX.left}${extension}`.length);
  return `${word}${dirname(left).slice(SUFFIX.left.length)}/${stem}_${word}${ending}`;
}

async function list(folder: string): Promise<Deno.DirEntry[]> {
  try {
    return await Array.fromAsync(Deno.readDir(folder));
  } catch (error) {
    throw fileError("list", folder, error);
  }
}

async function folderPairs(root: string, part: string): Promise<StereoPair[]> {
  const pairs: StereoPair[] = [];
  const cities = (await list(join(root, SUFFIX.left, part))).filter((entry) => !entry.isFile);
  for (const city of cities.map(({ name }) => name).sort()) {
    const names = (await list(join(root, SUFFIX.left, part, city))).map(({ name }) => name);
    for (const name of names.filter((n) => /_leftImg8bit\.(png|jpe?g)$/i.test(n)).sort()) {
      const left = `${SUFFIX.left}/${part}/${city}/${name}`;
      pairs.push({ left, right: sibling(left, SUFFIX.right, extname(name)) });
    }
  }
  return pairs;
}

/**
 * The pairs of a part, by the left images there are; `train` includes `train_extra` where it is there.
 *
 * @param side Which images must be there. @default "both"
 * @returns Pairs in the order of their names. Right images are not looked for one by one: see `checkPairs`.
 * @throws {CyclopsError} When a whole folder is missing, saying what holds it, or there is no image in it.
 */
export async function cityscapesSplit(
  root: string,
  part: CityscapesPart,
  side: PairSide = "both",
): Promise<StereoPair[]> {
  const folders = [part, ...(part === "train" ? ["train_extra"] : [])];
  const pairs: StereoPair[] = [];
  for (const folder of folders) {
    const here = async (word: string) => await exists(join(root, word, folder));
    if (folder === "train_extra" && !await here(SUFFIX.left)) continue;
    for (const word of [SUFFIX.left, ...(side === "left" ? [] : [SUFFIX.right])]) {
      if (!await here(word)) {
        throw new CyclopsError(`Cannot open Cityscapes in ${root}: no folder ${word}/${folder} (${SOURCE})`);
      }
    }
    pairs.push(...await folderPairs(root, folder));
  }
  if (pairs.length === 0) {
    throw new CyclopsError(
      `Cannot open Cityscapes in ${root}: no image under ${SUFFIX.left}/${part}, ` +
        `wanted CITY/CITY_000000_000019_${SUFFIX.left}.png and its like (${SOURCE})`,
    );
  }
  return pairs;
}

/** A frame's camera file, relative to the root. @param left The frame's left image, relative to the root. */
export function cityscapesCameraPath(left: string): string {
  return sibling(left, "camera", ".json");
}

/**
 * Reads a frame's camera, as its cropped image has it: the crop takes rows at the bottom, so that focal length and
 * centre stay what they are.
 *
 * @param root The data's root folder.
 * @param left The frame's left image, relative to the root; its size is read from its file.
 * @throws {CyclopsError} When a file is missing, or a number is missing or makes no stereo camera.
 */
export async function readCityscapesCamera(
  root: string,
  left: string,
  cropBottom = CITYSCAPES_CROP_BOTTOM,
): Promise<StereoCamera> {
  const path = join(root, cityscapesCameraPath(left));
  if (!await exists(path)) {
    throw new CyclopsError(`Cannot read the camera of ${left}: no file ${path} (${SOURCE})`);
  }
  const json = await readJson(path) as Readonly<
    Record<string, Readonly<Record<string, unknown>> | undefined>
  >;
  const value = (group: string, key: string, positive: boolean): number => {
    const found = json?.[group]?.[key];
    if (typeof found !== "number" || !Number.isFinite(found) || (positive && found <= 0)) {
      throw new CyclopsError(
        `Cannot read the camera ${path}: ${group}.${key} is ${JSON.stringify(found)}, wanted a number${
          positive ? " above 0" : ""
        }`,
      );
    }
    return found;
  };
  const { width, height } = await imageSize(join(root, left));
  return {
    imageSize: { width, height: rowsLeft(height, cropBottom) },
    focalPx: value("intrinsic", "fx", true),
    centerPx: { x: value("intrinsic", "u0", false), y: value("intrinsic", "v0", false) },
    baselineM: value("extrinsic", "baseline", true),
  };
}

/**
 * Copies stereo pairs from KITTI raw's layout, e.g. street scenes, to Cityscapes', cameras included: to try out what is
 * meant for Cityscapes without fetching it. Each date becomes a city, each drive a sequence.
 *
 * @param root The root folder of the KITTI-like data.
 * @param pairs What to copy, relative to `root`.
 * @param out Root folder of the copy.
 * @returns The copied pairs, relative to `out`.
 * @throws {CyclopsError} When a file cannot be read or written.
 *
 * @example
 * ```ts ignore
 * const { root, pairs } = await openDataset({ data: "data/street", part: "train" });
 * await exportCityscapes(root, pairs, "data/street-as-cityscapes", "train");
 * const copy = await openDataset({ data: "data/street-as-cityscapes", split: "cityscapes", cropBottom: 0 });
 * ```
 */
export async function exportCityscapes(
  root: string,
  pairs: readonly StereoPair[],
  out: string,
  part: CityscapesPart,
): Promise<StereoPair[]> {
  const copied: StereoPair[] = [];
  const cameras = new Map<string, string>();
  for (const pair of pairs) {
    const { date, drive, index } = parseFrame(pair.left);
    const city = `street${date.replaceAll("_", "")}`;
    const stem = `${city}_${drive.padStart(6, "0")}_${String(index).padStart(6, "0")}`;
    const left = `${SUFFIX.left}/${part}/${city}/${stem}_${SUFFIX.left}.png`;
    const copy = { left, right: sibling(left, SUFFIX.right, ".png") };
    for (const side of ["left", "right"] as const) {
      const from = join(root, pair[side]), to = join(out, copy[side]);
      if (extname(from).toLowerCase() === ".png") await writeAtomic(to, await readBytes(from));
      else await writeRgb(to, await readRgb(from));
    }
    const camera = cameras.get(date) ?? await cameraJson(root, date);
    cameras.set(date, camera);
    await writeAtomic(join(out, cityscapesCameraPath(left)), camera);
    copied.push(copy);
  }
  return copied;
}

/** A date's calibration as a camera file. */
async function cameraJson(root: string, date: string): Promise<string> {
  const { focalPx, centerPx, baselineM } = await readCalibration(root, date);
  return JSON.stringify(
    {
      extrinsic: { baseline: baselineM, pitch: 0, roll: 0, x: 0, y: 0, yaw: 0, z: 0 },
      intrinsic: { fx: focalPx, fy: focalPx, u0: centerPx.x, v0: centerPx.y },
    },
    undefined,
    2,
  ) + "\n";
}
