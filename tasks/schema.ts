/**
 * `deno task schema`: the JSON Schema of config files, as the options are now.
 *
 * @module
 */
import { join } from "@std/path";
import { CyclopsError } from "../lib/base/errors.ts";
import { exists, readText, writeAtomic } from "../lib/base/files.ts";
import { flag } from "../lib/base/options.ts";
import { TRAIN_SCHEMA, trainSchema } from "../lib/training/config.ts";
import { runTask } from "./_task.ts";

await runTask({
  name: "schema",
  summary: `Writes ${TRAIN_SCHEMA}, by which editors complete and check files for deno task train --config.`,
  options: { check: flag({ help: "Write nothing; fail when the file is not what the options give." }) },
}, async ({ check }) => {
  const path = join(import.meta.dirname!, "..", TRAIN_SCHEMA), wanted = trainSchema();
  const found = await exists(path) ? await readText(path) : undefined;
  if (found === wanted) return console.log(`${TRAIN_SCHEMA} is up to date`);
  if (check) {
    throw new CyclopsError(`${TRAIN_SCHEMA} is not what the options give: refresh it by deno task schema`);
  }
  await writeAtomic(path, wanted);
  console.log(`wrote ${TRAIN_SCHEMA}`);
});
