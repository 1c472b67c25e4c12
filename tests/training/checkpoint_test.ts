import {
  assert,
  assertEquals,
  assertGreaterOrEqual,
  assertInstanceOf,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "../_assert.ts";
import { basename, fromFileUrl, join } from "@std/path";
import { tf } from "../../lib/backend/tf.ts";
import { CyclopsError } from "../../lib/base/errors.ts";
import { float32Tensor } from "../../lib/data/safetensors.ts";
import {
  bestCheckpoint,
  cleanCheckpoints,
  findCheckpoint,
  loadCheckpoint,
  pruneCheckpoints,
  saveCheckpoint,
  SaveError,
  scanCheckpoints,
  type ValidationMetrics,
} from "../../lib/training/checkpoint.ts";
import type { Network } from "../../lib/models/network.ts";
import { restoreWeights } from "../../lib/training/weights.ts";
import { withFolder } from "../data/_pairs.ts";
import { content, facts, tensors } from "./_checkpoints.ts";

const list = async (folder: string) =>
  (await Array.fromAsync(Deno.readDir(folder))).map((e) => e.name).sort();

Deno.test("a checkpoint comes back as it was saved", () =>
  withFolder(async (folder) => {
    const saved = await saveCheckpoint(join(folder, "checkpoints"), content(400, 6, { absRel: 0.2 }));
    assertEquals(saved.folder, join(folder, "checkpoints", "step-000400"));
    assertEquals(await list(saved.folder), ["checkpoint.json", "model.safetensors", "optimizer.safetensors"]);
    const loaded = await loadCheckpoint(saved.folder);
    assertEquals(loaded.facts, saved.facts);
    assertEquals(loaded.facts, facts(400, { absRel: 0.2 }));
    assertEquals(new Map([...loaded.model].sort()), new Map([...tensors(400)].sort()));
    assertEquals(new Map([...loaded.optimizer!].sort()), new Map([...tensors(400.5)].sort()));
    assertEquals((await loadCheckpoint(saved.folder, "model")).optimizer, undefined);
  }));

Deno.test("a checkpoint of weights alone has no optimizer file", () =>
  withFolder(async (folder) => {
    const saved = await saveCheckpoint(folder, { model: tensors(1), facts: facts(1) });
    assertEquals(await list(saved.folder), ["checkpoint.json", "model.safetensors"]);
    assertEquals((await loadCheckpoint(saved.folder)).optimizer, undefined);
  }));

Deno.test("metrics that are not finite are left out", () =>
  withFolder(async (folder) => {
    const saved = await saveCheckpoint(folder, content(1, 6, { absRel: NaN, photometric: 0.1 }));
    assertEquals((await loadCheckpoint(saved.folder)).facts.metrics, { photometric: 0.1 });
  }));

Deno.test("saving a step again replaces it, and never without a whole one there", () =>
  withFolder(async (folder) => {
    await saveCheckpoint(folder, content(5, 6, { absRel: 0.3 }));
    const again = await saveCheckpoint(folder, content(5, 6, { absRel: 0.1 }));
    assertEquals(await list(folder), ["step-000005.1"]);
    await saveCheckpoint(folder, content(5));
    assertEquals(await list(folder), ["step-000005.2"]);
    assertEquals(basename(again.folder), "step-000005.1");
    // Killed before the older one was removed: the newer one counts.
    await saveCheckpoint(join(folder, "x"), content(5, 6, { absRel: 0.7 }));
    await Deno.rename(join(folder, "x", "step-000005"), join(folder, "step-000005"));
    const { whole } = await scanCheckpoints(folder);
    assertEquals(whole.map((entry) => basename(entry.folder)), ["step-000005.2"]);
  }));

Deno.test("latest and best are found in a run, a folder of checkpoints, or a checkpoint itself", () =>
  withFolder(async (run) => {
    const folder = join(run, "checkpoints");
    for (const [step, photometric] of [[1000000, 0.3], [20, 0.1], [300, 0.2]]) {
      await saveCheckpoint(folder, content(step, 6, { photometric }));
    }
    for (const path of [run, folder]) {
      assertEquals((await findCheckpoint(path)).facts.step, 1000000);
      assertEquals((await findCheckpoint(path, "best")).facts.step, 20);
    }
    assertEquals((await findCheckpoint(join(folder, "step-000300"))).facts.step, 300);
    assertEquals((await scanCheckpoints(folder)).whole.map((e) => e.facts.step), [20, 300, 1000000]);
  }));

Deno.test("the best one goes by the photometric loss, by true depths only where the run asked for that", () => {
  const entry = (step: number, metrics: ValidationMetrics, selectBy?: "abs-rel") => ({
    folder: `step-${step}`,
    facts: { ...facts(step), metrics, options: { selectBy } },
  });
  const metrics: ValidationMetrics[] = [
    { photometric: 0.2, absRel: 0.1 },
    { photometric: 0.1, absRel: 0.3 },
    { photometric: 0.1 },
  ];
  const best = (selectBy?: "abs-rel", from = 0) =>
    bestCheckpoint(metrics.slice(from).map((each, i) => entry(i, each, selectBy)))?.facts.step;
  assertEquals(best(), 1);
  assertEquals(best("abs-rel"), 1, "the last validation found no true depths");
  metrics.pop();
  assertEquals([best(), best("abs-rel")], [1, 0]);
  assertEquals(bestCheckpoint([entry(1, { rmse: 1 })]), undefined);
});

Deno.test("pruning keeps the last ones and the best one", () =>
  withFolder(async (folder) => {
    for (const [step, photometric] of [[1, 0.5], [2, 0.1], [3, 0.4], [4, 0.3], [5, 0.2]]) {
      await saveCheckpoint(folder, content(step, 6, { photometric }));
    }
    const removed = await pruneCheckpoints(folder, 2);
    assertEquals(removed.map((path) => basename(path)), ["step-000001", "step-000003"]);
    assertEquals(await list(folder), ["step-000002", "step-000004", "step-000005"]);
    assertEquals(await pruneCheckpoints(folder, 2), []);
  }));

Deno.test("what a killed process left is skipped, and cleaned up", () =>
  withFolder(async (folder) => {
    await saveCheckpoint(folder, content(1));
    const aside = join(folder, ".step-000002.99.0.part");
    await Deno.mkdir(aside);
    await Deno.writeTextFile(join(aside, "model.safetensors"), "half");
    assertEquals((await findCheckpoint(folder)).facts.step, 1);
    await cleanCheckpoints(folder);
    assertEquals(await list(folder), ["step-000001"]);
  }));

Deno.test("a damaged checkpoint is skipped for the one before, and refused by itself", () =>
  withFolder(async (folder) => {
    for (const step of [1, 2, 3, 4]) await saveCheckpoint(folder, content(step));
    const at = (step: number, name: string) => join(folder, `step-00000${step}`, name);
    await Deno.truncate(at(2, "model.safetensors"), 50);
    await Deno.remove(at(3, "optimizer.safetensors"));
    await Deno.writeTextFile(at(4, "checkpoint.json"), '{"format": 1');
    const { whole, broken } = await scanCheckpoints(folder);
    assertEquals(whole.map((entry) => entry.facts.step), [1]);
    assertEquals(broken.length, 3);
    assertEquals((await findCheckpoint(folder)).facts.step, 1);
    const refused = (step: number, said: string) =>
      assertRejects(() => loadCheckpoint(join(folder, `step-00000${step}`)), CyclopsError, said);
    await refused(2, "model.safetensors has 50 bytes");
    await refused(3, "optimizer.safetensors: no such file");
    await refused(4, "not valid JSON");
    await Deno.remove(join(folder, "step-000001"), { recursive: true });
    const error = await assertRejects(() => findCheckpoint(folder), CyclopsError, "none is usable") as Error;
    assertStringIncludes(error.message, "step-000003");
  }));

Deno.test("tensors of another checkpoint, and flipped bits, are noticed", () =>
  withFolder(async (folder) => {
    const one = await saveCheckpoint(folder, content(1)), two = await saveCheckpoint(folder, content(2));
    const path = join(two.folder, "optimizer.safetensors");
    await Deno.copyFile(join(one.folder, "optimizer.safetensors"), path);
    await assertRejects(() => loadCheckpoint(two.folder), CyclopsError, "damaged, or of another step");
    assertEquals((await loadCheckpoint(two.folder, "model")).facts.step, 2);
    const bytes = await Deno.readFile(join(one.folder, "model.safetensors"));
    bytes[bytes.length - 1] ^= 1;
    await Deno.writeFile(join(one.folder, "model.safetensors"), bytes);
    await assertRejects(() => loadCheckpoint(one.folder), CyclopsError, "model.safetensors is not the file");
    // Their sizes fit, so that only a look at the bytes tells.
    assertEquals((await scanCheckpoints(folder)).whole.map(({ facts }) => facts.step), [1, 2]);
    await saveCheckpoint(folder, content(0));
    const { whole, broken } = await scanCheckpoints(folder, true);
    assertEquals([whole.map(({ facts }) => facts.step), broken.length], [[0], 2]);
  }));

Deno.test("a checkpoint.json of another format or without its facts is refused", () =>
  withFolder(async (folder) => {
    const saved = await saveCheckpoint(folder, content(1));
    const path = join(saved.folder, "checkpoint.json");
    const json = JSON.parse(await Deno.readTextFile(path));
    const refused = async (changed: unknown, said: string) => {
      await Deno.writeTextFile(path, JSON.stringify(changed));
      await assertRejects(() => loadCheckpoint(saved.folder), CyclopsError, said);
    };
    await refused({ ...json, format: 2 }, "its format is 2, this version of Cyclops reads 1");
    await refused({ ...json, step: "1", options: null }, "lacks step, options");
    await refused({ ...json, files: {} }, "lacks files with model.safetensors");
    await refused({ ...json, files: { "model.safetensors": {} } }, "lacks size and hash");
    await refused([], "is not a JSON object");
  }));

Deno.test("a folder without checkpoints says what was expected", () =>
  withFolder(async (folder) => {
    await assertRejects(() => findCheckpoint(folder), CyclopsError, "there is none, expected a run's folder");
    await assertRejects(() => findCheckpoint(join(folder, "no")), CyclopsError, "no such folder");
  }));

Deno.test("a checkpoint that cannot be saved leaves the older ones and nothing half-made", () =>
  withFolder(async (folder) => {
    const file = join(folder, "file");
    await Deno.writeTextFile(file, "");
    const error = await assertRejects(() => saveCheckpoint(join(file, "checkpoints"), content(1)), SaveError);
    assertInstanceOf(error, CyclopsError);
    assertStringIncludes(error.message, "step-000001");
    await saveCheckpoint(folder, content(1));
    const bad = new Map([["x", float32Tensor([3], new Float32Array(2))]]);
    await assertRejects(() => saveCheckpoint(folder, { ...content(2), optimizer: bad }), RangeError);
    assertEquals(await list(folder), ["file", "step-000001"]);
  }));

Deno.test("a save error says what went wrong", () => {
  const message = (code: string) =>
    new SaveError("step-000001", Object.assign(new Error("failed"), { code })).message;
  assertStringIncludes(message("ENOSPC"), "no space left");
  assertStringIncludes(message("EROFS"), "is read-only");
  assertStringIncludes(message("EACCES"), "permission denied");
});

const LOOP = fromFileUrl(new URL("./_save_loop.ts", import.meta.url));

Deno.test("a file that cannot be written to its end leaves no broken checkpoint", () =>
  withFolder(async (folder) => {
    // A limit on the size of files fails in the middle of a write, as a full disk does.
    const script = `trap "" XFSZ; ulimit -f 500; exec "$0" run -A --quiet "$1" "$2" 1`;
    const { success, stderr } = await new Deno.Command("sh", {
      args: ["-c", script, Deno.execPath(), LOOP, folder],
    }).output();
    assertEquals(success, false);
    assertStringIncludes(new TextDecoder().decode(stderr), "SaveError: Cannot save the checkpoint");
    assertEquals(await list(folder), []);
  }));

Deno.test("kill -9 while saving leaves whole checkpoints, the last one at most one behind", () =>
  withFolder(async (folder) => {
    const args = ["run", "-A", "--quiet", LOOP, folder, "1000000"];
    for (let round = 0; round < 2; round++) {
      await using child = new Deno.Command(Deno.execPath(), { args, stdout: "piped" }).spawn();
      let said = 0;
      for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
        said = Number(text.trim().split("\n").at(-1));
        if (said >= 4 + 3 * round) break;
      }
      child.kill("SIGKILL");
      await child.status;
      const { whole, broken } = await scanCheckpoints(folder);
      assertEquals(broken, []);
      const last = whole.at(-1)!;
      assertGreaterOrEqual(last.facts.step, said);
      const { model, optimizer } = await loadCheckpoint(last.folder);
      assert(model.get("student/conv/kernel")!.data.every((v) => v === last.facts.step));
      assert(optimizer!.get("student/conv/kernel")!.data.every((v) => v === last.facts.step + 0.5));
      await cleanCheckpoints(folder);
      assertEquals((await list(folder)).filter((name) => name.startsWith(".")), []);
    }
  }));

/** A network that is nothing but variables, of zeros. */
function variables(shapes: Readonly<Record<string, number[]>>): Network {
  const entries = Object.entries(shapes).map(([name, shape]) =>
    [name, tf.variable(tf.zeros(shape))] as const
  );
  return { scope: "student", variables: new Map(entries) } as unknown as Network;
}

Deno.test("weights that fit are loaded by name", () => {
  const network = variables({ "student/conv/bias": [3], "student/conv/kernel": [2, 3] });
  restoreWeights(network, tensors(7), "x");
  for (const variable of network.variables.values()) assert(variable.dataSync().every((v) => v === 7));
  restoreWeights(variables({ "student/conv/bias": [3] }), tensors(7), "x");
});

Deno.test("weights of another architecture are refused with counts, names and a hint", () => {
  const deep = Array.from({ length: 6 }, (_, i) => [`student/deep${i}`, [1]] as const);
  const network = variables({ "student/conv/kernel": [3, 2], ...Object.fromEntries(deep) });
  const error = assertThrows(() => restoreWeights(network, tensors(1), "runs/a"), CyclopsError);
  assertEquals(
    error.message,
    "Cannot load the weights of runs/a: they belong to another architecture: 6 of 7 tensors missing " +
      "(student/deep0, student/deep1, student/deep2, student/deep3, … 2 more), " +
      "1 of another shape (student/conv/kernel is [2,3], expected [3,2]) " +
      "(use the options it was trained with, see checkpoint.json beside it)",
  );
});
