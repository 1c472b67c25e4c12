/**
 * Velodyne scans as KITTI raw stores them: little-endian float32 x, y, z, reflectance, one point after the other.
 * Axes are the scanner's: x forward, y left, z up, in meters.
 *
 * @module
 */
import { CyclopsError } from "../base/errors.ts";
import { readBytes } from "../base/files.ts";

const POINT_BYTES = 16;

/**
 * Reads a scan.
 *
 * @returns [points × 4]: x, y, z in m, reflectance in [0, 1].
 * @throws {CyclopsError} When the file is missing, empty or truncated inside a point.
 */
export async function readVelodyne(path: string): Promise<Float32Array<ArrayBuffer>> {
  const bytes = await readBytes(path);
  if (bytes.length === 0 || bytes.length % POINT_BYTES !== 0) {
    throw new CyclopsError(
      `Cannot read the Velodyne scan ${path}: it has ${bytes.length} bytes, expected a positive multiple of ` +
        `${POINT_BYTES} (four float32 per point): it is truncated or not a scan, fetch it again`,
    );
  }
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
}

/** The bytes of a scan file. @param points [points × 4]: x, y, z in m, reflectance. */
export function encodeVelodyne(points: Float32Array): Uint8Array {
  if (points.length % 4 !== 0) {
    throw new RangeError(`Cannot encode a scan: ${points.length} numbers, expected a multiple of 4`);
  }
  return new Uint8Array(points.buffer, points.byteOffset, points.byteLength).slice();
}
