/**
 * `deno task train`: trains one stage, or all of them in a row.
 *
 * @module
 */
import { ensureLibrary } from "../lib/backend/install.ts";
import { selectBackend } from "../lib/backend/mod.ts";
import { choice, flag, text } from "../lib/base/options.ts";
import { trainingOptions } from "../lib/training/options.ts";
import { runAllStages, runStage } from "../lib/training/stage_run.ts";
import { STAGE_NAMES } from "../lib/training/stages.ts";
import { backendOptions, runTask, stopSignal } from "./_task.ts";

await runTask({
  name: "train",
  summary:
    "Trains on stereo pairs. The run's folder gets metrics.jsonl, the resolved options and checkpoints;\n" +
    "Ctrl-C ends the training after the current step and saves it.",
  options: {
    out: text({ default: "runs/first", value: "DIR", help: "Folder of the run." }),
    resume: flag({ help: "Go on with the run that the folder holds, with its own options." }),
    overwrite: flag({ help: "Start anew, losing the run that the folder holds." }),
    from: text({ value: "RUN[,RUN]", help: "Runs or checkpoints whose weights to start from." }),
    ...backendOptions,
    ...trainingOptions,
    stage: choice([...STAGE_NAMES, "all"], {
      default: "half-cycle",
      help: "Stage of training, or all in a row.",
    }),
  },
  examples: [
    "deno task train --data data/street --steps 1200",
    "deno task train --stage cycle --from runs/first --out runs/cycle",
    "deno task train --stage all --out runs/whole",
    "deno task train --preset resnet50 --data /data/kitti --split eigen --out runs/kitti",
    "deno task train --resume --out runs/first",
  ],
}, async (options, _, given) => {
  await ensureLibrary();
  await selectBackend(options);
  const { out, resume, overwrite, stage } = options;
  const chosen = Object.fromEntries(
    Object.entries(options).filter(([key]) => given.has(key) && key in trainingOptions && key !== "stage"),
  );
  const stop = stopSignal();
  const from = options.from?.split(",") ?? [];
  const run = { out, resume, overwrite, from, signal: stop.signal };
  const summary = stage === "all"
    ? await runAllStages({ ...run, given: chosen })
    : await runStage({ ...run, given: { ...chosen, stage } });
  if (summary.checkpoint) console.log(summary.checkpoint);
  return stop.status;
});
