/**
 * `deno task compare`: runs side by side; of one run, its report.
 *
 * @module
 */
import { resolve } from "@std/path";
import { backendOptions, selectBackend } from "../lib/backend/select.ts";
import { UsageError } from "../lib/base/errors.ts";
import { exists } from "../lib/base/files.ts";
import { flag, text } from "../lib/base/options.ts";
import { terminalColumns } from "../lib/base/terminal.ts";
import { writeReport } from "../lib/charts/report.ts";
import { readRuns, reportOnRuns } from "../lib/charts/runs.ts";
import { runTask, userPath } from "./_task.ts";

await runTask({
  name: "compare",
  summary:
    "Puts runs side by side: the options in which they differ, their best and last validations, their curves, and what " +
    "they predict of the same validation pairs; on the terminal, and as one HTML file that loads nothing. Of one run " +
    "it makes the report that train writes at its end.",
  positionals: "RUN…",
  options: {
    out: text({ default: "runs/compare.html", value: "FILE.html", help: "Where the page is written." }),
    overwrite: flag({ help: "Replace the page that is there." }),
    ...backendOptions,
  },
  headings: { out: "Output", backend: "Computing" },
  examples: [
    "deno task compare runs/first runs/second",
    "deno task compare runs/all/* --out stages.html",
    "deno task compare runs/first --out runs/first/report.html",
  ],
}, async ({ out, overwrite, ...backend }, places) => {
  if (places.length === 0) throw new UsageError("Cannot compare: no run given");
  if (!overwrite && await exists(out)) {
    throw new UsageError(`Cannot write ${out}: it is there already; give --overwrite, or another --out`);
  }
  const runs = await readRuns(places.map((place) => userPath(place)));
  await selectBackend(backend);
  const { report, validation, options } = await reportOnRuns(runs);
  await writeReport(out, report);
  const columns = terminalColumns();
  console.log(`${options.text(columns)}\n\n${validation.text(columns)}\n\n${resolve(out)}`);
});
