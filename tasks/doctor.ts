/**
 * `deno task doctor`: what is there, what is missing, how to mend it.
 *
 * @module
 */
import { examine, type Finding } from "./setup/doctor.ts";
import { backendOptions } from "../lib/backend/options.ts";
import { flag } from "../lib/base/options.ts";
import { styled } from "../lib/base/terminal.ts";
import { runTask } from "./_task.ts";

await runTask({
  name: "doctor",
  summary: "Looks over this machine. Status 1 when no network can be trained here.",
  options: { ...backendOptions, json: flag({ help: "Print JSON." }) },
}, async ({ backend, threads, json }) => {
  const { findings, canTrain } = await examine({ backend, threads });
  if (json) {
    console.log(JSON.stringify({ canTrain, findings }, null, 2));
    return canTrain ? 0 : 1;
  }
  const width = Math.max(...findings.map(({ what }) => what.length));
  for (const { what, found, state, mend } of findings) {
    console.log(`${styled("bold", what.padEnd(width))}  ${sign(state)}  ${found}`);
    if (mend) console.log(`${" ".repeat(width + 11)}→ ${mend}`);
  }
  console.log(
    `\n${canTrain ? "This machine can train." : "This machine cannot train yet: see the problems above."}`,
  );
  return canTrain ? 0 : 1;
});

function sign(state: Finding["state"]): string {
  const color = { good: "green", note: "yellow", problem: "red" } as const;
  return styled(color[state], (state === "good" ? "ok" : state).padEnd(7));
}
