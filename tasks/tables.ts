/**
 * `deno task tables`: the ablation's results as Markdown, CSV and a chart.
 *
 * @module
 */
import { text } from "../lib/base/options.ts";
import { ablationMarkdown, ablationReport, writeAblation } from "../lib/charts/ablation.ts";
import { publishedTables } from "../lib/evaluation/published.ts";
import { aggregateResults, readResults } from "../lib/evaluation/results.ts";
import { runTask } from "./_task.ts";

await runTask({
  name: "tables",
  summary:
    "Prints the ablation's tables as Markdown: mean and standard deviation over seeds of every row, with and\n" +
    "without flip averaging, each setting by itself; published numbers in a style of their own.",
  options: {
    results: text({
      default: "data/results/street/results.json",
      value: "FILE[,FILE…]",
      help: "Results files.",
    }),
    out: text({
      value: "DIR",
      help: "Also write tables.md, tables.csv, plot.svg and plot.png there.",
    }),
  },
  examples: ["deno task tables", "deno task tables --out data/results/street"],
}, async ({ results: files, out }) => {
  const { about, results } = await readResults(files.split(",").filter(Boolean));
  const report = ablationReport(aggregateResults(results), publishedTables());
  console.log(ablationMarkdown(report, about));
  if (out === undefined) return;
  for (const path of await writeAblation(out, report, about)) console.error(`wrote ${path}`);
});
