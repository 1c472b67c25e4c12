/**
 * `deno task tables`: the ablation's results as text, Markdown, CSV and a chart.
 *
 * @module
 */
import { flag, list, text } from "../lib/base/options.ts";
import { terminalColumns } from "../lib/base/terminal.ts";
import { ablationMarkdown, ablationReport, writeAblation } from "../lib/charts/ablation.ts";
import { aggregateResults, publishedTables, readResults } from "../lib/evaluation/results.ts";
import { runTask } from "./_task.ts";

await runTask({
  name: "tables",
  summary:
    "Prints the ablation's tables: mean and standard deviation over seeds of every row, with and without\n" +
    "flip averaging, one set per setting; published numbers in a style of their own. Markdown when\n" +
    "standard output is not a terminal.",
  options: {
    results: list({
      default: ["data/results/street/results.json"],
      value: "FILE",
      help: "Results files.",
    }),
    markdown: flag({ help: "Print Markdown on a terminal, too." }),
    out: text({ value: "DIR", help: "Also write tables.md, tables.csv and plots (.svg, .png) there." }),
  },
  examples: ["deno task tables", "deno task tables --out data/results/street"],
}, async ({ results: files, markdown, out }) => {
  const { about, results } = await readResults(files);
  const report = ablationReport(aggregateResults(results), publishedTables());
  if (markdown || !Deno.stdout.isTerminal()) console.log(ablationMarkdown(report, about));
  else for (const table of report.tables) console.log(`${table.text(terminalColumns())}\n`);
  if (out === undefined) return;
  for (const path of await writeAblation(out, report, about)) console.error(`wrote ${path}`);
});
