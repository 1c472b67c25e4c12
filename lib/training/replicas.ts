/**
 * Data parallelism on the cores of one machine: copies of the networks, each in a thread of its own, share every
 * batch. TensorFlow's own threads speed up single large operations; a small network's are too short for that, and
 * between them one thread waits for the other.
 *
 * @module
 */
import { currentBinding } from "../backend/binding.ts";
import { viewValues } from "../backend/native.ts";
import { type NamedTensorMap, tf, type Variable } from "../backend/tf.ts";
import { CyclopsError, receiveError } from "../base/errors.ts";
import type { StereoBatch } from "../data/loader.ts";
import type { TrainingOptions } from "./options.ts";
import type { ReplicaReply, ReplicaRequest } from "./replica_worker.ts";

/** Mean loss terms of a batch and the gradients of their weighted sum; the caller owns these. */
export interface BatchGradients {
  /** The loss, its terms and what else is watched, by name. */
  readonly numbers: Readonly<Record<string, number>>;
  /** By variable name. */
  readonly gradients: NamedTensorMap;
}

/**
 * How many replicas share a run's batches: what `--replicas` asks for, as far as the batch can be cut into
 * equal shares. Only the CPU's tensorflow backend has them: a GPU is kept busy by one.
 */
export function replicaCount(options: Pick<TrainingOptions, "replicas" | "batch" | "accumulate">): number {
  const binding = currentBinding();
  if (!binding || binding.isUsingGpuDevice()) return 1;
  let count = options.replicas;
  while ((options.batch / options.accumulate) % count !== 0) count--;
  return count;
}

/** Copies variables' values into one flat array, one after another. */
export function gather(variables: readonly Variable[], into: Float32Array): void {
  let at = 0;
  for (const variable of variables) {
    into.set(viewValues(variable), at);
    at += variable.size;
  }
}

/** The opposite of {@linkcode gather}. */
export function scatter(from: Float32Array, variables: readonly Variable[]): void {
  let at = 0;
  for (const variable of variables) {
    const value = tf.tensor(from.slice(at, at + variable.size), variable.shape);
    variable.assign(value);
    value.dispose();
    at += variable.size;
  }
}

/** Values in a list of variables. */
export function countValues(variables: readonly Variable[]): number {
  return variables.reduce((n, { size }) => n + size, 0);
}

/** What replicas are made from. */
export interface ReplicaOptions {
  /** The run's. */
  readonly options: TrainingOptions;
  /** Updates in the whole run. */
  readonly steps: number;
  /** How many. */
  readonly count: number;
  /** The variables that learn, in the trainer's order. */
  readonly trainable: readonly Variable[];
  /** Those that do not. */
  readonly frozen: readonly Variable[];
}

/** Threads with copies of a trainer's networks. */
export class Replicas {
  readonly #trainable: readonly Variable[];
  /** The learning variables' values, read by all replicas. */
  readonly #weights: Float32Array<SharedArrayBuffer>;
  readonly #replicas: readonly Replica[];

  private constructor(
    trainable: readonly Variable[],
    weights: Float32Array<SharedArrayBuffer>,
    replicas: Replica[],
  ) {
    this.#trainable = trainable;
    this.#weights = weights;
    this.#replicas = replicas;
  }

  /**
   * Starts the threads and gives them the weights that stay as they are.
   *
   * @throws {CyclopsError} When a thread cannot start, e.g. for want of memory.
   */
  static async start({ options, steps, count, trainable, frozen }: ReplicaOptions): Promise<Replicas> {
    const constants = shared(countValues(frozen));
    gather(frozen, constants);
    const weights = shared(countValues(trainable));
    const threads = Math.max(1, Math.floor(navigator.hardwareConcurrency / count));
    const all = Array.from({ length: count }, () => new Replica(shared(weights.length)));
    const replicas = new Replicas(trainable, weights, all);
    try {
      await settled(
        all.map(({ gradients, ask }) =>
          ask({ kind: "start", options, steps, threads, frozen: constants, weights, gradients })
        ),
      );
    } catch (error) {
      replicas.close();
      throw error;
    }
    return replicas;
  }

  /**
   * Computes a batch, an equal share in each thread.
   *
   * @param step Number of the update, for what depends on it.
   * @throws {CyclopsError} What a thread met.
   */
  async compute(batch: StereoBatch, step: number): Promise<BatchGradients> {
    gather(this.#trainable, this.#weights);
    const count = this.#replicas.length;
    const replies = await settled(
      this.#replicas.map(({ ask }, i) => ask({ kind: "compute", step, batch: shareOf(batch, i, count) })),
    );
    const numbers: Record<string, number> = {};
    for (const reply of replies) {
      for (const [name, value] of Object.entries(reply.numbers)) {
        numbers[name] = (numbers[name] ?? 0) + value / count;
      }
    }
    const sum = new Float32Array(this.#weights.length);
    for (const { gradients } of this.#replicas) {
      for (let i = 0; i < sum.length; i++) sum[i] += gradients[i] / count;
    }
    const gradients: NamedTensorMap = {};
    let at = 0;
    this.#trainable.forEach(({ name, size, shape }, i) => {
      if (replies[0].reached[i]) gradients[name] = tf.tensor(sum.subarray(at, at + size), shape);
      at += size;
    });
    return { numbers, gradients };
  }

  /** Ends the threads. */
  close(): void {
    for (const replica of this.#replicas) replica.close();
  }
}

type Done = Extract<ReplicaReply, { kind: "done" }>;

/** One thread. It is asked one thing at a time. */
class Replica {
  /** What it computed last, the learning variables' gradients one after another. */
  readonly gradients: Float32Array<SharedArrayBuffer>;
  readonly #worker: Worker;
  #asked: PromiseWithResolvers<Done> | undefined;

  constructor(gradients: Float32Array<SharedArrayBuffer>) {
    this.gradients = gradients;
    this.#worker = new Worker(new URL("./replica_worker.ts", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }: MessageEvent<ReplicaReply>) => {
      if (data.kind === "done") this.#asked?.resolve(data);
      else this.#asked?.reject(receiveError(data.error));
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#asked?.reject(new CyclopsError(`Cannot go on training: a replica stopped (${event.message})`));
    };
  }

  readonly ask = (request: ReplicaRequest): Promise<Done> => {
    this.#asked = Promise.withResolvers();
    const images = request.kind === "compute" ? [request.batch.left.buffer, request.batch.right.buffer] : [];
    this.#worker.postMessage(request, images);
    return this.#asked.promise;
  };

  close(): void {
    this.#worker.terminate();
  }
}

function shared(length: number): Float32Array<SharedArrayBuffer> {
  return new Float32Array(new SharedArrayBuffer(length * Float32Array.BYTES_PER_ELEMENT));
}

/** Waits for all, so that no thread is at work when one of them has failed. */
async function settled<T>(all: readonly Promise<T>[]): Promise<T[]> {
  const results = await Promise.allSettled(all);
  const failed = results.find((r) => r.status === "rejected");
  if (failed) throw failed.reason;
  return results.map((r) => (r as PromiseFulfilledResult<T>).value);
}

/** Part `index` of `count` equal ones. */
function shareOf(batch: StereoBatch, index: number, count: number): StereoBatch {
  const size = batch.batch / count, from = index * size, to = from + size;
  const values = batch.height * batch.width * 3;
  return {
    ...batch,
    left: batch.left.slice(from * values, to * values),
    right: batch.right.slice(from * values, to * values),
    batch: size,
    ids: batch.ids.slice(from, to),
    cameras: batch.cameras?.slice(from, to),
  };
}
