import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "../_assert.ts";
import { join } from "@std/path";
import { CyclopsError, UsageError } from "../../lib/base/errors.ts";
import { readBytes, readJson, readText } from "../../lib/base/files.ts";
import { readRgb } from "../../lib/data/image.ts";
import {
  depthPath,
  framePath,
  parseFrame,
  readCalibration,
  readDepthPng,
  readVelodyne,
  velodynePath,
} from "../../lib/data/kitti.ts";
import { checkPairs, readSplit } from "../../lib/data/split.ts";
import { generateStreet, planStreet, StreetDrive, type StreetOptions } from "../../lib/street/mod.ts";
import { cameraView, scannerPose } from "../../lib/street/rig.ts";
import { buildScene } from "../../lib/street/scene.ts";
import { withFolder } from "../_folder.ts";

const small = { drives: 3, frames: 2, size: "32x96", seed: 5, workers: 0 };

/** Every file under a folder by its path there. */
async function contents(root: string, under = ""): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>();
  for await (const entry of Deno.readDir(join(root, under))) {
    const path = join(under, entry.name);
    if (entry.isDirectory) { for (const [k, v] of await contents(root, path)) files.set(k, v); }
    else files.set(path, await readBytes(join(root, path)));
  }
  return files;
}

Deno.test("options say what is wrong with them", () => {
  assertEquals(planStreet({}).plan, { seed: 1, drives: 100, frames: 6, height: 128, width: 416 });
  assertEquals(planStreet({ pairs: 40, frames: 10, size: "64x192" }).plan.drives, 4);
  assertEquals(planStreet({ pairs: 3, frames: 10 }).plan.drives, 3, "one drive per split at least");
  for (
    const [given, said] of [
      [{ pairs: 40, drives: 5, frames: 10 }, "5 drives of 10 frames are 50 pairs, but pairs is 40"],
      [{ size: "128" }, "HEIGHTxWIDTH"],
      [{ size: "8x416" }, "expected a height of 32 to 1024 px"],
      [{ drives: 2 }, "drives is 2"],
      [{ pairs: 100_000, frames: 1 }, "at most 9999"],
      [{ drive: 4 }, "did you mean drives"],
    ] as const
  ) {
    assertStringIncludes(
      assertThrows(() => planStreet(given as Partial<StreetOptions>), UsageError).message,
      said,
    );
  }
});

Deno.test("a set reads as KITTI raw, is split by drive, and the truth in it is what was rendered", async () => {
  await withFolder(async (out) => {
    const steps: number[] = [];
    const summary = await generateStreet({ ...small, out }, { onProgress: (done) => steps.push(done) });
    assertEquals(steps, [1, 2, 3, 4, 5, 6]);
    assertEquals(summary.rendered, 6);
    const drives = new Map<string, string>();
    let pairs = 0;
    for (const split of ["train", "val", "test"]) {
      for (const pair of await checkPairs(out, await readSplit(join(out, "splits", `${split}.txt`)))) {
        const frame = parseFrame(pair.left);
        assertEquals(drives.get(frame.drive) ?? split, split, "a drive belongs to one split");
        drives.set(frame.drive, split);
        const content = new StreetDrive(summary.plan, Number(frame.drive)).frame(frame.index);
        assertEquals((await readRgb(join(out, pair.left))).data, content.left.rgb);
        assertEquals((await readRgb(join(out, pair.right))).data, content.right.rgb);
        assertEquals(await readVelodyne(join(out, velodynePath(frame))), content.points);
        for (const [camera, { depth }] of [[2, content.left], [3, content.right]] as const) {
          const stored = await readDepthPng(join(out, depthPath(frame, camera)));
          for (let i = 0; i < depth.length; i++) {
            assertAlmostEquals(stored.data[i], depth[i] < 255.99 ? depth[i] : 0, 1 / 512 + 1e-6);
          }
        }
        pairs++;
      }
    }
    assertEquals([pairs, drives.size], [6, 3]);
  });
});

Deno.test("the calibration files say where cameras and scanner are", async () => {
  await withFolder(async (out) => {
    const { plan } = await generateStreet({ ...small, frames: 1, out });
    const calibration = await readCalibration(out, "2030_01_01");
    assertAlmostEquals(calibration.baselineM, 0.54, 1e-6);
    assertAlmostEquals(calibration.focalPx, 721.5377 / 1242 * 96, 1e-4);
    assertEquals(calibration.imageSize, { width: 96, height: 32 });
    const pose = buildScene(plan.seed, 1, 1).pose(0), scanner = scannerPose(pose);
    for (const [camera, matrix] of [[2, calibration.velodyneToImage]] as const) {
      const view = cameraView(pose, camera, 96, 32);
      for (const point of [[10, 0, -1], [25, 6, 2], [4, -3, -1.7]]) {
        const d = [0, 1, 2].map((k) =>
          scanner.origin[k] + point[0] * scanner.axes[0][k] + point[1] * scanner.axes[1][k] +
          point[2] * scanner.axes[2][k] - view.center[k]
        );
        const along = (axis: readonly number[]) => axis[0] * d[0] + axis[1] * d[1] + axis[2] * d[2];
        const z = along(view.forward);
        const wanted = [
          view.focal * along(view.right) / z + view.cx,
          view.focal * along(view.down) / z + view.cy,
          z,
        ];
        const row = (r: number) =>
          [0, 1, 2].reduce((sum, k) => sum + matrix[4 * r + k] * point[k], matrix[4 * r + 3]);
        assertAlmostEquals(row(0) / row(2), wanted[0], 1e-3);
        assertAlmostEquals(row(1) / row(2), wanted[1], 1e-3);
        assertAlmostEquals(row(2), wanted[2], 1e-5);
      }
    }
    const text = await readText(join(out, "2030_01_01/calib_cam_to_cam.txt"));
    for (const key of ["calib_time", "corner_dist"]) assertStringIncludes(text, `${key}: `);
    for (const key of ["S", "K", "D", "R", "T", "S_rect", "R_rect", "P_rect"]) {
      for (let c = 0; c < 4; c++) assertStringIncludes(text, `\n${key}_0${c}: `);
    }
  });
});

Deno.test("workers write the same bytes as one thread, and a set cut short is finished to the same bytes", async () => {
  await withFolder(async (out) => {
    await generateStreet({ ...small, out: join(out, "a") });
    const stop = new AbortController();
    await assertRejects(
      () =>
        generateStreet({ ...small, out: join(out, "b") }, {
          onProgress: () => stop.abort(),
          signal: stop.signal,
        }),
      CyclopsError,
      "the same call finishes them",
    );
    const { rendered } = await generateStreet({ ...small, out: join(out, "b"), workers: 2 });
    assert(rendered > 0 && rendered < 6, `${rendered} rendered`);
    // One file of one frame is lost: that frame alone is made again.
    await Deno.remove(join(out, "b", framePath({ date: "2030_01_01", drive: "0002", index: 1 }, 3)));
    assertEquals((await generateStreet({ ...small, out: join(out, "b") })).rendered, 1);
    assertEquals((await generateStreet({ ...small, out: join(out, "b") })).rendered, 0);
    const a = await contents(join(out, "a")), b = await contents(join(out, "b"));
    assertEquals([...b.keys()].sort(), [...a.keys()].sort());
    for (const [path, bytes] of a) assertEquals(b.get(path), bytes, path);
  });
});

Deno.test("another set is not overwritten unasked", async () => {
  await withFolder(async (out) => {
    await generateStreet({ ...small, frames: 1, out });
    const error = await assertRejects(
      () => generateStreet({ ...small, frames: 1, seed: 6, size: "32x64", out }),
      UsageError,
    );
    assertStringIncludes(error.message, "width is 96, expected 64");
    assertStringIncludes(error.message, "seed is 5, expected 6");
    assertStringIncludes(error.message, "--overwrite");
    await generateStreet({ ...small, frames: 1, seed: 6, drives: 4, out, overwrite: true });
    assertEquals((await readJson(join(out, "street.json")) as { plan: unknown }).plan, {
      seed: 6,
      drives: 4,
      frames: 1,
      height: 32,
      width: 96,
    });
    await Deno.remove(join(out, "street.json"));
    await assertRejects(() => generateStreet({ ...small, out }), CyclopsError, "no street.json");
  });
});

Deno.test("a folder that holds something else is refused, and nothing is written to it", async () => {
  await withFolder(async (out) => {
    await Deno.writeTextFile(join(out, ".hidden"), "");
    await Deno.writeTextFile(join(out, "thesis.txt"), "years of work");
    const refused = async (overwrite: boolean, said: string) => {
      const before = [...await contents(out)];
      const error = await assertRejects(() => generateStreet({ ...small, out, overwrite }), CyclopsError);
      assertStringIncludes(error.message, said);
      assertEquals([...await contents(out)], before);
    };
    for (const overwrite of [false, true]) await refused(overwrite, "it holds thesis.txt but no street.json");
    await Deno.writeTextFile(join(out, "street.json"), '{"town": "Karlsruhe"}');
    for (const overwrite of [false, true]) await refused(overwrite, "is not the manifest of a street set");
    await Deno.remove(join(out, "street.json"));
    await Deno.remove(join(out, "thesis.txt"));
    assertEquals(
      (await generateStreet({ ...small, frames: 1, out })).rendered,
      3,
      "hidden files do not count",
    );
    await assertRejects(
      () => generateStreet({ ...small, out: join(out, ".hidden") }),
      CyclopsError,
      ".hidden",
    );
  });
});
