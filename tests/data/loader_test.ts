import { assert, assertEquals, assertNotEquals, assertRejects, assertStringIncludes } from "../_assert.ts";
import { join } from "@std/path";
import { CyclopsError, UsageError } from "../../lib/base/errors.ts";
import { resolveAugmentation } from "../../lib/data/augment.ts";
import {
  type BatchOptions,
  epochOrder,
  openBatches,
  openPairCache,
  PairCache,
  readStereo,
  sequentialBatches,
  type StereoBatch,
} from "../../lib/data/loader.ts";
import { openDataset, type StereoDataset } from "../../lib/data/dataset.ts";
import { readRgb } from "../../lib/data/image.ts";
import { withFolder, writePairs } from "./_pairs.ts";

const SIZE = { height: 8, width: 16 };

async function take(
  dataset: StereoDataset,
  options: Partial<BatchOptions>,
  count: number,
  from = 0,
): Promise<StereoBatch[]> {
  using batches = openBatches(dataset, { size: SIZE, batch: 2, seed: 7, first: from, ...options });
  const taken: StereoBatch[] = [];
  for (let i = 0; i < count; i++) taken.push(await batches.next());
  return taken;
}

const withDataset = (count: number, use: (dataset: StereoDataset) => Promise<void>) =>
  withFolder(async (root) => {
    await writePairs(root, count);
    await use(await openDataset({ data: root }));
  });

Deno.test("batches are the same for any number of workers, with and without a cache", () =>
  withDataset(5, async (dataset) => {
    const wanted = await take(dataset, { workers: 0, cacheMib: 0 }, 8);
    for (const options of [{ workers: 0 }, { workers: 1 }, { workers: 3, prefetch: 7 }]) {
      assertEquals(await take(dataset, options, 8), wanted);
    }
    assertEquals(await take(dataset, { workers: 2, cacheMib: 0 }, 8), wanted);
    assertEquals(wanted.map(({ step }) => step), [0, 1, 2, 3, 4, 5, 6, 7]);
    assertEquals(wanted[0].left.length, 2 * 8 * 16 * 3);
    assert(wanted.every(({ left, right }) => [...left, ...right].every((v) => v >= 0 && v <= 1)));
  }));

Deno.test("entering at step k gives what an unbroken run would have given", () =>
  withDataset(5, async (dataset) => {
    const unbroken = await take(dataset, { workers: 0 }, 9);
    assertEquals(await take(dataset, { workers: 0 }, 3, 6), unbroken.slice(6));
    assertEquals(await take(dataset, { workers: 1 }, 3, 6), unbroken.slice(6));
  }));

Deno.test("every epoch visits every pair once, in another order, also where batches span epochs", () =>
  withDataset(5, async (dataset) => {
    const ids = (await take(dataset, { workers: 0, batch: 3 }, 5)).flatMap((batch) => batch.ids);
    const all = dataset.pairs.map(({ left }) => left);
    const epochs = [ids.slice(0, 5), ids.slice(5, 10), ids.slice(10)];
    for (const epoch of epochs) assertEquals([...epoch].sort(), [...all].sort());
    assertNotEquals(epochs[0], epochs[1]);
  }));

Deno.test("the batch size groups the samples and changes none of them", () =>
  withDataset(5, async (dataset) => {
    const join = (batches: StereoBatch[]) => batches.flatMap(({ left }) => [...left]);
    const pairs = join(await take(dataset, { workers: 0, batch: 2 }, 3));
    assertEquals(join(await take(dataset, { workers: 0, batch: 6 }, 1)), pairs);
  }));

Deno.test("seed, augmentation and size change what is in a batch", () =>
  withDataset(6, async (dataset) => {
    const [usual] = await take(dataset, { workers: 0, batch: 6 }, 1);
    const [otherSeed] = await take(dataset, { workers: 0, batch: 6, seed: 8 }, 1);
    const augmentation = resolveAugmentation({ augment: false });
    const [plain] = await take(dataset, { workers: 0, batch: 6, augmentation }, 1);
    const [small] = await take(dataset, { workers: 0, batch: 6, size: { height: 4, width: 8 } }, 1);
    assertNotEquals(otherSeed.ids, usual.ids);
    assertEquals(plain.ids, usual.ids);
    assertNotEquals(plain.left, usual.left);
    assertEquals([small.height, small.width, small.left.length], [4, 8, 6 * 4 * 8 * 3]);
  }));

Deno.test("without augmentation a batch holds the images themselves", () =>
  withDataset(4, async (dataset) => {
    const augmentation = resolveAugmentation({ augment: false });
    const [batch] = await take(dataset, { workers: 1, batch: 4, augmentation }, 1);
    for (const [i, id] of batch.ids.entries()) {
      const pair = dataset.pairs.find(({ left }) => left === id)!;
      for (const side of ["left", "right"] as const) {
        const { data } = await readRgb(join(dataset.root, pair[side]), SIZE);
        const at = i * data.length;
        assertEquals(batch[side].slice(at, at + data.length), Float32Array.from(data, (v) => v / 255));
      }
    }
  }));

for (const workers of [0, 1]) {
  Deno.test(`a truncated PNG reaches the caller with its name (${workers} workers)`, () =>
    withDataset(3, async (dataset) => {
      const path = join(dataset.root, dataset.pairs[1].right);
      await Deno.writeFile(path, (await Deno.readFile(path)).subarray(0, 200));
      using batches = openBatches(dataset, { size: SIZE, batch: 3, seed: 7, workers });
      const error = await assertRejects(() => batches.next(), CyclopsError) as Error;
      assertStringIncludes(error.message, path);
      assertStringIncludes(error.message, "truncated or damaged");
    }));
}

Deno.test("an image that vanished while training is named, and other batches still come", () =>
  withDataset(4, async (dataset) => {
    const order = epochOrder(4, 7, 0);
    const path = join(dataset.root, dataset.pairs[order[1]].left);
    await Deno.remove(path);
    using batches = openBatches(dataset, { size: SIZE, batch: 1, seed: 7, workers: 1 });
    assertEquals((await batches.next()).ids, [dataset.pairs[order[0]].left]);
    const error = await assertRejects(() => batches.next(), CyclopsError) as Error;
    assertStringIncludes(error.message, path);
    assertEquals((await batches.next()).ids, [dataset.pairs[order[2]].left]);
  }));

Deno.test("a closed source refuses what it still owes", () =>
  withDataset(2, async (dataset) => {
    const batches = openBatches(dataset, { size: SIZE, batch: 2, seed: 7, workers: 1 });
    const owed = batches.next();
    batches.close();
    await assertRejects(() => owed, CyclopsError, "closed");
  }));

Deno.test("bad options of a source are refused", () =>
  withDataset(1, async (dataset) => {
    const open = (more: Record<string, unknown>) => async () => {
      openBatches(dataset, { size: SIZE, batch: 2, seed: 7, ...more }).close();
      await Promise.resolve();
    };
    await assertRejects(open({ workers: -1 }), UsageError, "workers is -1");
    await assertRejects(open({ cacheGib: 1 }), UsageError, "cacheMib");
    await assertRejects(open({ batch: 0 }), RangeError, "batch is 0");
    await assertRejects(open({ first: -1 }), RangeError, "first is -1, expected an integer of at least 0");
    await assertRejects(open({ size: { height: 8.5, width: 16 } }), RangeError, "height is 8.5");
  }));

Deno.test("the cache keeps as many pairs as fit, for every holder of its handle", () => {
  const pairs = Array.from({ length: 10 }, (_, i) => ({ left: `l${i}.png`, right: `r${i}.png` }));
  // A pair takes 1.5 MiB.
  const cache = openPairCache({ root: "", pairs, cropBottom: 0 }, { height: 512, width: 512 }, 7);
  const pixels = (value: number) => new Uint8Array(512 * 512 * 3).fill(value);
  assertEquals(cache.get(3), undefined);
  cache.put(3, { left: pixels(1), right: pixels(2) });
  cache.put(4, { left: pixels(3), right: pixels(4) });
  const elsewhere = new PairCache(cache.handle);
  assertEquals(elsewhere.get(3)?.left[7], 1);
  assertEquals(elsewhere.get(3)?.right.at(-1), 2);
  assertEquals(elsewhere.get(2), undefined);
  assertEquals(elsewhere.get(4), undefined);
});

Deno.test("sequential batches hold every pair once, in order, the last one smaller", () =>
  withDataset(5, async (dataset) => {
    const cache = openPairCache(dataset, SIZE);
    for (let pass = 0; pass < 2; pass++) {
      const found: StereoBatch[] = [];
      for await (const batch of sequentialBatches(dataset, { size: SIZE, batch: 2, cache })) {
        found.push(batch);
      }
      assertEquals(found.map(({ batch, step }) => [batch, step]), [[2, 0], [2, 1], [1, 2]]);
      assertEquals(found.flatMap(({ ids }) => ids), dataset.pairs.map(({ left }) => left));
      const single = await readStereo(dataset, 4, SIZE);
      assertEquals(single.left, found[2].left);
      assertEquals(single.right, found[2].right);
    }
    assert(cache.get(4));
  }));

Deno.test("sequential batches of one view leave the other empty and need no file of it", () =>
  withDataset(3, async (dataset) => {
    const both = [], two = { ...dataset, pairs: dataset.pairs.slice(0, 2) };
    for await (const batch of sequentialBatches(two, { size: SIZE })) both.push(batch);
    for (const { right } of dataset.pairs) await Deno.remove(join(dataset.root, right));
    const left = [];
    for await (const batch of sequentialBatches(two, { size: SIZE, side: "left" })) {
      left.push(batch);
    }
    assertEquals(left[0].batch, 2);
    assertEquals(left[0].left, both[0].left);
    assertEquals(left[0].right.length, 0);
    await assertRejects(() => readStereo(dataset, 0, SIZE), CyclopsError, dataset.pairs[0].right);
    await assertRejects(() => readStereo(dataset, 3, SIZE), RangeError, "3 pairs");
  }));
