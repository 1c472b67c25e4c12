/**
 * The records of a run: the lines of `metrics.jsonl`, with TensorBoard's curves and images beside them, and the
 * diagnostics that warn of a run that goes wrong.
 *
 *     {"step":0,"start":{"stage":"half-cycle","steps":1200,…},"time":"2026-11-22T14:03:11.123Z"}
 *     {"step":10,"loss":0.41,"terms":{"photometric":0.39,…},"learningRate":…,"seconds":2.1,…}    mean of 10 steps
 *     {"step":200,"validation":{"photometric":0.10,"absRel":0.21,"rmse":6.2}}
 *     {"step":340,"warning":"the disparity has collapsed …"}
 *     {"step":1200,"end":"finished","seconds":212.4,"time":"…"}                       or "stopped", or "failed"
 *
 * @module
 */
import { type CyclopsError, messageOf } from "../base/errors.ts";
import { exists, fileError, readText, writeAtomic } from "../base/files.ts";
import type { RgbImage } from "../data/image.ts";
import type { LossWeights, TermName } from "../losses/objective.ts";
import { Summary } from "./tensorboard.ts";
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
 * Reads the records of a run, without lines that are cut; none where the file is missing.
 *
 * @throws {CyclopsError} When the file exists but cannot be read.
 */
export async function readMetrics(path: string): Promise<MetricsRecord[]> {
  return await exists(path) ? parseLines(await readText(path)).map(({ record }) => record) : [];
}

/** Appends records to a file. Each has been handed to the system when {@linkcode MetricsLog.write} returns. */
export class MetricsLog implements Disposable {
  /** The file. */
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

  /** Closes the file. */
  close(): void {
    this.flush();
    this.#file?.close();
    this.#file = undefined;
  }

  /** Closes the file. */
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

  /** Whether images are written. */
  get wantsImages(): boolean {
    return this.#summary !== undefined && this.#summary.problem === undefined;
  }

  #scalars(group: string, values: object, step: number): void {
    for (const [name, value] of Object.entries(values)) {
      if (typeof value === "number") this.#summary?.scalar(`${group}/${name}`, value, step);
    }
  }

  /** A session begins. @param facts Stage, steps, pairs, batch, parameters. */
  start(step: number, facts: Readonly<Record<string, string | number>>): void {
    this.#metrics?.write({ step, start: facts, time: new Date().toISOString() });
  }

  /** An update was made. */
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

  /** A validation was made. @param images Images by name. */
  async validation(
    step: number,
    result: ValidationResult,
    images: Readonly<Record<string, RgbImage>>,
  ): Promise<void> {
    this.#metrics?.write({ step, validation: result, seconds: rounded(this.seconds) });
    this.#scalars("validation", result, step);
    for (const [name, image] of Object.entries(images)) await this.#summary?.image(name, image, step);
  }

  /** The user was warned. */
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
interface Level {
  readonly mean: number;
  readonly best: number | null;
}

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
        `the refine network is dead (mean |residual| ${residual.toExponential(1)}): raise ` +
        "--refine-head-scale, or use --refine-head scratch",
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
