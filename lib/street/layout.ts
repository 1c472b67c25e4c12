/**
 * The plan of one drive: the course of its road, what is painted on it, what lines it on either side, and its plants.
 *
 * @module
 */
import type { Random } from "../base/random.ts";
import type { Rgb } from "./mesh.ts";
import type { TreeShape } from "./objects/plants.ts";

/** Seconds between two frames. */
export const FRAME_SECONDS = 0.1;

/** What is painted on the carriageway and how worn it is. */
export interface RoadLook {
  /** Half the width of the carriageway, m. */
  readonly half: number;
  readonly middle: "none" | "dashed" | "solid" | "double";
  /** Lanes on each side; dashed lines part them. */
  readonly lanes: number;
  /** m */
  readonly laneWidth: number;
  /** Lines along both edges. */
  readonly edgeLines: boolean;
  /** Where zebra crossings lie along the road, m. */
  readonly crossings: readonly number[];
  /** Length of a dash, and between dashes, m. */
  readonly dash: number;
  readonly gap: number;
  /** Albedo of the asphalt. */
  readonly tone: number;
  /** 0 new … 1 full of patches and cracks. */
  readonly wear: number;
  /** 0 dry … 1 wet. */
  readonly wet: number;
  /** Varies patches and cracks. */
  readonly seed: number;
}

/** What a drive leads through. */
export type Setting = keyof typeof FRONTAGES;
/** What lines one side of a road. */
export type Frontage =
  | ("town" | "shops" | "homes" | "blocks" | "works" | "wall" | "retaining")
  | ("park" | "wood" | "field" | "plain" | "bank");

/** The settings, as often as they are named: as unlike each other as KITTI's drives are. */
const SETTINGS = [
  ...["lane", "lane", "town", "suburb", "suburb", "avenue", "boulevard"] as const,
  ...["country", "open", "open", "wood", "cutting", "cutting", "works", "mixed"] as const,
];
const RURAL: readonly Setting[] = ["country", "open", "wood", "cutting"];
/** What may line each side there. */
const FRONTAGES = {
  lane: ["town", "town", "town", "shops", "wall", "retaining"],
  town: ["town", "town", "shops", "shops"],
  suburb: ["homes", "homes", "homes", "park", "wall"],
  avenue: ["blocks", "shops", "town", "park", "works"],
  boulevard: ["blocks", "blocks", "park", "works", "plain"],
  country: ["field", "field", "field", "wood", "homes"],
  open: ["plain", "plain", "plain", "field"],
  wood: ["wood", "wood", "field", "bank"],
  cutting: ["bank", "bank", "retaining", "field", "plain", "wood"],
  works: ["works", "works", "wall", "blocks"],
  mixed: ["town", "homes", "park", "wall", "works", "blocks", "field", "plain", "retaining"],
} as const satisfies Readonly<Record<string, readonly Frontage[]>>;

/** One side of the road; lengths in m. */
export interface Side {
  /** 1 right, -1 left. */
  readonly sign: 1 | -1;
  readonly frontage: Frontage;
  /** Height of the curb; 0 = a shoulder of gravel instead. */
  readonly curb: number;
  /** Width of the sidewalk, and of the yard between it and the fronts. */
  readonly sidewalk: number;
  readonly yard: number;
  /** Width of the parking lane. */
  readonly parking: number;
  /** Beyond the yard the ground rises by `rise` over `run`, and to `top` at 50 m. */
  readonly run: number;
  readonly rise: number;
  readonly top: number;
}

/** A {@linkcode Side} with the distances from the middle of the road at which its parts begin, m. */
export interface PlacedSide extends Side {
  readonly sidewalkAt: number;
  readonly yardAt: number;
  readonly frontAt: number;
  /** Height of the ground at the fronts. */
  readonly base: number;
}

/** The plants of one drive. */
export interface Season {
  readonly leaf: Rgb;
  readonly otherLeaf: Rgb;
  readonly grass: Rgb;
  readonly field: Rgb;
  readonly shapes: readonly TreeShape[];
}

/** All that is decided before anything is built. */
export interface Layout {
  readonly setting: Setting;
  readonly rural: boolean;
  readonly road: Road;
  readonly look: RoadLook;
  readonly oneWay: boolean;
  readonly sides: readonly PlacedSide[];
  readonly season: Season;
  /** Speed of the cameras in m/s, and how far they get, m. */
  readonly speed: number;
  readonly travel: number;
  /** Where across the road they drive, m to the right of its middle. */
  readonly egoT: number;
  /** How far the street goes, m. */
  readonly end: number;
  /** Where a street across closes the view, m; `end` where none does. */
  readonly close: number;
}

/** Plans a drive of some frames. */
export function planLayout(random: Random, frames: number): Layout {
  const setting = random.pick(SETTINGS), rural = RURAL.includes(setting), lane = setting === "lane";
  const speed = rural ? random.uniform(8, 14) : random.uniform(4, 11);
  const travel = frames * FRAME_SECONDS * speed, end = travel + 230;
  // Straight, winding, or round one corner.
  const course = random.next();
  const road = new Road(
    random.fork("road"),
    end,
    course < 0.35 ? 1 / 2000 : 1 / random.uniform(rural ? 70 : 45, 200),
    random.chance(0.5) ? 0.008 : random.uniform(0.015, 0.06),
    rural || course < 0.75 ? undefined : {
      from: travel + random.uniform(8, 50),
      radius: lane ? random.uniform(14, 24) : random.uniform(28, 45),
      angle: random.uniform(0.5, 1.5) * (random.chance(0.5) ? 1 : -1),
    },
  );
  const oneWay = lane ||
    (setting === "town" ? random.chance(0.4) : setting === "suburb" && random.chance(0.2));
  const lanes = setting === "avenue" || setting === "boulevard" ? 2 : 1;
  const [narrow, broad] = lane ? [3.4, 4.8] : oneWay ? [3, 4] : [2.6, 3.6];
  const laneWidth = random.uniform(narrow, broad);
  const drawn = [drawSide(setting, 1, random), drawSide(setting, -1, random)];
  const half = (oneWay ? laneWidth / 2 : laneWidth * lanes) + Math.max(drawn[0].parking, drawn[1].parking);
  const look = drawLook(random, { half, lanes, laneWidth }, rural, oneWay);
  const near = Math.exp(random.uniform(Math.log(rural ? 15 : 6), Math.log(85)));
  const close = random.chance(rural ? 0.25 : 0.5) ? travel + near : end;
  const season = drawSeason(random);
  const egoT = oneWay ? 0 : lanes === 2 ? laneWidth * random.pick([0.5, 1.5]) : laneWidth / 2;
  const sides = drawn.map((side): PlacedSide => {
    const sidewalkAt = half + (side.curb > 0 ? 0.16 : 0.6), yardAt = sidewalkAt + side.sidewalk;
    const base = side.curb + (side.sidewalk > 0 ? 0.04 : 0);
    return { ...side, sidewalkAt, yardAt, frontAt: yardAt + side.yard, base };
  });
  return { setting, rural, road, look, oneWay, sides, season, speed, travel, egoT, end, close };
}

function drawSide(setting: Setting, sign: 1 | -1, random: Random): Side {
  const frontage = random.pick<Frontage>(FRONTAGES[setting]), rural = RURAL.includes(setting);
  const lane = setting === "lane", broad = setting === "boulevard";
  const [low, high] = lane ? [0.8, 1.6] : broad ? [4, 9] : setting === "avenue" ? [2.5, 6] : [0.9, 3.2];
  const sidewalk = rural ? 0 : random.uniform(low, high);
  // All are drawn, so that what follows does not depend on the frontage.
  const yard = {
    town: 0,
    shops: random.uniform(0, lane ? 0.3 : 1.5),
    homes: random.uniform(1, 12),
    park: random.uniform(0, 2),
    wood: random.uniform(0.8, 5),
    field: random.uniform(1, 3),
    plain: random.uniform(3, 12),
    works: random.uniform(3, broad ? 25 : 16),
    wall: random.uniform(0, 0.5),
    blocks: random.uniform(broad ? 8 : 1, broad ? 25 : 14),
    bank: random.uniform(0.3, 2),
    retaining: random.uniform(0.2, 1),
  }[frontage];
  const parking = !rural && !lane && random.chance(0.35) ? random.uniform(1.9, 2.3) : 0;
  let run = 16, slope = 0;
  if (rural && random.chance(0.6)) slope = random.uniform(-0.18, 0.3);
  else if (frontage === "park") slope = random.uniform(-0.03, 0.12);
  let rise = Math.max(-3, Math.min(5, slope * run)), top = 1.6 * rise;
  if (frontage === "bank") {
    run = random.uniform(2, 6);
    rise = run * random.uniform(0.6, 1.1);
    top = rise + random.uniform(0, 3);
  } else if (frontage === "retaining") {
    // The step is hidden in the wall.
    run = 0.4;
    rise = random.uniform(2, 5);
    top = rise + random.uniform(0, 4);
  }
  const curb = rural ? 0 : random.uniform(0.08, 0.15);
  return { sign, frontage, curb, sidewalk, yard, parking, run, rise, top };
}

function drawLook(
  random: Random,
  size: Pick<RoadLook, "half" | "lanes" | "laneWidth">,
  rural: boolean,
  oneWay: boolean,
): RoadLook {
  const rare = size.lanes === 2 ? "double" : "none";
  return {
    ...size,
    middle: oneWay
      ? "none"
      : rural
      ? random.pick(["dashed", "dashed", "solid"] as const)
      : random.pick(["none", "dashed", "dashed", "solid", rare] as const),
    edgeLines: random.chance(rural ? 0.8 : 0.15),
    crossings: rural
      ? []
      : [random.uniform(12, 60), random.uniform(70, 140)].filter(() => random.chance(0.45)),
    dash: random.uniform(2, 5),
    gap: random.uniform(3, 8),
    tone: random.uniform(0.075, 0.2),
    wear: random.next(),
    wet: random.chance(0.2) ? random.uniform(0.3, 1) : 0,
    seed: random.below(1 << 16),
  };
}

const SUMMER: readonly Rgb[] = [[0.07, 0.13, 0.03], [0.1, 0.16, 0.04], [0.05, 0.1, 0.03], [0.12, 0.17, 0.05]];
const AUTUMN: readonly Rgb[] = [[0.3, 0.16, 0.03], [0.25, 0.2, 0.04], [0.16, 0.16, 0.04]];
const GRASS: readonly Rgb[] = [[0.1, 0.15, 0.04], [0.14, 0.16, 0.05], [0.08, 0.13, 0.04]];
const FIELDS: readonly Rgb[] = [[0.1, 0.16, 0.04], [0.3, 0.24, 0.1], [0.2, 0.14, 0.09], [0.16, 0.19, 0.05]];
const WOODS: readonly (readonly TreeShape[])[] = [
  ["broad"],
  ["broad", "tall"],
  ["broad", "broad", "fir"],
  ["tall", "broad", "young"],
  ["fir", "broad"],
];

function drawSeason(random: Random): Season {
  const leaf = random.pick(random.chance(0.2) ? AUTUMN : SUMMER);
  return {
    leaf,
    otherLeaf: [leaf[1] * 0.7, leaf[1] * 0.95, leaf[2]],
    grass: random.pick(GRASS),
    field: random.pick(FIELDS),
    shapes: random.pick(WOODS),
  };
}

/** Where the road is at some distance along it. */
export interface RoadPoint {
  /** World position of the middle of the carriageway, m. */
  readonly x: number;
  readonly y: number;
  readonly z: number;
  /** Direction of travel, rad counter-clockwise from east. */
  readonly heading: number;
  /** Rise, m per m. */
  readonly slope: number;
}

const STEP = 0.5;

/** The line a drive follows: curved in plan, gently up and down; distances along it in m from the first frame. */
export class Road {
  /** Where it begins; it ends 60 m beyond the street. */
  readonly from = -60;
  readonly to: number;
  readonly #x: Float64Array;
  readonly #y: Float64Array;
  readonly #heading: Float64Array;
  readonly #hill: number;
  readonly #wavelength: number;
  readonly #phase: number;

  /**
   * Draws a road's course.
   *
   * @param bend Largest curvature, 1/m.
   * @param hill Largest slope, m per m.
   * @param corner Where the road turns by an angle in rad (positive to the left) at a radius in m.
   */
  constructor(
    random: Random,
    end: number,
    bend: number,
    hill: number,
    corner?: { readonly from: number; readonly radius: number; readonly angle: number },
  ) {
    this.to = end + 60;
    const count = Math.ceil((this.to - this.from) / STEP) + 2;
    this.#x = new Float64Array(count);
    this.#y = new Float64Array(count);
    this.#heading = new Float64Array(count);
    const steady = bend * random.uniform(-0.7, 0.7), sway = bend * random.uniform(0, 0.5);
    const wave = random.uniform(90, 260), phase = random.uniform(0, 6.28);
    const turnTo = corner ? corner.from + corner.radius * Math.abs(corner.angle) : 0;
    let heading = random.uniform(0, 2 * Math.PI), x = 0, y = 0;
    for (let i = 0; i < count; i++) {
      const s = this.from + i * STEP;
      this.#x[i] = x;
      this.#y[i] = y;
      this.#heading[i] = heading;
      x += STEP * Math.cos(heading);
      y += STEP * Math.sin(heading);
      heading += STEP * (steady + sway * Math.sin(phase + s * 6.283 / wave));
      if (corner && s >= corner.from && s < turnTo) heading += STEP * Math.sign(corner.angle) / corner.radius;
    }
    this.#hill = hill * random.uniform(0.2, 1);
    this.#wavelength = random.uniform(120, 320);
    this.#phase = random.uniform(0, 6.28);
  }

  /** The road at distance s, m; beyond its ends it goes straight on. */
  at(s: number): RoadPoint {
    const last = this.#x.length - 1, k = (s - this.from) / STEP;
    const i = Math.max(0, Math.min(last - 1, Math.floor(k))), f = k - i;
    const angle = 6.283 * s / this.#wavelength + this.#phase;
    return {
      x: this.#x[i] + f * (this.#x[i + 1] - this.#x[i]),
      y: this.#y[i] + f * (this.#y[i + 1] - this.#y[i]),
      z: this.#hill * this.#wavelength / 6.283 * Math.sin(angle),
      heading: this.#heading[i] + Math.max(0, Math.min(1, f)) * (this.#heading[i + 1] - this.#heading[i]),
      slope: this.#hill * Math.cos(angle),
    };
  }

  /** The world point at distance s along and t to the right of the middle, `up` m above it. */
  point(s: number, t: number, up = 0): [number, number, number] {
    const p = this.at(s);
    return [p.x + t * Math.sin(p.heading), p.y - t * Math.cos(p.heading), p.z + up];
  }
}
