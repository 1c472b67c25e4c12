/**
 * Cityscapes on disk (Cordts et al. 2016): where its files lie and its cameras.
 *
 *     ROOT/leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png      left color camera
 *          rightImg8bit/train/aachen/aachen_000000_000019_rightImg8bit.png    right color camera
 *          camera/train/aachen/aachen_000000_000019_camera.json               baseline, focal length, principal point
 *
 * The folders `val` and `test` have the same layout. `train_extra`, 19,998 more pairs, belongs to the training part if
 * it exists: with the 2,975 of `train` these are the 22,973 pairs of Godard et al. 2017.
 *
 * @module
 */
import { basename, dirname, extname, join } from "@std/path";
import { CyclopsError } from "../base/errors.ts";
import { exists, fileError, readJson } from "../base/files.ts";
import type { StereoCamera } from "../geometry/camera.ts";
import { croppedRows, type FloatMap, imageSize, readGray16 } from "./image.ts";
import { needsView, type PairSide, type StereoPair } from "./split.ts";

/**
 * Fraction of the image's height that is cut off at the bottom, where the car's hood mirrors the street and breaks
 * photometric constancy: a fifth in Godard et al. 2017, up to a quarter elsewhere.
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
 * The pairs of a part, by the left images that exist; `train` includes `train_extra` if it exists.
 *
 * @param side Which images must exist. @default "both"
 * @returns Pairs in the order of their names. Right images are not checked one by one: see `checkPairs`.
 * @throws {CyclopsError} When a whole folder is missing, naming the archive that holds it, or has no images.
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
    for (const word of [SUFFIX.left, ...(needsView(side, "right") ? [SUFFIX.right] : [])]) {
      if (!await here(word)) {
        throw new CyclopsError(`Cannot open Cityscapes in ${root}: no folder ${word}/${folder} (${SOURCE})`);
      }
    }
    pairs.push(...await folderPairs(root, folder));
  }
  if (pairs.length === 0) {
    throw new CyclopsError(
      `Cannot open Cityscapes in ${root}: no image under ${SUFFIX.left}/${part}, ` +
        `expected files such as CITY/CITY_000000_000019_${SUFFIX.left}.png (${SOURCE})`,
    );
  }
  return pairs;
}

/** A frame's disparity map by semi-global matching, relative to the root. @param left Its left image, relative to the root. */
export function cityscapesDisparityPath(left: string): string {
  return sibling(left, "disparity", ".png");
}

/**
 * Reads the depths that Cityscapes' own disparity maps give, 16-bit PNG: (value − 1) / 256 px, 0 = unknown.
 *
 * @param camera The frame's, of its cropped image: rows below it are left out.
 * @returns m, 0 where unknown, of the camera's image size.
 * @throws {CyclopsError} When the map is missing, damaged or of another width.
 */
export async function readCityscapesDepth(
  root: string,
  left: string,
  camera: StereoCamera,
): Promise<FloatMap> {
  const path = join(root, cityscapesDisparityPath(left)),
    { imageSize: { width, height }, focalPx, baselineM } = camera;
  const map = await readGray16(path);
  if (map.width !== width || map.height < height) {
    throw new CyclopsError(
      `Cannot use the disparity map ${path}: it has ${map.width}×${map.height} px, its image ${width}×${height}`,
    );
  }
  const data = new Float32Array(width * height);
  for (let i = 0; i < data.length; i++) {
    if (map.data[i] > 1) data[i] = focalPx * baselineM * 256 / (map.data[i] - 1);
  }
  return { width, height, data };
}

/** A frame's camera file, relative to the root. @param left The frame's left image, relative to the root. */
export function cityscapesCameraPath(left: string): string {
  return sibling(left, "camera", ".json");
}

/**
 * Reads a frame's camera for its cropped image: the crop cuts rows at the bottom, which leaves focal length and
 * principal point unchanged.
 *
 * @param root The data's root folder.
 * @param left The frame's left image, relative to the root; its size is read from its file.
 * @throws {CyclopsError} When a file or a number is missing, or does not describe a stereo camera.
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
        `Cannot read the camera ${path}: ${group}.${key} is ${JSON.stringify(found)}, expected a number${
          positive ? " above 0" : ""
        }`,
      );
    }
    return found;
  };
  const { width, height } = await imageSize(join(root, left));
  return {
    imageSize: { width, height: croppedRows(height, cropBottom) },
    focalPx: value("intrinsic", "fx", true),
    centerPx: { x: value("intrinsic", "u0", false), y: value("intrinsic", "v0", false) },
    baselineM: value("extrinsic", "baseline", true),
  };
}
