/**
 * A drive's worth of work, the same in a worker and without one.
 *
 * @module
 */
import { Drive, type StreetFrame } from "./frame.ts";
import type { StreetPlan } from "./options.ts";
import { streetFrame, writeFrame } from "./write.ts";

/** The missing frames of one drive, for a worker. */
export interface DriveJob {
  /** The set's folder. */
  readonly out: string;
  /** What the whole set is. */
  readonly plan: StreetPlan;
  /** Number of the drive, from 1. */
  readonly drive: number;
  /** The frames to render, from 0. */
  readonly frames: readonly number[];
}

/** What a worker is told. */
export type WorkerOrder =
  | { readonly kind: "drive"; readonly job: DriveJob }
  | { readonly kind: "stop" };

/** What a worker tells. */
export type WorkerNews =
  | { readonly kind: "frame" }
  | { readonly kind: "done" }
  | { readonly kind: "error"; readonly message: string };

/**
 * Renders and writes the missing frames of a drive.
 *
 * @param onFrame Called when a frame is on disk.
 * @param signal Stops after the frame in hand.
 */
export async function renderDrive(job: DriveJob, onFrame: () => void, signal?: AbortSignal): Promise<void> {
  const drive = new Drive(job.plan, job.drive);
  let writing: Promise<void> = Promise.resolve();
  for (const index of job.frames) {
    if (signal?.aborted) break;
    const content: StreetFrame = drive.frame(index);
    // The former frame is compressed and written while this one was rendered; never more than one waits.
    await writing;
    writing = writeFrame(job.out, streetFrame(job.drive, index), job.plan, content).then(onFrame);
    writing.catch(() => {});
  }
  await writing;
}
