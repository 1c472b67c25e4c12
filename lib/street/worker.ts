/**
 * A thread that renders drives: a job in per drive, a message out per frame and at the end.
 *
 * @module
 */
import { messageOf } from "../base/errors.ts";
import { type DriveJob, renderDrive } from "./drive.ts";

/** What the thread is sent. */
export type WorkerRequest = { readonly kind: "drive"; readonly job: DriveJob } | { readonly kind: "stop" };
/** What it answers. */
export type WorkerReply =
  | { readonly kind: "frame" }
  | { readonly kind: "done" }
  | { readonly kind: "error"; readonly message: string };

/** This thread, which the type checker takes for a window (JSR allows no reference to `deno.worker`). */
const thread = self as unknown as {
  postMessage(message: WorkerReply): void;
  onmessage: (event: MessageEvent<WorkerRequest>) => void;
};
const reply = (message: WorkerReply) => thread.postMessage(message);
const stop = new AbortController();

thread.onmessage = async ({ data }) => {
  if (data.kind === "stop") {
    stop.abort();
    return;
  }
  try {
    await renderDrive(data.job, () => reply({ kind: "frame" }), stop.signal);
    reply({ kind: "done" });
  } catch (error) {
    reply({ kind: "error", message: messageOf(error) });
  }
};
