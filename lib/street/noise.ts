/**
 * Procedural texture: value noise whose finest detail follows the size of a pixel on the surface, and patterns that
 * are integrated over that size instead of being sampled. Nothing here allocates.
 *
 * @module
 */
import { Random } from "../base/random.ts";

const LATTICE = new Float32Array(65536);
{
  const random = new Random(0x5eed);
  for (let i = 0; i < LATTICE.length; i++) LATTICE[i] = random.next() * 2 - 1;
}

/** Value noise in [-1, 1] with features of about one unit, repeating every 256 units. */
export function valueNoise(x: number, y: number): number {
  const xf = Math.floor(x), yf = Math.floor(y);
  let fx = x - xf, fy = y - yf;
  fx = fx * fx * (3 - 2 * fx);
  fy = fy * fy * (3 - 2 * fy);
  const x0 = xf & 255, x1 = (xf + 1) & 255, y0 = (yf & 255) << 8, y1 = ((yf + 1) & 255) << 8;
  const a = LATTICE[y0 | x0], b = LATTICE[y0 | x1], c = LATTICE[y1 | x0], d = LATTICE[y1 | x1];
  const top = a + (b - a) * fx;
  return top + (c + (d - c) * fx - top) * fy;
}

const BITS_FLOAT = new Float32Array(1), BITS_INT = new Int32Array(BITS_FLOAT.buffer);

/**
 * Noise in about [-1, 1] whose octaves start at the pixel's size: as much contrast from pixel to pixel at 60 m as
 * at 6 m, which is what real surfaces have and what matching needs.
 *
 * @param u Position in m.
 * @param v Position in m.
 * @param footprint Size of a pixel on the surface in m; finer detail is left out, so that nothing flickers.
 * @param finest Wavelength in m below which the surface is smooth.
 */
export function detail(u: number, v: number, footprint: number, finest: number): number {
  // log2 of the finest wavelength by its bits: exponent, and a straight line within each octave.
  BITS_FLOAT[0] = 2 * footprint > finest ? 2 * footprint : finest;
  const bits = BITS_INT[0], base = (bits >> 23) - 127;
  const part = (bits & 0x7fffff) / 0x800000;
  BITS_INT[0] = (127 - base) << 23;
  let scale = BITS_FLOAT[0];
  // Each octave has its own offset, so that they do not line up. One loop, no calls: this runs for every pixel.
  let sum = 0, shift = base * 17.3, share = 1 - part;
  for (let octave = 0; octave < 3; octave++) {
    const x = u * scale + shift, y = v * scale - shift;
    const xf = Math.floor(x), yf = Math.floor(y);
    let fx = x - xf, fy = y - yf;
    fx = fx * fx * (3 - 2 * fx);
    fy = fy * fy * (3 - 2 * fy);
    const x0 = xf & 255, x1 = (xf + 1) & 255, y0 = (yf & 255) << 8, y1 = ((yf + 1) & 255) << 8;
    const a = LATTICE[y0 | x0], b = LATTICE[y0 | x1], c = LATTICE[y1 | x0], d = LATTICE[y1 | x1];
    const top = a + (b - a) * fx;
    sum += share * (top + (c + (d - c) * fx - top) * fy);
    share = octave === 0 ? 1 : 0.35 + 0.65 * part;
    scale *= 0.5;
    shift += 17.3;
  }
  return sum * 0.85;
}

/**
 * {@linkcode detail} where a pixel's footprint is long and narrow, as on the ground far off: the noise is stretched
 * by a power of two, so that it stays as fine as the pixel both ways.
 *
 * @param fu Footprint along u, m.
 * @param fv Footprint along v, m.
 */
export function stretchedDetail(u: number, v: number, fu: number, fv: number, finest: number): number {
  const along = fu > fv, ratio = along ? fu / fv : fv / fu;
  const k = ratio < 1.5 ? 1 : ratio < 3 ? 2 : ratio < 6 ? 4 : ratio < 12 ? 8 : 16;
  const x = along ? u / k + 3.7 * k : u + 3.7 * k, y = along ? v : v / k;
  const one = along ? fu / k : fv / k, other = along ? fv : fu;
  return detail(x, y, one > other ? one : other, finest);
}

/** A number in [0, 1) that belongs to a cell of a grid. */
export function cellValue(i: number, j: number, seed: number): number {
  let h = Math.imul(i | 0, 0x27d4eb2d) ^ Math.imul(j | 0, 0x165667b1) ^ Math.imul(seed | 0, 0x9e3779b1);
  h = Math.imul(h ^ (h >>> 15), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return ((h ^ (h >>> 16)) >>> 0) / 4294967296;
}

/** The share of a pixel of size `footprint` around `x` that lies in [from, to]. */
export function cover(x: number, from: number, to: number, footprint: number): number {
  const half = Math.max(footprint, 1e-6) / 2;
  const low = x - half > from ? x - half : from, high = x + half < to ? x + half : to;
  return high > low ? (high - low) / (2 * half) : 0;
}

/** The share of a pixel around `x` that lies in one of the intervals [k·period, k·period + width]. */
export function coverPeriodic(x: number, period: number, width: number, footprint: number): number {
  const half = Math.max(footprint, 1e-6) / 2;
  const a = (x - half) / period, b = (x + half) / period;
  const fa = Math.floor(a), fb = Math.floor(b);
  const duty = width / period;
  const ra = a - fa < duty ? a - fa : duty, rb = b - fb < duty ? b - fb : duty;
  return ((fb - fa) * duty + rb - ra) / (b - a);
}

/** Normally distributed numbers, mean 0 and deviation 1, to pick from by 14 random bits. */
export const GAUSS: Float32Array = new Float32Array(1 << 14);
{
  const random = new Random(4242);
  for (let i = 0; i < GAUSS.length; i++) GAUSS[i] = random.normal();
}

/** Cut-outs: where a face has holes; they repeat. 0 is a face without holes. */
export const MASK = { none: 0, leaves: 1, sprays: 2, needles: 3, railing: 4, skyline: 5, mesh: 6 } as const;
/** Width and height of a mask in texels. */
const SIZE = 64;

function texel(mask: number, u: number, v: number): number {
  return MASKS[(mask << 12) | (((v * SIZE) & 63) << 6) | ((u * SIZE) & 63)];
}

/** Whether a mask has something at a texture position. */
export function isThere(mask: number, u: number, v: number): boolean {
  return texel(mask, u, v) !== 0;
}

/** The tone of a mask at a texture position: 1 is plain; blurred to that where a pixel covers many texels. */
export function maskTone(mask: number, u: number, v: number, footprint: number): number {
  const tone = texel(mask, u, v) / 160, sharp = 1.6 - footprint * SIZE * 0.3;
  return sharp <= 0 ? 1 : 1 + (tone - 1) * (sharp < 1 ? sharp : 1);
}

/**
 * All masks, one after the other: 0 where there is nothing, else the tone of what is there (160 is plain); index
 * (mask·64 + row)·64 + column, v upward.
 */
export const MASKS: Uint8Array = makeMasks();

function makeMasks(): Uint8Array {
  const size = SIZE, out = new Uint8Array(Object.keys(MASK).length * size * size).fill(160);
  const random = new Random(77);
  const at = (mask: number, x: number, y: number) => (mask * size + y) * size + x;
  const dab = (mask: number, cx: number, cy: number, rx: number, ry: number, angle: number) => {
    const tone = random.uniform(70, 250);
    const c = Math.cos(angle), s = Math.sin(angle), reach = Math.ceil(Math.max(rx, ry));
    for (let y = Math.floor(cy - reach); y <= cy + reach; y++) {
      for (let x = Math.floor(cx - reach); x <= cx + reach; x++) {
        if (x < 0 || y < 0 || x >= size || y >= size) continue;
        const p = ((x - cx) * c + (y - cy) * s) / rx, q = ((y - cy) * c - (x - cx) * s) / ry;
        if (p * p + q * q <= 1) out[at(mask, x, y)] = tone * (1 - 0.25 * q);
      }
    }
  };
  for (const [mask, dabs, long, wide] of [[1, 330, 3.2, 2], [2, 230, 3.6, 1.6], [3, 300, 5, 1]] as const) {
    out.fill(0, at(mask, 0, 0), at(mask + 1, 0, 0));
    for (let i = 0; i < dabs; i++) {
      const r = 28 * Math.sqrt(random.next()) * (0.75 + 0.25 * random.next());
      const angle = random.uniform(0, 2 * Math.PI);
      dab(mask, 32 + r * Math.cos(angle), 32 + r * Math.sin(angle), long, wide, random.uniform(0, Math.PI));
    }
  }
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      out[at(4, x, y)] = y > 58 || (y > 4 && y < 9) || x % 8 < 2 ? 160 : 0;
      const edge = 42 + 9 * valueNoise(x / 12.8, 3) + 6 * Math.abs(valueNoise(x / 5, 9)) +
        3 * valueNoise(x / 2, 17);
      out[at(5, x, y)] = y < edge ? 160 : 0;
      out[at(6, x, y)] = (x + y) % 8 < 1 || (x - y + 64) % 8 < 1 || y > 61 ? 160 : 0;
    }
  }
  return out;
}
