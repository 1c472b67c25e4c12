/**
 * Trees, bushes and hedges: trunks as tubes, foliage as many small faces with holes, shaded as one round mass.
 *
 * @module
 */
import type { Random } from "../../base/random.ts";
import { type Mesh, type Paint, paint, type Point, type Rgb, shaded } from "../mesh.ts";
import { MASK } from "../noise.ts";

/** How a tree grows. */
export type TreeShape = "broad" | "tall" | "fir" | "young" | "bush";

/** Adds a tree at the local origin. `coarse` halves the faces of the crown, for trees far from the road. */
export function addTree(mesh: Mesh, shape: TreeShape, leaf: Rgb, random: Random, coarse = false): void {
  const size = random.uniform(0.8, 1.25);
  const bark = paint("bark", [0.12, 0.085, 0.06], { seed: random.below(1000) });
  switch (shape) {
    case "broad": {
      const trunk = random.uniform(1.9, 3) * size, r = random.uniform(1.9, 3.1) * size;
      mesh.tube(bark, 0, 0, -0.3, trunk + r, 0.2 * size, 0.1 * size, coarse ? 4 : 7);
      for (let k = 0; k < (coarse ? 1 : 3); k++) {
        const a = random.uniform(0, 6.28), off = coarse ? 0 : r * 0.42;
        const rr = r * (coarse ? 1 : random.uniform(0.7, 0.85));
        const x = off * Math.cos(a + 2.1 * k), y = off * Math.sin(a + 2.1 * k);
        const z = trunk + rr * random.uniform(0.8, 1.2), rz = rr * random.uniform(0.75, 1);
        addCrown(mesh, [x, y, z], rr, rz, leaf, MASK.leaves, coarse ? 26 : 30, random);
      }
      break;
    }
    case "tall": {
      const h = random.uniform(4, 7) * size, r = random.uniform(1.1, 1.7) * size;
      mesh.tube(bark, 0, 0, -0.3, h, 0.17 * size, 0.06, coarse ? 4 : 6);
      addCrown(mesh, [0, 0, 1.6 + h * 0.62], r, h * 0.68, leaf, MASK.sprays, coarse ? 30 : 64, random);
      break;
    }
    case "fir": {
      const h = random.uniform(6, 12) * size, r = random.uniform(1.5, 2.4) * size;
      mesh.tube(bark, 0, 0, -0.3, h * 0.9, 0.2 * size, 0.03, 5);
      addCone(mesh, h, r, shaded(leaf, 0.45, 0.55, 0.8), coarse ? 4 : 7, random);
      break;
    }
    case "young": {
      const h = random.uniform(1.6, 2.2), z = h + 0.9 * size;
      mesh.tube(bark, 0, 0, -0.3, h + 0.6, 0.06, 0.04, 5);
      addCrown(mesh, [0, 0, z], 0.95 * size, 1.15 * size, leaf, MASK.sprays, coarse ? 16 : 34, random);
      break;
    }
    case "bush": {
      const r = random.uniform(0.6, 1.3) * size;
      addCrown(mesh, [0, 0, r * 0.65], r, r * 0.85, leaf, MASK.leaves, coarse ? 12 : 24, random);
    }
  }
}

/** An ellipsoid of leaf-covered faces, radius r across and rz in height. */
function addCrown(
  mesh: Mesh,
  [x, y, z]: Point,
  r: number,
  rz: number,
  leaf: Rgb,
  mask: number,
  count: number,
  random: Random,
): void {
  const foliage = foliageOf(mesh, mask, [x, y, z - rz * 0.3], 0.75, 1);
  const size = 2.1 * Math.sqrt(r * Math.max(r, rz) * 4 / count) * 1.05;
  for (let i = 0; i < count; i++) {
    // Evenly over the sphere (golden angle), jittered.
    const up = 1 - 2 * (i + 0.5) / count, ring = Math.sqrt(1 - up * up);
    const a = i * 2.39996 + random.uniform(-0.4, 0.4);
    const n: Point = [ring * Math.cos(a), ring * Math.sin(a), up], k = random.uniform(0.5, 0.95);
    const p: Point = [x + r * k * n[0], y + r * k * n[1], z + rz * k * n[2]];
    const tone = (0.5 + 0.55 * k) * random.uniform(0.75, 1.2), facing = tilted(n, random, 0.9);
    const span = size * random.uniform(0.75, 1.1);
    const color: Rgb = [leaf[0] * tone * random.uniform(0.9, 1.15), leaf[1] * tone, leaf[2] * tone];
    addCard(mesh, p, facing, span, foliage(color, random), random.uniform(0, 6.28));
  }
}

/** Tiers of needle-covered faces that narrow upward. */
function addCone(mesh: Mesh, h: number, r: number, leaf: Rgb, tiers: number, random: Random): void {
  const foliage = foliageOf(mesh, MASK.needles, [0, 0, h * 0.3], 0.6, 0.4), n = 6;
  for (let k = 0; k < tiers; k++) {
    const z = h * (0.12 + 0.8 * k / tiers), rr = r * (1 - 0.88 * k / tiers), turn = random.uniform(0, 6.28);
    for (let i = 0; i < n; i++) {
      const a = turn + 6.283 * i / n, tone = random.uniform(0.7, 1.15);
      const p: Point = [rr * 0.55 * Math.cos(a), rr * 0.55 * Math.sin(a), z];
      const facing = tilted([Math.cos(a) * 0.8, Math.sin(a) * 0.8, 0.6], random, 0.35);
      const paint = foliage(shaded(leaf, tone), random);
      addCard(mesh, p, facing, rr * 1.25 + 0.35, paint, random.uniform(-0.5, 0.5));
    }
  }
}

/** Makes the paints of one plant's leaves; together they are shaded as one mass around a local point. */
function foliageOf(mesh: Mesh, mask: number, middle: Point, mix: number, up: number) {
  const group = mesh.newGroup(), round = [...mesh.toWorld(...middle), mix, up] as const;
  return (color: Rgb, random: Random): Paint =>
    paint("leaf", color, { seed: random.below(4096), group, mask, twoSided: true, round });
}

function tilted(n: Point, random: Random, by: number): Point {
  const [x, y, z] = n.map((c) => c + by * random.normal(0, 0.5)), length = Math.hypot(x, y, z) || 1;
  return [x / length, y / length, z / length];
}

/** A square face of a size around p, facing n, turned by `turn`; one mask covers it. */
function addCard(mesh: Mesh, p: Point, n: Point, size: number, paint: Paint, turn: number): void {
  const flat = Math.hypot(n[0], n[1]) || 1e-9;
  const e = flat < 1e-3 ? [1, 0, 0] : [-n[1] / flat, n[0] / flat, 0];
  const f = [n[1] * e[2] - n[2] * e[1], n[2] * e[0] - n[0] * e[2], n[0] * e[1] - n[1] * e[0]];
  const c = Math.cos(turn) * size / 2, s = Math.sin(turn) * size / 2;
  const corner = (i: number, j: number) => {
    const at = (k: number) => p[k] + e[k] * (i * c - j * s) + f[k] * (i * s + j * c);
    return mesh.toWorld(at(0), at(1), at(2));
  };
  mesh.quad(paint, [...corner(-1, -1), ...corner(1, -1), ...corner(1, 1), ...corner(-1, 1)]);
}

/** Adds a hedge along local x from 0 to `length`: a clipped body with sprigs standing out of it. */
export function addHedge(
  mesh: Mesh,
  length: number,
  height: number,
  depth: number,
  leaf: Rgb,
  random: Random,
): void {
  const color = shaded(leaf, 0.7, 0.75, 0.7);
  const body = paint("hedge", color, { seed: random.below(4096) });
  mesh.box(body, [0, 0.08, -0.3], [length, depth - 0.08, height - 0.08]);
  const foliage = foliageOf(mesh, MASK.leaves, [length / 2, depth / 2, height * 0.4], 0.3, 1);
  const count = Math.min(40, Math.ceil(length * 2.2));
  for (let i = 0; i < count; i++) {
    const x = length * (i + random.next()) / count, front = random.chance(0.5);
    const tone = random.uniform(0.8, 1.25), size = random.uniform(0.45, 0.75);
    const p: Point = front ? [x, 0.05, random.uniform(0.2, height - 0.1)] : [x, depth / 2, height - 0.04];
    const facing = tilted(front ? [0, -1, 0.3] : [0, -0.4, 1], random, 0.5);
    addCard(mesh, p, facing, size, foliage(shaded(color, tone), random), random.uniform(0, 6.28));
  }
}
