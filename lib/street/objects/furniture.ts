/**
 * What stands in a street: lamp posts, signs, traffic lights, bins, fences, walls, guard rails, and people.
 *
 * @module
 */
import type { Random } from "../../base/random.ts";
import { ALL_SIDES, type Mesh, type Paint, paint, type Point, type Rgb, shaded, tinted } from "../mesh.ts";
import { MASK } from "../noise.ts";

const STEEL = paint("plain", [0.28, 0.29, 0.29]);
const DARK = paint("plain", [0.05, 0.055, 0.055]);
/** Masonry of walls, high and low. */
export const STONES: readonly Rgb[] = [[0.3, 0.15, 0.1], [0.4, 0.38, 0.34], [0.5, 0.48, 0.44]];

/** A lamp post whose arm reaches toward -x (the road lies there when placed with y along the road). */
export function addLamp(mesh: Mesh, random: Random): void {
  const h = random.uniform(5, 8.5), reach = random.uniform(0.6, 1.8);
  const post = random.chance(0.6) ? STEEL : paint("plain", [0.06, 0.1, 0.08]);
  mesh.tube(post, 0, 0, -0.2, h, 0.09, 0.05, 6);
  mesh.box(post, [-reach, -0.04, h - 0.08], [0, 0.04, h], ALL_SIDES);
  const head = paint("plain", [0.4, 0.4, 0.38]);
  mesh.box(head, [-reach - 0.5, -0.13, h - 0.14], [-reach + 0.1, 0.13, h], ALL_SIDES);
}

/** Corners of a regular polygon that faces -y, around (0, y, z). */
function polygon(count: number, radius: number, y: number, z: number, turn = 0): number[] {
  return Array.from({ length: count }, (_, i) => {
    const a = turn + 2 * Math.PI * i / count;
    return [radius * Math.cos(a), y, z + radius * Math.sin(a)];
  }).flat();
}

/** A round, triangular, square or octagonal traffic sign facing -y. */
export function addSign(mesh: Mesh, random: Random): void {
  const h = random.uniform(2, 2.6), r = random.uniform(0.28, 0.38), seed = random.below(1000);
  mesh.tube(STEEL, 0, 0, -0.2, h + r, 0.035, 0.035, 5);
  const kind = random.below(4), n = [12, 3, 4, 8][kind];
  const points = polygon(n, r, -0.05, h, [0, Math.PI / 2, Math.PI / 4, Math.PI / 8][kind]);
  const color = random.pick<Rgb>([[0.5, 0.03, 0.03], [0.03, 0.1, 0.45], [0.7, 0.7, 0.7], [0.6, 0.45, 0.03]]);
  mesh.face(paint("sign", color, { a: 2, b: r, seed }), points, [0, -0.05, h]);
  const back: number[] = [];
  for (let i = n - 1; i >= 0; i--) back.push(points[3 * i], -0.045, points[3 * i + 2]);
  mesh.face(paint("plain", [0.3, 0.3, 0.31]), back);
}

/** A traffic light facing -y. */
export function addTrafficLight(mesh: Mesh, random: Random): void {
  mesh.tube(STEEL, 0, 0, -0.2, 3.4, 0.06, 0.06, 6);
  mesh.box(DARK, [-0.17, -0.3, 2.3], [0.17, -0.06, 3.25], ALL_SIDES);
  const on = random.below(3);
  const lamps: readonly Rgb[] = [[0.1, 0.75, 0.3], [0.8, 0.5, 0.05], [0.85, 0.05, 0.04]];
  for (const [k, color] of lamps.entries()) {
    const lamp = paint("light", shaded(color, on === k ? 1 : 0.12), { a: on === k ? 1 : 0 });
    mesh.face(lamp, polygon(8, 0.1, -0.31, 2.45 + 0.32 * k));
  }
}

const BINS: readonly Rgb[] = [[0.03, 0.04, 0.04], [0.05, 0.12, 0.06], [0.04, 0.06, 0.16]];
const LIDS: readonly Rgb[] = [[0.4, 0.05, 0.04], [0.5, 0.38, 0.04], [0.05, 0.1, 0.3], [0.05, 0.05, 0.05]];

/** Wheeled bins, a bench, an electrical cabinet, bollards, or a mailbox beside an advertising column. */
export function addClutter(mesh: Mesh, random: Random): void {
  switch (random.below(5)) {
    case 0: {
      const count = 1 + random.below(3);
      for (let k = 0; k < count; k++) {
        const body = paint("plain", random.pick(BINS)), lid = paint("plain", random.pick(LIDS)), x = k * 0.66;
        mesh.box(body, [x, 0, 0.05], [x + 0.56, 0.6, 0.98], "lrfb");
        mesh.box(lid, [x - 0.02, -0.05, 0.98], [x + 0.58, 0.66, 1.07]);
      }
      break;
    }
    case 1: {
      const wood = paint("wood", [0.25, 0.15, 0.08]);
      mesh.box(wood, [0, 0, 0.4], [1.7, 0.45, 0.46], ALL_SIDES);
      mesh.box(wood, [0, 0.42, 0.46], [1.7, 0.47, 0.9], ALL_SIDES);
      for (const x of [0.15, 1.45]) mesh.box(DARK, [x, 0.05, 0], [x + 0.08, 0.42, 0.4]);
      break;
    }
    case 2:
      mesh.box(paint("concrete", [0.42, 0.44, 0.4]), [0, 0, 0], [0.9, 0.35, 1.15]);
      break;
    case 3:
      for (let k = 0; k < 4; k++) {
        mesh.tube(k % 2 ? DARK : paint("plain", [0.45, 0.1, 0.06]), k * 1.4, 0, 0, 0.9, 0.07, 0.06, 6);
      }
      break;
    case 4: {
      mesh.tube(paint("plain", [0.7, 0.55, 0.05]), 0, 0, 0, 1.2, 0.2, 0.2, 8);
      const posters = paint("sign", [0.5, 0.5, 0.5], { a: 3, seed: random.below(99) });
      mesh.tube(posters, 3, 0, 0.1, 2.8, 0.62, 0.62, 10);
    }
  }
}

const PLANKS: readonly Rgb[] = [[0.3, 0.2, 0.11], [0.2, 0.13, 0.08], [0.45, 0.43, 0.4]];

/** A fence, wall or railing along local x from 0 to `length`, its street side at y = 0. */
export function addFence(mesh: Mesh, length: number, random: Random): void {
  const seed = random.below(4096);
  // One thin face with holes, the mask repeated along it and once over its height.
  const railing = (paint: Paint, y: number, z: number, top: number, perM: number, h: number) =>
    mesh.box({ ...paint, twoSided: true }, [0, y, z], [length, y, top], "b", [perM, 1 / h]);
  switch (random.below(5)) {
    case 0: {
      const h = random.uniform(0.8, 1.9);
      mesh.box(paint("wood", random.pick(PLANKS), { seed, a: 1 }), [0, 0, -0.2], [length, 0.06, h]);
      break;
    }
    case 1: {
      const h = random.uniform(0.5, 2);
      mesh.box(paint("stone", random.pick(STONES), { seed }), [0, 0, -0.4], [length, 0.24, h], "lrfb");
      const coping = paint("concrete", [0.42, 0.41, 0.39], { seed });
      mesh.box(coping, [-0.03, -0.04, h], [length + 0.03, 0.28, h + 0.09]);
      break;
    }
    case 2: {
      const h = random.uniform(0.9, 1.3),
        color: Rgb = random.chance(0.6) ? [0.04, 0.05, 0.05] : [0.5, 0.5, 0.5];
      mesh.box(paint("concrete", [0.4, 0.39, 0.37], { seed }), [0, 0, -0.4], [length, 0.22, 0.3]);
      railing(paint("plain", color, { mask: MASK.railing }), 0.1, 0.3, 0.3 + h, 0.9, h);
      break;
    }
    case 3: {
      const h = random.uniform(1.2, 2), post = paint("plain", [0.12, 0.17, 0.13]);
      railing(paint("plain", [0.1, 0.16, 0.12], { mask: MASK.mesh }), 0.05, 0, h, 2.2, h);
      for (let x = 0; x <= length; x += 2.5) mesh.tube(post, x, 0.08, -0.2, h + 0.05, 0.03, 0.03, 4);
      break;
    }
    case 4: {
      const h = random.uniform(0.7, 1.1);
      railing(paint("wood", [0.55, 0.53, 0.5], { mask: MASK.railing, seed }), 0.03, 0.02, h, 0.55, h);
    }
  }
}

/** A steel guard rail along local x, its road side at y = 0. */
export function addGuardRail(mesh: Mesh, length: number): void {
  const steel = paint("plain", [0.42, 0.43, 0.44], { a: 2 });
  mesh.box(steel, [0, 0, 0.42], [length, 0.05, 0.56]);
  mesh.box(steel, [0, -0.03, 0.56], [length, 0.05, 0.72], ALL_SIDES);
  for (let x = 0.5; x < length; x += 2) mesh.box(steel, [x, 0.06, -0.3], [x + 0.09, 0.16, 0.66], "lrfb");
}

/** How a person looks. */
export interface Person {
  /** Albedo of the upper clothes. */
  readonly shirt: Rgb;
  readonly trousers: Rgb;
  readonly hair: Rgb;
  /** m */
  readonly height: number;
}

/** A walking person facing +y; `stride` in [-1, 1] swings legs and arms. */
export function addPerson(mesh: Mesh, person: Person, stride: number): void {
  const k = person.height / 1.75;
  const shirt = paint("cloth", person.shirt, { seed: 3 }),
    trousers = paint("cloth", person.trousers, { seed: 4 });
  for (const side of [-1, 1]) {
    const x = side * 0.1 * k, swing = side * stride * 0.3 * k;
    limb(mesh, trousers, [x, 0, 0.86 * k], [x, swing, 0.05], 0.085 * k);
    limb(mesh, shirt, [side * 0.24 * k, 0, 1.4 * k], [side * 0.26 * k, -swing * 0.8, 0.85 * k], 0.055 * k);
  }
  mesh.tube(shirt, 0, 0, 0.84 * k, 1.2 * k, 0.17 * k, 0.2 * k, 8);
  mesh.tube(shirt, 0, 0, 1.2 * k, 1.48 * k, 0.2 * k, 0.12 * k, 8);
  mesh.tube(paint("cloth", [0.45, 0.28, 0.2]), 0, 0.01, 1.46 * k, 1.64 * k, 0.075 * k, 0.1 * k, 7);
  mesh.tube(paint("cloth", person.hair), 0, -0.015, 1.63 * k, 1.76 * k, 0.108 * k, 0.05 * k, 7);
}

/** A square bar of half width r from its upper end to its lower one. */
function limb(mesh: Mesh, paint: Paint, upper: Point, lower: Point, r: number): void {
  const corners = [[-1, -1], [1, -1], [1, 1], [-1, 1]];
  const at = (end: Point, [i, j]: readonly number[]) => [end[0] + i * r, end[1] + j * r, end[2]];
  for (let i = 0; i < 4; i++) {
    const a = corners[i], b = corners[(i + 1) % 4];
    mesh.face(paint, [...at(lower, a), ...at(lower, b), ...at(upper, b), ...at(upper, a)]);
  }
}

const SHIRTS: readonly Rgb[] = [
  [0.4, 0.05, 0.05],
  [0.05, 0.08, 0.25],
  [0.5, 0.5, 0.5],
  [0.03, 0.03, 0.03],
  [0.1, 0.25, 0.12],
  [0.5, 0.35, 0.05],
  [0.3, 0.3, 0.45],
];
const TROUSERS: readonly Rgb[] = [[0.05, 0.07, 0.15], [0.03, 0.03, 0.03], [0.25, 0.2, 0.13], [0.2, 0.2, 0.2]];
const HAIR: readonly Rgb[] = [[0.03, 0.02, 0.015], [0.12, 0.07, 0.03], [0.3, 0.2, 0.08], [0.3, 0.3, 0.3]];

/** A pedestrian in random clothes. */
export function randomPerson(random: Random): Person {
  return {
    shirt: tinted(random.pick(SHIRTS), random, 0.3),
    trousers: tinted(random.pick(TROUSERS), random, 0.3),
    hair: random.pick(HAIR),
    height: random.uniform(1.55, 1.9),
  };
}
