/**
 * The records of a run: the lines of `metrics.jsonl`, TensorBoard's event files beside them (see them with
 * `tensorboard --logdir runs`), and the diagnostics that warn of a run that goes wrong.
 *
 *     {"step":0,"start":{"stage":"half-cycle","steps":1200,…},"time":"2026-11-22T14:03:11.123Z"}
 *     {"step":10,"loss":0.41,"terms":{"photometric":0.39,…},"learningRate":…,"seconds":2.1,…}    mean of 10 steps
 *     {"step":200,"validation":{"photometric":0.10,"absRel":0.21,"rmse":6.2}}
 *     {"step":340,"warning":"the disparity has collapsed …"}
 *     {"step":1200,"end":"finished","seconds":212.4,"time":"…"}                       or "stopped", or "failed"
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { join } from "@std/path";
import { type CyclopsError, messageOf } from "../base/errors.ts";
import { exists, fileError, readText, writeAtomic } from "../base/files.ts";
import { encodeRgbPng, type RgbImage } from "../data/image.ts";
import type { LossWeights, TermName } from "../losses/objective.ts";
import type { StepResult } from "./trainer.ts";
import type { ValidationResult } from "./validation.ts";

/** One line of `metrics.jsonl`: a step and what was measured there. Numbers that are not finite become null. */
export type MetricsRecord = Readonly<Record<string, unknown>>;

function parseLines(text: string): { readonly line: string; readonly record: MetricsRecord }[] {
  const parsed: { line: string; record: MetricsRecord }[] = [];
  for (const line of text.split("\n")) {
    try {
      const record = JSON.parse(line);
      if (typeof record === "object" && record !== null && !Array.isArray(record)) {
        parsed.push({ line, record });
      }
    } catch { /* The last line of a killed run may be cut. */ }
  }
  return parsed;
}

/**
 * Reads the records of a run, skipping truncated lines; none where the file is missing.
 *
 * @throws {CyclopsError} When the file exists but cannot be read.
 */
export async function readMetrics(path: string): Promise<MetricsRecord[]> {
  return await exists(path) ? parseLines(await readText(path)).map(({ record }) => record) : [];
}

/** Appends records to a file. Each has been handed to the system when {@linkcode MetricsLog.write} returns. */
export class MetricsLog implements Disposable {
  readonly path: string;
  #file: Deno.FsFile | undefined;
  #length: number;
  #waiting = "";
  #problem: CyclopsError | undefined;

  private constructor(path: string, length: number) {
    this.path = path;
    this.#length = length;
  }

  /**
   * Opens the file, created where it is missing.
   *
   * @param keep Which of its records are kept, as when a run returns to its last checkpoint. @default all
   * @throws {CyclopsError} When it cannot be read or written.
   */
  static async open(
    path: string,
    keep: (record: MetricsRecord) => boolean = () => true,
  ): Promise<MetricsLog> {
    const before = await exists(path) ? await readText(path) : undefined;
    const kept = parseLines(before ?? "").filter(({ record }) => keep(record)).map(({ line }) => `${line}\n`)
      .join("");
    if (kept !== before) await writeAtomic(path, kept);
    return new MetricsLog(path, new TextEncoder().encode(kept).length);
  }

  /** Why records are waiting in memory, e.g. a full disk; `undefined` when all are written. */
  get problem(): CyclopsError | undefined {
    return this.#problem;
  }

  /** Appends a record. Never throws for the disk: what cannot be written waits for the next call. */
  write(record: MetricsRecord): void {
    this.#waiting += `${JSON.stringify(record)}\n`;
    this.flush();
  }

  /** Tries to write what is waiting. @returns Whether all is written. */
  flush(): boolean {
    try {
      if (this.#waiting) {
        this.#file ??= Deno.openSync(this.path, { write: true, create: true });
        // Overwrites what a failed attempt left half-written.
        this.#file.truncateSync(this.#length);
        this.#file.seekSync(this.#length, Deno.SeekMode.Start);
        const bytes = new TextEncoder().encode(this.#waiting);
        for (let at = 0; at < bytes.length;) at += this.#file.writeSync(bytes.subarray(at));
        this.#length += bytes.length;
        this.#waiting = "";
      }
      this.#problem = undefined;
    } catch (error) {
      this.#problem = fileError("write", this.path, error);
    }
    return this.#problem === undefined;
  }

  [Symbol.dispose](): void {
    this.flush();
    this.#file?.close();
    this.#file = undefined;
  }
}

/** CRC-32C (Castagnoli) of each byte. */
const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >>> 1 ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

/** CRC-32C as TFRecord files mask it, so that data which contain checksums keep good ones. */
function maskedCrc(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 255] ^ crc >>> 8;
  crc = ~crc;
  return (crc >>> 15 | crc << 17) + 0xa282ead8 >>> 0;
}

/** A record of a TFRecord file: length, its checksum, data, their checksum. */
function tfRecord(data: Uint8Array): Uint8Array {
  const head = new DataView(new ArrayBuffer(12)), tail = new DataView(new ArrayBuffer(4));
  head.setBigUint64(0, BigInt(data.length), true);
  head.setUint32(8, maskedCrc(new Uint8Array(head.buffer, 0, 8)), true);
  tail.setUint32(0, maskedCrc(data), true);
  return Buffer.concat([new Uint8Array(head.buffer), data, new Uint8Array(tail.buffer)]);
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push(value % 128 + 128);
  return [...bytes, value];
}

/** Fields of a protocol buffer by number: an integer, a string or bytes, or a number of 4 or 8 bytes. */
type Fields = Readonly<Record<number, number | string | Uint8Array | Float32Array | Float64Array>>;

function encode(fields: Fields): Uint8Array {
  return Buffer.concat(
    Object.entries(fields).flatMap(([number, value]) => {
      const key = (kind: number) => varint(Number(number) * 8 + kind);
      if (typeof value === "number") return [Uint8Array.from([...key(0), ...varint(value)])];
      const bytes = typeof value === "string"
        ? new TextEncoder().encode(value)
        : new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
      if (value instanceof Float32Array) return [Uint8Array.from(key(5)), bytes];
      if (value instanceof Float64Array) return [Uint8Array.from(key(1)), bytes];
      return [Uint8Array.from([...key(2), ...varint(bytes.length)]), bytes];
    }),
  );
}

let opened = 0;

/** A run's curves and images, in an event file. */
export class Summary implements Disposable {
  readonly #path: string;
  #file: Deno.FsFile | undefined;
  #problem: CyclopsError | undefined;

  /**
   * Opens an event file in a folder, created where it is missing. Several in one folder, as when a run is resumed, are
   * read as one run.
   *
   * @param after The last step that counts in the existing files: TensorBoard forgets later ones, since a resumed run
   * does them again.
   */
  constructor(folder: string, after?: number) {
    // TensorBoard reads a folder's files in the order of their names.
    const name = `events.out.tfevents.${(Date.now() / 1000).toFixed(3)}.cyclops.${opened++}`;
    this.#path = join(folder, name);
    this.#try(() => {
      Deno.mkdirSync(folder, { recursive: true });
      this.#file = Deno.openSync(this.#path, { write: true, createNew: true });
    });
    this.#event({ 3: "brain.Event:2" });
    // A session that starts: readers forget this step and later ones.
    if (after !== undefined) this.#event({ 2: after + 1, 7: encode({ 1: 1 }) });
  }

  /**
   * Why nothing, or not everything, is on the disk: it is full or read-only; the first reason stays. `undefined` while
   * all is well. Such failures never throw: a run continues without its event file.
   */
  get problem(): CyclopsError | undefined {
    return this.#problem;
  }

  #try(write: () => void): void {
    try {
      write();
    } catch (error) {
      this.#problem ??= fileError("write TensorBoard's event file", this.#path, error);
    }
  }

  /** Appends an `Event`; field numbers are those of `event.proto` and `summary.proto`. */
  #event(fields: Fields): void {
    const record = tfRecord(encode({ 1: Float64Array.of(Date.now() / 1000), ...fields }));
    // After a record that was cut, readers would not find the next one.
    if (this.#problem || !this.#file) return;
    this.#try(() => {
      for (let at = 0; at < record.length;) at += this.#file!.writeSync(record.subarray(at));
    });
  }

  #value(step: number, fields: Fields): void {
    this.#event({ 2: step, 5: encode({ 1: encode(fields) }) });
  }

  /** Adds a point to a curve. @param name E.g. "loss/photometric": TensorBoard groups by the part before "/". */
  scalar(name: string, value: number, step: number): void {
    this.#value(step, { 1: name, 2: Float32Array.of(value) });
  }

  /**
   * Adds an image; TensorBoard shows it as `NAME/image`.
   *
   * @throws {RangeError} When the image's data do not fit its size.
   */
  async image(name: string, image: RgbImage, step: number): Promise<void> {
    const png = await encodeRgbPng(image);
    this.#value(step, { 1: `${name}/image`, 4: encode({ 1: image.height, 2: image.width, 3: 3, 4: png }) });
  }

  /** Closes the file. Calls after that do nothing. */
  close(): void {
    this.#file?.close();
    this.#file = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Updates that one line of metrics.jsonl is the mean of. */
const LOG_EVERY = 10;

/** How a run ended: all steps done, stopped on request, or failed with an error. */
export type Ending = "finished" | "stopped" | "failed";

/** Writes the records of a run to its files; does nothing without a run. */
export class Recorder {
  readonly #metrics: MetricsLog | undefined;
  readonly #summary: Summary | undefined;
  readonly #opened = performance.now();
  readonly #before: number;
  readonly #reported = new Set<string>();
  #results: StepResult[] = [];
  #milliseconds = 0;
  #ended = false;

  /**
   * @param metrics The run's open log.
   * @param options The folder of TensorBoard's event files, if they are written; the last step done and the seconds
   * it took to get there.
   */
  constructor(
    metrics: MetricsLog | undefined,
    options: { readonly tensorboard?: string; readonly step: number; readonly seconds: number },
  ) {
    this.#metrics = metrics;
    this.#before = options.seconds;
    if (options.tensorboard) this.#summary = new Summary(options.tensorboard, options.step);
  }

  /** Seconds of training, over all sessions. */
  get seconds(): number {
    return this.#before + (performance.now() - this.#opened) / 1000;
  }

  get wantsImages(): boolean {
    return this.#summary !== undefined && this.#summary.problem === undefined;
  }

  #scalars(group: string, values: object, step: number): void {
    for (const [name, value] of Object.entries(values)) {
      if (typeof value === "number") this.#summary?.scalar(`${group}/${name}`, value, step);
    }
  }

  /** @param facts Stage, steps, pairs, batch, parameters. */
  start(step: number, facts: Readonly<Record<string, string | number>>): void {
    this.#metrics?.write({ step, start: facts, time: new Date().toISOString() });
  }

  step(step: number, result: StepResult, milliseconds: number): void {
    this.#results.push(result);
    this.#milliseconds += milliseconds;
    if (step % LOG_EVERY === 0) this.flush(step);
  }

  /** Writes the mean of the updates since the last line, however few. */
  flush(step: number): void {
    const count = this.#results.length;
    if (count === 0) return;
    const { loss, terms, ...rest } = meanOf(this.#results);
    const milliseconds = rounded(this.#milliseconds / count);
    this.#metrics?.write({ step, loss, terms, ...rest, seconds: rounded(this.seconds), milliseconds });
    this.#scalars("loss", { total: loss, ...terms }, step);
    this.#scalars("training", { ...rest, milliseconds }, step);
    this.#results = [];
    this.#milliseconds = 0;
  }

  async validation(
    step: number,
    result: ValidationResult,
    images: Readonly<Record<string, RgbImage>>,
  ): Promise<void> {
    this.#metrics?.write({ step, validation: result, seconds: rounded(this.seconds) });
    this.#scalars("validation", result, step);
    for (const [name, image] of Object.entries(images)) await this.#summary?.image(name, image, step);
  }

  warning(step: number, message: string): void {
    this.#metrics?.write({ step, warning: message });
  }

  /** What keeps records from the disk, each reason once. */
  problems(): string[] {
    const found = [this.#metrics?.problem, this.#summary?.problem].flatMap((p) => p ? [p.message] : []);
    const fresh = found.filter((message) => !this.#reported.has(message));
    for (const message of fresh) this.#reported.add(message);
    return fresh;
  }

  /** The session ended; later calls do nothing. */
  end(step: number, ending: Ending, error?: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.flush(step);
    const why = error === undefined ? {} : { error: messageOf(error) };
    const time = new Date().toISOString();
    this.#metrics?.write({ step, end: ending, ...why, seconds: rounded(this.seconds), time });
    this.#summary?.close();
  }
}

function rounded(value: number): number {
  return Number(value.toFixed(3));
}

/** The mean of several updates, for one line of the log. */
function meanOf(results: readonly StepResult[]) {
  const mean = (pick: (r: StepResult) => number | undefined) => {
    const values = results.map(pick).filter((v) => v !== undefined);
    return values.length ? values.reduce((a, b) => a + b, 0) / values.length : undefined;
  };
  const names = Object.keys(results[0].terms) as (keyof StepResult["terms"])[];
  return {
    loss: mean((r) => r.loss),
    terms: Object.fromEntries(names.map((name) => [name, mean((r) => r.terms[name])])),
    learningRate: results.at(-1)!.learningRate,
    disparityMean: mean((r) => r.disparityMean),
    disparityDeviation: mean((r) => r.disparityDeviation),
    residual: mean((r) => r.residual),
  };
}

/** Ratio of the disparity's standard deviation to its mean below which the prediction is flat. */
const FLAT = 1e-3;
/** Mean |residual| of the refine network's logits below which it changes nothing. */
const DEAD_RESIDUAL = 1e-3;
/** Ratio of a term's level to its best one above which it diverges, */
const DIVERGING = 2;
/** if that rise is more than this fraction of the best loss: terms near 0 may double without harm. */
const MATTERS = 0.1;
/** Updates before the first warning: networks start flat. */
const PATIENCE = 100;
/** Weight of the newest value in a term's level, a running mean. */
const NEWEST = 0.05;

/** A loss term's running mean, and the lowest it has been after {@linkcode PATIENCE} updates. */
type Level = { readonly mean: number; readonly best: number | null };

/** The state of {@linkcode Diagnostics}; plain values, for a checkpoint. */
export interface DiagnosticsState {
  readonly updates: number;
  /** Warnings given. */
  readonly raised: readonly string[];
  /** Level of each term and of the "loss". */
  readonly levels: Readonly<Record<string, Level>>;
}

/**
 * Watches a run's updates and warns, once each, of a disparity that is the same everywhere, a refine network that
 * corrects nothing, and each term that rises so far that the loss does.
 */
export class Diagnostics {
  readonly #weights: LossWeights;
  readonly #raised: Set<string>;
  readonly #levels: Map<string, Level>;
  #updates: number;

  /** @param state Of a resumed run. */
  constructor(weights: LossWeights, state?: DiagnosticsState) {
    this.#weights = weights;
    this.#raised = new Set(state?.raised);
    this.#levels = new Map(Object.entries(state?.levels ?? {}));
    this.#updates = state?.updates ?? 0;
  }

  get state(): DiagnosticsState {
    return {
      updates: this.#updates,
      raised: [...this.#raised],
      levels: Object.fromEntries(this.#levels),
    };
  }

  /** Takes in an update. @returns Warnings for the user; usually none. */
  check(result: StepResult): string[] {
    this.#updates++;
    const found = [...this.#diverging(result)];
    const { disparityMean, disparityDeviation, residual } = result;
    if (this.#updates > PATIENCE && disparityDeviation < FLAT * disparityMean) {
      found.push([
        "collapse",
        `the disparity has collapsed to ${disparityMean.toFixed(4)} everywhere: lower the ` +
        "learning rate, or check --head-bias",
      ]);
    }
    if (this.#updates > PATIENCE && residual !== undefined && residual < DEAD_RESIDUAL) {
      found.push([
        "residual",
        `the refine network still repeats the student (mean |difference| of their logits ` +
        `${residual.toExponential(1)}): raise the learning rate or --refined-weight`,
      ]);
    }
    return found.filter(([key]) => !this.#raised.has(key)).map(([key, message]) => {
      this.#raised.add(key);
      return message;
    });
  }

  *#diverging(result: StepResult): Generator<[key: string, message: string]> {
    const loss = this.#update("loss", result.loss);
    for (const [name, value] of Object.entries(result.terms)) {
      const { mean, best } = this.#update(name, value);
      if (best === null || mean <= DIVERGING * best) continue;
      const rise = this.#weights[name as TermName] * (mean - best);
      if (rise < MATTERS * loss.best!) continue;
      yield [name, `the term ${name} diverges: ${mean.toPrecision(3)}, it was ${best.toPrecision(3)}`];
    }
  }

  #update(name: string, value: number): Level {
    const { mean: before = value, best: lowest = null } = this.#levels.get(name) ?? {};
    const mean = before + NEWEST * (value - before);
    const best = this.#updates > PATIENCE ? Math.min(lowest ?? Infinity, mean) : null;
    const level = { mean, best };
    this.#levels.set(name, level);
    return level;
  }
}
