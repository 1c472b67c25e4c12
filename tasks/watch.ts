/**
 * `deno task watch`: the curves of a run, live.
 *
 * @module
 */
import { UsageError } from "../lib/base/errors.ts";
import { terminalScreen, watch, watchOptions } from "./watch/watch.ts";
import { userPath } from "./_paths.ts";
import { runTask } from "./_task.ts";

await runTask({
  name: "watch",
  summary:
    "Shows a run as it goes on, in this process or in another one, and ends with it: losses, validation, time left,\n" +
    "warnings. Of a folder that holds several runs it shows the one that was written to last.",
  positionals: "RUN",
  options: watchOptions,
  examples: [
    "deno task watch runs/first",
    "deno task watch runs/whole --html curves.html",
    "deno task watch runs/first --once --png curves.png",
  ],
}, async (options, folders) => {
  if (folders.length > 1) throw new UsageError(`Cannot watch ${folders.length} runs: one at a time`);
  const { phase, state } = await watch(
    folders.length ? userPath(folders[0]) : "runs/first",
    options,
    terminalScreen(),
  );
  return phase === "killed" || state.ending === "failed" ? 1 : 0;
});
