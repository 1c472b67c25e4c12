import { assertEquals, assertRejects, assertStringIncludes } from "../_assert.ts";
import { join } from "@std/path";
import { writeAtomic } from "../../lib/base/files.ts";
import { optionTable, readRuns, runCurves, validationTable } from "../../lib/charts/runs.ts";
import { resolveTraining, storedOptions, type TrainingInput } from "../../lib/training/options.ts";
import { withFolder } from "../_folder.ts";

/** A run's folder without checkpoints. */
async function writeRun(
  folder: string,
  given: TrainingInput,
  validations: readonly object[],
): Promise<string> {
  const records = [
    { step: 0, start: { stage: "half-cycle", steps: 40, pairs: 9 } },
    { step: 10, loss: 0.5, terms: { photometric: 0.5 }, milliseconds: 3 },
    { step: 20, loss: 0.4, terms: { photometric: 0.4 }, milliseconds: 3 },
    ...validations.map((validation, i) => ({ step: 10 * (i + 1), validation })),
  ];
  await writeAtomic(join(folder, "options.json"), JSON.stringify(storedOptions(resolveTraining(given))));
  await writeAtomic(
    join(folder, "metrics.jsonl"),
    records.map((line) => `${JSON.stringify(line)}\n`).join(""),
  );
  return folder;
}

const validations = [
  { photometric: 0.2, absRel: 0.5 },
  { photometric: 0.1, absRel: 0.4 },
  { photometric: 0.3, absRel: 0.3 },
];

Deno.test("runs are named by as many folders as tell them apart; their best checkpoint is what they select by", () =>
  withFolder(async (base) => {
    const folders = [
      await writeRun(join(base, "one/student"), { seed: 1 }, validations),
      await writeRun(join(base, "two/student"), { seed: 2, selectBy: "abs-rel" }, validations),
    ];
    const runs = await readRuns(folders);
    assertEquals(runs.map(({ name }) => name), ["one/student", "two/student"]);
    const { rows, columns } = validationTable(runs).content;
    assertEquals(columns.map(({ key }) => key), ["step", "photometric", "absRel"]);
    const shown = rows.map(({ group, name, cells }) => [group, name, cells.step, cells.absRel]);
    assertEquals(shown, [
      ["best", "one/student", 20, 0.4],
      ["best", "two/student", 30, 0.3],
      ["last", "one/student", 30, 0.3],
      ["last", "two/student", 30, 0.3],
    ]);

    const differ = optionTable(runs).content;
    assertEquals(differ.rows.map(({ name }) => name), ["seed", "select-by"]);
    assertEquals(differ.rows[1].cells, { 0: "photometric", 1: "abs-rel" });
    const changed = optionTable([(await readRuns([folders[1]]))[0]]).content;
    assertEquals(changed.rows.map(({ name }) => name), ["stage", "seed", "select-by"]);
  }));

Deno.test("curves of several runs lie over each other, a single run's show its terms", () =>
  withFolder(async (base) => {
    const folders = [
      await writeRun(join(base, "a"), {}, validations),
      await writeRun(join(base, "b"), {}, validations.map(({ photometric }) => ({ photometric }))),
    ];
    const runs = await readRuns(folders);
    const titles = [
      "Training loss (each run's own sum)",
      "Photometric loss, validation",
      "Abs rel, validation",
    ];
    const charts = runCurves(runs);
    assertEquals(charts.map(({ title }) => title), titles);
    const names = (
      spec: unknown,
    ) => [...new Set([...JSON.stringify(spec).matchAll(/"name":"(\w+)"/g)].map(([, name]) => name))];
    assertEquals(names(charts[1].spec), ["a", "b"]);
    assertEquals(names(charts[2].spec), ["a"], "what was not measured has no line");
    const [loss, , absRel] = runCurves([runs[0]], { "train-set mean": 0.6 });
    assertEquals(names(loss.spec), ["total", "photometric"]);
    assertStringIncludes(JSON.stringify(absRel.spec), "train-set mean 0.600");
  }));

Deno.test("what is no run is refused, and what it holds is named", () =>
  withFolder(async (base) => {
    const run = await writeRun(join(base, "all/cycle"), {}, []);
    await assertRejects(() => readRuns([join(base, "none")]), Error, "no such folder");
    await assertRejects(
      () => readRuns([join(base, "all")]),
      Error,
      "it holds the runs cycle; name one of them",
    );
    await assertRejects(() => readRuns([base]), Error, "it has no options.json");
    await assertRejects(() => readRuns([run, `${run}/`]), Error, "one is given twice");
  }));
