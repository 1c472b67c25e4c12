/**
 * A thread that renders drives: one message in per drive, one out per frame and one at the end.
 *
 * @module
 */
/// <reference lib="deno.worker" />
import { messageOf } from "../base/errors.ts";
import { type DriveJob, renderDrive, type WorkerNews } from "./mod.ts";

const tell = (news: WorkerNews) => self.postMessage(news);

self.onmessage = async (event: MessageEvent<DriveJob>) => {
  try {
    await renderDrive(event.data, () => tell({ kind: "frame" }));
    tell({ kind: "done" });
  } catch (error) {
    tell({ kind: "error", message: messageOf(error) });
  }
};
