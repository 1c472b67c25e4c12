/**
 * A thread that renders drives: a job in per drive, a message out per frame and at the end.
 *
 * @module
 */
/// <reference lib="deno.worker" />
import { messageOf } from "../base/errors.ts";
import { type DriveJob, renderDrive } from "./drive.ts";

/** What the thread is sent. */
export type WorkerRequest = { readonly kind: "drive"; readonly job: DriveJob } | { readonly kind: "stop" };
/** What it answers. */
export type WorkerReply =
  | { readonly kind: "frame" }
  | { readonly kind: "done" }
  | { readonly kind: "error"; readonly message: string };

const reply = (message: WorkerReply) => self.postMessage(message);
const stop = new AbortController();

self.onmessage = async ({ data }: MessageEvent<WorkerRequest>) => {
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
