/**
 * Houses: walls whose windows, doors and shop fronts are drawn by the facade's style, with the parts that stand out
 * (sills, balconies, cornices, awnings, chimneys, dormers) and the roof as faces.
 *
 * @module
 */
import type { Random } from "../../base/random.ts";
import { MATERIAL, type Mesh, type Paint, type Rgb } from "../mesh.ts";
import { MASK } from "../noise.ts";

/** Numbers that describe one facade; offsets into {@linkcode Styles.rows}. */
export const STYLE = {
  wall: 0, // 3: albedo
  kind: 3, // 0 plaster, 1 brick, 2 panels, 3 sheet metal
  floor: 4, // height of a storey, m
  ground: 5, // height of the ground floor, m
  bay: 6, // width of one window axis, m
  margin: 7, // first axis starts here, m
  windowWidth: 8,
  windowHeight: 9,
  sill: 10, // height of the sill above its floor, m
  frame: 11, // 3: albedo
  shutters: 14, // width of a shutter, m; 0 = none
  shutter: 15, // 3: albedo
  shop: 18, // 1: ground floor of glass
  sign: 19, // 3: albedo of the shop's sign
  top: 22, // no windows above this height, m
  doorAxis: 23, // which axis has the door
  plinth: 24, // height of the plinth, m
  width: 25, // width of the wall with windows, m
  seed: 26,
  bands: 27, // 1: string courses between storeys
  stride: 32,
} as const;

/** The facades of a scene, {@linkcode STYLE}.stride numbers each. */
export class Styles {
  /** {@linkcode STYLE}.stride numbers per style. */
  rows = new Float64Array(STYLE.stride * 64);
  /** How many styles there are. */
  count = 0;

  /** Stores a style and returns its index. */
  add(values: readonly number[]): number {
    if ((this.count + 1) * STYLE.stride > this.rows.length) {
      const bigger = new Float64Array(this.rows.length * 2);
      bigger.set(this.rows);
      this.rows = bigger;
    }
    this.rows.set(values, this.count * STYLE.stride);
    return this.count++;
  }
}

/** A house's body. */
export interface House {
  /** Along the street, away from it, and up to the eaves, m. */
  readonly width: number;
  /** Away from the street, m. */
  readonly depth: number;
  /** Storeys, the ground floor included. */
  readonly storeys: number;
  /** What it is. */
  readonly kind: "town" | "home" | "block" | "hall";
  /** Its ground floor is a shop. */
  readonly shop: boolean;
}

const WALLS: readonly Rgb[] = [
  [0.62, 0.58, 0.48],
  [0.7, 0.66, 0.58],
  [0.55, 0.42, 0.27],
  [0.62, 0.5, 0.33],
  [0.5, 0.5, 0.47],
  [0.72, 0.7, 0.66],
  [0.45, 0.27, 0.19],
  [0.42, 0.47, 0.44],
  [0.57, 0.36, 0.26],
  [0.4, 0.43, 0.5],
  [0.66, 0.6, 0.36],
  [0.36, 0.33, 0.3],
];
const BRICKS: readonly Rgb[] = [[0.3, 0.12, 0.075], [0.36, 0.17, 0.1], [0.25, 0.13, 0.1], [0.42, 0.3, 0.2]];
const ROOFS: readonly Rgb[] = [
  [0.3, 0.1, 0.06],
  [0.22, 0.08, 0.055],
  [0.1, 0.1, 0.11],
  [0.16, 0.12, 0.1],
  [0.36, 0.16, 0.09],
];
const VIVID: readonly Rgb[] = [
  [0.5, 0.04, 0.04],
  [0.04, 0.12, 0.42],
  [0.04, 0.3, 0.1],
  [0.6, 0.4, 0.03],
  [0.05, 0.05, 0.06],
  [0.4, 0.05, 0.25],
];

/** Adds a house whose front stands on local y = 0 from x = 0 to its width, seen from negative y. */
export function addHouse(mesh: Mesh, styles: Styles, house: House, random: Random): void {
  const { width: w, depth: d } = house;
  const hall = house.kind === "hall";
  const storey = hall ? random.uniform(3.6, 5) : random.uniform(2.7, 3.4);
  const ground = house.kind === "town" ? storey + random.uniform(0.2, 0.9) : storey;
  const kind = hall
    ? random.pick([2, 3, 3, 1])
    : house.kind === "block"
    ? random.pick([0, 2, 2])
    : random.pick([0, 0, 0, 1]);
  const wall = tinted(kind === 1 ? random.pick(BRICKS) : random.pick(WALLS), random, 0.12);
  const plinth = random.chance(0.7) ? random.uniform(0.3, 0.9) : 0;
  const h = ground + (house.storeys - 1) * storey + random.uniform(0.2, 0.7);
  const wide = hall || house.kind === "block";
  const bay = wide ? random.uniform(2.2, 4) : random.uniform(1.9, 3.1);
  const axes = Math.max(1, Math.floor((w - 0.8) / bay));
  const windowWidth = Math.min(bay - 0.5, wide ? random.uniform(1.3, bay - 0.4) : random.uniform(0.9, 1.5));
  const windowHeight = Math.min(
    storey - 0.9,
    house.kind === "town" ? random.uniform(1.5, 2.1) : random.uniform(1.1, 1.6),
  );
  const frame: Rgb = random.chance(0.65)
    ? [0.72, 0.72, 0.7]
    : random.pick([[0.16, 0.09, 0.05], [0.05, 0.06, 0.06], [0.1, 0.17, 0.13]] as const);
  const shutters = kind !== 2 && kind !== 3 && random.chance(house.kind === "home" ? 0.45 : 0.2)
    ? Math.min(0.5, (bay - windowWidth) / 2 - 0.03)
    : 0;
  const shutter = random.pick(
    [[0.1, 0.2, 0.12], [0.25, 0.08, 0.05], [0.13, 0.16, 0.22], [0.3, 0.2, 0.1]] as const,
  );
  const sign = random.pick(VIVID);
  const seed = random.below(1 << 20);
  const describe = (width: number, margin: number, door: number, shop: boolean, top: number) =>
    styles.add([
      ...[...wall, kind, storey, ground, bay, margin, windowWidth, windowHeight],
      ...[random.uniform(0.75, 1.0), ...frame, shutters, ...shutter],
      ...[shop ? 1 : 0, ...sign, top, door, plinth, width, seed, random.chance(0.4) ? 1 : 0],
    ]);
  const margin = (w - axes * bay) / 2;
  const front = describe(w, margin, random.below(axes), house.shop, h - 0.3);
  const sideAxes = Math.max(1, Math.floor((d - 1.5) / bay));
  const blank = house.kind === "town" ? random.chance(0.7) : random.chance(0.25);
  const side = describe(d, (d - sideAxes * bay) / 2, -1, false, blank ? 0 : h - 0.3);
  const foot = -1.2;
  const facade: Paint = { material: MATERIAL.facade, colour: wall, a: front, seed };
  const gable: Paint = { material: MATERIAL.facade, colour: wall, a: side, seed: seed + 1 };
  mesh.face(facade, [0, 0, foot, w, 0, foot, w, 0, h, 0, 0, h], [0, 0, 0]);
  mesh.face(gable, [w, 0, foot, w, d, foot, w, d, h, w, 0, h], [w, 0, 0]);
  mesh.face(gable, [0, d, foot, 0, 0, foot, 0, 0, h, 0, d, h], [0, d, 0]);
  mesh.face(gable, [w, d, foot, 0, d, foot, 0, d, h, w, d, h], [w, d, 0]);

  addRoof(mesh, house, facade, gable, h, random);
  const plain: Paint = { material: MATERIAL.concrete, colour: tinted(wall, random, 0.2), seed };
  if (!hall && random.chance(0.6)) {
    mesh.box(plain, -0.05, -random.uniform(0.12, 0.35), h - 0.28, w + 0.05, 0, h, "lrbtd");
  }
  if (house.shop) {
    mesh.box(
      { material: MATERIAL.sign, colour: sign, a: 1, seed },
      0.2,
      -0.12,
      ground - 0.75,
      w - 0.2,
      0,
      ground - 0.1,
      "lrbtd",
    );
    if (random.chance(0.5)) addAwning(mesh, w, ground, random);
  }
  for (let floor = 0; floor < house.storeys; floor++) {
    const z = floor === 0 ? 0 : ground + (floor - 1) * storey;
    if (floor === 0 && house.shop) continue;
    const balcony = floor > 0 && !hall && random.chance(0.22);
    for (let k = 0; k < axes; k++) {
      const x = margin + (k + 0.5) * bay;
      if (balcony && (k % 2 === seed % 2 || axes < 3)) {
        addBalcony(mesh, x, z, Math.min(bay - 0.2, windowWidth + 1), random.uniform(0.8, 1.3), seed);
      }
    }
  }
}

function addRoof(mesh: Mesh, house: House, front: Paint, gable: Paint, h: number, random: Random): void {
  const { width: w, depth: d } = house;
  const roof: Paint = {
    material: MATERIAL.roof,
    colour: tinted(random.pick(ROOFS), random, 0.15),
    seed: random.below(1000),
  };
  const flat = house.kind === "hall" || house.kind === "block" ? 0.85 : house.kind === "town" ? 0.2 : 0.05;
  if (random.chance(flat)) {
    mesh.face({ material: MATERIAL.gravel, colour: [0.2, 0.2, 0.2] }, [0, 0, h, w, 0, h, w, d, h, 0, d, h]);
    const edge: Paint = { material: MATERIAL.concrete, colour: [0.35, 0.35, 0.34] };
    mesh.box(edge, -0.06, -0.08, h - 0.1, w + 0.06, 0.2, h + 0.5);
    mesh.box(edge, -0.06, 0.2, h - 0.1, 0.2, d, h + 0.5);
    mesh.box(edge, w - 0.2, 0.2, h - 0.1, w + 0.06, d, h + 0.5);
    if (random.chance(0.5)) mesh.box(edge, w * 0.3, d * 0.4, h, w * 0.55, d * 0.75, h + 2.2);
    return;
  }
  const pitch = random.uniform(0.45, 1.0), o = house.kind === "home" ? 0.45 : 0.2;
  if (house.kind === "home" && random.chance(0.45)) {
    // Ridge away from the street: the gable faces it.
    const r = h + pitch * w / 2;
    mesh.face(front, [0, 0, h, w, 0, h, w / 2, 0, r], [0, 0, 0]);
    mesh.face(gable, [w, d, h, 0, d, h, w / 2, d, r], [w, d, 0]);
    const lo = h - o * pitch;
    mesh.face({ ...roof, twoSided: true }, [-o, d + o, lo, -o, -o, lo, w / 2, -o, r, w / 2, d + o, r]);
    mesh.face({ ...roof, twoSided: true }, [w + o, -o, lo, w + o, d + o, lo, w / 2, d + o, r, w / 2, -o, r]);
    chimney(mesh, w * 0.62, d * 0.5, r - 0.8, random);
    return;
  }
  const r = h + pitch * d / 2, lo = h - o * pitch;
  const hip = random.chance(0.3) ? Math.min(d / 2, w / 2 - 0.2) : 0;
  if (hip === 0) {
    mesh.face(gable, [w, 0, h, w, d, h, w, d / 2, r], [w, 0, 0]);
    mesh.face(gable, [0, d, h, 0, 0, h, 0, d / 2, r], [0, d, 0]);
  } else {
    mesh.face(roof, [w, 0, h, w, d, h, w - hip, d / 2, r]);
    mesh.face(roof, [0, d, h, 0, 0, h, hip, d / 2, r]);
  }
  const e = hip === 0 ? (house.kind === "home" ? 0.3 : 0.05) : 0;
  const slope = { ...roof, twoSided: true };
  mesh.face(slope, [-e, -o, lo, w + e, -o, lo, w - hip + e, d / 2, r, hip - e, d / 2, r]);
  mesh.face(slope, [w + e, d + o, lo, -e, d + o, lo, hip - e, d / 2, r, w - hip + e, d / 2, r]);
  chimney(mesh, w * random.uniform(0.25, 0.75), d * 0.55, r - 0.9, random);
  if (w > 6 && random.chance(0.5)) {
    // Dormers.
    const count = Math.max(1, Math.floor(w / 4));
    for (let k = 0; k < count; k++) {
      const x = (k + 0.5) * w / count, y = d * 0.12, z = h + y * pitch;
      const face: Paint = { material: MATERIAL.glass, colour: [0.04, 0.045, 0.05], a: 0 };
      mesh.box(
        { material: MATERIAL.concrete, colour: [0.5, 0.48, 0.45] },
        x - 0.75,
        y,
        z - 0.2,
        x + 0.75,
        y + 1.6,
        z + 1.25,
        "lrb",
      );
      mesh.box(face, x - 0.5, y - 0.01, z + 0.2, x + 0.5, y, z + 1.1, "b");
      mesh.box(roof, x - 0.85, y - 0.15, z + 1.25, x + 0.85, y + 2, z + 1.4);
    }
  }
}

function chimney(mesh: Mesh, x: number, y: number, z: number, random: Random): void {
  if (random.chance(0.3)) return;
  mesh.box(
    { material: MATERIAL.stone, colour: [0.3, 0.14, 0.1] },
    x - 0.35,
    y - 0.3,
    z - 1,
    x + 0.35,
    y + 0.3,
    z + 1.7,
  );
}

function addBalcony(mesh: Mesh, x: number, z: number, width: number, out: number, seed: number): void {
  mesh.box(
    { material: MATERIAL.concrete, colour: [0.45, 0.44, 0.42], seed },
    x - width / 2,
    -out,
    z - 0.16,
    x + width / 2,
    0,
    z,
    "lrbtd",
  );
  if (seed % 3 === 0) {
    mesh.box(
      { material: MATERIAL.plain, colour: [0.5, 0.5, 0.48] },
      x - width / 2,
      -out,
      z,
      x + width / 2,
      -out + 0.05,
      z + 0.95,
      "lrbft",
    );
    return;
  }
  const rail: Paint = {
    material: MATERIAL.plain,
    colour: [0.06, 0.06, 0.065],
    mask: MASK.railing,
    twoSided: true,
  };
  const y = -out + 0.02, a = x - width / 2 + 0.02, b = x + width / 2 - 0.02, t = z + 1;
  mesh.face(rail, [a, y, z, b, y, z, b, y, t, a, y, t], [a, y, z], [1, 1]);
  mesh.face(rail, [a, 0, z, a, y, z, a, y, t, a, 0, t], [a, 0, z], [1, 1]);
  mesh.face(rail, [b, y, z, b, 0, z, b, 0, t, b, y, t], [b, y, z], [1, 1]);
}

function addAwning(mesh: Mesh, w: number, ground: number, random: Random): void {
  const out = random.uniform(1, 1.8), z = ground - 0.8, drop = random.uniform(0.3, 0.7);
  const colour = random.pick(VIVID);
  const cloth: Paint = { material: MATERIAL.awning, colour, a: random.below(2), twoSided: true };
  const a = random.uniform(0.2, 0.8), b = w - random.uniform(0.2, 0.8);
  mesh.face(cloth, [a, -out, z - drop, b, -out, z - drop, b, 0, z, a, 0, z], [a, -out, z - drop]);
  mesh.face(cloth, [a, -out, z - drop - 0.2, b, -out, z - drop - 0.2, b, -out, z - drop, a, -out, z - drop], [
    a,
    -out,
    z,
  ]);
}

/** A colour moved a little, in brightness and in each channel. */
export function tinted(colour: Rgb, random: Random, by: number): Rgb {
  const k = 1 + random.uniform(-by, by);
  return [0, 1, 2].map((i) =>
    Math.min(0.9, colour[i] * k * (1 + random.uniform(-by, by) / 3))
  ) as unknown as Rgb;
}
