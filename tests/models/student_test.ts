import {
  assert,
  assertEquals,
  assertLess,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "../_assert.ts";
import { join } from "@std/path";
import { selectBackend, tf } from "../../lib/backend/mod.ts";
import { CyclopsError } from "../../lib/base/errors.ts";
import { writeAtomic } from "../../lib/base/files.ts";
import { encodeSafetensors, parseSafetensors, type StoredTensor } from "../../lib/data/safetensors.ts";
import { predictDisparity } from "../../lib/evaluation/predict.ts";
import { CANONICAL_RIG } from "../../lib/geometry/camera.ts";
import { createStudent, parseStudent } from "../../lib/models/student.ts";
import { loadCheckpoint, saveCheckpoint } from "../../lib/training/checkpoint.ts";
import { loadModel, saveModel } from "../../lib/training/model.ts";
import { withFolder } from "../_folder.ts";
import { untrainedRun } from "../_student.ts";
import { distance, uniform } from "../_tensors.ts";
import { tinyStreet } from "../training/_runs.ts";

await selectBackend();

const ABOUT = { license: "MIT", data: "noise", commit: "abc" };

for (
  const [what, given] of Object.entries(
    {
      "quick, left view": {},
      "quick, right view, reflected": { view: "right", padding: "reflect", size: "64x64" },
      "lite0, reflected, canonical": {
        architecture: "lite0",
        padding: "reflect",
        size: "64x128",
        camera: "canonical",
      },
    } as const,
  )
) {
  Deno.test(`${what}: the student of a model file predicts what the run's does, here and on plain TensorFlow.js`, () =>
    withFolder(async (folder) => {
      const run = await untrainedRun(folder, given), path = join(folder, "tiny.safetensors");
      const info = await saveModel(run, path, ABOUT);
      const bytes = await Deno.readFile(path);
      const file = parseStudent(bytes, path);
      assertEquals(file.info, info);
      const [ofRun, ofFile] = [await loadModel(run), await loadModel(path)];
      assertEquals(ofFile.info, info);
      const { height, width } = info.size;
      const before = tf.memory().numTensors;
      const portable = createStudent(tf, file);
      tf.tidy(() => {
        const images = uniform([2, height, width, 3], 5);
        const of = ({ networks, options: { view } }: typeof ofRun) =>
          predictDisparity(networks, images, { size: info.size, view }).dataSync();
        // float16 has 11 bits.
        assertLess(distance(of(ofRun), of(ofFile)), 1e-3);
        const disparity = portable.predict(images);
        assertEquals(disparity.shape, [2, height, width, 1]);
        assertLess(distance(disparity.dataSync(), of(ofFile)), 1e-5);
      });
      portable.dispose();
      assertEquals(tf.memory().numTensors, before);
      [ofRun, ofFile].forEach((model) => model.dispose());
    }));
}

Deno.test("the metadata are what a reader in Python needs; half the bytes of float32", () =>
  withFolder(async (folder) => {
    const run = await untrainedRun(folder, { camera: "canonical" }), path = join(folder, "kitti.safetensors");
    await saveModel(run, path, ABOUT);
    const bytes = await Deno.readFile(path);
    const { metadata, tensors } = parseSafetensors(bytes);
    assertEquals(metadata, {
      format: "cyclops-student-1",
      name: "kitti",
      architecture: "quick",
      size: "32x64",
      view: "left",
      camera: "canonical",
      padding: "zero",
      head_channels: "2",
      max_disparity: "0.3",
      rig_focal_per_width: String(CANONICAL_RIG.focal),
      rig_baseline_m: "0.532725",
      ...ABOUT,
    });
    assert([...tensors.values()].every(({ dtype }) => dtype === "F16"));
    const { model } = await loadCheckpoint(join(run, "checkpoints/step-000001"));
    const weights = [...model.values()].reduce((sum, { data }) => sum + data.length, 0);
    assertLess(bytes.length, 2 * weights + 20_000);
  }));

Deno.test("the rig is that of the training data; without these it is not known, unless it is given", () =>
  withFolder(async (folder) => {
    const data = join(folder, "street"), path = join(folder, "m.safetensors");
    await tinyStreet(data);
    const run = await untrainedRun(join(folder, "run"), { data });
    const { rig } = await saveModel(run, path, ABOUT);
    assertEquals(Math.round(rig!.baselineM * 100), 54);
    await Deno.remove(data, { recursive: true });
    assertEquals((await saveModel(run, path, ABOUT)).rig, undefined);
    const own = { focal: 0.8, baselineM: 0.12 };
    await saveModel(run, path, { ...ABOUT, rig: own });
    assertEquals(parseStudent(await Deno.readFile(path), path).info.rig, own);
  }));

Deno.test("what is not a sound model file is refused: format, options, shapes, NaN; a run with NaN, too", () =>
  withFolder(async (folder) => {
    const run = await untrainedRun(join(folder, "run")), path = join(folder, "m.safetensors");
    await saveModel(run, path, ABOUT);
    const { tensors, metadata } = parseSafetensors(await Deno.readFile(path));
    const refused = async (
      change: Record<string, string>,
      changed: Record<string, StoredTensor>,
      said: string,
    ) => {
      await writeAtomic(
        path,
        encodeSafetensors(new Map([...tensors, ...Object.entries(changed)]), { ...metadata, ...change }),
      );
      const { message } = await assertRejects(() => loadModel(path), CyclopsError, said);
      assertStringIncludes(message, path);
    };
    const bias = "student/head/0/bias";
    await refused({ format: "other" }, {}, "its format is other, expected cyclops-student-1");
    await refused({ architecture: "vgg19" }, {}, "its architecture is vgg19, expected quick or vgg");
    await refused({ size: "30x64" }, {}, "multiples of 32 px");
    await refused({ max_disparity: "0.5" }, {}, "its max_disparity is 0.5, expected 0.3");
    const nan = { dtype: "F16", shape: [2], data: Uint16Array.of(0x3c00, 0x7e00) } as const;
    await refused({}, { [bias]: nan }, `the weights ${bias} are not finite`);
    await refused(
      {},
      { [bias]: { ...nan, shape: [1], data: Uint16Array.of(0) } },
      `${bias} is [1], expected [2]`,
    );
    const file = parseStudent(await Deno.readFile(path), path);
    const error = assertThrows(() => createStudent(tf, file), CyclopsError);
    assertStringIncludes(error.message, "head/0/bias is [1], expected [2]");

    const nanRun = await untrainedRun(join(folder, "nan"), {});
    const saved = join(nanRun, "checkpoints/step-000001");
    const { facts, model } = await loadCheckpoint(saved);
    (model.get(bias)!.data as Float32Array)[0] = NaN;
    await saveCheckpoint(join(nanRun, "checkpoints"), { facts: { ...facts, step: 2 }, model });
    await assertRejects(() => loadModel(nanRun, "latest"), CyclopsError, "not finite: its training failed");
    await assertRejects(() => saveModel(nanRun, path, ABOUT, "latest"), CyclopsError, "not finite in half");
    assertStringIncludes(
      (await assertRejects(() => loadModel("no-such-model"), CyclopsError)).message,
      "no such folder",
    );
  }));

Deno.test("the portable student and what it imports use nothing of Deno or Node", async () => {
  const path = join(import.meta.dirname!, "../../lib/models/student.ts");
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json", path] }).output();
  type Module = { specifier: string; dependencies?: { code?: { specifier: string } }[] };
  const modules = new Map(
    (JSON.parse(new TextDecoder().decode(stdout)).modules as Module[]).map((m) => [m.specifier, m]),
  );
  const seen = new Set<string>();
  const visit = (specifier: string) => {
    if (seen.has(specifier)) return;
    seen.add(specifier);
    for (const { code } of modules.get(specifier)?.dependencies ?? []) if (code) visit(code.specifier);
  };
  visit(new URL(`file://${path}`).href);
  const names = [...seen].map((specifier) => specifier.replace(/^.*\/lib\//, "")).sort();
  assertEquals(names, [
    "base/errors.ts",
    "base/options.ts",
    "data/safetensors.ts",
    "models/architecture.ts",
    "models/student.ts",
  ]);
  for (const name of names) {
    const text = await Deno.readTextFile(join(path, "../..", name));
    assert(!/\bDeno\.(?!errors)|\bprocess\.|node:/.test(text.replace(/\/\*\*[^]*?\*\//g, "")), name);
  }
});
