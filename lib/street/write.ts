/**
 * A street set on disk: KITTI raw's layout, three splits by drive, and `street.json`, which says how it was made.
 *
 * @module
 */
import { join } from "@std/path";
import { CyclopsError, UsageError } from "../base/errors.ts";
import { exists, fileError, readJson, writeAtomic } from "../base/files.ts";
import { Random } from "../base/random.ts";
import { writeRgb } from "../data/image.ts";
import {
  calibrationPaths,
  depthPath,
  type Frame,
  framePair,
  framePath,
  velodynePath,
  writeDepthPng,
} from "../data/kitti.ts";
import { formatSplit } from "../data/split.ts";
import { encodeVelodyne } from "../data/velodyne.ts";
import type { StreetFrame } from "./frame.ts";
import type { StreetPlan } from "./options.ts";
import { calibrationFiles } from "./rig.ts";

/** The date of all street drives, a day that KITTI never saw. */
export const STREET_DATE = "2030_01_01";
/** Changes when the same plan gives other bytes than before. */
export const STREET_VERSION = 4;

/** Which drives (by number, from 1) train, validate and test. */
export interface StreetSplits {
  /** They train. */
  readonly train: readonly number[];
  /** They validate. */
  readonly val: readonly number[];
  /** They test. */
  readonly test: readonly number[];
}

/** What `street.json` holds. */
export interface StreetManifest {
  /** What this file is. */
  readonly kind: "cyclops street";
  /** {@linkcode STREET_VERSION} when it was written. */
  readonly version: number;
  /** What decides the bytes. */
  readonly plan: StreetPlan;
  /** Which drives belong to which split. */
  readonly splits: StreetSplits;
}

/** The frame of KITTI raw's layout that a drive's frame is. */
export function streetFrame(drive: number, index: number): Frame {
  return { date: STREET_DATE, drive: String(drive).padStart(4, "0"), index };
}

/** Parts the drives: a tenth validates, 15 % test (at least one each), the others train. */
export function splitDrives(plan: StreetPlan): StreetSplits {
  const drives = new Random(plan.seed).fork("splits").shuffle(
    Array.from({ length: plan.drives }, (_, i) => i + 1),
  );
  const val = Math.max(1, Math.round(plan.drives * 0.1)), test = Math.max(1, Math.round(plan.drives * 0.15));
  const sorted = (from: number, to: number) => drives.slice(from, to).sort((a, b) => a - b);
  return { test: sorted(0, test), val: sorted(test, test + val), train: sorted(test + val, plan.drives) };
}

/** The files of one frame, relative to the set's folder, in the order they are written. */
function frameFiles(frame: Frame): string[] {
  return [
    velodynePath(frame),
    depthPath(frame, 2),
    depthPath(frame, 3),
    framePath(frame, 3),
    framePath(frame, 2),
  ];
}

/** True where all files of a frame are there; each was renamed into place, so each is whole. */
export async function frameExists(out: string, frame: Frame): Promise<boolean> {
  for (const path of frameFiles(frame)) if (!await exists(join(out, path))) return false;
  return true;
}

/** Noise does not compress: level 2 makes files as small as level 6, in two thirds of the time. */
const PNG = { compressionLevel: 2 };

/** Writes the five files of a frame. */
export async function writeFrame(
  out: string,
  frame: Frame,
  plan: StreetPlan,
  content: StreetFrame,
): Promise<void> {
  const { width, height } = plan, { left, right, points } = content;
  await Promise.all([
    writeAtomic(join(out, velodynePath(frame)), encodeVelodyne(points)),
    writeDepthPng(join(out, depthPath(frame, 2)), { width, height, data: left.depth }, PNG),
    writeDepthPng(join(out, depthPath(frame, 3)), { width, height, data: right.depth }, PNG),
    writeRgb(join(out, framePath(frame, 3)), { width, height, data: right.rgb }, PNG),
    writeRgb(join(out, framePath(frame, 2)), { width, height, data: left.rgb }, PNG),
  ]);
}

/**
 * Makes the folder ready: manifest, calibration and splits. What is there of the same plan stays.
 *
 * @param overwrite Remove a set of another plan first.
 * @throws {UsageError} When the folder holds a set of another plan, naming what differs.
 * @throws {CyclopsError} When the folder is not empty and holds no street set, or cannot be written.
 */
export async function prepareFolder(
  out: string,
  plan: StreetPlan,
  overwrite: boolean,
): Promise<StreetManifest> {
  const manifest: StreetManifest = {
    kind: "cyclops street",
    version: STREET_VERSION,
    plan,
    splits: splitDrives(plan),
  };
  const path = join(out, "street.json");
  if (await exists(path)) {
    const found = await readJson(path) as Partial<StreetManifest> | null;
    const differs = found?.kind !== "cyclops street" ? ["it is not a street manifest"] : [
      ...(found.version === STREET_VERSION ? [] : [`version ${found.version} there, ${STREET_VERSION} now`]),
      ...Object.entries(plan).filter(([key, value]) => found.plan?.[key as keyof StreetPlan] !== value)
        .map(([key, value]) => `${key} ${found.plan?.[key as keyof StreetPlan]} there, ${value} asked for`),
    ];
    if (differs.length && !overwrite) {
      throw new UsageError(
        `Cannot write street scenes to ${out}: other ones are there (${differs.join("; ")}); ` +
          `give the same options to finish them, another --out, or --overwrite to replace them`,
      );
    }
    if (differs.length) {
      for (const name of [STREET_DATE, "splits", "street.json"]) await removeAll(join(out, name));
    }
  } else if (await exists(join(out, STREET_DATE))) {
    throw new CyclopsError(
      `Cannot write street scenes to ${out}: it holds ${STREET_DATE} but no street.json; give another --out`,
    );
  }
  const calibration = calibrationFiles(plan.width, plan.height), paths = calibrationPaths(STREET_DATE);
  await writeAtomic(path, JSON.stringify(manifest, null, 2) + "\n");
  await writeAtomic(join(out, paths.camToCam), calibration.camToCam);
  await writeAtomic(join(out, paths.veloToCam), calibration.veloToCam);
  for (const [name, drives] of Object.entries(manifest.splits) as [string, readonly number[]][]) {
    const pairs = drives.flatMap((drive) =>
      Array.from({ length: plan.frames }, (_, index) => framePair(streetFrame(drive, index)))
    );
    await writeAtomic(join(out, "splits", `${name}.txt`), formatSplit(pairs));
  }
  return manifest;
}

async function removeAll(path: string): Promise<void> {
  try {
    await Deno.remove(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw fileError("remove", path, error);
  }
}
