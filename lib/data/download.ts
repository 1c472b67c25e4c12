/**
 * What is there of a KITTI raw download, counted against the Eigen split.
 *
 * @module
 */
import {
  calibrationPaths,
  drivePath,
  type EigenPart,
  eigenSplit,
  parseFrame,
  velodynePath,
} from "./kitti.ts";
import { findImage, folderLookup } from "./split.ts";

/** How much of one part of the Eigen split is there. */
export interface PartCount {
  /** Which part. */
  readonly part: EigenPart;
  /** Pairs it names. */
  readonly pairs: number;
  /** Left images found, PNG or JPEG. */
  readonly left: number;
  /** Right images found. */
  readonly right: number;
  /** Laser scans found. */
  readonly scans: number;
}

/** What is there and what is missing. */
export interface DownloadReport {
  /** Counts of each part of the split. */
  readonly parts: readonly PartCount[];
  /** Drives with missing images, and how many of the images that the split names are there. */
  readonly drives: readonly { readonly path: string; readonly found: number; readonly wanted: number }[];
  /** Calibration files that are absent. */
  readonly calibrations: readonly string[];
  /** Nothing that training (images, calibration) or testing (laser scans too) needs is missing. */
  readonly complete: boolean;
}

/**
 * Counts the files of KITTI raw that the Eigen split names. Only folders are listed, no file is opened.
 *
 * @param root The data's root folder; a missing one counts as empty.
 */
export async function checkDownload(root: string): Promise<DownloadReport> {
  const has = folderLookup(root);
  const drives = new Map<string, { found: number; wanted: number }>();
  const dates = new Set<string>();
  const parts: PartCount[] = [];
  for (const part of ["test", "train", "val"] as const) {
    const pairs = eigenSplit(part);
    const count = { part, pairs: pairs.length, left: 0, right: 0, scans: 0 };
    for (const pair of pairs) {
      const frame = parseFrame(pair.left);
      dates.add(frame.date);
      const drive = drives.get(drivePath(frame)) ?? { found: 0, wanted: 0 };
      drives.set(drivePath(frame), drive);
      for (const side of ["left", "right"] as const) {
        drive.wanted++;
        if (await findImage(has, pair[side]) === undefined) continue;
        drive.found++;
        count[side]++;
      }
      if (await has(velodynePath(frame))) count.scans++;
    }
    parts.push(count);
  }
  const calibrations: string[] = [];
  for (const date of [...dates].sort()) {
    for (const path of Object.values(calibrationPaths(date))) if (!await has(path)) calibrations.push(path);
  }
  const incomplete = [...drives].filter(([, { found, wanted }]) => found < wanted)
    .map(([path, counts]) => ({ path, ...counts })).sort((a, b) => a.path < b.path ? -1 : 1);
  const test = parts[0];
  const complete = incomplete.length === 0 && calibrations.length === 0 && test.scans === test.pairs;
  return { parts, drives: incomplete, calibrations, complete };
}
