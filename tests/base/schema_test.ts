import { assertEquals, assertRejects, assertStringIncludes } from "../_assert.ts";
import { join } from "@std/path";
import { CyclopsError, UsageError } from "../../lib/base/errors.ts";
import { choice, flag, integer, list, number, size } from "../../lib/base/options.ts";
import { jsonSchema, readConfig } from "../../lib/base/schema.ts";
import { withFolder } from "../data/_pairs.ts";

const SPECS = {
  steps: integer({ default: 100, min: 1, help: "Steps." }),
  learningRate: number({ min: 0, max: 1, unit: "1/step", help: "Rate." }),
  size: size({ default: "64x192", help: "Size." }),
  parts: list({ choices: ["wheel", "door"], default: ["wheel"], value: "PART", help: "Parts." }),
  view: choice(["left", "right"], { default: "left", help: "View." }),
  augment: flag({ default: true, help: "Augment." }),
};

Deno.test("a schema says of each option its type, limits, values, default and meaning", () => {
  const schema = jsonSchema(SPECS, { title: "Test", description: "For a test." });
  assertEquals(schema, {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "Test",
    description: "For a test.",
    type: "object",
    properties: {
      $schema: { type: "string", description: "Where this schema is, for editors." },
      steps: { type: "integer", minimum: 1, description: "Steps.", default: 100 },
      learningRate: { type: "number", minimum: 0, maximum: 1, description: "Rate. Unit: 1/step." },
      size: { type: "string", pattern: "^\\d+x\\d+$", description: "Size.", default: "64x192" },
      parts: {
        type: "string",
        pattern: "^((wheel|door)(, ?|$))*$",
        description: "Parts.",
        default: "wheel",
      },
      view: { enum: ["left", "right"], description: "View.", default: "left" },
      augment: { type: "boolean", description: "Augment.", default: true },
    },
    additionalProperties: false,
  });
});

Deno.test("a config file gives the values it names and no defaults", () =>
  withFolder(async (folder) => {
    const path = join(folder, "config.json");
    const values = { steps: 3, learningRate: 0.5, size: "8x16", view: "right", augment: false };
    await Deno.writeTextFile(path, JSON.stringify({ $schema: "../train.schema.json", ...values }));
    assertEquals(await readConfig(path, SPECS), values);
    await Deno.writeTextFile(path, "{}");
    assertEquals(await readConfig(path, SPECS), {});
  }));

Deno.test("a mistake in a config file is named with the file", () =>
  withFolder(async (folder) => {
    const path = join(folder, "config.json");
    const refused = async (content: string) => {
      await Deno.writeTextFile(path, content);
      const error = await assertRejects(() => readConfig(path, SPECS), CyclopsError) as Error;
      assertStringIncludes(error.message, path);
      return [error.message.replace(path, "FILE"), error instanceof UsageError] as const;
    };
    const cases: [string, string, boolean][] = [
      ['{"step": 3}', 'unknown option "step" (did you mean steps)', true],
      ['{"learning-rate": 3}', "did you mean learningRate", true],
      ['{"steps": 2.5}', "by FILE: steps is 2.5, wanted a whole number, at least 1", true],
      ['{"steps": "3"}', 'steps is "3", wanted a whole number', true],
      ['{"learningRate": 2}', "learningRate is 2, wanted a number from 0 to 1", true],
      ['{"view": "up"}', 'view is "up", wanted "left", "right"', true],
      ['{"augment": null}', "augment is null", true],
      ['{"size": "big"}', 'size is "big", wanted HEIGHTxWIDTH', true],
      ['{"$schema": 3}', "$schema is 3, wanted a text", true],
      ["[]", 'wanted a JSON object, e.g. {"seed": 2}', true],
      ['{"steps": 3', "not valid JSON", false],
    ];
    for (const [content, message, usage] of cases) {
      const [said, isUsage] = await refused(content);
      assertStringIncludes(said, message);
      assertEquals(isUsage, usage, content);
    }
    await assertRejects(() => readConfig(join(folder, "no.json"), SPECS), CyclopsError, "no such file");
  }));
