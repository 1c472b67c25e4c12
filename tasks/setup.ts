/**
 * `deno task setup`: fetches libtensorflow.
 *
 * @module
 */
import { createBinding } from "../lib/backend/binding.ts";
import { installLibrary } from "../lib/backend/install.ts";
import { findLibrary, TENSORFLOW_VERSION } from "../lib/backend/paths.ts";
import { messageOf } from "../lib/base/errors.ts";
import { flag, text } from "../lib/base/options.ts";
import { runTask } from "./_task.ts";

await runTask({
  name: "setup",
  summary:
    "Fetches libtensorflow into the user's cache folder, by Python's pip; nothing is compiled or installed.",
  options: {
    gpu: flag({ help: "Fetch the CUDA build with NVIDIA's libraries: several GB." }),
    version: text({
      default: TENSORFLOW_VERSION,
      value: "V",
      pattern: { regexp: /^\d+\.\d+\.\d+(rc\d+)?$/, expected: "a version such as 2.15.1" },
      help: "TensorFlow's version, 2.12 or newer; only the default is tested.",
    }),
    ifAbsent: flag({ help: "Do nothing where a library is there already; other tasks begin with this." }),
    optional: flag({ help: "Do not fail: other tasks then compute by WebGPU or in JavaScript, slower." }),
  },
  examples: ["deno task setup", "deno task setup --gpu"],
}, async ({ gpu, version, ifAbsent, optional }) => {
  if (ifAbsent && !isNeeded()) return;
  const interrupted = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => interrupted.abort());
  }
  try {
    const { library } = await installLibrary({
      variant: { package: gpu ? "tensorflow" : "tensorflow-cpu", version },
      signal: interrupted.signal,
    });
    const binding = createBinding(library);
    const devices = binding.devices.map((name) => name.replace(/^.*device:/, "")).join(", ");
    console.log(`TensorFlow ${binding.TF_Version} on ${devices}: ${library}`);
    if (gpu && !binding.isUsingGpuDevice()) {
      console.log(
        "No GPU was found: this build computes on the CPU here. deno task setup goes back to the CPU build.",
      );
    }
  } catch (error) {
    if (!optional || interrupted.signal.aborted) throw error;
    console.error(messageOf(error));
  }
});

/** Whether a task that is about to start could want a library that is not there. */
function isNeeded(): boolean {
  const backend = Deno.env.get("CYCLOPS_BACKEND");
  return backend !== "webgpu" && backend !== "cpu" && findLibrary() === undefined;
}
