import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertLess,
  assertRejects,
  assertStringIncludes,
} from "../_assert.ts";
import { join } from "@std/path";
import { selectBackend } from "../../lib/backend/mod.ts";
import { CyclopsError, UsageError } from "../../lib/base/errors.ts";
import { exists } from "../../lib/base/files.ts";
import { setProgressSink } from "../../lib/base/terminal.ts";
import { toFloat32 } from "../../lib/data/safetensors.ts";
import { findCheckpoint, loadCheckpoint, readSafetensors } from "../../lib/training/checkpoint.ts";
import type { TrainRecord } from "../../lib/training/loop.ts";
import { saveModel } from "../../lib/training/model.ts";
import { resolveTraining } from "../../lib/training/options.ts";
import { openRun, readRunOptions } from "../../lib/training/run_folder.ts";
import { isFinished, runAllStages, runStage, type StageRunOptions } from "../../lib/training/run.ts";
import { STAGE_NAMES } from "../../lib/training/stages.ts";
import { withFolder, writePairs } from "../data/_pairs.ts";
import { checkpointDistance, ofKind, testFolder, TINY } from "./_runs.ts";

await selectBackend();
setProgressSink(() => ({ line() {}, log() {} }));

const base = await testFolder();
const data = join(base, "noise");
await writePairs(data, 3, { width: 64, height: 32 });
const given = { ...TINY, data, steps: 2 };

/** Trains quietly, and collects every record. */
async function told(
  run: (options: StageRunOptions) => Promise<unknown>,
  options: StageRunOptions,
  stopAt?: (record: TrainRecord, count: number) => boolean,
): Promise<TrainRecord[]> {
  const all: TrainRecord[] = [];
  const controller = new AbortController();
  await run({
    ...options,
    signal: controller.signal,
    onRecord: (record) => {
      all.push(record);
      if (stopAt?.(record, all.length)) controller.abort();
    },
  });
  return all;
}

const losses = (all: readonly TrainRecord[]) => ofKind(all, "step").map(({ loss }) => loss);
const latest = async (run: string) => (await findCheckpoint(run)).folder;

/** A row that nothing interrupted. */
const row = join(base, "row");
const rowLosses = losses(await told(runAllStages, { out: row, overrides: given }));

Deno.test("all stages in a row: each starts from the former's weights", async () => {
  assertEquals(rowLosses.length, 2 * STAGE_NAMES.length);
  const [cycle, teacher, distill] = await Promise.all(
    ["cycle", "teacher", "distill"].map(async (stage) =>
      (await loadCheckpoint(await latest(join(row, stage)))).model
    ),
  );
  // What a stage freezes is the former stage's to the bit.
  for (const [name, { data }] of cycle) {
    if (name.startsWith("student/")) assertEquals(teacher.get(name)!.data, data);
  }
  for (const [name, { data }] of teacher) {
    const now = name.replace(/^student\//, "teacherStudent/");
    assertEquals(distill.get(now)!.data, data, now);
  }
  // What it trains starts there, too: a stage with new weights has another first loss.
  const former = join(row, "half-cycle");
  const alone = async (from: string[], out: string) =>
    losses(await told(runStage, { out: join(base, out), overrides: { ...given, stage: "cycle" }, from }));
  const [continued, fresh] = [await alone([former], "continued"), await alone([], "fresh")];
  assertAlmostEquals(continued[0], rowLosses[2], 1e-6);
  assert(Math.abs(fresh[0] - rowLosses[2]) > 1e-4, `${fresh[0]} against ${rowLosses[2]}`);
});

Deno.test("a row that was stopped continues there, with its own options", () =>
  withFolder(async (folder) => {
    const out = join(folder, "row");
    let updates = 0;
    const first = await told(
      runAllStages,
      { out, overrides: given },
      ({ kind }) => kind === "step" && ++updates === 5,
    );
    assertEquals(losses(first).length, 5);
    assertEquals([await isFinished(join(out, "cycle")), await isFinished(join(out, "teacher"))], [
      true,
      false,
    ]);
    assert(!await exists(join(out, "distill")));
    const second = await told(runAllStages, { out, overrides: {}, resume: true });
    const all = [...losses(first), ...losses(second)];
    all.forEach((loss, i) => assertAlmostEquals(loss, rowLosses[i], 1e-6));
    assertEquals(all.length, rowLosses.length);
    const [a, b] = [await latest(join(out, "distill")), await latest(join(row, "distill"))];
    assertLess(await checkpointDistance(a, b), 1e-6);
    const options = (await readRunOptions(join(out, "distill")))!;
    assertEquals([options.steps, options.size, options.stage], [2, "32x64", "distill"]);
    // Once more: all is done, and that is no error.
    const third = await told(runAllStages, { out, overrides: {}, resume: true });
    assertEquals(third.map(({ kind }) => kind), ["start", "end"]);
  }));

Deno.test("a row is refused before anything is trained: existing folders, bad options, nothing to resume", () =>
  withFolder(async (folder) => {
    const out = join(folder, "row");
    const refused = async (options: Partial<StageRunOptions>, message: string) => {
      const error = await assertRejects(
        () => runAllStages({ out, overrides: given, ...options }),
        UsageError,
      );
      assertStringIncludes(error.message, message);
    };
    await refused({ resume: true }, "it has none of half-cycle, cycle, teacher, distill");
    await refused({ resume: true, overwrite: true }, "exclude each other");
    await refused({ overrides: { ...given, teacherInputs: "depth" } }, '"depth"');
    assert(!await exists(out));
    await Deno.mkdir(join(out, "teacher"), { recursive: true });
    await Deno.writeTextFile(join(out, "teacher", "notes.txt"), "");
    await refused({}, `Cannot start a run in ${join(out, "teacher")}`);
    await refused({ overwrite: true }, "it is not the folder of a run");
    assert(!await exists(join(out, "half-cycle")));
  }));

Deno.test("overwriting a row deletes all of it at once, so that no old stage passes for a new one", () =>
  withFolder(async (folder) => {
    const out = join(folder, "row");
    for (const stage of ["half-cycle", "teacher"]) {
      using _run = await openRun(join(out, stage), { options: { ...resolveTraining({ ...given, stage }) } });
    }
    await told(runAllStages, { out, overrides: given, overwrite: true }, ({ kind }) => kind === "step");
    assertEquals([await exists(join(out, "half-cycle")), await exists(join(out, "teacher"))], [true, false]);
  }));

Deno.test("a run that was refused leaves no folder behind, and loses none that it would overwrite", () =>
  withFolder(async (folder) => {
    const out = join(folder, "run");
    const refuse = (more: Record<string, unknown>, rest: Partial<StageRunOptions> = {}) =>
      assertRejects(() => runStage({ out, overrides: { ...given, ...more }, ...rest }), CyclopsError);
    await refuse({ data: join(folder, "nowhere") });
    await refuse({ stage: "distill" });
    await refuse({ freeze: "student" });
    await refuse({}, { from: [join(folder, "nowhere")] });
    assert(!await exists(out));
    await told(runStage, { out, overrides: { ...given, steps: 1 } });
    await refuse({ stage: "distill" }, { overwrite: true });
    assert(await isFinished(out));
  }));

Deno.test("a run starts from a model file, and from a model that comes with Cyclops", () =>
  withFolder(async (folder) => {
    const model = join(folder, "model.safetensors"), half = join(row, "half-cycle");
    await saveModel(half, model, { license: "CC BY-NC-SA 3.0" });
    const start = async (name: string, from: string, more: Record<string, unknown> = {}) => {
      const out = join(folder, name);
      await told(runStage, {
        out,
        overrides: { ...given, steps: 1, learningRate: 0, ...more },
        from: [from],
      });
      return (await loadCheckpoint((await findCheckpoint(out)).folder)).model;
    };
    const [ours, saved] = [await start("ours", model), (await readSafetensors(model)).tensors];
    for (const [name, tensor] of saved) assertEquals(toFloat32(ours.get(name)!), toFloat32(tensor));
    const street = await start("shipped", "street", { architecture: "lite0", pretrained: false });
    const [shipped] = (await readSafetensors("data/models/street.safetensors")).tensors;
    assertEquals(toFloat32(street.get(shipped[0])!), toFloat32(shipped[1]));
    const fails = (from: string) => assertRejects(() => start("never", from), CyclopsError);
    assertStringIncludes((await fails("street")).message, "they belong to another architecture");
    assertStringIncludes((await fails(join(folder, "no.safetensors"))).message, "no such file");
    assertStringIncludes((await fails("sterret")).message, "no such folder");
  }));

Deno.test("a run killed before its first checkpoint starts again from where it first started", () =>
  withFolder(async (out) => {
    const cycle = { ...given, stage: "cycle" };
    const from = [(await findCheckpoint(join(row, "half-cycle"))).folder];
    {
      using _run = await openRun(out, { options: { ...resolveTraining(cycle) }, from });
    }
    const again = losses(await told(runStage, { out, overrides: {}, resume: true }));
    again.forEach((loss, i) => assertAlmostEquals(loss, rowLosses[2 + i], 1e-6));
  }));

Deno.test("a resumed run accepts options that change how it runs, and refuses those that change its result", () =>
  withFolder(async (out) => {
    await told(runStage, { out, overrides: { ...given, steps: 3 } }, ({ kind }) => kind === "step");
    const more = { stage: "half-cycle", steps: 3, workers: 1, keep: 5, learningRate: undefined };
    const error = await assertRejects(
      () => runStage({ out, overrides: { ...more, learningRate: 1, batch: 1 }, resume: true }),
      UsageError,
    );
    assertStringIncludes(error.message, "learningRate is 0.002 there and 1 now, batch is 2 there and 1 now");
    const rest = await told(runStage, { out, overrides: more, resume: true });
    assertEquals(losses(rest).length, 2);
    const { facts } = await findCheckpoint(out);
    assertEquals([facts.options.workers, facts.options.keep], [1, 5]);
  }));

Deno.test("a finished run is extended by more steps, and keeps them", () =>
  withFolder(async (out) => {
    await told(runStage, { out, overrides: given });
    assert(await isFinished(out));
    const rest = await told(runStage, { out, overrides: { steps: 4 }, resume: true });
    assertEquals(losses(rest).length, 2);
    const warning = rest.find(({ kind }) => kind === "warning") as { readonly message: string };
    assertStringIncludes(warning.message, "the run is extended from 2 to 4 steps");
    assertEquals((await findCheckpoint(out)).facts.step, 4);
    assertEquals((await readRunOptions(out))!.steps, 4);
    assertEquals(losses(await told(runStage, { out, overrides: {}, resume: true })), []);
    await assertRejects(
      () => runStage({ out, overrides: { steps: 3 }, resume: true }),
      UsageError,
      "steps is 4 there and 3 now",
    );
  }));
