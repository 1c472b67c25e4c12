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
  encodeVelodyne,
  type Frame,
  framePair,
  framePath,
  velodynePath,
  writeDepthPng,
} from "../data/kitti.ts";
import { formatSplit } from "../data/split.ts";
import type { Rendered } from "./render.ts";
import { calibrationFiles } from "./rig.ts";

/** The date of all street drives, a day that KITTI never saw. */
export const STREET_DATE = "2030_01_01";
/** Changes when the same plan gives other bytes than before. */
const STREET_VERSION = 4;

/** What decides the bytes of a set: everything but where and how it is made. Kept in `street.json`. */
export interface StreetPlan {
  /** Integer that all randomness comes from. */
  readonly seed: number;
  /** How many drives, numbered from 1. */
  readonly drives: number;
  /** Frames of each drive. */
  readonly frames: number;
  /** Image height in px. */
  readonly height: number;
  /** Image width in px. */
  readonly width: number;
}

/** All that is measured at one moment. */
export interface StreetFrame {
  /** Left camera, image_02. */
  readonly left: Rendered;
  /** Right camera, image_03. */
  readonly right: Rendered;
  /** Laser scan, [points × 4]: x forward, y left, z up in m from the scanner, reflectance 0..1. */
  readonly points: Float32Array;
}

/** Which drives (by number, from 1) belong to which split. */
export type StreetSplits = Readonly<Record<"train" | "val" | "test", readonly number[]>>;

/** What `street.json` holds. */
interface StreetManifest {
  readonly kind: "cyclops street";
  readonly version: number;
  readonly plan: StreetPlan;
  readonly splits: StreetSplits;
}

/** The frame of KITTI raw's layout that a drive's frame is. */
export function streetFrame(drive: number, index: number): Frame {
  return { date: STREET_DATE, drive: String(drive).padStart(4, "0"), index };
}

/** Assigns the drives: a tenth validates, 15 % test (at least one each), the others train. */
function splitDrives({ seed, drives: count }: StreetPlan): StreetSplits {
  const drives = new Random(seed).fork("splits").shuffle(Array.from({ length: count }, (_, i) => i + 1));
  const test = Math.max(1, Math.round(count * 0.15)), val = Math.max(1, Math.round(count * 0.1));
  const sorted = (from: number, to: number) => drives.slice(from, to).sort((a, b) => a - b);
  return { test: sorted(0, test), val: sorted(test, test + val), train: sorted(test + val, count) };
}

/** True where all five files of a frame exist; each was renamed into place, so each is complete. */
export async function frameExists(out: string, frame: Frame): Promise<boolean> {
  const images = ([2, 3] as const).flatMap((camera) => [depthPath(frame, camera), framePath(frame, camera)]);
  for (const path of [velodynePath(frame), ...images]) if (!await exists(join(out, path))) return false;
  return true;
}

/** Noise does not compress: level 2 makes files as small as level 6, in two thirds of the time. */
const PNG = { compressionLevel: 2 };

/** Writes the five files of a frame. */
export async function writeFrame(
  out: string,
  frame: Frame,
  { width, height }: StreetPlan,
  { left, right, points }: StreetFrame,
): Promise<void> {
  await Promise.all([
    writeAtomic(join(out, velodynePath(frame)), encodeVelodyne(points)),
    ...([[2, left], [3, right]] as const).flatMap(([camera, { rgb, depth }]) => [
      writeDepthPng(join(out, depthPath(frame, camera)), { width, height, data: depth }, PNG),
      writeRgb(join(out, framePath(frame, camera)), { width, height, data: rgb }, PNG),
    ]),
  ]);
}

/**
 * Prepares the folder: manifest, calibration and splits. Frames of the same plan that it holds stay.
 *
 * @param overwrite Remove a set of another plan first.
 * @returns Which drives belong to which split.
 * @throws {UsageError} When the folder holds a set of another plan, naming what differs.
 * @throws {CyclopsError} When the folder is not empty and holds no street set, or cannot be written.
 */
export async function prepareFolder(
  out: string,
  plan: StreetPlan,
  overwrite: boolean,
): Promise<StreetSplits> {
  const path = join(out, "street.json"), splits = splitDrives(plan);
  if (await exists(path)) await checkManifest(out, await readJson(path), plan, overwrite);
  else await checkEmpty(out);
  const manifest: StreetManifest = { kind: "cyclops street", version: STREET_VERSION, plan, splits };
  const calibration = calibrationFiles(plan.width, plan.height), paths = calibrationPaths(STREET_DATE);
  // First, so that a folder whose preparation was cut short is recognized as ours.
  await writeAtomic(path, JSON.stringify(manifest, null, 2) + "\n");
  await writeAtomic(join(out, paths.camToCam), calibration.camToCam);
  await writeAtomic(join(out, paths.veloToCam), calibration.veloToCam);
  for (const [name, drives] of Object.entries(splits)) {
    const pairs = drives.flatMap((drive) =>
      Array.from({ length: plan.frames }, (_, index) => framePair(streetFrame(drive, index)))
    );
    await writeAtomic(join(out, "splits", `${name}.txt`), formatSplit(pairs));
  }
  return splits;
}

/** Refuses a set of another plan, or removes it where it may be overwritten. */
async function checkManifest(
  out: string,
  manifest: unknown,
  plan: StreetPlan,
  overwrite: boolean,
): Promise<void> {
  const found = manifest as Partial<StreetManifest> | null;
  if (found?.kind !== "cyclops street") {
    throw new CyclopsError(
      `Cannot write street scenes to ${out}: its street.json is not the manifest of a street set; choose another --out`,
    );
  }
  const differs = found.version === STREET_VERSION
    ? []
    : [`version is ${found.version}, expected ${STREET_VERSION}`];
  for (const [key, value] of Object.entries(plan)) {
    const there = found.plan?.[key as keyof StreetPlan];
    if (there !== value) differs.push(`${key} is ${there}, expected ${value}`);
  }
  if (differs.length === 0) return;
  if (!overwrite) {
    throw new UsageError(
      `Cannot write street scenes to ${out}: it holds a different set (${differs.join("; ")}); ` +
        `use the same options to finish that set, another --out, or --overwrite to replace it`,
    );
  }
  for (const name of [STREET_DATE, "splits", "street.json"]) {
    await Deno.remove(join(out, name), { recursive: true }).catch((error) => {
      if (!(error instanceof Deno.errors.NotFound)) throw fileError("remove", join(out, name), error);
    });
  }
}

/** Refuses a folder with other contents. Hidden files do not count: a `.gitkeep`, or an interrupted write of ours. */
async function checkEmpty(out: string): Promise<void> {
  try {
    for await (const { name } of Deno.readDir(out)) {
      if (name.startsWith(".")) continue;
      throw new CyclopsError(
        `Cannot write street scenes to ${out}: it holds ${name} but no street.json, expected a new or empty folder ` +
          `or a street set to finish; choose another --out`,
      );
    }
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw error instanceof CyclopsError ? error : fileError("read", out, error);
  }
}
