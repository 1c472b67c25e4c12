/** Small stereo data sets for tests: noise images in KITTI raw's layout. */
import { join } from "@std/path";
import { Random } from "../../lib/base/random.ts";
import { writeRgb } from "../../lib/data/image.ts";
import { framePair } from "../../lib/data/kitti.ts";
import { formatSplit, type StereoPair } from "../../lib/data/split.ts";

export { withFolder } from "../_folder.ts";

/** Writes `count` pairs of noise and ROOT/splits/train.txt; every image differs from every other. */
export async function writePairs(
  root: string,
  count: number,
  { width = 24, height = 10, seed = 1 } = {},
): Promise<StereoPair[]> {
  const pairs = Array.from(
    { length: count },
    (_, index) => framePair({ date: "2026_01_01", drive: "0001", index }),
  );
  for (const [i, pair] of pairs.entries()) {
    for (const side of ["left", "right"] as const) {
      const random = new Random(seed).fork(`${i} ${side}`);
      const data = Uint8Array.from({ length: width * height * 3 }, () => random.below(256));
      await writeRgb(join(root, pair[side]), { width, height, data });
    }
  }
  await Deno.mkdir(join(root, "splits"), { recursive: true });
  await Deno.writeTextFile(join(root, "splits", "train.txt"), formatSplit(pairs));
  return pairs;
}
