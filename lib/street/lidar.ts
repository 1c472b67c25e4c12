/**
 * A 64-beam laser scanner after the Velodyne HDL-64E: every beam's ray is met exactly with the faces of the scene.
 *
 * @module
 */
import { spot, surface, surfaceAt } from "./materials.ts";
import { F, MATERIAL, type Mesh, STRIDE } from "./mesh.ts";
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
/** Returns come from no farther than this, m. */
const MAX_RANGE = 120;
/** Standard deviation of the range, m. */
const RANGE_NOISE = 0.02;
/** Width of the beam's spot over the range: 3 mrad. */
const BEAM_SPREAD = 0.003;

// Column 0 looks backward, so that a face ahead is never split.
const cosAz = Float64Array.from({ length: PER_TURN }, (_, i) => Math.cos(i * AZIMUTH_STEP - Math.PI));
const sinAz = Float64Array.from({ length: PER_TURN }, (_, i) => Math.sin(i * AZIMUTH_STEP - Math.PI));
const cosEl = Float64Array.from(BEAMS, Math.cos), sinEl = Float64Array.from(BEAMS, Math.sin);
const tanEl = Float64Array.from(BEAMS, Math.tan);

/** The current scan: the scanner's origin and its axes in the world, and the first and last column. */
const rig = new Float64Array(12);
let low = 0, high = 0;

/** What each ray has met so far, beam by beam. */
const ranges = new Float32Array(PER_TURN * 64), hits = new Int32Array(PER_TURN * 64);

/**
 * Scans a scene once.
 *
 * @param degrees How far to either side of straight ahead rays are cast, up to 90.
 * @param seed Seed of range noise and drop-outs.
 * @returns [points × 4]: x forward, y left, z up in m from the scanner, reflectance 0..1. Beam by beam from the top.
 */
export function scan(scene: Scene, pose: ScannerPose, degrees: number, seed: number): Float32Array {
  const { mesh } = scene;
  rig.set(pose.origin);
  for (let k = 0; k < 3; k++) rig.set(pose.axes[k], 3 + 3 * k);
  const middle = (PER_TURN - 1) / 2, reach = Math.ceil(degrees * Math.PI / 180 / AZIMUTH_STEP);
  low = middle - reach;
  high = middle + reach;
  ranges.fill(MAX_RANGE);
  hits.fill(-1);
  // Face by face and beam by beam: V8 optimizes a function that is called often once and well, a long loop over and over.
  for (let id = 0; id < mesh.faces; id++) meet(mesh, id);
  const out = new Float32Array((high - low + 1) * 64 * 4);
  let count = 0;
  for (let beam = 0; beam < 64; beam++) count = collect(scene, beam, seed, out, count);
  return out.slice(0, count);
}

/** The corners of the current face in the scanner's frame, and the normals of the planes through its edges. */
const corner = new Float64Array(96), edge = new Float64Array(96);

/** Finds the beams and columns that may meet a face, and casts their rays at it. */
function meet(mesh: Mesh, id: number): void {
  const { data, vertices, first, sides, twoSided } = mesh;
  const ox = rig[0], oy = rig[1], oz = rig[2], at = id * STRIDE, n = sides[id];
  const height = data[at] * ox + data[at + 1] * oy + data[at + 2] * oz + data[at + F.offset];
  if ((height <= 0 && !twoSided[id]) || Math.abs(height) > MAX_RANGE) return;
  let top = -Infinity, bottom = Infinity, farthest = 0, nearest = Infinity, ahead = -Infinity;
  for (let k = 0, i = first[id] * 3; k < n; k++, i += 3) {
    const x = vertices[i] - ox, y = vertices[i + 1] - oy, z = vertices[i + 2] - oz, o = 3 * k;
    const a = corner[o] = x * rig[3] + y * rig[4] + z * rig[5];
    const b = corner[o + 1] = x * rig[6] + y * rig[7] + z * rig[8];
    const c = corner[o + 2] = x * rig[9] + y * rig[10] + z * rig[11];
    if (c > top) top = c;
    if (c < bottom) bottom = c;
    if (a > ahead) ahead = a;
    if (a * a + b * b > farthest) farthest = a * a + b * b;
  }
  if (ahead < 0) return;
  farthest = Math.sqrt(farthest);
  // Its bounds in azimuth; a face above or below the scanner goes all around it.
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
  if (nearest > MAX_RANGE) return;
  const up = top > 0 ? top / Math.max(nearest, 1e-6) : top / farthest;
  const down = bottom < 0 ? bottom / Math.max(nearest, 1e-6) : bottom / farthest;
  let b0 = 0, b1 = 63;
  while (b0 < 64 && tanEl[b0] > up + 1e-9) b0++;
  while (b1 >= 0 && tanEl[b1] < down - 1e-9) b1--;
  if (b0 > b1) return;
  let c0 = around ? low : Math.ceil((least + Math.PI) / AZIMUTH_STEP);
  let c1 = around ? high : Math.floor((most + Math.PI) / AZIMUTH_STEP);
  // The angles start at some corner: the face may lie a turn away from the sector.
  const shift = c1 < low ? PER_TURN : c0 > high ? -PER_TURN : 0;
  c0 = Math.max(low, c0 + shift);
  c1 = Math.min(high, c1 + shift);
  if (c0 <= c1) cast(mesh, id, height, b0, b1, c0, c1);
}

/** Casts the rays of some beams and columns at a face, and keeps the hits that are nearer than what is known. */
function cast(mesh: Mesh, id: number, height: number, b0: number, b1: number, c0: number, c1: number): void {
  const { data, sides, mask } = mesh, at = id * STRIDE, n = sides[id];
  const wx = data[at], wy = data[at + 1], wz = data[at + 2];
  const nx = wx * rig[3] + wy * rig[4] + wz * rig[5], ny = wx * rig[6] + wy * rig[7] + wz * rig[8];
  const nz = wx * rig[9] + wy * rig[10] + wz * rig[11];
  const sign = height > 0 ? -1 : 1;
  for (let beam = b0; beam <= b1; beam++) {
    const ce = cosEl[beam], se = sinEl[beam], row = beam * PER_TURN;
    for (let column = c0; column <= c1; column++) {
      const x = ce * cosAz[column], y = ce * sinAz[column];
      const range = -height / (nx * x + ny * y + nz * se);
      if (!(range > 0.5 && range < ranges[row + column])) continue;
      let k = 0;
      for (; k < n; k++) {
        if (sign * (edge[3 * k] * x + edge[3 * k + 1] * y + edge[3 * k + 2] * se) < 0) break;
      }
      if (k < n) continue;
      if (mask[id] !== 0) {
        locate(data, at, x, y, se, range);
        if (!isThere(mask[id], spot.u, spot.v)) continue;
      }
      ranges[row + column] = range;
      hits[row + column] = id;
    }
  }
}

/** Leaves in {@linkcode spot} the texture position that a ray, given in the scanner's frame, meets at a range. */
function locate(data: Float64Array, at: number, x: number, y: number, z: number, range: number): void {
  const qx = rig[0] + range * (x * rig[3] + y * rig[6] + z * rig[9]);
  const qy = rig[1] + range * (x * rig[4] + y * rig[7] + z * rig[10]);
  const qz = rig[2] + range * (x * rig[5] + y * rig[8] + z * rig[11]);
  spot.u = data[at + F.u] * qx + data[at + F.u + 1] * qy + data[at + F.u + 2] * qz + data[at + F.u + 3];
  spot.v = data[at + F.v] * qx + data[at + F.v + 1] * qy + data[at + F.v + 2] * qz + data[at + F.v + 3];
}

/**
 * Turns what a beam's rays met into points, with noise, and without those that do not come back.
 *
 * @param out Receives them from number `count` on.
 * @returns How many numbers there are now.
 */
function collect(scene: Scene, beam: number, seed: number, out: Float32Array, count: number): number {
  const { data, material } = scene.mesh;
  const ce = cosEl[beam], se = sinEl[beam], row = beam * PER_TURN;
  // The scanner turns clockwise seen from above.
  for (let i = high; i >= low; i--) {
    const id = hits[row + i];
    if (id < 0) continue;
    const range = ranges[row + i], x = ce * cosAz[i], y = ce * sinAz[i], at = id * STRIDE;
    locate(data, at, x, y, se, range);
    spot.fu = spot.fv = range * BEAM_SPREAD;
    surfaceAt(scene, id);
    const albedo = 0.3 * surface.color[0] + 0.4 * surface.color[1] + 0.3 * surface.color[2];
    const dx = x * rig[3] + y * rig[6] + se * rig[9],
      dy = x * rig[4] + y * rig[7] + se * rig[10],
      dz = x * rig[5] + y * rig[8] + se * rig[11];
    const incidence = Math.abs(data[at] * dx + data[at + 1] * dy + data[at + 2] * dz);
    let reflectance = Math.min(0.99, 1.3 * albedo * (0.35 + 0.65 * incidence));
    const kind = material[id];
    if (kind === MATERIAL.plate || kind === MATERIAL.sign) reflectance = Math.min(0.99, reflectance + 0.4);
    // Glass lets most of the light through; weak echoes from afar are lost.
    const lost = kind === MATERIAL.glass ? 0.7 : 0.012 + 4 * surface.mirror * (1 - incidence);
    const echo = (reflectance + 0.02) * 2.2e4 / (range * range);
    if (cellValue(i, beam, seed) < lost || echo < 0.16 * (0.5 + cellValue(i, beam + 64, seed))) continue;
    const measured = range + RANGE_NOISE * GAUSS[(cellValue(i, beam + 128, seed) * GAUSS.length) | 0];
    out[count++] = measured * x;
    out[count++] = measured * y;
    out[count++] = measured * se;
    out[count++] = Math.round(reflectance * 100) / 100;
  }
  return count;
}
