/**
 * Make3D's test set in a temporary folder, with photographs and distances that can be worked out by hand.
 *
 * @module
 */
import { join } from "@std/path";
import { writeAtomic } from "../../lib/base/files.ts";
import { encodeRgbJpeg } from "../../lib/data/image.ts";
import { withFolder } from "../_folder.ts";
import { encodeMat } from "./_mat.ts";

const HEIGHT = 55, WIDTH = 305;

/** Distances by row and column; the other planes are of no interest, and differ. */
export function grid(distance: (y: number, x: number) => number): Uint8Array {
  const data = new Float64Array(HEIGHT * WIDTH * 4).fill(-1);
  for (let x = 0; x < WIDTH; x++) {
    for (let y = 0; y < HEIGHT; y++) data[y + HEIGHT * (x + WIDTH * 3)] = distance(y, x);
  }
  return encodeMat({ Position3DGrid: { shape: [HEIGHT, WIDTH, 4], data } });
}

/** Photographs a quarter of the real ones' size: red above, green in the middle rows, blue below. */
async function photo(): Promise<Uint8Array> {
  const width = 426, height = 568, data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    const channel = y < 0.3125 * height ? 0 : y < 0.6875 * height ? 1 : 2;
    for (let x = 0; x < width; x++) data[3 * (y * width + x) + channel] = 255;
  }
  return await encodeRgbJpeg({ width, height, data }, 95);
}

/** Writes a test set with the given distances, as they are written to files; runs `use` and removes it again. */
export async function withMake3d(
  grids: readonly Uint8Array[],
  use: (root: string) => Promise<void>,
): Promise<void> {
  await withFolder(async (root) => {
    for (const [i, bytes] of grids.entries()) {
      await writeAtomic(join(root, `Test134/img-op${i}-p-015t000.jpg`), await photo());
      await writeAtomic(join(root, `Gridlaserdata/depth_sph_corr-op${i}-p-015t000.mat`), bytes);
    }
    await use(root);
  });
}
