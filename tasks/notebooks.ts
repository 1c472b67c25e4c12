/**
 * `deno task notebooks`: runs the notebooks without a browser and says what is wrong with them.
 *
 * @module
 */
import { basename, join } from "@std/path";
import { flag, number } from "../lib/base/options.ts";
import { Progress } from "../lib/base/progress.ts";
import { shortDuration } from "../lib/base/terminal.ts";
import { checkNotebooks, findNotebooks, formatFault } from "./notebooks/mod.ts";
import { runTask } from "./_task.ts";

const root = join(import.meta.dirname!, "..");

await runTask({
  name: "notebooks",
  summary:
    "Checks the notebooks' types and formatting, runs each in a fresh kernel, and says what is wrong by notebook, cell\n" +
    "and line: failing cells, rejections that nobody awaits, output that differs in kind from the committed one or is\n" +
    "lost, notebooks that are too large. Status 1 when anything is.",
  options: {
    write: flag({ help: "Format the cells, and put the new outputs into the notebooks that have no fault." }),
    static: flag({ help: "Run nothing: check types, formatting, sizes and committed outputs." }),
    timeout: number({ default: 300, min: 1, unit: "s", help: "Time for each notebook." }),
  },
  positionals: "[NAMES…]",
  examples: ["deno task notebooks", "deno task notebooks 01 04 --write"],
}, async ({ write, static: staticOnly, timeout }, names) => {
  const interrupted = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => interrupted.abort());
  }
  const paths = await findNotebooks(join(root, "notebooks"), names);
  let progress: Progress | undefined;
  const faults = await checkNotebooks(paths, {
    config: join(root, "deno.json"),
    write,
    staticOnly,
    timeout,
    signal: interrupted.signal,
    onCell: (path, cell, total) => {
      const first = progress === undefined;
      progress ??= new Progress({ label: basename(path), total, unit: "cells" });
      progress.update(first ? 0 : cell - 1);
    },
    onNotebook: (path, seconds, found) => {
      const result = found.length ? "failed" : "passed";
      progress?.finish(`${basename(path)} ${result} in ${shortDuration(seconds * 1000)}`);
      progress = undefined;
    },
  }).catch((error) => {
    if (interrupted.signal.aborted) Deno.exit(130);
    throw error;
  });
  for (const fault of faults) console.error(formatFault(fault));
  const failed = new Set(faults.map(({ notebook }) => notebook)).size;
  console.log(`${paths.length - Math.min(failed, paths.length)} passed, ${failed} failed`);
  return failed ? 1 : 0;
});
