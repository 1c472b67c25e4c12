/**
 * `deno task doctor`: what works here, what is missing, how to fix it.
 *
 * @module
 */
import { backendOptions } from "../lib/backend/select.ts";
import { flag } from "../lib/base/options.ts";
import { styled, terminalColumns, wrap } from "../lib/base/terminal.ts";
import { examine } from "./setup/doctor.ts";
import { runTask } from "./_task.ts";

const COLORS = { ok: "green", note: "yellow", problem: "red" } as const;

await runTask({
  name: "doctor",
  summary: "Checks this machine. Status 1 when no network can be trained here.",
  options: { ...backendOptions, json: flag({ help: "Print JSON." }) },
}, async ({ backend, threads, json }) => {
  const { findings, canTrain } = await examine({ backend, threads });
  if (json) {
    console.log(JSON.stringify({ canTrain, findings }, null, 2));
    return canTrain ? 0 : 1;
  }
  const home = Deno.env.get("HOME");
  for (const { what, found, state, fix } of findings) {
    const text = home ? found.replaceAll(`${home}/`, "~/") : found;
    const columns = terminalColumns() - 26;
    const [first, ...rest] = [...wrap(text, columns), ...fix ? wrap(`→ ${fix}`, columns) : []];
    console.log(`${styled("bold", what.padEnd(15))}  ${styled(COLORS[state], state.padEnd(7))}  ${first}`);
    for (const line of rest) console.log(" ".repeat(26) + line);
  }
  console.log(`\nThis machine can${canTrain ? " train" : "not train yet: see the problems above"}.`);
  return canTrain ? 0 : 1;
});
