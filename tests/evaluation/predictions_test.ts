import { join } from "@std/path";
import { CyclopsError, UsageError } from "../../lib/base/errors.ts";
import { Random } from "../../lib/base/random.ts";
import { writeGray16 } from "../../lib/data/image.ts";
import { writeNpy } from "../../lib/data/npy.ts";
import type { StereoPair } from "../../lib/data/split.ts";
import { checkPredictions, openPredictions, type PredictionUnit } from "../../lib/evaluation/predictions.ts";
import { evaluate } from "../../lib/evaluation/protocol.ts";
import { truthReader } from "../../lib/evaluation/truth.ts";
import { assert, assertAlmostEquals, assertEquals, assertRejects } from "../_assert.ts";
import { withFolder } from "../_folder.ts";
import { pointAt, rig, withRoot } from "../data/_kitti_root.ts";

const { width, height } = rig.imageSize, area = width * height;
const UNITS: readonly PredictionUnit[] = ["width", "px", "metres", "inverse", "monodepth2"];

/** A value in a unit, for the rig's 50 px · 0.5 m of 64 px. */
function valueOf(depth: number, unit: PredictionUnit): number {
  const disparity = 25 / 64 / depth;
  return {
    width: disparity,
    px: disparity * 64,
    metres: depth,
    inverse: 1 / depth,
    monodepth2: 5.4 / depth,
  }[unit];
}

/** Depths of a frame: a road that comes nearer downward, its slope another in each frame. */
const depthAt = (frame: number, x: number, y: number) =>
  60 / (1 + 0.3 * y) + 0.1 * ((x * (3 + 7 * frame)) % 40);

/** Frames whose scans know the depth of some pixels, and what writes the depths of all to a file, in a unit. */
interface Context {
  readonly root: string;
  readonly pairs: readonly StereoPair[];
  readonly write: (unit: PredictionUnit, order?: readonly number[]) => Promise<string>;
}

async function withFrames(count: number, use: (context: Context) => Promise<void>): Promise<void> {
  const frames = Array.from({ length: count }, (_, frame) => {
    const random = new Random(frame), scan: number[] = [];
    for (let i = 0; i < 200; i++) {
      const x = random.below(width), y = random.below(height);
      scan.push(...pointAt(x + 1, y + 1, depthAt(frame, x, y)));
    }
    return { scan };
  });
  await withRoot(frames, async (root, pairs) => {
    const write = async (unit: PredictionUnit, order: readonly number[] = [...pairs.keys()]) => {
      const data = new Float32Array(count * area), path = join(root, `${unit}.npy`);
      for (let i = 0; i < data.length; i++) {
        const p = i % area;
        data[i] = valueOf(depthAt(order[Math.floor(i / area)], p % width, Math.floor(p / width)), unit);
      }
      await writeNpy(path, { shape: [count, height, width], data });
      return path;
    };
    await use({ root, pairs, write });
  });
}

Deno.test("the same depths in any unit give the same errors", async () => {
  await withFrames(2, async ({ root, pairs, write }) => {
    for (const unit of UNITS) {
      using disparities = await openPredictions(await write(unit), unit);
      const { absRel, points, protocol } = await evaluate({
        root,
        pairs,
        disparities,
        crop: "none",
        capM: 80,
      });
      assertAlmostEquals(absRel, 0, 1e-4, unit);
      assert(points > 300);
      assert(protocol.includes(unit === "metres" ? "depth resized" : "disparity resized"), protocol);
    }
  });
});

Deno.test("a folder of PNG or .npy files is read in the order of numbers, each map at its own size", async () => {
  await withFrames(11, async ({ root, pairs }) => {
    const folder = join(root, "png"), arrays = join(root, "npy");
    for (const frame of pairs.keys()) {
      const depth = (i: number) => depthAt(frame, i % width, Math.floor(i / width));
      const data = Uint16Array.from({ length: area }, (_, i) => Math.round(256 * depth(i)));
      await writeGray16(join(folder, `${frame}.png`), { width, height, data });
      const values = Float32Array.from({ length: area }, (_, i) => depth(i));
      await writeNpy(join(arrays, `${frame}.npy`), { shape: [1, height, width], data: values });
    }
    await writeNpy(join(arrays, "3.npy"), { shape: [1, 2], data: Float32Array.of(5, 9) });
    using png = await openPredictions(folder, "metres");
    const { absRel } = await evaluate({ root, pairs, disparities: png, crop: "none", capM: 80 });
    assertAlmostEquals(absRel, 0, 1e-3);
    using npy = await openPredictions(arrays, "metres");
    assertEquals(npy.count, 11);
    assertAlmostEquals((await npy.read(10, rig)).data[70], 25 / 64 / depthAt(10, 6, 1), 1e-6);
    // A map of depths grows as depths: 7 m is the middle of 5 and 9, their disparities' middle is not.
    const { data } = await npy.read(3, rig);
    assertAlmostEquals(25 / 64 / ((data[31] + data[32]) / 2), 7, 0.01);
    await Deno.copyFile(join(arrays, "3.npy"), join(folder, "3.npy"));
    await assertRejects(() => openPredictions(folder, "metres"), CyclopsError, "found both PNG and .npy");
    await assertRejects(
      () => openPredictions(join(root, "2026_01_02"), "px"),
      CyclopsError,
      "found neither PNG",
    );
    await Deno.remove(join(folder, "3.npy"));
    await assertRejects(() => openPredictions(folder, "inverse"), UsageError, "expected px or metres");
  });
});

Deno.test("predictions in another unit than they are said to be in are refused, the likely one named", async () => {
  await withFrames(3, async ({ root, pairs, write }) => {
    const read = truthReader(root, "lidar");
    for (const actual of UNITS) {
      const path = await write(actual);
      for (const unit of UNITS) {
        using files = await openPredictions(path, unit);
        if (unit === actual) await checkPredictions(files, pairs, read);
        else {await assertRejects(
            () => checkPredictions(files, pairs, read),
            CyclopsError,
            `give --units ${actual} if`,
          );}
        // Scaled by the median, only what is near and what far counts.
        const oriented = (unit === "metres") === (actual === "metres"), scaled = { scaled: true };
        if (oriented) await checkPredictions(files, pairs, read, scaled);
        else {await assertRejects(
            () => checkPredictions(files, pairs, read, scaled),
            CyclopsError,
            "near points have",
          );}
      }
    }
  });
});

Deno.test("predictions in the order of another split are refused, it is named", async () => {
  await withFrames(8, async ({ root, pairs, write }) => {
    const order = [3, 1, 7, 0, 2, 6, 5, 4], others = { "eigen-files": order.map((i) => pairs[i]) };
    const check = async (path: string) => {
      using files = await openPredictions(path, "width");
      await checkPredictions(files, pairs, truthReader(root, "lidar"), { others });
    };
    await check(await write("width"));
    await assertRejects(
      async () => check(await write("width", order)),
      CyclopsError,
      "give --split eigen-files",
    );
  });
});

Deno.test("predictions that are merely bad are evaluated", async () => {
  await withFrames(2, async ({ root, pairs }) => {
    const path = join(root, "bad.npy"), random = new Random(1);
    const data = Float32Array.from({ length: 2 * area }, () => random.uniform(0.001, 0.3));
    await writeNpy(path, { shape: [2, height, width], data });
    using files = await openPredictions(path, "width");
    await checkPredictions(files, pairs, truthReader(root, "lidar"));
  });
});

Deno.test("values that a unit does not allow are named with frame and pixel; so are wrong shapes", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "p.npy");
    const refuse = async (unit: PredictionUnit, shape: number[], values: number[], said: string) => {
      await writeNpy(path, { shape, data: Float32Array.from(values) });
      const { message } = await assertRejects(
        async () => {
          using files = await openPredictions(path, unit);
          for (let i = 0; i < files.count; i++) await files.read(i, rig);
        },
        CyclopsError,
        path,
      );
      assert(message.includes(said), message);
    };
    await refuse(
      "width",
      [2, 1, 2],
      [0, 1, 0.5, 1.5],
      "prediction 1, row 0, column 1 is 1.5, expected disparities",
    );
    await refuse("px", [1, 1, 2], [1, 2.5], "is 2.5, expected disparities, px of the predicted map, 0 to 2");
    await refuse("metres", [1, 2, 1, 1], [4, 0], "its shape is (1, 2, 1, 1)");
    await refuse("metres", [1, 2, 2], [4, 1, 0, 3], "row 1, column 0 is 0, expected depths, m, above 0");
    await refuse("inverse", [1, 2, 2], [4, 1, -1, 3], "is -1, expected inverse depths, 1/m, at least 0");
    // Wherever in a row of four, and however its bits read as an integer.
    for (const bad of [NaN, -NaN, Infinity, -Infinity, -1e-40, 3e38 * 2]) {
      for (let at = 0; at < 7; at++) {
        await refuse("inverse", [1, 1, 7], Array(7).fill(0.1).with(at, bad), `row 0, column ${at} is `);
      }
    }
    await writeNpy(path, { shape: [1, 1, 5], data: Float32Array.of(-0, 0, 1, 1e-40, -0) });
    {
      using edges = await openPredictions(path, "width");
      await edges.read(0, rig);
    }
    await refuse("width", [2, 2], [0, 0, 0, 0], "expected (frames, height, width)");
    await assertRejects(() => openPredictions(join(folder, "none"), "px"), CyclopsError, "no such file");
  });
});
