import { assert, assertAlmostEquals, assertEquals, assertRejects } from "../_assert.ts";
import { join } from "@std/path";
import { CyclopsError } from "../../lib/base/errors.ts";
import { Random } from "../../lib/base/random.ts";
import { cityscapesDisparityPath } from "../../lib/data/cityscapes.ts";
import { openDataset } from "../../lib/data/dataset.ts";
import { imageSize, writeGray16, writeRgb } from "../../lib/data/image.ts";
import {
  calibrationPaths,
  eigenSplit,
  encodeVelodyne,
  parseFrame,
  readCalibration,
  velodynePath,
  writeDepthPng,
} from "../../lib/data/kitti.ts";
import { evaluate } from "../../lib/evaluation/protocol.ts";
import {
  checkTruth,
  hasTruth,
  projectScan,
  readTruth,
  trainSetMean,
  truthReader,
} from "../../lib/evaluation/truth.ts";
import { exportCityscapes } from "../data/_cityscapes.ts";
import {
  formatCalibration,
  kittiSample,
  noKittiSample,
  pointAt,
  rig,
  withRoot,
} from "../data/_kitti_root.ts";
import { withFolder } from "../_folder.ts";

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

Deno.test("a return lands at its rounded projection less one, in the order of the scan", async () => {
  const found = await project([...pointAt(20.4, 9.6, 8), ...pointAt(40.6, 5.2, 16)]);
  assertEquals(found, [[19, 9, 8], [40, 4, 16]]);
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

Deno.test("a long scan, which is read in parts, gives the points of the whole", async () => {
  const random = new Random(3), scan: number[] = [];
  for (let i = 0; i < 9001; i++) {
    scan.push(...pointAt(random.uniform(-20, 90), random.uniform(-10, 40), random.uniform(-5, 80)));
  }
  await withRoot([{ scan }], async (root, [pair]) => {
    const { xs, ys, depths } = projectScan(
      Float32Array.from(scan),
      await readCalibration(root, "2026_01_02"),
    );
    assert(depths.length > 1000);
    const read = await readTruth(root, pair, "lidar");
    assertEquals([read.xs, read.ys, read.depths], [xs, ys, depths]);
    // The last points are in the last part, which is not full.
    const last = Float32Array.from([...scan, ...pointAt(xs[0] + 1, ys[0] + 1, 0.01)]);
    await Deno.writeFile(join(root, velodynePath(parseFrame(pair.left))), encodeVelodyne(last));
    assertAlmostEquals((await readTruth(root, pair, "lidar")).depths[0], 0.01, 1e-6);
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

Deno.test("LiDAR z is the depth along the camera's axis, at the same pixels", async () => {
  await withRoot([{ scan: pointAt(20, 10, 5) }], async (root, [pair]) => {
    // The scanner half a meter behind the camera.
    const path = join(root, calibrationPaths("2026_01_02").veloToCam);
    await Deno.writeTextFile(path, (await Deno.readTextFile(path)).replace(/^T:.*$/m, "T: 0 0 -0.5"));
    const x = await readTruth(root, pair, "lidar"), z = await readTruth(root, pair, "lidar-z");
    assertEquals([[...x.depths], [...z.depths]], [[5], [4.5]]);
    assertEquals([x.xs, x.ys], [z.xs, z.ys]);
  });
});

Deno.test("annotated depth lies in the drive or where its archive was unpacked", async () => {
  const depth = new Float32Array(64 * 32).fill(7);
  await withRoot([{ scan: [], depth }], async (root, [pair]) => {
    const drive = "2026_01_02_drive_0001_sync",
      depths = async () => (await readTruth(root, pair, "improved")).depths[9];
    assertEquals(await depths(), 7);
    await checkTruth(root, [pair], "improved");
    await Deno.mkdir(join(root, "val", drive), { recursive: true });
    await Deno.rename(join(root, "2026_01_02", drive, "proj_depth"), join(root, "val", drive, "proj_depth"));
    assertEquals(await depths(), 7);
    await checkTruth(root, [pair], "improved");
    await assertRejects(() => checkTruth(root, [pair], "dense"), CyclopsError, "1 of 3 files");
  });
});

Deno.test("of the Eigen test frames 652 have annotated depth", () => {
  const frames = eigenSplit("test");
  assertEquals(frames.filter((pair) => hasTruth(pair, "improved")).length, 652);
  assert(frames.every((pair) => hasTruth(pair, "lidar")));
});

Deno.test("stereo 2015 comes with cameras and disparities, occluded pixels or not", async () => {
  await withFolder(async (root) => {
    const folder = join(root, "training"), { width, height } = rig.imageSize;
    for (const name of ["image_2/000001_10.png", "image_3/000001_10.png", "image_2/000001_11.png"]) {
      await writeRgb(join(folder, name), { width, height, data: new Uint8Array(width * height * 3) });
    }
    await Deno.mkdir(join(folder, "calib_cam_to_cam"));
    await Deno.writeTextFile(join(folder, "calib_cam_to_cam/000001.txt"), formatCalibration(rig).camToCam);
    const data = new Uint16Array(width * height);
    data[65] = 5 * 256;
    await writeGray16(join(folder, "disp_noc_0/000001_10.png"), { width, height, data: data.slice() });
    data[70] = 10 * 256;
    await writeGray16(join(folder, "disp_occ_0/000001_10.png"), { width, height, data });
    const { pairs } = await openDataset({ data: root, split: "stereo2015" });
    assertEquals(pairs.map(({ left, camera }) => [left, camera?.focalPx]), [[
      "training/image_2/000001_10.png",
      50,
    ]]);
    await checkTruth(root, pairs, "noc");
    const of = async (kind: "occ" | "noc") => (await readTruth(root, pairs[0], kind));
    const occ = await of("occ"), noc = await of("noc");
    assertEquals([[...occ.xs], [...occ.depths]], [[1, 6], [5, 2.5]]); // 50 px · 0.5 m / disparity
    assertEquals([[...noc.xs], [...noc.depths]], [[1], [5]]);
  });
});

Deno.test("Cityscapes' disparity maps give depths in the part of the image that is not cut off", async () => {
  await withFolder(async (root) => {
    await withRoot([{ scan: [] }], (root0, pairs) => exportCityscapes(root0, pairs, root, "val"));
    const [{ left, right, camera }] =
      (await openDataset({ data: root, split: "cityscapes", part: "val" })).pairs;
    const { width, height } = await imageSize(join(root, left));
    const data = new Uint16Array(width * height);
    data[3] = 1 + 2 * 256;
    data[data.length - 1] = 1 + 2 * 256; // on the hood
    data[0] = 1; // no disparity
    await writeGray16(join(root, cityscapesDisparityPath(left)), { width, height, data });
    const { xs, ys, depths } = await readTruth(root, { left, right, camera }, "cityscapes");
    assertEquals([[...xs], [...ys], [...depths]], [[3], [0], [12.5]]); // 50 px · 0.5 m / 2 px
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
