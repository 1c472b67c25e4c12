/**
 * `deno task schema`: the JSON Schema of training configs, by which editors complete and check them.
 *
 * @module
 */
import { join } from "@std/path";
import { CyclopsError } from "../lib/base/errors.ts";
import { exists, readText, writeAtomic } from "../lib/base/files.ts";
import { flag, formatValue, type OptionSpec } from "../lib/base/options.ts";
import {
  configOptions,
  PRESET_NAMES,
  type PresetName,
  PRESETS,
  storedOptions,
} from "../lib/training/options.ts";
import { runTask } from "./_task.ts";

/** Path of the schema, relative to the project's folder. */
export const TRAIN_SCHEMA = "data/train.schema.json";

function propertySchema(spec: OptionSpec): Record<string, unknown> {
  const unit = spec.kind === "number" && spec.unit ? ` Unit: ${spec.unit}.` : "";
  const shared = { description: spec.help + unit, default: formatValue(spec, spec.default) };
  switch (spec.kind) {
    case "flag":
      return { type: "boolean", ...shared };
    case "choice":
      return { enum: spec.choices, ...shared };
    case "text":
      return { type: "string", pattern: spec.pattern?.regexp.source, ...shared };
    case "size":
      return { type: "string", pattern: "^\\d+x\\d+$", ...shared };
    case "list":
      return {
        type: "string",
        pattern: spec.choices && `^((${spec.choices.join("|")})(, ?|$))*$`,
        ...shared,
      };
    case "number":
      return {
        type: spec.integer ? "integer" : "number",
        minimum: spec.min,
        maximum: spec.max,
        ...shared,
      };
  }
}

/** The defaults in which a preset differs from `quick`. */
function presetDefaults(preset: PresetName): Record<string, { readonly default: unknown }> {
  const [own, quick] = [storedOptions(PRESETS[preset]), storedOptions(PRESETS.quick)];
  const changed = Object.keys(quick).filter((key) => key !== "preset" && own[key] !== quick[key]);
  return Object.fromEntries(changed.map((key) => [key, { default: own[key] ?? null }]));
}

/** A JSON Schema (draft 2020-12) whose defaults follow the preset. */
export function trainSchema(): string {
  const properties = Object.entries(configOptions()).map(([key, spec]) => [key, propertySchema(spec)]);
  const schema = {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "Options of deno task train",
    description:
      "For deno task train --config FILE. Options on the command line win over the file's, the file's " +
      "over its preset's. Defaults at the top are those of preset quick; allOf lists what other presets change.",
    type: "object",
    properties: {
      $schema: { type: "string", description: "Path of this schema, for editors." },
      ...Object.fromEntries(properties),
    },
    additionalProperties: false,
    allOf: PRESET_NAMES.filter((preset) => preset !== "quick").map((preset) => ({
      if: { properties: { preset: { const: preset } }, required: ["preset"] },
      then: { properties: presetDefaults(preset) },
    })),
  };
  return `${JSON.stringify(schema, undefined, 2)}\n`;
}

if (import.meta.main) {
  await runTask({
    name: "schema",
    summary:
      `Writes ${TRAIN_SCHEMA}, by which editors complete and check files for deno task train --config.`,
    options: { check: flag({ help: "Write nothing; fail when the file is out of date." }) },
  }, async ({ check }) => {
    const path = join(import.meta.dirname!, "..", TRAIN_SCHEMA), schema = trainSchema();
    const found = await exists(path) ? await readText(path) : undefined;
    if (found === schema) return console.log(`${TRAIN_SCHEMA} is up to date`);
    if (check) throw new CyclopsError(`${TRAIN_SCHEMA} is out of date: update it with deno task schema`);
    await writeAtomic(path, schema);
    console.log(`wrote ${TRAIN_SCHEMA}`);
  });
}
