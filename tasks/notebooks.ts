/**
 * `deno task notebooks`: runs the notebooks without a browser and reports what is wrong with them.
 *
 * @module
 */
import { basename, join } from "@std/path";
import { flag, number } from "../lib/base/options.ts";
import { interruptible, Progress, shortDuration } from "../lib/base/terminal.ts";
import { checkNotebooks } from "./notebooks/check.ts";
import { findNotebooks, formatFault } from "./notebooks/notebook.ts";
import { runTask } from "./_task.ts";

const root = join(import.meta.dirname!, "..");

await runTask({
  name: "notebooks",
  summary:
    "Checks the notebooks' types and formatting, runs each in a fresh kernel, and reports what is wrong by notebook,\n" +
    "cell and line: failing cells, unawaited rejections, output that is lost or of another kind than committed,\n" +
    "notebooks that are too large. Status 1 when anything is.",
  options: {
    write: flag({ help: "Format the cells, and put the new outputs into the notebooks that have no fault." }),
    static: flag({ help: "Run nothing: check types, formatting, sizes and committed outputs." }),
    timeout: number({ default: 300, min: 1, unit: "s", help: "Time for each notebook." }),
  },
  positionals: "[NAMES…]",
  examples: ["deno task notebooks", "deno task notebooks 01 04 --write"],
}, async ({ write, static: staticOnly, timeout }, names) => {
  const paths = await findNotebooks(join(root, "notebooks"), names);
  let progress: Progress | undefined;
  const faults = await interruptible((signal) =>
    checkNotebooks(paths, {
      config: join(root, "deno.json"),
      write,
      staticOnly,
      timeout,
      signal,
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
    })
  );
  for (const fault of faults) console.error(formatFault(fault));
  const failed = new Set(faults.map(({ notebook }) => notebook)).size;
  console.log(`${paths.length - Math.min(failed, paths.length)} passed, ${failed} failed`);
  return failed ? 1 : 0;
});
