/**
 * Looking over the machine: what is there, what is missing, and how to mend it.
 *
 * @module
 */
import { dirname } from "@std/path";
import { messageOf } from "../../lib/base/errors.ts";
import { formatBytes } from "../../lib/base/terminal.ts";
import { cpuFeatures } from "../../lib/backend/cpu.ts";
import { cacheFolder, deepLibraryFault, findLibrary, freeBytes } from "../../lib/backend/install.ts";
import type { BackendOptions } from "../../lib/backend/options.ts";
import { type BackendInfo, selectBackend } from "../../lib/backend/select.ts";
import { type Tensor4D, tf } from "../../lib/backend/tf.ts";

/** One line of the examination. */
export interface Finding {
  /** What was looked at, e.g. "Python". */
  readonly what: string;
  /** What was found, e.g. "3.11.7". */
  readonly found: string;
  /** `problem`: something does not work or will not; `note`: it works, though not as well as it could. */
  readonly state: "good" | "note" | "problem";
  /** What to do about it. */
  readonly mend?: string;
}

/** The examination's result. */
export interface Diagnosis {
  /** In the order in which they are shown. */
  readonly findings: readonly Finding[];
  /** Whether a network can be trained here. */
  readonly canTrain: boolean;
}

/** Free memory and disk below which the quickstart may fail, in bytes. */
const WANTED_MEMORY = 4e9;
const WANTED_DISK = 2e9;

/**
 * Looks over the machine. Starts the backend that tasks would use; fetches nothing and changes nothing.
 *
 * @param options Which backend the examination is about.
 */
export async function examine(options: BackendOptions = {}): Promise<Diagnosis> {
  const backend = await tryBackend(options);
  const findings = [
    denoFinding(),
    await nodeFinding(),
    ...await pythonFindings(),
    cpuFinding(),
    await libraryFinding(),
    await webgpuFinding(),
    backend.finding,
    ...(backend.info ? [await computationFinding(backend.info)] : []),
    await sharpFinding(),
    memoryFinding(),
    ...await diskFindings(),
  ];
  const computes = findings.every(({ what, state }) => what !== "Computation" || state !== "problem");
  return { findings, canTrain: computes && backend.info !== undefined && backend.info.name !== "cpu" };
}

const good = (what: string, found: string): Finding => ({ what, found, state: "good" });

function denoFinding(): Finding {
  const [major, minor] = Deno.version.deno.split(".").map(Number);
  if (major > 2 || (major === 2 && minor >= 9)) return good("Deno", Deno.version.deno);
  return {
    what: "Deno",
    found: Deno.version.deno,
    state: "problem",
    mend: "Deno 2.9 or newer is needed: deno upgrade, or npx -y deno@2.9.6 task …",
  };
}

/** Runs a program and gives the first line it prints, or `undefined` when it cannot be run. */
async function firstLine(program: string, ...args: string[]): Promise<string | undefined> {
  try {
    const output = await new Deno.Command(program, { args, stdin: "null", stderr: "null" }).output();
    return output.success ? new TextDecoder().decode(output.stdout).split("\n")[0].trim() : undefined;
  } catch {
    return undefined;
  }
}

async function nodeFinding(): Promise<Finding> {
  return good("Node", await firstLine("node", "--version") ?? "none (not needed)");
}

async function pythonFindings(): Promise<Finding[]> {
  const python = await firstLine("python3", "--version");
  // Python and pip only fetch libtensorflow; once it is there, they are not missed.
  const state = findLibraryQuietly() ? "note" : "problem";
  const mend = "install Python 3.9 or newer with pip (Debian: apt-get install python3-pip)";
  if (python === undefined) return [{ what: "Python", found: "none", state, mend }];
  const pip = await firstLine("python3", "-m", "pip", "--version");
  return [
    good("Python", python.replace(/^Python /, "")),
    pip === undefined
      ? { what: "pip", found: "none", state, mend }
      : good("pip", pip.replace(/^pip (\S+).*$/, "$1")),
  ];
}

function cpuFinding(): Finding {
  const { known, model, cores, avx2, avx512, bf16, amx } = cpuFeatures();
  if (!known) return good("Processor", `${cores} cores, features unknown`);
  const features = [avx2 && "AVX2", avx512 && "AVX-512", bf16 && "bfloat16", amx && "AMX"].filter(Boolean);
  const found = `${model}, ${cores} cores, ${features.join(", ") || "no AVX2"}`;
  if (bf16) return good("Processor", found);
  const mend = "no bfloat16 arithmetic: keep to float32, which is the default";
  return { what: "Processor", found, state: "note", mend };
}

function findLibraryQuietly(): ReturnType<typeof findLibrary> {
  try {
    return findLibrary();
  } catch {
    return undefined;
  }
}

async function libraryFinding(): Promise<Finding> {
  const what = "libtensorflow";
  try {
    const library = findLibrary();
    if (!library) return { what, found: "not installed", state: "problem", mend: "deno task setup" };
    const fault = await deepLibraryFault(library);
    if (!fault) return good(what, `${library.path} (${library.source})`);
    return { what, found: `${library.path}: ${fault}`, state: "problem", mend: "deno task setup" };
  } catch (error) {
    return {
      what,
      found: messageOf(error),
      state: "problem",
      mend: "unset CYCLOPS_LIBTENSORFLOW, or set it right",
    };
  }
}

async function webgpuFinding(): Promise<Finding> {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  if (adapter) return good("WebGPU", adapter.info.description || adapter.info.vendor || "an adapter");
  const mend =
    "only needed where there is no libtensorflow; Debian: apt-get install mesa-vulkan-drivers libvulkan1";
  return { what: "WebGPU", found: "no adapter", state: "note", mend };
}

async function tryBackend(
  options: BackendOptions,
): Promise<{ readonly info?: BackendInfo; readonly finding: Finding }> {
  const what = "Backend";
  try {
    const info = await selectBackend({ ...options, fetch: false }, () => {});
    const threads = info.name === "tensorflow"
      ? `, ${info.threads ?? navigator.hardwareConcurrency} threads`
      : "";
    const found = `${info.name} ${info.version} on ${info.devices.join(", ")}${threads}: ${info.reason}`;
    if (info.name === "tensorflow") return { info, finding: good(what, found) };
    const state = info.name === "cpu" ? "problem" : "note";
    return { info, finding: { what, found, state, mend: "deno task setup brings the tensorflow backend" } };
  } catch (error) {
    const finding: Finding = { what, found: messageOf(error), state: "problem", mend: "deno task setup" };
    return { finding };
  }
}

/** A convolution's gradient, computed and compared with its exact value. */
async function computationFinding(info: BackendInfo): Promise<Finding> {
  const what = "Computation";
  try {
    const slope = tf.tidy(() => {
      const image = tf.ones([1, 4, 6, 1]) as Tensor4D;
      return tf.grad((kernel) => tf.sum(tf.conv2d(image, kernel as Tensor4D, 1, "same")))(
        tf.ones([3, 3, 1, 1]),
      );
    });
    const values = [...await slope.data()];
    slope.dispose();
    const wanted = [15, 18, 15, 20, 24, 20, 15, 18, 15];
    if (values.every((value, i) => Math.abs(value - wanted[i]) < 1e-3)) {
      const device = info.gpu ? "on the GPU" : `by ${info.name}`;
      return good(what, `a convolution's gradient is right, ${device}`);
    }
    return {
      what,
      found: `a convolution's gradient is ${values}`,
      state: "problem",
      mend: "use another --backend",
    };
  } catch (error) {
    return { what, found: messageOf(error), state: "problem", mend: "use another --backend" };
  }
}

async function sharpFinding(): Promise<Finding> {
  const what = "sharp (images)";
  try {
    const { default: sharp } = await import("sharp");
    await sharp({ create: { width: 2, height: 2, channels: 3, background: "red" } }).png().toBuffer();
    return good(what, sharp.versions.sharp ?? "works");
  } catch (error) {
    return {
      what,
      found: messageOf(error).split("\n")[0],
      state: "problem",
      mend: "deno install, with the network up",
    };
  }
}

function memoryFinding(): Finding {
  const { available } = Deno.systemMemoryInfo();
  const found = `${formatBytes(available)} free`;
  if (available >= WANTED_MEMORY) return good("Memory", found);
  const mend = `the quickstart may need ${
    formatBytes(WANTED_MEMORY)
  }: close something, or use a smaller --batch`;
  return { what: "Memory", found, state: "note", mend };
}

async function diskFindings(): Promise<Finding[]> {
  const places = [["Disk, here", "."]];
  try {
    places.push(["Disk, cache", await nearestFolder(cacheFolder())]);
  } catch {
    // Said by the library's finding.
  }
  return await Promise.all(places.map(async ([what, folder]): Promise<Finding> => {
    try {
      const free = await freeBytes(folder);
      const found = `${formatBytes(free)} free`;
      if (free >= WANTED_DISK) return good(what, found);
      return { what, found, state: "note", mend: `${formatBytes(WANTED_DISK)} are wanted: free some` };
    } catch (error) {
      return { what, found: messageOf(error), state: "note", mend: "check the folder's owner" };
    }
  }));
}

async function nearestFolder(folder: string): Promise<string> {
  for (let at = folder;; at = dirname(at)) {
    if (at === dirname(at) || await Deno.stat(at).then(() => true, () => false)) return at;
  }
}
