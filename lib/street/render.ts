/**
 * From a scene and a view to a picture: visibility at three by three samples a pixel, each surface in a pixel shaded
 * once, sun and sky light with shadows, mirrored sky, haze, then the camera's exposure and noise.
 *
 * @module
 */
import { spot, surface, surfaceAt } from "./materials.ts";
import { F, MATERIAL, STRIDE } from "./mesh.ts";
import { GAUSS, valueNoise } from "./noise.ts";
import { type CameraView, DepthBuffer, LightMap, lit, rasterize } from "./raster.ts";
import type { Scene } from "./scene.ts";
import { skyRadiance, type Weather } from "./weather.ts";

/** How one camera turns light into numbers. */
export interface Sensor {
  /** Factors of red, green and blue: exposure and white balance. */
  readonly gain: readonly [number, number, number];
  /** Standard deviation of the noise in the dark, in steps of 1/255. */
  readonly noise: number;
  /** Seed of the noise of this very frame. */
  readonly seed: number;
}

/** A rendered view. */
export interface Rendered {
  /** Red, green and blue bytes, row by row. */
  readonly rgb: Uint8Array;
  /** Depth along the optical axis at each pixel's center in m; 0 where there is only sky. */
  readonly depth: Float32Array;
}

/** Shadows of one drive, redrawn for each frame and shared by both cameras. */
export class Lighting {
  /** The sun close by in fine samples, and farther off in coarse ones. */
  readonly near: LightMap;
  readonly far: LightMap;
  /** Heights from straight above: how much sky a point sees. */
  readonly above: LightMap = new LightMap([0, 0, 1], 320, 0.2);

  constructor(readonly scene: Scene) {
    this.near = new LightMap(scene.weather.sun, 512, 0.075);
    this.far = new LightMap(scene.weather.sun, 640, 0.22);
  }

  /** Draws the shadows around what a view sees. */
  draw(view: CameraView): void {
    const { mesh, weather } = this.scene;
    const [x, y, z] = view.center, [fx, fy, fz] = view.forward;
    if (weather.sunlight[0] > 0.05) {
      this.near.draw(mesh, x + fx * 15, y + fy * 15, z + fz * 15 - 1, true);
      this.far.draw(mesh, x + fx * 64, y + fy * 64, z + fz * 64, false);
    }
    this.above.draw(mesh, x + fx * 29, y + fy * 29, z, false);
  }
}

// Numbers go from function to function in arrays, since V8 would allocate each one that is passed otherwise.
/** X and Y of the current ray: it goes along X·right + Y·down + forward. */
const ray = new Float64Array(2);
const sky = new Float64Array(3);
const color = new Float64Array(3);
/** What falls on the current pixel. */
const light = new Float64Array(3);

/** The current view: its axes right, down and forward, its center, and 1 / focal length. */
const eye = new Float64Array(13);
/** The current weather. */
const air = new Float64Array(14);
/**
 * Offsets in {@linkcode air}: direction and light of the sun, the mean of sky overhead and horizon, the horizon as
 * haze, the haze in 1/m, and the light that the ground throws up.
 */
const AIR = { sun: 0, sunlight: 3, sky: 6, veil: 9, haze: 12, bounce: 13 } as const;

function prepare(weather: Weather, view: CameraView): void {
  eye.set(view.right);
  eye.set(view.down, 3);
  eye.set(view.forward, 6);
  eye.set(view.center, 9);
  eye[12] = 1 / view.focal;
  air.set(weather.sun);
  air.set(weather.sunlight, AIR.sunlight);
  for (let c = 0; c < 3; c++) {
    air[AIR.sky + c] = 0.5 * (weather.zenith[c] + weather.horizon[c]);
    air[AIR.veil + c] = 0.92 * weather.horizon[c];
  }
  air[AIR.haze] = 1 / weather.haze;
  air[AIR.bounce] = 0.16 * (0.5 + 0.5 * weather.sunlight[0] * weather.sun[2]);
  seenFace = -1;
}

/**
 * The face that {@linkcode shade} has last seen, as the view sees it; neighbors mostly share it. For the normal, u and
 * v: what is added to the product with a ray per X, per Y and at the center; then the plane's height above the camera,
 * or u and v at the camera.
 */
const seen = new Float64Array(12);
let seenFace = -1;

function see(data: Float64Array, at: number): void {
  for (let k = 0; k < 3; k++) {
    const x = data[at + 4 * k], y = data[at + 4 * k + 1], z = data[at + 4 * k + 2];
    for (let i = 0; i < 3; i++) seen[4 * k + i] = x * eye[3 * i] + y * eye[3 * i + 1] + z * eye[3 * i + 2];
    seen[4 * k + 3] = x * eye[9] + y * eye[10] + z * eye[11] + data[at + 4 * k + 3];
  }
}

const GAMMA = 2048;
/** From light to an index of {@linkcode TONES}, for each channel. */
const gains = new Float64Array(3);
/** Tone curve over [0, 4): straight in the dark, a soft shoulder, then the display's gamma. In steps of 1/255. */
const TONES = Float32Array.from({ length: GAMMA + 2 }, (_, i) => {
  const x = 4 * i / GAMMA;
  const soft = x < 0.6 ? x : 0.6 + 0.4 * (1 - Math.exp(-(x - 0.6) / 0.4));
  return 255 * (soft <= 0.0031308 ? 12.92 * soft : 1.055 * soft ** (1 / 2.2) - 0.055);
});

/** The buffer of the last size; a drive's frames and its metering have one each. */
const buffers = new Map<string, DepthBuffer>();

/** A picture in the making. */
interface Shot extends Rendered {
  readonly scene: Scene;
  readonly lighting: Lighting;
  readonly view: CameraView;
  readonly sensor: Sensor;
  readonly buffer: DepthBuffer;
  readonly width: number;
}

/** Renders one view. */
export function render(
  scene: Scene,
  lighting: Lighting,
  view: CameraView,
  width: number,
  height: number,
  sensor: Sensor,
): Rendered {
  const key = `${width}x${height}`;
  const buffer = buffers.get(key) ?? new DepthBuffer(width * 3, height * 3);
  buffers.set(key, buffer);
  buffer.clear(0);
  rasterize(scene.mesh, view, buffer, 3);
  const rgb = new Uint8Array(width * height * 3), depth = new Float32Array(width * height);
  prepare(scene.weather, view);
  for (let c = 0; c < 3; c++) gains[c] = scene.weather.exposure * sensor.gain[c] * (GAMMA / 4);
  const shot: Shot = { scene, lighting, view, sensor, buffer, width, rgb, depth };
  // Row by row: V8 optimizes a function that is called often once and well, a long loop once per picture.
  for (let y = 0; y < height; y++) renderRow(shot, y);
  return { rgb, depth };
}

function renderRow(shot: Shot, y: number): void {
  const { scene, lighting, view, sensor, width, rgb, depth } = shot;
  const { face, near } = shot.buffer, group = scene.mesh.group;
  const { cx, cy } = view, noise = sensor.noise;
  let random = Math.imul(y + 1, 0x9e3779b1) ^ sensor.seed;
  for (let x = 0; x < width; x++) {
    const p = y * width + x, middle = (3 * y + 1) * 3 * width + 3 * x + 1;
    if (face[middle] >= 0) depth[p] = 1 / near[middle];
    const n = findParts(face, group, middle, 3 * width);
    light[0] = light[1] = light[2] = 0;
    for (let k = 0; k < n; k++) {
      ray[0] = (x + partX[k] - cx) * eye[12];
      ray[1] = (y + partY[k] - cy) * eye[12];
      shade(scene, lighting, partFace[k]);
      const share = partCount[k] * (1 / 9);
      light[0] += color[0] * share;
      light[1] += color[1] * share;
      light[2] += color[2] * share;
    }
    for (let c = 0; c < 3; c++) {
      random = (Math.imul(random, 1664525) + 1013904223) | 0;
      // Light (1 = full scale) to tone, then the sensor's noise.
      const level = light[c] * gains[c], i = level | 0;
      const tone = i < GAMMA ? TONES[i] + (TONES[i + 1] - TONES[i]) * (level - i) : TONES[GAMMA];
      const value = tone + noise * GAUSS[random >>> 18] * (1 + tone * 0.004) + 0.5;
      rgb[3 * p + c] = value < 0 ? 0 : value > 255 ? 255 : value;
    }
  }
}

// The surfaces that share a pixel: face, how many of the nine samples, and where the first of them lies, px.
const partFace = new Int32Array(9), partKey = new Int32Array(9), partCount = new Int32Array(9);
const partX = new Float64Array(9), partY = new Float64Array(9);

/** Finds them, the one in the middle first; returns how many there are. Faces of one group count as one. */
function findParts(face: Int32Array, group: Int32Array, middle: number, width: number): number {
  const id0 = face[middle], above = middle - width, below = middle + width;
  partFace[0] = id0;
  partCount[0] = 9;
  partX[0] = 0;
  partY[0] = 0;
  if (
    face[above - 1] === id0 && face[above] === id0 && face[above + 1] === id0 &&
    face[middle - 1] === id0 && face[middle + 1] === id0 &&
    face[below - 1] === id0 && face[below] === id0 && face[below + 1] === id0
  ) return 1;
  let n = 1;
  partKey[0] = keyOf(id0, group);
  partCount[0] = 0;
  for (let j = -1; j <= 1; j++) {
    for (let i = -1; i <= 1; i++) {
      const id = face[middle + j * width + i], key = keyOf(id, group);
      let k = 0;
      while (k < n && partKey[k] !== key) k++;
      if (k === n) {
        partFace[n] = id;
        partKey[n] = key;
        partCount[n] = 0;
        partX[n] = i / 3;
        partY[n++] = j / 3;
      }
      partCount[k]++;
    }
  }
  return n;
}

/** A number that faces of one group share and others do not; -1 for the sky. */
function keyOf(id: number, group: Int32Array): number {
  return id < 0 ? -1 : group[id] || id + 0x1000000;
}

/** Leaves in {@linkcode color} what is seen of a face (or the sky, -1) along {@linkcode ray}. */
function shade(scene: Scene, lighting: Lighting, id: number): void {
  const X = ray[0], Y = ray[1];
  const { weather, mesh } = scene, data = mesh.data;
  const dx = eye[6] + X * eye[0] + Y * eye[3],
    dy = eye[7] + X * eye[1] + Y * eye[4],
    dz = eye[8] + X * eye[2] + Y * eye[5];
  const length = Math.sqrt(dx * dx + dy * dy + dz * dz);
  if (id < 0) {
    sky[0] = dx / length;
    sky[1] = dy / length;
    sky[2] = dz / length;
    skyRadiance(weather, sky);
    // Exposed for the street, the sky comes out bright, as in KITTI.
    for (let c = 0; c < 3; c++) color[c] = 1.35 * sky[c];
    return;
  }
  const at = id * STRIDE;
  if (id !== seenFace) {
    see(data, at);
    seenFace = id;
  }
  let nx = data[at], ny = data[at + 1], nz = data[at + 2];
  const facing = seen[0] * X + seen[1] * Y + seen[2];
  const z = -seen[3] / facing;
  const px = eye[9] + z * dx, py = eye[10] + z * dy, pz = eye[11] + z * dz;
  // Texture position and its change over one pixel.
  const ud = seen[4] * X + seen[5] * Y + seen[6], vd = seen[8] * X + seen[9] * Y + seen[10];
  const step = z * eye[12], kr = seen[0] / facing, kd = seen[1] / facing;
  spot.u = seen[7] + z * ud;
  spot.v = seen[11] + z * vd;
  spot.fu = step * (Math.abs(seen[4] - ud * kr) + Math.abs(seen[5] - ud * kd));
  spot.fv = step * (Math.abs(seen[8] - vd * kr) + Math.abs(seen[9] - vd * kd));
  surfaceAt(scene, id);
  if (facing > 0) {
    nx = -nx;
    ny = -ny;
    nz = -nz;
  }
  // The face's own normal: what its shadow is judged by.
  const gx = nx, gy = ny, gz = nz;
  const leafy = mesh.material[id] === MATERIAL.leaf;
  const round = at + F.round, mix = data[round + 3];
  if (mix > 0) {
    const ox = px - data[round], oy = py - data[round + 1], oz = (pz - data[round + 2]) * data[round + 4];
    const k = mix / (Math.sqrt(ox * ox + oy * oy + oz * oz) + 1e-9);
    nx = nx * (1 - mix) + ox * k;
    ny = ny * (1 - mix) + oy * k;
    nz = nz * (1 - mix) + oz * k;
    const l = 1 / (Math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9);
    nx *= l;
    ny *= l;
    nz *= l;
  }
  let toSun = nx * air[0] + ny * air[1] + nz * air[2];
  if (leafy) toSun = 0.35 + 0.65 * toSun;
  let sun = 0;
  if (toSun > 0 && air[AIR.sunlight] > 0.05) {
    // Points are lifted off their surface, so that it does not shade itself.
    const lift = leafy ? 0.15 : 0.02;
    lit[0] = px + gx * lift;
    lit[1] = py + gy * lift;
    lit[2] = pz + gz * lift;
    lit[3] = gx;
    lit[4] = gy;
    lit[5] = gz;
    let share = lighting.near.lit(leafy ? 0.25 : 0.03);
    if (share < 0) share = lighting.far.lit(leafy ? 0.4 : 0.08);
    sun = toSun * (share < 0 ? 1 : share);
  }
  // The sky above, the ground below, and what hides the sky close by.
  const upward = 0.5 + 0.5 * nz;
  lit[0] = px + nx * 0.15;
  lit[1] = py + ny * 0.15;
  lit[2] = pz + nz * 0.1;
  const open = lighting.above.openness();
  const ambient = (0.25 + 0.75 * open) * (leafy ? 0.8 : 1), bounce = air[AIR.bounce] * (1 - upward);
  for (let c = 0; c < 3; c++) {
    const below = c < 2 ? bounce : 0.85 * bounce;
    color[c] = surface.color[c] *
      (sun * air[AIR.sunlight + c] + ambient * (upward * air[AIR.sky + c] + below) + surface.glow);
  }
  if (surface.mirror > 0) addMirrored(weather, dx / length, dy / length, dz / length, nx, ny, nz, sun);
  const clear = Math.exp(-z * length * air[AIR.haze]);
  for (let c = 0; c < 3; c++) color[c] = color[c] * clear + air[AIR.veil + c] * (1 - clear);
}

/**
 * Lays what the surface mirrors over {@linkcode color}: the sky with a skyline before it, and the sun.
 *
 * @param ex Unit direction of the ray, ey and ez with it.
 * @param nx Unit normal, ny and nz with it.
 * @param sun How much of the sun reaches the surface.
 */
function addMirrored(
  weather: Weather,
  ex: number,
  ey: number,
  ez: number,
  nx: number,
  ny: number,
  nz: number,
  sun: number,
): void {
  const { mirror, gloss } = surface, S = weather.sun, strength = weather.sunlight;
  // Schlick's approximation: mirrors more the flatter it is seen.
  const cos = -(ex * nx + ey * ny + ez * nz);
  const m = 1 - (cos > 0 ? cos : 0), m2 = m * m;
  const share = mirror + (1 - mirror) * m2 * m2 * m * (mirror < 0.03 ? 0.1 : 0.75);
  const rx = ex + 2 * cos * nx, ry = ey + 2 * cos * ny, rz = ez + 2 * cos * nz;
  // Houses and trees opposite stand before the lower sky.
  const open = (rz - 0.2 - 0.22 * valueNoise(rx * 6, ry * 6)) * 9;
  if (open > 0) {
    sky[0] = rx;
    sky[1] = ry;
    sky[2] = rz;
    skyRadiance(weather, sky);
  }
  const k = open > 1 ? 1 : open > 0 ? open : 0;
  for (let c = 0; c < 3; c++) color[c] += (0.17 + (sky[c] - 0.17) * k - color[c]) * share;
  const h = rx * S[0] + ry * S[1] + rz * S[2];
  if (gloss > 0 && sun > 0 && h > 0.5) {
    const flare = Math.exp(gloss * 0.5 * (h - 1)) * (0.6 + 0.02 * gloss) * (share + 0.02) * 6;
    for (let c = 0; c < 3; c++) color[c] += flare * strength[c];
  }
}
