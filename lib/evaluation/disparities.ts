/**
 * Predicted disparities on their way to the evaluator: one map a frame, fractions of the image width.
 *
 * @module
 */
import { CyclopsError } from "../base/errors.ts";
import type { FloatMap } from "../data/image.ts";
import { readNpy } from "../data/npy.ts";
import type { ImageSize } from "../geometry/camera.ts";

/** The maps of several frames, all of one size. */
export interface Disparities extends ImageSize {
  /** How many maps there are. */
  readonly count: number;
  /** [count, height, width], fraction of the image width, in [0, 1]. */
  readonly data: Float32Array;
}

/** The map of frame i, a view into the same memory. */
export function mapOf(disparities: Disparities, i: number): FloatMap {
  const { width, height, data } = disparities;
  return { width, height, data: data.subarray(i * width * height, (i + 1) * width * height) };
}

/**
 * Checks that every value is a fraction of the width.
 *
 * @param path Where the disparities come from, for the error.
 * @throws {CyclopsError} On NaN, a negative value, or one above 1, naming frame and pixel.
 */
export function checkDisparities(disparities: Disparities, path: string): void {
  const { width, height, data } = disparities;
  for (let i = 0; i < data.length; i++) {
    if (data[i] >= 0 && data[i] <= 1) continue;
    const frame = Math.floor(i / (width * height)), y = Math.floor(i / width) % height;
    const hint = data[i] > 1 ? " (are these px? divide by the map's width)" : "";
    throw new CyclopsError(
      `Cannot evaluate ${path}: prediction ${frame}, row ${y}, column ${i % width} is ${data[i]}, ` +
        `wanted disparities as a fraction of the image width, 0 to 1${hint}`,
    );
  }
}

/**
 * Reads predictions from a .npy file.
 *
 * @returns Maps in the file's order.
 * @throws {CyclopsError} When the file is damaged, not [frames, height, width], or holds no fractions of the width.
 */
export async function readDisparities(path: string): Promise<Disparities> {
  const { shape, data } = await readNpy(path);
  if (shape.length !== 3 || shape.includes(0)) {
    throw new CyclopsError(
      `Cannot evaluate ${path}: its shape is (${shape.join(", ")}), wanted (frames, height, width)`,
    );
  }
  const [count, height, width] = shape;
  const disparities = { count, height, width, data };
  checkDisparities(disparities, path);
  return disparities;
}

/**
 * Flip post-processing of Godard et al. 2017: the average of a prediction and the mirrored-back prediction of the
 * mirrored image, except for the outer 5 % of either side, where only the one of the two is taken that does not
 * suffer from what lies outside the image; linear ramps from 5 % to 10 % join them.
 *
 * @param map The prediction.
 * @param flipped The prediction of the mirrored image, as the network gave it (still mirrored), of the same size.
 * @returns A new map.
 */
export function combineFlipped(map: FloatMap, flipped: FloatMap): FloatMap {
  const { width, height } = map;
  if (flipped.width !== width || flipped.height !== height) {
    throw new CyclopsError(
      `Cannot combine predictions with those of the mirrored images: ${height}×${width} and ` +
        `${flipped.height}×${flipped.width}, wanted equal sizes`,
    );
  }
  // How much of each column is the plain prediction: 0 at the left border, 1/2 in the middle, 1 at the right.
  const own = Float64Array.from({ length: width }, (_, x) => 0.5 * (1 + ramp(width - 1 - x) - ramp(x)));
  function ramp(x: number): number {
    const position = width > 1 ? x / (width - 1) : 0.5;
    return 1 - Math.min(1, Math.max(0, 20 * (position - 0.05)));
  }
  const data = new Float32Array(width * height);
  for (let y = 0; y < height; y++) {
    const row = y * width;
    for (let x = 0; x < width; x++) {
      data[row + x] = own[x] * map.data[row + x] + (1 - own[x]) * flipped.data[row + width - 1 - x];
    }
  }
  return { width, height, data };
}
