import { join } from "@std/path";
import { CyclopsError } from "../../lib/base/errors.ts";
import { writeAtomic } from "../../lib/base/files.ts";
import { readRgb } from "../../lib/data/image.ts";
import { openMake3d, readMake3dTruth } from "../../lib/evaluation/make3d.ts";
import { evaluate } from "../../lib/evaluation/protocol.ts";
import { assert, assertAlmostEquals, assertEquals, assertRejects } from "../_assert.ts";
import { grid, withMake3d } from "../data/_make3d.ts";
import { encodeMat } from "../data/_mat.ts";

Deno.test("the middle rows of photographs and distances count, below 70 m", async () => {
  // In the middle rows 10 m on the left, 40 m on the right, 80 m in the last column, unknown in the first.
  const scene = grid((y, x) => y < 17 || y >= 38 ? 3 : x === 0 ? 0 : x === 304 ? 80 : x < 152 ? 10 : 40);
  await withMake3d([scene, grid(() => 20)], async (root) => {
    const { pairs, name } = await openMake3d(root), [pair] = pairs;
    assertEquals([name, pairs.length], ["make3d", 2]);
    const truth = await readMake3dTruth(root, pair);
    assertEquals(truth.depths.length, 21 * 304);
    assertEquals([truth.xs[0], truth.ys[0], truth.depths[0]], [1, 0, 10]);
    assertEquals(truth.ys.at(-1), 20);
    const image = await readRgb(join(root, pair.left), undefined, pair.cropBottom, pair.cropTop);
    assertEquals([image.width, image.height], [426, 213]);
    for (const y of [3, 106, 209]) {
      const [r, g, b] = image.data.subarray(3 * (y * 426 + 200));
      assert(r < 40 && g > 200 && b < 40, `row ${y}: ${r} ${g} ${b}`);
    }
    const { focalPx, baselineM, imageSize } = pair.camera!;
    const disparities = {
      width: 1,
      height: 1,
      data: Float32Array.of(focalPx * baselineM / imageSize.width / 20), // 20 m everywhere
    };
    const reader = (one: typeof pair) => readMake3dTruth(root, one);
    const found = await evaluate({
      root,
      pairs,
      disparities,
      reader,
      truth: "make3d",
      crop: "none",
      capM: 70,
    });
    assertEquals(found.points, 21 * 303 + 21 * 305);
    const [near, far] = [151 / 303, 152 / 303];
    assertAlmostEquals(found.absRel, (near * 1 + far * 0.5) / 2, 1e-6);
    assertAlmostEquals(found.rmseLog / Math.LN10, Math.log10(2) / 2, 1e-6);
    assert(found.protocol.startsWith("Make3D's laser distances"), found.protocol);
  });
});

Deno.test("a photograph without distances, another grid and another folder are refused", async () => {
  const small = encodeMat({ Position3DGrid: { shape: [2, 2, 4], data: new Float64Array(16) } });
  await withMake3d([small], async (root) => {
    const { pairs: [pair] } = await openMake3d(root);
    await assertRejects(() => readMake3dTruth(root, pair), CyclopsError, "is 2×2×4, expected 55×305×4");
    await writeAtomic(join(root, "Test134/img-more.jpg"), "");
    await assertRejects(() => openMake3d(root), CyclopsError, "1 of 2 photographs have no distances");
    await assertRejects(() => openMake3d(join(root, "none")), CyclopsError, "Test134");
  });
});
