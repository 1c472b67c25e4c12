import { assert, assertEquals, assertMatch, assertNotMatch, assertStringIncludes } from "../_assert.ts";
import { join } from "@std/path";
import { writeNpy } from "../../lib/data/npy.ts";
import { formatSplit } from "../../lib/data/split.ts";
import { pointAt, withRoot } from "../data/_kitti_root.ts";
import { task } from "./_run.ts";

/** What is done to sound files, and what the task then has to say. */
interface Damage {
  readonly what: string;
  readonly file: (root: string) => string;
  readonly change: (content: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer> | string;
  readonly wanted: string;
}

const DAMAGES: readonly Damage[] = [
  {
    what: "a depth PNG that breaks off",
    file: (root) =>
      join(root, "2026_01_02/2026_01_02_drive_0001_sync/proj_depth/groundtruth/image_02/0000000000.png"),
    change: (png) => png.subarray(0, 60),
    wanted: "truncated or damaged",
  },
  {
    what: "a scan cut inside a point",
    file: (root) => join(root, "2026_01_02/2026_01_02_drive_0001_sync/velodyne_points/data/0000000000.bin"),
    change: (scan) => scan.subarray(0, 10),
    wanted: "has 10 bytes, expected a positive multiple of 16",
  },
  {
    what: "a calibration without P_rect_03",
    file: (root) => join(root, "2026_01_02/calib_cam_to_cam.txt"),
    change: (text) => new TextDecoder().decode(text).replace(/^P_rect_03:.*$/m, ""),
    wanted: "no line P_rect_03",
  },
  {
    what: "predictions that end in NaN",
    file: (root) => join(root, "p.npy"),
    change: (npy) => {
      const changed = npy.slice();
      new DataView(changed.buffer).setUint32(changed.length - 4, 0x7fc00000, true);
      return changed;
    },
    wanted: "prediction 0, row 1, column 1 is NaN",
  },
  {
    what: "a split of absent frames",
    file: (root) => join(root, "split.txt"),
    change: () =>
      formatSplit([7, 8, 9].map((n) => {
        const path = (image: string) =>
          `2026_01_02/2026_01_02_drive_0001_sync/${image}/data/000000000${n}.png`;
        return { left: path("image_02"), right: path("image_03") };
      })),
    wanted: [7, 8, 9].map((n) =>
      `2026_01_02/2026_01_02_drive_0001_sync/velodyne_points/data/000000000${n}.bin`
    ).join("\n  "),
  },
];

for (const { what, file, change, wanted } of DAMAGES) {
  Deno.test(`${what}: one error with file, fault and mend; status 1; a stack trace only when asked for`, async () => {
    const depth = new Float32Array(64 * 32).fill(20);
    await withRoot([{ scan: pointAt(21, 21, 10), depth }], async (root, pairs) => {
      await writeNpy(join(root, "p.npy"), { shape: [1, 2, 2], data: new Float32Array(4).fill(0.04) });
      await Deno.writeTextFile(join(root, "split.txt"), formatSplit(pairs));
      const call = [
        ...["eval", "--predictions", join(root, "p.npy"), "--data", root, "--split", join(root, "split.txt")],
        ...["--crop", "none", "--json", "--truth", what.includes("PNG") ? "dense" : "lidar"],
      ];
      const path = file(root), changed = change(await Deno.readFile(path));
      if (typeof changed === "string") await Deno.writeTextFile(path, changed);
      else await Deno.writeFile(path, changed);
      const [short, long] = await Promise.all([task(...call), task(...call, "--debug")]);
      assertEquals([short.code, short.out], [1, ""], short.err);
      assertMatch(short.err, /^error: Cannot /m);
      assertStringIncludes(short.err, wanted);
      assert(what.includes("split") || short.err.includes(path), short.err);
      assertNotMatch(short.err, /^\s+at /m);
      assertEquals(long.code, 1);
      assertMatch(long.err, /^\s+at /m);
    });
  });
}
