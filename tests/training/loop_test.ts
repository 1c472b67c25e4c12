import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertLess,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "../_assert.ts";
import { join } from "@std/path";
import { nativeTensorCount, selectBackend, tf } from "../../lib/backend/mod.ts";
import { CyclopsError, UsageError } from "../../lib/base/errors.ts";
import { exists } from "../../lib/base/files.ts";
import { openDataset } from "../../lib/data/dataset.ts";
import { ARCHITECTURES, countParameters, planNetwork } from "../../lib/models/architecture.ts";
import { findCheckpoint, loadCheckpoint, scanCheckpoints } from "../../lib/training/checkpoint.ts";
import { train, type TrainRecord } from "../../lib/training/loop.ts";
import { resolveTraining, type TrainingInput } from "../../lib/training/options.ts";
import { isFinished } from "../../lib/training/run.ts";
import { readMetrics } from "../../lib/training/records.ts";
import { STAGE_NAMES, type StageName, STAGES } from "../../lib/training/stages.ts";
import { loadModel } from "../../lib/training/model.ts";
import { withFolder, writePairs } from "../data/_pairs.ts";
import {
  checkpointDistance,
  checkpointNames,
  ofKind,
  records,
  recordsIn,
  testFolder,
  TINY,
  tinyStreet,
  withCache,
  withRun,
} from "./_runs.ts";

await selectBackend();

const base = await testFolder();
const street = join(base, "street"), noise = join(base, "noise");
await tinyStreet(street);
await writePairs(noise, 5, { width: 64, height: 32 });
const GIVEN = { ...TINY, data: noise };

const losses = (all: readonly TrainRecord[]) => ofKind(all, "step").map(({ step, loss }) => [step, loss]);
const folderOf = (all: readonly TrainRecord[]) => ofKind(all, "end")[0].folder!;

/** One short run of each stage after the other, to start the next one from. */
const trained = new Map<StageName, string>();
for (const stage of STAGE_NAMES.slice(0, -1)) {
  const former = STAGES[stage].from;
  const from = former ? [trained.get(former)!] : [];
  trained.set(stage, folderOf(await recordsIn(join(base, stage), { ...GIVEN, stage, steps: 1 }, { from })));
}
const startOf = (stage: StageName) => STAGES[stage].from ? [trained.get(STAGES[stage].from!)!] : [];

for (const stage of STAGE_NAMES) {
  // Everything that depends on the step is on: warm-up, decay, the gates' ramp, augmentation.
  const given = {
    ...GIVEN,
    stage,
    steps: 4,
    warmup: 3,
    cycleGradient: 0.5,
    refineGradient: 0.5,
    gradientRamp: 3,
    distillMask: true,
    freeze: stage === "teacher" ? "" : undefined,
  };
  const from = startOf(stage);
  let unbroken: Promise<TrainRecord[]> | undefined;

  for (const workers of [0, 1]) {
    Deno.test(`${stage}: a run stopped at step 2 and resumed equals an unbroken one (${workers} workers)`, () =>
      withFolder(async (folder) => {
        const options = { ...given, workers };
        const first = await recordsIn(folder, options, { from, stopAt: 2 });
        assertEquals(first.at(-1), { kind: "end", step: 2, reason: "stopped", folder: folderOf(first) });
        const second = await recordsIn(folder, options, { resume: true });
        const whole = await (unbroken ??= recordsIn(join(base, `unbroken-${stage}`), given, { from }));
        const [expected, found] = [losses(whole), [...losses(first), ...losses(second)]];
        assertEquals(found.map(([step]) => step), expected.map(([step]) => step));
        found.forEach(([, loss], i) => assertAlmostEquals(loss, expected[i][1], 1e-6));
        assertLess(await checkpointDistance(folderOf(second), folderOf(whole)), 1e-6);
        const rates = (all: TrainRecord[]) => ofKind(all, "step").map(({ learningRate }) => learningRate);
        assertEquals([...rates(first), ...rates(second)], rates(whole));
      }));
  }
}

Deno.test("a run stopped among its coarse steps equals an unbroken one, too", () =>
  withFolder(async (folder) => {
    const given = { ...GIVEN, size: "64x64", coarse: 0.5, steps: 4 };
    const whole = losses(await records(given));
    const first = await recordsIn(folder, given, { stopAt: 1 });
    const second = await recordsIn(folder, given, { resume: true, stopAt: 2 });
    const third = await recordsIn(folder, given, { resume: true });
    const found = [first, second, third].flatMap(losses);
    found.forEach(([, loss], i) => assertAlmostEquals(loss, whole[i][1], 1e-6));
    assertEquals(found.length, whole.length);
  }));

Deno.test("a run with hints stopped among its coarse steps equals an unbroken one, from its cache or without", () =>
  withFolder(async (folder) => {
    const given = {
      ...GIVEN,
      data: street,
      size: "64x64",
      coarse: 0.5,
      steps: 4,
      hints: "sgm" as const,
      workers: 1,
    };
    const cache = (name: string) => join(folder, name, "cyclops", "hints");
    const whole = await withCache(join(folder, "a"), () => recordsIn(join(folder, "whole"), given));
    assert(ofKind(whole, "step").every(({ terms }) => terms.hint! > 0));
    assertEquals((await Array.fromAsync(Deno.readDir(cache("a")))).length, 2, "a file for each pair");
    const run = join(folder, "run");
    const first = await withCache(join(folder, "b"), () => recordsIn(run, given, { stopAt: 1 }));
    const second = await withCache(
      join(folder, "a"),
      () => recordsIn(run, given, { resume: true, stopAt: 3 }),
    );
    await Deno.remove(join(folder, "b"), { recursive: true });
    const third = await withCache(join(folder, "b"), () => recordsIn(run, given, { resume: true }));
    assertEquals([first, second, third].flatMap(losses), losses(whole));
    assertEquals(await checkpointDistance(folderOf(third), folderOf(whole)), 0);
  }));

Deno.test("true hints that a pair does not have are refused before anything is trained", () =>
  withFolder(async (folder) => {
    const refused = () => recordsIn(join(folder, "run"), { ...GIVEN, hints: "truth" });
    const { message } = await assertRejects(refused, CyclopsError);
    assertStringIncludes(
      message,
      "Cannot train with --hints truth against depth maps: 7 of 7 files are missing",
    );
  }));

Deno.test("a stage without the networks it needs is refused, and leaves no folder behind", () =>
  withFolder(async (folder) => {
    const out = join(folder, "run");
    let opened = 0;
    const run = () => {
      opened++;
      return withRun(out, GIVEN, (run) => Promise.resolve(run));
    };
    const given = { ...GIVEN, stage: "distill" as const };
    const error = await assertRejects(() => records(given, { run }), UsageError);
    assertStringIncludes(error.message, "needs a trained student and backward and refine to start from");
    assertStringIncludes(error.message, "--from with a run of stage teacher");
    const only = [trained.get("half-cycle")!];
    const lacking = await assertRejects(() => records(given, { run, from: only }), UsageError);
    assertStringIncludes(lacking.message, "needs a trained backward and refine");
    assertEquals([opened, await exists(out)], [0, false]);
  }));

Deno.test("a student learns from a larger network, each from its own run", () =>
  withFolder(async (folder) => {
    const large = folderOf(
      await recordsIn(join(folder, "large"), { ...GIVEN, architecture: "lite0", steps: 1 }),
    );
    const small = trained.get("half-cycle")!;
    const given = {
      ...GIVEN,
      stage: "distill",
      teacher: "flip",
      teacherArchitecture: "lite0",
      steps: 2,
    } as const;
    for (const from of [[small, large], [large, small]]) {
      const out = join(folder, `student-${from.indexOf(small)}`);
      await recordsIn(out, given, { from, stopAt: 1 });
      const { model } = await loadCheckpoint(folderOf(await recordsIn(out, given, { from, resume: true })));
      const distance = async (other: string, name: string) => {
        const saved = (await loadCheckpoint(other)).model;
        let worst = 0;
        for (const [key, { data }] of saved) {
          const own = model.get(key.replace("student", name))!.data;
          data.forEach((value, i) => worst = Math.max(worst, Math.abs(Number(value) - Number(own[i]))));
        }
        return worst;
      };
      assertEquals(await distance(large, "teacherStudent"), 0);
      // Two updates from where it was.
      const moved = await distance(small, "student");
      assert(moved > 0 && moved < 0.01, String(moved));
    }
    const refused = async (more: TrainingInput, from: string[]) =>
      (await assertRejects(() => records({ ...given, ...more }, { from }), UsageError)).message;
    assertMatch(
      await refused({}, [small]),
      /it needs a trained lite0 student .*--from with a run of stage half-cycle/,
    );
    assertStringIncludes(await refused({}, [large]), "it needs a trained student");
    assertStringIncludes(
      await refused({ padding: "reflect", size: "64x64" }, [small, large]),
      "it was trained with padding zero and this run has reflect",
    );
    assertThrows(
      () => resolveTraining({ ...given, teacher: "refined" }),
      UsageError,
      "teacherArchitecture is lite0, stage distill and teacher refined",
    );
  }));

Deno.test("resuming on other data is refused", () =>
  withFolder(async (folder) => {
    const out = join(folder, "run"), data = join(folder, "other");
    await recordsIn(out, { ...GIVEN, steps: 2 }, { stopAt: 1 });
    await writePairs(data, 5, { width: 64, height: 32, seed: 2 });
    const error = await assertRejects(
      () => recordsIn(out, { ...GIVEN, data, steps: 2 }, { resume: true }),
      UsageError,
    );
    assertStringIncludes(error.message, "it was trained on other data (the same names but other images");
    // The same data elsewhere are the same data.
    await Deno.rename(data, join(folder, "gone"));
    await writePairs(data, 5, { width: 64, height: 32 });
    const moved = await recordsIn(out, { ...GIVEN, data, steps: 2 }, { resume: true });
    assertEquals(ofKind(moved, "end")[0].reason, "finished");
  }));

Deno.test("a batch in parts trains as the whole one does", async () => {
  const run = (accumulate: number) => records({ ...GIVEN, batch: 4, steps: 3, accumulate });
  const [whole, parts] = [losses(await run(1)), losses(await run(4))];
  whole.forEach(([, loss], i) => assertAlmostEquals(loss, parts[i][1], 1e-3));
});

Deno.test("the last checkpoints and the best by validation are kept", () =>
  withFolder(async (folder) => {
    const given = {
      ...GIVEN,
      selectBy: "abs-rel",
      data: street,
      steps: 9,
      learningRate: 0.02,
      validateEvery: 1,
      checkpointEvery: 1,
      keep: 2,
    };
    const all = await recordsIn(folder, given);
    const measured = ofKind(all, "validation");
    assertEquals(measured.map(({ step }) => step), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    const best = measured.reduce((a, b) => b.validation.absRel! < a.validation.absRel! ? b : a).step;
    const name = (step: number) => `step-00000${step}`;
    assertEquals(checkpointNames(folder), [...new Set([best, 8, 9])].sort().map(name));
    const { facts } = await findCheckpoint(folder, "best");
    assertEquals([facts.step, Object.keys(facts.metrics).sort()], [best, ["absRel", "photometric", "rmse"]]);
    assert(best < 8, `the best step is ${best}: this learning rate is no test`);
  }));

Deno.test("a best validation is saved though no checkpoint is due; without truth the photometric loss decides", () =>
  withFolder(async (folder) => {
    const data = join(folder, "data"), out = join(folder, "run");
    await tinyStreet(data);
    const { pairs } = await openDataset({ data, part: "val" });
    const { left } = pairs[0];
    const [date, drive] = left.split("/");
    await Deno.remove(join(data, date, drive, "velodyne_points"), { recursive: true });
    const all = await recordsIn(out, {
      ...GIVEN,
      data,
      steps: 5,
      learningRate: 0.02,
      validateEvery: 1,
      keep: 1,
    });
    const measured = ofKind(all, "validation").map(({ step, validation }) => ({ step, ...validation }));
    assertEquals(measured[0].absRel, undefined);
    let lowest = Infinity;
    const better = measured.filter(({ photometric }) => photometric < lowest && (lowest = photometric));
    const saved = ofKind(all, "checkpoint").map(({ step }) => step);
    assertEquals(saved, [...new Set([...better.map(({ step }) => step), 5])]);
    assertEquals((await findCheckpoint(out, "best")).facts.step, better.at(-1)!.step);
    const warnings = ofKind(all, "warning").map(({ message }) => message);
    assert(
      warnings[0].startsWith("validation measures the photometric loss alone: Cannot evaluate"),
      warnings[0],
    );
  }));

Deno.test("patience ends a run whose validations no longer improve, also when it was resumed in between", () =>
  withFolder(async (folder) => {
    // Without a learning rate every validation is as good as the first.
    const given = { ...GIVEN, data: street, steps: 9, learningRate: 0, validateEvery: 1, patience: 3 };
    const [end] = ofKind(await recordsIn(join(folder, "whole"), given), "end");
    assertEquals([end.step, end.reason, end.unimproved, end.best], [4, "finished", 3, 1]);
    assert(await isFinished(join(folder, "whole")));
    const parts = join(folder, "parts");
    await recordsIn(parts, given, { stopAt: 3 });
    assert(!await isFinished(parts));
    const rest = await recordsIn(parts, given, { resume: true });
    // What stops a run skips the validation of its step; the resumed run makes up for it.
    assertEquals(ofKind(rest, "validation").map(({ step }) => step), [3, 4]);
    const [resumed] = ofKind(rest, "end");
    assertEquals([resumed.step, resumed.reason, resumed.unimproved], [4, "finished", 3]);
  }));

Deno.test("a validation that a stop skipped can still name the best checkpoint", () =>
  withFolder(async (folder) => {
    // Learning so fast that the first validation is the best.
    const given = { ...GIVEN, data: street, steps: 3, learningRate: 0.5, warmup: 0, validateEvery: 1 };
    await recordsIn(folder, given, { stopAt: 1 });
    await recordsIn(folder, given, { resume: true });
    assertEquals((await findCheckpoint(folder, "best")).facts.step, 1);
  }));

Deno.test("overfit trains and validates on the first pairs alone, without augmentation", async () => {
  const given = { ...GIVEN, data: street, steps: 3, batch: 2, overfit: 2, validateEvery: 3 };
  const all = await records(given);
  assertEquals(ofKind(all, "start")[0].pairs, 2);
  assertEquals(ofKind(all, "validating")[0].pairs, 2);
  // First and last loss compare only at one size.
  const { augment, coarse } = resolveTraining({ ...given, size: "64x64", coarse: 0.5 });
  assertEquals([augment, coarse], [false, 0]);
});

Deno.test("a loss that is not a number ends the run, names term and batch, and is recorded", () =>
  withFolder(async (folder) => {
    const given = { ...GIVEN, learningRate: 1e20, warmup: 0, steps: 5 };
    const error = await assertRejects(() => recordsIn(folder, given), CyclopsError);
    assertStringIncludes(error.message, "Training stopped at step 1: ");
    assertStringIncludes(error.message, "is not a number, for batch 1 (seed 1): 2026_01_01/");
    const end = (await readMetrics(join(folder, "metrics.jsonl"))).at(-1)!;
    assertEquals([end.step, end.end, end.error], [1, "failed", error.message]);
  }));

Deno.test("a warning is yielded and recorded once, and a resumed run knows how long it waited", () =>
  withFolder(async (folder) => {
    // Without learning the refine network stays the student's copy.
    const given = { ...GIVEN, stage: "teacher", steps: 4, learningRate: 0 };
    const first = await recordsIn(folder, given, { from: startOf("teacher"), stopAt: 1 });
    assertEquals(ofKind(first, "warning"), []);
    const facts = join(folderOf(first), "checkpoint.json");
    const json = JSON.parse(await Deno.readTextFile(facts));
    assertEquals(json.state.diagnostics.updates, 1);
    // As version 0.1 called them.
    json.state.alarms = { ...json.state.diagnostics, updates: 100 };
    delete json.state.diagnostics;
    await Deno.writeTextFile(facts, JSON.stringify(json));
    const [warning, ...more] = ofKind(await recordsIn(folder, given, { resume: true }), "warning");
    assertEquals([warning.step, more], [2, []]);
    assertStringIncludes(warning.message, "the refine network still repeats the student (mean |difference|");
    const written = (await readMetrics(join(folder, "metrics.jsonl"))).filter((line) => "warning" in line);
    assertEquals(written, [{ step: 2, warning: warning.message }]);
  }));

Deno.test("a refine network that this version or this run would run otherwise is refused; its student loads", () =>
  withFolder(async (folder) => {
    const copy = join(folder, "teacher");
    await recordsIn(copy, { ...GIVEN, stage: "teacher", steps: 1 }, { from: startOf("teacher") });
    const checkpoint = (await findCheckpoint(copy)).folder, path = join(checkpoint, "checkpoint.json");
    const facts = JSON.parse(await Deno.readTextFile(path));
    const refused = async (
      stored: Record<string, unknown>,
      given: Record<string, unknown>,
      message: string,
    ) => {
      await Deno.writeTextFile(path, JSON.stringify({ ...facts, options: { ...facts.options, ...stored } }));
      const options = { ...GIVEN, stage: "distill", steps: 1, ...given };
      const error = await assertRejects(() => records(options, { from: [checkpoint] }), UsageError);
      assertStringIncludes(error.message, message);
    };
    await refused({}, { privilegedTeacher: true }, "privilegedTeacher false and this run has true");
    await refused({ refineHead: "scratch" }, { distill: "feat" }, "its features mean other things");
    await refused({ refineHead: "residual" }, {}, "train the teacher again");
    const model = await loadModel(checkpoint);
    assertEquals(model.networks.refine, undefined);
    assertStringIncludes(model.withoutTeacher!, "refineHead residual");
    model.dispose();
  }));

Deno.test("weights that are not finite are not saved", () =>
  withFolder(async (folder) => {
    const given = { ...GIVEN, learningRate: 1e39, warmup: 0, steps: 5, checkpointEvery: 1 };
    const error = await assertRejects(() => recordsIn(folder, given), CyclopsError);
    assertStringIncludes(error.message, "Training stopped at step 1: the weights student/");
    assert(!await exists(join(folder, "checkpoints")));
  }));

Deno.test("a run whose folder is deleted meanwhile ends with an error", () =>
  withFolder(async (folder) => {
    const out = join(folder, "run");
    const deleted = async () => {
      await withRun(out, GIVEN, async (run) => {
        for await (const { kind } of train({ options: resolveTraining(GIVEN), run })) {
          if (kind === "step") await Deno.remove(out, { recursive: true }).catch(() => {});
        }
      });
    };
    await assertRejects(deleted, CyclopsError, "its folder was deleted during the training");
    assert(!await exists(out));
  }));

Deno.test("a checkpoint whose bytes changed is skipped on resuming for the one before", () =>
  withFolder(async (folder) => {
    const given = { ...GIVEN, steps: 3, checkpointEvery: 1 };
    const path = join(folderOf(await recordsIn(folder, given)), "model.safetensors");
    const bytes = await Deno.readFile(path);
    bytes[bytes.length - 1] ^= 1;
    await Deno.writeFile(path, bytes);
    const rest = await recordsIn(folder, given, { resume: true });
    assertEquals(ofKind(rest, "step").map(({ step }) => step), [3]);
    assertStringIncludes(ofKind(rest, "warning")[0].message, "resuming from step-000002");
  }));

Deno.test("an option in a checkpoint that is not allowed is named with the file", () =>
  withFolder(async (folder) => {
    const place = folderOf(await recordsIn(folder, GIVEN)), facts = join(place, "checkpoint.json");
    const json = JSON.parse(await Deno.readTextFile(facts));
    await Deno.writeTextFile(facts, JSON.stringify({ ...json, options: { ...json.options, view: "up" } }));
    await assertRejects(
      () => loadModel(place),
      UsageError,
      `with the options in ${facts}: view is "up", expected "left" or "right"`,
    );
  }));

Deno.test("images that cannot be read end the run, but not what it learned", () =>
  withFolder(async (folder) => {
    const data = join(folder, "data"), out = join(folder, "run");
    const pairs = await writePairs(data, 4, { width: 64, height: 32 });
    const given = { ...GIVEN, data, steps: 4, cacheMib: 0 };
    let error: unknown;
    await withRun(out, given, async (run) => {
      try {
        for await (const record of train({ options: resolveTraining(given), run })) {
          if (record.kind !== "step") continue;
          for (const { left } of pairs) await Deno.truncate(join(data, left), 30);
        }
      } catch (e) {
        error = e;
      }
    });
    assert(error instanceof CyclopsError && error.message.includes(".png"), String(error));
    const { whole } = await scanCheckpoints(join(out, "checkpoints"));
    assertEquals(whole.map(({ facts }) => facts.step), [1]);
  }));

/** Puts a file where the folder of checkpoints should be: nothing can be saved until it is gone. */
function obstruct(run: string): () => void {
  const path = join(run, "checkpoints");
  Deno.mkdirSync(run, { recursive: true });
  Deno.writeTextFileSync(path, "");
  return () => Deno.removeSync(path);
}

Deno.test("training continues in memory while it cannot be saved, says so, and saves when it can", () =>
  withFolder(async (folder) => {
    const given = { ...GIVEN, steps: 5, checkpointEvery: 1 };
    const expected = losses(await records(given));
    await withRun(folder, given, async (run) => {
      const clear = obstruct(folder);
      const all: TrainRecord[] = [];
      for await (const record of train({ options: resolveTraining(given), run })) {
        all.push(record);
        if (record.kind === "step" && record.step === 3) clear();
      }
      losses(all).forEach(([, loss], i) => assertAlmostEquals(loss, expected[i][1], 1e-6));
      const warnings = ofKind(all, "warning");
      assertEquals(warnings.map(({ step }) => step), [1, 2]);
      assertStringIncludes(warnings[0].message, "Cannot save the checkpoint");
      assertStringIncludes(warnings[0].message, "training continues in memory and tries again");
      assertEquals(ofKind(all, "checkpoint").map(({ step }) => step), [3, 4, 5]);
      assertEquals(checkpointNames(folder), ["step-000004", "step-000005"]);
    });
    const lines = await readMetrics(join(folder, "metrics.jsonl"));
    assertEquals(lines.filter((line) => "warning" in line).map(({ step }) => step), [1, 2]);
  }));

Deno.test("a run whose last save fails, too, ends with an error that says what is lost", () =>
  withFolder(async (folder) => {
    const given = { ...GIVEN, steps: 2, checkpointEvery: 1 };
    await withRun(folder, given, async (run) => {
      obstruct(folder);
      const error = await assertRejects(() => records(given, { run }), CyclopsError);
      assertStringIncludes(error.message, "Cannot save the checkpoint");
      assertStringIncludes(error.message, "what was trained is lost: fix it, then continue with --resume");
      assert(!error.message.includes("tries again"), error.message);
    });
    assertEquals((await readMetrics(join(folder, "metrics.jsonl"))).at(-1)!.end, "failed");
  }));

/** A file system of one MiB at a folder; not everybody may mount one. */
async function mountSmall(folder: string): Promise<boolean> {
  try {
    const { success } = await new Deno.Command("mount", {
      args: ["-t", "tmpfs", "-o", "size=1m", "cyclops-test", folder],
      stderr: "null",
    }).output();
    return success;
  } catch {
    return false;
  }
}
const unmount = (folder: string) => new Deno.Command("umount", { args: [folder] }).output();

const small = join(base, "small");
await Deno.mkdir(small);
const mayMount = await mountSmall(small);
if (mayMount) await unmount(small);

Deno.test({
  name: "a full disk: training says so and continues, nothing half-written is left, the end says what to do",
  ignore: !mayMount,
  fn: async () => {
    await mountSmall(small);
    try {
      // A checkpoint of 9 MiB on a disk of one; the event file and the records fit.
      const given = { ...GIVEN, steps: 3, checkpointEvery: 1, tensorboard: true };
      const out = join(small, "run");
      const all: TrainRecord[] = [];
      await withRun(out, given, async (run) => {
        const error = await assertRejects(async () => {
          for await (const record of train({ options: resolveTraining(given), run })) all.push(record);
        }, CyclopsError);
        assertStringIncludes(error.message, "no space left on the disk");
        assertStringIncludes(error.message, "--resume");
      });
      assertEquals(losses(all).length, 3);
      assert(ofKind(all, "warning").some(({ message }) => message.includes("no space left on the disk")));
      assertEquals(checkpointNames(out), []);
    } finally {
      await unmount(small);
    }
  },
});

Deno.test("breaking out early frees all memory and says in the file that the run was stopped", () =>
  withFolder(async (folder) => {
    const [tensors, handles] = [tf.memory().numTensors, nativeTensorCount()];
    await withRun(folder, GIVEN, async (run) => {
      const options = resolveTraining({ ...GIVEN, tensorboard: true });
      for await (const { kind } of train({ options, run })) if (kind === "step") break;
    });
    assertEquals([tf.memory().numTensors, nativeTensorCount()], [tensors, handles]);
    assertEquals((await readMetrics(join(folder, "metrics.jsonl"))).at(-1)!.end, "stopped");
  }));

Deno.test("the records of a run: start, means of ten steps, validations, end; time adds up over sessions", () =>
  withFolder(async (folder) => {
    const given = { ...GIVEN, data: street, steps: 14, validateEvery: 12 };
    await recordsIn(folder, given, { stopAt: 11 });
    await recordsIn(folder, given, { resume: true });
    const lines = await readMetrics(join(folder, "metrics.jsonl"));
    const kinds = ["start", "loss", "validation", "end"];
    assertEquals(
      lines.map((line) => `${line.step} ${kinds.find((kind) => kind in line)}`),
      [
        "0 start",
        "10 loss",
        "11 loss",
        "11 end",
        "11 start",
        "12 validation",
        "12 loss",
        "14 validation",
        "14 loss",
        "14 end",
      ],
    );
    const parameters = countParameters(planNetwork(ARCHITECTURES.quick, 3));
    const { time: _, ...start } = lines[0];
    assertEquals(start, {
      step: 0,
      start: { stage: "half-cycle", steps: 14, pairs: 2, batch: 2, parameters },
    });
    assertEquals(lines.filter((line) => "end" in line).map(({ end }) => end), ["stopped", "finished"]);
    // The end's own time includes the saving, which what was saved cannot know of.
    const going = lines.filter((line) => !("end" in line));
    const seconds = going.flatMap((line) => typeof line.seconds === "number" ? [line.seconds] : []);
    assertEquals(seconds, [...seconds].sort((a, b) => a - b));
    const { facts } = await loadCheckpoint((await findCheckpoint(folder)).folder, "model");
    assert(Number(facts.state?.seconds) > 0 && Number(facts.state?.seconds) <= Number(lines.at(-1)!.seconds));
  }));
