/**
 * `deno task export`: trained networks for other programs.
 *
 * @module
 */
import { basename, join } from "@std/path";
import { backendOptions, selectBackend } from "../lib/backend/select.ts";
import { UsageError } from "../lib/base/errors.ts";
import { exists, writeAtomic } from "../lib/base/files.ts";
import { choice, flag, size, text } from "../lib/base/options.ts";
import { formatBytes } from "../lib/base/terminal.ts";
import { exportModel } from "../lib/export/mod.ts";
import { loadModel } from "../lib/training/model.ts";
import { runTask, userPath } from "./_task.ts";

await runTask({
  name: "export",
  summary:
    "Writes a trained network for other programs: a run's folder, a model file, or the name of a model that comes\n" +
    "with Cyclops. The file is read by its own runtime, and written only if that predicts the same.",
  positionals: "RUN|MODEL",
  options: {
    to: choice(["onnx", "tfjs", "safetensors"], {
      default: "onnx",
      help: "onnx, a graph model of TensorFlow.js, or Cyclops's own model file.",
    }),
    out: text({ value: "FILE|DIR", help: "Where to; a folder for tfjs (default: runs/exports/NAME)." }),
    overwrite: flag({ help: "Replace what is there." }),
    checkpoint: choice(["best", "latest"], { default: "best", help: "Which of a run's checkpoints." }),
    of: choice(["student", "teacher"], { default: "student", help: "Whose disparity; a run's teacher." }),
    size: size({ help: "Height and width of the image that it takes (default: those trained with)." }),
    dynamic: flag({ help: "Any number of images of any size, in multiples of what the network halves." }),
    precision: choice(["fp32", "fp16", "int8"], {
      help: "How kernels are stored (default fp32; safetensors fp16); computed is in fp32.",
    }),
    license: text({ help: "What the weights may be used for, e.g. MIT: written into the file." }),
    trainedOn: text({ help: "The training data in words: written into the file (default: their names)." }),
    commit: text({ help: "Commit of the code that trained it: written into the file." }),
    ...backendOptions,
  },
  headings: { to: "Output", checkpoint: "Network", license: "About the weights", backend: "Computing" },
  examples: [
    "deno task export runs/quickstart",
    "deno task export kitti --to tfjs --precision fp16 --out app/model",
    "deno task export runs/all/teacher --of teacher --dynamic",
  ],
  renamed: { network: "of" },
}, async (options, places) => {
  const { to, of: network, dynamic, precision, license, trainedOn, commit } = options;
  if (places.length !== 1) {
    throw new UsageError(`Cannot export: found ${places.length} names, expected one run or model`);
  }
  if (dynamic && options.size) {
    throw new UsageError("Cannot export: found --size and --dynamic, expected one of them");
  }
  const path = userPath(places[0]), place = await exists(path) ? path : places[0];
  await selectBackend(options);
  const model = await loadModel(place, options.checkpoint);
  const name = [basename(place, ".safetensors"), ...network === "teacher" ? [network] : [], precision ?? []]
    .flat();
  const ending = { onnx: ".onnx", tfjs: "", safetensors: ".safetensors" }[to];
  const out = options.out ?? join("runs/exports", name.join("-") + ending);
  if (!options.overwrite && await exists(out)) {
    throw new UsageError(`Cannot export to ${out}: it is there already; give --overwrite, or another --out`);
  }
  const about = { ...license && { license }, ...trainedOn && { data: trainedOn }, ...commit && { commit } };
  const size = dynamic ? "dynamic" : options.size;
  const { files, largest, mean, reader } = await exportModel(model, { to, network, size, precision, about });
  model.dispose();
  let bytes = 0;
  for (const [file, content] of files) {
    await writeAtomic(file ? join(out, file) : out, content);
    bytes += content.reduce((sum, { length }) => sum + length, 0);
  }
  console.log(out);
  console.error(
    `${formatBytes(bytes)}; read by ${reader}, its disparity differs from Cyclops's by ` +
      `${(100 * mean).toPrecision(2)} % on average, by ${largest.toPrecision(2)} of the width at most`,
  );
});
