/**
 * Files of predictions scored by several threads: the same numbers, in the same order, as by one.
 *
 * @module
 */
import { CyclopsError, receiveError, type SentError } from "../base/errors.ts";
import type { StereoPair } from "../data/split.ts";
import type { ErrorProfile } from "./analysis.ts";
import type { PredictionFiles } from "./predictions.ts";
import type { FrameResult, Protocol } from "./protocol.ts";
import { hasTruth, type TruthKind } from "./truth.ts";

/** A file of predictions, which each thread opens. */
type Source = Pick<PredictionFiles, "path" | "unit">;

/** What a thread is sent: score frames `first`, `first` + `step`, … */
export interface ScoreJob {
  readonly root: string;
  readonly pairs: readonly StereoPair[];
  readonly truth: TruthKind;
  readonly disparities: Source;
  readonly flipped?: Source;
  readonly protocol: Protocol;
  /** Options of `checkPredictions`, by which the first thread refuses other units and orders. */
  readonly check?: {
    readonly scaled?: boolean;
    readonly others?: Readonly<Record<string, readonly StereoPair[]>>;
  };
  readonly first: number;
  readonly step: number;
}

/** A frame with what it adds to the profile. */
export type ProfiledFrame = FrameResult & Pick<ErrorProfile, "sums">;

/** What it answers, some frames at a time. */
export type ScoreReply = { readonly frames: readonly ProfiledFrame[] } | { readonly error: SentError };

/** A thread takes a tenth of a second to start. */
const FRAMES_PER_THREAD = 64;

/** Threads worth starting for so many frames; at most four, which wait for the disk from there on. */
export function threadsFor(frames: number): number {
  return Math.min(navigator.hardwareConcurrency, 4, Math.ceil(frames / FRAMES_PER_THREAD));
}

/** Starts threads, which load what they need while the caller prepares their job. */
export function startThreads(count: number): Worker[] {
  return Array.from(
    { length: count },
    () => new Worker(new URL("./worker.ts", import.meta.url), { type: "module" }),
  );
}

/**
 * Starts scoring the frames that have a truth, as `scoreFrames` does with `extraMetrics`.
 *
 * @param threads At least one; they end with the last frame.
 * @param profile Is added to as frames are taken.
 * @throws {CyclopsError} When the predictions are refused, or a file is missing or damaged, at its frame.
 */
export function scoreInThreads(
  job: Omit<ScoreJob, "first" | "step">,
  threads: readonly Worker[],
  profile: ErrorProfile,
): AsyncIterable<FrameResult> {
  const frames = job.pairs.map(() => Promise.withResolvers<ProfiledFrame>()), step = threads.length;
  for (const { promise } of frames) promise.catch(() => {}); // an error shows when it is the frame's turn
  for (const [first, thread] of threads.entries()) {
    const fail = (error: Error) => {
      for (let i = first; i < frames.length; i += step) frames[i].reject(error);
    };
    thread.onmessage = ({ data }: MessageEvent<ScoreReply>) => {
      if ("error" in data) fail(receiveError(data.error));
      else for (const frame of data.frames) frames[frame.index].resolve(frame);
    };
    thread.onerror = (event) => {
      event.preventDefault();
      fail(new CyclopsError(`Cannot evaluate ${job.disparities.path}: a thread stopped (${event.message})`));
    };
    thread.postMessage({ ...job, first, step } satisfies ScoreJob);
  }
  return (async function* () {
    try {
      for (const [i, { promise }] of frames.entries()) {
        if (!hasTruth(job.pairs[i], job.truth)) continue;
        const { sums, ...frame } = await promise;
        profile.merge(sums);
        yield frame;
      }
    } finally {
      for (const thread of threads) thread.terminate();
    }
  })();
}
