/**
 * Checks the machine: what works, what is missing, and how to fix it.
 *
 * @module
 */
import { dirname } from "@std/path";
import { cpuFeatures } from "../../lib/backend/ops.ts";
import { cacheFolder, deepLibraryFault, findLibrary, freeBytes } from "../../lib/backend/install.ts";
import { type BackendInfo, type BackendOptions, selectBackend } from "../../lib/backend/select.ts";
import { type Tensor4D, tf } from "../../lib/backend/tf.ts";
import { messageOf } from "../../lib/base/errors.ts";
import { formatBytes } from "../../lib/base/terminal.ts";

/** One line of the diagnosis. */
export interface Finding {
  /** What was checked, e.g. "Python". */
  readonly what: string;
  /** What was found, e.g. "3.11.7". */
  readonly found: string;
  /** `problem`: something does not work; `note`: it works, though not as well as it could. */
  readonly state: "ok" | "note" | "problem";
  /** What to do about it; for a note or a problem. */
  readonly fix?: string;
}

/** The result of {@linkcode examine}. */
export interface Diagnosis {
  /** In the order in which they are shown. */
  readonly findings: readonly Finding[];
  /** Whether a network can be trained here. */
  readonly canTrain: boolean;
}

/** Free memory and disk below which the quickstart may fail, bytes. */
const NEEDED_MEMORY = 4e9, NEEDED_DISK = 2e9;

/** Checks the machine. Starts the backend that tasks would use; fetches nothing and changes nothing. */
export async function examine(options: BackendOptions = {}): Promise<Diagnosis> {
  const { info, finding } = await checkBackend(options);
  const computation = info && await checkComputation(info);
  const findings = [
    checkDeno(),
    {
      what: "Node",
      found: await firstLine("node", "--version") ?? "none (not needed)",
      state: "ok",
    } as const,
    ...await checkPython(),
    checkProcessor(),
    await checkLibrary(),
    await checkWebGpu(),
    finding,
    ...(computation ? [computation] : []),
    await checkSharp(),
    checkMemory(),
    await checkDisk("Disk, here", () => "."),
    await checkDisk("Disk, cache", cacheFolder),
  ];
  const canTrain = computation?.state === "ok" && info?.name !== "cpu";
  return { findings, canTrain };
}

function checkDeno(): Finding {
  const what = "Deno", found = Deno.version.deno;
  const [major, minor] = found.split(".").map(Number);
  if (major > 2 || major === 2 && minor >= 9) return { what, found, state: "ok" };
  return {
    what,
    found,
    state: "problem",
    fix: "install Deno 2.9 or newer: deno upgrade, or npx -y deno@2.9.6 task …",
  };
}

/** Runs a program. @returns The first line it prints, or `undefined` when it fails. */
async function firstLine(program: string, ...args: string[]): Promise<string | undefined> {
  try {
    const output = await new Deno.Command(program, { args, stdin: "null", stderr: "null" }).output();
    return output.success ? new TextDecoder().decode(output.stdout).split("\n")[0].trim() : undefined;
  } catch {
    return undefined;
  }
}

async function checkPython(): Promise<Finding[]> {
  const python = await firstLine("python3", "--version");
  const pip = python && await firstLine("python3", "-m", "pip", "--version");
  let installed = false;
  try {
    installed = findLibrary() !== undefined;
  } catch { /* Reported by the library's check. */ }
  const missing = {
    found: "none",
    state: installed ? "note" : "problem", // they only fetch libtensorflow
    fix: "install Python 3.9 or newer with pip (Debian: apt-get install python3-pip)",
  } as const;
  const finding = (what: string, version?: string): Finding =>
    version ? { what, found: version.split(" ")[1], state: "ok" } : { what, ...missing };
  return python ? [finding("Python", python), finding("pip", pip)] : [finding("Python")];
}

function checkProcessor(): Finding {
  const { known, model, cores, avx2, avx512, bf16, amx } = cpuFeatures();
  const what = "Processor";
  if (!known) return { what, found: `${cores} cores, features unknown`, state: "ok" };
  const features = [avx2 && "AVX2", avx512 && "AVX-512", bf16 && "bfloat16", amx && "AMX"].filter(Boolean);
  const found = `${model}, ${cores} cores, ${features.join(", ") || "no AVX2"}`;
  if (bf16) return { what, found, state: "ok" };
  return { what, found, state: "note", fix: "no bfloat16 arithmetic: keep float32, the default" };
}

async function checkLibrary(): Promise<Finding> {
  const what = "libtensorflow";
  try {
    const library = findLibrary();
    if (!library) return { what, found: "not installed", state: "problem", fix: "deno task setup" };
    const fault = await deepLibraryFault(library);
    const { path, source, variant } = library;
    const found = variant ? dirname(dirname(path)) : `${path}, from ${source}`;
    if (!fault) return { what, found, state: "ok" };
    const fix = variant ? "deno task setup" : "unset CYCLOPS_LIBTENSORFLOW, or correct it";
    return { what, found: `${found}: ${fault}`, state: "problem", fix };
  } catch (error) {
    const fix = "unset CYCLOPS_LIBTENSORFLOW, or correct it";
    return { what, found: messageOf(error), state: "problem", fix };
  }
}

async function checkWebGpu(): Promise<Finding> {
  const what = "WebGPU";
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  if (adapter) {
    return { what, found: adapter.info.description || adapter.info.vendor || "an adapter", state: "ok" };
  }
  const fix = "only needed without libtensorflow; Debian: apt-get install mesa-vulkan-drivers libvulkan1";
  return { what, found: "no adapter", state: "note", fix };
}

async function checkBackend(
  options: BackendOptions,
): Promise<{ readonly info?: BackendInfo; readonly finding: Finding }> {
  const what = "Backend", fix = "deno task setup";
  try {
    const info = await selectBackend({ ...options, fetch: false }, () => {});
    const { name, version, devices, threads = navigator.hardwareConcurrency, reason } = info;
    const where = `${devices.join(", ")}${name === "tensorflow" ? `, ${threads} threads` : ""}`;
    const found = `${name} ${version} on ${where}: ${reason}`;
    if (name === "tensorflow") return { info, finding: { what, found, state: "ok" } };
    return { info, finding: { what, found, state: name === "cpu" ? "problem" : "note", fix } };
  } catch (error) {
    return { finding: { what, found: messageOf(error), state: "problem", fix } };
  }
}

/** Computes a convolution's gradient and compares it with its exact value. */
async function checkComputation(info: BackendInfo): Promise<Finding> {
  const what = "Computation", fix = "use another --backend";
  try {
    const slope = tf.tidy(() => {
      const image = tf.ones([1, 4, 6, 1]) as Tensor4D;
      return tf.grad((kernel) => tf.sum(tf.conv2d(image, kernel as Tensor4D, 1, "same")))(
        tf.ones([3, 3, 1, 1]),
      );
    });
    const values = [...await slope.data()];
    slope.dispose();
    const expected = [15, 18, 15, 20, 24, 20, 15, 18, 15];
    if (values.every((value, i) => Math.abs(value - expected[i]) < 1e-3)) {
      const found = `the gradient of a convolution is correct on ${info.gpu ? "the GPU" : info.name}`;
      return { what, found, state: "ok" };
    }
    const found = `the gradient of a convolution is ${values}, expected ${expected}`;
    return { what, found, state: "problem", fix };
  } catch (error) {
    return { what, found: messageOf(error), state: "problem", fix };
  }
}

async function checkSharp(): Promise<Finding> {
  const what = "sharp (images)";
  try {
    const { default: sharp } = await import("sharp");
    await sharp({ create: { width: 2, height: 2, channels: 3, background: "red" } }).png().toBuffer();
    return { what, found: sharp.versions.sharp ?? "works", state: "ok" };
  } catch (error) {
    const found = messageOf(error).split("\n")[0];
    return { what, found, state: "problem", fix: "deno install, with a network connection" };
  }
}

function checkMemory(): Finding {
  const { available } = Deno.systemMemoryInfo();
  const what = "Memory", found = `${formatBytes(available)} free`;
  if (available >= NEEDED_MEMORY) return { what, found, state: "ok" };
  const fix = `the quickstart may need ${
    formatBytes(NEEDED_MEMORY)
  }: close something, or use a smaller --batch`;
  return { what, found, state: "note", fix };
}

async function checkDisk(what: string, folder: () => string): Promise<Finding> {
  try {
    let at = folder();
    while (at !== dirname(at) && !await Deno.stat(at).then(() => true, () => false)) at = dirname(at);
    const free = await freeBytes(at), found = `${formatBytes(free)} free`;
    if (free >= NEEDED_DISK) return { what, found, state: "ok" };
    return { what, found, state: "note", fix: `${formatBytes(NEEDED_DISK)} are needed: free some` };
  } catch (error) {
    return { what, found: messageOf(error), state: "note", fix: "check the folder's owner" };
  }
}
