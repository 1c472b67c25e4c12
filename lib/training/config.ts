/**
 * What a config file of `deno task train` may hold, and its schema, `data/train.schema.json`.
 *
 * @module
 */
import { choice } from "../base/options.ts";
import { jsonSchema, readConfig } from "../base/schema.ts";
import { trainingOptions } from "./options.ts";
import { STAGE_NAMES } from "./stages.ts";

/** The options of `deno task train`, on its command line and in its config files: a run's, and all stages in a row. */
export const trainConfigOptions = {
  ...trainingOptions,
  stage: choice([...STAGE_NAMES, "all"], {
    default: "half-cycle",
    help: "Stage of training, or all in a row.",
  }),
} as const;

/** Path of the shipped schema, relative to the project's folder. */
export const TRAIN_SCHEMA = "data/train.schema.json";

/** The content of {@linkcode TRAIN_SCHEMA}, as the options in this program give it. */
export function trainSchema(): string {
  const schema = jsonSchema(trainConfigOptions, {
    title: "Options of deno task train",
    description:
      "For deno task train --config FILE. Options on the command line win over the file's, the file's " +
      "over those of its preset; defaults named here are the preset quick's.",
  });
  return `${JSON.stringify(schema, undefined, 2)}\n`;
}

/**
 * Options from a config file under those of the command line. A run's own `options.json` is such a file.
 *
 * @param path The config file, if any.
 * @param commandLine What was given there.
 * @returns Given values alone, without the preset's or any defaults.
 * @throws {CyclopsError} When the file cannot be read or is not JSON.
 * @throws {UsageError} On an unknown key or a value that is not allowed.
 *
 * @example
 * ```ts ignore
 * const given = await readTraining("configs/kitti.json", { seed: 2 });
 * const options = resolveTraining(given);
 * ```
 */
export async function readTraining(
  path: string | undefined,
  commandLine: Readonly<Record<string, unknown>>,
): Promise<Record<string, unknown>> {
  if (path === undefined) return { ...commandLine };
  const file = await readConfig(path, trainConfigOptions);
  // Steps and epochs are two ways to say the same: the command line's replaces the file's, whichever that is.
  if (commandLine.steps !== undefined || commandLine.epochs !== undefined) {
    delete file.steps;
    delete file.epochs;
  }
  return { ...file, ...commandLine };
}
