/**
 * What each material looks like at a point: albedo, and how it mirrors. Patterns are integrated over the pixel's
 * footprint, so that they fade to their mean instead of flickering.
 *
 * @module
 */
import { F, MATERIAL, type Material, STRIDE } from "./mesh.ts";
import { cellValue, cover, coverPeriodic, detail, maskTone, stretchedDetail, valueNoise } from "./noise.ts";
import type { Facade } from "./objects/house.ts";
import type { RoadLook } from "./layout.ts";
import type { Scene } from "./scene.ts";

// Both are made once and refilled: numbers passed and returned one by one would be allocated by V8.

/** The point of a face that {@linkcode surfaceAt} is asked about. */
export const spot = {
  /** Texture position in m; on faces with masks 0..1. */
  u: 0.5,
  v: 0.5,
  /** The pixel's footprint along u and v, and the larger of them. */
  fu: 0.5,
  fv: 0.5,
  foot: 0.5,
  /** The face's own numbers; see `Paint`. */
  a: 0.5,
  b: 0.5,
  seed: 0.5,
  mask: 0,
};
type Spot = Readonly<typeof spot>;

/** The answer of {@linkcode surfaceAt}. */
export const surface = {
  /** Albedo: red, green, blue. */
  color: new Float64Array(3),
  /** Share of light mirrored head-on, 0..1. */
  mirror: 0.5,
  /** Exponent of the sun's highlight; 0 for none. */
  gloss: 0.5,
  /** Radiance it emits itself, as a share of its albedo. */
  glow: 0.5,
};
const color = surface.color;

function set(r: number, g: number, b: number): void {
  color[0] = r;
  color[1] = g;
  color[2] = b;
}

function scale(k: number): void {
  color[0] *= k;
  color[1] *= k;
  color[2] *= k;
}

/** Blends toward a color by a share k. */
function blend(r: number, g: number, b: number, k: number): void {
  color[0] += (r - color[0]) * k;
  color[1] += (g - color[1]) * k;
  color[2] += (b - color[2]) * k;
}

function mirrors(share: number, gloss: number): void {
  surface.mirror = share;
  surface.gloss = gloss;
}

function clamp01(x: number): number {
  return x < 0 ? 0 : x > 1 ? 1 : x;
}

/** How each material changes {@linkcode surface} from the face's plain albedo. */
const SURFACES: Readonly<Record<Material, (spot: Spot, scene: Scene) => void>> = {
  road(spot, scene) {
    road(spot, scene.road);
  },
  sidewalk,
  curb({ u, v, fu, foot }) {
    scale(1 + 0.25 * detail(u, v, foot, 0.02) - 0.5 * coverPeriodic(u, 1, 0.02, fu));
  },
  grass({ u, v, fu, fv, foot }) {
    const n = stretchedDetail(u + 31, v, fu, fv, 0.03), m = detail(u * 0.9, v * 0.9 + 50, foot * 3, 1.5);
    scale(1 + 0.5 * n + 0.25 * m);
    blend(0.22, 0.19, 0.09, clamp01(0.35 * m + 0.1));
  },
  crop({ u, v, fu, fv, foot, a, b }) {
    scale(1 + 0.45 * stretchedDetail(u, v, fu, fv, 0.05) + 0.2 * detail(u * 0.2, v * 0.2, foot * 0.2, 1));
    // Rows b m apart: 0 none, 1 along the road, 2 across it.
    if (a > 0) scale(1 - 0.45 * coverPeriodic(a > 1 ? u : v, b, b * 0.4, a > 1 ? fu : fv));
  },
  gravel({ u, v, fu, fv }) {
    scale(1 + 0.45 * stretchedDetail(u + 7, v, fu, fv, 0.02));
  },
  facade(spot, scene) {
    facade(spot, scene.facades[spot.a]);
  },
  roof({ u, v, fu, fv, foot, seed }) {
    const tile = coverPeriodic(v, 0.34, 0.06, fv), column = coverPeriodic(u, 0.25, 0.04, fu);
    scale(1 + 0.25 * detail(u + seed, v, foot, 0.05) + 0.2 * valueNoise(u * 0.4 + seed, v * 0.4));
    scale((1 - 0.5 * tile) * (1 - 0.3 * column));
  },
  glass({ u, v, seed }) {
    mirrors(0.1, 600);
    scale(1 + 0.5 * valueNoise(u * 2 + 3, v * 2 + seed));
  },
  paint: bodywork,
  wheel({ u, v, foot, a: radius }) {
    // The texture's origin is the hub.
    const d = Math.hypot(u, v), rim = clamp01((0.66 * radius - d) / Math.max(foot, 0.004) + 0.5);
    set(0.022, 0.022, 0.023);
    const spoke = 0.5 + 0.5 * Math.sign(Math.cos(5 * Math.atan2(v, u)));
    const tone = d < 0.14 * radius ? 0.3 : 0.1 + 0.28 * (foot < 0.06 ? spoke : 0.5);
    blend(tone, tone, tone * 1.02, rim);
    mirrors(0.03 * rim, 60);
  },
  plain({ u, v, fu, fv, foot, a, seed }) {
    if (a === 1) {
      // A truck's side: panels, and a name on them.
      scale(1 - 0.25 * coverPeriodic(u, 1.2, 0.03, fu) + 0.12 * detail(u, v + seed, foot, 0.06));
      const letter = cellValue(Math.floor(u / 0.45), 3, seed) > 0.35 ? coverPeriodic(u, 0.45, 0.32, fu) : 0;
      const name = letter * cover(v, 1.2, 1.75, fv) * cover(u, 1, 3.6, fu);
      blend(0.45 * ((seed & 1) + 0.1), 0.1, 0.4 * ((seed >> 1) & 1), 0.85 * name);
    } else scale(1 + 0.1 * detail(u, v, foot, 0.04));
    mirrors(0.02, a === 2 ? 25 : 15);
  },
  leaf({ u, v, foot, seed, mask }) {
    // Each leaf in the mask has its own tone.
    scale(maskTone(mask, u, v, foot) * (1 + 0.4 * detail(u + seed, v, foot, 0.2)));
  },
  bark({ u, v, fu, fv, seed }) {
    scale(1 + 0.5 * detail(u * 4 + seed, v, Math.max(fu * 4, fv), 0.05));
  },
  hedge({ u, v, fu, fv, seed }) {
    scale(0.95 + 0.65 * stretchedDetail(u + seed, v, fu, fv, 0.04));
  },
  wood({ u, v, fu, fv, a, seed }) {
    const plank = a > 0 ? coverPeriodic(u, 0.14, 0.018, fu) : 0,
      near = clamp01(0.14 / Math.max(fu, 0.001) - 1);
    scale(1 + near * 0.3 * (cellValue(Math.floor(u / 0.14), 1, seed) - 0.5));
    scale((1 + 0.25 * detail(u * 5 + seed, v * 0.6, Math.max(fu * 5, fv * 0.6), 0.06)) * (1 - 0.7 * plank));
  },
  stone(spot) {
    // Bright stone is cut in large blocks, dark stone is brick.
    const large = color[0] > 0.35;
    bricks(spot, large ? 0.45 : 0.24, large ? 0.22 : 0.08);
  },
  light({ u, v, foot, a }) {
    mirrors(0.08, 300);
    surface.glow = a > 0 ? 1.2 : 0.04;
    scale(1 + 0.3 * detail(u * 3, v * 3, foot * 3, 0.1));
  },
  sign(spot) {
    if (spot.a === 2) trafficSign(spot);
    else if (spot.a === 3) posters(spot);
    else lettering(spot);
  },
  cloth({ u, v, foot, seed }) {
    scale(1 + 0.3 * detail(u * 3 + seed, v * 3, foot * 3, 0.08));
  },
  concrete({ u, v, foot, seed }) {
    scale(1 + 0.2 * detail(u + seed % 31, v, foot, 0.03));
    scale(1 - 0.18 * clamp01(valueNoise(u * 1.7 + seed, v * 0.2) - 0.2));
  },
  awning({ u, v, fu, foot, a }) {
    if (a > 0) blend(0.72, 0.7, 0.66, coverPeriodic(u, 0.6, 0.3, fu));
    scale(1 + 0.1 * detail(u, v, foot, 0.05));
  },
  backdrop({ u, v, seed }) {
    // Mask coordinates over some 50 m.
    scale(1 + 0.55 * detail(u * 45 + seed, v * 22, 0.7, 1.2));
  },
  plate({ u, v, fu, fv, seed }) {
    const ink = cellValue(Math.floor(u / 0.065), 7, seed) > 0.2 ? coverPeriodic(u, 0.065, 0.04, fu) : 0;
    scale(1 - 0.85 * ink * cover(v, 0.025, 0.085, fv));
  },
};
/** By the numbers of {@linkcode MATERIAL}. */
const BY_NUMBER = (Object.keys(MATERIAL) as Material[]).map((name) => SURFACES[name]);

/** The material of a face at {@linkcode spot} (u, v, fu and fv); the answer is in {@linkcode surface}. */
export function surfaceAt(scene: Scene, id: number): void {
  const { data, material, mask } = scene.mesh, at = id * STRIDE;
  spot.foot = spot.fu > spot.fv ? spot.fu : spot.fv;
  spot.a = data[at + F.a];
  spot.b = data[at + F.b];
  spot.seed = data[at + F.seed];
  spot.mask = mask[id];
  set(data[at + F.color], data[at + F.color + 1], data[at + F.color + 2]);
  mirrors(0, 0);
  surface.glow = 0;
  BY_NUMBER[material[id]](spot, scene);
}

/** Vehicles. @param spot `a`: 1 on a car's flanks. `b`: 1 with a firm's name, 2 on a bus. */
function bodywork({ u, v, fu, fv, foot, a, b, seed }: Spot): void {
  const bright = color[0] + color[1] + color[2] > 0.9;
  mirrors(0.045, 250);
  if (b > 1) {
    // A bus is made of panels.
    const seams = coverPeriodic(u, 1.2, 0.02, fu) + cover(v, 0.42, 0.45, fv) + cover(v, 0.96, 0.99, fv);
    scale(1 - 0.5 * clamp01(seams));
    scale(1 - 0.3 * cover(v, 0, 0.45, fv));
  }
  if (a > 0) {
    // Door seams and handles; dirt gathers low.
    const seam = cover(Math.abs(u + 0.05), 0, 0.015, fu) + cover(u, 0.95, 0.97, fu) + cover(u, -1, -0.98, fu);
    scale(1 - 0.75 * clamp01(seam));
    const handle = (cover(u, -0.32, -0.15, fu) + cover(u, 0.68, 0.85, fu)) * cover(v, 0.74, 0.78, fv);
    scale(1 - 0.6 * handle);
    scale(1 - 0.35 * cover(v, 0.2, 0.38, fv));
    if (b === 1) {
      const letter = cellValue(Math.floor(u / 0.22), 3, seed) > 0.3 ? coverPeriodic(u, 0.22, 0.15, fu) : 0;
      const light = bright ? 0.05 : 0.65;
      const name = 0.9 * letter * cover(v, 0.72, 0.98, fv) * cover(Math.abs(u), 0, 1.5, fu);
      blend(light, light * 0.9, 0.4 * (seed % 3), name);
    }
  }
  scale(1 + 0.05 * detail(u + seed % 50, v, foot, 0.08));
}

function road({ u: s, v: t, fu: fs, fv: ft, foot }: Spot, look: RoadLook): void {
  const { laneWidth: lane, seed, wear, half } = look;
  // Grain of every size, streaks along the road where it is seen at a grazing angle, and what traffic leaves.
  const grain = stretchedDetail(s + 40, t, fs, ft, 0.02);
  let tone = 1 + 0.2 * grain + 0.1 * valueNoise(s * 0.11 + seed, t * 0.35);
  const inLane = t - Math.floor(t / lane) * lane - lane / 2, track = Math.abs(inLane) - 0.8;
  tone *= 1 - 0.1 * Math.exp(-track * track * 9) - 0.05 * Math.exp(-inLane * inLane * 12);
  // Each 7 m of a lane may be patched or have a manhole.
  const i = Math.floor(s / 7), j = Math.floor((t + 40) / lane), chance = cellValue(i, j, seed);
  if (chance < 0.3 * wear) {
    const a = s - i * 7, b = t + 40 - j * lane;
    const w = 1.5 + 5 * cellValue(i, j, seed + 1), h = 0.7 + (lane - 0.9) * cellValue(i, j, seed + 2);
    const inside = cover(a, 0.3, 0.3 + w, fs) * cover(b, 0.2, 0.2 + h, ft);
    const edge = inside - cover(a, 0.36, 0.24 + w, fs) * cover(b, 0.26, 0.14 + h, ft);
    tone *= 1 + inside * (chance < 0.16 * wear ? -0.35 : 0.25) - 0.5 * edge;
  } else if (chance > 0.93) {
    const d = Math.hypot(s - i * 7 - 3, t + 40 - (j + 0.5) * lane);
    const lid = clamp01((0.33 - d) / Math.max(foot, 0.01) + 0.5);
    tone *= 1 - 0.45 * lid * (1 + 0.5 * Math.sign(Math.sin(s * 50)) * (foot < 0.06 ? 0.5 : 0));
  }
  if (wear > 0.35 && foot < 0.25) {
    const n = valueNoise(s * 0.45 + seed, t * 0.8) + 0.4 * valueNoise(s * 1.9, t * 1.9 + seed);
    const width = 0.018 + foot * 0.7;
    const crack = clamp01(1 - Math.abs(n) / width) * Math.min(1, 0.018 / width * 1.6);
    tone *= 1 - 0.6 * crack;
  }
  tone *= 1 - 0.3 * cover(Math.abs(t), half - 0.35, half, ft);
  scale(tone);
  const mark = marking(s, t, fs, ft, look);
  if (mark > 0) {
    // Worn through in places.
    const worn = clamp01(0.92 - wear * (0.3 + 0.45 * valueNoise(s * 1.3, t * 5) + 0.35 * grain));
    blend(0.62, 0.61, 0.58, clamp01(mark) * worn);
  }
  if (look.wet > 0) {
    const puddle = clamp01(look.wet * (0.75 + 0.9 * valueNoise(s * 0.25 + 9, t * 0.6 + seed)));
    scale(1 - 0.45 * puddle);
    mirrors(0.05 * puddle, 40 + 300 * puddle);
  }
}

/** The share of a pixel that is painted: middle line, lanes, edges and crossings. */
function marking(s: number, t: number, fs: number, ft: number, look: RoadLook): number {
  const { dash, gap, half, laneWidth } = look, a = Math.abs(t);
  let mark = 0;
  if (look.middle === "dashed") mark = coverPeriodic(s, dash + gap, dash, fs) * cover(t, -0.06, 0.06, ft);
  else if (look.middle === "solid") mark = cover(t, -0.06, 0.06, ft);
  else if (look.middle === "double") mark = cover(a, 0.07, 0.19, ft);
  for (let k = 1; k < look.lanes; k++) {
    mark += coverPeriodic(s, dash + gap, dash, fs) * cover(a, k * laneWidth - 0.06, k * laneWidth + 0.06, ft);
  }
  if (look.edgeLines) mark += cover(a, half - 0.42, half - 0.3, ft);
  for (const c of look.crossings) {
    if (s < c - 6 || s > c + 6) continue;
    mark += cover(s, c - 1.6, c + 1.6, fs) * coverPeriodic(t, 1, 0.5, ft) * cover(a, 0, half - 0.3, ft);
    mark += cover(s, c - 3.2, c - 2.8, fs) * cover(t, 0, half - 0.3, ft);
  }
  return mark;
}

/** Slabs of a size `b` in m, laid (`a`) 0 in a grid, 1 in half bond, 2 seamless. */
function sidewalk({ u, v, fu, fv, foot, a: bond, b: size }: Spot): void {
  scale(1 + 0.2 * stretchedDetail(u + 13, v, fu, fv, 0.02) + 0.12 * valueNoise(u * 0.3, v * 0.7));
  if (bond === 2) return;
  const w = bond === 0 ? size : size * 0.5,
    row = Math.floor(v / w),
    shift = bond === 1 ? (row & 1) * size / 2 : 0;
  const gap = 0.012 + 0.02 * size,
    joint = coverPeriodic(u + shift, size, gap, fu) + coverPeriodic(v, w, gap, fv);
  const near = clamp01(0.5 * w / Math.max(foot, 1e-3) - 0.3);
  scale(1 + near * 0.3 * (cellValue(Math.floor((u + shift) / size), row, 5) - 0.5));
  scale(1 - 0.5 * clamp01(joint));
}

function bricks({ u, v, fu, fv, foot, seed }: Spot, length: number, height: number): void {
  const row = Math.floor(v / height), x = u + (row & 1) * length / 2;
  const near = clamp01(height / Math.max(foot, 1e-3) - 0.6);
  scale(1 + 0.25 * detail(u + seed % 17, v, foot, 0.03));
  scale(1 + near * 0.5 * (cellValue(Math.floor(x / length), row, seed) - 0.5));
  const joint = clamp01(coverPeriodic(x, length, 0.014, fu) + coverPeriodic(v, height, 0.014, fv));
  blend(0.4, 0.38, 0.35, 0.65 * joint);
}

function facade(spot: Spot, f: Facade): void {
  const { u, v, fu, fv, seed } = spot, { ground, floor, margin } = f;
  wall(spot, f);
  const story = v < ground ? 0 : 1 + Math.floor((v - ground) / floor);
  const base = story === 0 ? 0 : ground + (story - 1) * floor;
  if (f.bands && story > 0) {
    scale(1 + 0.3 * cover(v - base, 0, 0.14, fv) - 0.3 * cover(v - base, -0.001, 0.03, fv));
  }
  if (u < margin * 0.5 || u > f.width - margin * 0.5 || v > f.top) return;
  const axis = Math.floor((u - margin) / f.bay), x = u - margin - (axis + 0.5) * f.bay;
  if (story === 0 && f.shop) {
    shopFront(spot, f, axis);
    return;
  }
  if (u < margin || u > f.width - margin) return;
  const door = story === 0 && axis === f.doorAxis;
  const w = door ? 1.05 : f.windowWidth, sill = door ? 0.05 : f.sill;
  const room = story === 0 ? ground : floor;
  const h = door ? Math.min(2.25, ground - 0.4) : Math.min(f.windowHeight, room - sill - 0.25);
  if (base + sill + h > f.top + 0.2) return;
  const y = v - base - sill, ax = Math.abs(x);
  const surround = cover(ax, 0, w / 2 + 0.13, fu) * cover(y, -0.12, h + 0.13, fv);
  if (surround <= 0 && f.shutters === 0) return;
  if (f.bands) blend(0.55, 0.53, 0.5, 0.5 * surround);
  const [r, g, b] = f.shutter;
  if (f.shutters > 0 && !door) {
    const leaves = cover(ax, w / 2 + 0.02, w / 2 + f.shutters, fu) * cover(y, -0.02, h + 0.02, fv);
    const slat = 1 - 0.35 * coverPeriodic(y, 0.09, 0.035, fv);
    blend(r * slat, g * slat, b * slat, leaves);
  }
  // The sill.
  blend(0.45, 0.44, 0.42, 0.8 * cover(ax, 0, w / 2 + 0.1, fu) * cover(y, -0.09, 0, fv));
  const opening = cover(ax, 0, w / 2, fu) * cover(y, 0, h, fv), vary = cellValue(axis, story, seed);
  if (opening <= 0) return;
  if (door) {
    const d = 0.5 + 0.5 * vary;
    blend(r * d, g * d, b * d, opening);
    const panel = cover(ax, 0.1, 0.42, fu) * (cover(y, 0.15, 0.95, fv) + cover(y, 1.1, h - 0.15, fv));
    scale(1 - 0.3 * panel * opening);
  } else windowPane(spot, f, x, y, w, h, opening, vary);
}

/** The wall itself, stained from above and dirty at its foot. */
function wall(spot: Spot, f: Facade): void {
  const { u, v, fu, fv, seed } = spot;
  if (f.wall === "brick") bricks(spot, 0.25, 0.075);
  else {
    const grain = stretchedDetail(u + seed % 37, v, fu, fv, 0.03),
      stain = valueNoise(u * 0.25 + seed, v * 0.3);
    scale(1 + 0.15 * grain + 0.1 * stain);
    if (f.wall === "panels") {
      scale(1 - 0.35 * clamp01(coverPeriodic(u, 1.5, 0.03, fu) + coverPeriodic(v, f.floor / 2, 0.03, fv)));
    } else if (f.wall === "metal") scale(1 - 0.28 * coverPeriodic(u, 0.3, 0.1, fu));
    scale(1 + 0.09 * detail(u, v * 0.08 + seed, fu > fv * 0.08 ? fu : fv * 0.08, 0.06));
  }
  scale(1 - 0.22 * clamp01(1 - v / 1.1) * (1 + 0.6 * valueNoise(u * 2.3, seed)));
  if (f.plinth > 0) blend(0.2, 0.19, 0.18, 0.75 * cover(v, -3, f.plinth, fv));
}

/** A window of size w by h m at x from its middle and y from its lower edge: frame, pane, and what is behind it. */
function windowPane(
  { u, v, fu, fv, foot, seed }: Spot,
  f: Facade,
  x: number,
  y: number,
  w: number,
  h: number,
  opening: number,
  vary: number,
): void {
  const ax = Math.abs(x), bar = w > 0.8 ? 0.04 : -1;
  blend(f.frame[0], f.frame[1], f.frame[2], opening);
  let pane = cover(ax, bar, w / 2 - 0.07, fu) * cover(y, 0.07, h - 0.08, fv);
  if (seed % 3 === 0) pane *= 1 - cover(y, h * 0.68, h * 0.68 + 0.06, fv);
  // Curtains, blinds or a dark room.
  let tone = 0.025 + 0.02 * vary;
  if (vary > 0.45) {
    const curtain = vary > 0.85
      ? cover(y, h * (vary * 3 - 2.1), h, fv)
      : cover(ax, w * (0.1 + vary * 0.4), w, fu);
    tone += curtain * 0.25 * (0.75 + 0.25 * valueNoise(x * 14 + seed, y));
  }
  tone += 0.03 * detail(u, v + 77, foot, 0.1);
  blend(tone, tone * 1.03, tone * 1.06, pane);
  // Shadows under the lintel and beside the left jamb.
  scale(1 - 0.55 * opening * cover(y, h - 0.16, h, fv));
  scale(1 - 0.25 * opening * cover(x, -w / 2, -w / 2 + 0.06, fu));
  mirrors(0.09 * pane, 500);
}

function shopFront({ u, v, fu, fv, seed }: Spot, { ground, width }: Facade, axis: number): void {
  const glass = cover(v, 0.45, ground - 0.85, fv) * cover(u, 0.35, width - 0.35, fu);
  const bars = 1 - coverPeriodic(u - 0.35, 2.1, 0.09, fu), k = glass * bars;
  blend(0.09, 0.09, 0.09, cover(v, -1, ground - 0.8, fv) * 0.75);
  // What is on display: boxes of color behind the pane, lit from above.
  const i = Math.floor(u / 0.32), j = Math.floor(v / 0.4), c = cellValue(i, j, seed);
  const near = clamp01(0.3 / Math.max(fu, fv, 1e-3) - 0.5);
  const lit = 0.05 + 0.13 * near * (c > 0.75 ? c : 0) + 0.08 * cover(v, ground - 1.5, ground - 0.85, fv) +
    0.05 * near * valueNoise(u * 6, v * 6 + axis);
  const red = lit * (1.2 - 0.7 * cellValue(i, j, seed + 1)),
    green = lit * (1.1 - 0.6 * cellValue(i, j, seed + 2));
  blend(red, green, lit * (1.1 - 0.7 * cellValue(i, j, seed + 3)), k);
  mirrors(0.09 * k, 500);
}

/** A rim in the face's color about a field with a simple figure; `b` is its radius in m. */
function trafficSign({ u, v, fu, fv, foot, b: radius, seed }: Spot): void {
  const d = Math.hypot(u, v), plain = seed % 3 === 0;
  blend(0.7, 0.7, 0.69, plain ? 0 : clamp01((radius * 0.72 - d) / Math.max(foot, 0.01) + 0.5));
  const figure = seed % 2
    ? cover(Math.abs(v), 0, radius * 0.16, fv) * cover(Math.abs(u), 0, radius * 0.5, fu)
    : cover(Math.abs(u - v * 0.4), 0, radius * 0.12, fu) * cover(Math.abs(v), 0, radius * 0.45, fv);
  if (plain) blend(0.7, 0.7, 0.69, figure);
  else blend(0.03, 0.03, 0.04, figure);
  mirrors(0.02, 20);
}

/** Pasted side by side. */
function posters({ u, v, fu, fv, seed }: Spot): void {
  const i = Math.floor(u / 0.6), j = Math.floor(v / 0.9), near = clamp01(0.5 / Math.max(fu, fv, 1e-3) - 0.3);
  const channel = (k: number) => 0.06 + 0.6 * cellValue(i, j, seed + k) ** 2;
  blend(channel(1), channel(2), channel(3), near);
  blend(0.7, 0.69, 0.66, 0.8 * near * coverPeriodic(u, 0.6, 0.3, fu) * coverPeriodic(v + 0.2, 0.3, 0.1, fv));
}

/** Strokes that only look like words. */
function lettering({ u, v, fu, fv, foot, seed }: Spot): void {
  const word = cellValue(Math.floor(u / 1.6), 2, seed) > 0.25 ? 1 : 0,
    c = cellValue(Math.floor(u / 0.3), 9, seed);
  const strokes = coverPeriodic(u, 0.3, 0.07 + 0.12 * c, fu) + 0.6 * coverPeriodic(u + 0.15, 0.3, 0.05, fu);
  blend(0.72, 0.71, 0.66, 0.9 * (word * clamp01(strokes) * cover(v, 0.15, 0.5, fv)));
  scale(1 + 0.08 * detail(u, v, foot, 0.05));
}
