/**
 * Config files of `deno task train`: the options they may hold, how they are read, and their JSON Schema,
 * `data/train.schema.json`, by which editors complete and check them.
 *
 * @module
 */
import { UsageError } from "../base/errors.ts";
import { readJson, readText } from "../base/files.ts";
import { choice, formatValue, type OptionSpec, resolveOptions } from "../base/options.ts";
import { PRESET_NAMES, type PresetName, presetOptions, PRESETS, storedOptions } from "./options.ts";
import { STAGE_NAMES } from "./stages.ts";

const STAGE = {
  stage: choice([...STAGE_NAMES, "all"], {
    default: "half-cycle",
    help: "Training stage, or all of them in a row.",
  }),
};

/** The options of `deno task train` on its command line and in config files, with a preset's defaults. */
export function configOptions(preset: PresetName = "quick") {
  return { ...presetOptions(preset), ...STAGE };
}

/** Path of the shipped schema, relative to the project's folder. */
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

/** The content of {@linkcode TRAIN_SCHEMA}: a JSON Schema (draft 2020-12) whose defaults follow the preset. */
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

/** A key that a flat JSON object has twice; `JSON.parse` would silently keep the last value. */
function repeatedKey(json: string): string | undefined {
  const keys = [...json.matchAll(/("(?:[^"\\]|\\.)*")(\s*:)?/g)].filter(([, , colon]) => colon)
    .map(([, key]) => JSON.parse(key) as string);
  return keys.find((key, i) => keys.indexOf(key) !== i);
}

/** The values in a JSON file, checked one by one; no defaults are filled in. */
async function readConfig(path: string): Promise<Record<string, unknown>> {
  const parsed = await readJson(path);
  const refuse = (why: string) => new UsageError(`Cannot read the options in ${path}: ${why}`);
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    throw refuse('expected a JSON object, e.g. {"seed": 2}');
  }
  const repeated = repeatedKey(await readText(path));
  if (repeated !== undefined) throw refuse(`"${repeated}" is there twice, expected once`);
  const { $schema, ...values } = parsed as Record<string, unknown>;
  if ($schema !== undefined && typeof $schema !== "string") {
    throw refuse(`$schema is ${JSON.stringify($schema)}, expected a string`);
  }
  resolveOptions(`training with the options in ${path}`, configOptions(), values);
  return values;
}

/**
 * Options from a config file under those of the command line. A run's own `options.json` is such a file.
 *
 * @param path The config file, if any.
 * @returns The values that were given, without the preset's or any defaults.
 * @throws {CyclopsError} When the file cannot be read or is not JSON.
 * @throws {UsageError} When it is not an object, has a key twice, an unknown key or a value that is not allowed.
 *
 * @example
 * ```ts ignore
 * const overrides = await readTraining("configs/kitti.json", { seed: 2 });
 * const options = resolveTraining(overrides);
 * ```
 */
export async function readTraining(
  path: string | undefined,
  commandLine: Readonly<Record<string, unknown>>,
): Promise<Record<string, unknown>> {
  if (path === undefined) return { ...commandLine };
  const file = await readConfig(path);
  // Steps and epochs are two ways to say the same: the command line's replaces the file's, whichever that is.
  if (commandLine.steps !== undefined || commandLine.epochs !== undefined) {
    delete file.steps;
    delete file.epochs;
  }
  return { ...file, ...commandLine };
}
