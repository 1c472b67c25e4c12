/**
 * Synchronous data parallelism: several processes, on one machine or many, train one network. Each computes the
 * gradients of its share of a batch, TensorFlow's own collectives average them within the compiled update, and all take
 * the same step. Whatever else has to be agreed on travels by the same operation, a sum over all workers.
 *
 * TensorFlow's gRPC neither authenticates nor encrypts: whoever reaches a worker's port controls that worker.
 *
 * @module
 */
import { deserialize, serialize } from "node:v8";
import { type ClusterMember, currentBinding, isLoopback } from "../backend/binding.ts";
import { attr, execute, type NativeTensor, ResourceVariable } from "../backend/ops.ts";
import { type BackendInfo, type BackendOptions, selectBackend } from "../backend/select.ts";
import { type Tensor, tf, type Variable } from "../backend/tf.ts";
import {
  CyclopsError,
  messageOf,
  receiveError,
  sendError,
  type SentError,
  UsageError,
} from "../base/errors.ts";
import { choice, integer, number, type OptionsOf, text } from "../base/options.ts";
import type { Adam, Moments } from "./adam.ts";

/** How a process finds the others; spread them into a task's options. */
export const clusterOptions = {
  processes: integer({
    min: 1,
    max: 64,
    help: "Train with this many processes on this machine; --batch is divided among them.",
  }),
  cluster: text({
    value: "HOST:PORT,…",
    help:
      "Train with a process on each of these; host[0-3] is four. The same list for all, or slurm. Private networks " +
      "only: TensorFlow asks nobody who they are.",
  }),
  task: integer({
    min: 0,
    help: "Which of them this is, from 0, which saves (default: SLURM_PROCID or JOB_COMPLETION_INDEX).",
  }),
  communication: choice(["auto", "ring", "nccl"], {
    default: "auto",
    help: "How gradients travel: nccl is for GPUs, auto takes it there.",
  }),
  timeout: number({
    default: 120,
    min: 5,
    unit: "s",
    help: "How long to wait for another process before all give up.",
  }),
} as const;

type ClusterOptions = Omit<OptionsOf<typeof clusterOptions>, "processes">;

/** The names that "a[01-03,7]b" stands for. */
function expand(pattern: string): string[] {
  const [, before, ranges, after] = pattern.match(/^([^[]*)\[([\d,-]+)\](.*)$/) ?? [];
  if (ranges === undefined) return [pattern];
  return ranges.split(",").flatMap((range) => {
    const [first, last = first] = range.split("-");
    const numbers = Array.from({ length: Number(last) - Number(first) + 1 }, (_, i) => Number(first) + i);
    return numbers.flatMap((n) => expand(before + String(n).padStart(first.length, "0") + after));
  });
}

const hosts = (list: string) => list.split(/,(?![^[]*\])/).flatMap(expand);

/** Addresses of the tasks of a Slurm step, which fill one node after the other; ports go by the job's number. */
function slurmAddresses(env: (name: string) => string | undefined): string[] {
  const nodes = env("SLURM_STEP_NODELIST") ?? env("SLURM_JOB_NODELIST");
  const tasks = env("SLURM_STEP_TASKS_PER_NODE") ?? env("SLURM_TASKS_PER_NODE");
  if (!nodes || !tasks) {
    throw new UsageError("Cannot find the workers: --cluster slurm needs srun's SLURM_* variables");
  }
  // "2(x3),1": two on each of three nodes, then one.
  const counts = tasks.split(",").flatMap((part) => {
    const [, count, times = "1"] = part.match(/^(\d+)(?:\(x(\d+)\))?$/)!;
    return new Array<number>(Number(times)).fill(Number(count));
  });
  const port = 20_000 + Number(env("SLURM_JOB_ID") ?? 0) % 10_000;
  return hosts(nodes).flatMap((host, node) =>
    Array.from({ length: counts[node] }, (_, i) => `${host}:${port + i}`)
  );
}

/**
 * The place of this process among the workers, by the options and the environment; `undefined` where it is alone.
 *
 * @throws {UsageError} When addresses or number do not fit.
 */
export function clusterMember(
  { cluster, task }: Pick<ClusterOptions, "cluster" | "task">,
  env: (name: string) => string | undefined = (name) => Deno.env.get(name),
): ClusterMember | undefined {
  const refuse = (why: string) => new UsageError(`Cannot find the workers: ${why}`);
  if (cluster === undefined) {
    if (task !== undefined) throw refuse("--task is given without --cluster");
    return undefined;
  }
  const addresses = cluster === "slurm" ? slurmAddresses(env) : hosts(cluster);
  for (const address of addresses) {
    if (!/^([\w.-]+|\[[\da-f:]+\]):\d{1,5}$/i.test(address)) {
      throw refuse(`--cluster has "${address}", expected HOST:PORT`);
    }
  }
  if (new Set(addresses).size < addresses.length) throw refuse("--cluster has an address twice");
  const number = task ?? Number(env("SLURM_PROCID") ?? env("JOB_COMPLETION_INDEX") ?? NaN);
  if (!(number < addresses.length)) {
    throw refuse(
      `${Number.isNaN(number) ? "--task is not given" : `--task is ${number}`}, expected 0 to ${
        addresses.length - 1
      }`,
    );
  }
  return { addresses, task: number };
}

/** How the error begins of a worker that another one has left. */
export const LOST = "Cannot continue the training";

/** Bytes of gradients that travel together. On loopback, 64 MB took 1.3 s in one bucket, 0.26 s in 2 MB each. */
const BUCKET = 2 * 2 ** 20;

/** Fractions of the timeout: for a collective, and then for asking who is missing. */
const WAIT = 0.7, ASK = 0.1;

/**
 * Takes part in a cluster: starts TensorFlow with a server on this worker's port, and waits until all others have one.
 * Call it before anything else computes.
 *
 * @param member Addresses of all workers, and which of them this process is.
 * @param options How gradients travel, and how many seconds to wait for another worker, at any time.
 * @param log Receives warnings, and a line when others are waited for. @default standard error
 * @throws {CyclopsError} When the port is taken, or a worker does not answer in time, naming it.
 */
export async function joinCluster(
  member: ClusterMember,
  options: Pick<ClusterOptions, "communication" | "timeout"> & BackendOptions,
  log: (line: string) => void = console.error,
): Promise<Cluster> {
  if (options.backend !== undefined && !["auto", "tensorflow"].includes(options.backend)) {
    throw new UsageError(`Cannot train in a cluster on backend ${options.backend}, expected tensorflow`);
  }
  const backend = await selectBackend({ ...options, backend: "tensorflow", member });
  if (!member.addresses.every(isLoopback)) {
    log(
      "warning: TensorFlow's gRPC neither authenticates nor encrypts: whoever reaches " +
        `${member.addresses[member.task]} controls this process; use private networks only`,
    );
  }
  const cluster = new Cluster(member, options, backend);
  const deadline = performance.now() + options.timeout * 1000, announce = performance.now() + 3000;
  let announced = false;
  for (let missing; (missing = await cluster.missing(1000)).length;) {
    const now = performance.now();
    if (now > deadline) {
      throw new CyclopsError(
        `Cannot start: after ${options.timeout} s there is no answer from ${missing.join("; ")}`,
      );
    }
    if (!announced && now > announce) log(`waiting for ${missing.join("; ")}`);
    announced ||= now > announce;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  return cluster;
}

/** The workers, as one of them sees them. All have to call the same methods in the same order. */
export class Cluster {
  /** The number of this worker; worker 0 writes the run's folder. */
  readonly task: number;
  /** How many there are. */
  readonly size: number;
  readonly #addresses: readonly string[];
  readonly #options: Pick<ClusterOptions, "communication" | "timeout">;
  readonly #backend: BackendInfo;
  /** What TensorFlow pairs the workers' operations by: one for each call, or bucket of gradients. */
  #instances = 0;
  readonly #buckets = new Map<string, number>();
  /**
   * An input of all collectives on GPUs: NCCL needs them one after the other, in the same order everywhere. By gRPC they
   * travel side by side, in half the time.
   */
  readonly #order: readonly NativeTensor[];

  /** See {@linkcode joinCluster}. */
  constructor(
    { addresses, task }: ClusterMember,
    options: Pick<ClusterOptions, "communication" | "timeout">,
    backend: BackendInfo,
  ) {
    [this.task, this.size, this.#addresses] = [task, addresses.length, addresses];
    [this.#options, this.#backend] = [options, backend];
    const ring = options.communication === "ring" || !backend.gpu;
    this.#order = ring ? [] : [new ResourceVariable([]).handle];
  }

  #name(task: number): string {
    return `worker ${task} at ${this.#addresses[task]}`;
  }

  #reduce(x: Tensor, instance: number, final: "Id" | "Div"): Tensor {
    const { communication, timeout } = this.#options;
    const attributes = [
      attr.type("T", "float32"),
      attr.string("merge_op", "Add"),
      attr.string("final_op", final),
      attr.string("communication_hint", communication),
      attr.float("timeout_seconds", WAIT * timeout),
      attr.int("Nordering_token", this.#order.length),
    ];
    const [size, group, key] = [this.size, 1, instance].map((n) => tf.scalar(n, "int32"));
    return execute("CollectiveReduceV2", attributes, [x, size, group, key, ...this.#order])[0];
  }

  /**
   * The means over all workers, also within a compiled function. Tensors travel in buckets that are filled in the given
   * order: those that are computed first should come first.
   */
  mean<T extends Tensor>(tensors: readonly T[]): T[] {
    const buckets: T[][] = [];
    let room = 0;
    for (const tensor of tensors) {
      if (room < tensor.size) {
        buckets.push([]);
        room = BUCKET / 4;
      }
      buckets.at(-1)!.push(tensor);
      room -= tensor.size;
    }
    return buckets.flatMap((bucket, i) => {
      const flat = tf.concat(bucket.map((tensor) => tf.reshape(tensor, [-1])));
      const known = `${i} ${flat.size}`;
      if (!this.#buckets.has(known)) this.#buckets.set(known, this.#instances++);
      const means = tf.split(
        this.#reduce(flat, this.#buckets.get(known)!, "Div"),
        bucket.map(({ size }) => size),
      );
      return means.map((mean, k) => tf.reshape(mean, bucket[k].shape) as T);
    });
  }

  /** How long the exchange of so many numbers takes, ms; the first one, which connects the workers, does not count. */
  timeExchange(count: number): number {
    const part = BUCKET / 4;
    return tf.tidy(() => {
      const parts = Array.from(
        { length: Math.ceil(count / part) },
        (_, i) => tf.zeros([Math.min(part, count - i * part)]),
      );
      const times = [0, 1, 2].map(() => {
        const started = performance.now();
        this.mean(parts);
        return performance.now() - started;
      });
      return Math.min(...times.slice(1));
    });
  }

  async #sum(values: Float32Array): Promise<Float32Array> {
    try {
      const sum = tf.tidy(() => this.#reduce(tf.tensor1d(values), this.#instances++, "Id"));
      const all = await sum.data() as Float32Array;
      sum.dispose();
      return all;
    } catch (error) {
      throw await this.explain(error);
    }
  }

  /** What every worker has to say, in their order. */
  async gather<T>(value: T): Promise<T[]> {
    const { task, size } = this;
    const own = serialize(value), lengths = new Float32Array(size);
    lengths[task] = own.length;
    const all = await this.#sum(lengths), longest = Math.max(...all);
    const rows = new Float32Array(size * longest);
    rows.set(own, task * longest);
    const bytes = Uint8Array.from(await this.#sum(rows));
    return Array.from(all, (length, i) => deserialize(bytes.subarray(i * longest, i * longest + length)));
  }

  /** What worker 0 finds out, for all; its error is everybody's. */
  async lead<T>(find: () => Promise<T>): Promise<T> {
    const find0 = async () => {
      try {
        return { value: await find() };
      } catch (error) {
        return { error: sendError(error), own: error };
      }
    };
    const found: { value?: T; error?: SentError; own?: unknown } = this.task === 0 ? await find0() : {};
    const [{ value, error }] = await this.gather({ ...found, own: undefined });
    if (error) throw found.own ?? receiveError(error);
    return value as T;
  }

  /**
   * Checks that all workers have the same.
   *
   * @throws {UsageError} On all of them, saying who has what.
   */
  async compare(facts: Readonly<Record<string, unknown>>): Promise<void> {
    const [first, ...others] = await this.gather(
      Object.fromEntries(Object.entries(facts).map(([name, value]) => [name, JSON.stringify(value)])),
    );
    for (const [i, other] of others.entries()) {
      const different = Object.keys({ ...first, ...other }).filter((name) => first[name] !== other[name]);
      if (different.length === 0) continue;
      const each = different.map((name) => `${name} is ${other[name]} there and ${first[name]} here`);
      throw new UsageError(
        `Cannot train together: ${this.#name(i + 1)} is not like ${this.#name(0)} (${
          each.join(", ")
        }); start all ` +
          "workers with the same versions, options and data",
      );
    }
  }

  /** Versions that have to be the same everywhere. */
  get versions(): Readonly<Record<string, string>> {
    return { deno: Deno.version.deno, tensorflow: this.#backend.version };
  }

  /**
   * Gives every worker the weights, the optimizer's memory and the step of worker 0.
   *
   * @returns That step.
   */
  async synchronize(variables: readonly Variable[], adam: Adam, step: number): Promise<number> {
    const first = async (values: Float32Array) =>
      await this.#sum(this.task === 0 ? values : new Float32Array(values.length));
    [step] = await first(Float32Array.of(step));
    for (const variable of variables) {
      const values = await first(await variable.data() as Float32Array);
      tf.tidy(() => variable.assign(tf.tensor(values, variable.shape)));
    }
    if (step > 0) {
      const moments = new Map<string, Moments>();
      for (const [name, own] of (await adam.getState()).moments) {
        moments.set(name, { first: await first(own.first), second: await first(own.second) });
      }
      adam.setState({ updates: step, moments });
    }
    return step;
  }

  /** The workers that give no sign of life within so many milliseconds, and why. */
  async missing(milliseconds: number): Promise<string[]> {
    const others = this.#addresses.map((_, task) => task).filter((task) => task !== this.task);
    const problems = await Promise.all(others.map(async (task) => {
      const problem = await currentBinding()!.peerProblem(task, milliseconds);
      return problem === undefined ? [] : [`${this.#name(task)} (${problem})`];
    }));
    return problems.flat();
  }

  /** What is behind an error: names the worker that is gone, if it came from a collective. */
  async explain(error: unknown): Promise<unknown> {
    if (!/\bCollective\b/.test(messageOf(error))) return error;
    const missing = await this.missing(ASK * this.#options.timeout * 1000);
    // The others look around, too: they should still find this one.
    await new Promise((resolve) => setTimeout(resolve, 500));
    const found = missing.length
      ? `lost ${missing.join("; ")}`
      : `all workers answer, but one did not come along within ${this.#options.timeout} s: that whose log ends otherwise`;
    return new CyclopsError(`${LOST}: ${found}; continue from the last checkpoint with --resume`, {
      cause: error,
    });
  }
}
