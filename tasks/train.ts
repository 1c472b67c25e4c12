/**
 * `deno task train`: trains one stage, or all of them in a row.
 *
 * @module
 */
import { backendOptions, selectBackend } from "../lib/backend/select.ts";
import { flag, list, type OptionsOf, text } from "../lib/base/options.ts";
import { configOptions, type PresetName, readTraining, TRAINING_HEADINGS } from "../lib/training/options.ts";
import { runAllStages, runStage } from "../lib/training/run.ts";
import { runTask, stopSignal } from "./_task.ts";

const options = (preset?: PresetName) => ({
  out: text({ default: "runs/first", value: "DIR", help: "Folder of the run." }),
  resume: flag({ help: "Resume the run in the folder, with its own options." }),
  overwrite: flag({ help: "Start over, deleting the run in the folder." }),
  from: list({ value: "RUN", help: "Runs or checkpoints whose weights to start from." }),
  config: text({
    value: "FILE",
    help: "Options from a JSON file (schema: data/train.schema.json), e.g. a run's options.json.",
  }),
  ...backendOptions,
  ...configOptions(preset),
});

/** The task; its options, with the defaults of the preset that is given, are all that its help shows. */
export const TRAIN = {
  name: "train",
  summary:
    "Trains on stereo pairs. The run's folder gets metrics.jsonl, the resolved options and checkpoints; " +
    "Ctrl-C stops the training after the current step and saves it. Defaults are those of --preset; " +
    "--help --preset vgg shows the preset vgg's.",
  options: options(),
  headings: { out: "Run", backend: "Backend", ...TRAINING_HEADINGS },
  helpOptions: ({ preset }: { readonly preset: PresetName }) => options(preset),
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
};

async function main(
  options: OptionsOf<typeof TRAIN.options>,
  _: readonly string[],
  given: ReadonlySet<string>,
): Promise<number> {
  const { out, resume, overwrite } = options;
  const commandLine = Object.fromEntries(
    Object.entries(options).filter(([key]) => given.has(key) && key in configOptions()),
  );
  const { stage, ...overrides } = await readTraining(options.config, commandLine);
  await selectBackend(options);
  const stop = stopSignal();
  const run = { out, resume, overwrite, from: options.from, signal: stop.signal };
  const summary = stage === "all"
    ? await runAllStages({ ...run, overrides })
    : await runStage({ ...run, overrides: { ...overrides, stage } });
  if (summary.checkpoint) console.log(summary.checkpoint);
  return stop.status;
}

if (import.meta.main) await runTask(TRAIN, main);
