/**
 * `deno task bench`: how fast a prediction and an update are, beside PyTorch's.
 *
 * @module
 */
import { selectBackend } from "../lib/backend/mod.ts";
import { flag } from "../lib/base/options.ts";
import { Progress } from "../lib/base/progress.ts";
import { bench, benchOptions, benchTable, COMPARISON_NAMES, COMPARISONS } from "./bench/bench.ts";
import { runTask } from "./_task.ts";

await runTask({
  name: "bench",
  summary:
    "Measures a prediction and two kinds of updates on this CPU, by turns with PyTorch for the same network,\n" +
    "weights, images and loss, and checks that both sides compute the same. Leave the machine to it.",
  options: { ...benchOptions, json: flag({ help: "Print JSON, with every single run." }) },
  examples: ["deno task bench", "deno task bench --only quick --repeats 50 --python venv/bin/python"],
}, async ({ only, json, ...options }) => {
  await selectBackend({ backend: "tensorflow" });
  let progress: Progress | undefined;
  const report = await bench((only ? [only] : COMPARISON_NAMES).map((name) => COMPARISONS[name]), {
    ...options,
    onProgress: (done, total, name) => {
      progress ??= new Progress({ label: "bench", total, unit: "runs" });
      progress.update(done, name);
    },
  });
  progress?.finish();
  console.log(json ? JSON.stringify(report, null, 2) : benchTable(report).text());
});
