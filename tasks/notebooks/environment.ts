/**
 * The Python environment that notebooks run in: JupyterLab, pinned and hash-locked, with the Deno kernel. It lies in the
 * user's cache folder, shared by all clones that lock the same packages.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { dirname, join } from "@std/path";
import { cacheFolder } from "../../lib/backend/install.ts";
import { CyclopsError, messageOf } from "../../lib/base/errors.ts";
import { exists, fileError, lockFile, readJson, readText, writeAtomic } from "../../lib/base/files.ts";
import { Progress } from "../../lib/base/terminal.ts";

/** The packages with their hashes, for Linux and macOS and every Python from 3.9. */
export const REQUIREMENTS: string = join(import.meta.dirname!, "requirements.txt");

/** The oldest Python for which the packages are locked, and the first pip that installs into another environment. */
const OLDEST_PYTHON = [3, 9] as const, OLDEST_PIP = [22, 3] as const;

/** Options of {@linkcode ensureLab}, mostly for tests. */
export interface LabOptions {
  /** The Python that the environment is made of. @default CYCLOPS_PYTHON, else "python3" */
  readonly python?: string;
  /** A requirements file with hashes. @default {@linkcode REQUIREMENTS} */
  readonly requirements?: string;
  /** Folder of all environments. @default `$XDG_CACHE_HOME/cyclops` */
  readonly root?: string;
  /** Stops the work; a half-made environment is remade next time. */
  readonly signal?: AbortSignal;
  /** Receives progress for a person to read. @default standard error */
  readonly write?: (text: string) => void;
}

/** An environment on disk. */
export interface Lab {
  readonly folder: string;
  readonly python: string;
  /** Variables for its programs. */
  readonly env: Readonly<Record<string, string>>;
  /** False when it was there already. */
  readonly made: boolean;
}

/**
 * Makes the environment unless it exists, and puts a kernel into it that runs this very deno. One process works while
 * others wait; a half-made environment is remade.
 *
 * @throws {CyclopsError} Without Python 3.9, pip or network, with how to fix it.
 */
export async function ensureLab(options: LabOptions = {}): Promise<Lab> {
  const python = pythonOf(options), folder = await folderOf(python, options);
  return await labIn(folder, await ensureVenv(folder, python, options));
}

/** The environment, if it exists. @throws {CyclopsError} Without Python 3.9. */
export async function findLab(options: LabOptions = {}): Promise<Lab | undefined> {
  const folder = await folderOf(pythonOf(options), options);
  return await exists(join(folder, MARK)) ? await labIn(folder, false) : undefined;
}

/** Options of {@linkcode startServer}. */
export interface ServerOptions {
  /** The project's root: what the file browser shows. */
  readonly root: string;
  /** @default JupyterLab's own, 8888 or the next free one */
  readonly port?: number;
  /** Open the web browser. */
  readonly browser: boolean;
  /** More arguments for JupyterLab. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Where its log goes. @default "inherit" */
  readonly log?: "inherit" | "null";
}

/** Starts JupyterLab in the project's folder `notebooks`; it runs until it is stopped. */
export function startServer(lab: Lab, options: ServerOptions): Deno.ChildProcess {
  const { root, port, browser, args = [], env = {}, log = "inherit" } = options;
  const settings = [`--ServerApp.root_dir=${root}`, "--LabApp.default_url=/lab/tree/notebooks"];
  if (port !== undefined) settings.push(`--ServerApp.port=${port}`);
  if (!browser) settings.push("--no-browser");
  if (Deno.uid() === 0) settings.push("--allow-root");
  try {
    return new Deno.Command(lab.python, {
      args: ["-m", "jupyterlab", ...settings, ...args],
      env: { ...lab.env, ...env },
      stdin: log,
      stdout: log,
      stderr: log,
    }).spawn();
  } catch (error) {
    throw new CyclopsError(`Cannot start JupyterLab with ${lab.python}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

function pythonOf(options: LabOptions): string {
  return options.python ?? (Deno.env.get("CYCLOPS_PYTHON") || "python3");
}

/** Other packages or another Python get an environment of their own. */
async function folderOf(python: string, options: LabOptions): Promise<string> {
  const identity = await inspectPython(python);
  const packages = await readText(options.requirements ?? REQUIREMENTS);
  return join(options.root ?? cacheFolder(), `lab-${digest(packages, identity)}`);
}

async function labIn(folder: string, made: boolean): Promise<Lab> {
  const kernels = await ensureKernel(folder);
  const path = [join(kernels, "jupyter"), Deno.env.get("JUPYTER_PATH")].filter(Boolean).join(":");
  return {
    folder,
    python: join(folder, "bin/python"),
    env: { JUPYTER_PATH: path, PYTHONNOUSERSITE: "1", PYTHONPATH: "", VIRTUAL_ENV: folder },
    made,
  };
}

function digest(...texts: readonly string[]): string {
  return createHash("sha256").update(texts.join("\0")).digest("hex").slice(0, 16);
}

/** Checks Python's version. @returns What an environment made of it depends on. */
async function inspectPython(python: string): Promise<string> {
  const script = "import sys; print(sys.version_info[0], sys.version_info[1], sys.base_prefix)";
  const { success, out, errors } = await run(python, ["-c", script]);
  const [major, minor] = out.split(" ").map(Number);
  if (!success || !(major >= 0)) {
    throw new CyclopsError(`Cannot make the notebook environment: ${python} fails (${errors})`);
  }
  if (isOlder([major, minor], OLDEST_PYTHON)) {
    throw new CyclopsError(
      `Cannot make the notebook environment: ${python} is Python ${major}.${minor}, expected ` +
        `${OLDEST_PYTHON.join(".")} or newer; install one and name it in CYCLOPS_PYTHON`,
    );
  }
  return out.trim();
}

function isOlder([major, minor]: readonly number[], oldest: readonly number[]): boolean {
  return major < oldest[0] || major === oldest[0] && minor < oldest[1];
}

/** Written when everything else is in place. */
const MARK = "complete.json";

async function ensureVenv(folder: string, python: string, options: LabOptions): Promise<boolean> {
  const requirements = options.requirements ?? REQUIREMENTS;
  if (await exists(join(folder, MARK))) return false;
  const write = options.write ?? console.error;
  try {
    await Deno.mkdir(dirname(folder), { recursive: true });
  } catch (error) {
    throw fileError("make the folder of", folder, error);
  }
  using _lock = await lockFile(
    `${folder}.lock`,
    () => write("Another process is making the notebook environment; waiting for it"),
  );
  if (await exists(join(folder, MARK))) return false;
  if (await exists(folder)) await Deno.remove(folder, { recursive: true });
  const venv = await run(python, ["-m", "venv", "--without-pip", folder], options.signal);
  if (!venv.success) {
    const fix = /No module named '?venv/.test(venv.errors)
      ? "it has no venv; install it (Debian: apt-get install python3-venv)"
      : venv.errors;
    throw new CyclopsError(`Cannot make the notebook environment with ${python}: ${fix}`);
  }
  const pip = await pipFor(folder, python, options.signal);
  write("Fetching JupyterLab (once: 60 MB, 220 MB on the disk)");
  await install(pip, requirements, options);
  // No question about news from the network when JupyterLab is first opened.
  const quiet = { disabledExtensions: { "@jupyterlab/apputils-extension:announcements": true } };
  await writeAtomic(join(folder, "etc/jupyter/labconfig/page_config.json"), JSON.stringify(quiet));
  await writeAtomic(join(folder, MARK), JSON.stringify({ python, requirements }) + "\n");
  return true;
}

/** The command that installs packages into the environment: the pip outside, or one of its own where that is too old. */
async function pipFor(folder: string, python: string, signal?: AbortSignal): Promise<readonly string[]> {
  const outside = await run(python, ["-m", "pip", "--version"], signal);
  const version = outside.out.match(/^pip (\d+)\.(\d+)/)?.slice(1).map(Number);
  if (version && !isOlder(version, OLDEST_PIP)) {
    return [python, "-m", "pip", "--python", join(folder, "bin/python")];
  }
  const inside = join(folder, "bin/python");
  const own = await run(inside, ["-m", "ensurepip", "--default-pip"], signal);
  if (own.success) return [inside, "-m", "pip"];
  const found = version ? `pip ${version.join(".")}` : "no pip";
  throw new CyclopsError(
    `Cannot make the notebook environment: ${python} has ${found} and no ensurepip, expected pip ` +
      `${OLDEST_PIP.join(".")} or newer; install it (Debian: apt-get install python3-pip, or python3-venv)`,
  );
}

async function install(
  [command, ...pip]: readonly string[],
  requirements: string,
  { write, signal }: LabOptions,
): Promise<void> {
  const progress = new Progress({ label: "JupyterLab", unit: "packages", write, terminal: write && false });
  let collected = 0;
  const args =
    "install --require-hashes --no-deps --only-binary=:all: --no-compile --no-input --progress-bar=off " +
    "--disable-pip-version-check --requirement";
  const { success, errors } = await run(
    command,
    [...pip, ...args.split(" "), requirements],
    signal,
    (line) => {
      if (line.startsWith("Collecting ")) progress.update(++collected);
      if (line.startsWith("Installing ")) progress.update(collected, "installing");
    },
  );
  if (success) return progress.finish();
  signal?.throwIfAborted();
  const wrong = /No space left/.test(errors)
    ? "no space left on the disk; free some, or set XDG_CACHE_HOME to a folder on a larger one"
    : /DO NOT MATCH THE HASHES/.test(errors)
    ? "a package is not the one that was locked (its SHA-256 differs); check where pip fetches from, then try again"
    : `pip says: ${errors}`;
  throw new CyclopsError(`Cannot make the notebook environment: ${wrong}`);
}

/** Puts the kernel of this deno into a folder of its own, so that clones with different denos do not disturb each other. */
async function ensureKernel(folder: string): Promise<string> {
  const deno = Deno.execPath();
  const kernels = join(folder, "kernels", digest(deno, Deno.version.deno));
  const spec = join(kernels, "jupyter/kernels/deno/kernel.json");
  if (await exists(spec)) return kernels;
  using _lock = await lockFile(`${folder}.lock`, () => {});
  const { success, errors } = await run(deno, ["jupyter", "--install", "--force"], undefined, undefined, {
    XDG_DATA_HOME: kernels,
  });
  if (!success) {
    throw new CyclopsError(`Cannot install the Deno kernel: deno jupyter --install says: ${errors}`);
  }
  const found = await readJson(spec) as { argv: string[] };
  await writeAtomic(spec, JSON.stringify({ ...found, argv: [deno, ...found.argv.slice(1)] }, null, 2) + "\n");
  return kernels;
}

/** Runs a program to its end; `errors` are the last lines of it. @param onLine Receives its standard output. */
async function run(
  command: string,
  args: readonly string[],
  signal?: AbortSignal,
  onLine: (line: string) => void = () => {},
  env: Record<string, string> = {},
): Promise<{ readonly success: boolean; readonly out: string; readonly errors: string }> {
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command(command, {
      args: [...args],
      env: { NO_COLOR: "1", PYTHONPATH: "", PIP_USER: "0", PYTHONUNBUFFERED: "1", ...env },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      signal,
    }).spawn();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw new CyclopsError(
        `Cannot make the notebook environment: ${command} is not installed; install Python 3.9 or newer with pip ` +
          "(Debian: apt-get install python3-pip), or name one in CYCLOPS_PYTHON",
      );
    }
    if (error instanceof Deno.errors.NotCapable) throw error;
    throw new CyclopsError(`Cannot run ${command}: ${messageOf(error)}`, { cause: error });
  }
  const errors = new Response(child.stderr).text();
  let out = "", rest = "";
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    out += text;
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    lines.forEach(onLine);
  }
  const lines = (await errors).trim().split("\n").filter((line) => !/^(WARNING|Warning)/.test(line));
  return { success: (await child.status).success, out, errors: lines.slice(-4).join(" ").trim() };
}
