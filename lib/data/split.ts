/**
 * Split files in the field's text format, one stereo pair per line, and the check that their images exist.
 *
 * @module
 */
import { basename, dirname, extname, join } from "@std/path";
import { CyclopsError } from "../base/errors.ts";
import { fileError, readText } from "../base/files.ts";
import type { StereoCamera } from "../geometry/camera.ts";

/** A stereo pair. A split file gives the two image paths, an opened data set what else it knows. */
export interface StereoPair {
  /** The left image (KITTI's image_02), relative to the data's root. */
  readonly left: string;
  readonly right: string;
  /** Its root folder, where that is not the data set's: the pair comes from another of several sources. */
  readonly root?: string;
  /** Fraction of the height to cut off at the bottom, where that is not the data set's. */
  readonly cropBottom?: number;
  /** Fraction of the height to cut off at the top. @default 0 */
  readonly cropTop?: number;
  /** Where prepared data keep its images, `FILE.pack#N`, and its laser points, relative to the root; see prepare.ts. */
  readonly packed?: {
    readonly left: string;
    readonly right: string;
    readonly points?: { readonly path: string; readonly offset: number };
  };
  /** The camera, for the left image as stored and cropped; `undefined` where the data have no calibration. */
  readonly camera?: StereoCamera;
  /** True disparities (px) or depths (m) of the left image that a manifest names: 16-bit PNG, value / 256, 0 = unknown. */
  readonly truth?: { readonly kind: "disparity" | "depth"; readonly path: string };
}

/** Which images of a pair must exist; none where only laser scans are read. */
export type PairSide = "left" | "right" | "both" | "none";

/** Whether a view's images must exist. */
export function needsView(side: PairSide, view: "left" | "right"): boolean {
  return side === view || side === "both";
}

/** Items that an error lists before it only counts. */
const SHOWN = 100;

/** Folders that an error names beyond those. */
const FOLDERS = 20;

/** Lists files one per line; beyond the first hundred it only counts how many there are in each folder, and then at all. */
export function listFiles(paths: readonly string[]): string {
  const folders = [...Map.groupBy(paths.slice(SHOWN), (path) => dirname(path))];
  const rest = folders.slice(FOLDERS).reduce((sum, [, group]) => sum + group.length, 0);
  return [
    ...paths.slice(0, SHOWN).map((path) => `  ${path}`),
    ...folders.slice(0, FOLDERS).map(([folder, group]) => `  … and ${group.length} in ${folder}`),
    ...rest ? [`  … and ${rest} in ${folders.length - FOLDERS} more folders`] : [],
  ].join("\n");
}

/** Whether a path cannot leave the folder it is relative to. */
function staysInside(path: string): boolean {
  return !path.startsWith("/") && !path.split(/[\\/]/).includes("..");
}

/**
 * Parses a split. Empty lines and lines that start with # are ignored.
 *
 * @param text Lines of `LEFT RIGHT`.
 * @param path Name of the file, for errors.
 * @throws {CyclopsError} When a line does not hold two relative paths, or there is no pair at all.
 */
export function parseSplit(text: string, path: string): StereoPair[] {
  const pairs: StereoPair[] = [], bad: string[] = [];
  for (const [i, raw] of text.split(/\r?\n/).entries()) {
    const line = raw.trim();
    if (line === "" || line.startsWith("#")) continue;
    const words = line.split(/\s+/);
    if (words.length !== 2) bad.push(`  line ${i + 1} has ${words.length} words: ${line.slice(0, 100)}`);
    else if (!words.every(staysInside)) {
      bad.push(`  line ${i + 1} leaves the data's root: ${line.slice(0, 100)}`);
    } else pairs.push({ left: words[0], right: words[1] });
  }
  if (bad.length) {
    const more = bad.length > SHOWN ? [`  … and ${bad.length - SHOWN} more`] : [];
    throw new CyclopsError(
      `Cannot read the split ${path}: expected two image paths per line, relative to the data's root, but\n` +
        [...bad.slice(0, SHOWN), ...more].join("\n"),
    );
  }
  if (pairs.length === 0) {
    throw new CyclopsError(`Cannot read the split ${path}: it names no pair, expected lines of LEFT RIGHT`);
  }
  return pairs;
}

/** Reads a split file; see {@linkcode parseSplit}. */
export async function readSplit(path: string): Promise<StereoPair[]> {
  return parseSplit(await readText(path), path);
}

/** A split as text, the inverse of {@linkcode parseSplit}. */
export function formatSplit(pairs: readonly StereoPair[]): string {
  return pairs.map(({ left, right }) => `${left} ${right}\n`).join("");
}

/** Other extensions an image may have: the field converts KITTI's PNG to JPEG to save space. */
const STAND_INS: Readonly<Record<string, readonly string[]>> = {
  ".png": [".jpg", ".jpeg"],
  ".jpg": [".png"],
  ".jpeg": [".png", ".jpg"],
};

/**
 * A test for whether files exist that lists each folder once: far quicker than 45,000 calls of stat.
 *
 * @param root Folder that the paths are relative to.
 */
export function folderLookup(root: string): (path: string) => Promise<boolean> {
  const folders = new Map<string, Promise<ReadonlySet<string>>>();
  const list = async (folder: string) => {
    const names = new Set<string>();
    try {
      for await (const entry of Deno.readDir(folder)) names.add(entry.name);
    } catch (error) {
      const absent = error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory;
      if (!absent) throw fileError("list", folder, error);
    }
    return names;
  };
  return async (path) => {
    const folder = join(root, dirname(path));
    if (!folders.has(folder)) folders.set(folder, list(folder));
    return (await folders.get(folder)!).has(basename(path));
  };
}

/** The image of that name or its PNG/JPEG stand-in; `undefined` if neither exists. */
export async function findImage(
  has: (path: string) => Promise<boolean>,
  path: string,
): Promise<string | undefined> {
  if (await has(path)) return path;
  const extension = extname(path);
  for (const other of STAND_INS[extension.toLowerCase()] ?? []) {
    const name = path.slice(0, path.length - extension.length) + other;
    if (await has(name)) return name;
  }
}

/**
 * Checks that the images of a split exist.
 *
 * @param root The data's root folder.
 * @param side Which images are needed: evaluation needs the left ones only. @default "both"
 * @returns The pairs under the names the images really have (JPEG for PNG and the other way round).
 * @throws {CyclopsError} When images are absent: counts and lists them.
 */
export async function checkPairs<P extends StereoPair>(
  root: string,
  pairs: readonly P[],
  side: PairSide = "both",
): Promise<P[]> {
  const has = folderLookup(root);
  const absent: string[] = [], found: P[] = [];
  let images = 0;
  const find = async (path: string, needed: boolean) => {
    if (!needed) return path;
    images++;
    const name = await findImage(has, path);
    if (name === undefined) absent.push(path);
    return name ?? path;
  };
  for (const pair of pairs) {
    const left = await find(pair.left, needsView(side, "left"));
    const right = await find(pair.right, needsView(side, "right"));
    found.push({ ...pair, left, right });
  }
  if (absent.length) {
    throw new CyclopsError(
      `Cannot use the split: ${absent.length} of ${images} images are absent under ${root} ` +
        `(neither PNG nor JPEG; is this the right root, is the download complete?)\n${listFiles(absent)}`,
    );
  }
  return found;
}
