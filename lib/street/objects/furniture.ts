/**
 * What stands in a street: lamp posts, signs, traffic lights, bins, fences, walls, guard rails, and people.
 *
 * @module
 */
import type { Random } from "../../base/random.ts";
import { MATERIAL, type Mesh, type Paint, type Rgb } from "../mesh.ts";
import { MASK } from "../noise.ts";

const STEEL: Rgb = [0.28, 0.29, 0.29];
const DARK: Rgb = [0.05, 0.055, 0.055];

/** A lamp post whose arm reaches towards -x (the road lies there when placed with y along the road). */
export function addLamp(mesh: Mesh, random: Random): void {
  const h = random.uniform(5, 8.5), reach = random.uniform(0.6, 1.8);
  const post: Paint = { material: MATERIAL.plain, colour: random.chance(0.6) ? STEEL : [0.06, 0.1, 0.08] };
  mesh.tube(post, 0, 0, -0.2, h, 0.09, 0.05, 6);
  mesh.box(post, -reach, -0.04, h - 0.08, 0, 0.04, h, "lrfbtd");
  mesh.box(
    { material: MATERIAL.plain, colour: [0.4, 0.4, 0.38] },
    -reach - 0.5,
    -0.13,
    h - 0.14,
    -reach + 0.1,
    0.13,
    h,
    "lrfbtd",
  );
}

/** A round, triangular or square traffic sign facing -y. */
export function addSign(mesh: Mesh, random: Random): void {
  const h = random.uniform(2, 2.6), r = random.uniform(0.28, 0.38), seed = random.below(1000);
  mesh.tube({ material: MATERIAL.plain, colour: STEEL }, 0, 0, -0.2, h + r, 0.035, 0.035, 5);
  const kind = random.below(4), points: number[] = [];
  const n = [12, 3, 4, 8][kind], turn = [0, Math.PI / 2, Math.PI / 4, Math.PI / 8][kind];
  for (let i = 0; i < n; i++) {
    const a = turn + 2 * Math.PI * i / n;
    points.push(r * Math.cos(a), -0.05, h + r * Math.sin(a));
  }
  const colour = random.pick<Rgb>([[0.5, 0.03, 0.03], [0.03, 0.1, 0.45], [0.7, 0.7, 0.7], [0.6, 0.45, 0.03]]);
  mesh.face({ material: MATERIAL.sign, colour, a: 2, b: r, seed }, points, [0, -0.05, h]);
  const back: number[] = [];
  for (let i = n - 1; i >= 0; i--) back.push(points[3 * i], -0.045, points[3 * i + 2]);
  mesh.face({ material: MATERIAL.plain, colour: [0.3, 0.3, 0.31] }, back);
}

/** A traffic light facing -y. */
export function addTrafficLight(mesh: Mesh, random: Random): void {
  mesh.tube({ material: MATERIAL.plain, colour: STEEL }, 0, 0, -0.2, 3.4, 0.06, 0.06, 6);
  mesh.box({ material: MATERIAL.plain, colour: DARK }, -0.17, -0.3, 2.3, 0.17, -0.06, 3.25, "lrfbtd");
  const on = random.below(3);
  const lamps: readonly Rgb[] = [[0.1, 0.75, 0.3], [0.8, 0.5, 0.05], [0.85, 0.05, 0.04]];
  for (let k = 0; k < 3; k++) {
    const points: number[] = [], z = 2.45 + 0.32 * k;
    for (let i = 0; i < 8; i++) {
      points.push(0.1 * Math.cos(i * Math.PI / 4), -0.31, z + 0.1 * Math.sin(i * Math.PI / 4));
    }
    const c = lamps[k], s = on === k ? 1 : 0.12;
    mesh.face(
      { material: MATERIAL.light, colour: [c[0] * s, c[1] * s, c[2] * s], a: on === k ? 1 : 0 },
      points,
    );
  }
}

/** Wheeled bins, a bench, a box of electricity, bollards or a post box. */
export function addClutter(mesh: Mesh, random: Random): void {
  switch (random.below(5)) {
    case 0: {
      const count = 1 + random.below(3);
      for (let k = 0; k < count; k++) {
        const body: Paint = {
          material: MATERIAL.plain,
          colour: random.pick<Rgb>([[0.03, 0.04, 0.04], [0.05, 0.12, 0.06], [0.04, 0.06, 0.16]]),
        };
        const lid: Paint = {
          material: MATERIAL.plain,
          colour: random.pick<Rgb>([[0.4, 0.05, 0.04], [0.5, 0.38, 0.04], [0.05, 0.1, 0.3], [
            0.05,
            0.05,
            0.05,
          ]]),
        };
        const x = k * 0.66;
        mesh.box(body, x, 0, 0.05, x + 0.56, 0.6, 0.98, "lrfb");
        mesh.box(lid, x - 0.02, -0.05, 0.98, x + 0.58, 0.66, 1.07);
      }
      break;
    }
    case 1: {
      const wood: Paint = { material: MATERIAL.wood, colour: [0.25, 0.15, 0.08] };
      mesh.box(wood, 0, 0, 0.4, 1.7, 0.45, 0.46, "lrfbtd");
      mesh.box(wood, 0, 0.42, 0.46, 1.7, 0.47, 0.9, "lrfbtd");
      for (const x of [0.15, 1.45]) {
        mesh.box({ material: MATERIAL.plain, colour: DARK }, x, 0.05, 0, x + 0.08, 0.42, 0.4);
      }
      break;
    }
    case 2:
      mesh.box({ material: MATERIAL.concrete, colour: [0.42, 0.44, 0.4] }, 0, 0, 0, 0.9, 0.35, 1.15);
      break;
    case 3:
      for (let k = 0; k < 4; k++) {
        mesh.tube(
          { material: MATERIAL.plain, colour: k % 2 ? DARK : [0.45, 0.1, 0.06] },
          k * 1.4,
          0,
          0,
          0.9,
          0.07,
          0.06,
          6,
        );
      }
      break;
    case 4:
      mesh.tube({ material: MATERIAL.plain, colour: [0.7, 0.55, 0.05] }, 0, 0, 0, 1.2, 0.2, 0.2, 8);
      mesh.tube(
        { material: MATERIAL.sign, colour: [0.5, 0.5, 0.5], a: 3, seed: random.below(99) },
        3,
        0,
        0.1,
        2.8,
        0.62,
        0.62,
        10,
      );
      break;
  }
}

/** A fence, wall or railing along local x from 0 to `length`, its street side at y = 0. */
export function addFence(mesh: Mesh, length: number, random: Random): void {
  const seed = random.below(4096);
  switch (random.below(5)) {
    case 0: {
      const h = random.uniform(0.8, 1.9);
      mesh.box(
        {
          material: MATERIAL.wood,
          colour: random.pick<Rgb>([[0.3, 0.2, 0.11], [0.2, 0.13, 0.08], [0.45, 0.43, 0.4]]),
          seed,
          a: 1,
        },
        0,
        0,
        -0.2,
        length,
        0.06,
        h,
      );
      break;
    }
    case 1: {
      const h = random.uniform(0.5, 2);
      mesh.box(
        {
          material: MATERIAL.stone,
          colour: random.pick<Rgb>([[0.3, 0.15, 0.1], [0.4, 0.38, 0.34], [0.5, 0.48, 0.44]]),
          seed,
        },
        0,
        0,
        -0.4,
        length,
        0.24,
        h,
        "lrfb",
      );
      mesh.box(
        { material: MATERIAL.concrete, colour: [0.42, 0.41, 0.39], seed },
        -0.03,
        -0.04,
        h,
        length + 0.03,
        0.28,
        h + 0.09,
      );
      break;
    }
    case 2: {
      const h = random.uniform(0.9, 1.3);
      const rail: Paint = {
        material: MATERIAL.plain,
        colour: random.chance(0.6) ? [0.04, 0.05, 0.05] : [0.5, 0.5, 0.5],
        mask: MASK.railing,
        twoSided: true,
      };
      mesh.box(
        { material: MATERIAL.concrete, colour: [0.4, 0.39, 0.37], seed },
        0,
        0,
        -0.4,
        length,
        0.22,
        0.3,
      );
      mesh.face(rail, [0, 0.1, 0.3, length, 0.1, 0.3, length, 0.1, 0.3 + h, 0, 0.1, 0.3 + h], [0, 0.1, 0.3], [
        0.9,
        1 / h,
      ]);
      break;
    }
    case 3: {
      const h = random.uniform(1.2, 2);
      const mesh6: Paint = {
        material: MATERIAL.plain,
        colour: [0.1, 0.16, 0.12],
        mask: MASK.mesh,
        twoSided: true,
      };
      mesh.face(mesh6, [0, 0.05, 0, length, 0.05, 0, length, 0.05, h, 0, 0.05, h], [0, 0.05, 0], [
        2.2,
        1 / h,
      ]);
      for (let x = 0; x <= length; x += 2.5) {
        mesh.tube(
          { material: MATERIAL.plain, colour: [0.12, 0.17, 0.13] },
          x,
          0.08,
          -0.2,
          h + 0.05,
          0.03,
          0.03,
          4,
        );
      }
      break;
    }
    case 4: {
      const h = random.uniform(0.7, 1.1);
      const wood: Paint = {
        material: MATERIAL.wood,
        colour: [0.55, 0.53, 0.5],
        mask: MASK.railing,
        twoSided: true,
        seed,
      };
      mesh.face(wood, [0, 0.03, 0.02, length, 0.03, 0.02, length, 0.03, h, 0, 0.03, h], [0, 0.03, 0.02], [
        0.55,
        1 / h,
      ]);
      break;
    }
  }
}

/** A steel guard rail along local x, its road side at y = 0. */
export function addGuardRail(mesh: Mesh, length: number): void {
  const steel: Paint = { material: MATERIAL.plain, colour: [0.42, 0.43, 0.44], a: 2 };
  mesh.box(steel, 0, 0, 0.42, length, 0.05, 0.56);
  mesh.box(steel, 0, -0.03, 0.56, length, 0.05, 0.72, "lrfbtd");
  for (let x = 0.5; x < length; x += 2) mesh.box(steel, x, 0.06, -0.3, x + 0.09, 0.16, 0.66, "lrfb");
}

/** How a person looks. */
export interface Person {
  /** Albedo of the upper clothes. */
  readonly shirt: Rgb;
  /** Albedo of the trousers. */
  readonly trousers: Rgb;
  /** Albedo of the hair. */
  readonly hair: Rgb;
  /** m */
  readonly height: number;
}

/** A walking person facing +y; `stride` in [-1, 1] swings legs and arms. */
export function addPerson(mesh: Mesh, person: Person, stride: number): void {
  const k = person.height / 1.75;
  const cloth: Paint = { material: MATERIAL.cloth, colour: person.shirt, seed: 3 };
  const legs: Paint = { material: MATERIAL.cloth, colour: person.trousers, seed: 4 };
  for (const side of [-1, 1]) {
    const x = side * 0.1 * k, swing = side * stride * 0.3 * k;
    limb(mesh, legs, x, 0, 0.86 * k, x, swing, 0.05, 0.085 * k);
    limb(mesh, cloth, side * 0.24 * k, 0, 1.4 * k, side * 0.26 * k, -swing * 0.8, 0.85 * k, 0.055 * k);
  }
  mesh.tube(cloth, 0, 0, 0.84 * k, 1.2 * k, 0.17 * k, 0.2 * k, 8);
  mesh.tube(cloth, 0, 0, 1.2 * k, 1.48 * k, 0.2 * k, 0.12 * k, 8);
  const skin: Rgb = [0.45, 0.28, 0.2];
  mesh.tube({ material: MATERIAL.cloth, colour: skin }, 0, 0.01, 1.46 * k, 1.64 * k, 0.075 * k, 0.1 * k, 7);
  mesh.tube(
    { material: MATERIAL.cloth, colour: person.hair },
    0,
    -0.015,
    1.63 * k,
    1.76 * k,
    0.108 * k,
    0.05 * k,
    7,
  );
}

function limb(
  mesh: Mesh,
  paint: Paint,
  x0: number,
  y0: number,
  z0: number,
  x1: number,
  y1: number,
  z1: number,
  r: number,
): void {
  const corners = [[-1, -1], [1, -1], [1, 1], [-1, 1]];
  for (let i = 0; i < 4; i++) {
    const [a, b] = corners[i], [c, d] = corners[(i + 1) % 4];
    mesh.face(paint, [
      ...[x1 + a * r, y1 + b * r, z1, x1 + c * r, y1 + d * r, z1],
      ...[x0 + c * r, y0 + d * r, z0, x0 + a * r, y0 + b * r, z0],
    ]);
  }
}
