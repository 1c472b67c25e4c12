/**
 * What stands still along a road: the ground, the fronts on either side, street furniture, parked cars, what closes
 * the view at the end, and the hills around.
 *
 * @module
 */
import type { Random } from "../base/random.ts";
import type { Layout, PlacedSide } from "./layout.ts";
import { type Material, type Mesh, type Paint, paint, type Rgb, shaded, tinted } from "./mesh.ts";
import { MASK } from "./noise.ts";
import {
  addClutter,
  addFence,
  addGuardRail,
  addLamp,
  addSign,
  addTrafficLight,
  STONES,
} from "./objects/furniture.ts";
import { addHouse, type Facade, type House } from "./objects/house.ts";
import { addHedge, addTree } from "./objects/plants.ts";
import { addVehicle, randomCar, vehicleLength } from "./objects/vehicle.ts";

/** A drive's world while it is built. */
export interface World extends Layout {
  readonly mesh: Mesh;
  /** What the facades look like, by the number that their faces carry. */
  readonly facades: Facade[];
}

/** Builds all that stands still. */
export function buildRoadside(world: World, random: Random): void {
  addGround(world, random.fork("ground"));
  for (const side of world.sides) new Roadside(world, side, random.fork(`side ${side.sign}`)).build();
  if (world.close < world.end) addClosure(world, random.fork("closure"));
  addBackdrop(world, random.fork("backdrop"));
}

/** A paint for faces that are shaded together where they meet. */
function grouped(mesh: Mesh, material: Material, color: Rgb, more: Partial<Paint> = {}): Paint {
  return { material, color, group: mesh.newGroup(), ...more };
}

function asphaltOf({ look: { tone }, mesh }: World): Paint {
  return grouped(mesh, "road", [tone, tone, tone * 1.02]);
}

const SLABS: readonly Rgb[] = [[0.3, 0.29, 0.28], [0.36, 0.33, 0.3], [0.26, 0.2, 0.18], [0.2, 0.2, 0.2]];

/** Bands of ground side by side, each row of them a few meters long. */
function addGround(world: World, random: Random): void {
  const { mesh, road, rural, season } = world, half = world.look.half;
  const stations: number[] = [];
  for (let s = -40; s < road.to; s += s < 60 ? 4 : s < 140 ? 6 : 10) stations.push(s);
  const band = (paint: Paint, t0: number, z0: number, t1: number, z1: number) => {
    for (let k = 0; k + 1 < stations.length; k++) {
      const a = stations[k], b = stations[k + 1];
      const p = road.point(a, t0, z0), q = road.point(a, t1, z1), r = road.point(b, t1, z1);
      mesh.triangle(paint, [...p, ...q, ...r], [a, t0, a, t1, b, t1]);
      mesh.triangle(paint, [...p, ...r, ...road.point(b, t0, z0)], [a, t0, b, t1, b, t0]);
    }
  };
  const asphalt = asphaltOf(world);
  band(asphalt, -half, 0, 0, 0.04);
  band(asphalt, 0, 0.04, half, 0);
  for (const { sign, frontage, curb, sidewalk, yard, run, rise, top } of world.sides) {
    let t = half, z = 0;
    /** Adds a band from where the last ended; from left to right, so that it faces up. */
    const extend = (paint: Paint, t1: number, z1: number) => {
      if (sign > 0) band(paint, t, z, t1, z1);
      else band(paint, -t1, z1, -t, z);
      t = t1;
      z = z1;
    };
    const grass = grouped(mesh, "grass", season.grass, { seed: sign });
    if (curb > 0) {
      const stone = grouped(mesh, "curb", tinted([0.34, 0.33, 0.32], random, 0.25));
      extend(stone, half + 0.02, curb);
      extend(stone, half + 0.16, curb);
    } else extend(grouped(mesh, "gravel", tinted([0.25, 0.23, 0.2], random, 0.3)), half + 0.6, -0.03);
    if (sidewalk > 0) {
      const color = tinted(random.pick(SLABS), random, 0.15),
        a = random.below(3),
        b = random.uniform(0.2, 0.6);
      extend(grouped(mesh, "sidewalk", color, { a, b }), t + sidewalk, z + 0.04);
    }
    if (yard > 0) {
      const paved = frontage === "shops" || frontage === "works" ||
        (frontage === "blocks" && random.chance(0.4));
      const paint = paved
        ? grouped(mesh, "sidewalk", tinted([0.27, 0.26, 0.25], random, 0.3), { a: 2, b: 0.5 })
        : grass;
      extend(paint, t + yard, z + (rural ? -random.uniform(0.1, 0.7) : 0.05));
    }
    const bare = frontage === "town" || frontage === "works"
      ? grouped(mesh, "gravel", [0.22, 0.21, 0.2])
      : grass;
    let far = bare;
    if (frontage === "field" || frontage === "plain") {
      const a = random.below(3), b = random.uniform(0.5, 2.5);
      far = grouped(mesh, "crop", season.field, { a, b, seed: random.below(99) });
    }
    const front = t, level = z;
    extend(far, front + run, level + rise);
    extend(far, front + 50, level + top);
    // As far as the backdrop, so that no sky shows below the horizon.
    extend(bare, front + 170, level + top);
  }
}

/** Where the fronts begin, m along the road: behind the cameras, so that nothing is seen to end. */
const START = -24;

/** Builds one side of the road. */
class Roadside {
  /** Trees farther along the road than this have half the leaves, m. */
  readonly #fine: number;

  constructor(readonly world: World, readonly side: PlacedSide, readonly random: Random) {
    this.#fine = world.travel + 65;
  }

  build(): void {
    const { side, world, random } = this;
    switch (side.frontage) {
      case "town":
      case "shops":
        this.#rowHouses();
        break;
      case "blocks":
      case "works":
        this.#largeBuildings();
        break;
      case "homes":
        this.#homes();
        break;
      case "wall":
        this.#walls();
        break;
      case "park":
      case "wood":
        this.#trees();
        break;
      case "field":
        this.#field();
        break;
      case "plain":
        // Open land: what stands on it is far off.
        for (let k = random.below(9); k > 0; k--) {
          const beyond = random.uniform(18, 48);
          this.#plant(random.uniform(0, Math.min(world.close + 30, world.road.to - 70)), beyond, true);
        }
        break;
      case "bank": {
        const spacing = random.uniform(1.5, 8);
        for (let s = START; s < world.close; s += spacing * random.uniform(0.6, 1.4)) {
          this.#plant(s, random.uniform(0.3, side.run + 8), s > this.#fine, 0.6);
        }
        break;
      }
      case "retaining":
        this.#retainingWall();
    }
    this.#furniture();
    if (side.parking > 0) this.#parkedCars(world.look.half - 1.02, 0, random.uniform(0.25, 0.9));
  }

  /** Sets the local frame at (s, t) with y along the road, as traffic on this side goes. */
  #along(s: number, t: number, up: number): void {
    const { road, mesh } = this.world, { sign } = this.side;
    const p = road.at(s), [x, y, z] = road.point(s, sign * t, up);
    mesh.place(x, y, z, p.heading + (sign < 0 ? Math.PI : 0), sign * p.slope);
  }

  /** Sets the local frame for a front from s on, `width` long on the road's middle; returns how long it is at t. */
  #front(s: number, width: number, t: number, up = this.side.base): number {
    const { road, mesh } = this.world, { sign } = this.side;
    const a = road.point(s, sign * t, up), b = road.point(s + width, sign * t, up);
    // Local x runs to the right of who looks at the front: against the road on its right side.
    const [from, to] = sign > 0 ? [b, a] : [a, b];
    mesh.place(...from, Math.atan2(to[1] - from[1], to[0] - from[0]) + Math.PI / 2);
    return Math.hypot(to[0] - from[0], to[1] - from[1]);
  }

  /** Height of the ground some meters beyond the fronts. */
  #groundAt(beyond: number): number {
    const { run, rise, top } = this.side;
    return beyond <= run
      ? rise * Math.max(0, beyond) / run
      : rise + (top - rise) * (beyond - run) / (50 - run);
  }

  #leaf(): Rgb {
    const { leaf, otherLeaf } = this.world.season;
    return tinted(this.random.chance(0.6) ? leaf : otherLeaf, this.random, 0.35);
  }

  /** A tree of the season's shapes at (s, t), or with a probability of `bushes` a bush. */
  #tree(s: number, t: number, up: number, coarse: boolean, bushes = 0): void {
    const { random, world } = this;
    this.#along(s, t, up);
    const bush = bushes === 1 || (bushes > 0 && random.chance(bushes));
    const shape = bush ? "bush" : random.pick(world.season.shapes);
    addTree(world.mesh, shape, this.#leaf(), random, coarse);
  }

  /** A tree or bush on the ground some meters beyond the fronts. */
  #plant(s: number, beyond: number, coarse: boolean, bushes = 0): void {
    const { frontAt, base } = this.side;
    this.#tree(s, frontAt + beyond, base + this.#groundAt(beyond) - 0.3, coarse, bushes);
  }

  #house(house: House): void {
    addHouse(this.world.mesh, this.world.facades, house, this.random);
  }

  #fence(length: number): void {
    addFence(this.world.mesh, length, this.random);
  }

  #hedge(length: number, height: number, depth: number): void {
    addHedge(this.world.mesh, length, height, depth, this.#leaf(), this.random);
  }

  #rowHouses(): void {
    const { random, world: { close, road }, side: { sign, frontage, frontAt, base } } = this;
    const stories = random.uniform(1.6, 5), gapChance = random.uniform(0.03, 0.2);
    for (let s = START; s < close - 3;) {
      const width = Math.min(random.uniform(6, 15), close - s);
      // No house stands above the road where that falls.
      const low = Math.min(road.at(s).z, road.at(s + width).z) - road.point(sign > 0 ? s + width : s, 0)[2];
      const wide = this.#front(s, width, frontAt + random.uniform(0, 0.25), base + low);
      this.#house({
        width: wide + 0.25,
        depth: random.uniform(8, 12),
        stories: Math.max(1, Math.round(stories + random.uniform(-1.2, 1.2))),
        kind: "town",
        shop: random.chance(frontage === "shops" ? 0.8 : 0.15),
      });
      s += width;
      if (!random.chance(gapChance)) continue;
      // A gap, a passage or a side street; something stands at its far end.
      const gap = random.uniform(3, 12);
      this.#tree(s + gap / 2, frontAt + random.uniform(9, 22), base, s > this.#fine);
      if (random.chance(0.6)) this.#fence(this.#front(s, gap, frontAt + random.uniform(0.2, 4)));
      s += gap;
    }
  }

  /** Blocks of flats and halls with room between them. */
  #largeBuildings(): void {
    const { random, world: { close }, side: { frontage, frontAt, yardAt, yard, base } } = this;
    for (let s = START; s < close - 8;) {
      const width = Math.min(random.uniform(14, 38), close - s);
      this.#front(s, width, frontAt + random.uniform(0, 3));
      const hall = frontage === "works" && random.chance(0.75);
      this.#house({
        width,
        depth: random.uniform(11, 18),
        stories: hall ? 1 + random.below(2) : 2 + random.below(5),
        kind: hall ? "hall" : "block",
        shop: !hall && random.chance(0.2),
      });
      s += width + random.uniform(4, 22);
      if (random.chance(0.7)) {
        this.#tree(s - random.uniform(1, 6), frontAt + random.uniform(0, 8), base, s > this.#fine);
      }
    }
    if (yard > 5) this.#parkedCars(yardAt + 2.6, base, 0.5);
  }

  /** Detached houses in gardens, bounded by hedges, fences, nothing or a mix of them. */
  #homes(): void {
    const { random, world: { close, mesh, road }, side: { sign, frontAt, yardAt, yard, base } } = this;
    const bound = random.pick(["hedge", "fence", "none", "mixed"] as const);
    for (let s = START; s < close - 7;) {
      const width = Math.min(random.uniform(7.5, 13), close - s), plot = width + random.uniform(3, 11);
      this.#front(s + random.uniform(0, plot - width), width, frontAt + random.uniform(-1, 3));
      this.#house({ width, depth: random.uniform(7, 10), stories: 1 + random.below(3), kind: "home" });
      const drive = random.uniform(2.6, 3.4);
      const wide = this.#front(s + drive, Math.min(plot, close - s) - drive, yardAt + 0.15);
      if (bound === "hedge" || (bound === "mixed" && random.chance(0.5))) {
        this.#hedge(wide, random.uniform(0.8, 2), random.uniform(0.6, 1));
      } else if (bound !== "none") this.#fence(wide);
      if (random.chance(0.5) && yard > 4) {
        // On the driveway, facing the house.
        const car = randomCar(random), at = s + drive / 2;
        mesh.place(...road.point(at, sign * (yardAt + 2.8), base), road.at(at).heading - sign * Math.PI / 2);
        addVehicle(mesh, car);
      }
      for (let k = random.below(4); k > 0; k--) {
        const at = s + random.uniform(drive, plot), t = yardAt + random.uniform(0.8, Math.max(1, yard - 0.5));
        this.#tree(at, t, base, s > this.#fine, 0.55);
      }
      if (random.chance(0.6)) {
        this.#tree(s + random.uniform(0, plot), frontAt + random.uniform(11, 18), base, true);
      }
      s += plot;
    }
  }

  /** Walls, fences and hedges with trees and some houses behind. */
  #walls(): void {
    const { random, world: { close }, side: { frontAt, base } } = this;
    for (let s = START; s < close;) {
      const length = Math.min(random.uniform(8, 22), Math.max(2, close - s));
      const wide = this.#front(s, length, frontAt + 0.1);
      if (random.chance(0.3)) this.#hedge(wide, random.uniform(1.2, 2.6), 0.9);
      else this.#fence(wide);
      for (let k = 1 + random.below(3); k > 0; k--) {
        this.#tree(s + random.uniform(0, length), frontAt + random.uniform(1.5, 9), base, s > this.#fine);
      }
      if (random.chance(0.3)) {
        const room = this.#front(s, length, frontAt + random.uniform(6, 14));
        this.#house({ width: Math.min(room, 12), depth: 8, stories: 1 + random.below(3), kind: "home" });
      }
      s += length;
    }
  }

  /** A park or a wood. */
  #trees(): void {
    const { random, world: { close }, side: { frontAt, base } } = this, wood = this.side.frontage === "wood";
    const spacing = wood ? random.uniform(1.6, 3) : random.uniform(4, 10);
    for (let s = START; s < close + 20; s += spacing * random.uniform(0.6, 1.4)) {
      const beyond = random.next() ** 1.4 * (wood ? 14 : 34), up = base - 0.1 + this.#groundAt(beyond);
      this.#tree(s, frontAt + 0.8 + beyond, up, beyond > 9 || s > this.#fine, 0.2);
    }
    if (wood) {
      // Undergrowth closes the view between the trunks.
      for (let s = START; s < close + 20; s += random.uniform(2.2, 4)) {
        const beyond = random.uniform(0.4, 9);
        this.#tree(s, frontAt + beyond, base - 0.1 + this.#groundAt(beyond), true, 1);
      }
    } else if (random.chance(0.5)) {
      for (let s = START; s < close; s += 10) {
        const wide = this.#front(s, 10, frontAt + 0.1);
        if (random.chance(0.75)) this.#hedge(wide, random.uniform(0.7, 1.3), 0.8);
      }
    }
  }

  #field(): void {
    const { random, world: { close, mesh }, side: { frontAt, sidewalkAt, base } } = this;
    const rows = random.chance(0.45) ? random.uniform(8, 16) : Infinity;
    for (let s = START; s < close && rows < Infinity; s += rows) {
      this.#tree(s + random.uniform(-0.5, 0.5), frontAt + 0.6, base - 0.2, s > this.#fine);
    }
    for (let k = 10; k > 0; k--) {
      const beyond = random.uniform(6, 46);
      this.#plant(random.uniform(START, close), beyond, true);
    }
    if (random.chance(0.4)) {
      for (let s = START; s < close; s += 8) addGuardRail(mesh, this.#front(s, 8, sidewalkAt + 0.5, 0));
    } else if (random.chance(0.5)) {
      for (let s = START; s < close; s += 12) {
        const wide = this.#front(s, 12, frontAt + 0.3, base - 0.2);
        if (random.chance(0.4)) this.#fence(wide);
        else if (random.chance(0.5)) this.#hedge(wide, random.uniform(0.8, 1.8), 1);
      }
    }
    if (random.chance(0.5)) {
      this.#front(random.uniform(30, 120), 16, frontAt + random.uniform(10, 30));
      const width = random.uniform(10, 20), stories = 1 + random.below(2);
      this.#house({ width, depth: 9, stories, kind: random.chance(0.5) ? "home" : "hall" });
    }
  }

  #retainingWall(): void {
    const { random, world: { close, mesh }, side: { frontAt, rise } } = this;
    const stone = paint("stone", random.pick(STONES), { seed: random.below(4096) });
    for (let s = START; s < close; s += 6) {
      const wide = this.#front(s, Math.min(6, close - s), frontAt - 0.1);
      mesh.box(stone, [0, 0, -0.6], [wide + 0.05, 0.6, rise + 0.4]);
    }
    for (let s = START; s < close; s += random.uniform(2, 9)) {
      this.#plant(s, random.uniform(1.5, 9), s > this.#fine, 0.4);
    }
  }

  /** Lamps, street trees, signs, clutter and traffic lights, along the edge of the road. */
  #furniture(): void {
    const { random, world, side: { sign, sidewalk, sidewalkAt, yardAt, base } } = this;
    const { mesh, season, close, rural, look } = world;
    const edge = sidewalkAt + (rural ? 1.2 : Math.min(0.45, sidewalk * 0.3)), up = rural ? -0.1 : base;
    const spacing = random.uniform(18, 38);
    const streetTrees = sidewalk > 2.2 && random.chance(0.5) ? random.uniform(7, 14) : 0;
    // A narrow lane's lamps hang on its walls.
    const lane = world.setting === "lane";
    if (rural ? random.chance(0.35) : !lane) {
      for (let s = random.uniform(-10, 10); s < close; s += spacing) {
        this.#along(s, edge, up);
        addLamp(mesh, random);
      }
    }
    if (streetTrees) {
      for (let s = random.uniform(-6, 6); s < close; s += streetTrees) {
        this.#along(s + random.uniform(-0.6, 0.6), edge + 0.4, up);
        const shape = random.chance(0.3) ? "young" : random.pick(season.shapes);
        addTree(mesh, shape, tinted(season.leaf, random, 0.3), random, s > this.#fine);
      }
    }
    for (let s = random.uniform(lane ? 12 : 4, 25); s < close; s += random.uniform(12, 45)) {
      this.#along(s, edge + 0.1, up);
      addSign(mesh, random);
    }
    if (sidewalk > 1.2 && !lane) {
      for (let s = random.uniform(0, 20); s < close; s += random.uniform(8, 30)) {
        this.#along(s, yardAt - 1, base);
        addClutter(mesh, random);
      }
    }
    for (const s of look.crossings) {
      if (!random.chance(0.6)) continue;
      this.#along(s - 2.5 * sign, edge, up);
      addTrafficLight(mesh, random);
    }
  }

  /** A row of parked cars at t, with gaps; none stands on a crossing. */
  #parkedCars(t: number, up: number, share: number): void {
    const { random, world } = this;
    for (let s = -14; s < world.close - 6;) {
      const car = randomCar(random), length = vehicleLength(car.shape);
      const onCrossing = world.look.crossings.some((c) => s + length > c - 4 && s < c + 4);
      if (!onCrossing && random.chance(share)) {
        this.#along(s + length / 2, t + random.normal(0, 0.06), up);
        addVehicle(world.mesh, car);
        s += length + random.uniform(0.5, 1.3);
      } else s += random.uniform(3, 9);
    }
  }
}

/** Where the road ends: a street across, and behind it houses, or a wall or a hedge with trees. */
function addClosure(world: World, random: Random): void {
  const { mesh, road, look, close, season, sides, facades } = world;
  const s = close + 8, { heading } = road.at(s), half = Math.min(look.half, 3.6);
  const reach = 10 + Math.min(30, Math.max(...sides.map((side) => side.frontAt)));
  const up = Math.max(...sides.map((side) => side.curb)) + 0.07;
  /** The world point t m to the right of the road's end, `ahead` m beyond it. */
  const beyond = (t: number, ahead: number, z = up): [number, number, number] => {
    const [x, y, h] = road.point(s, t, z);
    return [x + ahead * Math.cos(heading), y + ahead * Math.sin(heading), h];
  };
  const place = (t: number, ahead = 0, z = up) => mesh.place(...beyond(t, ahead, z), heading);
  const asphalt = asphaltOf(world);
  const far = -0.6, near = far - 2 * half, middle = (far + near) / 2;
  // Its markings run along it.
  const a = beyond(-60, near), b = beyond(60, near), c = beyond(60, far), d = beyond(-60, far);
  mesh.triangle(asphalt, [...a, ...b, ...c], [0, near - middle, 120, near - middle, 120, far - middle]);
  mesh.triangle(asphalt, [...a, ...c, ...d], [0, near - middle, 120, far - middle, 0, far - middle]);
  if (random.chance(0.3)) {
    const car = randomCar(random), left = random.chance(0.5) ? 1 : -1;
    mesh.place(...beyond(random.uniform(-8, 8), middle + left * 0.5 * half), heading + left * Math.PI / 2);
    addVehicle(mesh, car);
  }
  if (random.chance(world.rural ? 0.25 : 0.65)) {
    const kind = random.pick(["town", "town", "town", "block", "home"] as const), town = kind === "town";
    for (let t = -reach; t < reach;) {
      const width = random.uniform(9, 16);
      place(t, town ? 0 : random.uniform(0, 3));
      const stories = kind === "home" ? 1 + random.below(2) : 2 + random.below(4);
      addHouse(mesh, facades, { width, depth: 10, stories, kind, shop: town && random.chance(0.4) }, random);
      t += width + (town ? 0 : random.uniform(0, 5));
    }
    return;
  }
  const width = 2 * reach + 20, leaf = () => tinted(season.leaf, random, 0.3), hedge = random.chance(0.4);
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

/** Wooded hills around the whole scene, 125 to 235 m away. */
function addBackdrop({ mesh, road, travel, season }: World, random: Random): void {
  const middle = road.point(travel / 2, 0), { heading } = road.at(travel / 2), count = 40;
  for (const [near, far, high] of [[125, 160, 7], [185, 235, 15]]) {
    const group = mesh.newGroup();
    for (let k = 0; k < count; k++) {
      const angle = heading + 2 * Math.PI * (k + random.next()) / count, r = random.uniform(near, far);
      const h = high * random.uniform(0.5, 1.5), w = random.uniform(36, 60);
      mesh.place(middle[0] + r * Math.cos(angle), middle[1] + r * Math.sin(angle), middle[2] - 5, angle);
      const color = shaded(season.leaf, random.uniform(0.5, 0.9)), seed = random.below(4096);
      const hills = paint("backdrop", color, { mask: MASK.skyline, twoSided: true, seed, group });
      const outline = [-w / 2, 0, 0, w / 2, 0, 0, w / 2, 0, h + 5, -w / 2, 0, h + 5];
      mesh.face(hills, outline, [random.uniform(-60, 60), 0, 0], [1 / w, 0.98 / (h + 5)]);
    }
  }
}
