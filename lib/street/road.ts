/**
 * The line a drive follows: curved in plan, gently up and down in height, with distances along and across it.
 *
 * @module
 */
import type { Random } from "../base/random.ts";

/** Where the road is at some distance along it. */
export interface RoadPoint {
  /** World position of the middle of the carriageway, m. */
  readonly x: number;
  /** See `x`. */
  readonly y: number;
  /** See `x`. */
  readonly z: number;
  /** Direction of travel, rad counter-clockwise from east. */
  readonly heading: number;
  /** Rise, m per m. */
  readonly slope: number;
}

const STEP = 0.5;

/** A road from `from` to `to`, in m along its middle; 0 is where the first frame stands. */
export class Road {
  readonly #x: Float64Array;
  readonly #y: Float64Array;
  readonly #heading: Float64Array;

  /**
   * Draws a road's course.
   *
   * @param bend Largest curvature, 1/m.
   * @param hill Largest slope, m per m.
   * @param corner Where the road turns by an angle in rad (positive to the left) at a radius in m.
   */
  constructor(
    random: Random,
    readonly from: number,
    readonly to: number,
    bend: number,
    hill: number,
    corner?: { readonly from: number; readonly radius: number; readonly angle: number },
  ) {
    const count = Math.ceil((to - from) / STEP) + 2;
    this.#x = new Float64Array(count);
    this.#y = new Float64Array(count);
    this.#heading = new Float64Array(count);
    const steady = bend * random.uniform(-0.7, 0.7), sway = bend * random.uniform(0, 0.5);
    const wave = random.uniform(90, 260), phase = random.uniform(0, 6.28);
    const turnTo = corner ? corner.from + corner.radius * Math.abs(corner.angle) : 0;
    let heading = random.uniform(0, 2 * Math.PI), x = 0, y = 0;
    for (let i = 0; i < count; i++) {
      const s = from + i * STEP;
      this.#x[i] = x;
      this.#y[i] = y;
      this.#heading[i] = heading;
      x += STEP * Math.cos(heading);
      y += STEP * Math.sin(heading);
      heading += STEP * (steady + sway * Math.sin(phase + s * 6.283 / wave));
      if (corner && s >= corner.from && s < turnTo) heading += STEP * Math.sign(corner.angle) / corner.radius;
    }
    this.#hill = hill * random.uniform(0.2, 1);
    this.#long = random.uniform(120, 320);
    this.#phase = random.uniform(0, 6.28);
  }

  readonly #hill: number;
  readonly #long: number;
  readonly #phase: number;

  /** The road at distance s, m; beyond its ends it goes straight on. */
  at(s: number): RoadPoint {
    const last = this.#x.length - 1;
    const k = (s - this.from) / STEP;
    const i = Math.max(0, Math.min(last - 1, Math.floor(k)));
    const f = k - i;
    const angle = 6.283 * s / this.#long + this.#phase;
    return {
      x: this.#x[i] + f * (this.#x[i + 1] - this.#x[i]),
      y: this.#y[i] + f * (this.#y[i + 1] - this.#y[i]),
      z: this.#hill * this.#long / 6.283 * Math.sin(angle),
      heading: this.#heading[i] + Math.max(0, Math.min(1, f)) * (this.#heading[i + 1] - this.#heading[i]),
      slope: this.#hill * Math.cos(angle),
    };
  }

  /** The world point at distance s along and t to the right of the middle, `up` m above it. */
  point(s: number, t: number, up = 0): [number, number, number] {
    const p = this.at(s);
    return [p.x + t * Math.sin(p.heading), p.y - t * Math.cos(p.heading), p.z + up];
  }
}
