/**
 * Chooses what computes: TensorFlow's own library, WebGPU, or plain JavaScript.
 *
 * @module
 */
import { CyclopsError, messageOf, UsageError } from "../base/errors.ts";
import { type Binding, createBinding } from "./binding.ts";
import { ensureLibrary } from "./install.ts";
import { correctKernels } from "./kernels.ts";
import { type BackendName, type BackendOptions, BACKENDS } from "./options.ts";
import { findLibrary } from "./paths.ts";
import { requirePackage, tf } from "./tf.ts";

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
let nativeBinding: Binding | undefined;

/** The binding in use, or `undefined` when another backend was chosen. */
export function currentBinding(): Binding | undefined {
  return nativeBinding;
}

/**
 * Chooses and starts the backend. Call it before the first operation; later calls return the same answer.
 *
 * @throws {UsageError} When the backend's name is unknown, or another one is already in use.
 * @throws {CyclopsError} When the backend asked for cannot be started here.
 */
export async function selectBackend(options: BackendOptions = {}): Promise<BackendInfo> {
  const wanted = options.backend ?? backendFromEnvironment();
  if (selected) {
    const info = await selected;
    if (options.backend && options.backend !== "auto" && options.backend !== info.name) {
      throw new UsageError(
        `Cannot switch to backend ${options.backend}: ${info.name} is already in use in this process`,
      );
    }
    return info;
  }
  selected = start(wanted, options.threads);
  selected.catch(() => selected = undefined);
  return await selected;
}

/**
 * Chooses and starts the backend, and fetches libtensorflow first where it is wanted and absent. What tasks call.
 *
 * @param warn Takes a line for the user when something slower than tensorflow computes. @default standard error
 * @throws {UsageError} When the backend's name is unknown, or another one is already in use.
 * @throws {CyclopsError} When the backend asked for cannot be started here.
 */
export async function prepareBackend(
  options: BackendOptions = {},
  warn: (line: string) => void = console.error,
): Promise<BackendInfo> {
  const wanted = options.backend ?? backendFromEnvironment();
  if (!selected && (wanted === "auto" || wanted === "tensorflow")) {
    try {
      await ensureLibrary();
    } catch (error) {
      if (wanted === "tensorflow") throw error;
      warn(messageOf(error));
    }
  }
  const info = await selectBackend(options);
  if (info.name !== "tensorflow") warn(`Computing with ${info.name}: ${info.reason}`);
  return info;
}

function backendFromEnvironment(): BackendName {
  const name = Deno.env.get("CYCLOPS_BACKEND") || "auto";
  if (!(BACKENDS as readonly string[]).includes(name)) {
    throw new UsageError(`Cannot use CYCLOPS_BACKEND="${name}": wanted ${BACKENDS.join(", ")}`);
  }
  return name as BackendName;
}

async function start(wanted: BackendName, threads: number | undefined): Promise<BackendInfo> {
  switch (wanted) {
    case "tensorflow":
      return startTensorFlow(threads, "asked for");
    case "webgpu":
      return await startWebGpu("asked for");
    case "cpu":
      return await startCpu("asked for; fit for tiny tests only");
    case "auto": {
      const reasons: string[] = [];
      try {
        return startTensorFlow(threads, "the fastest here");
      } catch (error) {
        reasons.push(messageOf(error));
      }
      try {
        return await startWebGpu(`slower than tensorflow, which is not available: ${reasons[0]}`);
      } catch (error) {
        reasons.push(messageOf(error));
      }
      return await startCpu(`for tiny tests only: ${reasons.join("; ")}`);
    }
  }
}

interface NodeBackendModule {
  readonly NodeJSKernelBackend: new (binding: Binding, packageName: string) => object;
}

function startTensorFlow(threads: number | undefined, reason: string): BackendInfo {
  const found = findLibrary();
  if (!found) {
    throw new CyclopsError(
      "Cannot start the tensorflow backend: libtensorflow is not installed; run deno task setup",
    );
  }
  const binding = createBinding(found.path, { intraOpThreads: threads });
  const dist = "@tensorflow/tfjs-node-gpu/dist/";
  requirePackage(`${dist}register_all_kernels.js`);
  const { NodeJSKernelBackend } = requirePackage(`${dist}nodejs_kernel_backend.js`) as NodeBackendModule;
  const packageName = binding.isUsingGpuDevice() ? "@tensorflow/tfjs-node-gpu" : "@tensorflow/tfjs-node";
  tf.registerBackend(
    "tensorflow",
    () => new NodeJSKernelBackend(binding, packageName) as ReturnType<typeof tf.backend>,
    3,
  );
  if (!tf.setBackend("tensorflow")) throw new CyclopsError("Cannot start the tensorflow backend");
  correctKernels("tensorflow");
  nativeBinding = binding;
  const gpu = binding.isUsingGpuDevice();
  return {
    name: "tensorflow",
    version: binding.TF_Version,
    library: found.path,
    devices: binding.devices.map((name) => name.replace(/^.*device:/, "")),
    gpu,
    threads,
    reason: `${reason}; library from ${found.source}${found.cuda && !gpu ? "; no GPU was found" : ""}`,
  };
}

async function startWebGpu(reason: string): Promise<BackendInfo> {
  const gpu =
    (navigator as { gpu?: { requestAdapter(): Promise<{ info?: { description?: string } } | null> } })
      .gpu;
  const adapter = await gpu?.requestAdapter();
  if (!adapter) {
    throw new CyclopsError(
      "Cannot start the webgpu backend: no adapter found; install a Vulkan driver " +
        "(on Debian: apt-get install mesa-vulkan-drivers libvulkan1)",
    );
  }
  requirePackage("@tensorflow/tfjs-backend-webgpu");
  if (!await tf.setBackend("webgpu")) throw new CyclopsError("Cannot start the webgpu backend");
  await tf.ready();
  correctKernels("webgpu");
  return {
    name: "webgpu",
    version: tf.version.tfjs,
    devices: [adapter.info?.description || "webgpu adapter"],
    gpu: true,
    reason,
  };
}

async function startCpu(reason: string): Promise<BackendInfo> {
  if (!await tf.setBackend("cpu")) throw new CyclopsError("Cannot start the cpu backend");
  await tf.ready();
  // Otherwise its first use prints a banner that recommends tfjs-node.
  (tf.backend() as unknown as { firstUse: boolean }).firstUse = false;
  correctKernels("cpu");
  return { name: "cpu", version: tf.version.tfjs, devices: ["JavaScript"], gpu: false, reason };
}
