/**
 * A thread that renders drives: one order in per drive, news out per frame and at the end.
 *
 * @module
 */
/// <reference lib="deno.worker" />
import { messageOf } from "../base/errors.ts";
import { renderDrive, type WorkerNews, type WorkerOrder } from "./job.ts";

const tell = (news: WorkerNews) => self.postMessage(news);
const stop = new AbortController();

self.onmessage = async ({ data }: MessageEvent<WorkerOrder>) => {
  if (data.kind === "stop") {
    stop.abort();
    return;
  }
  try {
    await renderDrive(data.job, () => tell({ kind: "frame" }), stop.signal);
    tell({ kind: "done" });
  } catch (error) {
    tell({ kind: "error", message: messageOf(error) });
  }
};
