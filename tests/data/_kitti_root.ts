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
  encodeVelodyne,
  type Frame,
  framePair,
  velodynePath,
  writeDepthPng,
} from "../../lib/data/kitti.ts";
import type { StereoCamera } from "../../lib/geometry/camera.ts";
import type { StereoPair } from "../../lib/data/split.ts";
import { withFolder } from "../_folder.ts";

/** A stereo camera with a laser scanner, rectified by construction: camera 0 is the left color camera. */
interface StereoRig extends StereoCamera {
  /** From scanner coordinates to left camera coordinates. */
  readonly velodyneToCamera: {
    readonly rotation: readonly number[];
    readonly translation: readonly number[];
  };
}

/**
 * The two calibration files of such a rig in KITTI's format, with enough digits to read back the same numbers.
 *
 * @returns The contents of calib_cam_to_cam.txt and calib_velo_to_cam.txt.
 */
export function formatCalibration(
  rig: StereoRig,
): { readonly camToCam: string; readonly veloToCam: string } {
  const { imageSize: { width, height }, focalPx: f, centerPx: { x, y }, baselineM } = rig;
  const row = (key: string, values: readonly number[]) =>
    `${key}: ${values.map((v) => v.toExponential()).join(" ")}\n`;
  const camera = (id: string, offset: number) =>
    row(`S_rect_${id}`, [width, height]) + row(`R_rect_${id}`, [1, 0, 0, 0, 1, 0, 0, 0, 1]) +
    row(`P_rect_${id}`, [f, 0, x, offset, 0, f, y, 0, 0, 0, 1, 0]);
  const { rotation, translation } = rig.velodyneToCamera;
  return {
    camToCam: row("corner_dist", [0.1]) +
      camera("00", 0) + camera("01", -f * baselineM) + camera("02", 0) + camera("03", -f * baselineM),
    veloToCam: row("R", rotation) + row("T", translation) + row("delta_f", [0, 0]) + row("delta_c", [0, 0]),
  };
}

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
export const kittiSample = Deno.env.get("KITTI_SAMPLE") ?? "";

/** True where there are no real KITTI frames: tests that need them show as ignored. */
export const noKittiSample = await Deno.stat(join(kittiSample, "raw/expected.json")).then(
  () => false,
  () => true,
);
