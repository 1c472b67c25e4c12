import { assert, assertEquals, assertRejects, assertStringIncludes } from "../_assert.ts";
import { join } from "@std/path";
import { UsageError } from "../../lib/base/errors.ts";
import { formatOptions, resolveOptions } from "../../lib/base/options.ts";
import { selectBackend } from "../../lib/backend/mod.ts";
import { readGray16 } from "../../lib/data/image.ts";
import { ablationJobs, Budget, jobsOf } from "../../tasks/reproduce/plan.ts";
import { loadStudent } from "../../lib/predict/mod.ts";
import { quickstart, quickstartOptions } from "../../tasks/quickstart.ts";
import { parseTime } from "../../tasks/_task.ts";
import { reproduce, reproduceOptions } from "../../tasks/reproduce.ts";
import { readResults } from "../../lib/evaluation/results.ts";

await selectBackend();

/** Time of an update by job, ms. */
const STAGE_MS = { "half-cycle": 100, cycle: 150, teacher: 200, distill: 180 };
const jobs = ablationJobs(false);
const milliseconds = Object.fromEntries(jobs.map(({ name, stage }) => [name, STAGE_MS[stage]]));

Deno.test("quickstart and reproduction, in miniature, leave everything they promise", async () => {
  const folder = await Deno.makeTempDir({ prefix: "cyclops-test-" });
  try {
    const data = join(folder, "street");
    const out = join(folder, "run");
    const given = { out, data, pairs: 30, steps: 4, kitti: join(folder, "none") };
    const result = await quickstart(resolveOptions("quickstart", quickstartOptions, given));
    assertStringIncludes(result.sentence, "no depth label");
    const text = result.table.text();
    for (const row of ["train-set mean", "student", "student, flip"]) {
      assertStringIncludes(text, row);
    }
    assert(result.absRel.mean > 0.1 && Number.isFinite(result.absRel.student));
    for (const path of Object.values(result.files)) await Deno.stat(path);
    const html = await Deno.readTextFile(join(out, "report.html"));
    assert(html.includes("<svg") && html.includes("data:image/png"));
    assert(!/(src|href)="https?:/.test(html));

    const student = await loadStudent(out);
    const [image] = [...Deno.readDirSync(join(data, "2030_01_01"))].filter((e) => e.isDirectory).map((e) =>
      join(data, "2030_01_01", e.name, "image_02", "data", "0000000000.png")
    );
    const depth = await student.predict(image, { flip: true });
    student.dispose();
    const path = join(folder, "disparity16.png");
    await depth.save(path, { format: "png16" });
    const raw = await readGray16(path);
    assertEquals([raw.width, raw.height], [416, 128]);
    assert(raw.data.every((v) => v > 0 && v < 0.3 * 416 * 256));

    // The ablation with a plan of two updates, as a call that was taken up again finds it.
    const options = resolveOptions("reproduce", reproduceOptions, {
      out: join(folder, "ablation"),
      results: join(folder, "results"),
      street: data,
      pairs: 30,
      seeds: 1,
      size: "32x64",
    });
    const { out: at, results: folderOfResults, overwrite: _, ...asked } = formatOptions(
      reproduceOptions,
      options,
    );
    await Deno.mkdir(at as string);
    const training = { coarse: 0, preset: options.preset, size: "32x64" };
    const plan = { updates: 2, milliseconds, training, options: asked };
    await Deno.writeTextFile(join(at as string, "plan.json"), JSON.stringify(plan));
    const report = await reproduce(options, { command: "test", machine: "test" });
    assert(report !== undefined);
    const { results, about } = await readResults([join(folderOfResults as string, "results.json")]);
    assertStringIncludes([...about.values()][0].gate, "inconsistency with the real opposite view");
    const rows = new Set(results.map((r) => r.row));
    assertEquals([...rows].sort(), ["train-set mean", ...jobs.flatMap((j) => j.row ?? [])].sort());
    // Two truths, two caps, with and without flipping.
    assertEquals(results.filter((r) => r.row === "T").length, 8);
    for (const name of ["tables.md", "tables.csv"]) {
      await Deno.stat(join(folderOfResults as string, name));
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("every training of the ablation starts from earlier ones, rows held against each other are equally long", () => {
  for (const all of [jobs, ablationJobs(true)]) {
    const seen = new Set<string>();
    for (const job of all) {
      for (const name of job.from) assert(seen.has(name), `${job.name} starts from ${name}`);
      seen.add(job.name);
    }
  }
  const budget = new Budget({ jobs, updates: 200, continued: 0.3, milliseconds });
  const job = (row: string) => jobs.find((j) => j.row === row)!;
  const continued = budget.studentUpdates(job("HC-continued").name);
  for (const row of ["C", "S", "P", "hints alone", "oracle"]) {
    assertEquals(budget.studentUpdates(job(row).name), continued);
  }
  for (const row of ["T feat", "T disp", "T", "T without inconsistency"]) {
    assertEquals(budget.updates(job(row)), budget.updates(job("HC-continued")), "a teacher learns as long");
    assertEquals(budget.studentUpdates(job(row).name), 200, "on the student of HC");
  }
  assertEquals(job("C").options.cycleGradient, 1, "C is joint training");
  // Beyond the half-cycle: 50 updates of the backward network, 60 of the refine network, 60 of the student.
  assertEquals(budget.updates(job("HC equal cost")), (50 * 150 + 60 * 200 + 60 * 180) / 100);
  assertEquals(budget.cost(job("HC equal cost").name), budget.cost(job("S").name));
  const longer = new Budget({ ...budget.input, continued: 2 });
  assertEquals(["HC-continued", "T", "S"].map((row) => longer.updates(job(row))), [400, 400, 400]);
  assertEquals(longer.updates(job("HC")), 200);
});

Deno.test("some rows need only the trainings that they start from", () => {
  const names = (rows: readonly string[], all = jobs) => jobsOf(rows, all).map(({ name }) => name);
  assertEquals(names(["P", "oracle"]), [
    "half-cycle",
    "oracle",
    "cycle",
    "teacher-privileged",
    "student-privileged",
  ]);
  assertEquals(names(["HC"], ablationJobs(true)), ["street", "half-cycle"]);
  assertEquals(names([]), []);
});

Deno.test("a student without changed colors is a control only where the others' images change", () => {
  const control = (real: boolean, architecture: string) =>
    ablationJobs(real, architecture).find(({ row }) => row === "HC plain colors");
  assertEquals(control(false, "quick"), undefined, "quick's preset changes none on streets");
  for (const [real, architecture] of [[true, "quick"], [false, "lite0"]] as const) {
    assertEquals(control(real, architecture)?.options, { colourProbability: 0 });
  }
});

Deno.test("a reproduction is resumed only with the options that it was started with", async () => {
  const folder = await Deno.makeTempDir({ prefix: "cyclops-test-" });
  try {
    const options = (given: object) =>
      resolveOptions("reproduce", reproduceOptions, { out: folder, ...given });
    const began = formatOptions(reproduceOptions, options({ name: "rig" }));
    const plan = { updates: 2, milliseconds, training: {}, options: began };
    await Deno.writeTextFile(join(folder, "plan.json"), JSON.stringify(plan));
    const call = (given: object) => reproduce(options(given), { command: "test", machine: "test" });
    await assertRejects(() => call({ name: "rig", seeds: 5 }), UsageError, "started with seeds 3");
    await assertRejects(() => call({}), UsageError, "started with name rig, expected the same, found unset");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("times are read with their unit", () => {
  assertEquals(["90s", "60m", "1.5h"].map(parseTime), [90_000, 3_600_000, 5_400_000]);
});
