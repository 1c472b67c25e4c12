/**
 * Checkpoints: folders that hold all a run needs to go on or to be used.
 *
 *     checkpoints/step-000400/model.safetensors        weights
 *                             optimizer.safetensors    the optimiser's moments (absent where only weights were saved)
 *                             checkpoint.json          everything else, and sizes and hashes of the two files above
 *
 * A checkpoint is made under another name and renamed once it is whole, so that a folder called `step-…` is whole
 * whenever the process was killed. Saving a step again makes `step-000400.1` before the old one is removed.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { basename, join } from "@std/path";
import { CyclopsError, messageOf } from "../base/errors.ts";
import { asideName, exists, fileError, hashFile, readJson, writeAtomic } from "../base/files.ts";
import type { DataIdentity } from "../data/dataset.ts";
import { encodeSafetensors, readSafetensors, type TensorMap, toFloat32 } from "../data/safetensors.ts";

/** Version of the layout; a reader refuses others. */
export const CHECKPOINT_FORMAT = 1;

const MODEL = "model.safetensors", OPTIMIZER = "optimizer.safetensors", FACTS = "checkpoint.json";

/** What is known of a checkpoint besides its tensors. All of it must survive JSON. */
export interface CheckpointFacts {
  /** Updates done. */
  readonly step: number;
  /** Passes over the training data done; need not be whole. */
  readonly epoch: number;
  /** The stage of training, e.g. "half-cycle". */
  readonly stage: string;
  /** The run's seed. */
  readonly seed: number;
  /** The run's resolved options. */
  readonly options: Readonly<Record<string, unknown>>;
  /** The data it was trained on. */
  readonly data?: DataIdentity;
  /** Versions of what made it: cyclops, deno, tfjs, libtensorflow. */
  readonly versions: Readonly<Record<string, string>>;
  /** Validation metrics, lower is better; those that are not finite are left out. */
  readonly metrics: Readonly<Record<string, number>>;
  /** Whatever else the training loop needs to go on. */
  readonly state?: Readonly<Record<string, unknown>>;
}

/** A checkpoint on disk, its tensors not read. */
export interface CheckpointEntry {
  /** Its folder. */
  readonly folder: string;
  /** What its `checkpoint.json` says. */
  readonly facts: CheckpointFacts;
}

/** What is saved. */
export interface CheckpointContent {
  /** Weights by name. */
  readonly model: TensorMap;
  /** The optimiser's moments by name. */
  readonly optimizer?: TensorMap;
  /** Everything else. */
  readonly facts: CheckpointFacts;
}

/** A checkpoint read whole. */
export interface Checkpoint extends CheckpointEntry, CheckpointContent {}

/** Why a checkpoint could not be saved. */
export type SaveProblem = "no space" | "read-only" | "permission" | "other";

/**
 * A checkpoint could not be saved. Nothing half-made is left and the older ones are as they were: training may go on
 * and try again later.
 */
export class SaveError extends CyclopsError {
  /** Name of the class. */
  override name = "SaveError";
  /** What stood in the way. */
  readonly problem: SaveProblem;

  /** Wraps what the file system said. */
  constructor(folder: string, cause: unknown) {
    // The message that was made from the system's error, where there is one, names the file.
    const known = cause instanceof CyclopsError ? cause : fileError("write", folder, cause);
    super(`Cannot save the checkpoint ${folder}: ${messageOf(known)}`, { cause: known });
    const said = `${messageOf(known)} ${messageOf(known.cause)}`;
    this.problem = /no space|os error 28|os error 122/i.test(said)
      ? "no space"
      : /read-only|os error 30/i.test(said)
      ? "read-only"
      : /permission/i.test(said)
      ? "permission"
      : "other";
  }
}

interface FileFacts {
  readonly bytes: number;
  readonly sha256: string;
}

/** `step-000400`, or `step-000400.1` where the step was saved before. */
const NAME = /^step-(\d{6,})(?:\.(\d+))?$/;

function parseName(name: string): { readonly step: number; readonly again: number } | undefined {
  const match = name.match(NAME);
  return match ? { step: Number(match[1]), again: Number(match[2] ?? 0) } : undefined;
}

async function names(folder: string): Promise<string[]> {
  const found: string[] = [];
  try {
    for await (const { name, isDirectory } of Deno.readDir(folder)) if (isDirectory) found.push(name);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw fileError("list", folder, error);
  }
  return found;
}

/** Asks the system to put a folder's entries on the disk; where it cannot, a power cut may undo a rename. */
async function syncFolder(folder: string): Promise<void> {
  try {
    using file = await Deno.open(folder);
    await file.sync();
  } catch { /* Not all file systems can. */ }
}

/** Takes a folder away at once, then removes it: killed between, it leaves only a hidden name. */
async function removeFolder(folder: string): Promise<void> {
  const aside = asideName(folder);
  await Deno.rename(folder, aside);
  await Deno.remove(aside, { recursive: true });
}

/**
 * Saves a checkpoint as `FOLDER/step-NNNNNN`, whole or not at all.
 *
 * @param folder The folder that holds a run's checkpoints; made where it is missing.
 * @returns The checkpoint on disk.
 * @throws {SaveError} When it cannot be written: the disk is full, read-only, not ours.
 * @throws {RangeError} When a tensor's shape, type and data do not fit.
 *
 * @example
 * ```ts ignore
 * await saveCheckpoint("runs/first/checkpoints", { model, optimizer, facts });
 * await pruneCheckpoints("runs/first/checkpoints", { keepLast: 3, metric: "absRel" });
 * ```
 */
export async function saveCheckpoint(folder: string, content: CheckpointContent): Promise<CheckpointEntry> {
  const { model, optimizer, facts } = content;
  const files: [string, Uint8Array[]][] = [[MODEL, encodeSafetensors(model, { step: String(facts.step) })]];
  if (optimizer) files.push([OPTIMIZER, encodeSafetensors(optimizer, { step: String(facts.step) })]);
  const base = `step-${String(facts.step).padStart(6, "0")}`;
  let target = join(folder, base);
  const aside = asideName(target);
  try {
    const older = (await names(folder)).filter((name) => parseName(name)?.step === facts.step);
    const again = Math.max(-1, ...older.map((name) => parseName(name)!.again)) + 1;
    if (again > 0) target = join(folder, `${base}.${again}`);

    const written: Record<string, FileFacts> = {};
    for (const [name, pieces] of files) {
      const hash = createHash("sha256");
      for (const piece of pieces) hash.update(piece);
      const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
      written[name] = { bytes, sha256: hash.digest("hex") };
      await writeAtomic(join(aside, name), pieces);
    }
    const metrics = Object.fromEntries(Object.entries(facts.metrics).filter(([, v]) => Number.isFinite(v)));
    const json = { format: CHECKPOINT_FORMAT, ...facts, metrics, files: written };
    await writeAtomic(join(aside, FACTS), `${JSON.stringify(json, undefined, 2)}\n`);
    await Deno.rename(aside, target);
    await syncFolder(folder);
    for (const name of older) await removeFolder(join(folder, name));
    return { folder: target, facts: { ...facts, metrics } };
  } catch (error) {
    await Deno.remove(aside, { recursive: true }).catch(() => {});
    throw new SaveError(target, error);
  }
}

function refuse(folder: string, found: string): CyclopsError {
  return new CyclopsError(
    `Cannot use the checkpoint ${folder}: ${found} (take another one, deno task train writes several)`,
  );
}

interface CheckedFacts {
  readonly facts: CheckpointFacts;
  readonly files: ReadonlyMap<string, FileFacts>;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Reads `checkpoint.json` and holds the sizes of the files beside it against it. */
async function readFacts(folder: string): Promise<CheckedFacts> {
  const json = await readJson(join(folder, FACTS));
  if (!isRecord(json)) throw refuse(folder, `${FACTS} is no JSON object`);
  const { format, files, ...facts } = json;
  if (format !== CHECKPOINT_FORMAT) {
    throw refuse(
      folder,
      `its format is ${JSON.stringify(format)}, this version of Cyclops reads ${CHECKPOINT_FORMAT}`,
    );
  }
  const numbers = ["step", "epoch", "seed"].filter((key) => typeof facts[key] !== "number");
  const records = ["options", "versions", "metrics"].filter((key) => !isRecord(facts[key]));
  const missing = [...numbers, ...records, ...(typeof facts.stage === "string" ? [] : ["stage"])];
  if (!isRecord(files) || !(MODEL in files)) missing.push(`files with ${MODEL}`);
  if (missing.length || !isRecord(files)) throw refuse(folder, `${FACTS} lacks ${missing.join(", ")}`);
  const checked = new Map<string, FileFacts>();
  for (const name of [MODEL, OPTIMIZER]) {
    const file = files[name];
    if (file === undefined) continue;
    if (!isRecord(file) || typeof file.bytes !== "number" || typeof file.sha256 !== "string") {
      throw refuse(folder, `${FACTS} lacks size and hash of ${name}`);
    }
    const path = join(folder, name);
    let size: number;
    try {
      size = (await Deno.stat(path)).size;
    } catch (error) {
      throw fileError("read the tensors in", path, error);
    }
    if (size !== file.bytes) throw refuse(folder, `${name} has ${size} bytes, ${FACTS} says ${file.bytes}`);
    checked.set(name, { bytes: file.bytes, sha256: file.sha256 });
  }
  return { facts: facts as unknown as CheckpointFacts, files: checked };
}

async function checkHash(folder: string, name: string, { sha256 }: FileFacts): Promise<void> {
  if (await hashFile(join(folder, name)) !== sha256) {
    throw refuse(folder, `${name} is not the file that was saved with ${FACTS}: damaged, or of another step`);
  }
}

/**
 * Reads a checkpoint.
 *
 * @param folder A checkpoint's own folder; {@linkcode findCheckpoint} finds one in a run.
 * @param parts What to read: "model" leaves the optimiser's moments on disk. @default "all"
 * @throws {CyclopsError} When a file is missing, cut, damaged or of another checkpoint.
 */
export async function loadCheckpoint(folder: string, parts: "all" | "model" = "all"): Promise<Checkpoint> {
  const { facts, files } = await readFacts(folder);
  const read = async (name: string) => {
    const file = files.get(name);
    if (!file) return undefined;
    await checkHash(folder, name, file);
    return (await readSafetensors(join(folder, name))).tensors;
  };
  const model = (await read(MODEL))!;
  const optimizer = parts === "all" ? await read(OPTIMIZER) : undefined;
  return { folder, facts, model, optimizer };
}

/** What lies in a folder of checkpoints. */
export interface CheckpointScan {
  /** The usable ones, by step. */
  readonly whole: readonly CheckpointEntry[];
  /** What is wrong with the others. */
  readonly broken: readonly CyclopsError[];
}

/**
 * Looks through a folder of checkpoints: their facts and the sizes of their files, not the tensors.
 *
 * @param folder One that holds `step-…` folders; none when it is missing.
 */
export async function scanCheckpoints(folder: string): Promise<CheckpointScan> {
  const whole = new Map<number, CheckpointEntry>();
  const broken: CyclopsError[] = [];
  const found = (await names(folder)).filter(parseName)
    .sort((a, b) => parseName(a)!.step - parseName(b)!.step || parseName(a)!.again - parseName(b)!.again);
  for (const name of found) {
    try {
      const { facts } = await readFacts(join(folder, name));
      whole.set(parseName(name)!.step, { folder: join(folder, name), facts });
    } catch (error) {
      if (!(error instanceof CyclopsError)) throw error;
      broken.push(error);
    }
  }
  return { whole: [...whole.values()], broken };
}

/**
 * The checkpoint with the lowest value of a metric.
 *
 * @param metric Its name, or several of which the first one that any checkpoint has counts.
 * @returns `undefined` where no checkpoint has one.
 */
export function bestCheckpoint(
  entries: readonly CheckpointEntry[],
  metric: string | readonly string[],
): CheckpointEntry | undefined {
  for (const name of [metric].flat()) {
    const having = entries.filter(({ facts }) => Number.isFinite(facts.metrics[name]));
    if (having.length) return having.reduce((a, b) => b.facts.metrics[name] < a.facts.metrics[name] ? b : a);
  }
}

/** What "best" goes by where nothing else is said: validation abs rel, or the loss where there is no truth. */
export const BEST_BY: readonly string[] = ["absRel", "photometric"];

/**
 * Finds a checkpoint.
 *
 * @param path A run's folder, its folder of checkpoints, or a checkpoint's own folder (which is taken as it is).
 * @param which The last one, or the one with the best validation metric (the last where none has any).
 * @default "latest"
 * @param metric See {@linkcode bestCheckpoint}. @default BEST_BY
 * @throws {CyclopsError} When there is none, saying what was found instead.
 */
export async function findCheckpoint(
  path: string,
  which: "latest" | "best" = "latest",
  metric: string | readonly string[] = BEST_BY,
): Promise<CheckpointEntry> {
  if (await exists(join(path, FACTS))) return { folder: path, facts: (await readFacts(path)).facts };
  const inner = join(path, "checkpoints");
  const { whole, broken } = await scanCheckpoints(await exists(inner) ? inner : path);
  const found = which === "latest" ? whole.at(-1) : bestCheckpoint(whole, metric) ?? whole.at(-1);
  if (found) return found;
  const reasons = broken.map((error) => `\n  ${error.message}`).join("");
  const wanted =
    "wanted a run's folder, or a checkpoint's own folder such as runs/first/checkpoints/step-000400";
  throw new CyclopsError(
    `Cannot find a checkpoint in ${path}: ${
      broken.length
        ? `none is usable${reasons}`
        : `${await exists(path) ? "there is none" : "no such folder"}, ${wanted}`
    }`,
  );
}

/** Which checkpoints {@linkcode pruneCheckpoints} keeps. */
export interface PruneOptions {
  /** How many of the last ones. @default 3 */
  readonly keepLast?: number;
  /** The best one by this metric is kept, too; see {@linkcode bestCheckpoint}. @default BEST_BY */
  readonly metric?: string | readonly string[];
}

/**
 * Removes old checkpoints but for the last few and the best one.
 *
 * @returns The folders that were removed.
 * @throws {SaveError} When one cannot be removed.
 */
export async function pruneCheckpoints(folder: string, options: PruneOptions = {}): Promise<string[]> {
  const { keepLast = 3, metric = BEST_BY } = options;
  if (!Number.isInteger(keepLast) || keepLast < 1) {
    throw new RangeError(`Cannot prune checkpoints: keepLast is ${keepLast}, wanted a whole number above 0`);
  }
  const { whole } = await scanCheckpoints(folder);
  const kept = new Set([...whole.slice(-keepLast), bestCheckpoint(whole, metric)]);
  const removed = whole.filter((entry) => !kept.has(entry)).map((entry) => entry.folder);
  for (const old of removed) {
    try {
      await removeFolder(old);
    } catch (error) {
      throw new SaveError(old, error);
    }
  }
  return removed;
}

/**
 * Removes what a killed process left half-made or half-removed. Only for the process that owns the run: a save under
 * way elsewhere would lose its files.
 */
export async function cleanCheckpoints(folder: string): Promise<void> {
  for (const name of await names(folder)) {
    if (name.startsWith(".step-") && name.endsWith(".part")) {
      await Deno.remove(join(folder, name), { recursive: true }).catch(() => {});
    }
  }
}

const SHOWN = 4;

function listed(what: string, items: readonly string[]): string[] {
  if (items.length === 0) return [];
  const more = items.length > SHOWN ? `, … ${items.length - SHOWN} more` : "";
  return [`${items.length} ${what} (${items.slice(0, SHOWN).join(", ")}${more})`];
}

/** How {@linkcode matchTensors} reads a file of weights. */
export interface MatchOptions {
  /** Where the tensors come from, for the error. */
  readonly from: string;
  /** How to mend a mismatch, for the error, e.g. the preset that the checkpoint was trained with. */
  readonly hint?: string;
  /** Pass over tensors that are not wanted, as when the student is taken from a whole chain. @default false */
  readonly ignoreUnexpected?: boolean;
}

/**
 * Holds the tensors of a file against those a network wants.
 *
 * @param found As read.
 * @param wanted Shapes by name.
 * @returns The values by name, in the order of `wanted`.
 * @throws {CyclopsError} When they are of another architecture: counts and names what is missing, unexpected or of
 * another shape.
 */
export function matchTensors(
  found: TensorMap,
  wanted: ReadonlyMap<string, readonly number[]>,
  { from, hint, ignoreUnexpected = false }: MatchOptions,
): Map<string, Float32Array> {
  const missing: string[] = [], other: string[] = [];
  const values = new Map<string, Float32Array>();
  for (const [name, shape] of wanted) {
    const tensor = found.get(name);
    if (!tensor) missing.push(name);
    else if (tensor.shape.length !== shape.length || tensor.shape.some((size, i) => size !== shape[i])) {
      other.push(`${name} is [${tensor.shape}], wanted [${shape}]`);
    } else values.set(name, toFloat32(tensor));
  }
  const unexpected = ignoreUnexpected ? [] : [...found.keys()].filter((name) => !wanted.has(name));
  const faults = [
    ...listed(`of ${wanted.size} tensors missing`, missing),
    ...listed("of another shape", other),
    ...listed("unexpected", unexpected),
  ];
  if (faults.length) {
    const mend = hint ?? `give the options it was trained with, as ${FACTS} beside it says`;
    throw new CyclopsError(
      `Cannot load the weights of ${from}: they are of another architecture: ${faults.join(", ")} (${mend})`,
    );
  }
  return values;
}

/** The name of a checkpoint for people: `step-000400`. */
export function checkpointName({ folder }: CheckpointEntry): string {
  return basename(folder);
}
