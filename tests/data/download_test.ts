import { assertEquals } from "../_assert.ts";
import { join } from "@std/path";
import { writeAtomic } from "../../lib/base/files.ts";
import { checkDownload } from "../../lib/data/download.ts";
import { withFolder } from "../_folder.ts";

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
    const report = await checkDownload(root);
    assertEquals(report.parts[0], { part: "test", pairs: 697, left: 1, right: 1, scans: 1 });
    assertEquals(report.parts[1], { part: "train", pairs: 22600, left: 0, right: 0, scans: 0 });
    assertEquals(report.drives.find(({ path }) => path === drive), { path: drive, found: 2, wanted: 50 });
    assertEquals(report.drives.length, 61);
    assertEquals(report.calibrations.length, 9); // five dates, two files each, one there
    assertEquals(report.complete, false);
  });
});
