/**
 * `deno task reproduce`: the whole ablation on street, ending in the table.
 *
 * @module
 */
import { backendOptions, selectBackend } from "../lib/backend/mod.ts";
import { reproduce, reproduceOptions } from "./reproduce/reproduce.ts";
import { describeProgram } from "./reproduce/provenance.ts";
import { runTask, stopSignal } from "./_task.ts";

await runTask({
  name: "reproduce",
  summary:
    "Trains every row of the ablation on street, all stages and several seeds, in a fixed time, and writes\n" +
    "results, tables and plot. Stopped, it goes on where it was when called again.",
  options: { ...reproduceOptions, ...backendOptions },
  examples: ["deno task reproduce", "deno task reproduce --budget 8h --seeds 5 --out runs/long"],
}, async (options) => {
  await selectBackend(options);
  const stop = stopSignal();
  const report = await reproduce(options, await describeProgram("reproduce"), stop.signal);
  if (report) { for (const table of report.tables) console.log(`${table.text()}\n`); }
  return stop.status;
});
