/**
 * The world as flat convex faces: positions, planes, texture coordinates and what each face is made of, in typed
 * arrays that the renderer and the LiDAR traverse without allocating.
 *
 * World frame: x east, y north, z up, in m. Faces are counter-clockwise seen from outside.
 *
 * @module
 */
import type { Random } from "../base/random.ts";

/** Linear (not gamma-encoded) red, green and blue albedo in [0, 1]. */
export type Rgb = readonly [number, number, number];
/** x, y and z in m. */
export type Point = readonly [number, number, number];

/** Unit vectors of a camera's axes in the world. */
export interface Axes {
  readonly right: Point;
  readonly down: Point;
  readonly forward: Point;
}

/** What a face is made of; `surfaceAt` of materials.ts knows each. */
export const MATERIAL = {
  road: 0,
  sidewalk: 1,
  curb: 2,
  grass: 3,
  gravel: 4,
  facade: 5,
  roof: 6,
  glass: 7,
  paint: 8,
  wheel: 9,
  plain: 10,
  leaf: 11,
  bark: 12,
  hedge: 13,
  wood: 14,
  stone: 15,
  light: 16,
  sign: 17,
  cloth: 18,
  concrete: 19,
  awning: 20,
  crop: 21,
  backdrop: 22,
  plate: 23,
} as const;
/** The name of a material. */
export type Material = keyof typeof MATERIAL;

/** How a face looks. */
export interface Paint {
  readonly material: Material;
  /** Base albedo. */
  readonly color: Rgb;
  /** First parameter of the material, e.g. the facade's index. */
  readonly a?: number;
  /** Second parameter of the material. */
  readonly b?: number;
  /** Integer that varies the texture. */
  readonly seed?: number;
  /** Faces of one group (> 0) are shaded once per pixel where several of them meet in it. */
  readonly group?: number;
  /** One of `MASK`: the face has holes. Texture coordinates run 0..1 over one mask. */
  readonly mask?: number;
  /** Seen from both sides. */
  readonly twoSided?: boolean;
  /** Rounds the shading: the normal leans by `mix` away from the point; `up` stretches that direction in height. */
  readonly round?: readonly [x: number, y: number, z: number, mix: number, up: number];
}

/** Shorthand for a {@linkcode Paint}. */
export function paint(material: Material, color: Rgb, more: Omit<Paint, "material" | "color"> = {}): Paint {
  return { material, color, ...more };
}

/** A color made darker or brighter, by one factor or one per channel. */
export function shaded(color: Rgb, r: number, g = r, b = r): Rgb {
  return [color[0] * r, color[1] * g, color[2] * b];
}

/** A color varied a little, in brightness and in each channel. */
export function tinted(color: Rgb, random: Random, by: number): Rgb {
  const k = 1 + random.uniform(-by, by);
  const channel = (i: number) => Math.min(0.9, color[i] * k * (1 + random.uniform(-by, by) / 3));
  return [channel(0), channel(1), channel(2)];
}

/** Numbers stored per face in {@linkcode Mesh.data}. */
export const STRIDE = 23;
/** Offsets into a face's numbers. `u` and `v` are affine maps from position to texture; `round` is 5 numbers. */
export const F = { normal: 0, offset: 3, u: 4, v: 8, color: 12, a: 15, b: 16, seed: 17, round: 18 } as const;

/** All sides of {@linkcode Mesh.box}. */
export const ALL_SIDES = "lrfbtd";
/** Corners of each side of a box, counter-clockwise from outside; bits 1, 2, 4 choose the far x, y, z. */
const BOX: Readonly<Record<string, readonly number[]>> = {
  l: [2, 0, 4, 6],
  r: [1, 3, 7, 5],
  f: [3, 2, 6, 7],
  b: [0, 1, 5, 4],
  t: [4, 5, 7, 6],
  d: [2, 3, 1, 0],
};

/** A growing list of faces, with a local frame in which they are given. */
export class Mesh {
  /** World positions, 3 per vertex, m. */
  vertices = new Float64Array(1 << 17);
  /** {@linkcode STRIDE} numbers per face. */
  data = new Float64Array(STRIDE << 13);
  /** First vertex of each face. */
  first = new Int32Array(1 << 13);
  /** Number of vertices of each face. */
  sides = new Uint8Array(1 << 13);
  /** One of {@linkcode MATERIAL} per face. */
  material = new Uint8Array(1 << 13);
  /** One of `MASK` per face; 0 has no holes. */
  mask = new Uint8Array(1 << 13);
  /** 1 for faces that are seen from both sides. */
  twoSided = new Uint8Array(1 << 13);
  /** {@linkcode Paint.group} of each face. */
  group = new Int32Array(1 << 13);
  faces = 0;
  vertexCount = 0;

  #groups = 0;
  #origin = [0, 0, 0];
  // Columns of the rotation from the local frame: right, forward, up.
  #axes = [1, 0, 0, 0, 1, 0, 0, 0, 1];

  /**
   * Sets the local frame of the faces that follow: x right, y forward, z up.
   *
   * @param heading Direction of local y in rad, counter-clockwise from east.
   * @param slope Rise of local y, m per m.
   */
  place(x: number, y: number, z: number, heading: number, slope = 0): void {
    const c = Math.cos(heading), s = Math.sin(heading), k = 1 / Math.hypot(1, slope);
    this.#origin = [x, y, z];
    this.#axes = [s, -c, 0, c * k, s * k, slope * k, -c * slope * k, -s * slope * k, k];
  }

  /** A number for {@linkcode Paint.group} that no other face has. */
  newGroup(): number {
    return ++this.#groups;
  }

  /** A point of the local frame in the world. */
  toWorld(x: number, y: number, z: number): [number, number, number] {
    const o = this.#origin, a = this.#axes;
    return [
      o[0] + a[0] * x + a[3] * y + a[6] * z,
      o[1] + a[1] * x + a[4] * y + a[7] * z,
      o[2] + a[2] * x + a[5] * y + a[8] * z,
    ];
  }

  /**
   * Adds a face given in the local frame. Its texture runs in m: u to the right and v upward for someone who looks
   * at it from outside; along local x and y where it lies flat.
   *
   * @param points x, y, z of each corner, counter-clockwise from outside.
   * @param origin Local point at which u = v = 0.
   * @param scale Texture units per m along u and v.
   */
  face(
    paint: Paint,
    points: readonly number[],
    origin: Point = [0, 0, 0],
    [su, sv]: readonly [number, number] = [1, 1],
  ): void {
    const [nx, ny, nz] = newell(points), length = Math.sqrt(nx * nx + ny * ny + nz * nz);
    if (length < 1e-12) return;
    if (Math.abs(nz) > 0.85 * length) {
      this.#turn(U, su, 0, 0);
      this.#turn(V, 0, sv, 0);
    } else {
      const flat = Math.sqrt(nx * nx + ny * ny), x = -ny / flat, y = nx / flat;
      this.#turn(U, su * x, su * y, 0);
      this.#turn(V, -sv * nz * y / length, sv * nz * x / length, sv * (nx * y - ny * x) / length);
    }
    const o = this.#origin;
    for (let i = 0; i < points.length; i += 3) {
      this.#turn(P, points[i], points[i + 1], points[i + 2]);
      for (let k = 0; k < 3; k++) W[i + k] = o[k] + P[k];
    }
    this.#turn(P, origin[0], origin[1], origin[2]);
    for (let k = 0; k < 3; k++) P[k] += o[k];
    this.#push(paint, points.length / 3, 0, 0);
  }

  /** Leaves in `out` a direction of the local frame, in the world. */
  #turn(out: Float64Array, x: number, y: number, z: number): void {
    const a = this.#axes;
    for (let k = 0; k < 3; k++) out[k] = a[k] * x + a[3 + k] * y + a[6 + k] * z;
  }

  /** Adds a triangle in world coordinates with a texture position at each corner. */
  triangle(paint: Paint, points: readonly number[], uv: readonly number[]): void {
    for (let k = 0; k < 3; k++) {
      E[k] = points[3 + k] - points[k];
      G[k] = points[6 + k] - points[k];
      P[k] = points[k];
    }
    cross(N, E, G);
    const area = dot(N, N);
    if (area < 1e-14) return;
    // The dual basis of the two edges gives the affine map that takes the corners to their texture positions.
    cross(D, G, N);
    cross(G, N, E);
    for (let k = 0; k < 3; k++) {
      U[k] = ((uv[2] - uv[0]) * D[k] + (uv[4] - uv[0]) * G[k]) / area;
      V[k] = ((uv[3] - uv[1]) * D[k] + (uv[5] - uv[1]) * G[k]) / area;
    }
    W.set(points);
    this.#push(paint, 3, uv[0], uv[1]);
  }

  /** Adds a parallelogram in world coordinates; its texture runs 0..1 from the first corner to its neighbors. */
  quad(paint: Paint, p: readonly number[]): void {
    for (let k = 0; k < 3; k++) {
      U[k] = p[3 + k] - p[k];
      V[k] = p[9 + k] - p[k];
      P[k] = p[k];
    }
    const uu = dot(U, U), vv = dot(V, V);
    for (let k = 0; k < 3; k++) {
      U[k] /= uu;
      V[k] /= vv;
    }
    W.set(p);
    this.#push(paint, 4, 0, 0);
  }

  /**
   * Adds the outside of a box given by its near and far corners.
   *
   * @param sides Which: left, right, front (+y), back (-y: what someone before local y = 0 sees), top, down.
   * @param scale Texture units per m along u and v.
   */
  box(paint: Paint, near: Point, far: Point, sides = "lrfbt", scale?: readonly [number, number]): void {
    for (const side of sides) {
      const points: number[] = [];
      for (const corner of BOX[side]) {
        for (let k = 0; k < 3; k++) points.push((corner >> k & 1 ? far : near)[k]);
      }
      this.face(paint, points, [points[0], points[1], points[2]], scale);
    }
  }

  /** Adds an upright tube of `count` sides, radius r0 at z0 and r1 at z1, shaded round, closed on top. */
  tube(
    paint: Paint,
    x: number,
    y: number,
    z0: number,
    z1: number,
    r0: number,
    r1: number,
    count: number,
  ): void {
    const rounded: Paint = { ...paint, round: [...this.toWorld(x, y, z0), 1, 0] };
    const top: number[] = [];
    for (let i = 0; i < count; i++) {
      const p = 2 * Math.PI * i / count, q = 2 * Math.PI * (i + 1) / count;
      const cp = Math.cos(p), sp = Math.sin(p), cq = Math.cos(q), sq = Math.sin(q);
      top.push(x + r1 * cp, y + r1 * sp, z1);
      this.face(rounded, [
        ...[x + r0 * cp, y + r0 * sp, z0, x + r0 * cq, y + r0 * sq, z0],
        ...[x + r1 * cq, y + r1 * sq, z1, x + r1 * cp, y + r1 * sp, z1],
      ], [x + r0 * cp, y + r0 * sp, z0]);
    }
    if (r1 > 0.02) this.face(paint, top);
  }

  /** Forgets the faces and vertices added since there were so many. */
  truncate(faces: number, vertexCount: number): void {
    this.faces = faces;
    this.vertexCount = vertexCount;
  }

  /** Adds the face whose `count` corners are in {@linkcode W}; its texture is u0, v0 at {@linkcode P}. */
  #push(paint: Paint, count: number, u0: number, v0: number): void {
    const [nx, ny, nz] = newell(W, 3 * count), length = Math.sqrt(nx * nx + ny * ny + nz * nz);
    if (length < 1e-12) return;
    this.#reserve(count);
    const vertices = this.vertices, from = this.vertexCount * 3;
    for (let i = 0; i < 3 * count; i++) vertices[from + i] = W[i];
    const id = this.faces++, d = this.data, at = id * STRIDE;
    let plane = 0;
    for (let i = 0; i < count; i++) {
      plane -= (nx * W[3 * i] + ny * W[3 * i + 1] + nz * W[3 * i + 2]) / length / count;
    }
    d[at] = nx / length;
    d[at + 1] = ny / length;
    d[at + 2] = nz / length;
    d[at + F.offset] = plane;
    for (let k = 0; k < 3; k++) {
      d[at + F.u + k] = U[k];
      d[at + F.v + k] = V[k];
      d[at + F.color + k] = paint.color[k];
    }
    d[at + F.u + 3] = u0 - dot(U, P);
    d[at + F.v + 3] = v0 - dot(V, P);
    d[at + F.a] = paint.a ?? 0;
    d[at + F.b] = paint.b ?? 0;
    d[at + F.seed] = paint.seed ?? 0;
    for (let k = 0; k < 5; k++) d[at + F.round + k] = paint.round?.[k] ?? 0;
    this.first[id] = this.vertexCount;
    this.sides[id] = count;
    this.material[id] = MATERIAL[paint.material];
    this.mask[id] = paint.mask ?? 0;
    this.twoSided[id] = paint.twoSided ? 1 : 0;
    this.group[id] = paint.group ?? 0;
    this.vertexCount += count;
  }

  #reserve(vertices: number): void {
    if ((this.vertexCount + vertices) * 3 > this.vertices.length) this.vertices = doubled(this.vertices);
    if (this.faces < this.first.length) return;
    this.data = doubled(this.data);
    this.first = doubled(this.first);
    this.sides = doubled(this.sides);
    this.material = doubled(this.material);
    this.mask = doubled(this.mask);
    this.twoSided = doubled(this.twoSided);
    this.group = doubled(this.group);
  }
}

function doubled<T extends Float64Array<ArrayBuffer> | Int32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>>(
  array: T,
): T {
  const bigger = new (array.constructor as new (length: number) => T)(array.length * 2);
  bigger.set(array);
  return bigger;
}

// The current face, in arrays made once, since a scene has thousands of faces: corners in the world, directions of u
// and v, the point they start from, normal, and for triangles two edges, their normal and a dual vector.
const W = new Float64Array(72);
const [U, V, P, NORMAL, E, G, N, D] = Array.from({ length: 8 }, () => new Float64Array(3));

function dot(a: Float64Array, b: Float64Array): number {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

function cross(out: Float64Array, a: Float64Array, b: Float64Array): void {
  const x = a[1] * b[2] - a[2] * b[1], y = a[2] * b[0] - a[0] * b[2], z = a[0] * b[1] - a[1] * b[0];
  out[0] = x;
  out[1] = y;
  out[2] = z;
}

/** Twice the area of a face along its normal (Newell's method), until the next call. */
function newell(p: ArrayLike<number>, length = p.length): Float64Array {
  let x = 0, y = 0, z = 0;
  for (let i = 0; i < length; i += 3) {
    const j = i + 3 === length ? 0 : i + 3;
    x += (p[i + 1] - p[j + 1]) * (p[i + 2] + p[j + 2]);
    y += (p[i + 2] - p[j + 2]) * (p[i] + p[j]);
    z += (p[i] - p[j]) * (p[i + 1] + p[j + 1]);
  }
  NORMAL[0] = x;
  NORMAL[1] = y;
  NORMAL[2] = z;
  return NORMAL;
}
