/**
 * A thread that scores some frames of an evaluation: a job in, a message out per frame; see parallel.ts.
 *
 * @module
 */
import { sendError } from "../base/errors.ts";
import { ErrorProfile } from "./analysis.ts";
import { extraMetrics } from "./dense.ts";
import type { ProfiledFrame, ScoreJob, ScoreReply } from "./parallel.ts";
import { checkPredictions, openPredictions } from "./predictions.ts";
import { scoreFrames } from "./protocol.ts";
import { hasTruth, truthReader } from "./truth.ts";

/** Frames that are told at once: each message interrupts a thread at work. */
const TOGETHER = 16;

const scope = globalThis as unknown as {
  onmessage: ((event: MessageEvent<ScoreJob>) => void) | null;
  postMessage(reply: ScoreReply): void;
};

scope.onmessage = async ({ data: { disparities, flipped, protocol, check, first, step, ...job } }) => {
  const open = ({ path, unit }: ScoreJob["disparities"]) => openPredictions(path, unit);
  const profile = new ErrorProfile(), frames: ProfiledFrame[] = [];
  try {
    const input = {
      ...job,
      disparities: await open(disparities),
      flipped: flipped && await open(flipped),
      extra: extraMetrics,
      onPoints: profile.add,
    };
    const { pairs, root, truth } = job, count = input.disparities.count;
    if (first === 0 && check && count === pairs.length) {
      await checkPredictions(input.disparities, pairs, truthReader(root, truth), {
        ...check,
        has: (pair) => hasTruth(pair, truth),
      });
    }
    for await (const frame of scoreFrames(input, [protocol], first, step)) {
      frames.push({ ...frame, sums: profile.sums.slice() });
      profile.sums.fill(0);
      if (frames.length === TOGETHER) scope.postMessage({ frames: frames.splice(0) });
    }
    scope.postMessage({ frames });
  } catch (error) {
    scope.postMessage({ frames });
    scope.postMessage({ error: sendError(error) });
  }
};
