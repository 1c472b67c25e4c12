/**
 * Shows a training to a person.
 *
 * @module
 */
import { Progress } from "../base/progress.ts";
import { median } from "../base/random.ts";
import type { TrainRecord } from "./loop.ts";
import type { TermName } from "../losses/objective.ts";
import type { ValidationResult } from "./validation.ts";

/** How a training ended. */
export interface TrainingSummary {
  /** Updates that were made, those before a resumption included. */
  readonly steps: number;
  /** Whether it went through, or was stopped. */
  readonly reason: "finished" | "stopped";
  /** The last checkpoint's folder, where one was written. */
  readonly checkpoint?: string;
  /** The last validation. */
  readonly validation?: ValidationResult;
  /** Median time of an update, ms. */
  readonly millisecondsPerStep: number;
}

/** The terms' names where there is little room. */
const SHORT: Readonly<Record<TermName, string>> = {
  photometric: "photo",
  consistency: "cons",
  smoothness: "smooth",
  cycle: "cycle",
  cycleConsistency: "c-cons",
  cycleSmoothness: "c-smooth",
  refined: "refined",
  refinedConsistency: "r-cons",
  refinedSmoothness: "r-smooth",
  distillation: "distil",
  featureDistillation: "f-distil",
};

/** Weight of the past in the running means that are shown. */
const SMOOTHING = 0.9;

/** Three digits that count, always, so that the line does not twitch; without an exponent where that is readable. */
function short(value: number): string {
  return Math.abs(value) >= 1e-4 && Math.abs(value) < 1e3 ? value.toPrecision(3) : value.toExponential(1);
}

/** The words beside a progress bar: validation abs rel, loss, terms, as far as they are known. */
function describeStep(values: ReadonlyMap<string, number>, absRel: number | undefined): string {
  const { loss, ...terms } = Object.fromEntries(values);
  const parts = [`loss ${short(loss)}`];
  // What matters most stands first: a narrow terminal shows the beginning.
  if (absRel !== undefined) parts.push(`abs rel ${absRel.toFixed(4)}`);
  const each = Object.entries(terms).map(([name, value]) => `${SHORT[name as TermName]} ${short(value)}`);
  // A single term is the loss.
  if (each.length > 1) parts.push(each.join(" "));
  return parts.join("  ");
}

/** How {@linkcode followTraining} shows a training. */
export interface FollowOptions {
  /** Sees every record too, e.g. to draw curves in a notebook; training waits for it. */
  readonly onRecord?: (record: TrainRecord) => void | Promise<void>;
}

/**
 * Runs a training to its end with a progress line: rate, loss, terms, validation abs rel, time left.
 *
 * @param records As `train` gives them.
 * @param label Before the bar, e.g. the stage.
 *
 * @example
 * ```ts ignore
 * const live = new LiveDisplay(), seen: TrainRecord[] = [];
 * await followTraining(train({ options }), "student", {
 *   onRecord: (record) => {
 *     seen.push(record);
 *     return live.update(() => lossCurves(seen));
 *   },
 * });
 * ```
 */
export async function followTraining(
  records: AsyncIterable<TrainRecord>,
  label: string,
  options: FollowOptions = {},
): Promise<TrainingSummary> {
  let progress: Progress | undefined;
  let validation: ValidationResult | undefined;
  const times: number[] = [];
  const means = new Map<string, number>();
  for await (const record of records) {
    await options.onRecord?.(record);
    switch (record.kind) {
      case "start": {
        progress = new Progress({ label, total: record.steps });
        const parameters = (record.parameters / 1e6).toFixed(2);
        const from = record.step > 0 ? `, going on from step ${record.step}` : "";
        progress.log(
          `${label}: ${record.steps} steps, ${record.pairs} pairs, ${parameters} M parameters${from}`,
        );
        break;
      }
      case "step": {
        times.push(record.milliseconds);
        for (const [name, value] of Object.entries({ loss: record.loss, ...record.terms })) {
          means.set(name, (means.get(name) ?? value) * SMOOTHING + value * (1 - SMOOTHING));
        }
        progress?.update(record.step, describeStep(means, validation?.absRel));
        break;
      }
      case "validation":
        validation = record.validation;
        progress?.log(`${label}  step ${record.step}: validation ${describeValidation(validation)}`);
        break;
      case "checkpoint":
        progress?.log(`${label}  step ${record.step}: saved ${record.folder}`);
        break;
      case "warning":
        progress?.log(`${label}  step ${record.step}: warning: ${record.message}`);
        break;
      case "end": {
        const millisecondsPerStep = median(times);
        const rate = times.length ? `, ${millisecondsPerStep.toFixed(0)} ms a step` : "";
        progress?.finish(`${label}: ${record.reason} at step ${record.step}${rate}`);
        return {
          steps: record.step,
          reason: record.reason,
          checkpoint: record.folder,
          validation,
          millisecondsPerStep,
        };
      }
    }
  }
  throw new Error("a training ends with a record that says so");
}

/** A validation in words. */
export function describeValidation({ absRel, rmse, photometric }: ValidationResult): string {
  const depth = absRel === undefined ? "" : `abs rel ${absRel.toFixed(4)}, RMSE ${rmse?.toFixed(2)} m, `;
  return `${depth}photometric ${photometric.toFixed(4)}`;
}
