/**
 * `metrics.jsonl`: one JSON object a line, added to while a run goes on.
 *
 * @module
 */
import type { CyclopsError } from "../base/errors.ts";
import { exists, fileError, readText, writeAtomic } from "../base/files.ts";

/** One line: a step and what was measured there. Numbers that are not finite become null. */
export type MetricsRecord = Readonly<Record<string, unknown>>;

function parseLines(text: string): { readonly line: string; readonly record: MetricsRecord }[] {
  const parsed: { line: string; record: MetricsRecord }[] = [];
  for (const line of text.split("\n")) {
    try {
      const record = JSON.parse(line);
      if (typeof record === "object" && record !== null && !Array.isArray(record)) {
        parsed.push({ line, record });
      }
    } catch { /* The last line of a killed run may be cut. */ }
  }
  return parsed;
}

/**
 * Reads the records of a run; lines that are cut are passed over. None where the file is missing.
 *
 * @throws {CyclopsError} When the file is there and cannot be read.
 */
export async function readMetrics(path: string): Promise<MetricsRecord[]> {
  if (!await exists(path)) return [];
  return parseLines(await readText(path)).map(({ record }) => record);
}

/** Adds records to a file. Each is on its way to the disk when {@linkcode MetricsLog.write} returns. */
export class MetricsLog implements Disposable {
  /** The file. */
  readonly path: string;
  #file: Deno.FsFile | undefined;
  #length: number;
  #waiting = "";
  #problem: CyclopsError | undefined;

  private constructor(path: string, length: number) {
    this.path = path;
    this.#length = length;
  }

  /**
   * Opens the file, made where it is missing.
   *
   * @param keep Which of the records there are kept, as when a run goes back to its last checkpoint. @default all
   * @throws {CyclopsError} When it cannot be read or written.
   */
  static async open(
    path: string,
    keep: (record: MetricsRecord) => boolean = () => true,
  ): Promise<MetricsLog> {
    const before = await exists(path) ? await readText(path) : undefined;
    const kept = parseLines(before ?? "").filter(({ record }) => keep(record)).map(({ line }) => `${line}\n`)
      .join("");
    if (kept !== before) await writeAtomic(path, kept);
    return new MetricsLog(path, new TextEncoder().encode(kept).length);
  }

  /** Why records are waiting in memory, e.g. a full disk; `undefined` when all are written. */
  get problem(): CyclopsError | undefined {
    return this.#problem;
  }

  /**
   * Adds a record. Never throws for the disk's sake: what cannot be written waits for the next call, and
   * {@linkcode problem} says why.
   */
  write(record: MetricsRecord): void {
    this.#waiting += `${JSON.stringify(record)}\n`;
    this.flush();
  }

  /** Tries to write what waits. @returns Whether all is written. */
  flush(): boolean {
    try {
      if (this.#waiting) {
        this.#file ??= Deno.openSync(this.path, { write: true, create: true });
        // What an attempt that failed left half-written is written over.
        this.#file.truncateSync(this.#length);
        this.#file.seekSync(this.#length, Deno.SeekMode.Start);
        const bytes = new TextEncoder().encode(this.#waiting);
        for (let at = 0; at < bytes.length;) at += this.#file.writeSync(bytes.subarray(at));
        this.#length += bytes.length;
        this.#waiting = "";
      }
      this.#problem = undefined;
    } catch (error) {
      this.#problem = fileError("write", this.path, error);
    }
    return this.#problem === undefined;
  }

  /** Closes the file. */
  close(): void {
    this.flush();
    this.#file?.close();
    this.#file = undefined;
  }

  /** As {@linkcode close}. */
  [Symbol.dispose](): void {
    this.close();
  }
}
