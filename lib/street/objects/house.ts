/**
 * Houses: walls whose windows, doors and shop fronts are drawn by the facade's description, with the parts that stand
 * out (balconies, cornices, awnings, chimneys, dormers) and the roof as faces.
 *
 * @module
 */
import type { Random } from "../../base/random.ts";
import { type Mesh, type Paint, paint, type Rgb, tinted } from "../mesh.ts";
import { MASK } from "../noise.ts";

/** What the `facade` material draws on a wall; lengths in m. */
export interface Facade {
  readonly wall: "plaster" | "brick" | "panels" | "metal";
  /** Height of the upper stories and of the ground floor. */
  readonly floor: number;
  readonly ground: number;
  /** Width of one window axis, and where the first starts. */
  readonly bay: number;
  readonly margin: number;
  readonly windowWidth: number;
  readonly windowHeight: number;
  /** Height of the sills above their floor. */
  readonly sill: number;
  readonly frame: Rgb;
  /** Width of a shutter; 0 = none. */
  readonly shutters: number;
  readonly shutter: Rgb;
  /** The ground floor is of glass. */
  readonly shop: boolean;
  /** No windows above this height. */
  readonly top: number;
  /** Which axis has the door; -1 = none. */
  readonly doorAxis: number;
  /** Height of the plinth; 0 = none. */
  readonly plinth: number;
  readonly width: number;
  /** String courses between stories. */
  readonly bands: boolean;
}

/** A house's body. */
export interface House {
  /** Along the street, m. */
  readonly width: number;
  /** Away from the street, m. */
  readonly depth: number;
  /** The ground floor included. */
  readonly stories: number;
  readonly kind: "town" | "home" | "block" | "hall";
  /** Its ground floor is a shop. */
  readonly shop?: boolean;
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
const FRAMES: readonly Rgb[] = [[0.16, 0.09, 0.05], [0.05, 0.06, 0.06], [0.1, 0.17, 0.13]];
const SHUTTERS: readonly Rgb[] = [[0.1, 0.2, 0.12], [0.25, 0.08, 0.05], [0.13, 0.16, 0.22], [0.3, 0.2, 0.1]];
/** Shop signs and awnings. */
const VIVID: readonly Rgb[] = [
  [0.5, 0.04, 0.04],
  [0.04, 0.12, 0.42],
  [0.04, 0.3, 0.1],
  [0.6, 0.4, 0.03],
  [0.05, 0.05, 0.06],
  [0.4, 0.05, 0.25],
];

/**
 * Adds a house whose front stands on local y = 0 from x = 0 to its width, seen from negative y.
 *
 * @param facades Receives what its walls look like.
 */
export function addHouse(mesh: Mesh, facades: Facade[], house: House, random: Random): void {
  const { width: w, depth: d, shop = false } = house;
  const hall = house.kind === "hall", block = house.kind === "block", town = house.kind === "town";
  const floor = hall ? random.uniform(3.6, 5) : random.uniform(2.7, 3.4);
  const ground = town ? floor + random.uniform(0.2, 0.9) : floor;
  const wall = hall
    ? random.pick(["panels", "metal", "metal", "brick"] as const)
    : block
    ? random.pick(["plaster", "panels", "panels"] as const)
    : random.pick(["plaster", "plaster", "plaster", "brick"] as const);
  const color = tinted(random.pick(wall === "brick" ? BRICKS : WALLS), random, 0.12);
  const plinth = random.chance(0.7) ? random.uniform(0.3, 0.9) : 0;
  const h = ground + (house.stories - 1) * floor + random.uniform(0.2, 0.7);
  const wide = hall || block, bay = wide ? random.uniform(2.2, 4) : random.uniform(1.9, 3.1);
  const axes = Math.max(1, Math.floor((w - 0.8) / bay));
  const windowWidth = Math.min(bay - 0.5, wide ? random.uniform(1.3, bay - 0.4) : random.uniform(0.9, 1.5));
  const windowHeight = Math.min(floor - 0.9, town ? random.uniform(1.5, 2.1) : random.uniform(1.1, 1.6));
  const frame: Rgb = random.chance(0.65) ? [0.72, 0.72, 0.7] : random.pick(FRAMES);
  const shuttered = wall !== "panels" && wall !== "metal" &&
    random.chance(house.kind === "home" ? 0.45 : 0.2);
  const shutters = shuttered ? Math.min(0.5, (bay - windowWidth) / 2 - 0.03) : 0;
  const shutter = random.pick(SHUTTERS), sign = random.pick(VIVID), seed = random.below(1 << 20);
  const common = { wall, floor, ground, bay, windowWidth, windowHeight, frame, shutters, shutter, plinth };
  const addFacade = (own: Pick<Facade, "width" | "margin" | "doorAxis" | "shop" | "top">) =>
    facades.push({ ...common, ...own, sill: random.uniform(0.75, 1), bands: random.chance(0.4) }) - 1;
  const margin = (w - axes * bay) / 2;
  const front = addFacade({ width: w, margin, doorAxis: random.below(axes), shop, top: h - 0.3 });
  const sideAxes = Math.max(1, Math.floor((d - 1.5) / bay)), sideMargin = (d - sideAxes * bay) / 2;
  const top = random.chance(town ? 0.7 : 0.25) ? 0 : h - 0.3;
  const side = addFacade({ width: d, margin: sideMargin, doorAxis: -1, shop: false, top });
  const facade = paint("facade", color, { a: front, seed }),
    gable = paint("facade", color, { a: side, seed: seed + 1 });
  const foot = -1.2;
  mesh.face(facade, [0, 0, foot, w, 0, foot, w, 0, h, 0, 0, h]);
  mesh.face(gable, [w, 0, foot, w, d, foot, w, d, h, w, 0, h], [w, 0, 0]);
  mesh.face(gable, [0, d, foot, 0, 0, foot, 0, 0, h, 0, d, h], [0, d, 0]);
  mesh.face(gable, [w, d, foot, 0, d, foot, 0, d, h, w, d, h], [w, d, 0]);
  addRoof(mesh, house, facade, gable, h, random);
  const cornice = paint("concrete", tinted(color, random, 0.2), { seed });
  if (!hall && random.chance(0.6)) {
    mesh.box(cornice, [-0.05, -random.uniform(0.12, 0.35), h - 0.28], [w + 0.05, 0, h], "lrbtd");
  }
  if (shop) {
    mesh.box(
      paint("sign", sign, { a: 1, seed }),
      [0.2, -0.12, ground - 0.75],
      [w - 0.2, 0, ground - 0.1],
      "lrbtd",
    );
    if (random.chance(0.5)) addAwning(mesh, w, ground, random);
  }
  for (let story = 1; story < house.stories && !hall; story++) {
    if (!random.chance(0.22)) continue;
    for (let k = 0; k < axes; k++) {
      if (k % 2 !== seed % 2 && axes >= 3) continue;
      const x = margin + (k + 0.5) * bay, z = ground + (story - 1) * floor;
      addBalcony(mesh, x, z, Math.min(bay - 0.2, windowWidth + 1), random.uniform(0.8, 1.3), seed);
    }
  }
}

function addRoof(mesh: Mesh, house: House, front: Paint, gable: Paint, h: number, random: Random): void {
  const { width: w, depth: d, kind } = house, home = kind === "home";
  const roof = paint("roof", tinted(random.pick(ROOFS), random, 0.15), { seed: random.below(1000) });
  if (random.chance({ hall: 0.85, block: 0.85, town: 0.2, home: 0.05 }[kind])) {
    mesh.face(paint("gravel", [0.2, 0.2, 0.2]), [0, 0, h, w, 0, h, w, d, h, 0, d, h]);
    const edge = paint("concrete", [0.35, 0.35, 0.34]);
    mesh.box(edge, [-0.06, -0.08, h - 0.1], [w + 0.06, 0.2, h + 0.5]);
    mesh.box(edge, [-0.06, 0.2, h - 0.1], [0.2, d, h + 0.5]);
    mesh.box(edge, [w - 0.2, 0.2, h - 0.1], [w + 0.06, d, h + 0.5]);
    if (random.chance(0.5)) mesh.box(edge, [w * 0.3, d * 0.4, h], [w * 0.55, d * 0.75, h + 2.2]);
    return;
  }
  // The eaves stand out by o, and with them the roof's underside can be seen.
  const pitch = random.uniform(0.45, 1), o = home ? 0.45 : 0.2, lo = h - o * pitch;
  const slope: Paint = { ...roof, twoSided: true };
  if (home && random.chance(0.45)) {
    // Ridge away from the street: the gable faces it.
    const r = h + pitch * w / 2;
    mesh.face(front, [0, 0, h, w, 0, h, w / 2, 0, r]);
    mesh.face(gable, [w, d, h, 0, d, h, w / 2, d, r], [w, d, 0]);
    mesh.face(slope, [-o, d + o, lo, -o, -o, lo, w / 2, -o, r, w / 2, d + o, r]);
    mesh.face(slope, [w + o, -o, lo, w + o, d + o, lo, w / 2, d + o, r, w / 2, -o, r]);
    addChimney(mesh, w * 0.62, d * 0.5, r - 0.8, random);
    return;
  }
  const r = h + pitch * d / 2, hip = random.chance(0.3) ? Math.min(d / 2, w / 2 - 0.2) : 0;
  if (hip === 0) {
    mesh.face(gable, [w, 0, h, w, d, h, w, d / 2, r], [w, 0, 0]);
    mesh.face(gable, [0, d, h, 0, 0, h, 0, d / 2, r], [0, d, 0]);
  } else {
    mesh.face(roof, [w, 0, h, w, d, h, w - hip, d / 2, r]);
    mesh.face(roof, [0, d, h, 0, 0, h, hip, d / 2, r]);
  }
  const e = hip !== 0 ? 0 : home ? 0.3 : 0.05;
  mesh.face(slope, [-e, -o, lo, w + e, -o, lo, w - hip + e, d / 2, r, hip - e, d / 2, r]);
  mesh.face(slope, [w + e, d + o, lo, -e, d + o, lo, hip - e, d / 2, r, w - hip + e, d / 2, r]);
  addChimney(mesh, w * random.uniform(0.25, 0.75), d * 0.55, r - 0.9, random);
  if (w > 6 && random.chance(0.5)) addDormers(mesh, w, d * 0.12, h + d * 0.12 * pitch, roof);
}

function addDormers(mesh: Mesh, w: number, y: number, z: number, roof: Paint): void {
  const count = Math.floor(w / 4);
  for (let k = 0; k < count; k++) {
    const x = (k + 0.5) * w / count;
    mesh.box(
      paint("concrete", [0.5, 0.48, 0.45]),
      [x - 0.75, y, z - 0.2],
      [x + 0.75, y + 1.6, z + 1.25],
      "lrb",
    );
    mesh.box(paint("glass", [0.04, 0.045, 0.05]), [x - 0.5, y - 0.01, z + 0.2], [x + 0.5, y, z + 1.1], "b");
    mesh.box(roof, [x - 0.85, y - 0.15, z + 1.25], [x + 0.85, y + 2, z + 1.4]);
  }
}

function addChimney(mesh: Mesh, x: number, y: number, z: number, random: Random): void {
  if (random.chance(0.3)) return;
  mesh.box(paint("stone", [0.3, 0.14, 0.1]), [x - 0.35, y - 0.3, z - 1], [x + 0.35, y + 0.3, z + 1.7]);
}

function addBalcony(mesh: Mesh, x: number, z: number, width: number, out: number, seed: number): void {
  const a = x - width / 2, b = x + width / 2;
  mesh.box(paint("concrete", [0.45, 0.44, 0.42], { seed }), [a, -out, z - 0.16], [b, 0, z], "lrbtd");
  if (seed % 3 === 0) {
    mesh.box(paint("plain", [0.5, 0.5, 0.48]), [a, -out, z], [b, -out + 0.05, z + 0.95], "lrbft");
  } else {
    const rail = paint("plain", [0.06, 0.06, 0.065], { mask: MASK.railing, twoSided: true });
    mesh.box(rail, [a + 0.02, -out + 0.02, z], [b - 0.02, 0, z + 1], "blr");
  }
}

function addAwning(mesh: Mesh, w: number, ground: number, random: Random): void {
  const out = random.uniform(1, 1.8), z = ground - 0.8, lo = z - random.uniform(0.3, 0.7);
  const cloth = paint("awning", random.pick(VIVID), { a: random.below(2), twoSided: true });
  const a = random.uniform(0.2, 0.8), b = w - random.uniform(0.2, 0.8);
  mesh.face(cloth, [a, -out, lo, b, -out, lo, b, 0, z, a, 0, z], [a, -out, lo]);
  mesh.face(cloth, [a, -out, lo - 0.2, b, -out, lo - 0.2, b, -out, lo, a, -out, lo], [a, -out, z]);
}
