/**
 * Cars, vans, lorries and buses, built around a local origin on the ground in their middle, front towards +y.
 *
 * @module
 */
import { MATERIAL, type Mesh, type Paint, type Rgb } from "../mesh.ts";

/** Shapes of vehicles. */
export type VehicleShape = "hatch" | "saloon" | "estate" | "suv" | "van" | "lorry" | "bus";

/** A vehicle as it is drawn. */
export interface Vehicle {
  /** Its kind. */
  readonly shape: VehicleShape;
  /** Albedo of the paint. */
  readonly colour: Rgb;
  /** Varies number plates, dirt and loads. */
  readonly seed: number;
}

interface Form {
  readonly length: number;
  readonly width: number;
  readonly wheel: number;
  readonly axles: readonly number[];
  /** Side outline of the lower body, y z pairs, counter-clockwise seen from the right (front at +y). */
  readonly body: readonly number[];
  /** Cabin: rear and front end of its foot, rear and front end of its roof, foot and roof height. */
  readonly cabin?: readonly [number, number, number, number, number, number];
}

const FORMS: Readonly<Record<VehicleShape, Form>> = {
  hatch: {
    length: 3.9,
    width: 1.72,
    wheel: 0.31,
    axles: [-1.25, 1.22],
    body: [-1.93, 0.28, 1.9, 0.24, 1.95, 0.5, 1.8, 0.72, 0.95, 0.93, -1.88, 0.95, -1.95, 0.6],
    cabin: [-1.86, 0.98, -1.5, 0.2, 0.93, 1.46],
  },
  saloon: {
    length: 4.5,
    width: 1.78,
    wheel: 0.32,
    axles: [-1.35, 1.38],
    body: [-2.2, 0.3, 2.2, 0.25, 2.25, 0.5, 2.1, 0.7, 1.15, 0.9, -2.1, 0.93, -2.25, 0.65],
    cabin: [-1.6, 1.2, -0.95, 0.35, 0.9, 1.42],
  },
  estate: {
    length: 4.6,
    width: 1.8,
    wheel: 0.32,
    axles: [-1.38, 1.38],
    body: [-2.25, 0.3, 2.25, 0.25, 2.3, 0.5, 2.15, 0.7, 1.2, 0.92, -2.22, 0.95, -2.3, 0.6],
    cabin: [-2.2, 1.25, -1.9, 0.4, 0.92, 1.48],
  },
  suv: {
    length: 4.5,
    width: 1.86,
    wheel: 0.37,
    axles: [-1.32, 1.35],
    body: [-2.2, 0.4, 2.2, 0.36, 2.25, 0.62, 2.15, 0.88, 1.2, 1.05, -2.17, 1.08, -2.25, 0.7],
    cabin: [-2.14, 1.22, -1.85, 0.45, 1.05, 1.72],
  },
  van: {
    length: 5.2,
    width: 1.98,
    wheel: 0.34,
    axles: [-1.6, 1.65],
    body: [-2.6, 0.34, 2.5, 0.3, 2.6, 0.62, 2.42, 0.98, 1.75, 1.16, -2.58, 1.16],
    cabin: [-2.58, 1.78, -2.5, 1.05, 1.16, 2.2],
  },
  lorry: { length: 7.8, width: 2.4, wheel: 0.48, axles: [-2.6, -1.6, 2.7], body: [] },
  bus: { length: 11.5, width: 2.5, wheel: 0.48, axles: [-3.3, 3.2], body: [] },
};

/** Length and width in m. */
export function vehicleSize(shape: VehicleShape): readonly [number, number] {
  return [FORMS[shape].length, FORMS[shape].width];
}

const GLASS: Rgb = [0.03, 0.035, 0.04];
const BLACK: Rgb = [0.025, 0.025, 0.027];

/** Adds a vehicle at the mesh's local frame. */
export function addVehicle(mesh: Mesh, vehicle: Vehicle): void {
  const form = FORMS[vehicle.shape];
  const paint: Paint = { material: MATERIAL.paint, colour: vehicle.colour, seed: vehicle.seed };
  if (form.cabin) addCar(mesh, form, paint, vehicle.shape === "van");
  else if (vehicle.shape === "lorry") addLorry(mesh, form, paint, vehicle.seed);
  else addBus(mesh, form, paint);
  for (const y of form.axles) {
    for (const side of [-1, 1]) addWheel(mesh, side * (form.width / 2 - 0.02), y, form.wheel, side);
  }
}

function addCar(mesh: Mesh, form: Form, paint: Paint, closed: boolean): void {
  const w = form.width / 2, body = form.body, n = body.length / 2;
  const [r0, f0, r1, f1, foot, roof] = form.cabin!;
  const right: number[] = [], left: number[] = [];
  for (let i = 0; i < n; i++) {
    right.push(w, body[2 * i], body[2 * i + 1]);
    left.push(-w, body[2 * (n - 1 - i)], body[2 * (n - 1 - i) + 1]);
  }
  const flank = { ...paint, a: 1, b: closed && paint.seed! % 3 ? 1 : 0 };
  mesh.face(flank, right);
  mesh.face(flank, left);
  for (let i = 0; i < n; i++) {
    const j = (i + 1) % n;
    const low = i === 0;
    mesh.face(low ? { ...paint, colour: BLACK, material: MATERIAL.plain } : paint, [
      ...[-w, body[2 * i], body[2 * i + 1], -w, body[2 * j], body[2 * j + 1]],
      ...[w, body[2 * j], body[2 * j + 1], w, body[2 * i], body[2 * i + 1]],
    ]);
  }
  const wf = w - 0.04, wr = w - 0.22;
  const sides: number[][] = [
    [wf, r0, foot, wf, f0, foot, wr, f1, roof, wr, r1, roof],
    [-wf, f0, foot, -wf, r0, foot, -wr, r1, roof, -wr, f1, roof],
  ];
  const screen = [wf, f0, foot, -wf, f0, foot, -wr, f1, roof, wr, f1, roof];
  const back = [-wf, r0, foot, wf, r0, foot, wr, r1, roof, -wr, r1, roof];
  for (const face of [...sides, screen, back]) mesh.face(paint, face);
  mesh.face(paint, [-wr, r1, roof, wr, r1, roof, wr, f1, roof, -wr, f1, roof]);
  const glass: Paint = { material: MATERIAL.glass, colour: GLASS, a: 1 };
  mesh.face(glass, shrunk(screen, 0.07, 0.1, 0.012));
  if (!closed) mesh.face(glass, shrunk(back, 0.12, 0.2, 0.012));
  for (const [k, side] of sides.entries()) {
    // Two windows with a pillar between; a closed van has only the driver's.
    const cuts: [number, number][] = closed ? [[0.72, 0.95]] : [[0.06, 0.46], [0.51, 0.93]];
    for (const [p, q] of cuts) {
      const [from, to] = k === 0 ? [p, q] : [1 - q, 1 - p];
      mesh.face(glass, shrunk(part(side, from, to), 0.0, 0.13, 0.012));
    }
  }
  const front = form.length / 2;
  const z = vehicleLightHeight(form);
  for (const side of [-1, 1]) {
    const x0 = side * (w - 0.05), x1 = side * (w - 0.42), lo = Math.min(x0, x1), hi = Math.max(x0, x1);
    mesh.box(
      { material: MATERIAL.light, colour: [0.75, 0.77, 0.78] },
      lo,
      front - 0.3,
      z - 0.07,
      hi,
      front - 0.02,
      z + 0.08,
      "lrft",
    );
    mesh.box(
      { material: MATERIAL.light, colour: [0.45, 0.02, 0.02] },
      lo + 0.08 * (side < 0 ? 0 : 1),
      -front + 0.0,
      z + 0.02,
      hi - 0.08 * (side < 0 ? 1 : 0),
      -front + 0.25,
      z + 0.24,
      "lrbt",
    );
    // Mirrors.
    mesh.box(
      { ...paint, colour: BLACK, material: MATERIAL.plain },
      side < 0 ? -w - 0.17 : w,
      f0 - 0.45,
      foot + 0.02,
      side < 0 ? -w : w + 0.17,
      f0 - 0.32,
      foot + 0.17,
    );
  }
  const plate: Paint = { material: MATERIAL.plate, colour: [0.75, 0.75, 0.72], seed: paint.seed };
  mesh.box(plate, -0.26, -front - 0.01, 0.5, 0.26, -front + 0.2, 0.62, "b");
  mesh.box(plate, -0.26, front - 0.2, 0.34, 0.26, front + 0.01, 0.45, "f");
  // The grille.
  mesh.box(
    { material: MATERIAL.plain, colour: BLACK },
    -0.5,
    front - 0.3,
    z - 0.16,
    0.5,
    front - 0.005,
    z - 0.01,
    "f",
  );
}

function vehicleLightHeight(form: Form): number {
  return form.cabin![4] - 0.27;
}

function addLorry(mesh: Mesh, form: Form, paint: Paint, seed: number): void {
  const w = form.width / 2, e = form.length / 2;
  mesh.box(paint, -w, e - 1.7, 0.5, w, e, 2.7);
  const glass: Paint = { material: MATERIAL.glass, colour: GLASS, a: 1 };
  mesh.face(glass, [
    w - 0.1,
    e + 0.01,
    1.5,
    -w + 0.1,
    e + 0.01,
    1.5,
    -w + 0.1,
    e + 0.01,
    2.4,
    w - 0.1,
    e + 0.01,
    2.4,
  ]);
  mesh.box(glass, -w - 0.01, e - 1.1, 1.5, w + 0.01, e - 0.25, 2.3, "lr");
  mesh.box({ material: MATERIAL.plain, colour: BLACK }, -w + 0.1, -e, 0.55, w - 0.1, e - 0.1, 0.95, "lrfbd");
  const cargo: Paint = {
    material: MATERIAL.plain,
    a: 1,
    seed,
    colour: seed % 3 ? [0.62, 0.62, 0.6] : [0.12, 0.2, 0.42],
  };
  mesh.box(cargo, -w - 0.05, -e, 0.95, w + 0.05, e - 1.85, 3.5);
  addPlate(mesh, -e - 0.01, 0.7, seed);
  for (const side of [-1, 1]) {
    const x = side * (w - 0.25);
    mesh.box(
      { material: MATERIAL.light, colour: [0.45, 0.02, 0.02] },
      x - 0.2,
      -e - 0.02,
      0.72,
      x + 0.2,
      -e,
      0.88,
      "b",
    );
    mesh.box(
      { material: MATERIAL.light, colour: [0.75, 0.77, 0.78] },
      x - 0.18,
      e,
      0.65,
      x + 0.18,
      e + 0.02,
      0.85,
      "f",
    );
  }
}

function addBus(mesh: Mesh, form: Form, paint: Paint): void {
  const w = form.width / 2, e = form.length / 2;
  mesh.box({ ...paint, b: 2 }, -w, -e, 0.35, w, e, 3.05);
  mesh.box(
    { material: MATERIAL.sign, colour: [0.5, 0.5, 0.5], a: 3, seed: paint.seed },
    -0.7,
    -e - 0.01,
    0.75,
    0.5,
    -e,
    1.5,
    "b",
  );
  addPlate(mesh, -e - 0.02, 0.45, paint.seed!);
  const glass: Paint = { material: MATERIAL.glass, colour: GLASS, a: 1 };
  for (let y = -e + 0.4; y < e - 1.2; y += 1.55) {
    mesh.box(glass, -w - 0.01, y, 1.35, w + 0.01, y + 1.42, 2.55, "lr");
  }
  mesh.box(glass, -w + 0.1, e, 1.0, w - 0.1, e + 0.01, 2.75, "f");
  mesh.box(glass, -w + 0.25, -e - 0.01, 1.6, w - 0.25, -e, 2.6, "b");
  mesh.box(
    { material: MATERIAL.light, colour: [0.5, 0.33, 0.03] },
    -w + 0.5,
    e + 0.012,
    2.5,
    w - 0.5,
    e + 0.02,
    2.72,
    "f",
  );
  for (const side of [-1, 1]) {
    const x = side * (w - 0.22);
    mesh.box(
      { material: MATERIAL.light, colour: [0.45, 0.02, 0.02] },
      x - 0.12,
      -e - 0.02,
      0.8,
      x + 0.12,
      -e,
      1.25,
      "b",
    );
    mesh.box(
      { material: MATERIAL.light, colour: [0.75, 0.77, 0.78] },
      x - 0.18,
      e,
      0.6,
      x + 0.18,
      e + 0.02,
      0.8,
      "f",
    );
  }
}

/** A number plate at the back, at y and with its lower edge at z. */
function addPlate(mesh: Mesh, y: number, z: number, seed: number): void {
  const plate: Paint = { material: MATERIAL.plate, colour: [0.75, 0.75, 0.72], seed };
  mesh.box(plate, -0.26, y, z, 0.26, y + 0.01, z + 0.12, "b");
}

function addWheel(mesh: Mesh, x: number, y: number, r: number, side: number): void {
  const rubber: Paint = { material: MATERIAL.plain, colour: [0.02, 0.02, 0.02] };
  const outer: number[] = [], n = 10, x1 = x + side * 0.03, x0 = x - side * 0.2;
  for (let i = 0; i < n; i++) {
    const p = 2 * Math.PI * i / n * side, q = 2 * Math.PI * (i + 1) / n * side;
    outer.push(x1, y + r * Math.cos(p), r + r * Math.sin(p));
    mesh.face(rubber, [
      ...[x0, y + r * Math.cos(p), r + r * Math.sin(p), x0, y + r * Math.cos(q), r + r * Math.sin(q)],
      ...[x1, y + r * Math.cos(q), r + r * Math.sin(q), x1, y + r * Math.cos(p), r + r * Math.sin(p)],
    ]);
  }
  mesh.face({ material: MATERIAL.wheel, colour: [0.3, 0.3, 0.31], a: r }, outer, [x1, y, r]);
}

/** The part of a four-cornered face between two shares of its length (corners 0→1 and 3→2). */
function part(face: readonly number[], from: number, to: number): number[] {
  const along = (i: number, j: number, k: number) =>
    [0, 1, 2].map((c) => face[3 * i + c] + k * (face[3 * j + c] - face[3 * i + c]));
  return [...along(0, 1, from), ...along(0, 1, to), ...along(3, 2, to), ...along(3, 2, from)];
}

/** A four-cornered face made smaller by shares of its width and height and lifted off by `lift` m. */
function shrunk(face: readonly number[], across: number, up: number, lift: number): number[] {
  const mix = (i: number, j: number, k: number) =>
    [0, 1, 2].map((c) => face[3 * i + c] + k * (face[3 * j + c] - face[3 * i + c]));
  const cut = part(face, across, 1 - across);
  const lower = (i: number, j: number, k: number) =>
    [0, 1, 2].map((c) => cut[3 * i + c] + k * (cut[3 * j + c] - cut[3 * i + c]));
  const out = [...lower(0, 3, up), ...lower(1, 2, up), ...lower(2, 1, up * 0.7), ...lower(3, 0, up * 0.7)];
  const e1 = mix(0, 1, 1).map((v, c) => v - face[c]), e2 = mix(0, 3, 1).map((v, c) => v - face[c]);
  const n = [e1[1] * e2[2] - e1[2] * e2[1], e1[2] * e2[0] - e1[0] * e2[2], e1[0] * e2[1] - e1[1] * e2[0]];
  const length = Math.hypot(n[0], n[1], n[2]);
  return out.map((v, i) => v + lift * n[i % 3] / length);
}
