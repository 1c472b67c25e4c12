import { assertEquals, assertNotEquals, assertRejects, assertStringIncludes } from "../_assert.ts";
import { join } from "@std/path";
import { CyclopsError, UsageError } from "../../lib/base/errors.ts";
import { openDataset } from "../../lib/data/dataset.ts";
import { identityDifferences } from "../../lib/data/identity.ts";
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
      "wanted street, eigen",
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
