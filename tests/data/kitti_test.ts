import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "../_assert.ts";
import { join } from "@std/path";
import { CyclopsError } from "../../lib/base/errors.ts";
import { writeAtomic } from "../../lib/base/files.ts";
import { readGray16, writeGray16 } from "../../lib/data/image.ts";
import {
  calibrationPaths,
  depthPath,
  eigenSplit,
  framePath,
  parseFrame,
  readCalibration,
  readDepthPng,
  velodynePath,
  writeDepthPng,
} from "../../lib/data/kitti.ts";
import { checkDownload } from "../../lib/data/download.ts";
import { formatSplit } from "../../lib/data/split.ts";
import { withFolder } from "../_folder.ts";
import { formatCalibration, kittiSample, noKittiSample, rig, withRoot } from "./_kitti_root.ts";

const frame = { date: "2011_09_26", drive: "0002", index: 69 };

Deno.test("files lie where KITTI raw puts them", () => {
  const drive = "2011_09_26/2011_09_26_drive_0002_sync";
  assertEquals(framePath(frame, 2), `${drive}/image_02/data/0000000069.png`);
  assertEquals(framePath(frame, 3), `${drive}/image_03/data/0000000069.png`);
  assertEquals(velodynePath(frame), `${drive}/velodyne_points/data/0000000069.bin`);
  assertEquals(depthPath(frame, 2), `${drive}/proj_depth/groundtruth/image_02/0000000069.png`);
});

Deno.test("an image path tells its frame", () => {
  assertEquals(parseFrame(framePath(frame, 3)), { ...frame, camera: 3 });
  assertEquals(parseFrame("kitti/" + framePath(frame, 2).replace(".png", ".jpg")), { ...frame, camera: 2 });
  for (
    const path of [
      "image.png",
      framePath(frame, 2).replace("2011_09_26/", "2011_09_28/"),
      velodynePath(frame),
    ]
  ) assertThrows(() => parseFrame(path), CyclopsError, `${path}: expected KITTI raw's layout`);
});

Deno.test("the Eigen split has 697, 22600 and 888 pairs, none twice", () => {
  const parts = (["test", "train", "val"] as const).map((part) => eigenSplit(part).map((p) => p.left));
  assertEquals(parts.map((p) => p.length), [697, 22600, 888]);
  assertEquals(new Set(parts.flat()).size, 697 + 22600 + 888);
});

Deno.test("the test part in the order of the field's list, whole and where there is annotated depth", () => {
  const names = (part: "test" | "files" | "benchmark") => eigenSplit(part).map(({ left }) => left);
  const files = names("files"), benchmark = names("benchmark");
  assertEquals(files.toSorted(), names("test").toSorted());
  assertEquals(files.slice(0, 3).map((path) => parseFrame(path).index), [69, 54, 42]);
  assertEquals(benchmark, files.filter((path) => benchmark.includes(path)));
  assertEquals([benchmark.length, parseFrame(benchmark[651]).index], [652, 768]);
});

Deno.test("no drive of the Eigen split is both tested and trained on", () => {
  const drives = (part: "test" | "train" | "val") =>
    new Set(eigenSplit(part).map(({ left }) => left.split("/")[1]));
  assertEquals([drives("test").size, drives("train").size], [28, 33]);
  assertEquals(drives("test").intersection(drives("train").union(drives("val"))).size, 0);
});

Deno.test("the Eigen split is written as the field writes it", () => {
  const line = "2011_09_26/2011_09_26_drive_0002_sync/image_02/data/0000000069.png " +
    "2011_09_26/2011_09_26_drive_0002_sync/image_03/data/0000000069.png\n";
  assert(formatSplit(eigenSplit("test")).includes(line));
  // 0, 3 and 7 of this drive validate; 1 and 107, its last frame, train.
  const of = (part: "train" | "val") =>
    eigenSplit(part).filter(({ left }) => left.includes("2011_09_26_drive_0001")).map((p) =>
      parseFrame(p.left).index
    );
  assertEquals(of("val").slice(0, 3), [0, 3, 7]);
  assertEquals([of("train")[0], of("train").at(-1), of("train").length], [1, 107, 101]);
});

Deno.test("a calibration with a line twice is refused: which of them would count?", async () => {
  await withRoot([], async (root) => {
    const path = join(root, calibrationPaths("2026_01_02").camToCam), text = await Deno.readTextFile(path);
    await Deno.writeTextFile(path, `${text}P_rect_02: 1 0 0 0 0 1 0 0 0 0 1 0\n`);
    await assertRejects(
      () => readCalibration(root, "2026_01_02"),
      CyclopsError,
      `${path}: found P_rect_02 twice`,
    );
  });
});

Deno.test("a calibration that is written reads back as the same camera", async () => {
  await withRoot([], async (root) => {
    const calibration = await readCalibration(root, "2026_01_02");
    assertEquals(calibration.imageSize, rig.imageSize);
    assertEquals([calibration.focalPx, calibration.baselineM, calibration.centerPx], [50, 0.5, {
      x: 32,
      y: 16,
    }]);
    // u·z = 50·(−y) + 32·x, v·z = 50·(−z) + 16·x, z = x
    assertEquals(calibration.velodyneToImage.map((v) => v + 0), [32, -50, 0, 0, 16, 0, -50, 0, 1, 0, 0, 0]);
  });
});

Deno.test("numbers that decimals cannot hold survive the calibration files exactly", async () => {
  const odd = { ...rig, focalPx: 721.5377 / 3, centerPx: { x: Math.PI, y: Math.SQRT2 }, baselineM: 0.54 };
  await withFolder(async (root) => {
    const paths = calibrationPaths("2026_01_02"), files = formatCalibration(odd);
    await writeAtomic(join(root, paths.camToCam), files.camToCam);
    await writeAtomic(join(root, paths.veloToCam), files.veloToCam);
    const { focalPx, centerPx, baselineM } = await readCalibration(root, "2026_01_02");
    assertEquals([focalPx, centerPx], [odd.focalPx, odd.centerPx]);
    assertAlmostEquals(baselineM, 0.54, 1e-14);
  });
});

Deno.test(
  "KITTI's own calibration gives its focal length and baseline",
  { ignore: noKittiSample },
  async () => {
    const { imageSize, focalPx, baselineM } = await readCalibration(join(kittiSample, "raw"), "2011_09_26");
    assertEquals([imageSize, focalPx], [{ width: 1242, height: 375 }, 721.5377]);
    assertAlmostEquals(baselineM, 0.532725, 1e-6);
  },
);

Deno.test("a calibration without P_rect_03 is refused, with what there is", async () => {
  await withRoot([], async (root) => {
    const path = join(root, calibrationPaths("2026_01_02").camToCam);
    const whole = await Deno.readTextFile(path);
    const breakAndRead = async (text: string) => {
      await Deno.writeTextFile(path, text);
      return (await assertRejects(() => readCalibration(root, "2026_01_02"), CyclopsError, path)).message;
    };
    const without = await breakAndRead(whole.replace(/^P_rect_03.*\n/m, ""));
    assert(/no line P_rect_03 \(found .*P_rect_02/.test(without), without);
    const short = await breakAndRead(whole.replace(/^P_rect_03.*$/m, "P_rect_03: 1 2 3"));
    assert(short.includes('P_rect_03 is "1 2 3", expected 12 numbers'), short);
    const words = await breakAndRead(whole.replace(/^S_rect_02.*$/m, "S_rect_02: wide high"));
    assert(words.includes('S_rect_02 is "wide high", expected 2 numbers'), words);
    const swapped = await breakAndRead(
      whole.replace(/P_rect_0([23])/g, (_, n) => `P_rect_0${n === "2" ? 3 : 2}`),
    );
    assert(swapped.includes("baseline -0.5 m, expected both above 0"), swapped);
    assert((await breakAndRead("")).includes("no lines at all"));
  });
});

Deno.test("a missing calibration is named", async () => {
  await assertRejects(
    () => readCalibration("nowhere", "2026_01_02"),
    CyclopsError,
    "calib_cam_to_cam.txt: no such",
  );
});

Deno.test("depth maps are kept to 1/256 m, and what is unknown stays 0", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "depth.png");
    const data = Float32Array.of(0, 1, 255.99, 10 + 1 / 512, 300, Infinity, NaN, -4);
    await writeDepthPng(path, { width: 4, height: 2, data });
    const read = await readDepthPng(path);
    assertEquals([read.width, read.height], [4, 2]);
    assertEquals([...read.data], [0, 1, 65533 / 256, 2561 / 256, 0, 0, 0, 0]);
    assertEquals((await readGray16(path)).data[1], 256);
    await writeGray16(path, { width: 1, height: 1, data: Uint16Array.of(384) });
    assertEquals((await readDepthPng(path)).data[0], 1.5);
  });
});

Deno.test("a download is counted against the Eigen split", async () => {
  await withFolder(async (root) => {
    const drive = "2011_09_26/2011_09_26_drive_0002_sync";
    for (
      const path of [
        `${drive}/image_02/data/0000000069.png`,
        `${drive}/image_03/data/0000000069.jpg`, // converted, as many do
        `${drive}/image_02/data/0000000070.png`, // not in the split
        `${drive}/velodyne_points/data/0000000069.bin`,
        "2011_09_26/calib_cam_to_cam.txt",
      ]
    ) await writeAtomic(join(root, path), "");
    const report = await checkDownload(root, { quick: true });
    assertEquals(report.parts[0], { part: "test", pairs: 697, left: 1, right: 1, scans: 1 });
    assertEquals(report.parts[1], { part: "train", pairs: 22600, left: 0, right: 0, scans: 0 });
    assertEquals(report.drives.filter(({ found }) => found > 0), [
      { path: drive, found: 2, expected: 50, faults: [] },
    ]);
    assertEquals(report.drives.length, 61);
    assertEquals(report.calibrations.length, 9); // five dates, two files each, one exists
    assertEquals(report.complete, false);
  });
});
