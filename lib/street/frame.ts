/**
 * One frame of one drive: both pictures, both dense depths and the laser scan, a function of plan, drive and frame
 * alone, so that the bytes do not depend on who renders what when.
 *
 * @module
 */
import { hash32, Random } from "../base/random.ts";
import { scan } from "./lidar.ts";
import type { StreetPlan } from "./options.ts";
import { Lighting, render, type Rendered } from "./render.ts";
import type { CameraView } from "./raster.ts";
import { cameraView, scannerPose } from "./rig.ts";
import { buildScene, type Scene } from "./scene.ts";

/** How far to either side of straight ahead the scanner's rays are cast, degrees. The cameras see 41. */
const SCAN_SECTOR = 45;

/** The picture that exposure is metered on, and its wanted mean of 255. */
const METER = { width: 78, height: 24, level: 100 };

/** All that is measured at one moment. */
export interface StreetFrame {
  /** Left camera, image_02. */
  readonly left: Rendered;
  /** Right camera, image_03. */
  readonly right: Rendered;
  /** [points × 4]: x forward, y left, z up in m, reflectance. */
  readonly points: Float32Array;
}

/** A drive whose frames can be rendered in any order. */
export class Drive {
  readonly #scene: Scene;
  readonly #lighting: Lighting;
  readonly #exposure: number;
  // The frame whose shadows are drawn.
  #lit = -1;

  /** Builds the drive's world and meters its light. @param drive Number of the drive, from 1. */
  constructor(readonly plan: StreetPlan, readonly drive: number) {
    this.#scene = buildScene(plan.seed, drive, plan.frames);
    this.#lighting = new Lighting(this.#scene);
    this.#exposure = this.#meter();
  }

  /** What a camera's metering does: a small picture tells how bright this street is, the sky left aside. */
  #meter(): number {
    const scene = this.#scene, view = cameraView(scene.pose(0), 2, METER.width, METER.height);
    scene.moveTo(0);
    this.#light(0, view);
    const sensor = { gain: [1, 1, 1], noise: 0, seed: 0 } as const;
    const { rgb, depth } = render(scene, this.#lighting, view, METER.width, METER.height, sensor);
    let sum = 0, count = 0;
    for (let i = 0; i < depth.length; i++) {
      if (depth[i] === 0) continue;
      sum += 0.3 * rgb[3 * i] + 0.6 * rgb[3 * i + 1] + 0.1 * rgb[3 * i + 2];
      count++;
    }
    const wanted = (METER.level * (count + 1) / (sum + METER.level)) ** 2.2;
    return Math.max(0.5, Math.min(2.2, wanted));
  }

  #light(frame: number, view: CameraView): void {
    if (this.#lit !== frame) this.#lighting.draw(view);
    this.#lit = frame;
  }

  /** Renders a frame. @param frame From 0. */
  frame(frame: number): StreetFrame {
    const scene = this.#scene, { width, height, seed } = this.plan;
    scene.moveTo(frame);
    const pose = scene.pose(frame);
    const seeds = new Random(hash32(`${seed}/${this.drive}/${frame}`));
    const cameras = new Random(hash32(`${seed}/${this.drive}/cameras`)), mood = cameras.uniform(0.85, 1.2);
    const left = cameraView(pose, 2, width, height), right = cameraView(pose, 3, width, height);
    const lighting = this.#lighting;
    this.#light(frame, left);
    // The exposure wanders from frame to frame for both; the cameras differ a little for the whole drive.
    const common = this.#exposure * mood * (1 + seeds.normal(0, 0.015)), noise = cameras.uniform(0.6, 1.6);
    const sensor = () => {
      const gain = cameras.normal(1, 0.018);
      const channel = () => common * gain * cameras.normal(1, 0.008);
      return { gain: [channel(), channel(), channel()] as const, noise, seed: seeds.below(2 ** 31) };
    };
    return {
      left: render(scene, lighting, left, width, height, sensor()),
      right: render(scene, lighting, right, width, height, sensor()),
      points: scan(scene, scannerPose(pose), SCAN_SECTOR, seeds.below(2 ** 31)),
    };
  }
}
