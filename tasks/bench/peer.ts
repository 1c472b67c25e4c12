/**
 * A contender in a process of its own, ours (ours.ts) or PyTorch's (peer.py), which is asked one thing at a time: a
 * line of JSON each way.
 *
 * @module
 */
import { fromFileUrl } from "@std/path";
import { CyclopsError } from "../../lib/base/errors.ts";

type Json = Readonly<Record<string, unknown>>;

/** What the processes say first. */
export interface PeerInfo {
  /** PyTorch's version, e.g. "2.5.1+cpu". */
  readonly torch?: string;
  /** Python's version. */
  readonly python?: string;
  /** TensorFlow's version. */
  readonly tensorflow?: string;
  /** Threads within one operation. */
  readonly threads: number;
}

const CACHE_DIR = "TORCHINDUCTOR_CACHE_DIR";

/** The process. */
export class Peer {
  info!: PeerInfo;
  readonly #command: string;
  readonly #process: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #output: ReadableStreamDefaultReader<string>;
  readonly #stderr: Promise<string>;
  #received = "";

  private constructor(command: string, args: readonly string[], env: Record<string, string>) {
    this.#command = command;
    try {
      this.#process = new Deno.Command(command, {
        args: [...args],
        env,
        stdin: "piped",
        stdout: "piped",
        stderr: "piped",
      }).spawn();
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) throw new CyclopsError(`there is no ${command}`);
      if (error instanceof Deno.errors.PermissionDenied) throw new CyclopsError(`${command} cannot be run`);
      throw error;
    }
    this.#input = this.#process.stdin.getWriter();
    this.#output = this.#process.stdout.pipeThrough(new TextDecoderStream()).getReader();
    this.#stderr = new Response(this.#process.stderr).text();
  }

  static async #start(
    command: string,
    args: readonly string[],
    env: Record<string, string> = {},
  ): Promise<Peer> {
    const peer = new Peer(command, args, env);
    try {
      peer.info = await peer.#read() as unknown as PeerInfo;
      return peer;
    } catch (error) {
      await peer.close();
      throw error;
    }
  }

  /** Starts one of ours. */
  static ours(): Promise<Peer> {
    const script = fromFileUrl(new URL("./ours.ts", import.meta.url));
    return Peer.#start(Deno.execPath(), ["run", "-q", "-P=compute", script]);
  }

  /**
   * Starts Python.
   *
   * @param python Name or path of a Python that can import torch.
   * @param threads Threads within one operation.
   * @param cache Folder for what torch.compile makes: a new one, so that it compiles, unless the environment has one.
   * @throws {CyclopsError} When there is no such program, or it cannot import torch.
   */
  static torch(python: string, threads: number, cache?: string): Promise<Peer> {
    // Not called torch.py: Python would import it in place of PyTorch.
    const script = fromFileUrl(new URL("./peer.py", import.meta.url));
    const env: Record<string, string> = cache && !Deno.env.has(CACHE_DIR) ? { [CACHE_DIR]: cache } : {};
    return Peer.#start(python, ["-u", script, String(threads)], env);
  }

  /** Runs the contender once: its time measured there, and the loss or the finest disparities' mean. */
  async run(): Promise<{ readonly milliseconds: number; readonly value: number }> {
    const { ms, value } = await this.ask({ do: "run" });
    return { milliseconds: ms as number, value: value as number };
  }

  /** Resident memory, now or at its peak since {@linkcode Peer.resetPeak}, MiB; NaN where it cannot be read. */
  async residentMib(when: "now" | "peak" = "now"): Promise<number> {
    const status = await this.#shell(`cat /proc/${this.#process.pid}/status`);
    const field = when === "now" ? /^VmRSS:\s*(\d+)/m : /^VmHWM:\s*(\d+)/m;
    return Number(field.exec(status)?.[1] ?? NaN) / 1024;
  }

  async resetPeak(): Promise<void> {
    await this.#shell(`echo 5 > /proc/${this.#process.pid}/clear_refs`);
  }

  /** Deno lets only processes with all permissions read `/proc` themselves. */
  async #shell(command: string): Promise<string> {
    const { stdout } = await new Deno.Command("sh", { args: ["-c", command], stderr: "null" }).output();
    return new TextDecoder().decode(stdout);
  }

  /** Ends the process, which exits at the end of its input. */
  async close(): Promise<void> {
    await this.#input.close().catch(() => {});
    await this.#output.cancel();
    await this.#stderr;
    await this.#process.status;
  }

  /** @throws {CyclopsError} When the answer is an error, or there is none. */
  async ask(request: Json & { readonly do: "make" | "run" | "profile" | "peak" }): Promise<Json> {
    try {
      await this.#input.write(new TextEncoder().encode(JSON.stringify(request) + "\n"));
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
        throw new CyclopsError(`${this.#command} stopped${last ? ` (${last})` : ""}`);
      }
      this.#received += value;
    }
    const line = this.#received.slice(0, end);
    this.#received = this.#received.slice(end + 1);
    let reply: Json;
    try {
      reply = JSON.parse(line);
    } catch {
      throw new CyclopsError(`${this.#command} printed ${JSON.stringify(line.slice(0, 80))}, expected JSON`);
    }
    if (reply.error !== undefined) throw new CyclopsError(`${this.#command} says: ${reply.error}`);
    return reply;
  }
}
