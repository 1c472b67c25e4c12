/**
 * `deno task quickstart`: data, training, evaluation and pictures in one go.
 *
 * @module
 */
import { quickstart, quickstartOptions } from "./quickstart/quickstart.ts";
import { backendOptions, selectBackend } from "../lib/backend/mod.ts";
import { runTask } from "./_task.ts";

await runTask({
  name: "quickstart",
  summary:
    "Makes a street, trains a small student on it, evaluates it on streets it has not seen, and looks at\n" +
    "real photographs where there are any. About five minutes on two cores.",
  options: { ...quickstartOptions, ...backendOptions },
  examples: ["deno task quickstart", "deno task quickstart --steps 3000 --out runs/longer"],
}, async (options) => {
  await selectBackend(options);
  const { table, sentence, files } = await quickstart(options);
  console.log(`\n${table.text()}\n\n${sentence}\n`);
  for (const [what, path] of Object.entries(files)) console.log(`${what.padEnd(11)} ${path}`);
});
