/**
 * Chooses what computes: TensorFlow's own library, WebGPU, or plain JavaScript. TensorFlow.js is loaded when the backend
 * starts, so that a task's help and what needs no network do without it.
 *
 * @module
 */
import { CyclopsError, messageOf, UsageError } from "../base/errors.ts";
import { choice, type ChoiceSpec, integer, type NumberSpec } from "../base/options.ts";
import type { Binding, ClusterMember } from "./binding.ts";
import { ensureLibrary } from "./install.ts";

const BACKENDS = ["auto", "tensorflow", "webgpu", "cpu"] as const;
type BackendName = typeof BACKENDS[number];

/** The options by which tasks let a user choose; spread them into a task's own. */
export const backendOptions: {
  readonly backend: ChoiceSpec<BackendName, undefined>;
  readonly threads: NumberSpec<undefined>;
} = {
  backend: choice(BACKENDS, {
    help: "What computes; default CYCLOPS_BACKEND, else auto: the fastest found.",
  }),
  threads: integer({
    min: 1,
    max: 1024,
    help: "Threads within one operation, tensorflow only; default one per core.",
  }),
};

/** Which backend to use and how. */
export interface BackendOptions {
  /** `auto` takes tensorflow, else webgpu, else cpu. @default CYCLOPS_BACKEND, else "auto" */
  readonly backend?: BackendName;
  /** Threads within one operation, tensorflow only. @default one per core */
  readonly threads?: number;
  /** Fetch libtensorflow where it is wanted and absent. @default true */
  readonly fetch?: boolean;
  /** Compute together with other processes; tensorflow only. @default alone */
  readonly member?: ClusterMember;
}

/** The backend in use. */
export interface BackendInfo {
  /** What computes. */
  readonly name: "tensorflow" | "webgpu" | "cpu";
  /** TensorFlow's version, or that of TensorFlow.js for the other backends. */
  readonly version: string;
  /** Path of libtensorflow; tensorflow only. */
  readonly library?: string;
  /** Short names: "CPU:0", "GPU:0", or the adapter's name. */
  readonly devices: readonly string[];
  /** Whether operations run on a GPU. */
  readonly gpu: boolean;
  /** Threads asked for; `undefined` means one per core. */
  readonly threads?: number;
  /** One sentence: why this backend, and what that means. */
  readonly reason: string;
}

let selected: Promise<BackendInfo> | undefined;

/**
 * Chooses and starts the backend; later calls return the same one. Training and {@linkcode loadModel} call it
 * themselves: call it before the first operation of your own, or to choose.
 *
 * Where libtensorflow is wanted and absent it is fetched first (about 210 MB, once), if this process may run `python3`.
 *
 * @param warn Receives a line when something slower than tensorflow was chosen. @default standard error
 * @throws {UsageError} When the backend's name is unknown, or another one is already in use.
 * @throws {CyclopsError} When the backend asked for cannot be started here.
 */
export async function selectBackend(
  options: BackendOptions = {},
  warn: (line: string) => void = console.error,
): Promise<BackendInfo> {
  const wanted = options.backend ?? backendFromEnvironment();
  if (!selected) {
    selected = start(wanted, options).then((info) => {
      if (info.name !== "tensorflow") warn(`Computing with ${info.name} on ${info.devices}: ${info.reason}`);
      return info;
    });
    selected.catch(() => selected = undefined);
  }
  const info = await selected;
  if (options.backend && options.backend !== "auto" && options.backend !== info.name) {
    throw new UsageError(
      `Cannot switch to backend ${options.backend}: ${info.name} is already in use in this process`,
    );
  }
  return info;
}

function backendFromEnvironment(): BackendName {
  const name = Deno.env.get("CYCLOPS_BACKEND") || "auto";
  if (!(BACKENDS as readonly string[]).includes(name)) {
    throw new UsageError(`Cannot use CYCLOPS_BACKEND="${name}": expected ${BACKENDS.join(", ")}`);
  }
  return name as BackendName;
}

async function start(wanted: BackendName, options: BackendOptions): Promise<BackendInfo> {
  if (wanted === "tensorflow") return await startTensorFlow(options, "requested");
  if (wanted === "webgpu") return await startWebGpu("requested");
  if (wanted === "cpu") return await startCpu("requested; fit for tiny tests only");
  const faults: string[] = [];
  try {
    return await startTensorFlow(options, "the fastest here");
  } catch (error) {
    faults.push(messageOf(error));
  }
  try {
    return await startWebGpu(`slower than tensorflow, which is not available: ${faults[0]}`);
  } catch (error) {
    faults.push(messageOf(error));
  }
  return await startCpu(
    `hundreds of times slower than tensorflow, for tiny tests only: ${faults.join("; ")}`,
  );
}

const loadTfjs = async () => ({ ...await import("./tf.ts"), ...await import("./patches.ts") });

async function startTensorFlow(
  { threads, fetch, member }: BackendOptions,
  reason: string,
): Promise<BackendInfo> {
  const library = await ensureLibrary({ fetch });
  const { createBinding, setCurrentBinding } = await import("./binding.ts");
  const { patchTfjs, requirePackage, tf } = await loadTfjs();
  const binding = createBinding(library.path, { intraOpThreads: threads, member });
  const gpu = binding.isUsingGpuDevice();
  const dist = "@tensorflow/tfjs-node-gpu/dist/";
  requirePackage(`${dist}register_all_kernels.js`);
  const { NodeJSKernelBackend } = requirePackage(`${dist}nodejs_kernel_backend.js`) as {
    readonly NodeJSKernelBackend: new (binding: Binding, packageName: string) => object;
  };
  const backend = new NodeJSKernelBackend(binding, `@tensorflow/tfjs-node${gpu ? "-gpu" : ""}`);
  tf.registerBackend("tensorflow", () => backend as ReturnType<typeof tf.backend>, 3);
  if (!tf.setBackend("tensorflow")) throw new CyclopsError("Cannot start the tensorflow backend");
  patchTfjs("tensorflow");
  setCurrentBinding(binding);
  const noGpu = library.variant?.package === "tensorflow" && !gpu;
  return {
    name: "tensorflow",
    version: binding.TF_Version,
    library: library.path,
    devices: binding.devices.map((name) => name.replace(/^.*device:/, "")),
    gpu,
    threads,
    reason: `${reason}; library from ${library.source}${noGpu ? "; no GPU was found" : ""}`,
  };
}

async function startWebGpu(reason: string): Promise<BackendInfo> {
  const adapter = await navigator.gpu?.requestAdapter();
  if (!adapter) {
    throw new CyclopsError(
      "Cannot start the webgpu backend: no adapter found; install a Vulkan driver " +
        "(Debian: apt-get install mesa-vulkan-drivers libvulkan1)",
    );
  }
  const { patchTfjs, requirePackage, tf } = await loadTfjs();
  requirePackage("@tensorflow/tfjs-backend-webgpu");
  if (!await tf.setBackend("webgpu")) throw new CyclopsError("Cannot start the webgpu backend");
  await tf.ready();
  patchTfjs("webgpu");
  const device = adapter.info?.description || "webgpu adapter";
  const software = /llvmpipe|swiftshader|software/i.test(`${device} ${adapter.info?.architecture}`);
  const slow = software ? "a GPU emulated on the CPU, about 25 times slower than tensorflow; " : "";
  return { name: "webgpu", version: tf.version.tfjs, devices: [device], gpu: true, reason: slow + reason };
}

async function startCpu(reason: string): Promise<BackendInfo> {
  const { patchTfjs, plainJavaScript, tf } = await loadTfjs();
  plainJavaScript.chosen = true;
  if (!await tf.setBackend("cpu")) throw new CyclopsError("Cannot start the cpu backend");
  await tf.ready();
  patchTfjs("cpu");
  return { name: "cpu", version: tf.version.tfjs, devices: ["JavaScript"], gpu: false, reason };
}
