import { assertEquals, assertRejects, assertThrows } from "../_assert.ts";
import { join } from "@std/path";
import { CyclopsError } from "../../lib/base/errors.ts";
import { encodeVelodyne, readVelodyne } from "../../lib/data/kitti.ts";
import { withFolder } from "../_folder.ts";

Deno.test("a scan survives encoding and reading", async () => {
  await withFolder(async (folder) => {
    const points = Float32Array.of(10.5, -2, 0.25, 0.5, 3, 4, 5, 1), path = join(folder, "scan.bin");
    await Deno.writeFile(path, encodeVelodyne(points));
    assertEquals(await readVelodyne(path), points);
    assertEquals((await Deno.readFile(path)).slice(0, 4), Uint8Array.of(0, 0, 0x28, 0x41)); // 10.5, little-endian
  });
});

Deno.test("a view into a larger array is encoded alone", () => {
  const all = Float32Array.of(9, 9, 9, 9, 1, 2, 3, 4);
  assertEquals(new Float32Array(encodeVelodyne(all.subarray(4)).buffer), Float32Array.of(1, 2, 3, 4));
});

Deno.test("a scan cut inside a point, or empty, is refused with its length", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "0000000003.bin");
    for (const length of [0, 15, 33]) {
      await Deno.writeFile(path, new Uint8Array(length));
      await assertRejects(
        () => readVelodyne(path),
        CyclopsError,
        `${path}: it has ${length} bytes, expected`,
      );
    }
    await assertRejects(() => readVelodyne(join(folder, "none.bin")), CyclopsError, "no such file");
  });
});

Deno.test("numbers that make no whole points are not encoded", () => {
  assertThrows(() => encodeVelodyne(new Float32Array(6)), RangeError, "6 numbers");
});
