/**
 * A 64-beam laser scanner after the Velodyne HDL-64E: every beam's ray is met exactly with the faces of the scene.
 *
 * @module
 */
import { spot, surface, surfaceAt } from "./materials.ts";
import { F, MATERIAL, STRIDE } from "./mesh.ts";
import { cellValue, GAUSS, isThere } from "./noise.ts";
import type { ScannerPose } from "./rig.ts";
import type { Scene } from "./scene.ts";

/** Beams from top to bottom: 32 from +2° to -8⅓° in thirds of a degree, 32 from -8.83° to -24.33° in halves. */
export const BEAMS: readonly number[] = Array.from(
  { length: 64 },
  (_, i) => (i < 32 ? 2 - i / 3 : -8.83 - (i - 32) / 2) * Math.PI / 180,
);
const PER_TURN = 2083;
/** Angle between two firings of a beam, rad: 0.1728°, 10 turns a second. */
export const AZIMUTH_STEP: number = 2 * Math.PI / PER_TURN;
/** No return comes from farther, m. */
export const MAX_RANGE = 120;
/** Standard deviation of the range, m. */
const RANGE_NOISE = 0.02;

const BLOCK = PER_TURN * 64;

/** Width of the beam's spot over the range: 3 mrad. */
const BEAM_SPREAD = 0.003;

const cosAz = new Float64Array(PER_TURN), sinAz = new Float64Array(PER_TURN);
for (let i = 0; i < PER_TURN; i++) {
  // Column 0 looks backwards, so that a face ahead is never split.
  cosAz[i] = Math.cos(i * AZIMUTH_STEP - Math.PI);
  sinAz[i] = Math.sin(i * AZIMUTH_STEP - Math.PI);
}
const cosEl = Float64Array.from(BEAMS, Math.cos), sinEl = Float64Array.from(BEAMS, Math.sin);
const tanEl = Float64Array.from(BEAMS, Math.tan);

const ranges = new Float32Array(BLOCK);
const hits = new Int32Array(BLOCK);
const corner = new Float64Array(96), edge = new Float64Array(96);

/**
 * Scans a scene once.
 *
 * @param degrees How far to either side of straight ahead rays are cast, up to 90; more is a whole turn.
 * @param seed Seed of range noise and drop-outs.
 * @returns [points × 4]: x forward, y left, z up in m from the scanner, reflectance 0..1. Beam by beam from the top.
 */
export function scan(scene: Scene, pose: ScannerPose, degrees: number, seed: number): Float32Array {
  const { mesh } = scene, { data, vertices, first, sides, twoSided, mask } = mesh;
  const [ox, oy, oz] = pose.origin, [X, Y, Z] = pose.axes;
  const middle = (PER_TURN - 1) / 2, reach = Math.ceil(degrees * Math.PI / 180 / AZIMUTH_STEP);
  const low = degrees > 90 ? 0 : middle - reach, high = degrees > 90 ? PER_TURN - 1 : middle + reach;
  ranges.fill(MAX_RANGE);
  hits.fill(-1);
  for (let id = 0; id < mesh.faces; id++) {
    const at = id * STRIDE, n = sides[id];
    const wx = data[at], wy = data[at + 1], wz = data[at + 2];
    const height = wx * ox + wy * oy + wz * oz + data[at + F.offset];
    if ((height <= 0 && !twoSided[id]) || Math.abs(height) > MAX_RANGE) continue;
    // Corners in the scanner's frame, and the bounds of the face in azimuth and in slope of elevation.
    let top = -Infinity, bottom = Infinity, farthest = 0, nearest = Infinity, ahead = -Infinity;
    for (let k = 0, i = first[id] * 3; k < n; k++, i += 3) {
      const x = vertices[i] - ox, y = vertices[i + 1] - oy, z = vertices[i + 2] - oz, o = 3 * k;
      const a = corner[o] = x * X[0] + y * X[1] + z * X[2];
      const b = corner[o + 1] = x * Y[0] + y * Y[1] + z * Y[2];
      const c = corner[o + 2] = x * Z[0] + y * Z[1] + z * Z[2];
      if (c > top) top = c;
      if (c < bottom) bottom = c;
      if (a > ahead) ahead = a;
      if (a * a + b * b > farthest) farthest = a * a + b * b;
    }
    if (ahead < 0 && degrees <= 90) continue;
    farthest = Math.sqrt(farthest);
    let angle = Math.atan2(corner[1], corner[0]), least = angle, most = angle, turn = 0;
    for (let k = 0; k < n; k++) {
      const o = 3 * k, p = k + 1 === n ? 0 : o + 3;
      const ax = corner[o], ay = corner[o + 1], bx = corner[p], by = corner[p + 1];
      const delta = Math.atan2(ax * by - ay * bx, ax * bx + ay * by);
      angle += delta;
      turn += delta;
      if (angle < least) least = angle;
      if (angle > most) most = angle;
      const ex = bx - ax, ey = by - ay, ee = ex * ex + ey * ey;
      const t = ee > 0 ? Math.max(0, Math.min(1, -(ax * ex + ay * ey) / ee)) : 0;
      const qx = ax + t * ex, qy = ay + t * ey;
      nearest = Math.min(nearest, qx * qx + qy * qy);
      edge[o] = ay * corner[p + 2] - corner[o + 2] * by;
      edge[o + 1] = corner[o + 2] * bx - ax * corner[p + 2];
      edge[o + 2] = ax * by - ay * bx;
    }
    const around = Math.abs(turn) > 3;
    nearest = around ? 0 : Math.sqrt(nearest);
    if (nearest > MAX_RANGE) continue;
    const up = top > 0 ? top / Math.max(nearest, 1e-6) : top / farthest;
    const down = bottom < 0 ? bottom / Math.max(nearest, 1e-6) : bottom / farthest;
    let b0 = 0, b1 = 63;
    while (b0 < 64 && tanEl[b0] > up + 1e-9) b0++;
    while (b1 >= 0 && tanEl[b1] < down - 1e-9) b1--;
    if (b0 > b1) continue;
    // Columns the face may cover; it may lie across the seam behind, where column 2083 is column 0 again.
    let c0 = around ? low : Math.ceil((least + Math.PI) / AZIMUTH_STEP);
    let c1 = around ? high : Math.floor((most + Math.PI) / AZIMUTH_STEP);
    if (c1 < low) {
      c0 += PER_TURN;
      c1 += PER_TURN;
    } else if (c0 > high) {
      c0 -= PER_TURN;
      c1 -= PER_TURN;
    }
    if (c1 < low || c0 > high) continue;
    if (low > 0) {
      // At most half a turn is scanned: a face that is not all around covers no more of it than this.
      if (c0 < low) c0 = low;
      if (c1 > high) c1 = high;
    }
    const nx = wx * X[0] + wy * X[1] + wz * X[2], ny = wx * Y[0] + wy * Y[1] + wz * Y[2];
    const nz = wx * Z[0] + wy * Z[1] + wz * Z[2];
    const sign = height > 0 ? -1 : 1;
    for (let beam = b0; beam <= b1; beam++) {
      const ce = cosEl[beam], se = sinEl[beam], row = beam * PER_TURN;
      for (let column = c0; column <= c1; column++) {
        const i = column < 0 ? column + PER_TURN : column >= PER_TURN ? column - PER_TURN : column;
        const x = ce * cosAz[i], y = ce * sinAz[i];
        const facing = nx * x + ny * y + nz * se;
        const range = -height / facing;
        if (!(range > 0.5 && range < ranges[row + i])) continue;
        let k = 0;
        for (; k < n; k++) {
          if (sign * (edge[3 * k] * x + edge[3 * k + 1] * y + edge[3 * k + 2] * se) < 0) break;
        }
        if (k < n) continue;
        if (mask[id] !== 0) {
          const qx = ox + range * (x * X[0] + y * Y[0] + se * Z[0]);
          const qy = oy + range * (x * X[1] + y * Y[1] + se * Z[1]);
          const qz = oz + range * (x * X[2] + y * Y[2] + se * Z[2]);
          const u = data[at + 4] * qx + data[at + 5] * qy + data[at + 6] * qz + data[at + 7];
          const v = data[at + 8] * qx + data[at + 9] * qy + data[at + 10] * qz + data[at + 11];
          if (!isThere(mask[id], u, v)) continue;
        }
        ranges[row + i] = range;
        hits[row + i] = id;
      }
    }
  }
  return returns(scene, pose, low, high, seed);
}

/** Turns what the rays met into points, with noise, and without those that do not come back. */
function returns(scene: Scene, pose: ScannerPose, low: number, high: number, seed: number): Float32Array {
  const { data, material } = scene.mesh, [ox, oy, oz] = pose.origin, [X, Y, Z] = pose.axes;
  const out = new Float32Array((high - low + 1) * 64 * 4);
  let count = 0;
  for (let beam = 0; beam < 64; beam++) {
    const ce = cosEl[beam], se = sinEl[beam], row = beam * PER_TURN;
    // The scanner turns clockwise seen from above.
    for (let i = high; i >= low; i--) {
      const id = hits[row + i];
      if (id < 0) continue;
      const range = ranges[row + i], x = ce * cosAz[i], y = ce * sinAz[i], at = id * STRIDE;
      const dx = x * X[0] + y * Y[0] + se * Z[0],
        dy = x * X[1] + y * Y[1] + se * Z[1],
        dz = x * X[2] + y * Y[2] + se * Z[2];
      const qx = ox + range * dx, qy = oy + range * dy, qz = oz + range * dz;
      const u = data[at + 4] * qx + data[at + 5] * qy + data[at + 6] * qz + data[at + 7];
      const v = data[at + 8] * qx + data[at + 9] * qy + data[at + 10] * qz + data[at + 11];
      spot[0] = u;
      spot[1] = v;
      spot[2] = spot[3] = range * BEAM_SPREAD;
      surfaceAt(scene, id);
      const albedo = 0.3 * surface[0] + 0.4 * surface[1] + 0.3 * surface[2];
      const incidence = Math.abs(data[at] * dx + data[at + 1] * dy + data[at + 2] * dz);
      let reflectance = Math.min(0.99, 1.3 * albedo * (0.35 + 0.65 * incidence));
      const kind = material[id];
      if (kind === MATERIAL.plate || kind === MATERIAL.sign) reflectance = Math.min(0.99, reflectance + 0.4);
      // Glass lets most of the light through; weak echoes from afar are lost.
      const lost = kind === MATERIAL.glass ? 0.7 : 0.012 + 4 * surface[3] * (1 - incidence);
      const echo = (reflectance + 0.02) * 2.2e4 / (range * range);
      const chance = cellValue(i, beam, seed), other = cellValue(i, beam + 64, seed);
      const noise = RANGE_NOISE * GAUSS[(cellValue(i, beam + 128, seed) * GAUSS.length) | 0];
      if (chance < lost || echo < 0.16 * (0.5 + other)) continue;
      const measured = range + noise;
      out[count++] = measured * x;
      out[count++] = measured * y;
      out[count++] = measured * se;
      out[count++] = Math.round(reflectance * 100) / 100;
    }
  }
  return out.slice(0, count);
}
