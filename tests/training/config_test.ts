import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "../_assert.ts";
import { stripVTControlCharacters } from "node:util";
import { join } from "@std/path";
import { CyclopsError, UsageError } from "../../lib/base/errors.ts";
import { formatValue, toKebabCase } from "../../lib/base/options.ts";
import {
  configOptions,
  PRESET_NAMES,
  PRESETS,
  readTraining,
  resolveTraining,
  storedOptions,
} from "../../lib/training/options.ts";
import { Trainer } from "../../lib/training/trainer.ts";
import { helpText, parseTaskArgs } from "../../tasks/_task.ts";
import { TRAIN_SCHEMA, trainSchema } from "../../tasks/schema.ts";
import { TRAIN } from "../../tasks/train.ts";
import { withFolder } from "../data/_pairs.ts";

const project = join(import.meta.dirname!, "../..");

Deno.test("the shipped schema is what the options give (else: deno task schema)", async () => {
  assertEquals(await Deno.readTextFile(join(project, TRAIN_SCHEMA)), trainSchema());
});

/** What the help says of each option: its whole description, by flag. */
function helpRows(preset: string): Map<string, string> {
  const { options } = parseTaskArgs(TRAIN, ["--preset", preset]);
  const help = stripVTControlCharacters(helpText({ ...TRAIN, options: TRAIN.helpOptions(options) }));
  const rows = new Map<string, string>();
  for (const row of help.split(/\n(?= {2}--)/).slice(1)) {
    const [, flag] = /^ {2}--(?:\[no-\])?([\w-]+)/.exec(row)!;
    rows.set(flag, row.split("\n\n")[0].replace(/\s+/g, " "));
  }
  return rows;
}

for (const preset of PRESET_NAMES) {
  Deno.test(`preset ${preset}: help, schema, options.json and what runs agree in every option`, async () => {
    const rows = helpRows(preset), schema = JSON.parse(trainSchema());
    const changed = schema.allOf.find((rule: { if: { properties: { preset: { const: string } } } }) =>
      rule.if.properties.preset.const === preset
    )?.then.properties ?? {};
    // The way of a command line to the trainer.
    const { options, given } = parseTaskArgs(TRAIN, ["--preset", preset]);
    const commandLine = Object.fromEntries(
      Object.entries(options).filter(([key]) =>
        given.has(key)
      ),
    );
    const run = resolveTraining(await readTraining(undefined, commandLine));
    assertEquals(run, PRESETS[preset]);
    const stored = storedOptions(run);
    for (const [key, spec] of Object.entries(configOptions())) {
      const value = formatValue(spec, run[key as keyof typeof run]);
      assertEquals(stored[key], value, key);
      const inSchema = key === "preset" ? preset : { ...schema.properties[key], ...changed[key] }.default;
      assertEquals(inSchema ?? undefined, value, `${key} in the schema`);
      const row = rows.get(toKebabCase(key))!;
      const shown = /\((?:[^(]*, )?default: ([^()]*)\)$/.exec(row)?.[1];
      const expected = spec.kind === "flag" ? (value ? "yes" : undefined) : value?.toString();
      assertEquals(shown, expected, row);
    }
    assertEquals(resolveTraining(JSON.parse(JSON.stringify(stored))), run);
  });
}

Deno.test("the trainer gets the preset's options", () => {
  const trainer = new Trainer(resolveTraining({ preset: "quick" }), 1);
  try {
    assertEquals(trainer.options, PRESETS.quick);
  } finally {
    trainer.dispose();
  }
});

Deno.test("a size that the preset's coarse steps do not allow is refused with what to change", () => {
  const { message } = assertThrows(() => resolveTraining({ size: "32x96" }), UsageError) as Error;
  assertStringIncludes(message, "size is 32x96, but coarse is 0.3 (the default of preset quick)");
  assertStringIncludes(message, "give --coarse 0, or e.g. --size 64x128");
  assertEquals(resolveTraining({ size: "32x96", coarse: 0 }).size, { height: 32, width: 96 });
  assertEquals(resolveTraining({ size: "64x128" }).size, { height: 64, width: 128 });
});

Deno.test("a run's options.json is a config file that gives the same run again", () =>
  withFolder(async (folder) => {
    const path = join(folder, "options.json");
    for (
      const given of [{}, { preset: "paper" }, { stage: "teacher", steps: 7, freeze: "", augment: false }]
    ) {
      const options = resolveTraining(given);
      // Version 0.1 had replicas.
      for (const form of [storedOptions(options), options, { ...storedOptions(options), replicas: 2 }]) {
        await Deno.writeTextFile(path, JSON.stringify(form));
        assertEquals(resolveTraining(await readTraining(path, {})), options);
      }
    }
  }));

Deno.test("the command line wins over the config file, the file over the preset", () =>
  withFolder(async (folder) => {
    const path = join(folder, "config.json");
    await Deno.writeTextFile(
      path,
      '{"$schema": "a.json", "preset": "vgg", "epochs": 2, "batch": 4, "seed": 5, "stage": "all"}',
    );
    const { stage, ...given } = await readTraining(path, { steps: 10, seed: 6 });
    assertEquals([stage, given], ["all", { preset: "vgg", batch: 4, steps: 10, seed: 6 }]);
    const options = resolveTraining(given);
    assertEquals([options.batch, options.steps, options.epochs, options.seed], [4, 10, undefined, 6]);
    // What neither says is the preset's.
    assertEquals([options.architecture, options.learningRate], ["vgg", 1e-4]);
    assertEquals(await readTraining(undefined, { seed: 6 }), { seed: 6 });
    await Deno.writeTextFile(path, "{}");
    assertEquals(await readTraining(path, {}), {});
  }));

Deno.test("a mistake in a config file is named with the file", () =>
  withFolder(async (folder) => {
    const path = join(folder, "config.json");
    const cases: [string, string, boolean][] = [
      ['{"step": 3}', 'in FILE: unknown option "step" (did you mean steps)', true],
      ['{"learning-rate": 3}', "did you mean learningRate", true],
      ['{"steps": 2.5}', "in FILE: steps is 2.5, expected an integer, at least 1", true],
      ['{"steps": "3"}', 'steps is "3", expected an integer', true],
      ['{"ssimWeight": 2}', "ssimWeight is 2, expected a number from 0 to 1", true],
      ['{"view": "up"}', 'view is "up", expected "left" or "right"', true],
      ['{"augment": null}', "augment is null", true],
      ['{"size": "big"}', 'size is "big", expected HEIGHTxWIDTH', true],
      ['{"freeze": "all"}', 'freeze is "all", expected some of student, backward, refine', true],
      ['{"$schema": 3}', "$schema is 3, expected a string", true],
      ["[]", 'expected a JSON object, e.g. {"seed": 2}', true],
      ['{"seed": 1, "data": "a:b", "seed": 2}', 'in FILE: "seed" is there twice, expected once', true],
      ['{"steps": 3', "not valid JSON", false],
    ];
    for (const [content, message, usage] of cases) {
      await Deno.writeTextFile(path, content);
      const error = await assertRejects(() => readTraining(path, {}), CyclopsError) as Error;
      assertStringIncludes(error.message.replace(path, "FILE"), message);
      assertEquals(error instanceof UsageError, usage, content);
    }
    await assertRejects(() => readTraining(join(folder, "no.json"), {}), CyclopsError, "no such file");
  }));
