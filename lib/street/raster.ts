/**
 * Which face is seen where: a depth-buffer rasterizer of flat convex faces for pinhole views and for parallel light.
 *
 * Depth is exact: within a face 1/z is an affine function of the pixel position (perspective) or z itself is
 * (parallel), so nothing is interpolated between corners.
 *
 * @module
 */
import { type Axes, F, type Mesh, type Point, STRIDE } from "./mesh.ts";
import { MASKS } from "./noise.ts";

/** The nearest face at each sample of a grid. */
export class DepthBuffer {
  /** Nearness: 1/z (1/m) for a pinhole, height toward the light (m) for parallel light. Larger is nearer. */
  readonly near: Float32Array;
  /** Face, or -1 where there is none. */
  readonly face: Int32Array;
  /** The columns that the current face covers in each row: the first, and the one after the last. */
  readonly left: Float64Array;
  readonly right: Float64Array;

  constructor(readonly width: number, readonly height: number) {
    this.near = new Float32Array(width * height);
    this.face = new Int32Array(width * height);
    this.left = new Float64Array(height);
    this.right = new Float64Array(height);
  }

  /** Empties the buffer; `nothing` is the nearness of the background. */
  clear(nothing: number): void {
    this.near.fill(nothing);
    this.face.fill(-1);
  }
}

/** A pinhole view: pixel centers at integers, x right, y down, z forward. */
export interface CameraView extends Axes {
  /** Optical center in the world, m. */
  readonly center: Point;
  /** Focal length and principal point, px. */
  readonly focal: number;
  readonly cx: number;
  readonly cy: number;
}

// Corners of the current face, in samples. A quad clipped by the near plane has 5; nothing has more than 24.
const px = new Float64Array(32), py = new Float64Array(32);
const ax = new Float64Array(32), ay = new Float64Array(32), az = new Float64Array(32);
const NEAR = 0.25;
let positions = new Float64Array(0);

/** Works out the rows and the span of each row; returns first·65536 + last row, or -1 where nothing is covered. */
function spans(target: DepthBuffer, n: number): number {
  let top = Infinity, bottom = -Infinity, most = -Infinity, least = Infinity;
  for (let i = 0; i < n; i++) {
    if (py[i] < top) top = py[i];
    if (py[i] > bottom) bottom = py[i];
    if (px[i] > most) most = px[i];
    if (px[i] < least) least = px[i];
  }
  if (!(most >= 0 && least <= target.width - 1)) return -1;
  const y0 = Math.max(0, Math.ceil(top)), y1 = Math.min(target.height - 1, Math.ceil(bottom) - 1);
  if (!(y0 <= y1)) return -1;
  const { left, right } = target;
  for (let y = y0; y <= y1; y++) {
    left[y] = Infinity;
    right[y] = -Infinity;
  }
  for (let i = 0; i < n; i++) {
    const j = i + 1 === n ? 0 : i + 1;
    if (py[i] === py[j]) continue;
    const a = py[i] < py[j] ? i : j, b = a === i ? j : i;
    const r0 = Math.max(y0, Math.ceil(py[a])), r1 = Math.min(y1, Math.ceil(py[b]) - 1);
    const slope = (px[b] - px[a]) / (py[b] - py[a]);
    let x = px[a] + (r0 - py[a]) * slope;
    for (let y = r0; y <= r1; y++) {
      if (x < left[y]) left[y] = x;
      if (x > right[y]) right[y] = x;
      x += slope;
    }
  }
  return y0 * 65536 + y1;
}

// Texture position of the current face: u = u0 + (uA·x + uB·y + uC)/w, where w is the nearness, or 1 in parallel light.
const uv = new Float64Array(8);

/** Fills the face in px, py whose nearness is A·x + B·y + C; where it has holes, {@linkcode uv} says where they are. */
function fill(
  target: DepthBuffer,
  n: number,
  A: number,
  B: number,
  C: number,
  face: number,
  mask: number,
  perspective: boolean,
): void {
  const rows = spans(target, n);
  if (rows < 0) return;
  const { width, near, face: ids, left, right } = target;
  const u0 = uv[0], uA = uv[1], uB = uv[2], uC = uv[3], v0 = uv[4], vA = uv[5], vB = uv[6], vC = uv[7];
  const masks = MASKS, base = mask << 12;
  for (let y = rows >>> 16, last = rows & 65535; y <= last; y++) {
    const x0 = Math.max(0, Math.ceil(left[y])), x1 = Math.min(width - 1, Math.ceil(right[y]) - 1);
    let value = A * x0 + B * y + C, o = y * width + x0;
    const end = y * width + x1;
    if (mask === 0) {
      for (; o <= end; o++, value += A) {
        if (value > near[o]) {
          near[o] = value;
          ids[o] = face;
        }
      }
      continue;
    }
    let un = uA * x0 + uB * y + uC, vn = vA * x0 + vB * y + vC;
    for (; o <= end; o++, value += A, un += uA, vn += vA) {
      if (!(value > near[o])) continue;
      const z = perspective ? 1 / value : 1, u = u0 + un * z, v = v0 + vn * z;
      if (masks[base | (((v * 64) & 63) << 6) | ((u * 64) & 63)] !== 0) {
        near[o] = value;
        ids[o] = face;
      }
    }
  }
}

/**
 * Finds the nearest face at every sample of a pinhole view.
 *
 * @param target Cleared with 0; sample (x, y) lies at pixel ((x - 1) / step, (y - 1) / step) for step 3: three by
 *   three samples a pixel, the middle one at its center. With step 1, samples are pixel centers.
 */
export function rasterize(mesh: Mesh, view: CameraView, target: DepthBuffer, step: 1 | 3): void {
  const shift = step === 3 ? 1 : 0;
  eye.set(view.center);
  eye.set(view.right, 3);
  eye.set(view.down, 6);
  eye.set(view.forward, 9);
  eye[12] = view.focal * step;
  eye[13] = view.cx * step + shift;
  eye[14] = view.cy * step + shift;
  if (positions.length < mesh.vertexCount * 3) positions = new Float64Array(mesh.vertices.length);
  const { faces, mask } = mesh;
  // V8 optimizes a function that is called often once and well, a long loop over and over.
  for (let i = 0, end = mesh.vertexCount * 3; i < end; i += 3) toCamera(mesh.vertices, i);
  for (let id = 0; id < faces; id++) if (mask[id] === 0) drawFace(mesh, id, target);
  // Faces with holes come last, the nearest first, so that few of their hidden samples are looked at closely.
  const holed = sortHoled(mesh);
  for (let k = 0; k < holed; k++) drawFace(mesh, order[k], target);
}

/** The current view: its center, its axes right, down and forward, focal length and principal point in samples. */
const eye = new Float64Array(15);

/** Leaves in {@linkcode positions} a vertex in camera coordinates. */
function toCamera(vertices: Float64Array, i: number): void {
  const x = vertices[i] - eye[0], y = vertices[i + 1] - eye[1], z = vertices[i + 2] - eye[2];
  positions[i] = eye[3] * x + eye[4] * y + eye[5] * z;
  positions[i + 1] = eye[6] * x + eye[7] * y + eye[8] * z;
  positions[i + 2] = eye[9] * x + eye[10] * y + eye[11] * z;
}

function drawFace(mesh: Mesh, id: number, target: DepthBuffer): void {
  const { data, first, sides, mask, twoSided } = mesh;
  const ox = eye[0], oy = eye[1], oz = eye[2], f = eye[12], cx = eye[13], cy = eye[14];
  const at = id * STRIDE;
  const nx = data[at], ny = data[at + 1], nz = data[at + 2];
  const height = nx * ox + ny * oy + nz * oz + data[at + F.offset];
  if (height <= 0 && !twoSided[id]) return;
  if (Math.abs(height) < 1e-9) return;
  let n = 0, inFront = 0;
  const from = first[id] * 3, count = sides[id];
  for (let k = 0, i = from; k < count; k++, i += 3) if (positions[i + 2] >= NEAR) inFront++;
  if (inFront === 0) return;
  if (inFront === count) {
    for (let i = from; n < count; i += 3, n++) {
      const scale = f / positions[i + 2];
      px[n] = cx + positions[i] * scale;
      py[n] = cy + positions[i + 1] * scale;
    }
  } else n = clip(from, count);
  // The plane in camera coordinates: height + z·(normal · (X, Y, 1)) = 0 gives 1/z.
  const cnx = (nx * eye[3] + ny * eye[4] + nz * eye[5]) / f,
    cny = (nx * eye[6] + ny * eye[7] + nz * eye[8]) / f;
  const cnz = nx * eye[9] + ny * eye[10] + nz * eye[11] - cnx * cx - cny * cy;
  const A = -cnx / height, B = -cny / height, C = -cnz / height;
  for (let k = 0; k < 2 && mask[id] !== 0; k++) {
    const p = at + (k ? F.v : F.u), q = k * 4, tx = data[p], ty = data[p + 1], tz = data[p + 2];
    uv[q] = tx * ox + ty * oy + tz * oz + data[p + 3];
    uv[q + 1] = (tx * eye[3] + ty * eye[4] + tz * eye[5]) / f;
    uv[q + 2] = (tx * eye[6] + ty * eye[7] + tz * eye[8]) / f;
    uv[q + 3] = tx * eye[9] + ty * eye[10] + tz * eye[11] - uv[q + 1] * cx - uv[q + 2] * cy;
  }
  fill(target, n, A, B, C, id, mask[id], true);
}

let order = new Int32Array(0), bucket = new Uint8Array(0);
const starts = new Int32Array(257);

/** Leaves in {@linkcode order} the faces with holes by distance in steps of 1 m; returns how many there are. */
function sortHoled(mesh: Mesh): number {
  const { faces, mask, first } = mesh;
  if (order.length < faces) {
    order = new Int32Array(mask.length);
    bucket = new Uint8Array(mask.length);
  }
  starts.fill(0);
  for (let id = 0; id < faces; id++) {
    if (mask[id] === 0) continue;
    const z = positions[first[id] * 3 + 2];
    bucket[id] = z < 0 ? 0 : z < 255 ? z : 255;
    starts[bucket[id] + 1]++;
  }
  for (let k = 0; k < 256; k++) starts[k + 1] += starts[k];
  const count = starts[256];
  for (let id = 0; id < faces; id++) if (mask[id] !== 0) order[starts[bucket[id]]++] = id;
  return count;
}

/** Cuts a face at the near plane and projects what is before it. */
function clip(from: number, count: number): number {
  const f = eye[12], cx = eye[13], cy = eye[14];
  let m = 0;
  for (let k = 0; k < count; k++) {
    const i = from + k * 3, j = from + (k + 1 === count ? 0 : k + 1) * 3;
    const zi = positions[i + 2], zj = positions[j + 2];
    if (zi >= NEAR) {
      ax[m] = positions[i];
      ay[m] = positions[i + 1];
      az[m++] = zi;
    }
    if ((zi >= NEAR) !== (zj >= NEAR)) {
      const t = (NEAR - zi) / (zj - zi);
      ax[m] = positions[i] + t * (positions[j] - positions[i]);
      ay[m] = positions[i + 1] + t * (positions[j + 1] - positions[i + 1]);
      az[m++] = NEAR;
    }
  }
  for (let k = 0; k < m; k++) {
    px[k] = cx + ax[k] * f / az[k];
    py[k] = cy + ay[k] * f / az[k];
  }
  return m;
}

/** The point that a {@linkcode LightMap} is asked about, and the normal of the flat face it lies on. */
export const lit = new Float64Array(6);

/** Where {@linkcode LightMap.openness} looks: x, y in m, three close by and three farther off. */
const RING = [[0.4, 0.1], [-0.3, 0.3], [-0.05, -0.4], [1.1, -0.7], [0.2, 1.3], [-1.2, -0.5]];

/** How far (x, y, z) reaches along an axis. */
function along(axis: Point, x: number, y: number, z: number): number {
  return axis[0] * x + axis[1] * y + axis[2] * z;
}

/** Heights toward a distant light over a square that follows the camera: shadows, and how open the sky is. */
export class LightMap {
  readonly #buffer: DepthBuffer;
  // Unit vectors across and along the grid; the third is the light's.
  readonly #a: Point;
  readonly #b: Point;
  // Coordinates of the first sample.
  #a0 = 0;
  #b0 = 0;
  readonly #perM: number;
  /** Steps in the buffer that {@linkcode RING} is. */
  readonly #ring: Int32Array;

  /**
   * Makes a map for one direction of light.
   *
   * @param light Unit vector toward the light.
   * @param size Samples along each side.
   * @param texel m per sample.
   */
  constructor(readonly light: Point, readonly size: number, readonly texel: number) {
    this.#buffer = new DepthBuffer(size, size);
    this.#perM = 1 / texel;
    this.#ring = Int32Array.from(RING, ([x, y]) => Math.round(y / texel) * size + Math.round(x / texel));
    const [x, y, z] = light,
      flat = Math.hypot(x, y),
      a: Point = flat < 1e-6 ? [1, 0, 0] : [-y / flat, x / flat, 0];
    this.#a = a;
    this.#b = [y * a[2] - z * a[1], z * a[0] - x * a[2], x * a[1] - y * a[0]];
  }

  /**
   * Draws the world around a point. The grid moves in whole samples, so that shadows do not crawl.
   *
   * @param holes Look at the holes in faces; without, foliage is solid, which is enough where samples are coarse.
   */
  draw(mesh: Mesh, x: number, y: number, z: number, holes: boolean): void {
    const { size, texel } = this;
    this.#a0 = (Math.round(along(this.#a, x, y, z) / texel) - size / 2) * texel;
    this.#b0 = (Math.round(along(this.#b, x, y, z) / texel) - size / 2) * texel;
    this.#buffer.clear(-1e9);
    for (let id = 0; id < mesh.faces; id++) this.#drawFace(mesh, id, holes);
  }

  #drawFace(mesh: Mesh, id: number, holes: boolean): void {
    const { vertices, data, first, sides, mask } = mesh, { light: l, texel } = this;
    const a = this.#a, b = this.#b, a0 = this.#a0, b0 = this.#b0, at = id * STRIDE, n = sides[id];
    const nx = data[at], ny = data[at + 1], nz = data[at + 2], nl = along(l, nx, ny, nz);
    if (Math.abs(nl) < 1e-4) return;
    for (let k = 0, i = first[id] * 3; k < n; k++, i += 3) {
      const x = vertices[i], y = vertices[i + 1], z = vertices[i + 2];
      px[k] = (along(a, x, y, z) - a0) / texel;
      py[k] = (along(b, x, y, z) - b0) / texel;
    }
    // Plane: normal · (α a + β b + λ l) + offset = 0 gives λ, the height toward the light.
    const na = along(a, nx, ny, nz), nb = along(b, nx, ny, nz);
    const A = -na * texel / nl, B = -nb * texel / nl, C = -(data[at + F.offset] + na * a0 + nb * b0) / nl;
    const cut = holes ? mask[id] : 0;
    for (let k = 0; k < 2 && cut !== 0; k++) {
      const p = at + (k ? F.v : F.u), q = k * 4, tx = data[p], ty = data[p + 1], tz = data[p + 2];
      const tl = along(l, tx, ty, tz), ta = along(a, tx, ty, tz), tb = along(b, tx, ty, tz);
      uv[q] = data[p + 3];
      uv[q + 1] = ta * texel + tl * A;
      uv[q + 2] = tb * texel + tl * B;
      uv[q + 3] = ta * a0 + tb * b0 + tl * C;
    }
    fill(this.#buffer, n, A, B, C, id, cut, false);
  }

  /**
   * How much of the light reaches the point in {@linkcode lit}, 0..1, smoothed over a sample; -1 outside the square.
   * Each sample is compared with the height of the point's face there.
   *
   * @param bias Height in m by which the point may lie below what is nearest to the light.
   */
  lit(bias: number): number {
    const x = lit[0], y = lit[1], z = lit[2], nx = lit[3], ny = lit[4], nz = lit[5];
    const a = this.#a, b = this.#b, l = this.light, size = this.size;
    const p = (along(a, x, y, z) - this.#a0) * this.#perM, q = (along(b, x, y, z) - this.#b0) * this.#perM;
    const i = Math.floor(p), j = Math.floor(q);
    if (!(i >= 0 && j >= 0 && i < size - 1 && j < size - 1)) return -1;
    const nl = along(l, nx, ny, nz), k = nl > 0.05 ? -this.texel / nl : 0;
    const A = k * along(a, nx, ny, nz), B = k * along(b, nx, ny, nz);
    const near = this.#buffer.near, o = j * size + i, s = p - i, t = q - j;
    const height = along(l, x, y, z) + bias - A * s - B * t;
    const top = (near[o] <= height ? 1 - s : 0) + (near[o + 1] <= height + A ? s : 0);
    const bottom = (near[o + size] <= height + B ? 1 - s : 0) +
      (near[o + size + 1] <= height + A + B ? s : 0);
    return top * (1 - t) + bottom * t;
  }

  /**
   * For light from straight above: how much of the sky the point in {@linkcode lit} sees, 0..1, judged by the heights
   * around it. Outside the square all of it.
   */
  openness(): number {
    const z = lit[2], size = this.size, ring = this.#ring, near = this.#buffer.near;
    const p = (lit[0] - this.#a0) * this.#perM + 0.5, q = (lit[1] - this.#b0) * this.#perM + 0.5;
    if (!(p >= 8 && q >= 8 && p < size - 8 && q < size - 8)) return 1;
    const o = (q | 0) * size + (p | 0);
    let hidden = 0;
    for (let k = 0; k < 6; k++) {
      const over = near[o + ring[k]] - z;
      if (over > 0) hidden += over / (over + (k < 3 ? 0.3 : 1.1));
    }
    return 1 - hidden / 6;
  }
}
