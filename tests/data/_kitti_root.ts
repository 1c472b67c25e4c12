/**
 * A tiny data set in KITTI raw's layout, made in a temporary folder: one drive, one scanner looking along the
 * camera's axis from the same place, so that expected pixels can be worked out by hand.
 *
 * @module
 */
import { join } from "@std/path";
import { writeAtomic } from "../../lib/base/files.ts";
import { writeRgb } from "../../lib/data/image.ts";
import {
  calibrationPaths,
  depthPath,
  formatCalibration,
  type Frame,
  framePair,
  type StereoRig,
  velodynePath,
  writeDepthPng,
} from "../../lib/data/kitti.ts";
import type { StereoPair } from "../../lib/data/split.ts";
import { encodeVelodyne } from "../../lib/data/velodyne.ts";
import { withFolder } from "../_folder.ts";

/** 64×32 px, focal 50 px, centre (32, 16), baseline 0.5 m; scanner x, y, z = camera z, −x, −y. */
export const rig: StereoRig = {
  imageSize: { width: 64, height: 32 },
  focalPx: 50,
  centerPx: { x: 32, y: 16 },
  baselineM: 0.5,
  velodyneToCamera: { rotation: [0, -1, 0, 0, 0, -1, 1, 0, 0], translation: [0, 0, 0] },
};

/** The scanner point that projects to (u, v) px, as real numbers, at that depth. */
export function pointAt(u: number, v: number, depth: number): number[] {
  return [depth, -(u - 32) / 50 * depth, -(v - 16) / 50 * depth, 0.5];
}

/** What one frame holds. */
export interface FrameContent {
  /** Points [x, y, z, reflectance] one after the other. */
  readonly scan: readonly number[];
  /** Depth of every pixel, m. */
  readonly depth?: Float32Array;
}

/** Writes a root with the given frames of drive 0001; runs `use` and removes it again. */
export async function withRoot(
  frames: readonly FrameContent[],
  use: (root: string, pairs: StereoPair[]) => Promise<void>,
): Promise<void> {
  await withFolder(async (root) => {
    const { width, height } = rig.imageSize;
    const date = "2026_01_02", files = formatCalibration(rig), paths = calibrationPaths(date);
    await writeAtomic(join(root, paths.camToCam), files.camToCam);
    await writeAtomic(join(root, paths.veloToCam), files.veloToCam);
    const pairs: StereoPair[] = [];
    const image = { width, height, data: new Uint8Array(width * height * 3).fill(90) };
    for (const [index, { scan, depth }] of frames.entries()) {
      const frame: Frame = { date, drive: "0001", index };
      const pair = framePair(frame);
      pairs.push(pair);
      await writeRgb(join(root, pair.left), image);
      await writeRgb(join(root, pair.right), image);
      await writeAtomic(join(root, velodynePath(frame)), encodeVelodyne(Float32Array.from(scan)));
      if (depth) await writeDepthPng(join(root, depthPath(frame, 2)), { width, height, data: depth });
    }
    await use(root, pairs);
  });
}

/** Where the real KITTI frames are, if they are. */
export const kittiSample = Deno.env.get("KITTI_SAMPLE") ??
  join(import.meta.dirname!, "../../../shared/kitti-sample");

/** True where there are no real KITTI frames: tests that need them show as ignored. */
export const noKittiSample = await Deno.stat(join(kittiSample, "raw/expected.json")).then(
  () => false,
  () => true,
);
