import { assertEquals, assertRejects } from "../_assert.ts";
import { join } from "@std/path";
import { UsageError } from "../../lib/base/errors.ts";
import { readTraining, TRAIN_SCHEMA, trainSchema } from "../../lib/training/config.ts";
import { resolveTraining } from "../../lib/training/options.ts";
import { withFolder } from "../data/_pairs.ts";

const project = join(import.meta.dirname!, "../..");

Deno.test("the shipped schema is what the options give (else: deno task schema)", async () => {
  assertEquals(await Deno.readTextFile(join(project, TRAIN_SCHEMA)), trainSchema());
});

Deno.test("a run's options.json is a config file that gives the same run again", () =>
  withFolder(async (folder) => {
    const path = join(folder, "options.json");
    for (const given of [{}, { preset: "paper" }, { stage: "teacher", steps: 7, augment: false }]) {
      const options = resolveTraining(given);
      await Deno.writeTextFile(path, JSON.stringify(options));
      assertEquals(resolveTraining(await readTraining(path, {})), options);
    }
  }));

Deno.test("the command line wins over the config file, the file over the preset", () =>
  withFolder(async (folder) => {
    const path = join(folder, "config.json");
    await Deno.writeTextFile(path, '{"preset": "vgg", "epochs": 2, "batch": 4, "seed": 5, "stage": "all"}');
    const { stage, ...given } = await readTraining(path, { steps: 10, seed: 6 });
    assertEquals([stage, given], ["all", { preset: "vgg", batch: 4, steps: 10, seed: 6 }]);
    const options = resolveTraining(given);
    assertEquals([options.batch, options.steps, options.epochs, options.seed], [4, 10, undefined, 6]);
    // What neither says is the preset's.
    assertEquals([options.architecture, options.learningRate], ["vgg", 1e-4]);
    assertEquals(await readTraining(undefined, { seed: 6 }), { seed: 6 });
    await Deno.writeTextFile(path, '{"lerningRate": 1}');
    await assertRejects(() => readTraining(path, {}), UsageError, "did you mean learningRate");
  }));
