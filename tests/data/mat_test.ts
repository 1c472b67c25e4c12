import { join } from "@std/path";
import { CyclopsError } from "../../lib/base/errors.ts";
import { readMat } from "../../lib/data/mat.ts";
import { assertEquals, assertRejects } from "../_assert.ts";
import { withFolder } from "../_folder.ts";
import { encodeMat, type MatOptions } from "./_mat.ts";

const grid = { shape: [3, 2, 2], data: [1.5, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12] };

Deno.test("a named array is read, compressed or not, of either byte order and any type", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "a.mat");
    for (const compressed of [true, false]) {
      for (const little of [true, false]) {
        for (const type of [9, 7, 2] as const) {
          // The names are short and long: the short one stands in its tag.
          const arrays = { a: { shape: [1, 1], data: [7] }, Position3DGrid: grid };
          await Deno.writeFile(path, encodeMat(arrays, { compressed, little, type }));
          const { shape, data } = await readMat(path, "Position3DGrid");
          assertEquals(shape, grid.shape);
          assertEquals([...data], type === 2 ? grid.data.map(Math.floor) : grid.data);
          assertEquals([...(await readMat(path, "a")).data], [7]);
        }
      }
    }
  });
});

Deno.test("another version, a damaged file and an array that is not there are refused", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "a.mat");
    const refuse = async (bytes: Uint8Array, why: string) => {
      await Deno.writeFile(path, bytes);
      await assertRejects(() => readMat(path, "x"), CyclopsError, why);
    };
    const good = (options: MatOptions = {}) => encodeMat({ x: grid }, options);
    await refuse(encodeMat({ y: grid }), "no array of that name");
    await refuse(new TextEncoder().encode("no such thing"), "no MATLAB file of level 5 (13 bytes");
    await refuse(good().slice(0, 150), "it is damaged");
    await refuse(good({ compressed: false }).slice(0, 150), "it is damaged");
    await refuse(good({ kind: 2 }), "class 2, not numbers"); // a struct
    await refuse(encodeMat({ x: { ...grid, shape: [3, 5] } }), "12 numbers in x of size 3×5");
    const newer = good(); // 7.3 is HDF5
    new DataView(newer.buffer).setUint16(124, 0x0200, true);
    await refuse(newer, "of another version");
  });
});
