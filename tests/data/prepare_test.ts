import { join } from "@std/path";
import { CyclopsError } from "../../lib/base/errors.ts";
import { openDataset } from "../../lib/data/dataset.ts";
import { imageSize, readRgb } from "../../lib/data/image.ts";
import { openBatches } from "../../lib/data/loader.ts";
import { prepareData, type PrepareOptions } from "../../lib/data/prepare.ts";
import { evaluate } from "../../lib/evaluation/protocol.ts";
import { checkTruth, encodePoints, readTruth, truthReader } from "../../lib/evaluation/truth.ts";
import { assert, assertEquals, assertRejects } from "../_assert.ts";
import { task } from "../tasks/_run.ts";
import { pointAt, withRoot } from "./_kitti_root.ts";
import { withFolder, writePairs } from "./_pairs.ts";

const size = { height: 8, width: 16 };

/** A street of seven pairs, and what prepares it, two pairs to a pack. */
const withStreet = (
  use: (
    root: string,
    out: string,
    prepare: (more?: Partial<PrepareOptions>) => ReturnType<typeof prepareData>,
  ) => Promise<void>,
) =>
  withFolder(async (root) => {
    await writePairs(root, 7);
    const out = join(root, "prepared");
    const base = { data: root, split: "street", parts: ["train"], size, packPairs: 2 } as const;
    await use(root, out, (more) => prepareData(out, { ...base, ...more }));
  });

Deno.test("training sees the same pixels in the same order from prepared data as from the images", () =>
  withStreet(async (root, out, prepare) => {
    assertEquals((await prepare()).pairs, { train: 7 });
    const batches = async (data: string) => {
      const dataset = await openDataset({ data });
      using source = openBatches(dataset, { size, batch: 3, seed: 5, workers: 1 });
      return [await source.next(), await source.next(), await source.next()];
    };
    const prepared = await batches(out);
    assertEquals(prepared, await batches(root));
    assertEquals(prepared[0].ids.length, 3);
  }));

Deno.test("prepared images are resized where another size is asked for", () =>
  withStreet(async (_root, out, prepare) => {
    await prepare();
    const path = join(out, "train-0001.pack#2");
    assertEquals(await imageSize(path), { width: 16, height: 8 });
    const { width, height, data } = await readRgb(path, { width: 4, height: 4 });
    assertEquals([width, height, data.length], [4, 4, 48]);
  }));

Deno.test("a preparation that is interrupted goes on to the same files; another one may not", () =>
  withStreet(async (root, out, prepare) => {
    const stop = new AbortController();
    const first = await prepare({ signal: stop.signal, onProgress: (done) => done >= 4 && stop.abort() });
    assertEquals([first.complete, first.pairs.train], [false, 4]);
    await assertRejects(() => openDataset({ data: out }), CyclopsError, "no file splits/train.txt");
    await assertRejects(
      () => prepare({ size: { height: 4, width: 8 } }),
      CyclopsError,
      "begun with other options",
    );
    // A crash in the middle of a line costs one pack.
    const journal = join(out, "prepare.jsonl"), text = await Deno.readTextFile(journal);
    await Deno.writeTextFile(journal, text.slice(0, -20));
    let least = Infinity;
    assertEquals((await prepare({ onProgress: (done) => least = Math.min(least, done) })).complete, true);
    assert(least > 2, "the first pack is not read again");
    const whole = join(root, "whole");
    await prepareData(whole, { data: root, split: "street", parts: ["train"], size, packPairs: 2 });
    const files = async (folder: string) => {
      const names = (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name).sort();
      return await Promise.all(names.map(async (name) => [name, await Deno.readFile(join(folder, name))]));
    };
    assertEquals(await files(out), await files(whole));
    await assertRejects(() => prepare(), CyclopsError, "holds prepared data already");
  }));

Deno.test("a pair that cannot be read is left out and told", () =>
  withStreet(async (root, out, prepare) => {
    const [a, b] = (await openDataset({ data: root })).pairs.slice(2, 4);
    await Deno.truncate(join(root, a.right), 100);
    await Deno.remove(join(root, b.left));
    const { pairs, skipped } = await prepare();
    assertEquals([pairs.train, skipped.length], [5, 2]);
    assert(
      skipped[0].startsWith(`${a.left}: `) && skipped[1] === `${b.left}: no left image`,
      skipped.join("\n"),
    );
    const left = (await openDataset({ data: out })).pairs.map((pair) => pair.left);
    assert(left.length === 5 && !left.includes(a.left) && !left.includes(b.left));
  }));

Deno.test("so many pairs of a large data set are spread over it", () =>
  withStreet(async (_root, out, prepare) => {
    await prepare({ pairs: 3 });
    const indices = (await openDataset({ data: out })).pairs.map(({ left }) =>
      Number(left.match(/(\d+)\.png/)![1])
    );
    assertEquals(indices, [0, 2, 4]);
  }));

Deno.test("a pack that is damaged or cut is named with the image", () =>
  withStreet(async (_root, out, prepare) => {
    await prepare();
    const path = join(out, "train-0002.pack"), bytes = await Deno.readFile(path);
    await Deno.writeFile(path, bytes.map((byte, i) => i === 500 ? byte ^ 1 : byte));
    await assertRejects(
      () => readRgb(`${path}#1`),
      CyclopsError,
      `image 1 of the pack ${path}: its checksum differs`,
    );
    await readRgb(`${path}#3`);
    await Deno.writeFile(path, bytes.subarray(0, 900));
    await assertRejects(() => readRgb(`${path}#3`), CyclopsError, "it is truncated");
    await assertRejects(() => readRgb(`${path}#4`), CyclopsError, "no pack of more than 4 images");
  }));

Deno.test("laser points are prepared once and evaluate to the same numbers", async () => {
  const frames = [[10, 21], [20, 9], [40, 30]].map(([depth, y]) => ({
    scan: [...pointAt(21, y, depth), ...pointAt(9, 9, 7)],
  }));
  await withRoot(frames, async (root, pairs) => {
    await Deno.mkdir(join(root, "splits"));
    const lines = pairs.map(({ left, right }) => `${left} ${right}\n`).join("");
    await Deno.writeTextFile(join(root, "splits/test.txt"), lines);
    await Deno.writeTextFile(join(root, "splits/train.txt"), lines);
    const out = join(root, "prepared"), read = truthReader(root, "lidar");
    await prepareData(out, {
      data: root,
      split: "street",
      parts: ["test"],
      size,
      packPairs: 2,
      points: async (pair) => pair.left.includes("002.png") ? undefined : encodePoints(await read(pair)),
    });
    const { pairs: prepared } = await openDataset({ data: out, part: "test" });
    for (const i of [0, 1]) {
      const { camera, ...points } = await readTruth(out, prepared[i], "lidar");
      const { camera: whole, ...expected } = await read(pairs[i]);
      assertEquals(points, expected);
      assertEquals([camera.focalPx, camera.imageSize], [whole.focalPx, whole.imageSize]);
    }
    const disparities = { width: 1, height: 1, data: Float32Array.of(0.03) },
      protocol = { crop: "none", capM: 80 } as const;
    assertEquals(
      await evaluate({ root: out, pairs: prepared.slice(0, 2), disparities, ...protocol }),
      await evaluate({ root, pairs: pairs.slice(0, 2), disparities, ...protocol }),
    );
    await assertRejects(() => checkTruth(out, prepared, "lidar"), CyclopsError, "0000000002.bin");
    await assertRejects(() => readTruth(out, prepared[0], "lidar-z"), CyclopsError, "hold LiDAR x alone");
    await assertRejects(() => openDataset({ data: out }), CyclopsError, "it has no train part");
  });
});

Deno.test("kitti prepare makes a folder that --data accepts", () =>
  withStreet(async (root, out) => {
    const { code, out: said, err } = await task(
      ...["kitti", "prepare", root, "--split", "street", "--parts", "train", "--size", "8x16", "--out", out],
    );
    assertEquals(code, 0, err);
    assert(said.includes("7 train pairs"), said);
    assertEquals((await openDataset({ data: out })).pairs.length, 7);
  }));
