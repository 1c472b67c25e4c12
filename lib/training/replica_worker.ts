/**
 * The thread of one replica: a trainer of its own that never updates, but tells the gradients of its share of a batch.
 *
 * @module
 */
/// <reference lib="deno.worker" />
import { viewValues } from "../backend/native.ts";
import { selectBackend } from "../backend/select.ts";
import { tf } from "../backend/tf.ts";
import { sendError, type SentError } from "../base/errors.ts";
import type { StereoBatch } from "../data/loader.ts";
import type { TrainingOptions } from "./options.ts";
import { scatter } from "./replicas.ts";
import { Trainer } from "./trainer.ts";

/** What a replica is asked. */
export type ReplicaRequest =
  | {
    readonly kind: "start";
    /** The run's options. */
    readonly options: TrainingOptions;
    /** Updates in the whole run. */
    readonly steps: number;
    /** Threads within one operation. */
    readonly threads: number;
    /** Values of the variables that do not learn. */
    readonly frozen: Float32Array;
    /** Values of those that do, as they are when a share is asked for. */
    readonly weights: Float32Array;
    /** Takes their gradients. */
    readonly gradients: Float32Array;
  }
  | {
    readonly kind: "compute";
    /** Number of the update. */
    readonly step: number;
    /** This replica's share. */
    readonly batch: StereoBatch;
  };

/** What it answers. */
export type ReplicaReply =
  | {
    readonly kind: "done";
    /** Mean loss terms of the share. */
    readonly numbers: Readonly<Record<string, number>>;
    /** Whether a gradient reached each learning variable. */
    readonly reached: readonly boolean[];
  }
  | { readonly kind: "failed"; readonly error: SentError };

type Start = Extract<ReplicaRequest, { kind: "start" }>;

let started: { readonly trainer: Trainer; readonly request: Start } | undefined;

async function start(request: Start): Promise<ReplicaReply> {
  await selectBackend({ backend: "tensorflow", threads: request.threads });
  const trainer = new Trainer({ ...request.options, replicas: 1 }, request.steps);
  scatter(request.frozen, trainer.frozenVariables);
  started = { trainer, request };
  return { kind: "done", numbers: {}, reached: [] };
}

async function compute(step: number, batch: StereoBatch): Promise<ReplicaReply> {
  const { trainer, request } = started!;
  trainer.step = step;
  scatter(request.weights, trainer.trainableVariables);
  const { numbers, gradients } = await trainer.compute(batch);
  let at = 0;
  const reached = trainer.trainableVariables.map(({ name, size }) => {
    const gradient = gradients[name];
    if (gradient) request.gradients.set(viewValues(gradient), at);
    at += size;
    return gradient !== undefined;
  });
  tf.dispose(gradients);
  return { kind: "done", numbers, reached };
}

self.onmessage = async ({ data }: MessageEvent<ReplicaRequest>) => {
  const tell = (reply: ReplicaReply) => self.postMessage(reply);
  try {
    tell(data.kind === "start" ? await start(data) : await compute(data.step, data.batch));
  } catch (error) {
    tell({ kind: "failed", error: sendError(error) });
  }
};
