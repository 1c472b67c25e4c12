import { assert, assertEquals, assertNotEquals, assertRejects, assertThrows } from "../_assert.ts";
import { join } from "@std/path";
import sharp from "sharp";
import { CyclopsError } from "../../lib/base/errors.ts";
import { writeAtomic } from "../../lib/base/files.ts";
import { identityDifferences, openDataset } from "../../lib/data/dataset.ts";
import { writeGray16, writeRgb } from "../../lib/data/image.ts";
import { openBatches, readStereo, sequentialBatches } from "../../lib/data/loader.ts";
import { parseManifest } from "../../lib/data/manifest.ts";
import { resolveAugmentation } from "../../lib/data/augment.ts";
import { checkTruth, readTruth } from "../../lib/evaluation/truth.ts";
import { withFolder, writePairs } from "./_pairs.ts";

const HEADER = "left,right,focal_px,baseline_m";
const SIZE = { height: 8, width: 16 };

/** Writes images l0.png, r0.png … of noise and a manifest of them with more columns. */
async function writeManifest(
  root: string,
  count: number,
  header = "",
  cells: (i: number) => string = () => "",
) {
  const rows: string[] = [];
  for (let i = 0; i < count; i++) {
    for (const side of ["l", "r"]) {
      const data = Uint8Array.from(
        { length: 20 * 10 * 3 },
        (_, p) => (p * 31 + i * 57 + side.charCodeAt(0)) % 256,
      );
      await writeRgb(join(root, `${side}${i}.png`), { width: 20, height: 10, data });
    }
    rows.push(`l${i}.png,r${i}.png,100,0.5${header && `,${cells(i)}`}\n`);
  }
  const path = join(root, "pairs.csv");
  await writeAtomic(path, `${HEADER}${header && `,${header}`}\n${rows.join("")}`);
  return path;
}

Deno.test("CSV with quotes, blank lines, comments and other columns is read; so are JSON lines", () => {
  const row = { left: "a, b.png", right: "r.png", focalPx: 359.1384, baselineM: 0.537166 };
  const csv =
    `\ufeff# my rig\nLeft, right ,focal_px,source,baseline_m\r\n\r\n"a, b.png",r.png,359.1384,"say ""x""",0.537166\r\n`;
  assertEquals(parseManifest(csv, "p.csv"), [{ ...row, truth: undefined, part: undefined }]);
  const json = JSON.stringify({ left: "a, b.png", right: "r.png", focal_px: 359.1384, baseline_m: 0.537166 });
  assertEquals(parseManifest(`${json}\n`, "p.jsonl"), parseManifest(csv, "p.csv"));
  const [full] = parseManifest(`${HEADER},depth,split\nl,r,1,1,d.png,VAL`, "p.csv");
  assertEquals([full.truth, full.part], [{ kind: "depth", path: "d.png" }, "val"]);
});

Deno.test("what is wrong with a manifest is listed with its lines", () => {
  const refused = (text: string) =>
    assertThrows(() => parseManifest(text, "p.csv"), CyclopsError, "p.csv").message;
  const rows = refused(`${HEADER},disparity,depth,split\n,r,0,x,,,\nl,r,1,,a,b,tset\x1b[31m\n`);
  for (
    const said of [
      "line 2: left is empty",
      'line 2: focal_px is "0", expected a number above 0',
      'line 2: baseline_m is "x"',
      'line 3: baseline_m is ""',
      "line 3: it has both disparity and depth",
      'line 3: split is "tset\\x1b[31m", expected train, val or test',
    ]
  ) assert(rows.includes(said), `${said}\n${rows}`);
  assert(
    refused("left,right,focal,baseline\n").includes(
      "no column focal_px, baseline_m (found left, right, focal",
    ),
  );
  assert(refused(`${HEADER},left\n`).includes("names the column left twice"));
  assert(refused(`${HEADER}\nl,r,1\n`).includes("line 2 has 3 cells, expected 4"));
  assert(refused(`{"left": "l"\n`).includes("line 1 is not a JSON object"));
  assert(refused(`${HEADER}\n`).includes("it has no row"));
  assert(refused("").includes("found nothing"));
});

Deno.test("a manifest trains like a folder: pairs with their camera, gray images as color", () =>
  withFolder(async (root) => {
    const path = await writeManifest(root, 6);
    const gray = await sharp(new Uint8Array(200).fill(77), { raw: { width: 20, height: 10, channels: 1 } })
      .png()
      .toBuffer();
    for (const side of ["l", "r"]) await Deno.writeFile(join(root, `${side}0.png`), gray);
    const dataset = await openDataset({ data: path, holdout: 0 });
    assertEquals([dataset.name, dataset.root, dataset.pairs.length], ["manifest", root, 6]);
    const { left } = await readStereo(dataset, 0, SIZE);
    assert(left.every((v) => v === Math.fround(77 / 255)));
    for (const workers of [0, 1]) {
      using batches = openBatches(dataset, { size: SIZE, batch: 6, seed: 1, workers });
      const { ids } = await batches.next();
      assertEquals(ids.toSorted(), ["l0.png", "l1.png", "l2.png", "l3.png", "l4.png", "l5.png"]);
    }
    const camera = {
      focalPx: 100,
      baselineM: 0.5,
      imageSize: { width: 20, height: 10 },
      centerPx: { x: 9.5, y: 4.5 },
    };
    assertEquals(dataset.pairs.map((pair) => pair.camera), Array(6).fill(camera));
  }));

Deno.test("the split column divides a manifest, or a holdout that no training pair is part of", () =>
  withFolder(async (root) => {
    const path = await writeManifest(root, 4, "split", (i) => ["", "val", "test", "train"][i]);
    const lefts = async (options: Parameters<typeof openDataset>[0]) =>
      (await openDataset({ data: path, ...options })).pairs.map(({ left }) => left);
    assertEquals(await lefts({}), ["l0.png", "l3.png"]);
    assertEquals(await lefts({ part: "val" }), ["l1.png"]);
    assertEquals(await lefts({ part: "val", split: "test" }), ["l2.png"]);

    await writeManifest(root, 25);
    const [train, val] = [await lefts({ holdout: 0.2 }), await lefts({ part: "val", holdout: 0.2 })];
    assertEquals(val, ["l4.png", "l9.png", "l14.png", "l19.png", "l24.png"]);
    assertEquals([train.length, train.filter((left) => val.includes(left))], [20, []]);
    assertEquals((await lefts({ part: "test", holdout: 1 })).length, 25);
    await assertRejects(
      () => lefts({ part: "val", holdout: 0 }),
      CyclopsError,
      "no row belongs to val",
    );
  }));

Deno.test("true disparities and depths become depths in m; unknown stays 0", () =>
  withFolder(async (root) => {
    const path = await writeManifest(root, 2, "disparity,depth", (i) => i ? ",depth.png" : "disparity.png,");
    const data = new Uint16Array(200);
    data[21] = 256 * 5;
    for (const name of ["disparity", "depth"]) {
      await writeGray16(join(root, `${name}.png`), { width: 20, height: 10, data });
    }
    const { pairs } = await openDataset({ data: path, part: "test", side: "left", holdout: 1 });
    await checkTruth(root, pairs, "lidar");
    const disparity = await readTruth(root, pairs[0], "lidar"),
      depth = await readTruth(root, pairs[1], "dense");
    // 100 px · 0.5 m / 5 px
    assertEquals([[...disparity.xs], [...disparity.ys], [...disparity.depths]], [[1], [1], [10]]);
    assertEquals([...depth.depths], [5]);
    assertEquals(disparity.camera.focalPx, 100);
    await writeGray16(join(root, "depth.png"), { width: 2, height: 1, data: Uint16Array.of(1, 2) });
    await assertRejects(
      () => readTruth(root, pairs[1], "lidar"),
      CyclopsError,
      "it has 2×1 px, its image 20×10",
    );
    const absolute = join(root, "absolute.csv");
    await Deno.writeTextFile(
      absolute,
      `${HEADER},disparity\n${root}/l0.png,${root}/r0.png,100,0.5,${root}/disparity.png\n`,
    );
    const [pair] = (await openDataset({ data: absolute, part: "test", holdout: 1 })).pairs;
    assertEquals((await readTruth(root, pair, "lidar")).depths, disparity.depths);
    await Deno.remove(join(root, "r1.png"));
    await assertRejects(
      () => openDataset({ data: path, holdout: 0 }),
      CyclopsError,
      "1 of 4 images are absent",
    );
    await Deno.remove(join(root, "disparity.png"));
    await assertRejects(() => checkTruth(root, pairs, "lidar"), CyclopsError, "disparity.png");
  }));

Deno.test("several sources train together, the first validates, weights repeat", () =>
  withFolder(async (folder) => {
    const noise = join(folder, "noise"), other = join(folder, "other");
    const plain = await writePairs(noise, 3);
    await Deno.copyFile(join(noise, "splits", "train.txt"), join(noise, "splits", "val.txt"));
    const path = await writeManifest(other, 2);
    const data = `${noise},${path}:2`;
    const dataset = await openDataset({ data, holdout: 0 });
    assertEquals([dataset.name, dataset.root, dataset.pairs.length], ["street+manifest", noise, 3 + 2 * 2]);
    assertEquals(dataset.pairs.slice(0, 3), plain);
    assertEquals(dataset.pairs.map(({ root }) => root).slice(2), [undefined, other, other, other, other]);
    assertEquals((await openDataset({ data, part: "val" })).pairs, plain);

    const augmentation = resolveAugmentation({ augment: false });
    using batches = openBatches(dataset, { size: SIZE, batch: 7, seed: 1, augmentation, workers: 1 });
    const { ids, left } = await batches.next();
    const at = ids.indexOf("l1.png"), values = 8 * 16 * 3;
    for await (const batch of sequentialBatches(dataset, { size: SIZE, batch: 7, side: "left" })) {
      assertEquals(left.slice(at * values, (at + 1) * values), batch.left.slice(4 * values, 5 * values));
    }

    const same = (await openDataset({ data, holdout: 0 })).identity;
    assertEquals(identityDifferences(dataset.identity, same), []);
    const once = (await openDataset({ data: `${noise},${path}`, holdout: 0 })).identity;
    assertEquals(identityDifferences(dataset.identity, once), ["7 pairs then, 5 now"]);
    await Deno.writeTextFile(path, (await Deno.readTextFile(path)).replaceAll(",100,", ",120,"));
    assertNotEquals((await openDataset({ data, holdout: 0 })).identity.names, same.names);
    await assertRejects(() => openDataset({ data: `${noise},${folder}/none.csv` }), CyclopsError, "no file");
    await assertRejects(() => openDataset({ data: `${noise},` }), CyclopsError, "separated by commas");
  }));
