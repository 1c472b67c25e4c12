import { assert, assertAlmostEquals, assertEquals, assertRejects } from "../_assert.ts";
import { join } from "@std/path";
import { CyclopsError } from "../../lib/base/errors.ts";
import { calibrationPaths, readCalibration, writeDepthPng } from "../../lib/data/kitti.ts";
import { evaluate } from "../../lib/evaluation/protocol.ts";
import { checkTruth, projectScan, readTruth, trainSetMean, truthReader } from "../../lib/evaluation/truth.ts";
import { kittiSample, noKittiSample, pointAt, withRoot } from "../data/_kitti_root.ts";

async function project(points: readonly number[]) {
  let found: number[][] = [];
  await withRoot([], async (root) => {
    const { xs, ys, depths } = projectScan(
      Float32Array.from(points),
      await readCalibration(root, "2026_01_02"),
    );
    found = Array.from(depths, (depth, i) => [xs[i], ys[i], depth]);
  });
  return found;
}

Deno.test("a return lands at its rounded projection less one, row by row", async () => {
  const found = await project([...pointAt(20.4, 9.6, 8), ...pointAt(40.6, 5.2, 16)]);
  assertEquals(found, [[40, 4, 16], [19, 9, 8]]);
});

Deno.test("halves round to even, as in numpy", async () => {
  // At 50 m a pixel is exactly 1 m: these projections are exact halves.
  const found = await project([...pointAt(20.5, 10.5, 50), ...pointAt(21.5, 11.5, 50)]);
  assertEquals(found, [[19, 9, 50], [21, 11, 50]]);
});

Deno.test("the nearest return of a pixel wins, in whatever order they come", async () => {
  const near = pointAt(20, 10, 5), far = pointAt(20, 10, 30);
  assertEquals(await project([...near, ...far]), [[19, 9, 5]]);
  assertEquals(await project([...far, ...near]), [[19, 9, 5]]);
});

Deno.test("returns from behind and outside the image are left out, those at its edges kept", async () => {
  const outside = [[0, 10], [65, 10], [20, 0], [20, 33]].flatMap(([u, v]) => pointAt(u, v, 10));
  assertEquals(await project([...outside, ...pointAt(20, 10, -10)]), []);
  assertEquals(await project([...pointAt(20, 10, 10), ...pointAt(20, 10, -10)]), [[19, 9, 10]]);
  const corners = [...pointAt(1, 1, 10), ...pointAt(64, 32, 10)];
  assertEquals(await project(corners), [[0, 0, 10], [63, 31, 10]]);
});

Deno.test("dense truth is every known pixel of the depth map", async () => {
  const depth = new Float32Array(64 * 32);
  depth[0] = 3;
  depth[64 * 31 + 63] = 7.5;
  await withRoot([{ scan: [], depth }], async (root, [pair]) => {
    const { camera, xs, ys, depths } = await readTruth(root, pair, "dense");
    assertEquals([[...xs], [...ys], [...depths]], [[0, 63], [0, 31], [3, 7.5]]);
    assertEquals([camera.focalPx, camera.imageSize.width], [50, 64]);
  });
});

Deno.test("a scan without one usable point is an error that says why", async () => {
  const cases = [
    { scan: [NaN, NaN, NaN, 0, NaN, 1, 2, 0.5], said: "of its 2 points all are NaN or infinite" },
    {
      scan: [...pointAt(20, 10, -5), ...pointAt(500, 10, 5)],
      said: "of its 2 points 2 are numbers, 1 of them lie",
    },
  ];
  for (const { scan, said } of cases) {
    await withRoot([{ scan }], async (root, [pair]) => {
      const { message } = await assertRejects(() => readTruth(root, pair, "lidar"), CyclopsError, said);
      assert(message.includes("velodyne_points/data/0000000000.bin"), message);
    });
  }
  // Single points that are no numbers are what scanners leave out.
  await withRoot([{ scan: [NaN, 0, 0, 0, ...pointAt(20, 10, 5)] }], async (root, [pair]) => {
    assertEquals([...(await readTruth(root, pair, "lidar")).depths], [5]);
  });
});

Deno.test("a depth map of another size than the calibration's is refused", async () => {
  await withRoot([{ scan: [], depth: new Float32Array(64 * 32) }], async (root, [pair]) => {
    const path = join(root, pair.left.replace("image_02/data", "proj_depth/groundtruth/image_02"));
    await writeDepthPng(path, { width: 2, height: 1, data: Float32Array.of(1, 2) });
    await assertRejects(() => readTruth(root, pair, "dense"), CyclopsError, `${path}: it has 2×1 px`);
  });
});

Deno.test("a reader that keeps truths needs the files once", async () => {
  const frames = [{ scan: pointAt(20, 10, 5) }];
  await withRoot(frames, async (root, [pair]) => {
    const keeping = truthReader(root, "lidar", { keep: true }), reading = truthReader(root, "lidar");
    const first = await keeping(pair);
    await reading(pair);
    await Deno.remove(root, { recursive: true });
    assertEquals(await keeping(pair), first);
    await assertRejects(() => reading(pair), CyclopsError, "0000000000.bin: no such file");
    await Deno.mkdir(root);
  });
});

Deno.test("all missing scans and calibrations are listed before work begins", async () => {
  await withRoot(
    [{ scan: [1, 0, 0, 0] }, { scan: [1, 0, 0, 0] }, { scan: [1, 0, 0, 0] }],
    async (root, pairs) => {
      await checkTruth(root, pairs, "lidar");
      const drive = "2026_01_02/2026_01_02_drive_0001_sync";
      const gone = [
        calibrationPaths("2026_01_02").veloToCam,
        `${drive}/velodyne_points/data/0000000000.bin`,
        `${drive}/velodyne_points/data/0000000002.bin`,
      ];
      for (const path of gone) await Deno.remove(join(root, path));
      const { message } = await assertRejects(
        () => checkTruth(root, pairs, "lidar"),
        CyclopsError,
        "3 of 5 files",
      );
      for (const path of gone) assert(message.includes(`\n  ${path}`), message);
      await assertRejects(() => checkTruth(root, pairs, "dense"), CyclopsError, "4 of 5 files");
    },
  );
});

Deno.test(
  "a real scan covers the lower image with returns up to 80 m",
  { ignore: noKittiSample },
  async () => {
    const drive = "2011_09_26/2011_09_26_drive_9001_sync/image_0";
    const pair = { left: `${drive}2/data/0000000001.png`, right: `${drive}3/data/0000000001.png` };
    const { depths, ys } = await readTruth(join(kittiSample, "raw"), pair, "lidar");
    assert(depths.length > 15_000 && depths.length < 25_000, `${depths.length} points`);
    assert(Math.min(...ys) > 100);
    assertAlmostEquals(depths.reduce((a, b) => a + b) / depths.length, 15, 8);
  },
);

const size = { width: 4, height: 2 };
/** Depth of a disparity of the little camera. */
const depthOf = (disparity: number) => 50 * 0.5 / 64 / disparity;

Deno.test("each cell holds the mean depth of its pixels over the frames", async () => {
  const frames = [
    { scan: [...pointAt(3, 3, 10), ...pointAt(60, 30, 7)] },
    { scan: [...pointAt(9, 12, 30), ...pointAt(60, 30, 100)] }, // the same cell; beyond the cap
  ];
  await withRoot(frames, async (root, pairs) => {
    const { width, height, data } = await trainSetMean({ root, pairs, size });
    assertEquals({ width, height }, size);
    assertAlmostEquals(depthOf(data[0]), 20, 1e-5);
    assertAlmostEquals(depthOf(data[7]), 7, 1e-5);
  });
});

Deno.test("cells that no return falls into take their nearest neighbor's depth", async () => {
  await withRoot([{ scan: [...pointAt(3, 30, 5), ...pointAt(60, 30, 40)] }], async (root, pairs) => {
    const { data } = await trainSetMean({ root, pairs, size });
    assertEquals(Array.from(data, (d) => Math.round(depthOf(d))), [5, 5, 40, 40, 5, 5, 40, 40]);
  });
});

Deno.test("dense truth is averaged too, unknown pixels ignored", async () => {
  const depth = new Float32Array(64 * 32).fill(8);
  depth.fill(0, 0, 64 * 16);
  await withRoot([{ scan: [], depth }], async (root, pairs) => {
    const { data } = await trainSetMean({ root, pairs, size, truth: "dense" });
    for (const disparity of data) assertAlmostEquals(depthOf(disparity), 8, 1e-5);
  });
});

Deno.test("evaluated on a training set of one frame, the mean is that frame", async () => {
  await withRoot([{ scan: [...pointAt(9, 9, 12), ...pointAt(57, 25, 30)] }], async (root, pairs) => {
    const disparities = await trainSetMean({ root, pairs, size: { width: 64, height: 32 } });
    const { absRel, points } = await evaluate({ root, pairs, disparities, crop: "none", capM: 80 });
    assertAlmostEquals(absRel, 0, 1e-6);
    assertEquals(points, 2);
  });
});

Deno.test("a training set without any known depth is refused", async () => {
  await withRoot([{ scan: pointAt(9, 9, 99) }], async (root, pairs) => {
    await assertRejects(() => trainSetMean({ root, pairs, size }), CyclopsError, "none of its 1 frames");
  });
});
