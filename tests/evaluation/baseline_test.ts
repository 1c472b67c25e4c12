import { assertAlmostEquals, assertEquals, assertRejects } from "../_assert.ts";
import { CyclopsError } from "../../lib/base/errors.ts";
import { trainSetMean } from "../../lib/evaluation/baseline.ts";
import { evaluate } from "../../lib/evaluation/protocol.ts";
import { pointAt, withRoot } from "../data/_kitti_root.ts";

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

Deno.test("cells that no return falls into take their nearest neighbour's depth", async () => {
  await withRoot([{ scan: [...pointAt(3, 30, 5), ...pointAt(60, 30, 40)] }], async (root, pairs) => {
    const { data } = await trainSetMean({ root, pairs, size });
    assertEquals(Array.from(data, (d) => Math.round(depthOf(d))), [5, 5, 40, 40, 5, 5, 40, 40]);
  });
});

Deno.test("dense truth is averaged too, what is unknown left out", async () => {
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
