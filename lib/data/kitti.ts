/**
 * KITTI raw on disk: where its files lie, its calibration, its laser scans and depth maps, the Eigen split
 * and what a download lacks.
 * Street data use the same layout, so this reads both.
 *
 *     ROOT/2011_09_26/calib_cam_to_cam.txt, calib_velo_to_cam.txt
 *     ROOT/2011_09_26/2011_09_26_drive_0002_sync/image_02/data/0000000069.png     left color camera
 *                                               /image_03/data/0000000069.png     right color camera
 *                                               /velodyne_points/data/0000000069.bin
 *                                               /proj_depth/groundtruth/image_02/0000000069.png
 *
 * @module
 */
import { join } from "@std/path";
import { CyclopsError } from "../base/errors.ts";
import { fileError, readBytes, readText } from "../base/files.ts";
import { multiply, rigid, type StereoCamera } from "../geometry/camera.ts";
import { type FloatMap, type PngOptions, readGray16, writeGray16 } from "./image.ts";
import type { StereoPair } from "./split.ts";
import eigen from "../../data/splits/eigen.json" with { type: "json" };

/** The two color cameras: 2 is the left one, 3 the right one. */
export type ColorCamera = 2 | 3;

/** One frame of one drive. */
export interface Frame {
  /** `2011_09_26` */
  readonly date: string;
  /** Four digits: `0002` */
  readonly drive: string;
  /** Index within the drive, from 0. */
  readonly index: number;
}

/** `2011_09_26/2011_09_26_drive_0002_sync`, relative to the root. */
export function drivePath({ date, drive }: Pick<Frame, "date" | "drive">): string {
  return `${date}/${date}_drive_${drive}_sync`;
}

/** A frame's files are named by ten digits. */
const digits = (index: number) => String(index).padStart(10, "0");

/** A frame's image, relative to the root. */
export function framePath(frame: Frame, camera: ColorCamera): string {
  return `${drivePath(frame)}/image_0${camera}/data/${digits(frame.index)}.png`;
}

/** A frame's laser scan, relative to the root. */
export function velodynePath(frame: Frame): string {
  return `${drivePath(frame)}/velodyne_points/data/${digits(frame.index)}.bin`;
}

/** A frame's depth map, relative to the root. */
export function depthPath(frame: Frame, camera: ColorCamera): string {
  return `${drivePath(frame)}/proj_depth/groundtruth/image_0${camera}/${digits(frame.index)}.png`;
}

/**
 * Where a frame's annotated depth map may be: in its drive, or where data_depth_annotated.zip was unpacked in the root.
 */
export function annotatedPaths(frame: Frame): string[] {
  const path = depthPath(frame, 2), drive = path.slice(path.indexOf("/") + 1);
  return [path, `train/${drive}`, `val/${drive}`];
}

/** Both images of a frame. */
export function framePair(frame: Frame): StereoPair {
  return { left: framePath(frame, 2), right: framePath(frame, 3) };
}

/**
 * The frame that an image path names, the inverse of {@linkcode framePath}.
 *
 * @throws {CyclopsError} When the path does not follow KITTI raw's layout.
 */
export function parseFrame(path: string): Frame & { readonly camera: ColorCamera } {
  const match = path.match(/(?:^|\/)([^/]+)\/\1_drive_(\d{4})_sync\/image_0([23])\/data\/(\d+)\.\w+$/);
  if (!match) {
    throw new CyclopsError(
      `Cannot tell the frame of ${path}: expected KITTI raw's layout, such as ` +
        `2011_09_26/2011_09_26_drive_0002_sync/image_02/data/0000000069.png ` +
        `(true depths of other images come from a manifest's disparity or depth column)`,
    );
  }
  const [, date, drive, camera, index] = match;
  return { date, drive, index: Number(index), camera: camera === "2" ? 2 : 3 };
}

/** A date's calibration, from its two files; matrices row-major. */
export interface Calibration extends StereoCamera {
  /** Rectifying rotation of camera 0, 3×3. */
  readonly rectification: readonly number[];
  /** P_rect_02, 3×4: rectified camera coordinates to the left color image. */
  readonly leftProjection: readonly number[];
  /** P_rect_02 · R_rect_00 · Tr_velo_to_cam, 3×4: scanner coordinates (m) to the left color image (px). */
  readonly velodyneToImage: readonly number[];
}

/** The two calibration files of a date, relative to the root. */
export function calibrationPaths(date: string): { readonly camToCam: string; readonly veloToCam: string } {
  return { camToCam: `${date}/calib_cam_to_cam.txt`, veloToCam: `${date}/calib_velo_to_cam.txt` };
}

function parseMatrices(text: string, path: string): (key: string, length: number) => number[] {
  const lines = Map.groupBy(text.split(/\r?\n/), (line) => line.slice(0, line.indexOf(":")).trim());
  return (key, length) => {
    const [line, twice] = (lines.get(key) ?? []).map((line) => line.slice(line.indexOf(":") + 1).trim());
    if (twice !== undefined) {
      throw new CyclopsError(
        `Cannot read the calibration ${path}: found ${key} twice, expected one line: remove the wrong one, or fetch ` +
          "the date's calib archive again",
      );
    }
    if (line === undefined) {
      const found = [...lines.keys()].filter(Boolean).join(", ").slice(0, 300) || "no lines at all";
      throw new CyclopsError(
        `Cannot read the calibration ${path}: no line ${key} (found ${found}): fetch the date's calib archive again`,
      );
    }
    const values = line.split(/\s+/).map(Number);
    if (values.length !== length || !values.every(Number.isFinite)) {
      throw new CyclopsError(
        `Cannot read the calibration ${path}: ${key} is "${line.slice(0, 80)}", expected ${length} numbers`,
      );
    }
    return values;
  };
}

/**
 * Reads a date's calibration.
 *
 * @param root The data's root folder.
 * @param date As in `2011_09_26`.
 * @throws {CyclopsError} When a file or a line is missing, or does not describe a stereo camera.
 */
export async function readCalibration(root: string, date: string): Promise<Calibration> {
  const camera = await readKittiCamera(root, date);
  const veloPath = join(root, calibrationPaths(date).veloToCam);
  const velo = parseMatrices(await readText(veloPath), veloPath);
  const toCamera = rigid(velo("R", 9), velo("T", 3));
  const toRectified = multiply(rigid(camera.rectification), toCamera, 4);
  return { ...camera, velodyneToImage: multiply(camera.leftProjection, toRectified, 4) };
}

/** Reads a date's cameras alone, from calib_cam_to_cam.txt; see {@linkcode readCalibration}. */
export function readKittiCamera(root: string, date: string): Promise<Omit<Calibration, "velodyneToImage">> {
  return readCameras(join(root, calibrationPaths(date).camToCam));
}

async function readCameras(camPath: string): Promise<Omit<Calibration, "velodyneToImage">> {
  const cam = parseMatrices(await readText(camPath), camPath);
  const [width, height] = cam("S_rect_02", 2);
  const leftProjection = cam("P_rect_02", 12), rightProjection = cam("P_rect_03", 12);
  const [focalPx, , x] = leftProjection;
  const baselineM = (leftProjection[3] - rightProjection[3]) / focalPx;
  if (!(focalPx > 0 && baselineM > 0)) {
    throw new CyclopsError(
      `Cannot read the calibration ${camPath}: focal length ${focalPx} px and baseline ${baselineM} m, ` +
        `expected both above 0 (is P_rect_03 that of the right camera?)`,
    );
  }
  return {
    imageSize: { width, height },
    focalPx,
    centerPx: { x, y: leftProjection[6] },
    baselineM,
    rectification: cam("R_rect_00", 9),
    leftProjection,
  };
}

/** The left color camera's calibration of a date: width, height, f, x, y in px, baseline in m. */
const CAMERAS = {
  "2011_09_26": [1242, 375, 721.5377, 609.5593, 172.854, 0.532725],
  "2011_09_28": [1224, 370, 707.0493, 604.0814, 180.5066, 0.537257],
  "2011_09_30": [1226, 370, 707.0912, 601.8873, 183.1104, 0.537904],
  "2011_10_03": [1241, 376, 718.856, 607.1928, 185.2157, 0.532332],
} as const;

/** Dates whose cameras are known without a file. */
export const KITTI_DATES = Object.keys(CAMERAS) as (keyof typeof CAMERAS)[];

/** The color cameras of a date, from KITTI's own calibration files. */
export function kittiCamera(date: keyof typeof CAMERAS): StereoCamera {
  const [width, height, focalPx, x, y, baselineM] = CAMERAS[date];
  return { imageSize: { width, height }, focalPx, centerPx: { x, y }, baselineM };
}

/** KITTI's depth PNG: value / 256 is the depth in m, 0 = unknown. */
const DEPTH_STEPS = 256;

/** Reads a depth PNG (16-bit gray) as depths in m, 0 = unknown. @throws {CyclopsError} When it is missing or no such PNG. */
export async function readDepthPng(path: string): Promise<FloatMap> {
  const { width, height, data } = await readGray16(path);
  const depths = new Float32Array(data.length);
  for (let i = 0; i < data.length; i++) depths[i] = data[i] / DEPTH_STEPS;
  return { width, height, data: depths };
}

/**
 * Writes a depth PNG. Depths beyond what 16 bits hold (255.99 m), infinity (sky) and NaN become 0, unknown.
 *
 * @throws {CyclopsError} When it cannot be written.
 */
export async function writeDepthPng(path: string, depth: FloatMap, options: PngOptions = {}): Promise<void> {
  const { width, height } = depth;
  // A loop: Uint16Array.from walks an iterator, ten times slower.
  const data = new Uint16Array(depth.data.length);
  for (let i = 0; i < data.length; i++) {
    const value = Math.round(depth.data[i] * DEPTH_STEPS);
    data[i] = value > 0 && value <= 0xffff ? value : 0;
  }
  await writeGray16(path, { width, height, data }, options);
}

/**
 * The parts of the Eigen split: 697 test, 22,600 training and 888 validation pairs. `files` is the test part in the order
 * of the field's own test_files.txt, which published predictions follow; `benchmark` the 652 of them, in that order, for
 * which KITTI has annotated depth maps.
 */
export type EigenPart = "test" | "train" | "val" | "files" | "benchmark";

/** The names of the Eigen split's parts on the command line. */
export const eigenNames: Readonly<Record<string, EigenPart>> = {
  "eigen-test": "test",
  "eigen-train": "train",
  "eigen-val": "val",
  "eigen-files": "files",
  "eigen-benchmark": "benchmark",
};

/** The Eigen split as data/splits/eigen.json keeps it; keys are `date/drive`. */
interface EigenFacts {
  readonly test: Readonly<Record<string, readonly number[]>>;
  /** Every frame 0 … frames - 1 is used; those in `val` validate, the rest train. */
  readonly trainVal: Readonly<Record<string, { readonly frames: number; readonly val: readonly number[] }>>;
  /** The test frames in the order of the field's list, where that is not ascending. */
  readonly filesOrder: Readonly<Record<string, readonly number[]>>;
  /** The test frames without an annotated depth map. */
  readonly noDepthMap: Readonly<Record<string, readonly number[]>>;
}

/** Whether KITTI has an annotated depth map of a frame; of frames outside the Eigen test part it is not known. */
export function hasDepthMap({ date, drive, index }: Frame): boolean {
  return !(eigen as EigenFacts).noDepthMap[`${date}/${drive}`]?.includes(index);
}

/**
 * The Eigen split of KITTI raw (Eigen et al. 2014, as Godard et al. 2017 use it with stereo pairs).
 *
 * @returns The pairs under KITTI's own names (PNG), by drive and frame.
 */
export function eigenSplit(part: EigenPart): StereoPair[] {
  const { test, trainVal, filesOrder }: EigenFacts = eigen;
  const pairsOf = (key: string, indices: readonly number[]) => {
    const [date, drive] = key.split("/");
    return indices.map((index) => framePair({ date, drive, index }));
  };
  if (part === "test") return Object.entries(test).flatMap(([key, indices]) => pairsOf(key, indices));
  if (part === "files" || part === "benchmark") {
    const pairs = Object.entries(test).flatMap(([key, indices]) => pairsOf(key, filesOrder[key] ?? indices));
    return part === "files" ? pairs : pairs.filter(({ left }) => hasDepthMap(parseFrame(left)));
  }
  return Object.entries(trainVal).flatMap(([key, { frames, val }]) => {
    const validates = new Set(val);
    const all = Array.from({ length: frames }, (_, i) => i);
    return pairsOf(key, all.filter((i) => validates.has(i) === (part === "val")));
  });
}

/**
 * The 200 pairs of KITTI stereo 2015 with their cameras and true disparities.
 *
 *     ROOT/training/image_2/000000_10.png, image_3/…, disp_occ_0/…, disp_noc_0/…, calib_cam_to_cam/000000.txt
 *
 * @returns Pairs whose truth is `disp_occ_0`, occluded pixels included.
 * @throws {CyclopsError} When a folder or a calibration is missing.
 */
export async function stereo2015Split(root: string): Promise<StereoPair[]> {
  const folder = join(root, "training", "image_2"), pairs: StereoPair[] = [];
  let names: string[];
  try {
    names = (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name);
  } catch (error) {
    throw fileError("list the pairs of stereo 2015 in", folder, error);
  }
  // The second image of a scene, _11, has no disparities.
  for (const name of names.filter((n) => /_10\.(png|jpe?g)$/i.test(n)).sort()) {
    const scene = name.replace(/_10\..*$/, ""),
      of = (folder: string, file = name) => `training/${folder}/${file}`;
    const { imageSize, focalPx, centerPx, baselineM } = await readCameras(
      join(root, of("calib_cam_to_cam", `${scene}.txt`)),
    );
    const truth = { kind: "disparity", path: of("disp_occ_0", `${scene}_10.png`) } as const;
    const camera = { imageSize, focalPx, centerPx, baselineM };
    pairs.push({ left: of("image_2"), right: of("image_3"), camera, truth });
  }
  return pairs;
}

/** A scan file: little-endian float32 x, y, z, reflectance, one point after the other. */
const POINT_BYTES = 16;

/**
 * Reads a Velodyne scan.
 *
 * @returns [points × 4]: x forward, y left, z up, in m; reflectance in [0, 1].
 * @throws {CyclopsError} When the file is missing, empty or truncated inside a point.
 */
export async function readVelodyne(path: string): Promise<Float32Array<ArrayBuffer>> {
  const bytes = await readBytes(path);
  checkPoints(path, bytes.length);
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
}

function checkPoints(path: string, bytes: number): void {
  if (bytes > 0 && bytes % POINT_BYTES === 0) return;
  throw new CyclopsError(
    `Cannot read the Velodyne scan ${path}: it has ${bytes} bytes, expected a positive multiple of ${POINT_BYTES} ` +
      "(four float32 per point): it is truncated or not a scan, fetch it again",
  );
}

/** 4096 points at a time stay in the processor's cache: projecting them is faster by half than a whole scan. */
const part = new Uint8Array(4096 * POINT_BYTES);

/**
 * Reads a Velodyne scan part by part, as fast as can be: each part is gone when the next one is read.
 *
 * @throws {CyclopsError} As {@linkcode readVelodyne}.
 */
export function* velodyneParts(path: string): Generator<Float32Array> {
  try {
    using file = Deno.openSync(path);
    for (let bytes = 0;;) {
      let length = 0, read;
      while (length < part.length && (read = file.readSync(part.subarray(length)))) length += read;
      bytes += length;
      if (length === 0) return checkPoints(path, bytes);
      yield new Float32Array(part.buffer, 0, length >> 2);
    }
  } catch (error) {
    throw error instanceof CyclopsError ? error : fileError("read the Velodyne scan", path, error);
  }
}

/** The bytes of a scan file. @param points [points × 4]: x, y, z in m, reflectance. */
export function encodeVelodyne(points: Float32Array): Uint8Array {
  if (points.length % 4 !== 0) {
    throw new RangeError(`Cannot encode a scan: ${points.length} numbers, expected a multiple of 4`);
  }
  return new Uint8Array(points.buffer, points.byteOffset, points.byteLength).slice();
}
