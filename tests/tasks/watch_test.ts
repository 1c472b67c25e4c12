import { assert, assertAlmostEquals, assertEquals, assertRejects, assertStringIncludes } from "../_assert.ts";
import { join } from "@std/path";
import { stripVTControlCharacters } from "node:util";
import { CyclopsError } from "../../lib/base/errors.ts";
import { exists } from "../../lib/base/files.ts";
import { runLines, sparkline, watch, watchOptions } from "../../tasks/watch.ts";
import { resolveOptions } from "../../lib/base/options.ts";
import { openRun } from "../../lib/training/run_folder.ts";
import { runState, viewRun } from "../../tasks/_run_view.ts";
import { withFolder } from "../data/_pairs.ts";

const START = { step: 0, start: { stage: "cycle", steps: 1200, pairs: 60, batch: 8, parameters: 1e6 } };
const line = (step: number, loss: number, seconds: number) => ({
  step,
  loss,
  terms: { photometric: loss - 0.1, cycle: 0.1 },
  learningRate: 1e-3,
  disparityMean: 0.03,
  disparityDeviation: 0.01,
  seconds,
  milliseconds: 90,
});
const RECORDS = [
  START,
  line(10, 0.5, 2),
  line(20, 0.4, 3),
  { step: 20, validation: { photometric: 0.12, absRel: 0.25, rmse: 6 }, seconds: 3.1 },
  { step: 25, warning: "the disk is full" },
  line(30, 0.3, 4),
  { step: 30, validation: { photometric: 0.1, absRel: 0.3, rmse: null }, seconds: 4.1 },
];

Deno.test("the state of a run is read from its records: curves, rate, warnings, ending", () => {
  const state = runState(RECORDS);
  assertEquals([state.stage, state.step, state.steps, state.ending], ["cycle", 30, 1200, undefined]);
  assertEquals(state.loss.map(({ value }) => value), [0.5, 0.4, 0.3]);
  assertEquals([...state.terms.keys()], ["photometric", "cycle"]);
  assertEquals(state.validation.get("rmse"), [{ step: 20, value: 6 }]);
  assertEquals(state.warnings, [{ step: 25, message: "the disk is full" }]);
  assertAlmostEquals(state.rate!, 10);
  assertEquals(state.numbers, { learningRate: 1e-3, disparityMean: 0.03, disparityDeviation: 0.01 });

  const failed = runState([...RECORDS, { step: 31, end: "failed", error: "not a number" }]);
  assertEquals([failed.ending, failed.error, failed.step], ["failed", "not a number", 31]);
  // Taken up again after hours: the pause is no part of the rate.
  const again = runState([
    ...RECORDS,
    { step: 30, end: "stopped" },
    { ...START, step: 30 },
    line(40, 0.3, 5000),
  ]);
  assertEquals(again.ending, undefined);
  assertAlmostEquals(again.rate!, 1000 / 90);
  assertEquals([runState([]).step, runState([]).rate, runState([]).stage], [0, undefined, undefined]);
});

Deno.test("a run is in progress while it is locked, has ended when it says so, was killed otherwise", () =>
  withFolder(async (base) => {
    const folder = join(base, "runs", "first");
    {
      using run = await openRun(folder, { options: {} });
      for (const record of RECORDS) run.metrics.write(record);
      await Deno.utime(run.metrics.path, new Date(Date.now() - 60_000), new Date(Date.now() - 60_000));
      const view = await viewRun(folder);
      assertEquals([view.phase, view.folder, view.state.step], ["running", folder, 30]);
      assert(view.silentFor >= 60_000 && view.silentFor < 120_000, String(view.silentFor));
      // A folder of runs stands for the one that was written last.
      assertEquals((await viewRun(base)).folder, folder);
    }
    assertEquals((await viewRun(folder)).phase, "killed");
    await Deno.writeTextFile(join(folder, "metrics.jsonl"), '{"step":30,"end":"finished"}\n{"cut', {
      append: true,
    });
    assertEquals((await viewRun(folder)).phase, "ended");
    const missing = await assertRejects(() => viewRun(join(base, "nowhere")), CyclopsError);
    assertStringIncludes(missing.message, "no such folder, expected a run's folder");
    await Deno.mkdir(join(base, "empty"));
    await assertRejects(() => viewRun(join(base, "empty")), CyclopsError, "it holds no metrics.jsonl");
  }));

Deno.test("looking at a run does not keep it from being opened", () =>
  withFolder(async (folder) => {
    (await openRun(folder, { options: {} })).close();
    using looker = await Deno.open(join(folder, ".cyclops-run"));
    assert(await looker.tryLock(false));
    setTimeout(() => looker.unlockSync(), 20);
    (await openRun(folder, { options: {}, resume: true })).close();
  }));

Deno.test("a sparkline goes from low to high, averages what does not fit, and needs two values", () => {
  assertEquals(sparkline([4, 3, 2, 1], 10), "█▆▃▁");
  assertEquals(sparkline([1, 3, 7, 5], 2), "▁█");
  assertEquals(sparkline([2, 2, 2], 5), "▁▁▁");
  assertEquals([sparkline([1], 5), sparkline([1, NaN], 5), sparkline([1, 2], 0)], ["", "", ""]);
});

const view = (records: typeof RECORDS | Record<string, unknown>[], more = {}) => ({
  folder: "runs/first",
  records,
  state: runState(records),
  silentFor: 0,
  phase: "running" as const,
  ...more,
});

Deno.test("a run on the terminal: progress, time left, curves, best validation, warnings; no line too long", () => {
  const lines = runLines(view(RECORDS), 100).map(stripVTControlCharacters);
  assertEquals(lines[0], "cycle  runs/first");
  assertEquals(lines[1], "█░░░░░░░░░░░░░░░░░░░░░░░  30/1200 steps  2 %  10.0/s  1m 57s left");
  const text = lines.join("\n");
  assertStringIncludes(text, "  loss                  0.3         █▅▁");
  assertStringIncludes(text, "  abs rel               0.3       best 0.25 at 20  ▁█");
  assertStringIncludes(text, "disparity 0.03 ± 0.01");
  assertStringIncludes(text, "step 25: the disk is full");
  for (const columns of [20, 40, 79]) {
    for (const line of runLines(view(RECORDS), columns)) {
      assert(stripVTControlCharacters(line).length <= columns, line);
    }
  }
  assertStringIncludes(
    runLines(view(RECORDS, { phase: "killed" }), 100).join("\n"),
    "killed: continue with --resume",
  );
  assertStringIncludes(runLines(view(RECORDS, { silentFor: 90_000 }), 100).join("\n"), "no news for 1m 30s");
  const failed = [...RECORDS, { step: 31, end: "failed", error: "photometric is not a number" }];
  const end = runLines(view(failed, { phase: "ended" }), 100).map(stripVTControlCharacters);
  assert(end[1].endsWith("10.0/s  failed") && end.at(-1) === "  photometric is not a number", end.join("\n"));
  assertEquals(runLines(view([]), 80).map(stripVTControlCharacters), ["run  runs/first", "0 steps"]);
});

const options = (given: Record<string, unknown> = {}) =>
  resolveOptions("watch", watchOptions, { every: 0.1, ...given });

Deno.test("watching redraws in place, follows a run to its end, and writes the page and the image", () =>
  withFolder(async (base) => {
    const folder = join(base, "run"), html = join(base, "curves.html"), svg = join(base, "curves.svg");
    using run = await openRun(folder, { options: {} });
    for (const record of RECORDS) run.metrics.write(record);
    const written: string[] = [];
    let reloading = false;
    const screen = {
      write: (text: string) => void written.push(text),
      terminal: true,
      size: () => ({ columns: 80, rows: 40 }),
    };
    const ending = (async () => {
      while (written.length < 2) await new Promise((resolve) => setTimeout(resolve, 20));
      reloading = (await Deno.readTextFile(html)).includes('http-equiv="refresh"');
      run.metrics.write({ step: 40, end: "stopped" });
    })();
    const last = await watch(folder, options({ html, svg }), screen);
    await ending;
    assertEquals([last.phase, last.state.ending, reloading], ["ended", "stopped", true]);
    const drawn = written.map((text) => text.split("\n").length - 1);
    assert(written[0].startsWith("\x1b[0J"), "nothing is above the first one");
    written.slice(1).forEach((text, i) => assert(text.startsWith(`\x1b[${drawn[i]}A\x1b[0J`), text));
    const page = await Deno.readTextFile(html);
    assert(!page.includes("http-equiv"), "a page of a run that has ended does not reload");
    assertStringIncludes(page, "40/1200 steps");
    assertStringIncludes(await Deno.readTextFile(svg), "<svg");
  }));

Deno.test("in a log a run is a line every now and then, and complete at the end; --once shows it once", () =>
  withFolder(async (folder) => {
    using run = await openRun(folder, { options: {} });
    for (const record of RECORDS) run.metrics.write(record);
    const written: string[] = [];
    const screen = {
      write: (text: string) => void written.push(text),
      terminal: false,
      size: () => ({ columns: 80, rows: 40 }),
    };
    assertEquals((await watch(folder, options({ once: true }), screen)).phase, "running");
    assertEquals(written.splice(0).length, 1);
    setTimeout(() => run.metrics.write({ step: 40, end: "finished" }), 250);
    await watch(folder, options(), screen);
    assertEquals(written[0], "cycle  30/1200 steps  loss 0.3  abs rel 0.3000 at 30\n");
    assertEquals(written.length, 2);
    assertStringIncludes(written[1], "finished");
    assertEquals(stripVTControlCharacters(written[1]), written[1]);
  }));

Deno.test("deno task watch gets by with its permissions, writes an image, and fails for a run that failed", () =>
  withFolder(async (base) => {
    const folder = join(base, "run"), png = join(base, "curves.png");
    {
      using run = await openRun(folder, { options: {} });
      for (const record of [...RECORDS, { step: 31, end: "failed", error: "not a number" }]) {
        run.metrics.write(record);
      }
    }
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["task", "--quiet", "watch", folder, "--png", png],
      cwd: join(import.meta.dirname!, "../.."),
      env: { NO_COLOR: "1" },
    }).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    assertEquals(code, 1, text(stderr));
    assertStringIncludes(text(stdout), "not a number");
    assert(await exists(png));
  }));
