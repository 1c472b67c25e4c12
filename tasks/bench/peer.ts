/**
 * PyTorch in a process of its own, which runs what it is given when it is asked to.
 *
 * @module
 */
import { fromFileUrl } from "@std/path";
import { CyclopsError } from "../../lib/base/errors.ts";
import { encodeSafetensors, type TensorMap } from "../../lib/data/safetensors.ts";

/** What the peer is to make of a network; see bench_torch.py. */
export type PeerRequest = Readonly<Record<string, unknown>> & { readonly name: string };

/** Python and the version of PyTorch that it found. */
export interface PeerInfo {
  /** Version, e.g. "2.5.1+cpu". */
  readonly torch: string;
  /** Python's version. */
  readonly python: string;
  /** Threads within one operation. */
  readonly threads: number;
}

type Reply = Readonly<Record<string, unknown>>;

/** The process. It is asked one thing at a time. */
export class TorchPeer {
  /** What computes there. */
  readonly info: PeerInfo;
  readonly #pipe: Pipe;

  private constructor(pipe: Pipe, info: PeerInfo) {
    this.#pipe = pipe;
    this.info = info;
  }

  /**
   * Starts Python.
   *
   * @param python Name or path of a Python that can import torch.
   * @param threads Threads within one operation.
   * @throws {CyclopsError} When there is no such program, or it cannot import torch.
   */
  static async start(python: string, threads: number): Promise<TorchPeer> {
    const pipe = new Pipe(python, threads);
    try {
      return new TorchPeer(pipe, await pipe.read() as unknown as PeerInfo);
    } catch (error) {
      await pipe.close();
      throw error;
    }
  }

  /**
   * Makes a network with the given weights.
   *
   * @returns How many numbers it learns, counted there.
   * @throws {CyclopsError} When this PyTorch cannot do it, e.g. because it is too old.
   */
  async make(request: PeerRequest, tensors: TensorMap): Promise<number> {
    const pieces = encodeSafetensors(tensors);
    const bytes = pieces.reduce((n, { length }) => n + length, 0);
    const { parameters } = await this.#pipe.ask({ ...request, do: "make", bytes }, pieces);
    return parameters as number;
  }

  /** Runs a network once: how long it took there, and the loss, or the finest disparities' mean. */
  async run(name: string): Promise<{ readonly milliseconds: number; readonly value: number }> {
    const { ms, value } = await this.#pipe.ask({ do: "run", name });
    return { milliseconds: ms as number, value: value as number };
  }

  /** Frees all networks. */
  async drop(): Promise<void> {
    await this.#pipe.ask({ do: "drop" });
  }

  /** Ends the process. */
  async close(): Promise<void> {
    await this.#pipe.close();
  }
}

/** Lines of JSON to a process and back. */
class Pipe {
  readonly #python: string;
  readonly #process: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #output: ReadableStreamDefaultReader<string>;
  readonly #complaints: Promise<string>;
  #read = "";

  constructor(python: string, threads: number) {
    this.#python = python;
    const script = fromFileUrl(new URL("./torch.py", import.meta.url));
    try {
      this.#process = new Deno.Command(python, {
        args: ["-u", script, String(threads)],
        stdin: "piped",
        stdout: "piped",
        stderr: "piped",
      }).spawn();
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) throw new CyclopsError(`there is no ${python}`);
      if (error instanceof Deno.errors.PermissionDenied) throw new CyclopsError(`${python} cannot be run`);
      throw error;
    }
    this.#input = this.#process.stdin.getWriter();
    this.#output = this.#process.stdout.pipeThrough(new TextDecoderStream()).getReader();
    this.#complaints = new Response(this.#process.stderr).text();
  }

  async ask(request: Reply, pieces: readonly Uint8Array[] = []): Promise<Reply> {
    try {
      await this.#input.write(new TextEncoder().encode(JSON.stringify(request) + "\n"));
      for (const piece of pieces) await this.#input.write(piece);
    } catch (error) {
      // Its last words tell more than a broken pipe.
      if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
    }
    return await this.read();
  }

  async read(): Promise<Reply> {
    let end: number;
    while ((end = this.#read.indexOf("\n")) < 0) {
      const { value, done } = await this.#output.read();
      if (done) {
        const last = (await this.#complaints).trim().split("\n").at(-1);
        throw new CyclopsError(`${this.#python} stopped${last ? ` (${last})` : ""}`);
      }
      this.#read += value;
    }
    const line = this.#read.slice(0, end);
    this.#read = this.#read.slice(end + 1);
    let reply: Reply;
    try {
      reply = JSON.parse(line);
    } catch {
      throw new CyclopsError(`${this.#python} printed ${JSON.stringify(line.slice(0, 80))}, wanted JSON`);
    }
    if (reply.error !== undefined) throw new CyclopsError(`${this.#python} says: ${reply.error}`);
    return reply;
  }

  /** At the end of its input the process ends. */
  async close(): Promise<void> {
    await this.#input.close().catch(() => {});
    await this.#output.cancel();
    await this.#complaints;
    await this.#process.status;
  }
}
