import { assert, assertAlmostEquals, assertEquals, assertNotEquals, assertRejects } from "../_assert.ts";
import { dirname, join } from "@std/path";
import { CyclopsError, UsageError } from "../../lib/base/errors.ts";
import { openBatches, openPairCache, readStereo, sequentialBatches } from "../../lib/data/loader.ts";
import { cityscapesCameraPath, isCityscapes, readCityscapesCamera } from "../../lib/data/cityscapes.ts";
import { openDataset } from "../../lib/data/dataset.ts";
import { readRgb } from "../../lib/data/image.ts";
import { readCalibration } from "../../lib/data/kitti.ts";
import { generateStreet, STREET_DATE } from "../../lib/street/mod.ts";
import { exportCityscapes } from "./_cityscapes.ts";
import { withFolder } from "./_pairs.ts";

const SIZE = { height: 16, width: 48 };

/** One small set of street scenes, and its export to Cityscapes' layout, for all tests. */
const folder = await Deno.makeTempDir({ prefix: "cyclops-test-" });
const street = join(folder, "street"), city = join(folder, "city");
await generateStreet({ out: street, drives: 3, frames: 3, size: "32x96", workers: 0 });
for (const part of ["train", "val", "test"] as const) {
  const { root, pairs } = await openDataset({ data: street, part });
  await exportCityscapes(root, pairs, city, part);
}
globalThis.addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));

/** A copy of the export to damage. */
const withCopy = (use: (root: string) => Promise<void>) =>
  withFolder(async (root) => {
    for (const part of ["train", "val"] as const) {
      const { pairs } = await openDataset({ data: street, part: "train" });
      await exportCityscapes(street, pairs, root, part);
    }
    await use(root);
  });

Deno.test("Cityscapes' layout opens by its folders, and gives the pixels that KITTI's layout gives", async () => {
  const kitti = await openDataset({ data: street });
  const dataset = await openDataset({ data: city, split: "cityscapes", cropBottom: 0 });
  const [first] = dataset.pairs;
  assert(
    /^leftImg8bit\/train\/street(\d+)\/street\1_000\d\d\d_000000_leftImg8bit\.png$/.test(first.left),
    first.left,
  );
  assertEquals(first.right, first.left.replaceAll("leftImg8bit", "rightImg8bit"));
  assertEquals([dataset.name, dataset.pairs.length, kitti.cropBottom], ["cityscapes", kitti.pairs.length, 0]);
  const [ours, theirs] = [await readStereo(dataset, 1, SIZE), await readStereo(kitti, 1, SIZE)];
  assertEquals([ours.left, ours.right], [theirs.left, theirs.right]);
  assertEquals((await openDataset({ data: city, split: "cityscapes", part: "test" })).part, "test");
});

Deno.test("the bonnet is cropped as images are read: by workers, in this thread, in order and one by one", async () => {
  const open = (cropBottom?: number) => openDataset({ data: city, split: "cityscapes", cropBottom });
  const dataset = await open();
  assertEquals(dataset.cropBottom, 0.2);
  const full = await readRgb(join(city, dataset.pairs[0].left));
  // 32 rows less a fifth are 26 (25.6); cropping by hand and reading uncropped gives the same.
  const { height, data } = await readRgb(join(city, dataset.pairs[0].left), undefined, 0.2);
  assertEquals([height, data], [26, full.data.subarray(0, 26 * 96 * 3)]);

  const options = { size: { height: 26, width: 96 }, batch: 2, seed: 5 };
  const take = async (workers: number, cacheMib: number) => {
    using batches = openBatches(dataset, { ...options, workers, cacheMib });
    return [await batches.next(), await batches.next()];
  };
  const wanted = await take(0, 0);
  assertEquals(await take(1, 64), wanted);
  const stored = Float32Array.from(data, (v) => v / 255);
  assertEquals((await readStereo(dataset, 0, options.size)).left, stored);
  for (const side of ["left", "both"] as const) {
    const one = { ...dataset, pairs: dataset.pairs.slice(0, 1) };
    for await (const { left } of sequentialBatches(one, { ...options, side })) assertEquals(left, stored);
  }
  const quarter = await readStereo(await open(0.25), 0, SIZE), fifth = await readStereo(dataset, 0, SIZE);
  assertNotEquals(quarter.left, fifth.left);
});

Deno.test("another crop is other data: no shared cache, no resumed run", async () => {
  const open = (cropBottom?: number) => openDataset({ data: city, split: "cityscapes", cropBottom });
  const [fifth, quarter] = [await open(), await open(0.25)];
  assertNotEquals(fifth.identity.content, quarter.identity.content);
  const cache = openPairCache(fifth, SIZE);
  const pass = async (dataset: typeof fifth, size = SIZE) => {
    for await (const _ of sequentialBatches(dataset, { size, cache })) { /* only read */ }
  };
  await pass(fifth);
  await pass(await open());
  await assertRejects(() => pass(quarter), RangeError, "another crop than cityscapes at 16x48");
  await assertRejects(() => pass(fifth, { height: 8, width: 24 }), RangeError, "openPairCache");
  await assertRejects(() => pass({ ...fifth, pairs: fifth.pairs.slice(1) }), RangeError, "other pairs");
});

Deno.test("the crop is refused where true depths count in the whole image", async () => {
  await assertRejects(() => openDataset({ data: street, cropBottom: 0.2 }), UsageError, "cropBottom is 0.2");
  assertEquals((await openDataset({ data: street, cropBottom: 0 })).cropBottom, 0);
  await assertRejects(
    () => openDataset({ data: city, split: "cityscapes", cropBottom: 1 }),
    UsageError,
    "from 0 to 0.9",
  );
});

Deno.test("a frame's camera is the one it was exported with, at the cropped size", async () => {
  const { pairs: [{ left }] } = await openDataset({ data: city, split: "cityscapes" });
  const camera = await readCityscapesCamera(city, left);
  const { focalPx, baselineM, centerPx } = await readCalibration(street, STREET_DATE);
  assertEquals(camera.imageSize, { width: 96, height: 26 });
  assertAlmostEquals(camera.focalPx, focalPx, 1e-9);
  assertAlmostEquals(camera.baselineM, baselineM, 1e-9);
  assertEquals(camera.centerPx, centerPx);
  assertEquals((await readCityscapesCamera(city, left, 0)).imageSize.height, 32);
});

Deno.test("train_extra trains along where it is there", () =>
  withCopy(async (root) => {
    const open = () => openDataset({ data: root, split: "cityscapes" });
    const before = await open();
    for (const word of ["leftImg8bit", "rightImg8bit", "camera"]) {
      await Deno.rename(join(root, word, "val"), join(root, word, "train_extra"));
    }
    const { pairs } = await open();
    assertEquals(pairs.length, 2 * before.pairs.length);
    assertEquals(pairs.slice(0, before.pairs.length), before.pairs);
    assert(pairs.at(-1)!.right.startsWith("rightImg8bit/train_extra/"), pairs.at(-1)!.right);
  }));

Deno.test("what is missing of Cityscapes is named, with what holds it", () =>
  withCopy(async (root) => {
    const open = (options = {}) => openDataset({ data: root, split: "cityscapes", ...options });
    const { pairs: [{ left, right }] } = await open();
    const camera = join(root, cityscapesCameraPath(left));
    await Deno.writeTextFile(camera, '{"extrinsic": {"baseline": 0}, "intrinsic": {"fx": 90}}');
    await assertRejects(() => readCityscapesCamera(root, left), CyclopsError, "intrinsic.u0 is undefined");
    await Deno.writeTextFile(
      camera,
      '{"extrinsic": {"baseline": 0}, "intrinsic": {"fx": 90, "u0": 1, "v0": 1}}',
    );
    await assertRejects(
      () => readCityscapesCamera(root, left),
      CyclopsError,
      "baseline is 0, expected a number above 0",
    );
    await Deno.remove(camera);
    await assertRejects(() => readCityscapesCamera(root, left), CyclopsError, "camera_trainvaltest.zip");
    // Training needs no camera.
    await open();
    await Deno.remove(join(root, right));
    await assertRejects(() => open(), CyclopsError, right);
    await open({ side: "left" });
    await Deno.remove(join(root, "rightImg8bit"), { recursive: true });
    await assertRejects(() => open(), CyclopsError, "no folder rightImg8bit/train (");
    await Deno.remove(join(root, dirname(left)), { recursive: true });
    await assertRejects(() => open({ side: "left" }), CyclopsError, "no image under leftImg8bit/train");
    await assertRejects(() => open({ part: "test" }), CyclopsError, "no folder leftImg8bit/test");
  }));

Deno.test("Cityscapes' layout is told by the paths", () => {
  assert(isCityscapes("leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png"));
  assert(!isCityscapes("leftImg8bit/train/aachen/aachen_000000_000019_rightImg8bit.png"));
  assert(!isCityscapes("2011_09_26/2011_09_26_drive_0002_sync/image_02/data/0000000069.png"));
});
