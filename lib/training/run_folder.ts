/**
 * A run's folder: created, protected against overwriting, and resumed.
 *
 *     runs/first/options.json     the resolved options
 *                start.json       the checkpoints that its weights are from, where there are any
 *                metrics.jsonl    one record per line, see records.ts
 *                checkpoints/     see checkpoint.ts
 *                tensorboard/     event files
 *                report.html      what deno task train makes of all this at the end
 *
 * @module
 */
import { basename, join, resolve } from "@std/path";
import { CyclopsError, UsageError } from "../base/errors.ts";
import { exists, fileError, readJson, writeAtomic } from "../base/files.ts";
import { type CheckpointEntry, cleanCheckpoints, scanCheckpoints } from "./checkpoint.ts";
import { storedOptions } from "./options.ts";
import { MetricsLog } from "./records.ts";

/** The file of the resolved options in a run's folder. */
export const OPTIONS_FILE = "options.json";

const START = "start.json", METRICS = "metrics.jsonl", CHECKPOINTS = "checkpoints";

/** Locked while a process writes to the run; its presence says that the folder may be overwritten. */
const MARK = ".cyclops-run";

/** How often, and after how many milliseconds, a lock is tried again: `deno task watch` holds it for a moment. */
const LOCK_TRIES = 5, LOCK_PAUSE = 50;

export interface OpenRunOptions {
  /** Resume from the last checkpoint. @default false */
  readonly resume?: boolean;
  /** Start over, deleting what the folder holds. @default false */
  readonly overwrite?: boolean;
  /** The run's resolved options; a resumed run keeps its own. */
  readonly options: Readonly<Record<string, unknown>>;
  /** Checkpoints whose weights a new run starts from; a resumed run keeps its own. @default none */
  readonly from?: readonly string[];
}

/** A run's folder, locked by this process until it is closed. */
export interface Run extends Disposable {
  readonly folder: string;
  /** The folder of checkpoints, for `saveCheckpoint`. */
  readonly checkpoints: string;
  /** The usable checkpoints that were there, by step. */
  readonly saved: readonly CheckpointEntry[];
  /** The run's records, without those past the checkpoint that it resumes from. */
  readonly metrics: MetricsLog;
  /** The options that the run was started with, as they are stored. */
  readonly options: Readonly<Record<string, unknown>>;
  /** Checkpoints whose weights the run was started from. */
  readonly from: readonly string[];
  /** The checkpoint to resume from; `undefined` for a new run, or one that was killed before its first checkpoint. */
  readonly resumed: CheckpointEntry | undefined;
  /** Warnings for the user, e.g. of a damaged checkpoint that was skipped. */
  readonly warnings: readonly string[];
  /** The path of a file in its folder. */
  path(name: string): string;
  /** Replaces the stored options, as when the run is extended. */
  storeOptions(options: Readonly<Record<string, unknown>>): Promise<void>;
  close(): void;
}

async function entries(folder: string): Promise<string[]> {
  const names: string[] = [];
  try {
    await Deno.mkdir(folder, { recursive: true });
    for await (const { name } of Deno.readDir(folder)) names.push(name);
  } catch (error) {
    throw fileError("create the run's folder", folder, error);
  }
  return names.sort();
}

/** Locks the run against a second process. The system releases the lock when this one ends, however it ends. */
async function lock(folder: string): Promise<Deno.FsFile> {
  const path = join(folder, MARK);
  let file: Deno.FsFile;
  try {
    file = await Deno.open(path, { write: true, create: true });
  } catch (error) {
    throw fileError("write to the run's folder", folder, error);
  }
  for (let tries = 1; tries <= LOCK_TRIES; tries++) {
    // A file system without locks is no reason not to train.
    if (await file.tryLock(true).catch(() => true)) return file;
    if (tries < LOCK_TRIES) await new Promise((done) => setTimeout(done, LOCK_PAUSE));
  }
  file.close();
  throw new CyclopsError(
    `Cannot open the run in ${folder}: another process is writing to it; wait for it, stop it, or choose another folder`,
  );
}

/** Whether a process is writing to a run; `undefined` where there is no such run, or no locks on its file system. */
export async function isHeld(folder: string): Promise<boolean | undefined> {
  try {
    using file = await Deno.open(join(folder, MARK));
    return !await file.tryLock(false);
  } catch {
    return undefined;
  }
}

async function readObject(path: string): Promise<Readonly<Record<string, unknown>>> {
  const json = await readJson(path);
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw new CyclopsError(`Cannot resume the run: ${path} is not a JSON object`);
  }
  return json as Record<string, unknown>;
}

/** The stored options of the run in a folder; `undefined` where there is no run. */
export async function readRunOptions(
  folder: string,
): Promise<Readonly<Record<string, unknown>> | undefined> {
  const path = join(folder, OPTIONS_FILE);
  return await exists(path) ? await readObject(path) : undefined;
}

async function readFrom(path: string): Promise<readonly string[]> {
  if (!await exists(path)) return [];
  const { from } = await readObject(path);
  if (Array.isArray(from) && from.every((place) => typeof place === "string")) return from;
  throw new CyclopsError(`Cannot resume the run: ${path} lacks "from", a list of folders`);
}

function writeObject(path: string, object: Readonly<Record<string, unknown>>): Promise<void> {
  return writeAtomic(path, `${JSON.stringify(object, undefined, 2)}\n`);
}

/** Refuses what {@linkcode openRun} would refuse, as a dry run before long work. */
export async function checkRun(
  folder: string,
  { resume, overwrite }: Pick<OpenRunOptions, "resume" | "overwrite">,
): Promise<void> {
  if (resume && overwrite) {
    throw new UsageError("Cannot open the run: --resume and --overwrite exclude each other");
  }
  const there = await exists(folder), names = there ? await entries(folder) : [];
  if (names.length === 0) {
    if (!resume) return;
    const found = there ? "the folder is empty" : "no such folder";
    throw new UsageError(`Cannot resume the run in ${folder}: ${found}; leave out --resume to start one`);
  }
  const isRun = names.some((name) => [MARK, OPTIONS_FILE, METRICS, CHECKPOINTS].includes(name));
  if (resume ? isRun : overwrite && names.includes(MARK)) return;
  if (overwrite) {
    throw new UsageError(
      `Cannot overwrite ${folder}: it is not the folder of a run (it has no ${MARK}); empty it or choose another folder`,
    );
  }
  const others = `the folder holds other files (${names.slice(0, 4).join(", ")})`;
  if (resume) throw new UsageError(`Cannot resume the run in ${folder}: ${others}, not a run`);
  if (!isRun) {
    throw new UsageError(`Cannot start a run in ${folder}: ${others}; choose an empty or a new folder`);
  }
  const { whole } = await scanCheckpoints(join(folder, CHECKPOINTS));
  const saved = whole.length
    ? `with ${whole.length} checkpoint${whole.length === 1 ? "" : "s"}, the last at step ${
      whole.at(-1)!.facts.step
    }`
    : "without a checkpoint";
  throw new UsageError(
    `Cannot start a run in ${folder}: the folder holds a run ${saved}; give --resume to continue it, ` +
      "--overwrite to start over and lose it, or another folder",
  );
}

/**
 * Removes a run and its folder, if there is one.
 *
 * @throws {UsageError} When the folder is not a run's.
 * @throws {CyclopsError} When another process is writing to it, or it cannot be removed.
 */
export async function removeRun(folder: string): Promise<void> {
  if (!await exists(folder)) return;
  await checkRun(folder, { overwrite: true });
  const held = await lock(folder);
  try {
    await Deno.remove(folder, { recursive: true });
  } catch (error) {
    throw fileError("remove", folder, error);
  } finally {
    held.close();
  }
}

/**
 * Opens a run's folder.
 *
 * A new run gets `options.json` and an empty `metrics.jsonl`. A resumed one is cleaned of what a killed process left
 * half-written, damaged checkpoints are skipped, and its records past the last usable one are dropped, since those
 * steps are done again. Overwriting deletes what the folder holds, but only if it is a run's.
 *
 * @throws {UsageError} When the folder is not empty and neither `resume` nor `overwrite` is given, when there is
 * nothing to resume, or when the folder to overwrite is not a run's.
 * @throws {CyclopsError} When the folder cannot be written, or another process is writing to it.
 */
export async function openRun(folder: string, options: OpenRunOptions): Promise<Run> {
  await checkRun(folder, options);
  const before = await entries(folder);
  const held = await lock(folder);
  try {
    const path = (name: string) => join(folder, name);
    for (const name of options.overwrite ? before : []) {
      if (name === MARK) continue;
      await Deno.remove(path(name), { recursive: true }).catch((error) => {
        throw fileError("remove", path(name), error);
      });
    }
    const checkpoints = path(CHECKPOINTS);
    await cleanCheckpoints(checkpoints);
    const { whole, broken } = await scanCheckpoints(checkpoints, options.resume);
    const resumed = whole.at(-1);
    if (!resumed && broken.length) {
      const reasons = broken.map(({ message }) => `\n  ${message}`).join("");
      throw new CyclopsError(
        `Cannot resume the run in ${folder}: none of its checkpoints is usable; repair one, or give --overwrite ` +
          `to start over${reasons}`,
      );
    }
    const step = resumed?.facts.step ?? 0;
    const keep = (record: Readonly<Record<string, unknown>>) =>
      typeof record.step === "number" ? record.step <= step && resumed !== undefined : resumed !== undefined;
    const metrics = await MetricsLog.open(path(METRICS), keep);
    const known = await exists(path(OPTIONS_FILE)), stored = storedOptions(options.options);
    if (!known) {
      const from = (options.from ?? []).map((place) => resolve(place));
      if (from.length) await writeObject(path(START), { from });
      await writeObject(path(OPTIONS_FILE), stored);
    }
    const warnings = broken.map(({ message }) => `${message}; resuming from ${basename(resumed!.folder)}`);
    const close = () => {
      metrics[Symbol.dispose]();
      held.close();
    };
    return {
      folder,
      checkpoints,
      saved: whole,
      metrics,
      options: known ? await readObject(path(OPTIONS_FILE)) : stored,
      from: await readFrom(path(START)),
      resumed,
      warnings,
      path,
      storeOptions: (changed) => writeObject(path(OPTIONS_FILE), storedOptions(changed)),
      close,
      [Symbol.dispose]: close,
    };
  } catch (error) {
    held.close();
    throw error;
  }
}
