/**
 * The worker that makes batches off the main thread; {@linkcode openBatches} starts it. It is sent the plan first,
 * then numbers of batches, and answers each with the batch or with the error that stopped it.
 *
 * @module
 */
import { sendError, type SentError } from "../base/errors.ts";
import { BatchMaker, type BatchPlan, type StereoBatch } from "./batch_maker.ts";

/** What the worker is sent. */
export type PrefetchRequest = { readonly plan: BatchPlan } | { readonly step: number };

/** What the worker answers. */
export type PrefetchReply =
  | { readonly step: number; readonly batch: StereoBatch }
  | { readonly step: number; readonly error: SentError };

interface WorkerScope {
  onmessage: ((event: MessageEvent<PrefetchRequest>) => void) | null;
  postMessage(reply: PrefetchReply, transfer?: Transferable[]): void;
}

const scope = globalThis as unknown as WorkerScope;
let maker: BatchMaker;
// One batch at a time: what is asked for first is there first.
let queue = Promise.resolve();

async function answer(step: number): Promise<void> {
  try {
    const batch = await maker.make(step);
    scope.postMessage({ step, batch }, [batch.left.buffer, batch.right.buffer]);
  } catch (error) {
    scope.postMessage({ step, error: sendError(error) });
  }
}

scope.onmessage = ({ data }) => {
  if ("plan" in data) maker = new BatchMaker(data.plan);
  else queue = queue.then(() => answer(data.step));
};
