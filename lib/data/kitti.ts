/**
 * KITTI raw on disk: where its files lie, its calibration, its depth maps and the Eigen split. The street data use
 * the same layout, so this is the one reader of both.
 *
 *     ROOT/2011_09_26/calib_cam_to_cam.txt, calib_velo_to_cam.txt
 *     ROOT/2011_09_26/2011_09_26_drive_0002_sync/image_02/data/0000000069.png     left colour camera
 *                                               /image_03/data/0000000069.png     right colour camera
 *                                               /velodyne_points/data/0000000069.bin
 *                                               /proj_depth/groundtruth/image_02/0000000069.png
 *
 * @module
 */
import { join } from "@std/path";
import { CyclopsError } from "../base/errors.ts";
import { exists, readText } from "../base/files.ts";
import { multiply, rigid, type StereoCamera } from "../geometry/camera.ts";
import { type FloatMap, type PngOptions, readGray16, writeGray16 } from "./image.ts";
import { readSplit, type StereoPair } from "./split.ts";
import eigen from "../../data/splits/eigen.json" with { type: "json" };

/** The two colour cameras: 2 is the left one, 3 the right one. */
export type ColourCamera = 2 | 3;

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

/** The ten digits that name a frame's files. */
function digits(index: number): string {
  return String(index).padStart(10, "0");
}

/** A frame's image, relative to the root. @param extension "png" (KITTI's own) or "jpg". @default "png" */
export function framePath(frame: Frame, camera: ColourCamera, extension = "png"): string {
  return `${drivePath(frame)}/image_0${camera}/data/${digits(frame.index)}.${extension}`;
}

/** A frame's laser scan, relative to the root. */
export function velodynePath(frame: Frame): string {
  return `${drivePath(frame)}/velodyne_points/data/${digits(frame.index)}.bin`;
}

/** A frame's depth map, relative to the root. */
export function depthPath(frame: Frame, camera: ColourCamera): string {
  return `${drivePath(frame)}/proj_depth/groundtruth/image_0${camera}/${digits(frame.index)}.png`;
}

/** Both images of a frame. */
export function framePair(frame: Frame, extension = "png"): StereoPair {
  return { left: framePath(frame, 2, extension), right: framePath(frame, 3, extension) };
}

/**
 * The frame that an image path names, the inverse of {@linkcode framePath}.
 *
 * @throws {CyclopsError} When the path does not follow KITTI raw's layout.
 */
export function parseFrame(path: string): Frame & { readonly camera: ColourCamera } {
  const match = path.match(/(?:^|\/)([^/]+)\/\1_drive_(\d{4})_sync\/image_0([23])\/data\/(\d+)\.\w+$/);
  if (!match) {
    throw new CyclopsError(
      `Cannot tell the frame of ${path}: wanted KITTI raw's layout, such as ` +
        `2011_09_26/2011_09_26_drive_0002_sync/image_02/data/0000000069.png`,
    );
  }
  const [, date, drive, camera, index] = match;
  return { date, drive, index: Number(index), camera: camera === "2" ? 2 : 3 };
}

/** What a date's two calibration files say, matrices row-major. */
export interface Calibration extends StereoCamera {
  /** Rectifying rotation of camera 0, 3×3. */
  readonly rectification: readonly number[];
  /** P_rect_02, 3×4: rectified camera coordinates to the left colour image. */
  readonly leftProjection: readonly number[];
  /** P_rect_03, 3×4, of the right colour image. */
  readonly rightProjection: readonly number[];
  /** P_rect_02 · R_rect_00 · Tr_velo_to_cam, 3×4: scanner coordinates (m) to the left colour image (px). */
  readonly velodyneToImage: readonly number[];
}

/** The two calibration files of a date, relative to the root. */
export function calibrationPaths(date: string): { readonly camToCam: string; readonly veloToCam: string } {
  return { camToCam: `${date}/calib_cam_to_cam.txt`, veloToCam: `${date}/calib_velo_to_cam.txt` };
}

function parseMatrices(text: string, path: string): (key: string, length: number) => number[] {
  const lines = new Map(
    text.split(/\r?\n/).map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
    }),
  );
  return (key, length) => {
    const line = lines.get(key);
    if (line === undefined) {
      throw new CyclopsError(
        `Cannot read the calibration ${path}: no line ${key} (there are ${
          [...lines.keys()].filter(Boolean).join(", ") || "no lines at all"
        }): fetch the date's calib archive again`,
      );
    }
    const values = line.split(/\s+/).map(Number);
    if (values.length !== length || !values.every(Number.isFinite)) {
      throw new CyclopsError(
        `Cannot read the calibration ${path}: ${key} is "${line.slice(0, 80)}", wanted ${length} numbers`,
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
 * @throws {CyclopsError} When a file or a line of it is missing or makes no stereo camera.
 */
export async function readCalibration(root: string, date: string): Promise<Calibration> {
  const paths = calibrationPaths(date);
  const camPath = join(root, paths.camToCam), veloPath = join(root, paths.veloToCam);
  const cam = parseMatrices(await readText(camPath), camPath);
  const velo = parseMatrices(await readText(veloPath), veloPath);
  const [width, height] = cam("S_rect_02", 2);
  const rectification = cam("R_rect_00", 9);
  const leftProjection = cam("P_rect_02", 12), rightProjection = cam("P_rect_03", 12);
  const [focalPx, , x] = leftProjection;
  const baselineM = (leftProjection[3] - rightProjection[3]) / focalPx;
  if (!(focalPx > 0 && baselineM > 0)) {
    throw new CyclopsError(
      `Cannot read the calibration ${camPath}: focal length ${focalPx} px and baseline ${baselineM} m, ` +
        `wanted both above 0 (is P_rect_03 that of the right camera?)`,
    );
  }
  const toCamera = rigid(velo("R", 9), velo("T", 3));
  const toRectified = multiply(rigid(rectification), toCamera, 4);
  return {
    imageSize: { width, height },
    focalPx,
    centerPx: { x, y: leftProjection[6] },
    baselineM,
    rectification,
    leftProjection,
    rightProjection,
    velodyneToImage: multiply(leftProjection, toRectified, 4),
  };
}

/** A stereo camera with a scanner whose images are rectified as taken: camera 0 is the left colour camera. */
export interface StereoRig extends StereoCamera {
  /** Scanner coordinates to left camera coordinates. */
  readonly velodyneToCamera: {
    /** 3×3 row-major. */
    readonly rotation: readonly number[];
    /** m */
    readonly translation: readonly number[];
  };
}

/**
 * The two calibration files of such a rig, in KITTI's format and with enough digits to read back the same numbers.
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

/** KITTI's depth PNG: value / 256 = metres, 0 = unknown. */
const DEPTH_STEPS = 256;

/** Reads a depth PNG (16-bit gray) as depths in m, 0 = unknown. @throws {CyclopsError} When it is missing or no such PNG. */
export async function readDepthPng(path: string): Promise<FloatMap> {
  const { width, height, data } = await readGray16(path);
  return { width, height, data: Float32Array.from(data, (v) => v / DEPTH_STEPS) };
}

/**
 * Writes a depth PNG. Depths beyond what 16 bits hold (255.99 m), infinity (sky) and NaN become 0, unknown.
 *
 * @throws {CyclopsError} When it cannot be written.
 */
export async function writeDepthPng(path: string, depth: FloatMap, options: PngOptions = {}): Promise<void> {
  const { width, height } = depth;
  // A loop: Uint16Array.from walks an iterator and takes ten times as long.
  const data = new Uint16Array(depth.data.length);
  for (let i = 0; i < data.length; i++) {
    const value = Math.round(depth.data[i] * DEPTH_STEPS);
    data[i] = value > 0 && value <= 0xffff ? value : 0;
  }
  await writeGray16(path, { width, height, data }, options);
}

/** The parts of the Eigen split: 697 test, 22,600 training and 888 validation pairs. */
export type EigenPart = "test" | "train" | "val";

/** The names of the Eigen split's parts on the command line. */
export const eigenNames: Readonly<Record<`eigen-${EigenPart}`, EigenPart>> = {
  "eigen-test": "test",
  "eigen-train": "train",
  "eigen-val": "val",
};

/** The Eigen split as data/splits/eigen.json keeps it; keys are `date/drive`. */
interface EigenFacts {
  readonly test: Readonly<Record<string, readonly number[]>>;
  /** Every frame 0 … frames - 1 is used; those in `val` validate, the rest train. */
  readonly trainVal: Readonly<Record<string, { readonly frames: number; readonly val: readonly number[] }>>;
}

/**
 * The Eigen split of KITTI raw (Eigen et al. 2014, as Godard et al. 2017 use it with stereo pairs).
 *
 * @returns The pairs under KITTI's own names (PNG), by drive and frame.
 */
export function eigenSplit(part: EigenPart): StereoPair[] {
  const facts: EigenFacts = eigen;
  const pairs: StereoPair[] = [];
  const add = (key: string, indices: Iterable<number>) => {
    const [date, drive] = key.split("/");
    for (const index of indices) pairs.push(framePair({ date, drive, index }));
  };
  if (part === "test") { for (const [key, indices] of Object.entries(facts.test)) add(key, indices); }
  else {
    for (const [key, { frames, val }] of Object.entries(facts.trainVal)) {
      const validates = new Set(val);
      const wanted = part === "val";
      add(key, Array.from({ length: frames }, (_, i) => i).filter((i) => validates.has(i) === wanted));
    }
  }
  return pairs;
}

/**
 * The frames that a user means by a split: `eigen-test`, `eigen-train`, `eigen-val`, the name of a file under
 * ROOT/splits without its ending, such as `test`, or the path of a split file.
 *
 * @throws {CyclopsError} When there is no such split or its file is damaged.
 */
export async function findSplit(root: string, split: string): Promise<StereoPair[]> {
  if (Object.hasOwn(eigenNames, split)) return eigenSplit(eigenNames[split as keyof typeof eigenNames]);
  const own = join(root, "splits", `${split}.txt`);
  if (/^[\w-]+$/.test(split) && await exists(own)) return await readSplit(own);
  if (await exists(split)) return await readSplit(split);
  throw new CyclopsError(
    `Cannot find the split "${split}": no such file, no ${own}, wanted one of those or ` +
      Object.keys(eigenNames).join(", "),
  );
}
