/**
 * Trees, bushes and hedges: trunks as tubes, foliage as many small faces with holes, shaded as one round mass.
 *
 * @module
 */
import type { Random } from "../../base/random.ts";
import { MATERIAL, type Mesh, type Paint, type Rgb } from "../mesh.ts";
import { MASK } from "../noise.ts";

/** How a tree grows. */
export type TreeShape = "broad" | "tall" | "fir" | "young" | "bush";

/** Adds a tree at the local origin. `coarse` halves the faces of the crown, for trees far from the road. */
export function addTree(mesh: Mesh, shape: TreeShape, leaf: Rgb, random: Random, coarse = false): void {
  const size = random.uniform(0.8, 1.25);
  const bark: Paint = { material: MATERIAL.bark, colour: [0.12, 0.085, 0.06], seed: random.below(1000) };
  switch (shape) {
    case "broad": {
      const trunk = random.uniform(1.9, 3) * size, r = random.uniform(1.9, 3.1) * size;
      mesh.tube(bark, 0, 0, -0.3, trunk + r, 0.2 * size, 0.1 * size, coarse ? 4 : 7);
      const lobes = coarse ? 1 : 3;
      for (let k = 0; k < lobes; k++) {
        const a = random.uniform(0, 6.28), off = lobes > 1 ? r * 0.42 : 0;
        const rr = r * (lobes > 1 ? random.uniform(0.7, 0.85) : 1);
        crown(
          mesh,
          off * Math.cos(a + 2.1 * k),
          off * Math.sin(a + 2.1 * k),
          trunk + rr * random.uniform(0.8, 1.2),
          rr,
          rr * random.uniform(0.75, 1),
          leaf,
          MASK.leaves,
          coarse ? 26 : 30,
          random,
        );
      }
      break;
    }
    case "tall": {
      const h = random.uniform(4, 7) * size, r = random.uniform(1.1, 1.7) * size;
      mesh.tube(bark, 0, 0, -0.3, h, 0.17 * size, 0.06, coarse ? 4 : 6);
      crown(mesh, 0, 0, 1.6 + h * 0.62, r, h * 0.68, leaf, MASK.sprays, coarse ? 30 : 64, random);
      break;
    }
    case "fir": {
      const h = random.uniform(6, 12) * size, r = random.uniform(1.5, 2.4) * size;
      mesh.tube(bark, 0, 0, -0.3, h * 0.9, 0.2 * size, 0.03, 5);
      cone(mesh, h, r, [leaf[0] * 0.45, leaf[1] * 0.55, leaf[2] * 0.8], coarse ? 4 : 7, random);
      break;
    }
    case "young": {
      const h = random.uniform(1.6, 2.2);
      mesh.tube(bark, 0, 0, -0.3, h + 0.6, 0.06, 0.04, 5);
      crown(
        mesh,
        0,
        0,
        h + 0.9 * size,
        0.95 * size,
        1.15 * size,
        leaf,
        MASK.sprays,
        coarse ? 16 : 34,
        random,
      );
      break;
    }
    case "bush": {
      const r = random.uniform(0.6, 1.3) * size;
      crown(mesh, 0, 0, r * 0.65, r, r * 0.85, leaf, MASK.leaves, coarse ? 12 : 24, random);
      break;
    }
  }
}

/** An ellipsoid of leaf-covered faces around local (x, y, z). */
function crown(
  mesh: Mesh,
  x: number,
  y: number,
  z: number,
  r: number,
  rz: number,
  leaf: Rgb,
  mask: number,
  count: number,
  random: Random,
): void {
  const group = mesh.newGroup();
  const [cx, cy, cz] = mesh.toWorld(x, y, z - rz * 0.3);
  const size = 2.1 * Math.sqrt(r * Math.max(r, rz) * 4 / count) * 1.05;
  for (let i = 0; i < count; i++) {
    // Evenly over the sphere (golden angle), jittered.
    const up = 1 - 2 * (i + 0.5) / count, ring = Math.sqrt(1 - up * up);
    const a = i * 2.39996 + random.uniform(-0.4, 0.4);
    const n = [ring * Math.cos(a), ring * Math.sin(a), up];
    const k = random.uniform(0.5, 0.95);
    const p = [x + r * k * n[0], y + r * k * n[1], z + rz * k * n[2]];
    const tone = (0.5 + 0.55 * k) * random.uniform(0.75, 1.2);
    card(mesh, p, tilt(n, random, 0.9), size * random.uniform(0.75, 1.1), {
      material: MATERIAL.leaf,
      colour: [leaf[0] * tone * random.uniform(0.9, 1.15), leaf[1] * tone, leaf[2] * tone],
      seed: random.below(4096),
      group,
      mask,
      twoSided: true,
      round: { x: cx, y: cy, z: cz, mix: 0.75, up: 1 },
    }, random.uniform(0, 6.28));
  }
}

function cone(mesh: Mesh, h: number, r: number, leaf: Rgb, tiers: number, random: Random): void {
  const group = mesh.newGroup();
  const [cx, cy, cz] = mesh.toWorld(0, 0, h * 0.3);
  for (let k = 0; k < tiers; k++) {
    const z = h * (0.12 + 0.8 * k / tiers), rr = r * (1 - 0.88 * k / tiers);
    const n = 6, turn = random.uniform(0, 6.28);
    for (let i = 0; i < n; i++) {
      const a = turn + 6.283 * i / n;
      const normal = [Math.cos(a) * 0.8, Math.sin(a) * 0.8, 0.6];
      const tone = random.uniform(0.7, 1.15);
      card(
        mesh,
        [rr * 0.55 * Math.cos(a), rr * 0.55 * Math.sin(a), z],
        tilt(normal, random, 0.35),
        rr * 1.25 + 0.35,
        {
          material: MATERIAL.leaf,
          colour: [leaf[0] * tone, leaf[1] * tone, leaf[2] * tone],
          seed: random.below(4096),
          group,
          mask: MASK.needles,
          twoSided: true,
          round: { x: cx, y: cy, z: cz, mix: 0.6, up: 0.4 },
        },
        random.uniform(-0.5, 0.5),
      );
    }
  }
}

function tilt(n: readonly number[], random: Random, by: number): number[] {
  const v = n.map((c) => c + by * random.normal(0, 0.5));
  const length = Math.hypot(v[0], v[1], v[2]) || 1;
  return v.map((c) => c / length);
}

/** A square face of local size around p, facing n, turned by `turn`; one mask covers it. */
function card(
  mesh: Mesh,
  p: readonly number[],
  n: readonly number[],
  size: number,
  paint: Paint,
  turn: number,
): void {
  const flat = Math.hypot(n[0], n[1]) || 1e-9;
  const e = flat < 1e-3 ? [1, 0, 0] : [-n[1] / flat, n[0] / flat, 0];
  const f = [n[1] * e[2] - n[2] * e[1], n[2] * e[0] - n[0] * e[2], n[0] * e[1] - n[1] * e[0]];
  const c = Math.cos(turn) * size / 2, s = Math.sin(turn) * size / 2;
  const points: number[] = [];
  for (const [i, j] of [[-1, -1], [1, -1], [1, 1], [-1, 1]]) {
    for (let k = 0; k < 3; k++) points.push(p[k] + e[k] * (i * c - j * s) + f[k] * (i * s + j * c));
  }
  const world: number[] = [];
  for (let i = 0; i < 12; i += 3) world.push(...mesh.toWorld(points[i], points[i + 1], points[i + 2]));
  mesh.quad(paint, world);
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
  const seed = random.below(4096), group = mesh.newGroup();
  const colour: Rgb = [leaf[0] * 0.7, leaf[1] * 0.75, leaf[2] * 0.7];
  mesh.box(
    { material: MATERIAL.hedge, colour, seed, group: 0 },
    0,
    0.08,
    -0.3,
    length,
    depth - 0.08,
    height - 0.08,
  );
  const [cx, cy] = mesh.toWorld(length / 2, depth / 2, 0);
  const count = Math.min(40, Math.ceil(length * 2.2));
  for (let i = 0; i < count; i++) {
    const x = length * (i + random.next()) / count, front = random.chance(0.5);
    const tone = random.uniform(0.8, 1.25), size = random.uniform(0.45, 0.75);
    const wz = mesh.toWorld(0, 0, height * 0.4)[2];
    card(
      mesh,
      [x, front ? 0.05 : depth / 2, front ? random.uniform(0.2, height - 0.1) : height - 0.04],
      tilt(front ? [0, -1, 0.3] : [0, -0.4, 1], random, 0.5),
      size,
      {
        material: MATERIAL.leaf,
        colour: [colour[0] * tone, colour[1] * tone, colour[2] * tone],
        seed: random.below(4096),
        group,
        mask: MASK.leaves,
        twoSided: true,
        round: { x: cx, y: cy, z: wz, mix: 0.3, up: 1 },
      },
      random.uniform(0, 6.28),
    );
  }
}
