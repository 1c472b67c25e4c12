/**
 * Fetching libtensorflow: a Python wheel downloaded by pip, of which only the C library is unpacked, into the user's
 * cache folder. No compiler, no Python package is installed.
 *
 * @module
 */
import { statfs } from "node:fs/promises";
import { dirname, join } from "@std/path";
import { CyclopsError, messageOf } from "../base/errors.ts";
import { exists, fileError, hashFile, lockFile, writeAtomic } from "../base/files.ts";
import { Progress } from "../base/progress.ts";
import { formatBytes } from "../base/terminal.ts";
import {
  chosenFile,
  DEFAULT_VARIANT,
  findLibrary,
  FRAMEWORK_FILE,
  LIBRARY_FILE,
  libraryRoot,
  type Variant,
  variantFolder,
  variantName,
} from "./paths.ts";
import { ZipFile, type ZipMember } from "./zip.ts";

/** A wheel whose content is known. */
export interface PinnedWheel {
  /** As pip takes it, e.g. "tensorflow-cpu==2.15.1". */
  readonly requirement: string;
  /** SHA-256 of the wheel, hexadecimal. */
  readonly sha256: string;
  /** Size of the wheel. */
  readonly bytes: number;
  /** Size of what is unpacked from it. */
  readonly unpacked: number;
}

/** The wheels that are checked against a hash kept here; others against the package registry's own, by pip. */
export const PINNED_WHEELS: readonly PinnedWheel[] = [
  {
    requirement: "tensorflow-cpu==2.15.1",
    sha256: "54660c074d7241a503e81edfd9f5ef5af88f64051b72e2945f26318c790f2d26",
    bytes: 207_208_420,
    unpacked: 613_776_168,
  },
  {
    requirement: "tensorflow==2.15.1",
    sha256: "bb0edd69103c154245c5f209f0507355cc68ba7e4de350084bc31edc562478e4",
    bytes: 475_258_663,
    unpacked: 1_029_821_200,
  },
];

/** Free space asked for when a wheel's size is not known, in bytes. */
const UNKNOWN_WHEEL = 2.5e9;
/** Free space asked for NVIDIA's libraries, in bytes. */
const CUDA_LIBRARIES = 6e9;

/** How one wheel is fetched. */
export type Downloader = (
  /** As pip takes it, e.g. "tensorflow-cpu==2.15.1". */
  requirement: string,
  /** An empty folder of this download's own; the wheel shall be the only `.whl` file in it. */
  folder: string,
  signal: AbortSignal | undefined,
) => Promise<void>;

/** What can be changed about {@linkcode installLibrary}, mostly by tests. */
export interface InstallOptions {
  /** Which build to fetch. @default tensorflow-cpu 2.15.1 */
  readonly variant?: Variant;
  /** Folder of all variants. @default `$XDG_CACHE_HOME/cyclops/libtensorflow` */
  readonly root?: string;
  /** How a wheel is fetched. @default pip */
  readonly download?: Downloader;
  /** Wheels whose hash is known. @default {@linkcode PINNED_WHEELS} */
  readonly pinned?: readonly PinnedWheel[];
  /** Stops the work; what was done so far is removed. */
  readonly signal?: AbortSignal;
  /** Takes lines and progress for a person to read. @default standard error */
  readonly write?: (text: string) => void;
  /** Bytes free in a folder. @default what the file system says */
  readonly freeBytes?: (folder: string) => Promise<number>;
  /** The machine, as `Deno.build` describes it. */
  readonly platform?: { readonly os: string; readonly arch: string };
}

/** What was installed. */
export interface Installed {
  /** Which build. */
  readonly variant: Variant;
  /** The variant's folder. */
  readonly folder: string;
  /** Path of the C library. */
  readonly library: string;
  /** False when it was there already. */
  readonly fetched: boolean;
}

/** Written beside the library when all of it is there. */
interface Manifest {
  readonly variant: Variant;
  /** Sizes of all files, by path inside the variant's folder. */
  readonly files: Readonly<Record<string, number>>;
}

/**
 * Fetches a variant of libtensorflow unless it is there already, and makes it the one that tasks use.
 *
 * The folder appears at its place whole or not at all. Of several processes one works and the others wait; the lock
 * is the kernel's, so it goes when its holder dies.
 *
 * @throws {CyclopsError} Without Python, pip, room on the disk or a supported machine; on a failed or wrong download.
 */
export async function installLibrary(options: InstallOptions = {}): Promise<Installed> {
  const variant = options.variant ?? DEFAULT_VARIANT;
  const root = options.root ?? libraryRoot();
  const folder = variantFolder(variant, root);
  const result = { variant, folder, library: join(folder, LIBRARY_FILE) };
  if (await isComplete(folder)) {
    await choose(variant, root);
    return { ...result, fetched: false };
  }
  checkPlatform(options.platform ?? Deno.build);
  const write = options.write ??
    ((text: string) => void Deno.stderr.writeSync(new TextEncoder().encode(text)));
  try {
    await Deno.mkdir(root, { recursive: true });
  } catch (error) {
    throw fileError("make the cache folder", root, error);
  }
  using _lock = await lockFile(
    join(root, `${variantName(variant)}.lock`),
    () => write(`Another process is fetching ${variantName(variant)}; waiting for it.\n`),
  );
  if (await isComplete(folder)) {
    await choose(variant, root);
    return { ...result, fetched: false };
  }
  await removeStaging(variant, root);
  await checkSpace(variant, root, options);
  const staging = join(root, `.${variantName(variant)}.${Deno.pid}.part`);
  try {
    await fetchVariant(variant, staging, options, write);
    options.signal?.throwIfAborted();
    await replaceFolder(join(staging, "whole"), folder);
  } catch (error) {
    if (options.signal?.aborted) {
      throw new CyclopsError("Fetching libtensorflow was interrupted; nothing is left");
    }
    throw error;
  } finally {
    await Deno.remove(staging, { recursive: true }).catch(() => {});
  }
  await choose(variant, root);
  return { ...result, fetched: true };
}

/**
 * The path of libtensorflow: where it is, or where it is now that it has been fetched. For tasks that need it.
 *
 * @throws {CyclopsError} When it is absent and cannot be fetched, saying what to do.
 */
export async function ensureLibrary(): Promise<string> {
  const found = findLibrary();
  if (found) return found.path;
  const python = await Deno.permissions.query({ name: "run", command: "python3" });
  if (python.state !== "granted") {
    throw new CyclopsError("Cannot find libtensorflow: it is not installed; run deno task setup");
  }
  const interrupted = new AbortController();
  const stop = () => interrupted.abort();
  Deno.addSignalListener("SIGINT", stop);
  Deno.addSignalListener("SIGTERM", stop);
  try {
    return (await installLibrary({ signal: interrupted.signal })).library;
  } finally {
    Deno.removeSignalListener("SIGINT", stop);
    Deno.removeSignalListener("SIGTERM", stop);
  }
}

/** True when a variant's folder holds all files of its manifest at their sizes. */
export async function isComplete(folder: string): Promise<boolean> {
  try {
    const manifest = JSON.parse(await Deno.readTextFile(join(folder, MANIFEST))) as Manifest;
    const files = Object.entries(manifest.files);
    for (const [name, size] of files) {
      if ((await Deno.stat(join(folder, name))).size !== size) return false;
    }
    return LIBRARY_FILE in manifest.files;
  } catch {
    return false;
  }
}

const MANIFEST = "manifest.json";

async function choose(variant: Variant, root: string): Promise<void> {
  const record = JSON.stringify(variant) + "\n";
  const current = await Deno.readTextFile(chosenFile(root)).catch(() => "");
  if (current !== record) await writeAtomic(chosenFile(root), record);
}

function checkPlatform({ os, arch }: { readonly os: string; readonly arch: string }): void {
  if (os === "linux" && arch === "x86_64") return;
  throw new CyclopsError(
    `Cannot fetch libtensorflow: this machine is ${os} ${arch}, and only linux x86_64 is supported; use ` +
      "--backend webgpu, or point CYCLOPS_LIBTENSORFLOW to a libtensorflow_cc (2.12 or newer) of your own",
  );
}

/** Removes what processes that were killed have left behind; the caller holds the lock. */
async function removeStaging(variant: Variant, root: string): Promise<void> {
  const prefix = `.${variantName(variant)}.`;
  for await (const entry of Deno.readDir(root)) {
    if (entry.isDirectory && entry.name.startsWith(prefix)) {
      await Deno.remove(join(root, entry.name), { recursive: true });
    }
  }
}

async function checkSpace(variant: Variant, root: string, options: InstallOptions): Promise<void> {
  const pin = pinOf(requirementOf(variant), options.pinned);
  // pip copies the wheel once before it removes its own.
  const wheel = pin ? 2 * pin.bytes + pin.unpacked : UNKNOWN_WHEEL;
  const needed = wheel + (variant.package === "tensorflow" ? CUDA_LIBRARIES : 0);
  const free = await (options.freeBytes ?? freeBytes)(root);
  if (free >= needed) return;
  throw new CyclopsError(
    `Cannot fetch ${variantName(variant)}: ${root} has ${formatBytes(free)} free, wanted ${
      formatBytes(needed)
    }; ` +
      "free some, or set XDG_CACHE_HOME to a folder on a larger disk",
  );
}

/** Bytes that this user may still write in a folder. */
export async function freeBytes(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return Number(bavail) * Number(bsize);
}

function requirementOf(variant: Variant): string {
  return `${variant.package}==${variant.version}`;
}

function pinOf(requirement: string, pinned: readonly PinnedWheel[] = PINNED_WHEELS): PinnedWheel | undefined {
  return pinned.find((pin) => pin.requirement === requirement);
}

async function fetchVariant(
  variant: Variant,
  staging: string,
  options: InstallOptions,
  write: (text: string) => void,
): Promise<void> {
  const whole = join(staging, "whole");
  await Deno.mkdir(whole, { recursive: true });
  const files: Record<string, number> = {};
  const fetchWheel = async (
    requirement: string,
    pick: (members: readonly ZipMember[]) => readonly ZipMember[],
  ) => {
    const wheel = await downloadWheel(requirement, join(staging, "download"), options, write);
    using zip = await ZipFile.open(wheel);
    const members = pick(zip.members);
    for (const member of members) {
      const path = join(whole, member.name);
      await Deno.mkdir(dirname(path), { recursive: true });
      await zip.extract(member, path, options.signal);
      if (member.name.includes("/bin/")) await Deno.chmod(path, 0o755);
      files[member.name] = member.size;
    }
    const metadata = zip.members.find((member) => /^[^/]+\.dist-info\/METADATA$/.test(member.name));
    const text = metadata ? await zip.readText(metadata) : "";
    await Deno.remove(join(staging, "download"), { recursive: true });
    return text;
  };

  const metadata = await fetchWheel(requirementOf(variant), pickLibrary(variant));
  if (variant.package === "tensorflow") {
    const companions = cudaRequirements(metadata);
    if (companions.length === 0) {
      write("This version names no CUDA wheels of its own: it will look for CUDA on the system.\n");
    }
    for (const requirement of companions) await fetchWheel(requirement, pickCuda);
  }
  const manifest: Manifest = { variant, files };
  await writeAtomic(join(whole, MANIFEST), JSON.stringify(manifest, null, 2) + "\n");
}

function pickLibrary(variant: Variant) {
  return (members: readonly ZipMember[]) =>
    [LIBRARY_FILE, FRAMEWORK_FILE].map((name) => {
      const member = members.find((m) => m.name === name);
      if (member) return member;
      throw new CyclopsError(
        `Cannot use ${
          requirementOf(variant)
        }: its wheel holds no ${name}; TensorFlow 2.12 was the first with one`,
      );
    });
}

/** NVIDIA's libraries and the two helpers that TensorFlow calls, laid out as TensorFlow's search path expects them. */
function pickCuda(members: readonly ZipMember[]): readonly ZipMember[] {
  return members.filter(({ name }) =>
    /^nvidia\/[^/]+\/(lib|bin|nvvm)\/./.test(name) && !name.endsWith("/") && !name.split("/").includes("..")
  );
}

/**
 * The wheels that `pip install tensorflow[and-cuda]` would bring along, from the METADATA of tensorflow's own wheel.
 *
 * @returns Such as "nvidia-cublas-cu12==12.2.5.6".
 */
export function cudaRequirements(metadata: string): string[] {
  return [...metadata.matchAll(/^Requires-Dist:\s*(nvidia-[\w.-]+)\s*\(?==\s*([\w.]+)\)?\s*;.*and-cuda/gm)]
    .map(([, name, version]) => `${name}==${version}`);
}

async function downloadWheel(
  requirement: string,
  folder: string,
  options: InstallOptions,
  write: (text: string) => void,
): Promise<string> {
  const pin = pinOf(requirement, options.pinned);
  if (!pin) {
    write(`No hash is kept here for ${requirement}: pip checks it against the package registry's own.\n`);
  }
  await Deno.mkdir(folder, { recursive: true });
  const progress = new Progress({
    label: requirement,
    total: pin && Math.round(pin.bytes / 1e6),
    unit: "MB",
    write,
    terminal: options.write ? false : undefined,
  });
  progress.update(0);
  const polling = setInterval(async () => {
    const bytes = Math.min(await sizeOfFolder(folder), pin?.bytes ?? Infinity);
    if (bytes > 0) progress.update(Math.round(bytes / 1e6));
  }, 100);
  try {
    await (options.download ?? pipDownloader())(requirement, folder, options.signal);
  } finally {
    clearInterval(polling);
  }
  options.signal?.throwIfAborted();
  const wheels: string[] = [];
  for await (const entry of Deno.readDir(folder)) if (entry.name.endsWith(".whl")) wheels.push(entry.name);
  if (wheels.length !== 1) {
    throw new CyclopsError(`Cannot fetch ${requirement}: ${wheels.length} wheels arrived, wanted 1`);
  }
  const path = join(folder, wheels[0]);
  const size = (await Deno.stat(path)).size;
  progress.finish(`${requirement}  ${formatBytes(size)}`);
  if (pin) {
    const found = await hashFile(path);
    if (found !== pin.sha256) {
      throw new CyclopsError(
        `Cannot trust ${
          wheels[0]
        }: its SHA-256 is ${found}, wanted ${pin.sha256}; the download was damaged or is ` +
          "not the official file; run deno task setup again",
      );
    }
  }
  return path;
}

async function sizeOfFolder(folder: string): Promise<number> {
  let bytes = 0;
  try {
    for await (const entry of Deno.readDir(folder)) {
      const path = join(folder, entry.name);
      bytes += entry.isDirectory ? await sizeOfFolder(path) : (await Deno.stat(path)).size;
    }
  } catch {
    // Files come and go while pip works.
  }
  return bytes;
}

/** Puts a folder in another's place; a process that has the old one's library loaded keeps it. */
async function replaceFolder(from: string, to: string): Promise<void> {
  const old = `${from}.old`;
  if (await exists(to)) await Deno.rename(to, old);
  try {
    await Deno.rename(from, to);
  } catch (error) {
    throw fileError("write", to, error);
  }
}

/** The wheels of Linux x86-64 for CPython 3.11, whatever Python runs pip: only C libraries are taken from them. */
const PIP_TARGET = [
  "--only-binary=:all:",
  "--python-version=3.11",
  ...[
    "manylinux1_x86_64",
    "manylinux2014_x86_64",
    "manylinux_2_17_x86_64",
    "manylinux_2_27_x86_64",
    "linux_x86_64",
  ]
    .map((platform) => `--platform=${platform}`),
];

/**
 * Downloads by `python3 -m pip download`.
 *
 * @param pipOptions More options for pip, e.g. `["--no-index", "--find-links=DIR"]`.
 * @param python The interpreter to run. @default "python3"
 */
export function pipDownloader(pipOptions: readonly string[] = [], python = "python3"): Downloader {
  return async (requirement, folder, signal) => {
    const failed = (found: string) => new CyclopsError(`Cannot fetch ${requirement}: ${found}`);
    // pip first writes here; inside the staging folder it is seen by the progress bar and removed with it.
    const temporary = join(folder, "pip");
    await Deno.mkdir(temporary);
    let output: Deno.CommandOutput;
    try {
      output = await new Deno.Command(python, {
        args: [
          ...[
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--no-cache-dir",
            "--disable-pip-version-check",
          ],
          ...PIP_TARGET,
          ...pipOptions,
          ...["--dest", folder, requirement],
        ],
        env: { TMPDIR: temporary },
        stdin: "null",
        stdout: "null",
        stderr: "piped",
        signal,
      }).output();
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) {
        throw failed(
          `${python} is not installed; install Python 3.9 or newer with pip (Debian: python3-pip)`,
        );
      }
      if (error instanceof Deno.errors.NotCapable) throw error;
      throw failed(messageOf(error));
    }
    await Deno.remove(temporary, { recursive: true }).catch(() => {});
    if (output.success) return;
    signal?.throwIfAborted();
    const said = new TextDecoder().decode(output.stderr).trim();
    if (/No module named pip/.test(said)) {
      throw failed(`${python} has no pip; install it (Debian: apt-get install python3-pip) and try again`);
    }
    if (/No space left/.test(said)) throw failed("no space left on the disk; free some and try again");
    const lines = said.split("\n").filter((line) => /error/i.test(line));
    throw failed(`pip says: ${(lines.length ? lines : said.split("\n")).slice(-2).join(" ").trim()}`);
  };
}
