/**
 * Seeded procedural stereo street scenes in the layout of KITTI raw, with exact dense depth.
 *
 * @module
 */
import { CyclopsError } from "../base/errors.ts";
import type { InputOf } from "../base/options.ts";
import { type DriveJob, renderDrive, type WorkerNews, type WorkerOrder } from "./job.ts";
import { planStreet, type STREET_SPECS, type StreetPlan } from "./options.ts";
import { frameExists, prepareFolder, streetFrame, type StreetSplits } from "./write.ts";

export { Drive, type StreetFrame } from "./frame.ts";
export { planStreet, STREET_SPECS, type StreetOptions, type StreetPlan } from "./options.ts";
export { calibrationFiles } from "./rig.ts";
export { STREET_DATE, type StreetManifest, type StreetSplits } from "./write.ts";

/** What {@linkcode generateStreet} did. */
export interface StreetSummary {
  /** The folder. */
  readonly out: string;
  /** What was made. */
  readonly plan: StreetPlan;
  /** Drive numbers of each split; the split files lie in `splits/` of the folder. */
  readonly splits: StreetSplits;
  /** Pairs rendered now; the others were there already. */
  readonly rendered: number;
  /** Seconds it took. */
  readonly seconds: number;
}

/** How to follow {@linkcode generateStreet}. */
export interface StreetHooks {
  /** Called after every pair: how many of `total` are there, those found at the start included. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Stops after the frames in hand; the folder can be finished later. */
  readonly signal?: AbortSignal;
}

/**
 * Makes a set of stereo street scenes, or finishes one that was cut short.
 *
 * The folder is laid out as KITTI raw: `2030_01_01/2030_01_01_drive_0001_sync/image_02|03/data/0000000000.png`,
 * `velodyne_points/data/*.bin`, calibration files; dense depth of both cameras (16-bit PNG, value / 256 m, 0 = sky or
 * beyond 255 m) in `proj_depth/groundtruth/image_02|03/`; `splits/train|val|test.txt`, parted by drive; `street.json`.
 * The scanner looks 45° to either side of straight ahead. The same seed gives the same bytes with any number of workers.
 *
 * @param given See {@linkcode STREET_SPECS}; defaults for what is not given.
 * @throws {UsageError} On options that are not allowed, or that differ from those of a set that is there.
 * @throws {CyclopsError} When files cannot be written, or after an abort.
 *
 * @example
 * ```ts ignore
 * const { out } = await generateStreet({ out: "data/street", pairs: 60, workers: 2 });
 * ```
 */
export async function generateStreet(
  given: InputOf<typeof STREET_SPECS> = {},
  hooks: StreetHooks = {},
): Promise<StreetSummary> {
  const started = performance.now();
  const { options, plan } = planStreet(given), { out } = options;
  const { splits } = await prepareFolder(out, plan, options.overwrite);
  const total = plan.drives * plan.frames;
  const jobs: DriveJob[] = [];
  for (let drive = 1; drive <= plan.drives; drive++) {
    const frames: number[] = [];
    for (let i = 0; i < plan.frames; i++) if (!await frameExists(out, streetFrame(drive, i))) frames.push(i);
    if (frames.length) jobs.push({ out, plan, drive, frames });
  }
  const missing = jobs.reduce((sum, job) => sum + job.frames.length, 0);
  let done = total - missing;
  const onFrame = () => hooks.onProgress?.(++done, total);
  const threads = Math.min(options.workers ?? navigator.hardwareConcurrency, jobs.length);
  if (threads === 0) { for (const job of jobs) await renderDrive(job, onFrame, hooks.signal); }
  else await renderInWorkers(jobs, threads, onFrame, hooks.signal);
  if (hooks.signal?.aborted) {
    throw new CyclopsError(`Stopped with ${done} of ${total} pairs in ${out}: the same call finishes them`);
  }
  return { out, plan, splits, rendered: missing, seconds: (performance.now() - started) / 1000 };
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
        const tell = (order: WorkerOrder) => worker.postMessage(order);
        signal?.addEventListener("abort", () => tell({ kind: "stop" }), { once: true });
        const give = () => {
          if (next < jobs.length && !signal?.aborted) tell({ kind: "drive", job: jobs[next++] });
          else resolve();
        };
        worker.onmessage = ({ data }: MessageEvent<WorkerNews>) => {
          if (data.kind === "frame") onFrame();
          else if (data.kind === "done") give();
          else reject(new CyclopsError(data.message));
        };
        worker.onerror = (event) => {
          event.preventDefault();
          reject(new CyclopsError(`Cannot render street scenes: a worker failed (${event.message})`));
        };
        give();
      })));
  } finally {
    for (const worker of workers) worker.terminate();
  }
}
