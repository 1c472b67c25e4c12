/**
 * PyTorch in a process of its own (peer.py), which is asked one thing at a time: a line of JSON each way.
 *
 * @module
 */
import { fromFileUrl } from "@std/path";
import { CyclopsError } from "../../lib/base/errors.ts";
import { encodeSafetensors, type TensorMap } from "../../lib/data/safetensors.ts";

/** Python and the PyTorch that it found. */
export interface PeerInfo {
  /** Version, e.g. "2.5.1+cpu". */
  readonly torch: string;
  /** Python's version. */
  readonly python: string;
  /** Threads within one operation. */
  readonly threads: number;
}

type Json = Readonly<Record<string, unknown>>;

/** The process. */
export class TorchPeer {
  /** What computes there. */
  info!: PeerInfo;
  readonly #python: string;
  readonly #process: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #output: ReadableStreamDefaultReader<string>;
  readonly #stderr: Promise<string>;
  #received = "";

  private constructor(python: string, threads: number) {
    this.#python = python;
    // Not called torch.py: Python would import it in place of PyTorch.
    const script = fromFileUrl(new URL("./peer.py", import.meta.url));
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
    this.#stderr = new Response(this.#process.stderr).text();
  }

  /**
   * Starts Python.
   *
   * @param python Name or path of a Python that can import torch.
   * @param threads Threads within one operation.
   * @throws {CyclopsError} When there is no such program, or it cannot import torch.
   */
  static async start(python: string, threads: number): Promise<TorchPeer> {
    const peer = new TorchPeer(python, threads);
    try {
      peer.info = await peer.#read() as unknown as PeerInfo;
      return peer;
    } catch (error) {
      await peer.close();
      throw error;
    }
  }

  /**
   * Makes a network with the given weights; see peer.py.
   *
   * @returns Its number of trainable parameters.
   * @throws {CyclopsError} When this PyTorch cannot do it, e.g. because it is too old.
   */
  async make(request: Json & { readonly name: string }, tensors: TensorMap): Promise<number> {
    const pieces = encodeSafetensors(tensors);
    const bytes = pieces.reduce((sum, { length }) => sum + length, 0);
    return (await this.#ask({ ...request, do: "make", bytes }, pieces)).parameters as number;
  }

  /** Runs a network once: its time measured there, and the loss or the finest disparities' mean. */
  async run(name: string): Promise<{ readonly milliseconds: number; readonly value: number }> {
    const { ms, value } = await this.#ask({ do: "run", name });
    return { milliseconds: ms as number, value: value as number };
  }

  /** Frees all networks. */
  async drop(): Promise<void> {
    await this.#ask({ do: "drop" });
  }

  /** Ends the process, which exits at the end of its input. */
  async close(): Promise<void> {
    await this.#input.close().catch(() => {});
    await this.#output.cancel();
    await this.#stderr;
    await this.#process.status;
  }

  async #ask(request: Json, pieces: readonly Uint8Array[] = []): Promise<Json> {
    try {
      await this.#input.write(new TextEncoder().encode(JSON.stringify(request) + "\n"));
      for (const piece of pieces) await this.#input.write(piece);
    } catch (error) {
      // What it printed last, which #read reports, says more than a broken pipe.
      if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
    }
    return await this.#read();
  }

  async #read(): Promise<Json> {
    let end: number;
    while ((end = this.#received.indexOf("\n")) < 0) {
      const { value, done } = await this.#output.read();
      if (done) {
        const last = (await this.#stderr).trim().split("\n").at(-1);
        throw new CyclopsError(`${this.#python} stopped${last ? ` (${last})` : ""}`);
      }
      this.#received += value;
    }
    const line = this.#received.slice(0, end);
    this.#received = this.#received.slice(end + 1);
    let reply: Json;
    try {
      reply = JSON.parse(line);
    } catch {
      throw new CyclopsError(`${this.#python} printed ${JSON.stringify(line.slice(0, 80))}, expected JSON`);
    }
    if (reply.error !== undefined) throw new CyclopsError(`${this.#python} says: ${reply.error}`);
    return reply;
  }
}
