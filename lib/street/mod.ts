/**
 * Seeded procedural stereo street scenes in the layout of KITTI raw, with exact dense depth.
 *
 * @module
 */
import { CyclopsError, UsageError } from "../base/errors.ts";
import {
  flag,
  formatSize,
  type InputOf,
  integer,
  type OptionsOf,
  resolveOptions,
  size,
  text,
} from "../base/options.ts";
import { frameExists, prepareFolder, streetFrame, type StreetPlan, type StreetSplits } from "./dataset.ts";
import { type DriveJob, renderDrive } from "./drive.ts";
import type { WorkerReply, WorkerRequest } from "./worker.ts";

export { STREET_DATE, type StreetFrame, type StreetPlan, type StreetSplits } from "./dataset.ts";
export { StreetDrive } from "./drive.ts";
export type { Rendered } from "./render.ts";

/** The options of {@linkcode generateStreet} and of `deno task street`. */
export const STREET_SPECS = {
  out: text({ default: "data/street", value: "DIR", help: "Folder to write, in the layout of KITTI raw." }),
  pairs: integer({
    default: undefined,
    min: 3,
    max: 1_000_000,
    help: "About how many stereo pairs; sets --drives. 600 if neither is given.",
  }),
  drives: integer({
    default: undefined,
    min: 3,
    max: 9999,
    help: "How many drives, each a street of its own; at least 3, one per split.",
  }),
  frames: integer({ default: 6, min: 1, max: 200, help: "Consecutive frames per drive, 10 per second." }),
  size: size({ default: "128x416", help: "Height and width of the images in px." }),
  seed: integer({ default: 1, min: 0, help: "The same seed gives the same bytes." }),
  workers: integer({
    default: undefined,
    min: 0,
    max: 64,
    help: "Rendering threads; 0 renders in the main thread. As many as cores by default.",
  }),
  overwrite: flag({ help: "Replace a set that was made there with other options." }),
} as const;

/** The resolved value of {@linkcode STREET_SPECS}, as the user gave it. */
export type StreetOptions = OptionsOf<typeof STREET_SPECS>;

/** What {@linkcode generateStreet} did. */
export interface StreetSummary {
  /** The folder. */
  readonly out: string;
  /** What the set is. */
  readonly plan: StreetPlan;
  /** Drive numbers of each split; the split files lie in `splits/` of the folder. */
  readonly splits: StreetSplits;
  /** Pairs rendered now; the others existed already. */
  readonly rendered: number;
  /** Time it took, s. */
  readonly seconds: number;
}

/** How to follow and stop {@linkcode generateStreet}. */
export interface StreetHooks {
  /** Called after every pair: how many of `total` exist, those found at the start included. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Stops after the frames in progress; the same call finishes the set later. */
  readonly signal?: AbortSignal;
}

/**
 * Fills in defaults, validates, and works out how many drives there are.
 *
 * @throws {UsageError} On an unknown or disallowed option, or `pairs` and `drives` that contradict each other.
 */
export function planStreet(
  overrides: InputOf<typeof STREET_SPECS>,
): { readonly options: StreetOptions; readonly plan: StreetPlan } {
  const options = resolveOptions("street", STREET_SPECS, overrides);
  const { pairs, drives, frames, seed, size: { height, width } } = options;
  const refuse = (found: string) => new UsageError(`Cannot configure street: ${found}`);
  if (pairs !== undefined && drives !== undefined && pairs !== drives * frames) {
    const product = `${drives} drives of ${frames} frames are ${drives * frames} pairs`;
    throw refuse(`${product}, but pairs is ${pairs}; give either pairs or drives`);
  }
  for (const [name, px, min, max] of [["height", height, 32, 1024], ["width", width, 64, 4096]] as const) {
    if (px >= min && px <= max) continue;
    throw refuse(`size is "${formatSize(options.size)}", expected a ${name} of ${min} to ${max} px`);
  }
  const count = Math.max(3, drives ?? Math.ceil((pairs ?? 600) / frames));
  if (count > 9999) throw refuse(`${count} drives, expected at most 9999 (raise --frames)`);
  return { options, plan: { seed, drives: count, frames, height, width } };
}

/**
 * Generates a set of stereo street scenes, or finishes one that was cut short.
 *
 * The folder is laid out as KITTI raw: `2030_01_01/2030_01_01_drive_0001_sync/image_02|03/data/0000000000.png`,
 * `velodyne_points/data/*.bin`, calibration files; dense depth of both cameras (16-bit PNG, value / 256 m, 0 = sky or
 * beyond 255 m) in `proj_depth/groundtruth/image_02|03/`; `splits/train|val|test.txt`, divided by drive; `street.json`.
 * The scanner covers 45° to either side of straight ahead. The same seed gives the same bytes with any number of
 * workers.
 *
 * @param overrides Options of `deno task street`, of which `out`, `pairs`, `frames`, `size` and `seed` are the main ones; defaults
 *   hold for the rest.
 * @throws {UsageError} On invalid options, or options that differ from those of the set in the folder.
 * @throws {CyclopsError} When the folder holds something else, files cannot be written, or after an abort.
 *
 * @example
 * ```ts ignore
 * const { out } = await generateStreet({ out: "data/street", pairs: 60, workers: 2 });
 * ```
 */
export async function generateStreet(
  overrides: InputOf<typeof STREET_SPECS> = {},
  { onProgress, signal }: StreetHooks = {},
): Promise<StreetSummary> {
  const started = performance.now();
  const { options: { out, overwrite, workers }, plan } = planStreet(overrides);
  const splits = await prepareFolder(out, plan, overwrite);
  const jobs: DriveJob[] = [];
  for (let drive = 1; drive <= plan.drives; drive++) {
    const frames: number[] = [];
    for (let i = 0; i < plan.frames; i++) if (!await frameExists(out, streetFrame(drive, i))) frames.push(i);
    if (frames.length) jobs.push({ out, plan, drive, frames });
  }
  const total = plan.drives * plan.frames,
    rendered = jobs.reduce((sum, { frames }) => sum + frames.length, 0);
  let done = total - rendered;
  const onFrame = () => onProgress?.(++done, total);
  const threads = Math.min(workers ?? navigator.hardwareConcurrency, jobs.length);
  if (threads === 0) { for (const job of jobs) await renderDrive(job, onFrame, signal); }
  else await renderInWorkers(jobs, threads, onFrame, signal);
  if (signal?.aborted) {
    throw new CyclopsError(`Stopped with ${done} of ${total} pairs in ${out}: the same call finishes them`);
  }
  return { out, plan, splits, rendered, seconds: (performance.now() - started) / 1000 };
}

/** Shares the drives among threads; each takes the next when it is done with one. */
async function renderInWorkers(
  jobs: readonly DriveJob[],
  threads: number,
  onFrame: () => void,
  signal?: AbortSignal,
): Promise<void> {
  let next = 0;
  const workers: Worker[] = [];
  try {
    await Promise.all(Array.from({ length: threads }, () =>
      new Promise<void>((resolve, reject) => {
        const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
        workers.push(worker);
        const send = (request: WorkerRequest) => worker.postMessage(request);
        signal?.addEventListener("abort", () => send({ kind: "stop" }), { once: true });
        const sendNext = () => {
          if (next < jobs.length && !signal?.aborted) send({ kind: "drive", job: jobs[next++] });
          else resolve();
        };
        worker.onmessage = ({ data }: MessageEvent<WorkerReply>) => {
          if (data.kind === "frame") onFrame();
          else if (data.kind === "done") sendNext();
          else reject(new CyclopsError(data.message));
        };
        worker.onerror = (event) => {
          event.preventDefault();
          reject(new CyclopsError(`Cannot render street scenes: a worker failed (${event.message})`));
        };
        sendNext();
      })));
  } finally {
    for (const worker of workers) worker.terminate();
  }
}
