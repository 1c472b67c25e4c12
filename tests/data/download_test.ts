import { dirname, join } from "@std/path";
import { writeAtomic } from "../../lib/base/files.ts";
import { checkDownload, planDownload } from "../../lib/data/download.ts";
import { writeRgb } from "../../lib/data/image.ts";
import { eigenSplit, encodeVelodyne, velodynePath } from "../../lib/data/kitti.ts";
import { assert, assertAlmostEquals, assertEquals, assertStringIncludes } from "../_assert.ts";
import { withFolder } from "../_folder.ts";
import { task } from "../tasks/_run.ts";
import { formatCalibration, rig } from "./_kitti_root.ts";

const drive = "2011_09_26/2011_09_26_drive_0002_sync";
const image = (width = rig.imageSize.width) => {
  const { height } = rig.imageSize;
  return { width, height, data: new Uint8Array(width * height * 3).fill(90) };
};
const name = (side: 2 | 3, frame: number) =>
  `${drive}/image_0${side}/data/${String(frame).padStart(10, "0")}.png`;
const scan = (index: number) => velodynePath({ date: "2011_09_26", drive: "0002", index });

/** Three frames of a test drive, whole. */
const withDrive = (use: (root: string) => Promise<void>) =>
  withFolder(async (root) => {
    const { camToCam, veloToCam } = formatCalibration(rig);
    await writeAtomic(join(root, "2011_09_26/calib_cam_to_cam.txt"), camToCam);
    await writeAtomic(join(root, "2011_09_26/calib_velo_to_cam.txt"), veloToCam);
    for (const frame of [0, 3, 6]) {
      for (const side of [2, 3] as const) await writeRgb(join(root, name(side, frame)), image());
      await writeAtomic(join(root, scan(frame)), encodeVelodyne(Float32Array.of(9, 1, 0, 0.5)));
    }
    await use(root);
  });

const faultsOf = async (root: string, journal?: string) => {
  const { drives } = await checkDownload(root, { journal });
  return drives.find(({ path }) => path === drive)!.faults.toSorted();
};

Deno.test("a sound drive has no faults; its calibration neither", () =>
  withDrive(async (root) => {
    const { drives, calibrations, parts, complete } = await checkDownload(root);
    assertEquals(drives.flatMap(({ faults }) => faults), []);
    assertEquals(calibrations.filter((fault) => fault.includes("2011_09_26")), []);
    assertEquals([parts[0].scans, complete], [3, false]);
  }));

Deno.test("every damaged file of a download is told, and none ends the check", () =>
  withDrive(async (root) => {
    await Deno.truncate(join(root, name(2, 0)), 80);
    await writeRgb(join(root, name(3, 3)), image(60));
    await Deno.remove(join(root, name(3, 6)));
    await writeAtomic(join(root, scan(0)), new Uint8Array(10));
    await writeAtomic(join(root, scan(3)), encodeVelodyne(Float32Array.of(NaN, NaN, NaN, 0)));
    const faults = await faultsOf(root);
    assertEquals(faults.length, 5);
    const said = [
      `${name(2, 0)}: a PNG of 80 bytes, truncated`,
      `${name(2, 6)}: the right image of its pair is absent`,
      `${name(3, 3)}: 60×32 px, expected 64×32`,
      `${scan(0)}: it has 10 bytes`,
      `${scan(3)}: none of its 1 points lies ahead`,
    ];
    for (const [i, words] of said.entries()) assertStringIncludes(faults[i], words);
    await Deno.writeTextFile(join(root, "2011_09_26/calib_velo_to_cam.txt"), "R: 1 2\n");
    const { calibrations } = await checkDownload(root);
    assert(
      calibrations.some((fault) => fault.includes('R is "1 2", expected 9 numbers')),
      calibrations.join("\n"),
    );
  }));

Deno.test("what a check found is kept until the file changes", () =>
  withDrive(async (root) => {
    const journal = join(root, "journal.jsonl"),
      path = join(root, name(2, 0)),
      sound = await Deno.readFile(path);
    const damaged = sound.slice();
    damaged.fill(0, sound.length >> 1);
    const put = async (content: Uint8Array, time: Date) => {
      await Deno.writeFile(path, content);
      await Deno.utime(path, time, time);
    };
    await put(damaged, new Date(1e12));
    assertEquals((await faultsOf(root, journal)).length, 1);
    await put(sound, new Date(1e12)); // as if it had not changed
    assertEquals((await faultsOf(root, journal)).length, 1);
    await put(sound, new Date(2e12));
    assertEquals(await faultsOf(root, journal), []);
    await Deno.writeTextFile(journal, '["cut off', { append: true });
    assertEquals(await faultsOf(root, journal), []);
  }));

Deno.test("the plan names every drive of the split, less those that are there", () => {
  const { dates, drives, frames, archiveBytes } = planDownload();
  const count = (plan: ReadonlyMap<string, readonly string[]>) => [...plan.values()].flat().length;
  assertEquals([drives, frames, count(dates)], [61, 697 + 22600 + 888, 61]);
  assertAlmostEquals(archiveBytes / 1e9, 170, 20); // all of KITTI raw is 175 to 190 GB
  const rest = planDownload(new Set([dirname(dirname(dirname(eigenSplit("test")[0].left)))]));
  assertEquals(count(rest.dates), 60);
  assert(rest.archiveBytes < archiveBytes && !rest.dates.get("2011_09_26")!.includes("0002"));
});

Deno.test("kitti plan and check print what is missing; check ends with status 1", () =>
  withDrive(async (root) => {
    await writeRgb(join(root, name(3, 3)), image(60));
    const [plan, check] = await Promise.all([
      task("kitti", "plan"),
      task("kitti", "check", root, "--journal", join(root, "j.jsonl")),
    ]);
    assertEquals([plan.code, check.code], [0, 1], plan.err + check.err);
    assert(plan.out.includes("61 archives, about 1"), plan.out);
    assertStringIncludes(check.out, `${drive}: 6 of 50 images, 1 faults`);
    assertStringIncludes(check.out, "image_03/data/0000000003.png: 60×32 px");
    assert((await Deno.stat(join(root, "j.jsonl"))).size > 100);
  }));
