/**
 * Options from a JSON file: the same specs that describe a command line give the file's JSON Schema, by which editors
 * complete and check it.
 *
 * @module
 */
import { UsageError } from "./errors.ts";
import { readJson } from "./files.ts";
import { formatValue, type OptionSpec, type OptionSpecs, resolveOptions } from "./options.ts";

/** A JSON Schema of an object (draft 2020-12). */
export interface JsonSchema {
  /** The draft that the schema follows. */
  readonly $schema: string;
  /** What the object configures. */
  readonly title: string;
  /** How such a file is used. */
  readonly description?: string;
  /** An object, and nothing else. */
  readonly type: "object";
  /** A schema for each key. */
  readonly properties: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  /** Unknown keys are mistakes. */
  readonly additionalProperties: false;
}

function propertySchema(spec: OptionSpec): Record<string, unknown> {
  const shared = {
    description: spec.kind === "number" && spec.unit ? `${spec.help} Unit: ${spec.unit}.` : spec.help,
    ...(spec.default === undefined ? {} : { default: formatValue(spec, spec.default) }),
  };
  switch (spec.kind) {
    case "flag":
      return { type: "boolean", ...shared };
    case "choice":
      return { enum: [...spec.choices], ...shared };
    case "text":
      return {
        type: "string",
        ...(spec.pattern ? { pattern: spec.pattern.regexp.source } : {}),
        ...shared,
      };
    case "size":
      return { type: "string", pattern: "^\\d+x\\d+$", ...shared };
    case "list": {
      const name = spec.choices?.join("|");
      return { type: "string", ...(name ? { pattern: `^((${name})(, ?|$))*$` } : {}), ...shared };
    }
    case "number":
      return {
        type: spec.integer ? "integer" : "number",
        ...(spec.min === undefined ? {} : { minimum: spec.min }),
        ...(spec.max === undefined ? {} : { maximum: spec.max }),
        ...shared,
      };
  }
}

/**
 * The JSON Schema of a group of options. No key is required; `$schema` may name the schema itself.
 *
 * @param specs The group's description.
 * @param about Title and description of the schema.
 *
 * @example
 * ```ts
 * import { integer } from "./options.ts";
 * import { jsonSchema } from "./schema.ts";
 *
 * const specs = { steps: integer({ default: 100, min: 1, help: "Training steps." }) };
 * jsonSchema(specs, { title: "Training" }).properties.steps; // type "integer", minimum 1, default 100, …
 * ```
 */
export function jsonSchema(
  specs: OptionSpecs,
  about: { readonly title: string; readonly description?: string },
): JsonSchema {
  const properties = Object.entries(specs).map(([key, spec]) => [key, propertySchema(spec)]);
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    ...about,
    type: "object",
    properties: {
      $schema: { type: "string", description: "Where this schema is, for editors." },
      ...Object.fromEntries(properties),
    },
    additionalProperties: false,
  };
}

/**
 * Reads options from a JSON file.
 *
 * @param path The file; keys are those of `specs`, in camelCase, and `$schema`.
 * @param specs The group's description.
 * @returns The values that the file gives, checked one by one; no defaults are filled in.
 * @throws {CyclopsError} When the file cannot be read or is not JSON.
 * @throws {UsageError} When it is no object, or on an unknown key or a value that is not allowed, naming the file.
 */
export async function readConfig(path: string, specs: OptionSpecs): Promise<Record<string, unknown>> {
  const json = await readJson(path);
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw new UsageError(`Cannot read the options in ${path}: wanted a JSON object, e.g. {"seed": 2}`);
  }
  const { $schema, ...values } = json as Record<string, unknown>;
  if ($schema !== undefined && typeof $schema !== "string") {
    throw new UsageError(
      `Cannot read the options in ${path}: $schema is ${JSON.stringify($schema)}, wanted a text`,
    );
  }
  resolveOptions(`by ${path}`, specs, values);
  return values;
}
