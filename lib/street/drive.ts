/**
 * One drive, rendered frame by frame and written to disk, the same in a worker and without one.
 *
 * @module
 */
import { hash32, Random } from "../base/random.ts";
import { type StreetFrame, streetFrame, type StreetPlan, writeFrame } from "./dataset.ts";
import { scan } from "./lidar.ts";
import type { CameraView } from "./raster.ts";
import { Lighting, render } from "./render.ts";
import { cameraView, scannerPose } from "./rig.ts";
import { buildScene, type Scene } from "./scene.ts";

/** How far to either side of straight ahead the scanner's rays are cast, degrees. The cameras see 41. */
const SCAN_SECTOR = 45;

/** The small picture that exposure is metered on, and the mean (of 255) it aims for. */
const METER = { width: 78, height: 24, level: 100 };

/**
 * A drive whose frames can be rendered in any order: each is a function of the plan, the drive and the frame alone.
 *
 * @example
 * ```ts ignore
 * const drive = new StreetDrive({ seed: 1, frames: 6, height: 128, width: 416 }, 1);
 * const { left, right, points } = drive.frame(0);
 * ```
 */
export class StreetDrive {
  readonly #scene: Scene;
  readonly #lighting: Lighting;
  readonly #exposure: number;
  // The frame whose shadows are drawn.
  #lit = -1;

  /**
   * Builds the drive's world and meters its light.
   *
   * @param plan Seed, frames of the drive, height and width in px.
   * @param drive Number of the drive, from 1.
   */
  constructor(readonly plan: Omit<StreetPlan, "drives">, readonly drive: number) {
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
    const factor = (METER.level * (count + 1) / (sum + METER.level)) ** 2.2;
    return Math.max(0.5, Math.min(2.2, factor));
  }

  #light(frame: number, view: CameraView): void {
    if (this.#lit !== frame) this.#lighting.draw(view);
    this.#lit = frame;
  }

  /**
   * Renders a frame.
   *
   * @param frame From 0.
   * @throws {RangeError} When the plan has no such frame.
   */
  frame(frame: number): StreetFrame {
    const scene = this.#scene, lighting = this.#lighting, { width, height, seed, frames } = this.plan;
    if (!(frame >= 0 && frame < frames)) {
      throw new RangeError(`Cannot render frame ${frame}: the drive has frames 0 to ${frames - 1}`);
    }
    scene.moveTo(frame);
    const pose = scene.pose(frame);
    const seeds = new Random(hash32(`${seed}/${this.drive}/${frame}`));
    const cameras = new Random(hash32(`${seed}/${this.drive}/cameras`)), mood = cameras.uniform(0.85, 1.2);
    const left = cameraView(pose, 2, width, height), right = cameraView(pose, 3, width, height);
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

/** The missing frames of one drive. */
export interface DriveJob {
  /** The set's folder. */
  readonly out: string;
  readonly plan: StreetPlan;
  /** Number of the drive, from 1. */
  readonly drive: number;
  /** The frames to render, from 0. */
  readonly frames: readonly number[];
}

/**
 * Renders and writes the missing frames of a drive.
 *
 * @param onFrame Called when a frame is on disk.
 * @param signal Stops after the current frame.
 */
export async function renderDrive(job: DriveJob, onFrame: () => void, signal?: AbortSignal): Promise<void> {
  const drive = new StreetDrive(job.plan, job.drive);
  let writing: Promise<void> = Promise.resolve();
  for (const index of job.frames) {
    if (signal?.aborted) break;
    const content = drive.frame(index);
    // The previous frame is compressed and written while this one is rendered; never more than one waits.
    await writing;
    writing = writeFrame(job.out, streetFrame(job.drive, index), job.plan, content).then(onFrame);
    writing.catch(() => {});
  }
  await writing;
}
