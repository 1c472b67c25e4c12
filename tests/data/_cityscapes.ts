/** Copies stereo pairs from KITTI raw's layout to Cityscapes', cameras included. */
import { extname, join } from "@std/path";
import { readBytes, writeAtomic } from "../../lib/base/files.ts";
import { cityscapesCameraPath, type CityscapesPart } from "../../lib/data/cityscapes.ts";
import { readRgb, writeRgb } from "../../lib/data/image.ts";
import { parseFrame, readCalibration } from "../../lib/data/kitti.ts";
import type { StereoPair } from "../../lib/data/split.ts";

/** Each date becomes a city, each drive a sequence. */
export async function exportCityscapes(
  root: string,
  pairs: readonly StereoPair[],
  out: string,
  part: CityscapesPart,
): Promise<void> {
  for (const pair of pairs) {
    const { date, drive, index } = parseFrame(pair.left);
    const city = `street${date.replaceAll("_", "")}`;
    const stem = `${city}_${drive.padStart(6, "0")}_${String(index).padStart(6, "0")}`;
    for (const side of ["left", "right"] as const) {
      const from = join(root, pair[side]),
        to = join(out, `${side}Img8bit/${part}/${city}/${stem}_${side}Img8bit.png`);
      if (extname(from).toLowerCase() === ".png") await writeAtomic(to, await readBytes(from));
      else await writeRgb(to, await readRgb(from));
    }
    const { focalPx, centerPx, baselineM } = await readCalibration(root, date);
    const camera = {
      extrinsic: { baseline: baselineM, pitch: 0, roll: 0, x: 0, y: 0, yaw: 0, z: 0 },
      intrinsic: { fx: focalPx, fy: focalPx, u0: centerPx.x, v0: centerPx.y },
    };
    const left = `leftImg8bit/${part}/${city}/${stem}_leftImg8bit.png`;
    await writeAtomic(join(out, cityscapesCameraPath(left)), JSON.stringify(camera));
  }
}
