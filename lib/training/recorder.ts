/**
 * Writes down what happens in a run: the lines of `metrics.jsonl`, and TensorBoard's curves and pictures.
 *
 *     {"step":0,"start":{"stage":"half-cycle","steps":1200,…},"time":"2026-11-22T14:03:11.123Z"}
 *     {"step":10,"loss":0.41,"terms":{"photometric":0.39,…},"learningRate":…,"seconds":2.1,…}    mean of 10 steps
 *     {"step":200,"validation":{"photometric":0.10,"absRel":0.21,"rmse":6.2}}
 *     {"step":340,"warning":"the disparity has collapsed …"}
 *     {"step":1200,"end":"finished","seconds":212.4,"time":"…"}                       or "stopped", or "failed"
 *
 * @module
 */
import { messageOf } from "../base/errors.ts";
import type { RgbImage } from "../data/image.ts";
import type { MetricsRecord } from "./metrics_log.ts";
import type { Run } from "./run_folder.ts";
import { openSummary, type Summary } from "./tensorboard.ts";
import type { StepResult } from "./trainer.ts";
import type { ValidationResult } from "./validation.ts";

/** Updates that one line of metrics.jsonl is the mean of. */
export const LOG_EVERY = 10;

/** What is known of a run when it starts or is taken up again. */
export interface StartFacts {
  /** The stage's name. */
  readonly stage: string;
  /** Updates in the whole run. */
  readonly steps: number;
  /** Training pairs. */
  readonly pairs: number;
  /** Pairs an update. */
  readonly batch: number;
  /** Weights of all networks. */
  readonly parameters: number;
}

/** How a run ended: through all its steps, on request, or by an error. */
export type Ending = "finished" | "stopped" | "failed";

/** Keeps a run's records; silent where there is no run. */
export class Recorder {
  readonly #run: Run | undefined;
  readonly #summary: Summary | undefined;
  readonly #opened = performance.now();
  readonly #before: number;
  readonly #told = new Set<string>();
  #results: StepResult[] = [];
  #milliseconds = 0;
  #ended = false;

  /**
   * Opens the event file; the run's own records are open already.
   *
   * @param run Where to; nowhere without one.
   * @param options Whether TensorBoard's files are wanted, the last step done and the seconds it took to get there.
   */
  constructor(
    run: Run | undefined,
    options: { readonly tensorboard: boolean; readonly step: number; readonly seconds: number },
  ) {
    this.#run = run;
    this.#before = options.seconds;
    if (run && options.tensorboard) {
      this.#summary = openSummary(run.path("tensorboard"), { after: options.step });
    }
  }

  /** Seconds that the run has been trained for, in all sessions together. */
  get seconds(): number {
    return this.#before + (performance.now() - this.#opened) / 1000;
  }

  /** Whether somebody looks at pictures. */
  get wantsImages(): boolean {
    return this.#summary !== undefined && this.#summary.problem === undefined;
  }

  #write(record: MetricsRecord): void {
    this.#run?.metrics.write(record);
  }

  #scalars(group: string, values: object, step: number): void {
    for (const [name, value] of Object.entries(values)) {
      if (typeof value === "number") this.#summary?.scalar(`${group}/${name}`, value, step);
    }
  }

  /** A session begins. */
  start(step: number, facts: StartFacts): void {
    this.#write({ step, start: facts, time: new Date().toISOString() });
  }

  /** An update was done. */
  step(step: number, result: StepResult, milliseconds: number): void {
    this.#results.push(result);
    this.#milliseconds += milliseconds;
    if (step % LOG_EVERY === 0) this.flush(step);
  }

  /** Writes the line that is begun, however few updates it is the mean of. */
  flush(step: number): void {
    const count = this.#results.length;
    if (count === 0) return;
    const mean = meanOf(this.#results);
    const seconds = rounded(this.seconds);
    const milliseconds = rounded(this.#milliseconds / count);
    this.#write({ step, ...mean, seconds, milliseconds });
    const { loss, terms, ...rest } = mean;
    this.#scalars("loss", { total: loss, ...terms }, step);
    this.#scalars("training", { ...rest, milliseconds }, step);
    this.#results = [];
    this.#milliseconds = 0;
  }

  /** A validation was made. @param images Pictures by name. */
  validation(step: number, result: ValidationResult, images: Readonly<Record<string, RgbImage>>): void {
    this.#write({ step, validation: result, seconds: rounded(this.seconds) });
    this.#scalars("validation", result, step);
    for (const [name, image] of Object.entries(images)) this.#summary?.image(name, image, step);
    this.#summary?.flush();
  }

  /** The user was warned. */
  warning(step: number, message: string): void {
    this.#write({ step, warning: message });
  }

  /** What keeps records from the disk, each reason once. */
  problems(): string[] {
    const found = [this.#run?.metrics.problem, this.#summary?.problem].flatMap((p) => p ? [p.message] : []);
    const fresh = found.filter((message) => !this.#told.has(message));
    for (const message of fresh) this.#told.add(message);
    return fresh;
  }

  /** The session ended; what comes after the first call is passed over. */
  end(step: number, ending: Ending, error?: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.flush(step);
    const why = error === undefined ? {} : { error: messageOf(error) };
    this.#write({
      step,
      end: ending,
      ...why,
      seconds: rounded(this.seconds),
      time: new Date().toISOString(),
    });
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
