/**
 * `deno task train`: trains one stage, or all of them in a row.
 *
 * @module
 */
import { backendOptions, prepareBackend } from "../lib/backend/mod.ts";
import { flag, list, text } from "../lib/base/options.ts";
import { readTraining, trainConfigOptions } from "../lib/training/config.ts";
import { runAllStages, runStage } from "../lib/training/stage_run.ts";
import { runTask, stopSignal } from "./_task.ts";

await runTask({
  name: "train",
  summary:
    "Trains on stereo pairs. The run's folder gets metrics.jsonl, the resolved options and checkpoints;\n" +
    "Ctrl-C ends the training after the current step and saves it.",
  options: {
    out: text({ default: "runs/first", value: "DIR", help: "Folder of the run." }),
    resume: flag({ help: "Go on with the run that the folder holds, with its own options." }),
    overwrite: flag({ help: "Start anew, losing the run that the folder holds." }),
    from: list({ value: "RUN", help: "Runs or checkpoints whose weights to start from." }),
    config: text({
      value: "FILE",
      help: "Options from a JSON file (schema: data/train.schema.json), e.g. a run's options.json.",
    }),
    ...backendOptions,
    ...trainConfigOptions,
  },
  examples: [
    "deno task train --data data/street --steps 1200",
    "deno task train --stage cycle --from runs/first --out runs/cycle",
    "deno task train --stage all --out runs/whole",
    "deno task train --config runs/first/options.json --seed 2 --out runs/second",
    "deno task train --preset resnet50 --data /data/kitti --split eigen --out runs/kitti",
    "deno task train --data /data/cityscapes --split cityscapes --out runs/city",
    "deno task train --data /data/kitti --split eigen --from runs/city --out runs/tuned",
    "deno task train --resume --out runs/first",
  ],
}, async (options, _, given) => {
  const { out, resume, overwrite } = options;
  const commandLine = Object.fromEntries(
    Object.entries(options).filter(([key]) => given.has(key) && key in trainConfigOptions),
  );
  const { stage, ...chosen } = await readTraining(options.config, commandLine);
  await prepareBackend(options);
  const stop = stopSignal();
  const run = { out, resume, overwrite, from: options.from, signal: stop.signal };
  const summary = stage === "all"
    ? await runAllStages({ ...run, given: chosen })
    : await runStage({ ...run, given: { ...chosen, stage } });
  if (summary.checkpoint) console.log(summary.checkpoint);
  return stop.status;
});
