/**
 * The measuring car: two rectified cameras and a laser scanner, laid out as KITTI's, and the calibration files that
 * say so.
 *
 * @module
 */
import type { CameraView } from "./raster.ts";
import type { Pose } from "./scene.ts";

/** Distance between the two color cameras, m. */
export const BASELINE = 0.54;
/** Optical centers of cameras 1, 2 and 3 right of rectified camera 0, m. */
const OFFSETS = [0, 0.54, -0.06, -0.06 + BASELINE];
/** KITTI's focal length and principal point over its image's width and height. */
const FOCAL = 721.5377 / 1242, CENTER = [609.5593 / 1242, 172.854 / 375];

/** Rotation by small angles about x, y and z in rad, row-major. */
function rotation(x: number, y: number, z: number): number[] {
  const [cx, cy, cz] = [x, y, z].map(Math.cos), [sx, sy, sz] = [x, y, z].map(Math.sin);
  return [
    ...[cy * cz, sx * sy * cz - cx * sz, cx * sy * cz + sx * sz],
    ...[cy * sz, sx * sy * sz + cx * cz, cx * sy * sz - sx * cz],
    ...[-sy, sx * cy, cx * cy],
  ];
}

function times(a: readonly number[], b: readonly number[], columns: number): number[] {
  const out: number[] = [];
  for (let i = 0; i < 3; i++) {
    for (let j = 0; j < columns; j++) {
      out.push(a[3 * i] * b[j] + a[3 * i + 1] * b[columns + j] + a[3 * i + 2] * b[2 * columns + j]);
    }
  }
  return out;
}

/** Rounds to the digits of a calibration file, so that the files say exactly what was rendered. */
function rounded(values: readonly number[]): number[] {
  return values.map((v) => Number(v.toExponential(6)));
}

/** R_rect_00: as small a turn as rectifying takes. */
const RECTIFY = rounded(rotation(0.0043, -0.0074, -0.0098));
/** Velodyne to camera 0 before rectifying: KITTI's axes, a little askew, 0.08 m below and 0.27 m behind. */
const TURN = rounded(times(rotation(0.0148, -0.0005, 0.0075), [0, -1, 0, 0, 0, -1, 1, 0, 0], 3));
const SHIFT = rounded([-0.004, -0.0763, -0.2718]);

/** Focal length and principal point in px of images of a size; pixel centers at whole numbers. */
export function intrinsics(
  width: number,
  height: number,
): { readonly focal: number; readonly cx: number; readonly cy: number } {
  const [focal, cx, cy] = rounded([FOCAL * width, CENTER[0] * (width - 1), CENTER[1] * (height - 1)]);
  return { focal, cx, cy };
}

/** Camera 2 (left) or 3 (right) of a rig. */
export function cameraView(pose: Pose, camera: 2 | 3, width: number, height: number): CameraView {
  const { focal, cx, cy } = intrinsics(width, height), { position: p, right: r } = pose;
  const b = -Number((-focal * OFFSETS[camera]).toExponential(6)) / focal;
  return { ...pose, center: [p[0] + b * r[0], p[1] + b * r[1], p[2] + b * r[2]], focal, cx, cy };
}

/** Where the scanner is: its origin and its axes (x forward, y left, z up) in the world. */
export interface ScannerPose {
  /** Position in the world, m. */
  readonly origin: readonly number[];
  /** Columns x, y, z of the rotation from scanner to world, one after the other. */
  readonly axes: readonly (readonly number[])[];
}

/** The scanner of a rig. */
export function scannerPose(pose: Pose): ScannerPose {
  const turn = times(RECTIFY, TURN, 3), shift = times(RECTIFY, SHIFT, 1);
  const world = (x: number, y: number, z: number) =>
    [0, 1, 2].map((i) => x * pose.right[i] + y * pose.down[i] + z * pose.forward[i]);
  const offset = world(shift[0], shift[1], shift[2]);
  return {
    origin: pose.position.map((v, i) => v + offset[i]),
    axes: [0, 1, 2].map((k) => world(turn[k], turn[3 + k], turn[6 + k])),
  };
}

/** The contents of calib_cam_to_cam.txt and calib_velo_to_cam.txt, every key that KITTI has. */
export function calibrationFiles(
  width: number,
  height: number,
): { readonly camToCam: string; readonly veloToCam: string } {
  const line = (key: string, values: readonly number[]) => `${key}: ${values.map(exponent).join(" ")}\n`;
  const { focal, cx, cy } = intrinsics(width, height);
  const identity = [1, 0, 0, 0, 1, 0, 0, 0, 1], inverse = [0, 3, 6, 1, 4, 7, 2, 5, 8].map((i) => RECTIFY[i]);
  let cams = "calib_time: 01-Jan-2030 12:00:00\n" + line("corner_dist", [0.0995]);
  for (let c = 0; c < 4; c++) {
    // Cameras without distortion, all turned as camera 0 is: rectifying them is one rotation.
    cams += line(`S_0${c}`, [width, height]) + line(`K_0${c}`, [focal, 0, cx, 0, focal, cy, 0, 0, 1]) +
      line(`D_0${c}`, [0, 0, 0, 0, 0]) + line(`R_0${c}`, identity) +
      line(`T_0${c}`, times(inverse, [-OFFSETS[c], 0, 0], 1)) +
      line(`S_rect_0${c}`, [width, height]) + line(`R_rect_0${c}`, RECTIFY) +
      line(`P_rect_0${c}`, [focal, 0, cx, -focal * OFFSETS[c], 0, focal, cy, 0, 0, 0, 1, 0]);
  }
  const velo = "calib_time: 01-Jan-2030 12:00:00\n" + line("R", TURN) + line("T", SHIFT) +
    line("delta_f", [0, 0]) + line("delta_c", [0, 0]);
  return { camToCam: cams, veloToCam: velo };
}

/** 7.215377e+02, as KITTI writes numbers. */
function exponent(value: number): string {
  const [mantissa, power] = (Object.is(value, -0) ? 0 : value).toExponential(6).split("e");
  return `${mantissa}e${power[0]}${power.slice(1).padStart(2, "0")}`;
}
