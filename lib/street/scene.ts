/**
 * One drive's world: a road, what lines it on either side, what moves on it, its light, and where the cameras go.
 *
 * @module
 */
import { Random } from "../base/random.ts";
import { MATERIAL, Mesh, type Paint, type Rgb } from "./mesh.ts";
import { MASK } from "./noise.ts";
import {
  addClutter,
  addFence,
  addGuardRail,
  addLamp,
  addPerson,
  addSign,
  addTrafficLight,
  type Person,
} from "./objects/furniture.ts";
import { addHouse, Styles, tinted } from "./objects/house.ts";
import { addHedge, addTree, type TreeShape } from "./objects/plants.ts";
import { addVehicle, type Vehicle, type VehicleShape, vehicleSize } from "./objects/vehicle.ts";
import { Road } from "./road.ts";

/** What is painted on the carriageway and how worn it is; lengths in m across (t, to the right) and along (s). */
export interface RoadLook {
  /** Half the width of the carriageway, m. */
  readonly half: number;
  /** Middle line: 0 none, 1 dashed, 2 solid, 3 double. */
  readonly middle: number;
  /** Lanes on each side; dashed lines part them. */
  readonly lanes: number;
  /** m */
  readonly laneWidth: number;
  /** Lines along both edges. */
  readonly edgeLines: boolean;
  /** Where zebra crossings lie along the road, m. */
  readonly crossings: readonly number[];
  /** Length of a dash, m. */
  readonly dash: number;
  /** Length between dashes, m. */
  readonly gap: number;
  /** Albedo of the asphalt. */
  readonly tone: number;
  /** 0 new … 1 full of patches and cracks. */
  readonly wear: number;
  /** 0 dry … 1 wet. */
  readonly wet: number;
  /** Varies patches and cracks, or clouds. */
  readonly seed: number;
}

/** Sun, sky and air. */
export interface Weather {
  /** Unit vector towards the sun. */
  readonly sun: readonly [number, number, number];
  /** Radiance of the sun on a surface that faces it. */
  readonly sunlight: Rgb;
  /** Radiance of the clear sky overhead. */
  readonly zenith: Rgb;
  /** Radiance of the sky at the horizon. */
  readonly horizon: Rgb;
  /** 0 clear … 1 overcast. */
  readonly clouds: number;
  /** Distance in m at which haze takes 63 %. */
  readonly haze: number;
  /** Factor from radiance to the camera's full scale. */
  readonly exposure: number;
  /** Varies patches and cracks, or clouds. */
  readonly seed: number;
}

/** Where the rig is: rectified camera 0 in the world. */
export interface Pose {
  /** Position of rectified camera 0, m. */
  readonly position: readonly [number, number, number];
  /** Unit vectors of the camera's axes in the world. */
  readonly right: readonly [number, number, number];
  /** See `right`. */
  readonly down: readonly [number, number, number];
  /** See `right`. */
  readonly forward: readonly [number, number, number];
}

/** What moves: a vehicle or a person, at constant speed along the road. */
interface Mover {
  readonly s: number;
  readonly t: number;
  /** m/s along the road; negative comes towards the cameras. */
  readonly speed: number;
  readonly vehicle?: Vehicle;
  readonly person?: Person;
}

/** A drive's world. */
export interface Scene {
  /** All that stands still; {@linkcode Scene.moveTo} adds what moves. */
  readonly mesh: Mesh;
  /** What the facades look like. */
  readonly styles: Styles;
  /** What the carriageway looks like. */
  readonly road: RoadLook;
  /** Its light. */
  readonly weather: Weather;
  /** Puts what moves where it is in a frame, after taking away where it was. */
  moveTo(frame: number): void;
  /** Where the rig is in a frame. */
  pose(frame: number): Pose;
}

/** Height of the cameras above the road, m: KITTI's. */
export const CAMERA_HEIGHT = 1.65;
const FRAME_SECONDS = 0.1;

type Frontage =
  | "town"
  | "shops"
  | "homes"
  | "park"
  | "wood"
  | "field"
  | "plain"
  | "works"
  | "wall"
  | "blocks"
  | "bank"
  | "retaining";

/** What a drive leads through, as often as it is named: as unlike each other as KITTI's are. */
const SETTINGS = [
  ...["lane", "lane", "town", "suburb", "suburb", "avenue", "boulevard"] as const,
  ...["country", "open", "open", "wood", "cutting", "cutting", "works", "mixed"] as const,
] as const;
type Setting = typeof SETTINGS[number];

function isRural(setting: Setting): boolean {
  return setting === "country" || setting === "open" || setting === "wood" || setting === "cutting";
}

/** What may line each side there. */
const FRONTAGES: Readonly<Record<Setting, readonly Frontage[]>> = {
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
};

interface Side {
  readonly sign: 1 | -1;
  readonly frontage: Frontage;
  readonly kerb: number;
  readonly pavement: number;
  /** From the pavement to the fronts, m. */
  readonly yard: number;
  readonly parking: number;
  /** Beyond the yard the ground rises by `rise` over `run`, and to `top` at 50 m; all in m. */
  readonly run: number;
  /** See `run`. */
  readonly rise: number;
  /** See `run`. */
  readonly top: number;
}

const PAINTS: readonly Rgb[] = [
  [0.55, 0.56, 0.57],
  [0.3, 0.31, 0.32],
  [0.025, 0.025, 0.028],
  [0.7, 0.7, 0.69],
  [0.1, 0.11, 0.12],
  [0.03, 0.05, 0.14],
  [0.3, 0.025, 0.025],
  [0.02, 0.1, 0.3],
  [0.05, 0.12, 0.08],
  [0.32, 0.28, 0.2],
  [0.5, 0.3, 0.03],
];

/** Builds the world of one drive. The same arguments give the same world. */
export function buildScene(seed: number, drive: number, frames: number): Scene {
  const random = new Random(seed).fork(`drive ${drive}`);
  const mesh = new Mesh();
  const styles = new Styles();
  const layout = random.fork("layout");
  const setting = layout.pick(SETTINGS);
  const rural = isRural(setting);
  const speed = rural ? layout.uniform(8, 14) : layout.uniform(4, 11);
  const travel = frames * FRAME_SECONDS * speed;
  const end = travel + 230;
  // Straight, winding, or round one corner.
  const course = layout.next();
  const road = new Road(
    layout.fork("road"),
    -60,
    end + 60,
    course < 0.35 ? 1 / 2000 : 1 / layout.uniform(rural ? 70 : 45, 200),
    layout.chance(0.5) ? 0.008 : layout.uniform(0.015, 0.06),
    rural || course < 0.75 ? undefined : {
      from: travel + layout.uniform(8, 50),
      radius: setting === "lane" ? layout.uniform(14, 24) : layout.uniform(28, 45),
      angle: layout.uniform(0.5, 1.5) * (layout.chance(0.5) ? 1 : -1),
    },
  );
  const lane = setting === "lane";
  const oneWay = lane ||
    (setting === "town" ? layout.chance(0.4) : setting === "suburb" && layout.chance(0.2));
  const lanes = setting === "avenue" || setting === "boulevard" ? 2 : 1;
  const laneWidth = lane
    ? layout.uniform(3.4, 4.8)
    : oneWay
    ? layout.uniform(3, 4)
    : layout.uniform(2.6, 3.6);
  const sides = [1, -1].map((sign) => side(setting, sign as 1 | -1, layout));
  const carriage = (oneWay ? laneWidth / 2 : laneWidth * lanes) +
    Math.max(sides[0].parking, sides[1].parking);
  const look: RoadLook = {
    half: carriage,
    middle: oneWay ? 0 : rural ? layout.pick([1, 1, 2]) : layout.pick([0, 1, 1, 2, lanes === 2 ? 3 : 0]),
    lanes,
    laneWidth,
    edgeLines: rural ? layout.chance(0.8) : layout.chance(0.15),
    crossings: rural
      ? []
      : [layout.uniform(12, 60), layout.uniform(70, 140)].filter(() => layout.chance(0.45)),
    dash: layout.uniform(2, 5),
    gap: layout.uniform(3, 8),
    tone: layout.uniform(0.075, 0.2),
    wear: layout.next(),
    wet: layout.chance(0.2) ? layout.uniform(0.3, 1) : 0,
    seed: layout.below(1 << 16),
  };
  // A street across with houses, a wall or trees behind it: it closes the view.
  const near = Math.exp(layout.uniform(Math.log(rural ? 15 : 6), Math.log(85)));
  const close = layout.chance(rural ? 0.25 : 0.5) ? travel + near : end;
  const season = plantsOf(layout);
  const world: World = {
    mesh,
    styles,
    road,
    look,
    season,
    setting,
    close: Math.min(close, end),
    rural,
    fine: travel + 65,
  };
  addGround(world, sides, random.fork("ground"));
  for (const s of sides) addSide(world, s, random.fork(`side ${s.sign}`));
  if (close < end) addClosure(world, sides, random.fork("closure"));
  addBackdrop(world, random.fork("backdrop"), travel);
  const egoT = oneWay ? 0 : lanes === 2 ? laneWidth * layout.pick([0.5, 1.5]) : laneWidth / 2;
  const movers = addTraffic(world, sides, random.fork("traffic"), {
    egoT,
    speed,
    oneWay,
    seconds: frames * FRAME_SECONDS,
  });
  const weather = makeWeather(random.fork("weather"));
  const rig = random.fork("rig");
  const lateral = egoT + rig.normal(0, 0.15), height = CAMERA_HEIGHT + rig.normal(0, 0.03);
  // One rig, bolted to a roof as KITTI's is; load and crown of the road tilt it a little.
  const pitch = rig.normal(0, 0.006), roll = rig.normal(0, 0.005), yaw = rig.normal(0, 0.01);
  const drift = rig.uniform(-0.03, 0.03);
  const jolts = Array.from(
    { length: frames },
    () => [rig.normal(0, 0.004), rig.normal(0, 0.003), rig.normal(0, 0.012)],
  );
  const faces = mesh.faces, vertices = mesh.vertexCount;
  return {
    mesh,
    styles,
    road: look,
    weather,
    moveTo(frame) {
      mesh.truncate(faces, vertices);
      for (const m of movers) {
        const s = m.s + m.speed * frame * FRAME_SECONDS, p = road.at(s);
        const [x, y, z] = road.point(s, m.t, m.person ? 0.12 : 0);
        const back = m.speed < 0;
        mesh.place(x, y, z, p.heading + (back ? Math.PI : 0), back ? -p.slope : p.slope);
        if (m.vehicle) addVehicle(mesh, m.vehicle);
        else if (m.person) addPerson(mesh, m.person, m.speed === 0 ? 0.15 : Math.sin(s * 4.2));
      }
    },
    pose(frame) {
      const s = speed * frame * FRAME_SECONDS, p = road.at(s), ahead = road.at(s + 3);
      const jolt = jolts[frame] ?? [0, 0, 0];
      const slope = (ahead.z - road.at(s - 1).z) / 4;
      const [x, y, z] = road.point(s, lateral + drift * frame, height + jolt[2]);
      return orient([x, y, z], p.heading + yaw, Math.atan(slope) + pitch + jolt[0], roll + jolt[1]);
    },
  };
}

/** Camera axes for a heading, a pitch (up positive) and a roll, all in rad. */
function orient(position: [number, number, number], heading: number, pitch: number, roll: number): Pose {
  const ch = Math.cos(heading), sh = Math.sin(heading), cp = Math.cos(pitch), sp = Math.sin(pitch);
  const forward: [number, number, number] = [ch * cp, sh * cp, sp];
  const level = [sh, -ch, 0], below = [ch * sp, sh * sp, -cp];
  const c = Math.cos(roll), s = Math.sin(roll);
  const mixed = (
    a: readonly number[],
    ka: number,
    b: readonly number[],
    kb: number,
  ): [number, number, number] => [
    a[0] * ka + b[0] * kb,
    a[1] * ka + b[1] * kb,
    a[2] * ka + b[2] * kb,
  ];
  return { position, right: mixed(level, c, below, s), down: mixed(below, c, level, -s), forward };
}

interface Season {
  readonly leaf: Rgb;
  readonly other: Rgb;
  readonly grass: Rgb;
  readonly field: Rgb;
  readonly shapes: readonly TreeShape[];
}

interface World {
  readonly mesh: Mesh;
  /** What the facades look like. */
  readonly styles: Styles;
  readonly road: Road;
  readonly look: RoadLook;
  readonly season: Season;
  readonly setting: Setting;
  readonly close: number;
  readonly rural: boolean;
  /** Trees farther along the road than this have half the leaves, m. */
  readonly fine: number;
}

function plantsOf(random: Random): Season {
  const autumn = random.chance(0.2);
  const leaf: Rgb = autumn
    ? random.pick<Rgb>([[0.3, 0.16, 0.03], [0.25, 0.2, 0.04], [0.16, 0.16, 0.04]])
    : random.pick<Rgb>([[0.07, 0.13, 0.03], [0.1, 0.16, 0.04], [0.05, 0.1, 0.03], [0.12, 0.17, 0.05]]);
  return {
    leaf,
    other: [leaf[1] * 0.7, leaf[1] * 0.95, leaf[2]],
    grass: random.pick<Rgb>([[0.1, 0.15, 0.04], [0.14, 0.16, 0.05], [0.08, 0.13, 0.04]]),
    field: random.pick<Rgb>([[0.1, 0.16, 0.04], [0.3, 0.24, 0.1], [0.2, 0.14, 0.09], [0.16, 0.19, 0.05]]),
    shapes: random.pick<readonly TreeShape[]>([["broad"], ["broad", "tall"], ["broad", "broad", "fir"], [
      "tall",
      "broad",
      "young",
    ], ["fir", "broad"]]),
  };
}

function side(setting: Setting, sign: 1 | -1, random: Random): Side {
  const frontage = random.pick(FRONTAGES[setting]);
  const rural = isRural(setting);
  const lane = setting === "lane", broad = setting === "boulevard";
  const pavement = rural
    ? 0
    : lane
    ? random.uniform(0.8, 1.6)
    : broad
    ? random.uniform(4, 9)
    : setting === "avenue"
    ? random.uniform(2.5, 6)
    : random.uniform(0.9, 3.2);
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
  const parks = rural || lane ? 0 : random.chance(0.35) ? random.uniform(1.9, 2.3) : 0;
  const slope = rural && random.chance(0.6)
    ? random.uniform(-0.18, 0.3)
    : frontage === "park"
    ? random.uniform(-0.03, 0.12)
    : 0;
  let run = 16, rise = Math.max(-3, Math.min(5, slope * run)), top = 1.6 * rise;
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
  return {
    sign,
    frontage,
    kerb: rural ? 0 : random.uniform(0.08, 0.15),
    pavement,
    yard,
    parking: parks,
    run,
    rise,
    top,
  };
}

/** Bands of ground side by side, each row of them a few metres long. */
function addGround(world: World, sides: readonly Side[], random: Random): void {
  const { mesh, road, look, rural } = world;
  const asphalt: Paint = {
    material: MATERIAL.road,
    colour: [look.tone, look.tone, look.tone * 1.02],
    group: mesh.newGroup(),
  };
  const stations: number[] = [];
  for (let s = -40; s < road.to; s += s < 60 ? 4 : s < 140 ? 6 : 10) stations.push(s);
  const band = (paint: Paint, t0: number, z0: number, t1: number, z1: number) => {
    for (let k = 0; k + 1 < stations.length; k++) {
      const a = stations[k], b = stations[k + 1];
      const p = road.point(a, t0, z0),
        q = road.point(a, t1, z1),
        r = road.point(b, t1, z1),
        l = road.point(b, t0, z0);
      mesh.triangle(paint, [...p, ...q, ...r], [a, t0, a, t1, b, t1]);
      mesh.triangle(paint, [...p, ...r, ...l], [a, t0, b, t1, b, t0]);
    }
  };
  const half = look.half;
  band(asphalt, -half, 0, 0, 0.04);
  band(asphalt, 0, 0.04, half, 0);
  for (const s of sides) {
    // Bands run from left to right, so that they face up.
    const put = (paint: Paint, t0: number, z0: number, t1: number, z1: number) =>
      s.sign > 0 ? band(paint, t0, z0, t1, z1) : band(paint, -t1, z1, -t0, z0);
    const grass: Paint = {
      material: MATERIAL.grass,
      colour: world.season.grass,
      group: mesh.newGroup(),
      seed: s.sign,
    };
    let t = half, z = 0;
    if (s.kerb > 0) {
      const stone: Paint = {
        material: MATERIAL.kerb,
        colour: tinted([0.34, 0.33, 0.32], random, 0.25),
        group: mesh.newGroup(),
      };
      put(stone, t, z, t + 0.02, s.kerb);
      put(stone, t + 0.02, s.kerb, t + 0.16, s.kerb);
      t += 0.16;
      z = s.kerb;
    } else {
      put(
        { material: MATERIAL.gravel, colour: tinted([0.25, 0.23, 0.2], random, 0.3), group: mesh.newGroup() },
        t,
        z,
        t + 0.6,
        z - 0.03,
      );
      t += 0.6;
      z -= 0.03;
    }
    if (s.pavement > 0) {
      const paint: Paint = {
        material: MATERIAL.pavement,
        colour: tinted(
          random.pick<Rgb>([[0.3, 0.29, 0.28], [0.36, 0.33, 0.3], [0.26, 0.2, 0.18], [0.2, 0.2, 0.2]]),
          random,
          0.15,
        ),
        a: random.below(3),
        b: random.uniform(0.2, 0.6),
        group: mesh.newGroup(),
      };
      put(paint, t, z, t + s.pavement, z + 0.04);
      t += s.pavement;
      z += 0.04;
    }
    if (s.yard > 0) {
      const paved = s.frontage === "shops" || s.frontage === "works" ||
        (s.frontage === "blocks" && random.chance(0.4));
      const yard: Paint = paved
        ? {
          material: MATERIAL.pavement,
          colour: tinted([0.27, 0.26, 0.25], random, 0.3),
          a: 2,
          b: 0.5,
          group: mesh.newGroup(),
        }
        : grass;
      const dip = rural ? -random.uniform(0.1, 0.7) : 0.05;
      put(yard, t, z, t + s.yard, z + dip);
      t += s.yard;
      z += dip;
    }
    const bare: Paint = s.frontage === "town" || s.frontage === "works"
      ? { material: MATERIAL.gravel, colour: [0.22, 0.21, 0.2], group: mesh.newGroup() }
      : grass;
    const far: Paint = s.frontage === "field" || s.frontage === "plain"
      ? {
        material: MATERIAL.crop,
        colour: world.season.field,
        group: mesh.newGroup(),
        a: random.below(3),
        b: random.uniform(0.5, 2.5),
        seed: random.below(99),
      }
      : bare;
    put(far, t, z, t + s.run, z + s.rise);
    put(far, t + s.run, z + s.rise, t + 50, z + s.top);
    // As far as the backdrop, so that no sky shows below the horizon.
    put(bare, t + 50, z + s.top, t + 170, z + s.top);
  }
}

const ground = (side: Side, half: number) => {
  const t = half + (side.kerb > 0 ? 0.16 : 0.6) + side.pavement;
  return { pavement: half + (side.kerb > 0 ? 0.16 : 0.6), yard: t, front: t + side.yard };
};

/** Sets the local frame at (s, t) so that x runs along the fronts and y away from the road. */
function face(world: World, side: Side, s: number, t: number, up = 0): void {
  const p = world.road.at(s), [x, y, z] = world.road.point(s, side.sign * t, up);
  world.mesh.place(x, y, z, p.heading - side.sign * Math.PI / 2);
}

/** Sets the local frame at (s, t) with y along the road, as traffic on that side goes. */
function along(world: World, side: Side, s: number, t: number, up = 0): void {
  const p = world.road.at(s), [x, y, z] = world.road.point(s, side.sign * t, up);
  const back = side.sign < 0;
  world.mesh.place(x, y, z, p.heading + (back ? Math.PI : 0), back ? -p.slope : p.slope);
}

/** Height of the ground behind the yard at a distance beyond it. */
function bankAt({ run, rise, top }: Side, beyond: number): number {
  return beyond <= run ? rise * Math.max(0, beyond) / run : rise + (top - rise) * (beyond - run) / (50 - run);
}

function addSide(world: World, side: Side, random: Random): void {
  const { mesh, road, look, season, close } = world, end = Math.min(close + 30, road.to - 70);
  const where = ground(side, look.half);
  const base = side.kerb + (side.pavement > 0 ? 0.04 : 0);
  const leaf = () => tinted(random.chance(0.6) ? season.leaf : season.other, random, 0.35);
  const start = -24;
  /** Sets the local frame for a front from s on, `width` long on the road's middle; returns how long it is at t. */
  /** A bush or a tree on the bank, some metres beyond the fronts. */
  const plant = (s: number, beyond: number, bushes: number) => {
    along(world, side, s, where.front + beyond, base + bankAt(side, beyond) - 0.3);
    const shape = random.chance(bushes) ? "bush" : random.pick(season.shapes);
    addTree(mesh, shape, leaf(), random, s > world.fine);
  };
  const front = (s: number, width: number, t: number, up = base) => {
    const a = road.point(s, side.sign * t, up), b = road.point(s + width, side.sign * t, up);
    // Local x runs to the right of who looks at the front: against the road on its right side.
    const [from, to] = side.sign > 0 ? [b, a] : [a, b];
    mesh.place(...from, Math.atan2(to[1] - from[1], to[0] - from[0]) + Math.PI / 2);
    return Math.hypot(to[0] - from[0], to[1] - from[1]);
  };
  switch (side.frontage) {
    case "town":
    case "shops": {
      const storeys = random.uniform(1.6, 5);
      const gapChance = random.uniform(0.03, 0.2);
      for (let s = start; s < close - 3;) {
        const width = Math.min(random.uniform(6, 15), close - s);
        const p0 = road.at(s), p1 = road.at(s + width);
        const low = Math.min(p0.z, p1.z) - road.point(side.sign > 0 ? s + width : s, 0)[2];
        const wide = front(s, width, where.front + random.uniform(0, 0.25), base + low);
        addHouse(mesh, world.styles, {
          width: wide + 0.25,
          depth: random.uniform(8, 12),
          storeys: Math.max(1, Math.round(storeys + random.uniform(-1.2, 1.2))),
          kind: "town",
          shop: random.chance(side.frontage === "shops" ? 0.8 : 0.15),
        }, random);
        s += width;
        if (random.chance(gapChance)) {
          // A gap, a passage or a side street; something stands at its far end.
          const gap = random.uniform(3, 12);
          along(world, side, s + gap / 2, where.front + random.uniform(9, 22), base);
          addTree(mesh, random.pick(season.shapes), leaf(), random, s > world.fine);
          if (random.chance(0.6)) {
            addFence(mesh, front(s, gap, where.front + random.uniform(0.2, 4)), random);
          }
          s += gap;
        }
      }
      break;
    }
    case "blocks":
    case "works": {
      for (let s = start; s < close - 8;) {
        const width = Math.min(random.uniform(14, 38), close - s);
        front(s, width, where.front + random.uniform(0, 3));
        const hall = side.frontage === "works" && random.chance(0.75);
        addHouse(mesh, world.styles, {
          width,
          depth: random.uniform(11, 18),
          storeys: hall ? 1 + random.below(2) : 2 + random.below(5),
          kind: hall ? "hall" : "block",
          shop: !hall && random.chance(0.2),
        }, random);
        s += width + random.uniform(4, 22);
        if (random.chance(0.7)) {
          along(world, side, s - random.uniform(1, 6), where.front + random.uniform(0, 8), base);
          addTree(mesh, random.pick(season.shapes), leaf(), random, s > world.fine);
        }
      }
      if (side.yard > 5) scatterParked(world, side, random, where.yard + 2.6, base, 0.5);
      break;
    }
    case "homes": {
      const bound = random.below(4);
      for (let s = start; s < close - 7;) {
        const width = Math.min(random.uniform(7.5, 13), close - s), plot = width + random.uniform(3, 11);
        const shift = random.uniform(0, plot - width);
        front(s + shift, width, where.front + random.uniform(-1, 3));
        addHouse(mesh, world.styles, {
          width,
          depth: random.uniform(7, 10),
          storeys: 1 + random.below(3),
          kind: "home",
          shop: false,
        }, random);
        const drive = random.uniform(2.6, 3.4);
        const wide = front(s + drive, Math.min(plot, close - s) - drive, where.yard + 0.15);
        if (bound === 0 || (bound === 3 && random.chance(0.5))) {
          addHedge(mesh, wide, random.uniform(0.8, 2), random.uniform(0.6, 1), leaf(), random);
        } else if (bound === 1 || bound === 3) addFence(mesh, wide, random);
        if (random.chance(0.5) && side.yard > 4) {
          const vehicle = randomCar(random);
          face(world, side, s + drive / 2, where.yard + 2.8, base);
          addVehicle(mesh, vehicle);
        }
        for (let k = random.below(4); k > 0; k--) {
          along(
            world,
            side,
            s + random.uniform(drive, plot),
            where.yard + random.uniform(0.8, Math.max(1, side.yard - 0.5)),
            base,
          );
          addTree(
            mesh,
            random.chance(0.55) ? "bush" : random.pick(season.shapes),
            leaf(),
            random,
            s > world.fine,
          );
        }
        if (random.chance(0.6)) {
          along(world, side, s + random.uniform(0, plot), where.front + random.uniform(11, 18), base);
          addTree(mesh, random.pick(season.shapes), leaf(), random, true);
        }
        s += plot;
      }
      break;
    }
    case "wall": {
      let s = start;
      while (s < close) {
        const length = Math.min(random.uniform(8, 22), Math.max(2, close - s));
        const wide = front(s, length, where.front + 0.1);
        if (random.chance(0.3)) addHedge(mesh, wide, random.uniform(1.2, 2.6), 0.9, leaf(), random);
        else addFence(mesh, wide, random);
        for (let k = 1 + random.below(3); k > 0; k--) {
          along(world, side, s + random.uniform(0, length), where.front + random.uniform(1.5, 9), base);
          addTree(mesh, random.pick(season.shapes), leaf(), random, s > world.fine);
        }
        if (random.chance(0.3)) {
          const room = front(s, length, where.front + random.uniform(6, 14));
          addHouse(mesh, world.styles, {
            width: Math.min(room, 12),
            depth: 8,
            storeys: 1 + random.below(3),
            kind: "home",
            shop: false,
          }, random);
        }
        s += length;
      }
      break;
    }
    case "park":
    case "wood": {
      const dense = side.frontage === "wood" ? random.uniform(1.6, 3) : random.uniform(4, 10);
      const deep = side.frontage === "wood" ? 14 : 34;
      for (let s = start; s < close + 20; s += dense * random.uniform(0.6, 1.4)) {
        const beyond = random.next() ** 1.4 * deep;
        along(world, side, s, where.front + 0.8 + beyond, base - 0.1 + bankAt(side, beyond));
        const far = beyond > 9 || s > world.fine;
        addTree(mesh, random.chance(0.2) ? "bush" : random.pick(season.shapes), leaf(), random, far);
      }
      if (side.frontage === "wood") {
        // Undergrowth closes the view between the trunks.
        for (let s = start; s < close + 20; s += random.uniform(2.2, 4)) {
          const beyond = random.uniform(0.4, 9);
          along(world, side, s, where.front + beyond, base - 0.1 + bankAt(side, beyond));
          addTree(mesh, "bush", leaf(), random, true);
        }
      } else if (random.chance(0.5)) {
        for (let s = start; s < close; s += 10) {
          const wide = front(s, 10, where.front + 0.1);
          if (random.chance(0.75)) addHedge(mesh, wide, random.uniform(0.7, 1.3), 0.8, leaf(), random);
        }
      }
      break;
    }
    case "field": {
      const rows = random.chance(0.45) ? random.uniform(8, 16) : 0;
      if (rows) {
        for (let s = start; s < close; s += rows) {
          along(world, side, s + random.uniform(-0.5, 0.5), where.front + 0.6, base - 0.2);
          addTree(mesh, random.pick(season.shapes), leaf(), random, s > world.fine);
        }
      }
      for (let k = 10; k > 0; k--) {
        const beyond = random.uniform(6, 46);
        along(
          world,
          side,
          random.uniform(start, close),
          where.front + beyond,
          base + bankAt(side, beyond) - 0.3,
        );
        addTree(mesh, random.pick(season.shapes), leaf(), random, true);
      }
      if (random.chance(0.4)) {
        for (let s = start; s < close; s += 8) {
          addGuardRail(mesh, front(s, 8, where.pavement + 0.5, 0));
        }
      } else if (random.chance(0.5)) {
        for (let s = start; s < close; s += 12) {
          const wide = front(s, 12, where.front + 0.3, base - 0.2);
          if (random.chance(0.4)) addFence(mesh, wide, random);
          else if (random.chance(0.5)) addHedge(mesh, wide, random.uniform(0.8, 1.8), 1, leaf(), random);
        }
      }
      if (random.chance(0.5)) {
        front(random.uniform(30, 120), 16, where.front + random.uniform(10, 30));
        addHouse(mesh, world.styles, {
          width: random.uniform(10, 20),
          depth: 9,
          storeys: 1 + random.below(2),
          kind: random.chance(0.5) ? "home" : "hall",
          shop: false,
        }, random);
      }
      break;
    }
    case "plain": {
      // Open land: what stands on it is far off.
      for (let k = random.below(9); k > 0; k--) {
        const beyond = random.uniform(18, 48);
        along(world, side, random.uniform(0, end), where.front + beyond, base + bankAt(side, beyond) - 0.3);
        addTree(mesh, random.pick(season.shapes), leaf(), random, true);
      }
      break;
    }
    case "bank": {
      const dense = random.uniform(1.5, 8);
      for (let s = start; s < close; s += dense * random.uniform(0.6, 1.4)) {
        const beyond = random.uniform(0.3, side.run + 8);
        plant(s, beyond, 0.6);
      }
      break;
    }
    case "retaining": {
      const colour = random.pick<Rgb>([[0.3, 0.15, 0.1], [0.4, 0.38, 0.34], [0.5, 0.48, 0.44]]);
      const stone: Paint = { material: MATERIAL.stone, colour, seed: random.below(4096) };
      for (let s = start; s < close; s += 6) {
        const wide = front(s, Math.min(6, close - s), where.front - 0.1);
        mesh.box(stone, 0, 0, -0.6, wide + 0.05, 0.6, side.rise + 0.4);
      }
      for (let s = start; s < close; s += random.uniform(2, 9)) {
        const beyond = random.uniform(1.5, 9);
        plant(s, beyond, 0.4);
      }
      break;
    }
  }
  addFurniture(world, side, random, base);
  if (side.parking > 0) scatterParked(world, side, random, look.half - 1.02, 0, random.uniform(0.25, 0.9));
}

function addFurniture(world: World, side: Side, random: Random, base: number): void {
  const { mesh, look, season, close, rural } = world;
  const where = ground(side, look.half);
  const edge = where.pavement + (rural ? 1.2 : Math.min(0.45, side.pavement * 0.3));
  const up = rural ? -0.1 : base;
  const spacing = random.uniform(18, 38),
    streetTrees = side.pavement > 2.2 && random.chance(0.5) ? random.uniform(7, 14) : 0;
  // A narrow lane's lamps hang on its walls.
  const narrow = world.setting === "lane";
  if (rural ? random.chance(0.35) : !narrow) {
    for (let s = random.uniform(-10, 10); s < close; s += spacing) {
      along(world, side, s, edge, up);
      addLamp(mesh, random);
    }
  }
  if (streetTrees) {
    for (let s = random.uniform(-6, 6); s < close; s += streetTrees) {
      along(world, side, s + random.uniform(-0.6, 0.6), edge + 0.4, up);
      addTree(
        mesh,
        random.chance(0.3) ? "young" : random.pick(season.shapes),
        tinted(season.leaf, random, 0.3),
        random,
        s > world.fine,
      );
    }
  }
  for (let s = random.uniform(narrow ? 12 : 4, 25); s < close; s += random.uniform(12, 45)) {
    along(world, side, s, edge + 0.1, up);
    addSign(mesh, random);
  }
  if (side.pavement > 1.2 && !narrow) {
    for (let s = random.uniform(0, 20); s < close; s += random.uniform(8, 30)) {
      along(world, side, s, where.yard - 1, base);
      addClutter(mesh, random);
    }
  }
  for (const s of look.crossings) {
    if (!random.chance(0.6)) continue;
    along(world, side, s - 2.5 * side.sign, edge, up);
    addTrafficLight(mesh, random);
  }
}

function randomCar(random: Random): Vehicle {
  const shape: VehicleShape = random.pick([
    "hatch",
    "hatch",
    "saloon",
    "saloon",
    "estate",
    "estate",
    "suv",
    "van",
  ]);
  const white = shape === "van" && random.chance(0.6);
  return {
    shape,
    colour: tinted(white ? [0.7, 0.7, 0.7] : random.pick(PAINTS), random, 0.2),
    seed: random.below(1 << 16),
  };
}

function scatterParked(world: World, side: Side, random: Random, t: number, up: number, share: number): void {
  for (let s = -14; s < world.close - 6;) {
    const vehicle = randomCar(random), [length] = vehicleSize(vehicle.shape);
    const free = world.look.crossings.some((c) => s + length > c - 4 && s < c + 4);
    if (!free && random.chance(share)) {
      along(world, side, s + length / 2, t + random.normal(0, 0.06), up);
      addVehicle(world.mesh, vehicle);
      s += length + random.uniform(0.5, 1.3);
    } else s += random.uniform(3, 9);
  }
}

function addTraffic(
  world: World,
  sides: readonly Side[],
  random: Random,
  ego: { readonly egoT: number; readonly speed: number; readonly oneWay: boolean; readonly seconds: number },
): Mover[] {
  const { egoT, speed, oneWay, seconds } = ego;
  const movers: Mover[] = [];
  const vehicle = (large = 0): Vehicle => {
    const kind = random.next();
    if (kind < 0.1 + 0.6 * large) {
      return {
        shape: "lorry",
        colour: tinted(random.pick(PAINTS), random, 0.2),
        seed: random.below(1 << 16),
      };
    }
    if (kind < 0.16 + large) {
      return {
        shape: "bus",
        colour: random.pick<Rgb>([[0.6, 0.5, 0.1], [0.6, 0.6, 0.6], [0.45, 0.04, 0.04], [0.05, 0.2, 0.4]]),
        seed: random.below(1 << 16),
      };
    }
    return randomCar(random);
  };
  const limit = world.close - 4;
  const put = (s: number, t: number, v: number, vehicle: Vehicle) => {
    if (s < limit || v < 0) movers.push({ s, t, speed: v, vehicle });
  };
  if (random.chance(0.5)) {
    const leader = vehicle(0.15), gap = Math.exp(random.uniform(Math.log(6), Math.log(34)));
    // However long the drive is, it is not caught up with.
    const slower = Math.min(0.8, (gap - 5) / seconds);
    put(
      gap + vehicleSize(leader.shape)[0] / 2,
      egoT + random.normal(0, 0.1),
      speed + random.uniform(-slower, 1),
      leader,
    );
  }
  if (random.chance(0.25)) put(70 + random.uniform(0, 60), egoT, speed, vehicle());
  if (world.look.lanes === 2) {
    const other = egoT > world.look.laneWidth ? egoT - world.look.laneWidth : egoT + world.look.laneWidth;
    for (let s = random.uniform(-8, 20); s < 120; s += random.uniform(10, 60)) {
      put(s, other, speed + 0.5, vehicle());
    }
  }
  if (!oneWay) {
    for (let lane = 0; lane < world.look.lanes; lane++) {
      const v = -random.uniform(6, 13);
      const t = -world.look.laneWidth * (lane + 0.5);
      for (let s = random.uniform(4, 50); s < Math.min(200, limit); s += random.uniform(14, 80)) {
        put(s, t, v, vehicle());
      }
    }
  }
  for (const side of sides) {
    if (side.pavement < 1) continue;
    const where = ground(side, world.look.half);
    const busy = random.uniform(4, 40);
    for (
      let s = world.setting === "lane" ? random.uniform(10, 40) : random.uniform(2, 20);
      s < Math.min(120, world.close);
      s += random.uniform(0.3, 1.7) * busy
    ) {
      const away = random.chance(0.5);
      movers.push({
        s,
        t: side.sign * random.uniform(where.pavement + 0.4, where.yard - 0.3),
        speed: (away ? 1 : -1) * random.uniform(0.9, 1.6),
        person: {
          shirt: tinted(
            random.pick<Rgb>([
              [0.4, 0.05, 0.05],
              [0.05, 0.08, 0.25],
              [0.5, 0.5, 0.5],
              [0.03, 0.03, 0.03],
              [0.1, 0.25, 0.12],
              [0.5, 0.35, 0.05],
              [0.3, 0.3, 0.45],
            ]),
            random,
            0.3,
          ),
          trousers: tinted(
            random.pick<Rgb>([[0.05, 0.07, 0.15], [0.03, 0.03, 0.03], [0.25, 0.2, 0.13], [0.2, 0.2, 0.2]]),
            random,
            0.3,
          ),
          hair: random.pick<Rgb>([[0.03, 0.02, 0.015], [0.12, 0.07, 0.03], [0.3, 0.2, 0.08], [
            0.3,
            0.3,
            0.3,
          ]]),
          height: random.uniform(1.55, 1.9),
        },
      });
    }
  }
  return movers;
}

/** Where the road ends: a street across, and behind it houses, a wall or a hedge with trees. */
function addClosure(world: World, sides: readonly Side[], random: Random): void {
  const { mesh, road, look, close, season } = world;
  const s = close + 8, p = road.at(s), half = Math.min(look.half, 3.6);
  const reach = 10 + Math.min(30, Math.max(...sides.map((side) => ground(side, look.half).front)));
  const up = Math.max(...sides.map((side) => side.kerb)) + 0.07;
  const place = (t: number, ahead = 0, z = up) => {
    const [x, y, h] = road.point(s, t, z);
    mesh.place(x + ahead * Math.cos(p.heading), y + ahead * Math.sin(p.heading), h, p.heading);
  };
  const asphalt: Paint = {
    material: MATERIAL.road,
    colour: [look.tone, look.tone, look.tone * 1.02],
    group: mesh.newGroup(),
  };
  const corner = (along: number, across: number): [number, number, number] => {
    const [x, y, h] = road.point(s, along, up);
    return [x + across * Math.cos(p.heading), y + across * Math.sin(p.heading), h];
  };
  const far = -0.6, near = far - 2 * half, middle = (far + near) / 2;
  // Its markings run along it.
  const a = corner(-60, near), b = corner(60, near), c = corner(60, far), d = corner(-60, far);
  mesh.triangle(asphalt, [...a, ...b, ...c], [0, near - middle, 120, near - middle, 120, far - middle]);
  mesh.triangle(asphalt, [...a, ...c, ...d], [0, near - middle, 120, far - middle, 0, far - middle]);
  if (random.chance(0.3)) {
    const vehicle = randomCar(random), left = random.chance(0.5);
    const [x, y, z] = corner(random.uniform(-8, 8), middle + (left ? 0.5 : -0.5) * half);
    mesh.place(x, y, z, p.heading + (left ? Math.PI / 2 : -Math.PI / 2));
    addVehicle(mesh, vehicle);
  }
  if (random.chance(world.rural ? 0.25 : 0.65)) {
    const kind = random.pick(["town", "town", "town", "block", "home"] as const);
    for (let t = -reach; t < reach;) {
      const width = random.uniform(9, 16);
      place(t, kind === "town" ? 0 : random.uniform(0, 3));
      addHouse(mesh, world.styles, {
        width,
        depth: 10,
        storeys: kind === "home" ? 1 + random.below(2) : 2 + random.below(4),
        kind,
        shop: kind === "town" && random.chance(0.4),
      }, random);
      t += width + (kind === "town" ? 0 : random.uniform(0, 5));
    }
    return;
  }
  const width = 2 * reach + 20, leaf = () => tinted(season.leaf, random, 0.3);
  const hedge = random.chance(0.4);
  for (let t = -width / 2; t < width / 2; t += width / 4) {
    place(t);
    if (hedge) addHedge(mesh, width / 4, random.uniform(1.2, 2.6), 1, leaf(), random);
    else addFence(mesh, width / 4, random);
  }
  for (let k = 0; k < 18; k++) {
    place(random.uniform(-width / 2, width / 2), random.uniform(1.5, 9), 0);
    addTree(mesh, random.pick(season.shapes), leaf(), random);
  }
}

/** Wooded hills and distant roofs around the whole scene, 130 to 250 m away. */
function addBackdrop(world: World, random: Random, travel: number): void {
  const { mesh, road } = world;
  const middle = road.point(travel / 2, 0), heading = road.at(travel / 2).heading;
  for (const [near, far, high, count] of [[125, 160, 7, 40], [185, 235, 15, 40]] as const) {
    const group = mesh.newGroup();
    for (let k = 0; k < count; k++) {
      const angle = heading + 2 * Math.PI * (k + random.next()) / count;
      const r = random.uniform(near, far), h = high * random.uniform(0.5, 1.5), w = random.uniform(36, 60);
      const x = middle[0] + r * Math.cos(angle), y = middle[1] + r * Math.sin(angle);
      mesh.place(x, y, middle[2] - 5, angle);
      const tone = random.uniform(0.5, 0.9), leaf = world.season.leaf;
      mesh.face(
        {
          material: MATERIAL.backdrop,
          colour: [leaf[0] * tone, leaf[1] * tone, leaf[2] * tone],
          mask: MASK.skyline,
          twoSided: true,
          seed: random.below(4096),
          group,
        },
        [-w / 2, 0, 0, w / 2, 0, 0, w / 2, 0, h + 5, -w / 2, 0, h + 5],
        [random.uniform(-60, 60), 0, 0],
        [1 / w, 0.98 / (h + 5)],
      );
    }
  }
}

function makeWeather(random: Random): Weather {
  const clouds = random.chance(0.3) ? random.uniform(0.75, 1) : random.uniform(0, 0.65);
  const height = random.uniform(0.28, 1.05), azimuth = random.uniform(0, 2 * Math.PI);
  const sun: [number, number, number] = [
    Math.cos(height) * Math.cos(azimuth),
    Math.cos(height) * Math.sin(azimuth),
    Math.sin(height),
  ];
  const strength = clouds > 0.75 ? random.uniform(0, 0.5) : random.uniform(2.2, 3.6);
  const warm = 1 - Math.min(1, height / 0.8);
  const grey = clouds * 0.75;
  const mix = (clear: number, dull: number) => clear + (dull - clear) * grey;
  return {
    sun,
    sunlight: [
      strength * (1 + 0.08 * warm),
      strength * (0.96 - 0.08 * warm),
      strength * (0.88 - 0.25 * warm),
    ],
    zenith: [mix(0.3, 0.8), mix(0.5, 0.83), mix(0.95, 0.88)],
    horizon: [mix(0.82, 0.95), mix(0.92, 0.97), mix(1.05, 1.0)],
    clouds,
    haze: Math.exp(random.uniform(Math.log(350), Math.log(2500))),
    exposure: random.uniform(0.95, 1.15) / (0.33 * strength + 0.75),
    seed: random.below(1 << 16),
  };
}
