import { assert, assertEquals, assertRejects, assertStringIncludes } from "../_assert.ts";
import { join } from "@std/path";
import { CyclopsError, UsageError } from "../../lib/base/errors.ts";
import { exists } from "../../lib/base/files.ts";
import { saveCheckpoint } from "../../lib/training/checkpoint.ts";
import { MetricsLog, readMetrics } from "../../lib/training/records.ts";
import { openRun } from "../../lib/training/run_folder.ts";
import { withFolder } from "../data/_pairs.ts";
import { content } from "./_checkpoints.ts";

const OPTIONS = { steps: 100, preset: "quick" };

/** Makes a run with records of steps 1 to 5 and a checkpoint at each of the given steps. */
async function makeRun(folder: string, ...checkpoints: number[]): Promise<void> {
  using run = await openRun(folder, { options: OPTIONS });
  for (let step = 1; step <= 5; step++) run.metrics.write({ step, loss: 1 / step });
  for (const step of checkpoints) await saveCheckpoint(run.checkpoints, content(step));
}

Deno.test("a new run gets its options and an empty list of records", () =>
  withFolder(async (base) => {
    const folder = join(base, "runs", "first");
    using run = await openRun(folder, { options: OPTIONS });
    assertEquals(JSON.parse(await Deno.readTextFile(join(folder, "options.json"))), OPTIONS);
    assertEquals(await readMetrics(run.path("metrics.jsonl")), []);
    assertEquals([run.resumed, run.checkpoints], [undefined, join(folder, "checkpoints")]);
  }));

Deno.test("an existing run is refused without --resume or --overwrite, and nothing is lost", () =>
  withFolder(async (folder) => {
    await makeRun(folder, 3);
    const error = await assertRejects(() => openRun(folder, { options: {} }), UsageError) as Error;
    assertStringIncludes(error.message, "a run with 1 checkpoint, the last at step 3");
    assertStringIncludes(error.message, "--resume");
    assertStringIncludes(error.message, "--overwrite");
    assertEquals((await readMetrics(join(folder, "metrics.jsonl"))).length, 5);
    await assertRejects(
      () => openRun(folder, { options: {}, resume: true, overwrite: true }),
      UsageError,
      "exclude",
    );
  }));

Deno.test("a run resumes from its last checkpoint with its own options", () =>
  withFolder(async (folder) => {
    await makeRun(folder, 2, 3);
    {
      using run = await openRun(folder, { options: { steps: 7 }, resume: true });
      assertEquals(run.resumed?.facts.step, 3);
      assertEquals(run.options, OPTIONS);
      run.metrics.write({ step: 4, loss: 9 });
    }
    const records = await readMetrics(join(folder, "metrics.jsonl"));
    assertEquals(records.map(({ step, loss }) => [step, loss]), [[1, 1], [2, 1 / 2], [3, 1 / 3], [4, 9]]);
  }));

Deno.test("a run killed before its first checkpoint starts again from nothing", () =>
  withFolder(async (folder) => {
    await makeRun(folder);
    using run = await openRun(folder, { options: OPTIONS, resume: true });
    assertEquals(run.resumed, undefined);
    assertEquals(await readMetrics(run.metrics.path), []);
  }));

Deno.test("resuming cleans up, skips a damaged checkpoint and says so", () =>
  withFolder(async (folder) => {
    await makeRun(folder, 1, 4);
    await Deno.truncate(join(folder, "checkpoints", "step-000004", "model.safetensors"), 10);
    await Deno.mkdir(join(folder, "checkpoints", ".step-000005.1.1.part"));
    {
      using run = await openRun(folder, { options: OPTIONS, resume: true });
      assertEquals(run.resumed?.facts.step, 1);
      assertEquals(run.warnings.length, 1);
      assertStringIncludes(run.warnings[0], "resuming from step-000001");
      assert(!await exists(join(folder, "checkpoints", ".step-000005.1.1.part")));
    }
    await Deno.remove(join(folder, "checkpoints", "step-000001"), { recursive: true });
    await assertRejects(
      () => openRun(folder, { options: OPTIONS, resume: true }),
      CyclopsError,
      "none of its checkpoints is usable",
    );
    assertEquals((await readMetrics(join(folder, "metrics.jsonl"))).length, 1);
  }));

Deno.test("overwriting removes what a run made, and only that of a run", () =>
  withFolder(async (base) => {
    const folder = join(base, "run");
    await makeRun(folder, 3);
    await Deno.writeTextFile(join(folder, "report.html"), "");
    {
      using run = await openRun(folder, { options: { steps: 7 }, overwrite: true });
      assertEquals([run.resumed, run.options], [undefined, { steps: 7 }]);
      assertEquals(await readMetrics(run.metrics.path), []);
      assert(!await exists(run.path("report.html")));
    }
    const mine = join(base, "mine");
    await Deno.mkdir(mine);
    await Deno.writeTextFile(join(mine, "options.json"), "{}");
    const open = (more: Record<string, boolean>) => openRun(mine, { options: {}, ...more });
    await assertRejects(() => open({ overwrite: true }), UsageError, "it is not the folder of a run");
    await Deno.rename(join(mine, "options.json"), join(mine, "thesis.tex"));
    await assertRejects(() => open({}), UsageError, "holds other files (thesis.tex)");
    await assertRejects(() => open({ resume: true }), UsageError, "not a run");
    assertEquals((await Array.fromAsync(Deno.readDir(mine))).map((e) => e.name), ["thesis.tex"]);
  }));

Deno.test("there must be something to resume", () =>
  withFolder(async (folder) => {
    await assertRejects(
      () => openRun(folder, { options: {}, resume: true }),
      UsageError,
      "leave out --resume",
    );
    const absent = join(folder, "absent");
    await assertRejects(() => openRun(absent, { options: {}, resume: true }), UsageError, "no such folder");
    assert(!await exists(absent));
  }));

Deno.test("a run is held by one process or call at a time", () =>
  withFolder(async (folder) => {
    const first = await openRun(folder, { options: {} });
    const again = () => openRun(folder, { options: {}, resume: true });
    await assertRejects(again, CyclopsError, "another process is writing to it");
    first.close();
    (await again()).close();
  }));

Deno.test("a folder that cannot be made is named", () =>
  withFolder(async (base) => {
    const file = join(base, "file");
    await Deno.writeTextFile(file, "");
    const folder = join(file, "run");
    await assertRejects(() => openRun(folder, { options: {} }), CyclopsError, folder);
  }));

Deno.test({
  name: "a folder that cannot be written is named",
  ignore: Deno.uid() === 0, // root may write anywhere
  fn: () =>
    withFolder(async (folder) => {
      await Deno.chmod(folder, 0o555);
      await assertRejects(() => openRun(folder, { options: {} }), CyclopsError, "permission denied");
    }),
});

Deno.test("records survive a line that was cut, and continue after it", () =>
  withFolder(async (folder) => {
    const path = join(folder, "metrics.jsonl");
    await Deno.writeTextFile(path, '{"step":1}\nnot json\n{"step":2}\n{"step":3,"lo');
    assertEquals(await readMetrics(path), [{ step: 1 }, { step: 2 }]);
    {
      using log = await MetricsLog.open(path);
      log.write({ step: 3, loss: NaN });
      log.write({ step: 4, note: "ü" });
      assertEquals(log.problem, undefined);
    }
    assertEquals(
      await Deno.readTextFile(path),
      '{"step":1}\n{"step":2}\n{"step":3,"loss":null}\n{"step":4,"note":"ü"}\n',
    );
  }));

Deno.test("records that cannot be written wait in memory and are written later", () =>
  withFolder(async (folder) => {
    const path = join(folder, "inner", "metrics.jsonl");
    using log = await MetricsLog.open(path);
    await Deno.rename(join(folder, "inner"), join(folder, "away"));
    log.write({ step: 1 });
    log.write({ step: 2 });
    assertStringIncludes(log.problem!.message, path);
    await Deno.rename(join(folder, "away"), join(folder, "inner"));
    log.write({ step: 3 });
    assertEquals(log.problem, undefined);
    assertEquals(await readMetrics(path), [{ step: 1 }, { step: 2 }, { step: 3 }]);
  }));
