/**
 * The download of KITTI raw: what the Eigen split needs of it, and whether a folder has all of that, each file whole.
 *
 * @module
 */
import { dirname, join, resolve } from "@std/path";
import { messageOf } from "../base/errors.ts";
import { exists, fileError, readText } from "../base/files.ts";
import type { ImageSize } from "../geometry/camera.ts";
import { readRgb } from "./image.ts";
import {
  calibrationPaths,
  drivePath,
  eigenSplit,
  type Frame,
  parseFrame,
  readCalibration,
  readVelodyne,
  velodynePath,
} from "./kitti.ts";
import { findImage, folderLookup } from "./split.ts";

/** The parts that training and testing need, each pair once. */
const PARTS = ["test", "train", "val"] as const;

/** How much of the Eigen split a folder holds; see {@linkcode checkDownload}. */
export type DownloadReport = Awaited<ReturnType<typeof checkDownload>>;

/** One of the split's drives. */
export interface DriveReport {
  /** `2011_09_26/2011_09_26_drive_0002_sync` */
  readonly path: string;
  /** Images that the split names, and how many of them exist. */
  readonly expected: number;
  readonly found: number;
  /** What is wrong with files that exist: the file and why. */
  readonly faults: readonly string[];
}

/** Frames whose files are read at once. */
const AT_ONCE = 4;
/** Frames after which the journal is written. */
const BATCH = 64;

/**
 * Checks the files of KITTI raw that the Eigen split names, images as PNG or JPEG: that they exist; and, unless `quick`,
 * that each image can be decoded and has its calibration's size, that pairs are complete, and that scans hold points. A
 * bad file is told and never ends the check.
 *
 * @param root The data's root folder; a missing one counts as empty.
 * @param options.journal File that keeps what was found, by the files' sizes and times: when the check is run again, only
 * what changed is read.
 * @returns `parts`: for each part the pairs that the split names, and how many left images, right images and laser scans
 * exist. `drives`, by path. `calibrations`: absent or damaged files. `complete`: nothing that training (images,
 * calibration) or testing (laser scans too) needs is missing or damaged.
 */
export async function checkDownload(root: string, options: {
  readonly quick?: boolean;
  readonly journal?: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number, faults: number) => void;
} = {}) {
  const { quick = false, onProgress, signal } = options;
  const has = folderLookup(root),
    drives = new Map<string, DriveReport & { found: number; faults: string[] }>();
  const parts: { part: typeof PARTS[number]; pairs: number; left: number; right: number; scans: number }[] =
    [];
  const jobs: { readonly frame: Frame; readonly files: FrameFiles }[] = [];
  for (const part of PARTS) {
    const pairs = eigenSplit(part), count = { part, pairs: pairs.length, left: 0, right: 0, scans: 0 };
    for (const pair of pairs) {
      const frame = parseFrame(pair.left), path = drivePath(frame), scan = velodynePath(frame);
      const left = await findImage(has, pair.left), right = await findImage(has, pair.right);
      const hasScan = await has(scan);
      const drive = drives.get(path) ?? { path, found: 0, expected: 0, faults: [] };
      drives.set(path, { ...drive, expected: drive.expected + 2 });
      drives.get(path)!.found += Number(left !== undefined) + Number(right !== undefined);
      if (left !== undefined) count.left++;
      if (right !== undefined) count.right++;
      if (hasScan) count.scans++;
      // Only testing needs scans.
      if (left ?? right) {
        jobs.push({ frame, files: { left, right, scan: part === "test" && hasScan ? scan : undefined } });
      }
    }
    parts.push(count);
  }
  const dates = [...new Set([...drives.keys()].map((path) => path.split("/")[0]))].sort();
  const calibrations: string[] = [], sizes = new Map<string, ImageSize>();
  for (const date of dates) {
    const absent: string[] = [];
    for (const path of Object.values(calibrationPaths(date))) {
      if (!await has(path)) absent.push(`absent: ${path}`);
    }
    calibrations.push(...absent);
    if (absent.length || quick) continue;
    try {
      sizes.set(date, (await readCalibration(root, date)).imageSize);
    } catch (error) {
      calibrations.push(messageOf(error));
    }
  }
  if (!quick) {
    let faults = 0;
    await using journal = await openJournal(options.journal, root);
    for (let i = 0; i < jobs.length && !signal?.aborted; i += AT_ONCE) {
      await Promise.all(
        jobs.slice(i, i + AT_ONCE).map(async ({ frame, files }) => {
          const found = await journal.remember(files, () => frameFaults(root, files, sizes.get(frame.date)));
          faults += found.length;
          drives.get(drivePath(frame))!.faults.push(...found);
        }),
      );
      onProgress?.(Math.min(i + AT_ONCE, jobs.length), jobs.length, faults);
    }
  }
  const all: DriveReport[] = [...drives.values()].sort((a, b) => a.path < b.path ? -1 : 1);
  const complete = !signal?.aborted && calibrations.length === 0 && parts[0].scans === parts[0].pairs &&
    all.every(({ found, expected, faults }) => found === expected && faults.length === 0);
  return { parts, drives: all, calibrations, complete };
}

/** The files of a frame that exist. */
interface FrameFiles {
  readonly left?: string;
  readonly right?: string;
  readonly scan?: string;
}

/** What is wrong with a frame's files. */
async function frameFaults(
  root: string,
  { left, right, scan }: FrameFiles,
  size?: ImageSize,
): Promise<string[]> {
  const faults: string[] = [];
  if (left === undefined || right === undefined) {
    faults.push(`${left ?? right}: the ${left === undefined ? "left" : "right"} image of its pair is absent`);
  }
  const attempt = async (path: string | undefined, check: (path: string) => Promise<string | undefined>) => {
    if (path === undefined) return;
    try {
      const fault = await check(join(root, path));
      if (fault) faults.push(`${path}: ${fault}`);
    } catch (error) {
      faults.push(messageOf(error).replace(/^Cannot \w+ the [\w ]+ (?=\S+: )/, "").replace(`${root}/`, ""));
    }
  };
  const image = async (path: string) => {
    const { width, height } = await readRgb(path);
    if (size && (width !== size.width || height !== size.height)) {
      return `${width}×${height} px, expected ${size.width}×${size.height} as in the calibration`;
    }
  };
  await Promise.all([
    attempt(left, image),
    attempt(right, image),
    attempt(scan, async (path) => {
      const points = await readVelodyne(path);
      let ahead = 0;
      for (let at = 0; at < points.length; at += 4) {
        if (points[at] > 0 && Number.isFinite(points[at + 1] + points[at + 2])) ahead++;
      }
      if (ahead === 0) return `none of its ${points.length / 4} points lies ahead, or they are no numbers`;
    }),
  ]);
  return faults;
}

/** A file of lines: a frame's files, their sizes and times, what is wrong with them. */
async function openJournal(path: string | undefined, root: string) {
  const known = new Map<string, string[]>();
  if (path !== undefined && await exists(path)) {
    for (const line of (await readText(path)).split("\n")) {
      try {
        const [stamp, faults] = JSON.parse(line) as [string, string[]];
        known.set(stamp, faults);
      } catch { /* The last line of a check that was killed. */ }
    }
  }
  let lines: string[] = [];
  const flush = async () => {
    if (path === undefined || lines.length === 0) return;
    const text = lines.join("");
    lines = [];
    try {
      await Deno.mkdir(dirname(path), { recursive: true });
      await Deno.writeTextFile(path, text, { append: true });
    } catch (error) {
      throw fileError("write the journal", path, error);
    }
  };
  return {
    async remember(files: FrameFiles, check: () => Promise<string[]>): Promise<string[]> {
      const stats = await Promise.all([files.left, files.right, files.scan].map(async (file) => {
        if (file === undefined) return "-";
        const { size, mtime } = await Deno.stat(join(root, file));
        return `${file} ${size} ${mtime?.getTime()}`;
      }));
      const stamp = `${resolve(root)} ${stats.join(" ")}`, before = known.get(stamp);
      if (before) return before;
      const faults = await check();
      lines.push(`${JSON.stringify([stamp, faults])}\n`);
      if (lines.length >= BATCH) await flush();
      return faults;
    },
    [Symbol.asyncDispose]: flush,
  };
}

/** Bytes of a frame: in a drive's archive, about; of its two color images; of its scan. */
const ARCHIVE = 3.9e6, IMAGES = 1.7e6, SCAN = 1.9e6;

/** What to download, by date; see {@linkcode planDownload}. */
export type DownloadPlan = ReturnType<typeof planDownload>;

/**
 * The archives that the Eigen split needs, and about how large they are: KITTI's synced and rectified drives hold four
 * cameras and the scans of all their frames.
 *
 * @param present Paths of the drives that need no download.
 * @returns `dates`: the numbers of the drives. `archiveBytes`: to download. `neededBytes`: both color cameras of all, scans
 * of the test frames; the rest may be deleted.
 */
export function planDownload(present: ReadonlySet<string> = new Set()) {
  const drives = new Map<string, { readonly frame: Frame; readonly used: number[] }>();
  for (const part of PARTS) {
    for (const { left } of eigenSplit(part)) {
      const frame = parseFrame(left), path = drivePath(frame);
      if (!drives.has(path)) drives.set(path, { frame, used: [] });
      drives.get(path)!.used.push(frame.index);
    }
  }
  const dates = new Map<string, string[]>();
  let archiveBytes = 0, frames = 0;
  for (const [path, { frame, used }] of drives) {
    frames += used.length;
    if (present.has(path)) continue;
    if (!dates.has(frame.date)) dates.set(frame.date, []);
    dates.get(frame.date)!.push(frame.drive);
    // Test drives are longer than their last test frame by about the distance between two.
    const indices = used.toSorted((a, b) => a - b), last = indices.at(-1)!;
    archiveBytes += ARCHIVE * (last + (last - indices[0]) / (indices.length - 1));
  }
  const test = eigenSplit("test").length;
  return { dates, drives: drives.size, frames, archiveBytes, neededBytes: frames * IMAGES + test * SCAN };
}
