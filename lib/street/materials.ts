/**
 * What each material looks like at a point: albedo, and how it mirrors. Patterns are integrated over the pixel's
 * footprint, so that they fade to their mean instead of flickering.
 *
 * @module
 */
import { F, MATERIAL, type Mesh, STRIDE } from "./mesh.ts";
import { cellValue, cover, coverPeriodic, detail, maskTone, stretchedDetail, valueNoise } from "./noise.ts";
import { STYLE } from "./objects/house.ts";
import type { Scene } from "./scene.ts";

/** Where {@linkcode surfaceAt} leaves its answer. */
export const SURFACE = {
  red: 0,
  green: 1,
  blue: 2,
  /** Share of light mirrored head-on, 0..1. */
  mirror: 3,
  /** Exponent of the sun's highlight; 0 for none. */
  gloss: 4,
  /** Radiance it emits itself, as a share of its albedo. */
  glow: 5,
} as const;

/** Receives the answer of {@linkcode surfaceAt}. */
export const surface = new Float64Array(8);

function set(r: number, g: number, b: number): void {
  surface[0] = r;
  surface[1] = g;
  surface[2] = b;
}

function scale(k: number): void {
  surface[0] *= k;
  surface[1] *= k;
  surface[2] *= k;
}

/** Blends towards a colour by a share k. */
function blend(r: number, g: number, b: number, k: number): void {
  surface[0] += (r - surface[0]) * k;
  surface[1] += (g - surface[1]) * k;
  surface[2] += (b - surface[2]) * k;
}

/** Tells {@linkcode surfaceAt} where: u and v in m (faces with masks: 0..1), and the pixel's footprint along each. */
export const spot = new Float64Array(4);

/** The material of a face at {@linkcode spot}; the answer is in {@linkcode surface}. */
export function surfaceAt(scene: Scene, id: number): void {
  const u = spot[0], v = spot[1], fu = spot[2], fv = spot[3];
  const mesh: Mesh = scene.mesh, data = mesh.data, at = id * STRIDE;
  const r = data[at + F.colour], g = data[at + F.colour + 1], b = data[at + F.colour + 2];
  const seed = data[at + F.seed], foot = fu > fv ? fu : fv;
  set(r, g, b);
  surface[3] = 0;
  surface[4] = 0;
  surface[5] = 0;
  switch (mesh.material[id]) {
    case MATERIAL.road:
      road(scene);
      break;
    case MATERIAL.pavement:
      pavement(data[at + F.a], data[at + F.b]);
      break;
    case MATERIAL.kerb:
      scale(1 + 0.25 * detail(u, v, foot, 0.02) - 0.5 * coverPeriodic(u, 1, 0.02, fu));
      break;
    case MATERIAL.grass: {
      const n = stretchedDetail(u + 31, v, fu, fv, 0.03), m = detail(u * 0.9, v * 0.9 + 50, foot * 3, 1.5);
      scale(1 + 0.5 * n + 0.25 * m);
      blend(0.22, 0.19, 0.09, clamp01(0.35 * m + 0.1));
      break;
    }
    case MATERIAL.crop: {
      const rows = data[at + F.b];
      scale(1 + 0.45 * stretchedDetail(u, v, fu, fv, 0.05) + 0.2 * detail(u * 0.2, v * 0.2, foot * 0.2, 1));
      if (data[at + F.a] > 0) {
        scale(
          1 -
            0.45 * coverPeriodic(data[at + F.a] > 1 ? u : v, rows, rows * 0.4, data[at + F.a] > 1 ? fu : fv),
        );
      }
      break;
    }
    case MATERIAL.soil:
    case MATERIAL.gravel:
      scale(1 + 0.45 * stretchedDetail(u + 7, v, fu, fv, 0.02));
      break;
    case MATERIAL.facade:
      facade(scene, data[at + F.a], seed);
      break;
    case MATERIAL.roof: {
      const tile = coverPeriodic(v, 0.34, 0.06, fv), column = coverPeriodic(u, 0.25, 0.04, fu);
      scale(1 + 0.25 * detail(u + seed, v, foot, 0.05) + 0.2 * valueNoise(u * 0.4 + seed, v * 0.4));
      scale((1 - 0.5 * tile) * (1 - 0.3 * column));
      break;
    }
    case MATERIAL.glass:
      surface[3] = 0.1;
      surface[4] = 600;
      scale(1 + 0.5 * valueNoise(u * 2 + 3, v * 2 + seed));
      break;
    case MATERIAL.paint: {
      surface[3] = 0.045;
      surface[4] = 250;
      // A bus is made of panels.
      if (data[at + F.b] > 1) {
        scale(
          1 -
            0.5 *
              clamp01(coverPeriodic(u, 1.2, 0.02, fu) + cover(v, 0.42, 0.45, fv) + cover(v, 0.96, 0.99, fv)),
        );
        scale(1 - 0.3 * cover(v, 0, 0.45, fv));
      }
      // Dirt gathers low; the flanks have door seams and handles.
      if (data[at + F.a] > 0) {
        const seam = cover(Math.abs(u + 0.05), 0.0, 0.015, fu) + cover(u, 0.95, 0.97, fu) +
          cover(u, -1.0, -0.98, fu);
        scale(1 - 0.75 * clamp01(seam));
        const handle = (cover(u, -0.32, -0.15, fu) + cover(u, 0.68, 0.85, fu)) * cover(v, 0.74, 0.78, fv);
        scale(1 - 0.6 * handle);
        scale(1 - 0.35 * cover(v, 0.2, 0.38, fv));
        if (data[at + F.b] === 1) {
          // A firm's name on a van.
          const letter = cellValue(Math.floor(u / 0.22), 3, seed) > 0.3
            ? coverPeriodic(u, 0.22, 0.15, fu)
            : 0;
          const light = r + g + b > 0.9 ? 0.05 : 0.65;
          blend(
            light,
            light * 0.9,
            0.4 * (seed % 3),
            0.9 * letter * cover(v, 0.72, 0.98, fv) * cover(Math.abs(u), 0, 1.5, fu),
          );
        }
      }
      scale(1 + 0.05 * detail(u + seed % 50, v, foot, 0.08));
      break;
    }
    case MATERIAL.wheel: {
      // Texture origin at the lowest point of the rim circle's start; find the hub from the radius.
      const radius = data[at + F.a], x = u, y = v, d = Math.hypot(x, y);
      const rim = clamp01((0.66 * radius - d) / Math.max(foot, 0.004) + 0.5);
      set(0.022, 0.022, 0.023);
      const spoke = 0.5 + 0.5 * Math.sign(Math.cos(5 * Math.atan2(y, x)));
      const tone = d < 0.14 * radius ? 0.3 : 0.1 + 0.28 * (foot < 0.06 ? spoke : 0.5);
      blend(tone, tone, tone * 1.02, rim);
      surface[3] = 0.03 * rim;
      surface[4] = 60;
      break;
    }
    case MATERIAL.plain:
      if (data[at + F.a] === 1) {
        scale(1 - 0.25 * coverPeriodic(u, 1.2, 0.03, fu) + 0.12 * detail(u, v + seed, foot, 0.06));
        // A name on a lorry's side.
        const letter = cellValue(Math.floor(u / 0.45), 3, seed) > 0.35 ? coverPeriodic(u, 0.45, 0.32, fu) : 0;
        const name = letter * cover(v, 1.2, 1.75, fv) * cover(u, 1, 3.6, fu);
        blend(0.45 * ((seed & 1) + 0.1), 0.1, 0.4 * ((seed >> 1) & 1), 0.85 * name);
      } else scale(1 + 0.1 * detail(u, v, foot, 0.04));
      surface[3] = 0.02;
      surface[4] = data[at + F.a] === 2 ? 25 : 15;
      break;
    case MATERIAL.leaf: {
      // Texture coordinates run 0..1 over the mask; each of its leaves has its tone.
      scale(maskTone(mesh.mask[id], u, v, foot) * (1 + 0.4 * detail(u + seed, v, foot, 0.2)));
      break;
    }
    case MATERIAL.bark:
      scale(1 + 0.5 * detail(u * 4 + seed, v, Math.max(fu * 4, fv), 0.05));
      break;
    case MATERIAL.hedge:
      scale(0.95 + 0.65 * stretchedDetail(u + seed, v, fu, fv, 0.04));
      break;
    case MATERIAL.wood: {
      const plank = data[at + F.a] > 0 ? coverPeriodic(u, 0.14, 0.018, fu) : 0;
      const near = clamp01(0.14 / Math.max(fu, 0.001) - 1);
      scale(1 + near * 0.3 * (cellValue(Math.floor(u / 0.14), 1, seed) - 0.5));
      scale((1 + 0.25 * detail(u * 5 + seed, v * 0.6, Math.max(fu * 5, fv * 0.6), 0.06)) * (1 - 0.7 * plank));
      break;
    }
    case MATERIAL.stone:
      bricks(r > 0.35 ? 0.45 : 0.24, r > 0.35 ? 0.22 : 0.08, seed);
      break;
    case MATERIAL.light:
      surface[3] = 0.08;
      surface[4] = 300;
      surface[5] = data[at + F.a] > 0 ? 1.2 : 0.04;
      scale(1 + 0.3 * detail(u * 3, v * 3, foot * 3, 0.1));
      break;
    case MATERIAL.sign:
      signFace(data[at + F.a], data[at + F.b], seed);
      break;
    case MATERIAL.plate: {
      const cell = Math.floor(u / 0.065),
        ink = cellValue(cell, 7, seed) > 0.2 ? coverPeriodic(u, 0.065, 0.04, fu) : 0;
      scale(1 - 0.85 * ink * cover(v, 0.025, 0.085, fv));
      break;
    }
    case MATERIAL.cloth:
      scale(1 + 0.3 * detail(u * 3 + seed, v * 3, foot * 3, 0.08));
      break;
    case MATERIAL.concrete:
      scale(1 + 0.2 * detail(u + seed % 31, v, foot, 0.03));
      scale(1 - 0.18 * clamp01(valueNoise(u * 1.7 + seed, v * 0.2) - 0.2));
      break;
    case MATERIAL.awning:
      if (data[at + F.a] > 0) blend(0.72, 0.7, 0.66, coverPeriodic(u, 0.6, 0.3, fu));
      scale(1 + 0.1 * detail(u, v, foot, 0.05));
      break;
    case MATERIAL.backdrop: {
      // Mask coordinates over some 50 m.
      const n = detail(u * 45 + seed, v * 22, 0.7, 1.2);
      scale(1 + 0.55 * n);
      break;
    }
  }
}

function clamp01(x: number): number {
  return x < 0 ? 0 : x > 1 ? 1 : x;
}

function road(scene: Scene): void {
  const s = spot[0], t = spot[1], fs = spot[2], ft = spot[3];
  const look = scene.road, seed = look.seed, foot = fs > ft ? fs : ft;
  // Grain of every size, streaks along the road where it is seen at a grazing angle, and what traffic leaves.
  const grain = stretchedDetail(s + 40, t, fs, ft, 0.02);
  let tone = 1 + 0.2 * grain + 0.1 * valueNoise(s * 0.11 + seed, t * 0.35);
  const lane = look.laneWidth, inLane = t - Math.floor(t / lane) * lane - lane / 2;
  const track = Math.abs(inLane) - 0.8;
  tone *= 1 - 0.1 * Math.exp(-track * track * 9) - 0.05 * Math.exp(-inLane * inLane * 12);
  const i = Math.floor(s / 7), j = Math.floor((t + 40) / lane), chance = cellValue(i, j, seed);
  if (chance < 0.3 * look.wear) {
    const a = s - i * 7,
      b = t + 40 - j * lane,
      w = 1.5 + 5 * cellValue(i, j, seed + 1),
      h = 0.7 + (lane - 0.9) * cellValue(i, j, seed + 2);
    const inside = cover(a, 0.3, 0.3 + w, fs) * cover(b, 0.2, 0.2 + h, ft);
    const edge = inside - cover(a, 0.36, 0.24 + w, fs) * cover(b, 0.26, 0.14 + h, ft);
    tone *= 1 + inside * (chance < 0.16 * look.wear ? -0.35 : 0.25) - 0.5 * edge;
  } else if (chance > 0.93) {
    const d = Math.hypot(s - i * 7 - 3, t + 40 - (j + 0.5) * lane);
    const lid = clamp01((0.33 - d) / Math.max(foot, 0.01) + 0.5);
    tone *= 1 - 0.45 * lid * (1 + 0.5 * Math.sign(Math.sin(s * 50)) * (foot < 0.06 ? 0.5 : 0));
  }
  if (look.wear > 0.35 && foot < 0.25) {
    const n = valueNoise(s * 0.45 + seed, t * 0.8) + 0.4 * valueNoise(s * 1.9, t * 1.9 + seed);
    const width = 0.018 + foot * 0.7;
    const crack = clamp01(1 - Math.abs(n) / width) * Math.min(1, 0.018 / width * 1.6);
    tone *= 1 - 0.6 * crack;
  }
  const half = look.half;
  tone *= 1 - 0.3 * cover(Math.abs(t), half - 0.35, half, ft);
  scale(tone);
  // Markings, worn through in places.
  let mark = 0;
  const a = Math.abs(t);
  switch (look.middle) {
    case 1:
      mark = coverPeriodic(s, look.dash + look.gap, look.dash, fs) * cover(t, -0.06, 0.06, ft);
      break;
    case 2:
      mark = cover(t, -0.06, 0.06, ft);
      break;
    case 3:
      mark = cover(a, 0.07, 0.19, ft);
      break;
  }
  for (let k = 1; k < look.lanes; k++) {
    mark += coverPeriodic(s, look.dash + look.gap, look.dash, fs) *
      cover(a, k * lane - 0.06, k * lane + 0.06, ft);
  }
  if (look.edgeLines) mark += cover(a, half - 0.42, half - 0.3, ft);
  for (const c of look.crossings) {
    if (s < c - 6 || s > c + 6) continue;
    mark += cover(s, c - 1.6, c + 1.6, fs) * coverPeriodic(t, 1, 0.5, ft) * cover(a, 0, half - 0.3, ft);
    mark += cover(s, c - 3.2, c - 2.8, fs) * cover(t, 0, half - 0.3, ft);
  }
  if (mark > 0) {
    const worn = clamp01(0.92 - look.wear * (0.3 + 0.45 * valueNoise(s * 1.3, t * 5) + 0.35 * grain));
    blend(0.62, 0.61, 0.58, clamp01(mark) * worn);
  }
  if (look.wet > 0) {
    const puddle = clamp01(look.wet * (0.75 + 0.9 * valueNoise(s * 0.25 + 9, t * 0.6 + seed)));
    scale(1 - 0.45 * puddle);
    surface[3] = 0.05 * puddle;
    surface[4] = 40 + 300 * puddle;
  }
}

function pavement(kind: number, size: number): void {
  const u = spot[0], v = spot[1], fu = spot[2], fv = spot[3];
  const foot = fu > fv ? fu : fv;
  scale(1 + 0.2 * stretchedDetail(u + 13, v, fu, fv, 0.02) + 0.12 * valueNoise(u * 0.3, v * 0.7));
  if (kind === 2) return;
  const w = kind === 0 ? size : size * 0.5, l = kind === 0 ? size : size;
  const row = Math.floor(v / w), shift = kind === 1 ? (row & 1) * l / 2 : 0;
  const joint = coverPeriodic(u + shift, l, 0.012 + 0.02 * size, fu) +
    coverPeriodic(v, w, 0.012 + 0.02 * size, fv);
  const near = clamp01(0.5 * w / Math.max(foot, 1e-3) - 0.3);
  scale(1 + near * 0.3 * (cellValue(Math.floor((u + shift) / l), row, 5) - 0.5));
  scale(1 - 0.5 * clamp01(joint));
}

function bricks(length: number, height: number, seed: number): void {
  const u = spot[0], v = spot[1], fu = spot[2], fv = spot[3];
  const foot = fu > fv ? fu : fv;
  const row = Math.floor(v / height), x = u + (row & 1) * length / 2;
  const near = clamp01(height / Math.max(foot, 1e-3) - 0.6);
  scale(1 + 0.25 * detail(u + seed % 17, v, foot, 0.03));
  scale(1 + near * 0.5 * (cellValue(Math.floor(x / length), row, seed) - 0.5));
  const joint = clamp01(coverPeriodic(x, length, 0.014, fu) + coverPeriodic(v, height, 0.014, fv));
  blend(0.4, 0.38, 0.35, 0.65 * joint);
}

function facade(scene: Scene, style: number, seed: number): void {
  const u = spot[0], v = spot[1], fu = spot[2], fv = spot[3];
  const s = scene.styles.rows, at = style * STYLE.stride;
  const foot = fu > fv ? fu : fv, kind = s[at + STYLE.kind];
  const ground = s[at + STYLE.ground], floor = s[at + STYLE.floor], width = s[at + STYLE.width];
  // The wall itself, stained from above and dirty at its foot.
  if (kind === 1) bricks(0.25, 0.075, seed);
  else {
    scale(
      1 + 0.15 * stretchedDetail(u + seed % 37, v, fu, fv, 0.03) + 0.1 * valueNoise(u * 0.25 + seed, v * 0.3),
    );
    if (kind === 2) {
      scale(1 - 0.35 * clamp01(coverPeriodic(u, 1.5, 0.03, fu) + coverPeriodic(v, floor / 2, 0.03, fv)));
    } else if (kind === 3) scale(1 - 0.28 * coverPeriodic(u, 0.3, 0.1, fu));
    const streaks = detail(u, v * 0.08 + seed, fu > fv * 0.08 ? fu : fv * 0.08, 0.06);
    scale(1 + 0.09 * streaks);
  }
  scale(1 - 0.22 * clamp01(1 - v / 1.1) * (1 + 0.6 * valueNoise(u * 2.3, seed)));
  const plinth = s[at + STYLE.plinth];
  if (plinth > 0) {
    const k = cover(v, -3, plinth, fv);
    blend(0.2, 0.19, 0.18, 0.75 * k);
  }
  const storey = v < ground ? 0 : 1 + Math.floor((v - ground) / floor);
  const base = storey === 0 ? 0 : ground + (storey - 1) * floor;
  if (s[at + STYLE.bands] > 0 && storey > 0) {
    scale(1 + 0.3 * cover(v - base, 0, 0.14, fv) - 0.3 * cover(v - base, -0.001, 0.03, fv));
  }
  const margin = s[at + STYLE.margin];
  if (u < margin * 0.5 || u > width - margin * 0.5 || v > s[at + STYLE.top]) return;
  const bay = s[at + STYLE.bay], axis = Math.floor((u - margin) / bay), x = u - margin - (axis + 0.5) * bay;
  const vary = cellValue(axis, storey, seed);
  if (storey === 0 && s[at + STYLE.shop] > 0) {
    shopFront(s, at, ground, width, axis, seed);
    return;
  }
  if (u < margin || u > width - margin) return;
  const door = storey === 0 && axis === s[at + STYLE.doorAxis];
  const w = door ? 1.05 : s[at + STYLE.windowWidth], sill = door ? 0.05 : s[at + STYLE.sill];
  const h = door
    ? Math.min(2.25, ground - 0.4)
    : Math.min(s[at + STYLE.windowHeight], (storey === 0 ? ground : floor) - sill - 0.25);
  if (base + sill + h > s[at + STYLE.top] + 0.2) return;
  const y = v - base - sill, ax = Math.abs(x);
  // Surround and sill, a shadow under the lintel, the frame, the pane.
  const surround = cover(ax, 0, w / 2 + 0.13, fu) * cover(y, -0.12, h + 0.13, fv);
  if (surround <= 0 && s[at + STYLE.shutters] === 0) return;
  if (s[at + STYLE.bands] > 0) blend(0.55, 0.53, 0.5, 0.5 * surround);
  if (s[at + STYLE.shutters] > 0 && !door) {
    const sw = s[at + STYLE.shutters];
    const leafs = cover(ax, w / 2 + 0.02, w / 2 + sw, fu) * cover(y, -0.02, h + 0.02, fv);
    const slat = 1 - 0.35 * coverPeriodic(y, 0.09, 0.035, fv);
    blend(
      s[at + STYLE.shutter] * slat,
      s[at + STYLE.shutter + 1] * slat,
      s[at + STYLE.shutter + 2] * slat,
      leafs,
    );
  }
  blend(0.45, 0.44, 0.42, 0.8 * cover(ax, 0, w / 2 + 0.1, fu) * cover(y, -0.09, 0, fv));
  const opening = cover(ax, 0, w / 2, fu) * cover(y, 0, h, fv);
  if (opening <= 0) return;
  if (door) {
    const d = 0.5 + 0.5 * vary;
    blend(s[at + STYLE.shutter] * d, s[at + STYLE.shutter + 1] * d, s[at + STYLE.shutter + 2] * d, opening);
    const panel = (cover(ax, 0.1, 0.42, fu)) * (cover(y, 0.15, 0.95, fv) + cover(y, 1.1, h - 0.15, fv));
    scale(1 - 0.3 * panel * opening);
    return;
  }
  blend(s[at + STYLE.frame], s[at + STYLE.frame + 1], s[at + STYLE.frame + 2], opening);
  const bar = w > 0.8 ? 0.04 : -1;
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
  scale(1 - 0.55 * opening * cover(y, h - 0.16, h, fv));
  scale(1 - 0.25 * opening * cover(x, -w / 2, -w / 2 + 0.06, fu));
  surface[3] = 0.09 * pane;
  surface[4] = 500;
}

function shopFront(
  s: Float64Array,
  at: number,
  ground: number,
  width: number,
  axis: number,
  seed: number,
): void {
  const u = spot[0], v = spot[1], fu = spot[2], fv = spot[3];
  const glass = cover(v, 0.45, ground - 0.85, fv) * cover(u, 0.35, width - 0.35, fu);
  const bars = 1 - coverPeriodic(u - 0.35, 2.1, 0.09, fu);
  blend(0.09, 0.09, 0.09, cover(v, -1, ground - 0.8, fv) * 0.75);
  const k = glass * bars;
  // What is on display: boxes of colour behind the pane, lit from above.
  const i = Math.floor(u / 0.32), j = Math.floor(v / 0.4), c = cellValue(i, j, seed);
  const near = clamp01(0.3 / Math.max(fu, fv, 1e-3) - 0.5);
  const lit = 0.05 + 0.13 * near * (c > 0.75 ? c : 0) + 0.08 * cover(v, ground - 1.5, ground - 0.85, fv) +
    0.05 * near * valueNoise(u * 6, v * 6 + axis);
  blend(
    lit * (1.2 - 0.7 * cellValue(i, j, seed + 1)),
    lit * (1.1 - 0.6 * cellValue(i, j, seed + 2)),
    lit * (1.1 - 0.7 * cellValue(i, j, seed + 3)),
    k,
  );
  surface[3] = 0.09 * k;
  surface[4] = 500;
  if (s[at + STYLE.kind] < 0) surface[3] = 0;
}

function signFace(kind: number, radius: number, seed: number): void {
  const u = spot[0], v = spot[1], fu = spot[2], fv = spot[3];
  if (kind === 2) {
    // A traffic sign: a rim in its colour about a field with a simple figure.
    const d = Math.hypot(u, v), foot = fu > fv ? fu : fv;
    const field = clamp01((radius * 0.72 - d) / Math.max(foot, 0.01) + 0.5) * (seed % 3 === 0 ? 0 : 1);
    blend(0.7, 0.7, 0.69, field);
    const figure = seed % 2
      ? cover(Math.abs(v), 0, radius * 0.16, fv) * cover(Math.abs(u), 0, radius * 0.5, fu)
      : cover(Math.abs(u - v * 0.4), 0, radius * 0.12, fu) * cover(Math.abs(v), 0, radius * 0.45, fv);
    if (seed % 3 === 0) blend(0.7, 0.7, 0.69, figure);
    else blend(0.03, 0.03, 0.04, figure);
    surface[3] = 0.02;
    surface[4] = 20;
    return;
  }
  if (kind === 3) {
    // Posters, pasted side by side.
    const i = Math.floor(u / 0.6),
      j = Math.floor(v / 0.9),
      near = clamp01(0.5 / Math.max(fu, fv, 1e-3) - 0.3);
    const c = (k: number) => 0.06 + 0.6 * cellValue(i, j, seed + k) ** 2;
    blend(c(1), c(2), c(3), near);
    blend(
      0.7,
      0.69,
      0.66,
      0.8 * near * coverPeriodic(u, 0.6, 0.3, fu) * coverPeriodic(v + 0.2, 0.3, 0.1, fv),
    );
    return;
  }
  // Lettering: strokes that only look like words.
  const cell = Math.floor(u / 0.3), word = cellValue(Math.floor(u / 1.6), 2, seed) > 0.25 ? 1 : 0;
  const c = cellValue(cell, 9, seed),
    strokes = coverPeriodic(u, 0.3, 0.07 + 0.12 * c, fu) + 0.6 * coverPeriodic(u + 0.15, 0.3, 0.05, fu);
  const ink = word * clamp01(strokes) * cover(v, 0.15, 0.5, fv);
  blend(0.72, 0.71, 0.66, 0.9 * ink);
  scale(1 + 0.08 * detail(u, v, fu > fv ? fu : fv, 0.05));
}
