/**
 * From a scene and a view to a picture: visibility at three by three samples a pixel, each surface in a pixel shaded
 * once, sun and sky light with shadows, mirrored sky, haze, then the camera's exposure and noise.
 *
 * @module
 */
import { skyRadiance } from "./sky.ts";
import { spot, surface, surfaceAt } from "./materials.ts";
import { F, MATERIAL, STRIDE } from "./mesh.ts";
import { Buffer, LightMap, rasterise, type View } from "./raster.ts";
import { GAUSS, valueNoise } from "./noise.ts";
import type { Scene, Weather } from "./scene.ts";

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
  /** Depth along the optical axis at each pixel's centre in m; 0 where there is only sky. */
  readonly depth: Float32Array;
}

/** Shadows of one drive, drawn anew for each frame and shared by both cameras. */
export class Lighting {
  /** The sun close by, in fine samples. */
  readonly near: LightMap;
  /** The sun farther off, in coarse samples. */
  readonly far: LightMap;
  /** Heights from straight above: how much sky a point sees. */
  readonly above: LightMap = new LightMap([0, 0, 1], 320, 0.2);

  /** Makes the maps of a scene. @param scene What is lit. */
  constructor(readonly scene: Scene) {
    this.near = new LightMap(scene.weather.sun, 512, 0.075);
    this.far = new LightMap(scene.weather.sun, 640, 0.22);
  }

  /** Draws the shadows around what a view sees. */
  draw(view: View): void {
    const { mesh, weather } = this.scene;
    const [x, y, z] = view.centre, [fx, fy, fz] = view.forward;
    if (weather.sunlight[0] > 0.05) {
      this.near.draw(mesh, x + fx * 15, y + fy * 15, z + fz * 15 - 1, true);
      this.far.draw(mesh, x + fx * 64, y + fy * 64, z + fz * 64, false);
    }
    this.above.draw(mesh, x + fx * 29, y + fy * 29, z, false);
  }
}

// Numbers handed from function to function in arrays: V8 allocates each number that it passes otherwise.
/** X and Y of the ray in hand: it goes along X·right + Y·down + forward. */
const ray = new Float64Array(2);
const sky = new Float64Array(3);
const colour = new Float64Array(3);

const GAMMA = 2048;
/** Tone curve over [0, 4): straight in the dark, a soft shoulder, then the display's gamma. In steps of 1/255. */
const TONES = new Float32Array(GAMMA + 2);
for (let i = 0; i < TONES.length; i++) {
  const x = 4 * i / GAMMA;
  const soft = x < 0.6 ? x : 0.6 + 0.4 * (1 - Math.exp(-(x - 0.6) / 0.4));
  TONES[i] = 255 * (soft <= 0.0031308 ? 12.92 * soft : 1.055 * soft ** (1 / 2.2) - 0.055);
}

const buffers = new Map<string, Buffer>();

/** A picture in the making. */
interface Shot {
  readonly scene: Scene;
  readonly lighting: Lighting;
  readonly view: View;
  readonly sensor: Sensor;
  readonly buffer: Buffer;
  readonly width: number;
  readonly rgb: Uint8Array;
  readonly depth: Float32Array;
}

/** Renders one view. */
export function render(
  scene: Scene,
  lighting: Lighting,
  view: View,
  width: number,
  height: number,
  sensor: Sensor,
): Rendered {
  const key = `${width}x${height}`;
  const buffer = buffers.get(key) ?? new Buffer(width * 3, height * 3);
  buffers.set(key, buffer);
  buffer.clear(0);
  rasterise(scene.mesh, view, buffer, 3);
  const rgb = new Uint8Array(width * height * 3), depth = new Float32Array(width * height);
  const shot: Shot = { scene, lighting, view, sensor, buffer, width, rgb, depth };
  // Row by row: a function called often is compiled once and well, a long loop anew for each picture.
  for (let y = 0; y < height; y++) renderRow(shot, y);
  return { rgb, depth };
}

function renderRow(shot: Shot, y: number): void {
  const { scene, lighting, view, sensor, width, rgb, depth } = shot;
  const { face, near } = shot.buffer, group = scene.mesh.group;
  const gain = sensor.gain, exposure = scene.weather.exposure;
  let random = Math.imul(y + 1, 0x9e3779b1) ^ sensor.seed;
  for (let x = 0; x < width; x++) {
    const p = y * width + x, middle = (3 * y + 1) * 3 * width + 3 * x + 1;
    if (face[middle] >= 0) depth[p] = 1 / near[middle];
    const n = findParts(face, group, middle, 3 * width);
    let r = 0, g = 0, b = 0;
    for (let k = 0; k < n; k++) {
      ray[0] = (x + partX[k] - view.cx) / view.focal;
      ray[1] = (y + partY[k] - view.cy) / view.focal;
      shade(scene, lighting, view, partFace[k]);
      const share = partCount[k] / 9;
      r += colour[0] * share;
      g += colour[1] * share;
      b += colour[2] * share;
    }
    random = (Math.imul(random, 1664525) + 1013904223) | 0;
    rgb[3 * p] = level(r * exposure * gain[0], sensor.noise * GAUSS[random >>> 18]);
    random = (Math.imul(random, 1664525) + 1013904223) | 0;
    rgb[3 * p + 1] = level(g * exposure * gain[1], sensor.noise * GAUSS[random >>> 18]);
    random = (Math.imul(random, 1664525) + 1013904223) | 0;
    rgb[3 * p + 2] = level(b * exposure * gain[2], sensor.noise * GAUSS[random >>> 18]);
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

/** The byte that light of that strength (1 = full scale) is recorded as. */
function level(light: number, noise: number): number {
  const x = light * (GAMMA / 4), i = x | 0;
  const tone = i < GAMMA ? TONES[i] + (TONES[i + 1] - TONES[i]) * (x - i) : TONES[GAMMA];
  const value = tone + noise * (1 + tone * 0.004) + 0.5;
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

/** Leaves in {@linkcode colour} what is seen of a face (or the sky, -1) along {@linkcode ray}. */
function shade(scene: Scene, lighting: Lighting, view: View, id: number): void {
  const X = ray[0], Y = ray[1];
  const { weather, mesh } = scene, data = mesh.data;
  const R = view.right, D = view.down, W = view.forward, O = view.centre;
  const dx = W[0] + X * R[0] + Y * D[0], dy = W[1] + X * R[1] + Y * D[1], dz = W[2] + X * R[2] + Y * D[2];
  const length = Math.sqrt(dx * dx + dy * dy + dz * dz);
  if (id < 0) {
    skyRadiance(weather, dx / length, dy / length, dz / length, sky);
    // Exposed for the street, the sky comes out bright, as in KITTI.
    for (let c = 0; c < 3; c++) colour[c] = 1.35 * sky[c];
    return;
  }
  const at = id * STRIDE;
  let nx = data[at], ny = data[at + 1], nz = data[at + 2];
  const facing = nx * dx + ny * dy + nz * dz;
  const z = -(nx * O[0] + ny * O[1] + nz * O[2] + data[at + F.offset]) / facing;
  const px = O[0] + z * dx, py = O[1] + z * dy, pz = O[2] + z * dz;
  // Texture position and its change over one pixel.
  const ux = data[at + 4],
    uy = data[at + 5],
    uz = data[at + 6],
    vx = data[at + 8],
    vy = data[at + 9],
    vz = data[at + 10];
  const u = ux * px + uy * py + uz * pz + data[at + 7], v = vx * px + vy * py + vz * pz + data[at + 11];
  const step = z / view.focal;
  const kr = (nx * R[0] + ny * R[1] + nz * R[2]) / facing, kd = (nx * D[0] + ny * D[1] + nz * D[2]) / facing;
  const ud = ux * dx + uy * dy + uz * dz, vd = vx * dx + vy * dy + vz * dz;
  const fu = step *
    (Math.abs(ux * R[0] + uy * R[1] + uz * R[2] - ud * kr) +
      Math.abs(ux * D[0] + uy * D[1] + uz * D[2] - ud * kd));
  const fv = step *
    (Math.abs(vx * R[0] + vy * R[1] + vz * R[2] - vd * kr) +
      Math.abs(vx * D[0] + vy * D[1] + vz * D[2] - vd * kd));
  spot[0] = u;
  spot[1] = v;
  spot[2] = fu;
  spot[3] = fv;
  surfaceAt(scene, id);
  if (facing > 0) {
    nx = -nx;
    ny = -ny;
    nz = -nz;
  }
  // The face's own normal: what its shadow is judged by.
  const gx = nx, gy = ny, gz = nz;
  const material = mesh.material[id], leafy = material === MATERIAL.leaf;
  const mix = data[at + F.mix];
  if (mix > 0) {
    let ox = px - data[at + F.round],
      oy = py - data[at + F.round + 1],
      oz = (pz - data[at + F.round + 2]) * data[at + F.up];
    const k = mix / (Math.sqrt(ox * ox + oy * oy + oz * oz) + 1e-9);
    ox *= k;
    oy *= k;
    oz *= k;
    nx = nx * (1 - mix) + ox;
    ny = ny * (1 - mix) + oy;
    nz = nz * (1 - mix) + oz;
    const l = 1 / (Math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9);
    nx *= l;
    ny *= l;
    nz *= l;
  }
  const S = weather.sun;
  let toSun = nx * S[0] + ny * S[1] + nz * S[2];
  if (leafy) toSun = 0.35 + 0.65 * toSun;
  let sun = 0;
  const strength = weather.sunlight;
  if (toSun > 0 && strength[0] > 0.05) {
    // Points are lifted off their surface, so that it does not shade itself.
    const lift = leafy ? 0.15 : 0.02;
    const qx = px + gx * lift, qy = py + gy * lift, qz = pz + gz * lift;
    let lit = lighting.near.lit(qx, qy, qz, gx, gy, gz, leafy ? 0.25 : 0.03);
    if (lit < 0) lit = lighting.far.lit(qx, qy, qz, gx, gy, gz, leafy ? 0.4 : 0.08);
    sun = toSun * (lit < 0 ? 1 : lit);
  }
  // The sky above, the ground below, and what hides the sky close by.
  const upward = 0.5 + 0.5 * nz,
    dull = lighting.above.openness(px + nx * 0.15, py + ny * 0.15, pz + nz * 0.1);
  const zen = weather.zenith, hor = weather.horizon;
  const bounce = 0.16 * (1 - upward) * (0.5 + 0.5 * strength[0] * S[2]);
  const r0 = surface[0], g0 = surface[1], b0 = surface[2];
  const ambient = (0.25 + 0.75 * dull) * (leafy ? 0.8 : 1);
  const skyR = 0.5 * (zen[0] + hor[0]), skyG = 0.5 * (zen[1] + hor[1]), skyB = 0.5 * (zen[2] + hor[2]);
  let r = r0 * (sun * strength[0] + ambient * (upward * skyR + bounce));
  let g = g0 * (sun * strength[1] + ambient * (upward * skyG + bounce));
  let b = b0 * (sun * strength[2] + ambient * (upward * skyB + bounce * 0.85));
  const glow = surface[5];
  if (glow > 0) {
    r += r0 * glow;
    g += g0 * glow;
    b += b0 * glow;
  }
  colour[0] = r;
  colour[1] = g;
  colour[2] = b;
  if (surface[3] > 0) addMirrored(weather, dx / length, dy / length, dz / length, nx, ny, nz, sun);
  const clear = Math.exp(-z * length / weather.haze);
  for (let c = 0; c < 3; c++) colour[c] = colour[c] * clear + 0.92 * hor[c] * (1 - clear);
}

/**
 * Lays what the surface mirrors over {@linkcode colour}: the sky with a skyline before it, and the sun.
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
  const mirror = surface[3], gloss = surface[4], S = weather.sun, strength = weather.sunlight;
  // Schlick's approximation: mirrors more the flatter it is seen.
  const cos = -(ex * nx + ey * ny + ez * nz);
  const m = 1 - (cos > 0 ? cos : 0), m2 = m * m;
  const share = mirror + (1 - mirror) * m2 * m2 * m * (mirror < 0.03 ? 0.1 : 0.75);
  const rx = ex + 2 * cos * nx, ry = ey + 2 * cos * ny, rz = ez + 2 * cos * nz;
  // Houses and trees opposite stand before the lower sky.
  const open = (rz - 0.2 - 0.22 * valueNoise(rx * 6, ry * 6)) * 9;
  if (open > 0) skyRadiance(weather, rx, ry, rz, sky);
  const k = open > 1 ? 1 : open > 0 ? open : 0;
  for (let c = 0; c < 3; c++) colour[c] += (0.17 + (sky[c] - 0.17) * k - colour[c]) * share;
  const h = rx * S[0] + ry * S[1] + rz * S[2];
  if (gloss > 0 && sun > 0 && h > 0.5) {
    const flare = Math.exp(gloss * 0.5 * (h - 1)) * (0.6 + 0.02 * gloss) * (share + 0.02) * 6;
    for (let c = 0; c < 3; c++) colour[c] += flare * strength[c];
  }
}
