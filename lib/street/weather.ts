/**
 * Sun, sky and air of one drive.
 *
 * @module
 */
import type { Random } from "../base/random.ts";
import type { Point, Rgb } from "./mesh.ts";
import { valueNoise } from "./noise.ts";

/** Sun, sky and air. */
export interface Weather {
  /** Unit vector toward the sun. */
  readonly sun: Point;
  /** Radiance of the sun on a surface that faces it. */
  readonly sunlight: Rgb;
  /** Radiance of the clear sky overhead, and at the horizon. */
  readonly zenith: Rgb;
  readonly horizon: Rgb;
  /** 0 clear … 1 overcast. */
  readonly clouds: number;
  /** Distance in m at which haze takes 63 %. */
  readonly haze: number;
  /** Factor from radiance to the camera's full scale. */
  readonly exposure: number;
  /** Varies the clouds. */
  readonly seed: number;
}

/** Draws the weather of a drive: mostly fair, sometimes overcast. */
export function drawWeather(random: Random): Weather {
  const clouds = random.chance(0.3) ? random.uniform(0.75, 1) : random.uniform(0, 0.65);
  const height = random.uniform(0.28, 1.05), azimuth = random.uniform(0, 2 * Math.PI);
  const strength = clouds > 0.75 ? random.uniform(0, 0.5) : random.uniform(2.2, 3.6);
  const warm = 1 - Math.min(1, height / 0.8), gray = clouds * 0.75;
  const mix = (clear: number, dull: number) => clear + (dull - clear) * gray;
  const flat = Math.cos(height);
  return {
    sun: [flat * Math.cos(azimuth), flat * Math.sin(azimuth), Math.sin(height)],
    sunlight: [
      strength * (1 + 0.08 * warm),
      strength * (0.96 - 0.08 * warm),
      strength * (0.88 - 0.25 * warm),
    ],
    zenith: [mix(0.3, 0.8), mix(0.5, 0.83), mix(0.95, 0.88)],
    horizon: [mix(0.82, 0.95), mix(0.92, 0.97), mix(1.05, 1)],
    clouds,
    haze: Math.exp(random.uniform(Math.log(350), Math.log(2500))),
    exposure: random.uniform(0.95, 1.15) / (0.33 * strength + 0.75),
    seed: random.below(1 << 16),
  };
}

/**
 * Radiance of the sky in a direction: a gradient with clouds and a glow about the sun, infinitely far away.
 *
 * @param sky Holds the direction, a unit vector in the world, z up; receives red, green and blue at 0..2.
 */
export function skyRadiance(weather: Weather, sky: Float64Array): void {
  const x = sky[0], y = sky[1], z = sky[2];
  const { zenith, horizon, sun, clouds, seed } = weather;
  const up = z > 0 ? z : 0, k = Math.sqrt(up);
  let r = horizon[0] + (zenith[0] - horizon[0]) * k;
  let g = horizon[1] + (zenith[1] - horizon[1]) * k;
  let b = horizon[2] + (zenith[2] - horizon[2]) * k;
  const toSun = x * sun[0] + y * sun[1] + z * sun[2];
  if (toSun > 0) {
    const t2 = toSun * toSun, t8 = t2 * t2 * t2 * t2;
    const glow = (1 - 0.7 * clouds) * (0.25 * t8 + 1.2 * t8 ** 8);
    r += glow;
    g += 0.95 * glow;
    b += 0.8 * glow;
  }
  if (up > 0.01 && clouds > 0.02) {
    // A flat layer of clouds, seen in perspective and dissolving toward the horizon.
    const px = x / (up + 0.12) * 1.4 + seed % 97, py = y / (up + 0.12) * 1.4 + seed % 89;
    const n = 0.5 * valueNoise(px, py) + 0.3 * valueNoise(px * 2.1 + 9, py * 2.1) +
      0.15 * valueNoise(px * 4.3, py * 4.3 + 5) + 0.08 * valueNoise(px * 9, py * 9);
    let c = (n + clouds * 1.5 - 0.62) * 2.2;
    c = c < 0 ? 0 : c > 1 ? 1 : c;
    c *= up < 0.15 ? up / 0.15 : 1;
    const shade = (1.05 - 0.28 * c * clouds) - 0.12 * n;
    r += (shade - r) * c * 0.9;
    g += (shade - g) * c * 0.9;
    b += (shade * 1.02 - b) * c * 0.9;
  }
  sky[0] = r;
  sky[1] = g;
  sky[2] = b;
}
