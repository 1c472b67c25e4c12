/**
 * Cars, vans, trucks and buses, built around a local origin on the ground in their middle, front toward +y.
 *
 * @module
 */
import type { Random } from "../../base/random.ts";
import { type Mesh, type Paint, paint, type Rgb, tinted } from "../mesh.ts";

/** Shapes of vehicles. */
export type VehicleShape = "hatch" | "sedan" | "wagon" | "suv" | "van" | "truck" | "bus";

/** A vehicle as it is drawn. */
export interface Vehicle {
  readonly shape: VehicleShape;
  /** Albedo of the paint. */
  readonly color: Rgb;
  /** Varies number plates, dirt and loads. */
  readonly seed: number;
}

/** Measures in m. */
interface Form {
  readonly length: number;
  readonly width: number;
  /** Radius of the wheels. */
  readonly wheel: number;
  readonly axles: readonly number[];
  /** Side outline of a car's lower body, y z pairs, counter-clockwise seen from the right (front at +y). */
  readonly body?: readonly number[];
  /** A car's cabin: rear and front end of its foot, rear and front end of its roof, foot and roof height. */
  readonly cabin?: readonly [number, number, number, number, number, number];
}

const FORMS: Readonly<Record<VehicleShape, Form>> = {
  hatch: {
    ...{ length: 3.9, width: 1.72, wheel: 0.31, axles: [-1.25, 1.22] },
    body: [-1.93, 0.28, 1.9, 0.24, 1.95, 0.5, 1.8, 0.72, 0.95, 0.93, -1.88, 0.95, -1.95, 0.6],
    cabin: [-1.86, 0.98, -1.5, 0.2, 0.93, 1.46],
  },
  sedan: {
    ...{ length: 4.5, width: 1.78, wheel: 0.32, axles: [-1.35, 1.38] },
    body: [-2.2, 0.3, 2.2, 0.25, 2.25, 0.5, 2.1, 0.7, 1.15, 0.9, -2.1, 0.93, -2.25, 0.65],
    cabin: [-1.6, 1.2, -0.95, 0.35, 0.9, 1.42],
  },
  wagon: {
    ...{ length: 4.6, width: 1.8, wheel: 0.32, axles: [-1.38, 1.38] },
    body: [-2.25, 0.3, 2.25, 0.25, 2.3, 0.5, 2.15, 0.7, 1.2, 0.92, -2.22, 0.95, -2.3, 0.6],
    cabin: [-2.2, 1.25, -1.9, 0.4, 0.92, 1.48],
  },
  suv: {
    ...{ length: 4.5, width: 1.86, wheel: 0.37, axles: [-1.32, 1.35] },
    body: [-2.2, 0.4, 2.2, 0.36, 2.25, 0.62, 2.15, 0.88, 1.2, 1.05, -2.17, 1.08, -2.25, 0.7],
    cabin: [-2.14, 1.22, -1.85, 0.45, 1.05, 1.72],
  },
  van: {
    ...{ length: 5.2, width: 1.98, wheel: 0.34, axles: [-1.6, 1.65] },
    body: [-2.6, 0.34, 2.5, 0.3, 2.6, 0.62, 2.42, 0.98, 1.75, 1.16, -2.58, 1.16],
    cabin: [-2.58, 1.78, -2.5, 1.05, 1.16, 2.2],
  },
  truck: { length: 7.8, width: 2.4, wheel: 0.48, axles: [-2.6, -1.6, 2.7] },
  bus: { length: 11.5, width: 2.5, wheel: 0.48, axles: [-3.3, 3.2] },
};

/** Length of a vehicle in m. */
export function vehicleLength(shape: VehicleShape): number {
  return FORMS[shape].length;
}

const GLASS = paint("glass", [0.03, 0.035, 0.04]);
const BLACK = paint("plain", [0.025, 0.025, 0.027]);
const RUBBER = paint("plain", [0.02, 0.02, 0.02]);
const HEADLIGHT = paint("light", [0.75, 0.77, 0.78]), TAILLIGHT = paint("light", [0.45, 0.02, 0.02]);

/** Adds a vehicle at the mesh's local frame. */
export function addVehicle(mesh: Mesh, { shape, color, seed }: Vehicle): void {
  const form = FORMS[shape], body = paint("paint", color, { seed });
  if (shape === "truck") addTruck(mesh, form, body, seed);
  else if (shape === "bus") addBus(mesh, form, body, seed);
  else addCar(mesh, form, body, seed, shape === "van");
  for (const y of form.axles) {
    for (const side of [-1, 1]) addWheel(mesh, side * (form.width / 2 - 0.02), y, form.wheel, side);
  }
}

function addCar(mesh: Mesh, form: Form, paint: Paint, seed: number, isVan: boolean): void {
  const w = form.width / 2, body = form.body!, n = body.length / 2;
  const [r0, f0, r1, f1, foot, roof] = form.cabin!;
  const right: number[] = [], left: number[] = [];
  for (let i = 0; i < n; i++) {
    right.push(w, body[2 * i], body[2 * i + 1]);
    left.push(-w, body[2 * (n - 1 - i)], body[2 * (n - 1 - i) + 1]);
  }
  const flank: Paint = { ...paint, a: 1, b: isVan && seed % 3 ? 1 : 0 };
  mesh.face(flank, right);
  mesh.face(flank, left);
  // Around the outline, from the black underside over front, hood and back.
  for (let i = 0; i < n; i++) {
    const j = (i + 1) % n, y0 = body[2 * i], z0 = body[2 * i + 1], y1 = body[2 * j], z1 = body[2 * j + 1];
    mesh.face(i === 0 ? BLACK : paint, [-w, y0, z0, -w, y1, z1, w, y1, z1, w, y0, z0]);
  }
  const wf = w - 0.04, wr = w - 0.22;
  const sides = [
    [wf, r0, foot, wf, f0, foot, wr, f1, roof, wr, r1, roof],
    [-wf, f0, foot, -wf, r0, foot, -wr, r1, roof, -wr, f1, roof],
  ];
  const windshield = [wf, f0, foot, -wf, f0, foot, -wr, f1, roof, wr, f1, roof];
  const back = [-wf, r0, foot, wf, r0, foot, wr, r1, roof, -wr, r1, roof];
  const top = [-wr, r1, roof, wr, r1, roof, wr, f1, roof, -wr, f1, roof];
  for (const face of [...sides, windshield, back, top]) mesh.face(paint, face);
  mesh.face(GLASS, shrunk(windshield, 0.07, 0.1));
  if (!isVan) mesh.face(GLASS, shrunk(back, 0.12, 0.2));
  // Two windows a side with a pillar between; a van has only the driver's.
  const windows = isVan ? [[0.72, 0.95]] : [[0.06, 0.46], [0.51, 0.93]];
  for (const [from, to] of windows) mesh.face(GLASS, shrunk(part(sides[0], from, to), 0, 0.13));
  for (const [from, to] of windows) mesh.face(GLASS, shrunk(part(sides[1], 1 - to, 1 - from), 0, 0.13));
  const front = form.length / 2, z = foot - 0.27;
  for (const side of [-1, 1]) {
    const x0 = side * (w - 0.05), x1 = side * (w - 0.42), lo = Math.min(x0, x1), hi = Math.max(x0, x1);
    mesh.box(HEADLIGHT, [lo, front - 0.3, z - 0.07], [hi, front - 0.02, z + 0.08], "lrft");
    const inner = lo + 0.08 * (side < 0 ? 0 : 1), outer = hi - 0.08 * (side < 0 ? 1 : 0);
    mesh.box(TAILLIGHT, [inner, -front, z + 0.02], [outer, -front + 0.25, z + 0.24], "lrbt");
    const mirror = side < 0 ? [-w - 0.17, -w] : [w, w + 0.17];
    mesh.box(BLACK, [mirror[0], f0 - 0.45, foot + 0.02], [mirror[1], f0 - 0.32, foot + 0.17]);
  }
  const plate = plateOf(seed);
  mesh.box(plate, [-0.26, -front - 0.01, 0.5], [0.26, -front + 0.2, 0.62], "b");
  mesh.box(plate, [-0.26, front - 0.2, 0.34], [0.26, front + 0.01, 0.45], "f");
  // The grille.
  mesh.box(BLACK, [-0.5, front - 0.3, z - 0.16], [0.5, front - 0.005, z - 0.01], "f");
}

function addTruck(mesh: Mesh, form: Form, paint: Paint, seed: number): void {
  const w = form.width / 2, e = form.length / 2;
  mesh.box(paint, [-w, e - 1.7, 0.5], [w, e, 2.7]);
  const y = e + 0.01;
  mesh.face(GLASS, [w - 0.1, y, 1.5, -w + 0.1, y, 1.5, -w + 0.1, y, 2.4, w - 0.1, y, 2.4]);
  mesh.box(GLASS, [-w - 0.01, e - 1.1, 1.5], [w + 0.01, e - 0.25, 2.3], "lr");
  mesh.box(BLACK, [-w + 0.1, -e, 0.55], [w - 0.1, e - 0.1, 0.95], "lrfbd");
  const color: Rgb = seed % 3 ? [0.62, 0.62, 0.6] : [0.12, 0.2, 0.42];
  mesh.box({ material: "plain", color, a: 1, seed }, [-w - 0.05, -e, 0.95], [w + 0.05, e - 1.85, 3.5]);
  mesh.box(plateOf(seed), [-0.26, -e - 0.01, 0.7], [0.26, -e, 0.82], "b");
  addLights(mesh, w - 0.25, e, [0.2, 0.72, 0.88], [0.18, 0.65, 0.85]);
}

function addBus(mesh: Mesh, form: Form, body: Paint, seed: number): void {
  const w = form.width / 2, e = form.length / 2;
  mesh.box({ ...body, b: 2 }, [-w, -e, 0.35], [w, e, 3.05]);
  // Advertising at the back.
  mesh.box(paint("sign", [0.5, 0.5, 0.5], { a: 3, seed }), [-0.7, -e - 0.01, 0.75], [0.5, -e, 1.5], "b");
  mesh.box(plateOf(seed), [-0.26, -e - 0.02, 0.45], [0.26, -e - 0.01, 0.45 + 0.12], "b");
  for (let y = -e + 0.4; y < e - 1.2; y += 1.55) {
    mesh.box(GLASS, [-w - 0.01, y, 1.35], [w + 0.01, y + 1.42, 2.55], "lr");
  }
  mesh.box(GLASS, [-w + 0.1, e, 1], [w - 0.1, e + 0.01, 2.75], "f");
  mesh.box(GLASS, [-w + 0.25, -e - 0.01, 1.6], [w - 0.25, -e, 2.6], "b");
  // The line number.
  mesh.box(paint("light", [0.5, 0.33, 0.03]), [-w + 0.5, e + 0.012, 2.5], [w - 0.5, e + 0.02, 2.72], "f");
  addLights(mesh, w - 0.22, e, [0.12, 0.8, 1.25], [0.18, 0.6, 0.8]);
}

/** Lights at x on either side of both ends, each given by half its width and its height from and to. */
function addLights(
  mesh: Mesh,
  x: number,
  end: number,
  rear: readonly number[],
  front: readonly number[],
): void {
  for (const at of [-x, x]) {
    mesh.box(TAILLIGHT, [at - rear[0], -end - 0.02, rear[1]], [at + rear[0], -end, rear[2]], "b");
    mesh.box(HEADLIGHT, [at - front[0], end, front[1]], [at + front[0], end + 0.02, front[2]], "f");
  }
}

function plateOf(seed: number): Paint {
  return paint("plate", [0.75, 0.75, 0.72], { seed });
}

function addWheel(mesh: Mesh, x: number, y: number, r: number, side: number): void {
  const outer: number[] = [], n = 10, x1 = x + side * 0.03, x0 = x - side * 0.2;
  const rim = (x: number, i: number) => {
    const a = 2 * Math.PI * i / n * side;
    return [x, y + r * Math.cos(a), r + r * Math.sin(a)];
  };
  for (let i = 0; i < n; i++) {
    outer.push(...rim(x1, i));
    mesh.face(RUBBER, [...rim(x0, i), ...rim(x0, i + 1), ...rim(x1, i + 1), ...rim(x1, i)]);
  }
  mesh.face(paint("wheel", [0.3, 0.3, 0.31], { a: r }), outer, [x1, y, r]);
}

/** The point a share k of the way from corner i of a face to corner j. */
function between(face: readonly number[], i: number, j: number, k: number): number[] {
  return [0, 1, 2].map((c) => face[3 * i + c] + k * (face[3 * j + c] - face[3 * i + c]));
}

/** The part of a four-cornered face between two shares of its length (corners 0→1 and 3→2). */
function part(face: readonly number[], from: number, to: number): number[] {
  return [
    ...[...between(face, 0, 1, from), ...between(face, 0, 1, to)],
    ...[...between(face, 3, 2, to), ...between(face, 3, 2, from)],
  ];
}

/** A pane in a four-cornered face: smaller by shares of its width and height, lifted off so that it lies before it. */
function shrunk(face: readonly number[], across: number, up: number): number[] {
  const cut = part(face, across, 1 - across);
  const out = [
    ...[...between(cut, 0, 3, up), ...between(cut, 1, 2, up)],
    ...[...between(cut, 2, 1, up * 0.7), ...between(cut, 3, 0, up * 0.7)],
  ];
  const [ax, ay, az] = between(face, 0, 1, 1).map((v, c) => v - face[c]);
  const [bx, by, bz] = between(face, 0, 3, 1).map((v, c) => v - face[c]);
  const n = [ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], length = Math.hypot(...n);
  return out.map((v, i) => v + 0.012 * n[i % 3] / length);
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
const BUSES: readonly Rgb[] = [[0.6, 0.5, 0.1], [0.6, 0.6, 0.6], [0.45, 0.04, 0.04], [0.05, 0.2, 0.4]];
/** The shapes of cars, as often as they are seen. */
const CARS = ["hatch", "hatch", "sedan", "sedan", "wagon", "wagon", "suv", "van"] as const;

/** A car or a van. */
export function randomCar(random: Random): Vehicle {
  const shape = random.pick(CARS), white = shape === "van" && random.chance(0.6);
  const color = tinted(white ? [0.7, 0.7, 0.7] : random.pick(PAINTS), random, 0.2);
  return { shape, color, seed: random.below(1 << 16) };
}

/** Any vehicle; `large` is how much likelier than usual it is a truck or a bus. */
export function randomVehicle(random: Random, large = 0): Vehicle {
  const kind = random.next();
  if (kind < 0.1 + 0.6 * large) {
    return { shape: "truck", color: tinted(random.pick(PAINTS), random, 0.2), seed: random.below(1 << 16) };
  }
  if (kind >= 0.16 + large) return randomCar(random);
  return { shape: "bus", color: random.pick(BUSES), seed: random.below(1 << 16) };
}
