/**
 * The state of a run by its `metrics.jsonl`, during the training or afterwards, in this process or in another one.
 *
 * @module
 */
import { join } from "@std/path";
import { CyclopsError } from "../lib/base/errors.ts";
import { exists, fileError } from "../lib/base/files.ts";
import { type Ending, type MetricsRecord, readMetrics } from "../lib/training/records.ts";
import { isHeld } from "../lib/training/run_folder.ts";

const METRICS = "metrics.jsonl";

/** A value measured at a step. */
export interface StepValue {
  readonly step: number;
  readonly value: number;
}

/** Lines of which the rate is the mean. */
const RATE_LINES = 10;

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Derives a run's state from its records; see `records.ts` for their format. Stage and steps are `undefined` before the
 * first record; `rate` is in recent updates per second; `numbers` are the last line's other ones; `ending` is
 * `undefined` while the run is trained, or when it was killed.
 */
export function runState(records: readonly MetricsRecord[]) {
  const loss: StepValue[] = [];
  const terms = new Map<string, StepValue[]>(), validation = new Map<string, StepValue[]>();
  const warnings: { step: number; message: string }[] = [];
  const add = (to: Map<string, StepValue[]>, step: number, values: unknown) => {
    for (const [name, value] of Object.entries(isObject(values) ? values : {})) {
      if (typeof value !== "number") continue;
      const list = to.get(name) ?? [];
      to.set(name, list);
      list.push({ step, value });
    }
  };
  let step = 0, numbers: Record<string, number> = {};
  let start: Record<string, unknown> = {};
  let ending: Ending | undefined, error: string | undefined;
  let session: { step: number; seconds: number; milliseconds?: number }[] = [];
  for (const record of records) {
    if (typeof record.step !== "number") continue;
    step = Math.max(step, record.step);
    if (isObject(record.start)) {
      [start, session, ending, error] = [record.start, [], undefined, undefined];
    }
    if (typeof record.end === "string") {
      ending = record.end as Ending;
      error = typeof record.error === "string" ? record.error : undefined;
    }
    if (typeof record.warning === "string") warnings.push({ step: record.step, message: record.warning });
    add(validation, record.step, record.validation);
    if (typeof record.loss !== "number") continue;
    loss.push({ step: record.step, value: record.loss });
    add(terms, record.step, record.terms);
    numbers = {};
    for (const name of ["learningRate", "disparityMean", "disparityDeviation", "residual"]) {
      const value = record[name];
      if (typeof value === "number") numbers[name] = value;
    }
    if (typeof record.seconds === "number") {
      const milliseconds = typeof record.milliseconds === "number" ? record.milliseconds : undefined;
      session.push({ step: record.step, seconds: record.seconds, milliseconds });
    }
  }
  session = session.slice(-RATE_LINES);
  const [first, last] = [session[0], session.at(-1)];
  const rate = last && last.seconds > first.seconds
    ? (last.step - first.step) / (last.seconds - first.seconds)
    : last?.milliseconds
    ? 1000 / last.milliseconds
    : undefined;
  return {
    stage: typeof start.stage === "string" ? start.stage : undefined,
    step,
    steps: typeof start.steps === "number" ? start.steps : undefined,
    rate,
    loss,
    terms,
    validation,
    numbers,
    warnings,
    ending,
    error,
  };
}

/** A run at one moment. */
export interface RunView {
  readonly folder: string;
  readonly records: readonly MetricsRecord[];
  readonly state: ReturnType<typeof runState>;
  /** Milliseconds since it last wrote a record. */
  readonly silentFor: number;
  /** Whether it runs, has ended by itself, or was killed. */
  readonly phase: "running" | "ended" | "killed";
}

/** Maximum depth of runs below a folder: stages in seeds in an ablation. */
const DEPTH = 3;
/** Milliseconds of silence after which an unlocked run counts as killed: before, it may just be ending. */
const SURELY_DEAD = 3000;

/** The run below a folder that was written to last. */
async function newestMetrics(
  folder: string,
  depth: number,
): Promise<{ readonly folder: string; readonly time: number } | undefined> {
  let newest: { folder: string; time: number } | undefined;
  try {
    for await (const { name, isDirectory } of Deno.readDir(folder)) {
      if (name === METRICS) {
        const time = (await Deno.stat(join(folder, METRICS))).mtime?.getTime() ?? 0;
        return { folder, time };
      }
      if (!isDirectory || depth === 0 || name === "checkpoints") continue;
      const below = await newestMetrics(join(folder, name), depth - 1);
      if (below && below.time > (newest?.time ?? -Infinity)) newest = below;
    }
  } catch (error) {
    // A folder that vanishes meanwhile is not a run in progress.
    if (!(error instanceof Deno.errors.NotFound)) throw fileError("look for runs in", folder, error);
  }
  return newest;
}

/**
 * Reads the state of a run.
 *
 * @param folder A run's folder, or one of several runs, e.g. the stages in a row: then the one that was written to last.
 * @throws {CyclopsError} When there is none.
 */
export async function viewRun(folder: string): Promise<RunView> {
  const found = await newestMetrics(folder, DEPTH);
  if (!found) {
    throw new CyclopsError(
      `Cannot watch ${folder}: ${await exists(folder) ? `it holds no ${METRICS}` : "no such folder"}, ` +
        "expected a run's folder, e.g. runs/first, as deno task train creates it",
    );
  }
  const records = await readMetrics(join(found.folder, METRICS));
  const state = runState(records);
  const silentFor = Math.max(0, Date.now() - found.time);
  // The lock tells a killed run from a slow one; without locks it is assumed to run.
  const dead = async () => silentFor > SURELY_DEAD && await isHeld(found.folder) === false;
  const phase = state.ending ? "ended" : await dead() ? "killed" : "running";
  return { folder: found.folder, records, state, silentFor, phase };
}
