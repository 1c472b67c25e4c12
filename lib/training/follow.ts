/**
 * Shows a training to a person.
 *
 * @module
 */
import { Progress } from "../base/progress.ts";
import type { TrainRecord } from "./loop.ts";
import type { ValidationResult } from "./validation.ts";

/** How a training ended. */
export interface TrainingSummary {
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

/**
 * Runs a training to its end with a progress line: rate, loss, terms, validation abs rel, time left.
 *
 * @param records As `train` gives them.
 * @param label Before the bar, e.g. the stage.
 */
export async function followTraining(
  records: AsyncIterable<TrainRecord>,
  label: string,
): Promise<TrainingSummary> {
  let progress: Progress | undefined;
  let validation: ValidationResult | undefined;
  const times: number[] = [];
  const smooth = new Map<string, number>();
  for await (const record of records) {
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
        for (
          const [name, value] of [["loss", record.loss], ...Object.entries(record.terms)] as [
            string,
            number,
          ][]
        ) {
          smooth.set(name, (smooth.get(name) ?? value) * 0.9 + value * 0.1);
        }
        const terms = [...smooth].map(([name, value]) => `${name} ${value.toFixed(4)}`).join(" ");
        const absRel = validation?.absRel === undefined
          ? ""
          : `  val abs rel ${validation.absRel.toFixed(4)}`;
        progress?.update(record.step, terms + absRel);
        break;
      }
      case "validation":
        validation = record.result;
        progress?.log(`${label}  step ${record.step}: validation ${describeValidation(validation)}`);
        break;
      case "checkpoint":
        progress?.log(`${label}  step ${record.step}: saved ${record.folder}`);
        break;
      case "warning":
        progress?.log(`${label}  step ${record.step}: warning: ${record.message}`);
        break;
      case "end": {
        times.sort((a, b) => a - b);
        const millisecondsPerStep = times[times.length >> 1] ?? NaN;
        progress?.finish(
          `${label}: ${record.reason} at step ${record.step}, ${millisecondsPerStep.toFixed(0)} ms a step`,
        );
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
