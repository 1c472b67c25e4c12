import { assert, assertEquals, assertNotEquals, assertRejects, assertStringIncludes } from "../_assert.ts";
import { join } from "@std/path";
import { CyclopsError, UsageError } from "../../lib/base/errors.ts";
import { identityDifferences, openDataset } from "../../lib/data/dataset.ts";
import { framePair } from "../../lib/data/kitti.ts";
import { formatSplit } from "../../lib/data/split.ts";
import { withFolder, writePairs } from "./_pairs.ts";

Deno.test("a street data set opens by its own split, in the split's order", () =>
  withFolder(async (root) => {
    const pairs = await writePairs(root, 3);
    const dataset = await openDataset({ data: root });
    assertEquals(dataset.pairs, pairs);
    assertEquals([dataset.name, dataset.part, dataset.root], ["street", "train", root]);
    assertEquals(dataset.identity.pairs, 3);
  }));

Deno.test("a split file opens by its path and by its name in ROOT/splits", () =>
  withFolder(async (root) => {
    const pairs = await writePairs(root, 3);
    const path = join(root, "splits", "two.txt");
    await Deno.writeTextFile(path, formatSplit(pairs.slice(1)));
    for (const split of [path, "two.txt", "two"]) {
      const dataset = await openDataset({ data: root, split, part: "val" });
      assertEquals([dataset.name, dataset.pairs], ["two", pairs.slice(1)]);
    }
  }));

Deno.test("a bare word is a split of the data, even beside a folder of that name", () =>
  withFolder(async (root) => {
    const pairs = await writePairs(root, 2);
    await Deno.writeTextFile(join(root, "splits", "tests.txt"), formatSplit(pairs)); // there is a folder ./tests
    assertEquals((await openDataset({ data: root, split: "tests" })).pairs, pairs);
    const error = await assertRejects(() => openDataset({ data: root, split: "tset" }), UsageError) as Error;
    assertStringIncludes(error.message, 'Cannot find the split "tset"');
  }));

Deno.test("folders without a split are told which layouts are accepted, and never to be written into", () =>
  withFolder(async (root) => {
    const refused = async (...folders: string[]) => {
      for (const folder of folders) await Deno.mkdir(join(root, folder), { recursive: true });
      const error = await assertRejects(() => openDataset({ data: root }), CyclopsError) as Error;
      assert(!error.message.includes("--out"), error.message);
      return error.message;
    };
    const own = await refused("left", "right");
    for (const said of ["splits/train.txt", "--split eigen", "left/000001.png,right/000001.png,721.5,0.54"]) {
      assertStringIncludes(own, said);
    }
    assertStringIncludes(await refused("2011_09_26"), "This looks like KITTI: --split eigen");
    assertStringIncludes(await refused("leftImg8bit"), "This looks like Cityscapes");
  }));

Deno.test("the Eigen split without its images lists what is absent", () =>
  withFolder(async (root) => {
    const error = await assertRejects(
      () => openDataset({ data: root, split: "eigen", part: "test" }),
      CyclopsError,
    ) as Error;
    assertStringIncludes(error.message, "1394 of 1394 images are absent");
    assertStringIncludes(error.message, "2011_09_26_drive_0002_sync/image_02/data/0000000003.png");
  }));

Deno.test("evaluation can do with the seen view alone", () =>
  withFolder(async (root) => {
    const pairs = await writePairs(root, 2);
    await Deno.remove(join(root, pairs[1].right));
    await assertRejects(() => openDataset({ data: root }), CyclopsError, "1 of 4 images");
    assertEquals((await openDataset({ data: root, side: "left" })).pairs.length, 2);
  }));

Deno.test("a missing root, a missing part and an unknown split say what to do", () =>
  withFolder(async (root) => {
    await writePairs(root, 1);
    await assertRejects(() => openDataset({ data: join(root, "no") }), CyclopsError, "deno task street");
    await assertRejects(() => openDataset({ data: root, part: "val" }), CyclopsError, "splits/val.txt");
    await assertRejects(
      () => openDataset({ data: root, split: "eigne" }),
      UsageError,
      "expected street, eigen",
    );
  }));

Deno.test("the fingerprint tells other images and other lists apart, not the folder's name", () =>
  withFolder(async (folder) => {
    const open = async (name: string, count: number, seed: number) => {
      await writePairs(join(folder, name), count, { seed });
      return (await openDataset({ data: join(folder, name) })).identity;
    };
    const one = await open("a", 3, 1);
    assertEquals(await open("b", 3, 1), one);
    const otherImages = await open("c", 3, 2), longer = await open("d", 4, 1);
    assertNotEquals(otherImages, one);
    assertEquals(identityDifferences(one, one), []);
    assertEquals(identityDifferences(one, otherImages), [
      "the same names but other images in them, or another crop",
    ]);
    assertEquals(identityDifferences(one, longer), ["3 pairs then, 4 now"]);
    const split = { ...one, split: "eigen" };
    assertEquals(identityDifferences(one, split), ["split street/train then, eigen/train now"]);
  }));

Deno.test("the fingerprint of the right view alone needs no left images", () =>
  withFolder(async (root) => {
    const [pair] = await writePairs(root, 1);
    assertEquals(pair, framePair({ date: "2026_01_01", drive: "0001", index: 0 }));
    await Deno.remove(join(root, pair.left));
    assertEquals((await openDataset({ data: root, side: "right" })).pairs.length, 1);
  }));
