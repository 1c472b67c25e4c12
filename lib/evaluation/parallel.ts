/**
 * Files of predictions scored by several threads: the same numbers, in the same order, as by one.
 *
 * @module
 */
import { setImmediate } from "node:timers/promises";
import { CyclopsError, receiveError, sendError, type SentError } from "../base/errors.ts";
import type { StereoPair } from "../data/split.ts";
import { ErrorProfile } from "./analysis.ts";
import type { PredictionFiles } from "./predictions.ts";
import { type EvaluationInput, type FrameResult, type Protocol, scoreFrames } from "./protocol.ts";
import { hasTruth, type TruthKind } from "./truth.ts";

/** A file of predictions, which each thread opens. */
type Source = Pick<PredictionFiles, "path" | "unit">;

/** What a thread is sent. */
export interface ScoreJob {
  readonly root: string;
  readonly pairs: readonly StereoPair[];
  readonly truth: TruthKind;
  readonly disparities: Source;
  readonly flipped?: Source;
  readonly protocol: Protocol;
  /** Shared memory: the first frame that nobody has taken. */
  readonly next: Int32Array;
}

/** A frame with what it adds to the profile. */
type ProfiledFrame = FrameResult & Pick<ErrorProfile, "sums">;

/** What it answers, some frames at a time: each message interrupts a thread at work. */
export interface ScoreReply {
  readonly frames: readonly ProfiledFrame[];
  /** Why it stopped, and the frames that it had taken. */
  readonly stopped?: { readonly error: SentError; readonly taken: readonly number[] };
}

/** A thread takes a tenth of a second to start. */
const FRAMES_PER_THREAD = 64;
/** Frames that a thread takes at once. */
const SHARE = 4;

/** Starts the threads worth having for so many frames beside the caller's own; at most three: more wait for the disk. */
export function startThreads(
  frames: number,
  count: number = Math.min(navigator.hardwareConcurrency - 1, 3, Math.floor(frames / FRAMES_PER_THREAD)),
): Worker[] {
  return Array.from(
    { length: count },
    () => new Worker(new URL("./worker.ts", import.meta.url), { type: "module" }),
  );
}

/** Scores shares of the frames as long as there are any, and tells them share by share. */
export async function scoreShares(
  input: EvaluationInput,
  protocol: Protocol,
  next: Int32Array,
  tell: (reply: ScoreReply) => void | Promise<void>,
): Promise<void> {
  const profile = new ErrorProfile(), taken: number[] = [];
  let frames: ProfiledFrame[] = [];
  const shares = function* () {
    for (let from; (from = Atomics.add(next, 0, SHARE)) < input.pairs.length;) {
      for (let i = from; i < Math.min(from + SHARE, input.pairs.length); i++) {
        taken.push(i);
        yield i;
      }
    }
  };
  try {
    for await (const frame of scoreFrames({ ...input, onPoints: profile.add }, [protocol], shares())) {
      frames.push({ ...frame, sums: profile.sums.slice() });
      profile.sums.fill(0);
      if (frames.length < SHARE) continue;
      await tell({ frames });
      frames = [];
    }
    await tell({ frames });
  } catch (error) {
    await tell({ frames, stopped: { error: sendError(error), taken } });
  }
}

/**
 * Scores the frames that have a truth, as `scoreFrames` does, on some threads and on this one.
 *
 * @param input Of this thread; the others use `extraMetrics`.
 * @param profile Is added to as frames are taken.
 * @param before What this thread does first, while the others are at work already.
 * @throws {CyclopsError} When a file is missing or damaged, at its frame.
 */
export async function* scoreInThreads(
  threads: readonly Worker[],
  job: Omit<ScoreJob, "next">,
  input: EvaluationInput,
  profile: ErrorProfile,
  before?: () => Promise<void>,
): AsyncGenerator<FrameResult> {
  const frames = job.pairs.map(() => Promise.withResolvers<ProfiledFrame>());
  for (const { promise } of frames) promise.catch(() => {}); // an error shows when it is the frame's turn
  const next = new Int32Array(new SharedArrayBuffer(4));
  const hear = ({ frames: some, stopped }: ScoreReply) => {
    for (const frame of some) frames[frame.index].resolve(frame);
    for (const i of stopped?.taken ?? []) frames[i].reject(receiveError(stopped!.error));
  };
  for (const thread of threads) {
    thread.onmessage = ({ data }: MessageEvent<ScoreReply>) => hear(data);
    thread.onerror = (event) => {
      event.preventDefault();
      const error = new CyclopsError(
        `Cannot evaluate ${job.disparities.path}: a thread stopped (${event.message})`,
      );
      for (const { reject } of frames) reject(error);
    };
    thread.postMessage({ ...job, next } satisfies ScoreJob);
  }
  try {
    await before?.();
    // In between, the others are heard.
    scoreShares(input, job.protocol, next, async (reply) => (hear(reply), await setImmediate()));
    for (const [i, { promise }] of frames.entries()) {
      if (!hasTruth(job.pairs[i], job.truth)) continue;
      const { sums, ...frame } = await promise;
      profile.merge(sums);
      yield frame;
    }
  } finally {
    Atomics.store(next, 0, job.pairs.length);
    for (const thread of threads) thread.terminate();
  }
}
