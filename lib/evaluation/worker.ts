/**
 * A thread that scores some frames of an evaluation: a job in, a message out per frame; see parallel.ts.
 *
 * @module
 */
import { sendError } from "../base/errors.ts";
import { ErrorProfile } from "./analysis.ts";
import { extraMetrics } from "./dense.ts";
import type { ScoreJob, ScoreReply } from "./parallel.ts";
import { openPredictions } from "./predictions.ts";
import { scoreFrames } from "./protocol.ts";

const scope = globalThis as unknown as {
  onmessage: ((event: MessageEvent<ScoreJob>) => void) | null;
  postMessage(reply: ScoreReply): void;
};

scope.onmessage = async ({ data: { disparities, flipped, protocol, first, step, ...job } }) => {
  const open = ({ path, unit }: ScoreJob["disparities"]) => openPredictions(path, unit);
  const profile = new ErrorProfile();
  try {
    const input = {
      ...job,
      disparities: await open(disparities),
      flipped: flipped && await open(flipped),
      extra: extraMetrics,
      onPoints: profile.add,
    };
    for await (const frame of scoreFrames(input, [protocol], first, step)) {
      scope.postMessage({ frame: { ...frame, sums: profile.sums } }); // copied
      profile.sums.fill(0);
    }
  } catch (error) {
    scope.postMessage({ error: sendError(error) });
  }
};
