/**
 * The worker that makes batches off the main thread; {@linkcode openBatches} starts it. It is sent the plan first, then
 * batch numbers, and answers each with the batch or with the error that stopped it.
 *
 * @module
 */
import { sendError } from "../base/errors.ts";
import { batchMaker, type LoaderReply, type LoaderRequest, type StereoBatch } from "./loader.ts";

const scope = globalThis as unknown as {
  onmessage: ((event: MessageEvent<LoaderRequest>) => void) | null;
  postMessage(reply: LoaderReply, transfer?: Transferable[]): void;
};
let make: (step: number) => Promise<StereoBatch>;
// One batch at a time, so that they arrive in the order they were asked for.
let queue = Promise.resolve();

async function answer(step: number): Promise<void> {
  try {
    const batch = await make(step);
    const arrays = [batch, batch.hints].flatMap((views) =>
      views ? [views.left.buffer, views.right.buffer] : []
    );
    scope.postMessage({ batch }, arrays);
  } catch (error) {
    scope.postMessage({ error: sendError(error) });
  }
}

scope.onmessage = ({ data }) => {
  if (typeof data === "number") queue = queue.then(() => answer(data));
  else make = batchMaker(data);
};
