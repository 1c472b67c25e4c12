/**
 * The light of the sky: a gradient with clouds and a glow about the sun, infinitely far away.
 *
 * @module
 */
import { layers } from "./noise.ts";
import type { Weather } from "./scene.ts";

/** Layers of noise that make clouds; see {@linkcode layers}. */
const CLOUDS = Float64Array.of(0.5, 1, 0, 0, 0.3, 2.1, 9, 0, 0.15, 4.3, 0, 5, 0.08, 9, 0, 0);

/**
 * Radiance of the sky in a direction.
 *
 * @param sky Holds the direction, a unit vector in the world, z up; receives red, green and blue at 0..2.
 */
export function skyRadiance(weather: Weather, sky: Float64Array): void {
  const x = sky[0], y = sky[1], z = sky[2];
  const { zenith, horizon, sun, clouds, seed } = weather;
  const up = z > 0 ? z : 0;
  const k = Math.sqrt(up);
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
    // A flat layer of clouds, seen in perspective and dissolving towards the horizon.
    const px = x / (up + 0.12) * 1.4 + seed % 97, py = y / (up + 0.12) * 1.4 + seed % 89;
    const n = layers(px, py, CLOUDS);
    let c = (n + clouds * 1.5 - 0.62) * 2.2;
    c = c < 0 ? 0 : c > 1 ? 1 : c;
    c *= up < 0.15 ? up / 0.15 : 1;
    const shade = (1.05 - 0.28 * c * clouds) - 0.12 * n;
    r += (shade - r) * c * 0.9;
    g += (shade * 1.0 - g) * c * 0.9;
    b += (shade * 1.02 - b) * c * 0.9;
  }
  sky[0] = r;
  sky[1] = g;
  sky[2] = b;
}
