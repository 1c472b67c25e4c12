/**
 * A thread that scores some frames of an evaluation: a job in, messages out; see parallel.ts.
 *
 * @module
 */
import { sendError } from "../base/errors.ts";
import { extraMetrics } from "./dense.ts";
import { type ScoreJob, type ScoreReply, scoreShares } from "./parallel.ts";
import { openPredictions } from "./predictions.ts";

const scope = globalThis as unknown as {
  onmessage: ((event: MessageEvent<ScoreJob>) => void) | null;
  postMessage(reply: ScoreReply): void;
};

scope.onmessage = async ({ data: { disparities, flipped, protocol, next, ...job } }) => {
  const open = ({ path, unit }: ScoreJob["disparities"]) => openPredictions(path, unit);
  try {
    const input = {
      ...job,
      disparities: await open(disparities),
      flipped: flipped && await open(flipped),
      extra: extraMetrics,
    };
    await scoreShares(input, protocol, next, (reply) => scope.postMessage(reply));
  } catch (error) {
    scope.postMessage({ frames: [], stopped: { error: sendError(error), taken: [...job.pairs.keys()] } });
  }
};
