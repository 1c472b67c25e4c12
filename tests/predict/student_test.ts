import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertGreater,
  assertLess,
  assertRejects,
  assertStringIncludes,
} from "../_assert.ts";
import { join, toFileUrl } from "@std/path";
import sharp from "sharp";
import { selectBackend, tf } from "../../lib/backend/mod.ts";
import { CyclopsError, UsageError } from "../../lib/base/errors.ts";
import { readIfThere } from "../../lib/base/files.ts";
import { JUPYTER_DISPLAY } from "../../lib/charts/display.ts";
import { exifFocal } from "../../lib/data/exif.ts";
import {
  decodeRgb,
  encodeRgbPng,
  readGray16,
  readHeader,
  readRgb,
  type RgbImage,
} from "../../lib/data/image.ts";
import { readNpy } from "../../lib/data/npy.ts";
import { predictDataset } from "../../lib/evaluation/predict.ts";
import { combineFlipped, mapOf } from "../../lib/evaluation/protocol.ts";
import { openDataset } from "../../lib/data/dataset.ts";
import { loadStudent } from "../../lib/predict/mod.ts";
import { Student } from "../../lib/predict/student.ts";
import { findStudent, parseStudent } from "../../lib/models/student.ts";
import { loadModel, saveModel } from "../../lib/training/model.ts";
import { writePairs } from "../data/_pairs.ts";
import { untrainedRun } from "../_student.ts";
import { distance } from "../_tensors.ts";
import { testFolder } from "../training/_runs.ts";

await selectBackend();

const base = await testFolder(), file = join(base, "tiny.safetensors");
await saveModel(await untrainedRun(join(base, "run"), { camera: "canonical" }), file, { license: "MIT" });
const photo: RgbImage = {
  width: 90,
  height: 40,
  data: Uint8Array.from({ length: 90 * 40 * 3 }, (_, i) => (i * 7 + (i >> 5) * 31) & 255),
};
const path = join(base, "photo.png");
await Deno.writeFile(path, await encodeRgbPng(photo));

Deno.test("a path, a URL, a file's bytes and pixels with or without alpha give one depth", async () => {
  using student = await loadStudent(file);
  const expected = await student.predict(path);
  assertEquals([expected.name, expected.size], ["photo", { width: 90, height: 40 }]);
  assertEquals(expected.disparity.data.length, 90 * 40);
  const alpha = new Uint8ClampedArray(90 * 40 * 4);
  for (let i = 0; i < 90 * 40; i++) alpha.set([...photo.data.subarray(i * 3, i * 3 + 3), 77], i * 4);
  for (
    const [what, given] of Object.entries({
      url: toFileUrl(path),
      bytes: await Deno.readFile(path),
      pixels: photo,
      alpha: { ...photo, data: alpha },
    })
  ) {
    const { prediction } = await student.predict(given);
    assertLess(distance(prediction.data, expected.prediction.data), 1e-6, what);
  }
  await using server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    async (request) =>
      request.url.endsWith("photo.png")
        ? new Response(await Deno.readFile(path))
        : new Response(null, { status: 404 }),
  );
  const url = `http://127.0.0.1:${server.addr.port}`;
  assertEquals((await student.predict(`${url}/photo.png`)).prediction.data, expected.prediction.data);
  const error = await assertRejects(() => student.predict(`${url}/none.png`), CyclopsError);
  assertStringIncludes(error.message, "none.png: no such file");
});

Deno.test("the prediction is the data set's, flipped or not; memory stays flat", async () => {
  const data = join(base, "pairs"), [pair] = await writePairs(data, 1, { width: 64, height: 32 });
  const run = await untrainedRun(join(base, "fraction"));
  const model = await loadModel(run), dataset = await openDataset({ data, part: "train", side: "left" });
  const { plain, flipped } = await predictDataset(model.networks, dataset, { size: model.size, flip: true });
  model.dispose();
  const before = tf.memory().numTensors;
  const student = await loadStudent(run), image = join(data, pair.left);
  const [one, both] = [await student.predict(image), await student.predict(image, { flip: true })];
  assertLess(distance(one.disparity.data, plain.data), 1e-6);
  assertLess(distance(both.disparity.data, combineFlipped(mapOf(plain, 0), mapOf(flipped!, 0)).data), 1e-6);
  assertGreater(distance(one.disparity.data, both.disparity.data), 1e-5);
  student.dispose();
  assertEquals(tf.memory().numTensors, before);
});

Deno.test("many photographs, compiled and in batches, are what each is alone; a bad one does not stop them", async () => {
  using student = await loadStudent(file);
  const bytes = await Deno.readFile(path);
  const photos = [...Array(9).fill(path), "nowhere.png", bytes.subarray(0, 200), bytes];
  const one = (await student.predict(path)).prediction.data;
  const found: (string | number)[] = [];
  for await (const { photo, depth, error } of student.predictAll(photos, {}, { batch: 2 })) {
    assert(photo === photos[found.length]);
    found.push(depth ? distance(depth.prediction.data, one) : error.message);
  }
  for (const [i, value] of found.entries()) {
    if (i === 9) assertStringIncludes(String(value), "nowhere.png: no such file");
    else if (i === 10) assertStringIncludes(String(value), "truncated or damaged");
    else assertLess(value as number, 1e-5);
  }
  assertEquals(found.length, 12);

  // Who stops early leaves nothing behind: what was begun is waited for.
  const before = tf.memory().numTensors;
  for await (const { depth } of student.predictAll(photos, {}, { batch: 2 })) if (depth) break;
  assertEquals(tf.memory().numTensors, before);
});

Deno.test("meters: the camera that is given, EXIF's, or the training rig's, and which it was", async () => {
  using student = await loadStudent(file);
  const assumed = await student.predict(path);
  assertAlmostEquals(assumed.camera!.focalPx, 0.580948 * 90, 1e-3);
  assertEquals(
    assumed.basis,
    "depth in m = focal length 52 px (assumed, of the rig that tiny was trained with) · " +
      "baseline 0.5327 m (of the rig that tiny was trained with) / disparity in px",
  );
  const { disparity, metres } = assumed;
  assertAlmostEquals(metres.data[5], 0.580948 * 0.532725 / disparity.data[5], 1e-3);

  const jpeg = await sharp(photo.data, { raw: { width: 90, height: 40, channels: 3 } })
    .withExif({ IFD2: { FocalLengthIn35mmFilm: "26" } }).jpeg().toBuffer();
  const exif = await student.predict(new Uint8Array(jpeg));
  assertAlmostEquals(exif.camera!.focalPx, 26 / Math.hypot(36, 24) * Math.hypot(90, 40), 1e-6);
  assertStringIncludes(exif.basis, "focal length 59 px (EXIF)");
  const lens = await sharp(photo.data, { raw: { width: 90, height: 40, channels: 3 } }).withExif({
    IFD2: {
      FocalLength: "50/1",
      FocalPlaneXResolution: "25/1", // px per mm
      FocalPlaneResolutionUnit: "4",
    },
  }).jpeg().toBuffer();
  assertAlmostEquals((await student.predict(new Uint8Array(lens))).camera!.focalPx, 50 * 25, 1e-6);
  const header = (await readHeader(lens)).exif;
  assertAlmostEquals(exifFocal(header, { width: 40, height: 90 / 2 })!, 50 * 25 / 2, 1e-6);
  assertEquals(exifFocal(header, { width: 1, height: 9 }), undefined);
  assertEquals(exifFocal(header!.subarray(0, 30), photo), undefined);

  // A canonical network predicts for one baseline: twice the baseline is twice the disparity, at the same depth.
  const camera = { focalPx: 70, baselineM: 2 * 0.532725 };
  const given = await student.predict(path, { camera });
  assertStringIncludes(given.basis, "focal length 70 px (given) · baseline 1.0655 m (given)");
  assertAlmostEquals(given.disparity.data[7], 2 * disparity.data[7], 1e-6);
  assertAlmostEquals(given.metres.data[7], 70 / (0.580948 * 90) * metres.data[7], 1e-3);
  // Calibrated at another size.
  const kitti = { ...camera, focalPx: 140, imageSize: { width: 180, height: 80 } };
  assertAlmostEquals((await student.predict(path, { camera: kitti })).camera!.focalPx, 70, 1e-6);

  using unknown = await loadStudent(await untrainedRun(join(base, "unknown"), { data: "nowhere" }));
  const depth = await unknown.predict(path);
  const error = await assertRejects(() => depth.encode("depth"), UsageError);
  assertStringIncludes(error.message, "the rig that unknown was trained with are not known");
  assert((await unknown.predict(path, { camera })).metres.data.every((z) => z > 0));
});

Deno.test("a photograph taken upright is predicted upright", async () => {
  using student = await loadStudent(file);
  const turned = sharp(photo.data, { raw: { width: 90, height: 40, channels: 3 } }).rotate(90);
  const [obeyed, not] = await Promise.all(
    [8, 1].map(async (orientation) =>
      student.predict(new Uint8Array(await turned.clone().withMetadata({ orientation }).png().toBuffer()))
    ),
  );
  assertEquals([obeyed.size, not.size], [{ width: 90, height: 40 }, { width: 40, height: 90 }]);
  const { data } = (await student.predict(path)).prediction;
  assertLess(10 * distance(obeyed.prediction.data, data), distance(not.prediction.data, data));
  assertEquals(await obeyed.readImage(), photo);
});

Deno.test("files: each format says the same, in its unit", async () => {
  using student = await loadStudent(file);
  const depth = await student.predict(path);
  const out = (name: string) => join(base, "out", name);
  await depth.save(out("a.npy"));
  await depth.save(out("a_depth.npy"), { format: "depth" });
  await depth.save(out("a16.png"), { format: "png16" });
  const [px, m] = [await readNpy(out("a.npy")), await readNpy(out("a_depth.npy"))];
  assertEquals([px.shape, m.shape], [[40, 90], [40, 90]]);
  assertLess(distance(px.data, depth.disparity.data.map((d) => d * 90)), 1e-5);
  const { focalPx, baselineM } = depth.camera!;
  assertLess(distance(m.data, px.data.map((d) => focalPx * baselineM / d)), 1e-3);
  assertLess(distance([...(await readGray16(out("a16.png"))).data].map((v) => v / 256), px.data), 1 / 500);

  await depth.save(out("a.png"));
  const map = await readRgb(out("a.png"));
  assertEquals([map.width, map.height], [90, 40]);
  await depth.save(out("side.png"), { layout: "side-by-side" });
  const side = await readRgb(out("side.png"));
  assertEquals([side.width, side.height], [180, 40]);
  assertEquals(side.data.subarray(0, 270), photo.data.subarray(0, 270));
  assertEquals(side.data.subarray(270, 540), map.data.subarray(0, 270));
  await depth.save(out("over.png"), { layout: "overlay" });
  const over = await readRgb(out("over.png"));
  assertEquals(over.data[100], (map.data[100] + photo.data[100] + 1) >> 1);
  const gray = await depth.picture({ colors: "grey", range: [0, 2 * Math.max(...px.data)] });
  assertAlmostEquals(gray.data[3], 255 * px.data[1] / (2 * Math.max(...px.data)), 1);

  await depth.save(out("a.ply"), { points: 500, maxDepth: 1e6 });
  assertStringIncludes(new TextDecoder("latin1").decode(await Deno.readFile(out("a.ply"))), "element vertex");
  assert((await depth.pointCloud({ points: 1e6, maxDepth: 1e6 })).count > 1000);
  assertEquals((await depth.pointCloud({ maxDepth: 1e-3 })).count, 0);
  await depth.save(out("a.glb"), { maxDepth: 1e6 });
  assertEquals(new TextDecoder().decode((await Deno.readFile(out("a.glb"))).subarray(0, 4)), "glTF");
  const error = await assertRejects(() => depth.save(out("a.tiff")), UsageError);
  assertStringIncludes(error.message, 'its name ends in ".tiff", expected .png, .npy, .ply or .glb');
});

Deno.test("disparities too large for a 16-bit PNG are counted", async () => {
  using student = await loadStudent(file);
  const wide = await student.predict({ width: 4000, height: 8, data: new Uint8Array(4000 * 8 * 3) });
  const share = wide.disparity.data.filter((d) => d * 4000 > 65535 / 256).length / 32_000;
  assertEquals(wide.clipped, share);
  assertEquals((await student.predict(path)).clipped, 0);
});

Deno.test("in a notebook it shows the photograph, its disparity and what meters are made of", async () => {
  using student = await loadStudent(file);
  const bundle = await (await student.predict(path))[JUPYTER_DISPLAY]();
  const bytes = Uint8Array.fromBase64((bundle["image/png"] ?? bundle["image/jpeg"]) as string);
  assert((await decodeRgb(bytes)).height > 40);
  assertStringIncludes(String(bundle["text/plain"]), "photo");
});

Deno.test("models that ship are found by name; the first one there is the default", async () => {
  const shipped = toFileUrl(join(base, "models") + "/");
  assertEquals(await findStudent(undefined, shipped, readIfThere), undefined);
  const put = async (name: string) => {
    await Deno.mkdir(shipped, { recursive: true });
    await Deno.copyFile(file, new URL(`${name}.safetensors`, shipped));
  };
  await put("street");
  assertStringIncludes((await findStudent(undefined, shipped, readIfThere))!.path, "street.safetensors");
  await put("kitti");
  assertStringIncludes((await findStudent(undefined, shipped, readIfThere))!.path, "kitti.safetensors");
  assertStringIncludes((await findStudent("street", shipped, readIfThere))!.path, "street.safetensors");
  assertEquals(await findStudent("none", shipped, readIfThere), undefined);
});

Deno.test("every model that ships fits 12 MiB, loads, and has its line in the model card", async () => {
  const folder = join(import.meta.dirname!, "../../data/models");
  const card = await Deno.readTextFile(join(folder, "README.md"));
  for await (const { name } of Deno.readDir(folder)) {
    if (!name.endsWith(".safetensors")) continue;
    assertLess((await Deno.stat(join(folder, name))).size, 12 * 2 ** 20);
    const { info } = parseStudent(await Deno.readFile(join(folder, name)), name);
    assertEquals(`${info.name}.safetensors`, name);
    assert(info.rig && info.license !== "not given" && info.commit !== "not given", name);
    const line = card.split("\n").find((line) => line.startsWith(`| \`${info.name}\` |`)) ?? "";
    for (const said of [info.license, info.commit.slice(0, 7)]) assertStringIncludes(line, said);
  }
});

Deno.test("what cannot be predicted is refused: too large, no teacher, a mirror of the right view", async () => {
  using student = await loadStudent(file);
  const huge = `<svg xmlns="http://www.w3.org/2000/svg" width="20000" height="20000"></svg>`;
  const error = await assertRejects(() => student.predict(new TextEncoder().encode(huge)), CyclopsError);
  assertStringIncludes(error.message, "more than 100 megapixels");
  await assertRejects(() => student.predict({ width: 2, height: 2, data: new Uint8Array(5) }), CyclopsError);
  await assertRejects(() => loadStudent(file, { network: "teacher" }), UsageError, "holds only a student");
  using right = await loadStudent(await untrainedRun(join(base, "right"), { view: "right" }));
  await assertRejects(() => right.predict(path, { flip: true }), UsageError, "sees the right view");
  const teacher = await loadStudent(
    await untrainedRun(join(base, "teacher"), { stage: "teacher" }, ["student", "backward", "refine"]),
    { network: "teacher" },
  );
  assert(teacher instanceof Student);
  const depth = await teacher.predict(path);
  assert(depth.disparity.data.every((d) => d > 0 && d < 0.3));
  teacher.dispose();
});
