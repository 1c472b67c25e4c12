/**
 * The baseline that looks at no image: at each pixel the mean depth of the training set (Eigen et al. 2014 report it
 * as "train set mean"). What a network learned is what it gains over this.
 *
 * @module
 */
import { CyclopsError } from "../base/errors.ts";
import type { StereoPair } from "../data/split.ts";
import type { ImageSize } from "../geometry/camera.ts";
import type { FloatMap } from "../data/image.ts";
import { MIN_DEPTH_M } from "./protocol.ts";
import { type TruthKind, type TruthReader, truthReader } from "./truth.ts";

/** What to average. */
export interface TrainSetMeanInput {
  /** The data's root folder. */
  readonly root: string;
  /** The training frames. */
  readonly pairs: readonly StereoPair[];
  /** Size of the map, px: the network's, for a fair comparison. */
  readonly size: ImageSize;
  /** Where true depths come from. @default "lidar" */
  readonly truth?: TruthKind;
  /** Depths at or beyond this are left out, as the protocol does, m. @default 80 */
  readonly capM?: number;
  /** Reads the true depths; give one that keeps them when they are needed again. */
  readonly reader?: TruthReader;
  /** Called after each frame with how many are done. */
  readonly onProgress?: (done: number) => void;
}

/**
 * The mean depth of the training set at each pixel, as a disparity map that the evaluator takes for every frame.
 * Each known depth counts in the cell of the map that its pixel falls into; a cell that no depth falls into (the
 * sky, above the scanner's beams) takes the value of its nearest neighbour. Disparity is converted with the mean
 * camera of the training frames: KITTI's dates differ by 0.3 %.
 *
 * @returns Fraction of the image width.
 * @throws {CyclopsError} When a file is missing or damaged, or no depth is known at all.
 *
 * @example
 * ```ts ignore
 * const mean = await trainSetMean({ root, pairs: train, size: { width: 416, height: 128 } });
 * const baseline = await evaluate({ root, pairs: test, disparities: mean, crop: "garg", capM: 80 });
 * ```
 */
export async function trainSetMean(input: TrainSetMeanInput): Promise<FloatMap> {
  const { root, pairs, size: { width, height }, truth: kind = "lidar", capM = 80 } = input;
  const read = input.reader ?? truthReader(root, kind);
  const sums = new Float64Array(width * height), counts = new Uint32Array(width * height);
  let factors = 0;
  for (const [i, pair] of pairs.entries()) {
    const { camera, xs, ys, depths } = await read(pair);
    const sx = width / camera.imageSize.width, sy = height / camera.imageSize.height;
    for (let p = 0; p < depths.length; p++) {
      if (!(depths[p] > MIN_DEPTH_M && depths[p] < capM)) continue;
      const cell = Math.floor((ys[p] + 0.5) * sy) * width + Math.floor((xs[p] + 0.5) * sx);
      sums[cell] += depths[p];
      counts[cell]++;
    }
    factors += camera.focalPx * camera.baselineM / camera.imageSize.width;
    input.onProgress?.(i + 1);
  }
  const known: number[] = [];
  for (let cell = 0; cell < counts.length; cell++) if (counts[cell] > 0) known.push(cell);
  if (known.length === 0) {
    throw new CyclopsError(
      `Cannot average the training set: none of its ${pairs.length} frames has a known depth below ${capM} m`,
    );
  }
  const factor = factors / pairs.length;
  const data = new Float32Array(width * height);
  for (const cell of known) data[cell] = factor / (sums[cell] / counts[cell]);
  spread(data, known, width);
  return { width, height, data };
}

/** Fills the cells that are 0 with the value of the nearest known one, ring by ring. */
function spread(data: Float32Array, known: readonly number[], width: number): void {
  const queue = [...known];
  for (let head = 0; head < queue.length; head++) {
    const cell = queue[head], x = cell % width;
    const neighbours = [
      cell - width,
      cell + width,
      x > 0 ? cell - 1 : -1,
      x < width - 1 ? cell + 1 : -1,
    ];
    for (const next of neighbours) {
      if (next < 0 || next >= data.length || data[next] !== 0) continue;
      data[next] = data[cell];
      queue.push(next);
    }
  }
}
