/**
 * One drive's world: what stands still, what moves on the road, its light, and where the cameras go.
 *
 * @module
 */
import { Random } from "../base/random.ts";
import { FRAME_SECONDS, planLayout, type RoadLook } from "./layout.ts";
import { type Axes, Mesh, type Point } from "./mesh.ts";
import { addPerson, type Person, randomPerson } from "./objects/furniture.ts";
import type { Facade } from "./objects/house.ts";
import { addVehicle, randomVehicle, type Vehicle, vehicleLength } from "./objects/vehicle.ts";
import { buildRoadside, type World } from "./roadside.ts";
import { drawWeather, type Weather } from "./weather.ts";

/** Height of the cameras above the road, m: KITTI's. */
const CAMERA_HEIGHT = 1.65;

/** Where the rig is: rectified camera 0 in the world. */
export interface Pose extends Axes {
  /** m */
  readonly position: Point;
}

/** What moves: a vehicle or a person, at constant speed along the road. */
interface Mover {
  readonly s: number;
  readonly t: number;
  /** m/s along the road; negative comes toward the cameras. */
  readonly speed: number;
  readonly vehicle?: Vehicle;
  readonly person?: Person;
}

/** A drive's world. */
export interface Scene {
  /** All that stands still; {@linkcode Scene.moveTo} adds what moves. */
  readonly mesh: Mesh;
  /** What the facades look like, by the number that their faces carry. */
  readonly facades: readonly Facade[];
  /** What the carriageway looks like. */
  readonly road: RoadLook;
  readonly weather: Weather;
  /** Puts what moves where it is in a frame, after taking away where it was. */
  moveTo(frame: number): void;
  /** Where the rig is in a frame. */
  pose(frame: number): Pose;
}

/** Builds the world of one drive. The same arguments give the same world. */
export function buildScene(seed: number, drive: number, frames: number): Scene {
  const random = new Random(seed).fork(`drive ${drive}`);
  const world: World = { mesh: new Mesh(), facades: [], ...planLayout(random.fork("layout"), frames) };
  const { mesh, facades, road, look, speed, egoT } = world;
  buildRoadside(world, random);
  const movers = planTraffic(world, random.fork("traffic"), frames * FRAME_SECONDS);
  const weather = drawWeather(random.fork("weather"));
  const rig = random.fork("rig");
  const lateral = egoT + rig.normal(0, 0.15), height = CAMERA_HEIGHT + rig.normal(0, 0.03);
  // One rig, bolted to a roof as KITTI's is; load and crown of the road tilt it a little.
  const pitch = rig.normal(0, 0.006), roll = rig.normal(0, 0.005), yaw = rig.normal(0, 0.01);
  const drift = rig.uniform(-0.03, 0.03);
  const jolts = Array.from(
    { length: frames },
    () => ({ pitch: rig.normal(0, 0.004), roll: rig.normal(0, 0.003), up: rig.normal(0, 0.012) }),
  );
  const faces = mesh.faces, vertices = mesh.vertexCount;
  return {
    mesh,
    facades,
    road: look,
    weather,
    moveTo(frame) {
      mesh.truncate(faces, vertices);
      for (const { s: start, t, speed, vehicle, person } of movers) {
        const s = start + speed * frame * FRAME_SECONDS,
          { heading, slope } = road.at(s),
          oncoming = speed < 0;
        const point = road.point(s, t, person ? 0.12 : 0);
        mesh.place(...point, heading + (oncoming ? Math.PI : 0), oncoming ? -slope : slope);
        if (vehicle) addVehicle(mesh, vehicle);
        if (person) addPerson(mesh, person, Math.sin(s * 4.2));
      }
    },
    pose(frame) {
      const s = speed * frame * FRAME_SECONDS, jolt = jolts[frame];
      const slope = (road.at(s + 3).z - road.at(s - 1).z) / 4;
      const position = road.point(s, lateral + drift * frame, height + jolt.up);
      return orient(
        position,
        road.at(s).heading + yaw,
        Math.atan(slope) + pitch + jolt.pitch,
        roll + jolt.roll,
      );
    },
  };
}

/** Camera axes for a heading, a pitch (up positive) and a roll, all in rad. */
function orient(position: Point, heading: number, pitch: number, roll: number): Pose {
  const ch = Math.cos(heading), sh = Math.sin(heading), cp = Math.cos(pitch), sp = Math.sin(pitch);
  const forward: Point = [ch * cp, sh * cp, sp];
  const level = [sh, -ch, 0], below = [ch * sp, sh * sp, -cp];
  const c = Math.cos(roll), s = Math.sin(roll);
  const mixed = (a: number[], ka: number, b: number[], kb: number): Point => [
    a[0] * ka + b[0] * kb,
    a[1] * ka + b[1] * kb,
    a[2] * ka + b[2] * kb,
  ];
  return { position, right: mixed(level, c, below, s), down: mixed(below, c, level, -s), forward };
}

/** The vehicles and pedestrians on the road during some seconds. */
function planTraffic(world: World, random: Random, seconds: number): Mover[] {
  const { egoT, speed, close, look: { lanes, laneWidth } } = world;
  const movers: Mover[] = [], limit = close - 4;
  const put = (s: number, t: number, speed: number, vehicle: Vehicle) => {
    if (s < limit || speed < 0) movers.push({ s, t, speed, vehicle });
  };
  if (random.chance(0.5)) {
    const leader = randomVehicle(random, 0.15), gap = Math.exp(random.uniform(Math.log(6), Math.log(34)));
    // However long the drive is, the cameras do not catch up with it.
    const slower = Math.min(0.8, (gap - 5) / seconds), s = gap + vehicleLength(leader.shape) / 2;
    put(s, egoT + random.normal(0, 0.1), speed + random.uniform(-slower, 1), leader);
  }
  if (random.chance(0.25)) put(70 + random.uniform(0, 60), egoT, speed, randomVehicle(random));
  if (lanes === 2) {
    const other = egoT > laneWidth ? egoT - laneWidth : egoT + laneWidth;
    for (let s = random.uniform(-8, 20); s < 120; s += random.uniform(10, 60)) {
      put(s, other, speed + 0.5, randomVehicle(random));
    }
  }
  for (let lane = 0; lane < lanes && !world.oneWay; lane++) {
    const oncoming = -random.uniform(6, 13), t = -laneWidth * (lane + 0.5);
    for (let s = random.uniform(4, 50); s < Math.min(200, limit); s += random.uniform(14, 80)) {
      put(s, t, oncoming, randomVehicle(random));
    }
  }
  for (const { sign, sidewalk, sidewalkAt, yardAt } of world.sides) {
    if (sidewalk < 1) continue;
    const spacing = random.uniform(4, 40), [from, to] = world.setting === "lane" ? [10, 40] : [2, 20];
    for (
      let s = random.uniform(from, to);
      s < Math.min(120, close);
      s += random.uniform(0.3, 1.7) * spacing
    ) {
      const away = random.chance(0.5), t = sign * random.uniform(sidewalkAt + 0.4, yardAt - 0.3);
      const speed = (away ? 1 : -1) * random.uniform(0.9, 1.6);
      movers.push({ s, t, speed, person: randomPerson(random) });
    }
  }
  return movers;
}
