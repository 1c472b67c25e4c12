/**
 * Checkpoints: folders that hold all a run needs to resume or to be used, and when a run writes them.
 *
 *     checkpoints/step-000400/model.safetensors        weights
 *                             optimizer.safetensors    the optimizer's moments (absent where only weights were saved)
 *                             checkpoint.json          everything else, and sizes and hashes of the two files above
 *
 * A checkpoint is written under another name and renamed once it is complete, so that a folder called `step-…` is
 * complete whenever the process was killed. Saving a step again makes `step-000400.1` before the old one is removed.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { join } from "@std/path";
import { CyclopsError, messageOf } from "../base/errors.ts";
import { asideName, exists, fileError, hashFile, readBytes, readJson, writeAtomic } from "../base/files.ts";
import type { DataIdentity } from "../data/dataset.ts";
import { encodeSafetensors, notFinite, parseSafetensors, type TensorMap } from "../data/safetensors.ts";
import type { TrainingOptions } from "./options.ts";

/** Version of the layout; others are refused. */
const CHECKPOINT_FORMAT = 1;

const MODEL = "model.safetensors", OPTIMIZER = "optimizer.safetensors", FACTS = "checkpoint.json";

/** The metadata of a checkpoint, as JSON. */
export interface CheckpointFacts {
  /** Updates done. */
  readonly step: number;
  /** Passes over the training data done, e.g. 2.5. */
  readonly epoch: number;
  /** The training stage, e.g. "half-cycle". */
  readonly stage: string;
  /** The run's seed. */
  readonly seed: number;
  /** The run's resolved options, as they are stored. */
  readonly options: Readonly<Record<string, unknown>>;
  /** The data it was trained on. */
  readonly data?: DataIdentity;
  /** Versions of cyclops, deno, tfjs, libtensorflow. */
  readonly versions: Readonly<Record<string, string>>;
  /** Validation metrics, lower is better; without those that are not finite. */
  readonly metrics: ValidationMetrics;
  /** Whatever else the training loop needs to resume. */
  readonly state?: Readonly<Record<string, unknown>>;
}

/** Validation metrics by name, lower is better. */
export type ValidationMetrics = Readonly<Record<string, number>>;

/**
 * Reads a safetensors file: named tensors, and strings by key.
 *
 * @throws {CyclopsError} When the file is missing or truncated, or its header is wrong.
 */
export async function readSafetensors(path: string): Promise<ReturnType<typeof parseSafetensors>> {
  return parseSafetensors(await readBytes(path), path);
}

/** A checkpoint on disk, its tensors not read. */
export interface CheckpointEntry {
  readonly folder: string;
  readonly facts: CheckpointFacts;
}

export interface CheckpointContent {
  /** Weights by name. */
  readonly model: TensorMap;
  /** The optimizer's moments by name. */
  readonly optimizer?: TensorMap;
  readonly facts: CheckpointFacts;
}

/** A checkpoint with its tensors. */
export interface Checkpoint extends CheckpointEntry, CheckpointContent {}

/** A checkpoint could not be saved. Nothing half-written is left and older ones are untouched, so it can be retried. */
export class SaveError extends CyclopsError {
  override name = "SaveError";

  constructor(folder: string, cause: unknown) {
    // An error that was made from the system's names the file.
    const known = cause instanceof CyclopsError ? cause : fileError("write", folder, cause);
    super(`Cannot save the checkpoint ${folder}: ${messageOf(known)}`, { cause: known });
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

/** Removes a folder by way of a hidden name, which is all that is left if the process is killed meanwhile. */
async function removeFolder(folder: string): Promise<void> {
  const aside = asideName(folder);
  await Deno.rename(folder, aside);
  await Deno.remove(aside, { recursive: true });
}

/**
 * Saves a checkpoint as `FOLDER/step-NNNNNN`, completely or not at all.
 *
 * @param folder The folder of a run's checkpoints; created where it is missing.
 * @throws {SaveError} When it cannot be written: the disk is full, read-only, not ours.
 * @throws {RangeError} When a tensor's shape, type and data do not fit.
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
    `Cannot use the checkpoint ${folder}: ${found} (use another one, deno task train writes several)`,
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Reads `checkpoint.json` and checks the sizes of the files beside it. */
async function readFacts(
  folder: string,
): Promise<{ readonly facts: CheckpointFacts; readonly files: ReadonlyMap<string, FileFacts> }> {
  const json = await readJson(join(folder, FACTS));
  if (!isRecord(json)) throw refuse(folder, `${FACTS} is not a JSON object`);
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
 * @param folder A checkpoint's own folder, e.g. `runs/first/checkpoints/step-000400`.
 * @param parts What to read: "model" leaves the optimizer's moments on disk. @default "all"
 * @throws {CyclopsError} When a file is missing, truncated, damaged or belongs to another checkpoint.
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
  return { folder, facts, model, optimizer: parts === "all" ? await read(OPTIMIZER) : undefined };
}

/**
 * Reads the weights that a training starts from, and what is known of the options they were trained with.
 *
 * @param place A checkpoint's own folder, or a model file (.safetensors).
 * @throws {CyclopsError} As {@linkcode loadCheckpoint}.
 */
export async function loadWeights(
  place: string,
): Promise<{ readonly model: TensorMap; readonly options: Readonly<Record<string, unknown>> }> {
  if (place.endsWith(".safetensors")) {
    const { tensors, metadata } = await readSafetensors(place);
    return { model: tensors, options: metadata };
  }
  const { model, facts } = await loadCheckpoint(place, "model");
  return { model, options: facts.options };
}

/**
 * Lists the checkpoints in a folder; none where it is missing.
 *
 * @param verify Also compare the hashes of the last one's files, and of earlier ones while these do not fit; else only
 * metadata and file sizes are checked. @default false
 * @returns The usable ones, by step, and what is wrong with the others.
 */
export async function scanCheckpoints(
  folder: string,
  verify = false,
): Promise<{ readonly whole: readonly CheckpointEntry[]; readonly broken: readonly CyclopsError[] }> {
  const found = new Map<number, CheckpointEntry>();
  const broken: CyclopsError[] = [];
  const attempt = async (use: () => Promise<void>) => {
    try {
      await use();
    } catch (error) {
      if (!(error instanceof CyclopsError)) throw error;
      broken.push(error);
    }
  };
  const sorted = (await names(folder)).filter(parseName)
    .sort((a, b) => parseName(a)!.step - parseName(b)!.step || parseName(a)!.again - parseName(b)!.again);
  for (const name of sorted) {
    await attempt(async () => {
      const { facts } = await readFacts(join(folder, name));
      found.set(parseName(name)!.step, { folder: join(folder, name), facts });
    });
  }
  const whole = [...found.values()];
  while (verify && whole.length) {
    const { folder } = whole.at(-1)!, count = broken.length;
    await attempt(async () => {
      for (const [name, file] of (await readFacts(folder)).files) await checkHash(folder, name, file);
    });
    if (broken.length === count) break;
    whole.pop();
  }
  return { whole, broken };
}

/** The metric that "best" goes by in a run with these options; the photometric loss, too, where there is no truth. */
export function bestBy(
  { selectBy }: Partial<TrainingOptions>,
  metrics: ValidationMetrics,
): string | undefined {
  const names = selectBy === "abs-rel" ? ["absRel", "photometric"] : ["photometric"];
  return names.find((name) => Number.isFinite(metrics[name]));
}

/** The checkpoint with the best validation, by what the last one's options say; `undefined` where none has any. */
export function bestCheckpoint(entries: readonly CheckpointEntry[]): CheckpointEntry | undefined {
  const last = entries.findLast(({ facts }) => bestBy(facts.options, facts.metrics));
  const by = last && bestBy(last.facts.options, last.facts.metrics)!;
  const candidates = entries.filter(({ facts }) => by && Number.isFinite(facts.metrics[by]));
  return candidates.length
    ? candidates.reduce((a, b) => b.facts.metrics[by!] < a.facts.metrics[by!] ? b : a)
    : undefined;
}

/**
 * Finds a checkpoint.
 *
 * @param path A run's folder, its folder of checkpoints, or a checkpoint's own folder (which is used as it is).
 * @param which The last one, or the one with the best validation metric (the last where none has any).
 * @default "latest"
 * @throws {CyclopsError} When there is none, saying what was found instead.
 */
export async function findCheckpoint(
  path: string,
  which: "latest" | "best" = "latest",
): Promise<CheckpointEntry> {
  if (await exists(join(path, FACTS))) return { folder: path, facts: (await readFacts(path)).facts };
  const inner = join(path, "checkpoints");
  const { whole, broken } = await scanCheckpoints(await exists(inner) ? inner : path);
  const found = which === "latest" ? whole.at(-1) : bestCheckpoint(whole) ?? whole.at(-1);
  if (found) return found;
  const reasons = broken.map((error) => `\n  ${error.message}`).join("");
  const expected =
    "expected a run's folder, or a checkpoint's own folder such as runs/first/checkpoints/step-000400";
  throw new CyclopsError(
    `Cannot find a checkpoint in ${path}: ${
      broken.length
        ? `none is usable${reasons}`
        : `${await exists(path) ? "there is none" : "no such folder"}, ${expected}`
    }`,
  );
}

/**
 * Removes old checkpoints but for the last few and the best one.
 *
 * @param keepLast How many of the last ones are kept, at least 1.
 * @returns The folders that were removed.
 * @throws {SaveError} When one cannot be removed.
 */
export async function pruneCheckpoints(folder: string, keepLast: number): Promise<string[]> {
  const { whole } = await scanCheckpoints(folder);
  const kept = new Set([...whole.slice(-keepLast), bestCheckpoint(whole)]);
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
 * Removes what a killed process left half-written or half-removed. Only for the process that owns the run: a save in
 * progress elsewhere would lose its files.
 */
export async function cleanCheckpoints(folder: string): Promise<void> {
  for (const name of await names(folder)) {
    if (name.startsWith(".step-") && name.endsWith(".part")) {
      await Deno.remove(join(folder, name), { recursive: true }).catch(() => {});
    }
  }
}

/** The result of saving: a checkpoint's folder, or why there is none. */
export type Saved = { readonly folder: string } | { readonly problem: string };

/** Milliseconds before a checkpoint that could not be written is tried again. */
const RETRY_AFTER = 30_000;

/**
 * Saves a run: every so many steps or minutes, whenever a validation is the best so far, and at the end. Where the
 * disk is full or read-only, training continues in memory and saving is tried again.
 */
export class Checkpointer {
  readonly #folder: string;
  readonly #trainer: { readonly step: number; readonly options: TrainingOptions };
  readonly #content: (metrics: ValidationMetrics) => Promise<CheckpointContent>;
  #best: CheckpointEntry | undefined;
  #savedAt = performance.now();
  #savedStep: number;
  #failedAt: number | undefined;
  #last: string | undefined;

  /** @param content Collects the content of a checkpoint. */
  constructor(
    run: { readonly checkpoints: string; readonly saved: readonly CheckpointEntry[] },
    trainer: { readonly step: number; readonly options: TrainingOptions },
    content: (metrics: ValidationMetrics) => Promise<CheckpointContent>,
  ) {
    this.#folder = run.checkpoints;
    this.#trainer = trainer;
    this.#content = content;
    this.#best = bestCheckpoint(run.saved);
    const last = run.saved.at(-1);
    this.#savedStep = last?.facts.step ?? -1;
    this.#last = last?.folder;
  }

  /** The last checkpoint's folder. */
  get last(): string | undefined {
    return this.#last;
  }

  /** The step of the best checkpoint so far, where validations were saved. */
  get best(): number | undefined {
    return this.#best?.facts.step;
  }

  /** Whether to save now. @param metrics Those of a validation at this step; empty where there was none. */
  due(metrics: ValidationMetrics): boolean {
    const { step, options: { checkpointEvery, checkpointMinutes } } = this.#trainer;
    const now = performance.now();
    if (this.#improves(metrics)) return true;
    if (checkpointEvery > 0 && step % checkpointEvery === 0) return true;
    if (this.#failedAt !== undefined) return now - this.#failedAt > RETRY_AFTER;
    return checkpointMinutes > 0 && now - this.#savedAt > checkpointMinutes * 60_000;
  }

  #improves(metrics: ValidationMetrics): boolean {
    const by = bestBy(this.#trainer.options, metrics);
    return by !== undefined && !(this.#best?.facts.metrics[by]! <= metrics[by]);
  }

  /**
   * Saves this step.
   *
   * @param last Whether it is the last one, which is not tried again.
   * @returns `undefined` where it has been saved already, without metrics that make it the best.
   * @throws {CyclopsError} When the weights are not finite, or the last step cannot be saved.
   */
  async save(metrics: ValidationMetrics, last = false): Promise<Saved | undefined> {
    const { step, options } = this.#trainer;
    if (step === this.#savedStep && !this.#improves(metrics)) return undefined;
    const collected = await this.#content(metrics);
    const bad = notFinite(collected.model);
    if (bad) {
      throw new CyclopsError(
        `Training stopped at step ${step}: the weights ${bad} are not finite; ${
          this.#last ? `the checkpoint ${this.#last} is from before` : "nothing was saved before"
        }, start again with a lower --learning-rate`,
      );
    }
    try {
      const saved = await saveCheckpoint(this.#folder, collected), { folder } = saved;
      this.#last = folder;
      this.#savedStep = step;
      this.#savedAt = performance.now();
      this.#failedAt = undefined;
      if (this.#improves(saved.facts.metrics)) this.#best = saved;
      await pruneCheckpoints(this.#folder, options.keep);
      return { folder };
    } catch (error) {
      if (!(error instanceof SaveError)) throw error;
      // The new checkpoint was saved, only an old one could not be removed.
      if (this.#savedStep === step) return { problem: error.message };
      if (last) {
        throw new CyclopsError(
          `${error.message}; ${
            this.#last ? `what was trained after ${this.#last} is lost` : "what was trained is lost"
          }: fix it, then continue with --resume`,
        );
      }
      this.#failedAt = performance.now();
      return { problem: `${error.message}; training continues in memory and tries again` };
    }
  }
}
