import {
  assert,
  assertEquals,
  assertGreater,
  assertLess,
  assertNotEquals,
  assertRejects,
} from "../_assert.ts";
import { join } from "@std/path";
import { CyclopsError } from "../../lib/base/errors.ts";
import { median } from "../../lib/base/random.ts";
import { resolveAugmentation } from "../../lib/data/augment.ts";
import { openDataset, type StereoDataset } from "../../lib/data/dataset.ts";
import { HINT_STEPS, type HintPlan, readHints } from "../../lib/data/hints.ts";
import { writeGray16 } from "../../lib/data/image.ts";
import { type BatchOptions, openBatches, type StereoBatch } from "../../lib/data/loader.ts";
import { readTruth } from "../../lib/evaluation/truth.ts";
import { generateStreet } from "../../lib/street/mod.ts";
import { withFolder, writePairs } from "./_pairs.ts";

const SIZE = { height: 64, width: 192 };

const withStreet = (use: (dataset: StereoDataset, folder: string) => Promise<void>) =>
  withFolder(async (folder) => {
    const data = join(folder, "street");
    await generateStreet({ out: data, drives: 3, frames: 2, size: "128x416", workers: 0 });
    await use(await openDataset({ data }), folder);
  });

/** A fixed-point map as disparities, fractions of the width. */
const decode = (map: Uint16Array) => Float32Array.from(map, (value) => value / HINT_STEPS);

Deno.test("hints of a street: truth is the depth map's, matching comes close to it; both views agree with each other", () =>
  withStreet(async (dataset) => {
    const pair = dataset.pairs[0], { camera, xs, ys, depths } = await readTruth(dataset.root, pair, "dense");
    const { width, height } = camera.imageSize, reach = camera.focalPx * camera.baselineM / width;
    const errors = (map: Float32Array) => {
      const found: number[] = [];
      depths.forEach((depth, i) => {
        const [x, y] = [xs[i] * SIZE.width / width, ys[i] * SIZE.height / height].map(Math.floor);
        const disparity = map[y * SIZE.width + x];
        if (disparity > 0 && depth < 80) found.push(Math.abs(reach / disparity - depth) / depth);
      });
      return { median: median(found), mean: found.reduce((a, b) => a + b, 0) / found.length, found };
    };
    const maps = async (kind: HintPlan["kind"]) => {
      const { left, right } = await readHints(dataset, pair, { kind, size: SIZE }, SIZE);
      return { left: decode(left), right: decode(right) };
    };
    const [truth, matched] = [await maps("truth"), await maps("sgm")];
    assertLess(errors(truth.left).median, 0.01);
    assertLess(errors(matched.left).median, 0.05);
    assertLess(errors(matched.left).mean, 0.12);
    assertGreater(errors(matched.left).found.length / depths.length, 0.6);
    for (const { left, right } of [truth, matched]) {
      // A point of the left view lies in the right one, with the same disparity.
      const differences: number[] = [];
      left.forEach((d, p) => {
        const x = p % SIZE.width, there = Math.round(x - d * SIZE.width);
        if (d > 0 && there >= 0 && right[p - x + there] > 0) {
          differences.push(SIZE.width * Math.abs(right[p - x + there] - d));
        }
      });
      assertGreater(differences.length, 0.4 * left.length);
      assertLess(median(differences), 0.2);
    }
    // Matching knows nothing in the margin that only the left view sees; truth does.
    const margin = (map: Float32Array) =>
      map.filter((d, p) => d > 0 && p % SIZE.width < d * SIZE.width - 1).length;
    assertLess(margin(matched.left), 0.3 * margin(truth.left));
  }));

async function take(dataset: StereoDataset, hints: HintPlan, options: Partial<BatchOptions>, count = 1) {
  using batches = openBatches(dataset, { size: SIZE, batch: 2, seed: 7, workers: 0, hints, ...options });
  const taken: StereoBatch[] = [];
  for (let i = 0; i < count; i++) taken.push(await batches.next());
  return taken;
}

const flips = (flipProbability: number) => resolveAugmentation({ flipProbability, colourProbability: 0 });

Deno.test("hints in batches: flipped and swapped with their views, the same for workers and caches, halved with the size", () =>
  withStreet(async (dataset, folder) => {
    const plan: HintPlan = { kind: "truth", size: SIZE, folder: join(folder, "hints") };
    const augmentation = flips(0);
    const [{ hints }] = await take(dataset, plan, { augmentation });
    assertEquals(hints!.left.length, 2 * 64 * 192);
    const [flipped] = await take(dataset, plan, { augmentation: flips(1) });
    const mirrored = (map: Float32Array) =>
      map.map((_, p) => map[p - p % SIZE.width + SIZE.width - 1 - p % SIZE.width]);
    assertEquals(flipped.hints!.left, mirrored(hints!.right));
    assertEquals(flipped.hints!.right, mirrored(hints!.left));
    assertNotEquals(hints!.left, hints!.right);

    const wanted = await take(dataset, plan, {}, 4);
    for (const options of [{ workers: 2 }, { cacheMib: 0 }, { workers: 1, cacheMib: 0 }]) {
      assertEquals(await take(dataset, plan, options, 4), wanted);
    }

    const [coarse] = await take(dataset, plan, { augmentation, size: { height: 32, width: 96 } });
    assertEquals(coarse.hints!.left.length, 2 * 32 * 96);
    const known = [...coarse.hints!.left.keys()].filter((p) => coarse.hints!.left[p] > 0);
    assertGreater(known.length, 0.6 * coarse.hints!.left.length);
    for (const p of known) {
      const [v, u] = [Math.floor(p / 96), p % 96];
      const covered = [0, 1, 192, 193].map((q) => hints!.left[2 * v * 192 + 2 * u + q]);
      assert(covered.includes(coarse.hints!.left[p]), "a hint of half the size is one of the four it covers");
    }
  }));

Deno.test("hints are kept on disk: a hit gives the same bytes, damage and changed images are noticed", () =>
  withFolder(async (folder) => {
    const root = join(folder, "pairs"), size = { height: 16, width: 32 };
    await writePairs(root, 1, { width: 64, height: 32 });
    const dataset = await openDataset({ data: root }), [pair] = dataset.pairs;
    const plan: HintPlan = { kind: "sgm", size, folder: join(folder, "hints") };
    const files = async () => (await Array.fromAsync(Deno.readDir(plan.folder!))).map(({ name }) => name);
    const first = await readHints(dataset, pair, plan, size);
    assertEquals(await readHints(dataset, pair, { ...plan, folder: undefined }, size), first);
    const [name] = await files(), path = join(plan.folder!, name);
    const { ino } = await Deno.stat(path), bytes = await Deno.readFile(path);
    assertEquals(await readHints(dataset, pair, plan, size), first);
    assertEquals((await Deno.stat(path)).ino, ino, "a hit writes nothing");

    // As another run would have left it: a hit is what the file says.
    const other = await readHints(dataset, pair, { ...plan, size: { height: 32, width: 32 } }, size);
    assertEquals(other.left.length, 16 * 32);
    const second = (await files()).find((file) => file !== name)!;
    for (
      const damage of [
        bytes.subarray(0, bytes.length >> 1),
        bytes.map((byte, i) => i === bytes.length >> 1 ? byte ^ 1 : byte),
        new Uint8Array(),
        await Deno.readFile(join(plan.folder!, second)), // whole, but of another size
      ]
    ) {
      await Deno.writeFile(path, damage);
      assertEquals(await readHints(dataset, pair, plan, size), first);
      assertEquals(await Deno.readFile(path), bytes, "it is written again");
    }
    await Deno.utime(join(root, pair.left), 1e9, 1e9);
    assertEquals(await readHints(dataset, pair, plan, size), first);
    assertEquals((await files()).length, 3, "another time is another image");
    await Deno.remove(join(root, pair.right));
    await assertRejects(() => readHints(dataset, pair, plan, size), CyclopsError, "no such file");
  }));

Deno.test("a folder that cannot be written costs time, not the training", () =>
  withFolder(async (folder) => {
    await writePairs(folder, 1, { width: 64, height: 32 });
    const dataset = await openDataset({ data: folder }), size = { height: 16, width: 32 };
    await Deno.writeTextFile(join(folder, "file"), "");
    const plan: HintPlan = { kind: "sgm", size, folder: join(folder, "file") };
    assertEquals((await readHints(dataset, dataset.pairs[0], plan, size)).left.length, 16 * 32);
  }));

Deno.test("true hints of a manifest: sparse disparities in px · 256, and their place in the right view", () =>
  withFolder(async (folder) => {
    await writePairs(folder, 1, { width: 64, height: 32 });
    const { pairs: [{ left, right }] } = await openDataset({ data: folder });
    const data = new Uint16Array(64 * 32);
    data[10 * 64 + 40] = 8 * 256; // column 40, 8 px: column 32 of the right view
    data[10 * 64 + 36] = 4 * 256; // the same column, farther: hidden there
    await writeGray16(join(folder, "d.png"), { width: 64, height: 32, data });
    const csv = join(folder, "pairs.csv");
    await Deno.writeTextFile(
      csv,
      `left,right,focal_px,baseline_m,disparity\n${left},${right},50,0.5,d.png\n`,
    );
    const dataset = await openDataset({ data: csv, holdout: 0 });
    const size = { height: 32, width: 64 };
    const maps = await readHints(dataset, dataset.pairs[0], { kind: "truth", size }, size);
    const found = (map: Uint16Array) =>
      [...map.keys()].filter((p) => map[p] > 0).map((p) => [p, map[p] / HINT_STEPS]);
    assertEquals(found(maps.left), [[10 * 64 + 36, 4 / 64], [10 * 64 + 40, 8 / 64]]);
    assertEquals(found(maps.right), [[10 * 64 + 32, 8 / 64]]);
  }));
