/**
 * `deno task setup`: fetches libtensorflow.
 *
 * @module
 */
import { ensureLibrary, TENSORFLOW_VERSION } from "../lib/backend/install.ts";
import { selectBackend } from "../lib/backend/select.ts";
import { flag, text } from "../lib/base/options.ts";
import { runTask } from "./_task.ts";

await runTask({
  name: "setup",
  summary:
    "Fetches libtensorflow into the user's cache folder with Python's pip; nothing is compiled or installed.\n" +
    "Tasks that need it do so themselves: run this to do it ahead, or to choose another build.",
  options: {
    gpu: flag({ help: "Fetch the CUDA build with NVIDIA's libraries: several GB." }),
    version: text({
      default: TENSORFLOW_VERSION,
      value: "V",
      pattern: { regexp: /^\d+\.\d+\.\d+(rc\d+)?$/, expected: "a version such as 2.15.1" },
      help: "TensorFlow's version, 2.12 or newer; only the default is tested.",
    }),
  },
  examples: ["deno task setup", "deno task setup --gpu"],
}, async ({ gpu, version }) => {
  await ensureLibrary({ variant: { package: gpu ? "tensorflow" : "tensorflow-cpu", version } });
  const info = await selectBackend({ backend: "tensorflow" });
  console.log(`TensorFlow ${info.version} on ${info.devices.join(", ")}: ${info.library}`);
  if (gpu && !info.gpu) {
    console.log(
      "No GPU was found: this build computes on the CPU here. deno task setup returns to the CPU build.",
    );
  }
});
