/**
 * What a person at a terminal sees: styles, sizes, durations, progress; and Ctrl-C. Progress goes to standard error, so
 * that standard output stays clean for results.
 *
 * @module
 */
import { styleText } from "node:util";
import { CyclopsError } from "./errors.ts";

/** Styles text by `node:util`'s names ("bold", "red"); plain under NO_COLOR and where standard output is a file. */
export function styled(style: Parameters<typeof styleText>[0], text: string): string {
  // styleText's own check would ask for permission to read NO_COLOR, FORCE_COLOR and NODE_DISABLE_COLORS.
  const plain = Deno.noColor || !Deno.stdout.isTerminal();
  return plain ? text : styleText(style, text, { validateStream: false });
}

/** Columns of the terminal; 80 where there is none. */
export function terminalColumns(): number {
  try {
    return Deno.consoleSize().columns || 80;
  } catch {
    return 80;
  }
}

/** Breaks text at spaces into lines of at most `columns` characters, longer words excepted; "\u00a0" becomes a space. */
export function wrap(text: string, columns: number): string[] {
  const lines = [""];
  for (const word of text.split(" ")) {
    const line = lines.at(-1)!;
    if (line && line.length + 1 + word.length > columns) lines.push(word);
    else lines[lines.length - 1] = line ? `${line} ${word}` : word;
  }
  return lines.map((line) => line.replaceAll("\u00a0", " "));
}

/** "1.5 kB", "2.93 KiB": three significant digits, in powers of 1000, or of 1024 when `binary`. */
export function formatBytes(bytes: number, { binary = false }: { readonly binary?: boolean } = {}): string {
  const units = binary ? ["B", "KiB", "MiB", "GiB", "TiB"] : ["B", "kB", "MB", "GB", "TB"];
  const base = binary ? 1024 : 1000;
  const power = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log(bytes) / Math.log(base)));
  return `${Number((bytes / base ** power).toPrecision(3))} ${units[power]}`;
}

/** "3m 20s", "45s": short enough for a progress line. */
export function shortDuration(milliseconds: number): string {
  let rest = Math.max(0, Math.round(milliseconds / 1000));
  const parts: string[] = [];
  for (const [seconds, unit] of [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]] as const) {
    if (rest >= seconds) parts.push(`${Math.floor(rest / seconds)}${unit}`);
    rest %= seconds;
  }
  return parts.join(" ") || "0s";
}

/**
 * Runs work that SIGINT (Ctrl-C) or SIGTERM aborts. Once it has cleaned up, the process ends with status 130 or 143, as
 * it would have without this.
 */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  let status = 0;
  const listeners = ([["SIGINT", 130], ["SIGTERM", 143]] as const).map(([name, code]) => {
    const listener = () => {
      status ||= code;
      controller.abort();
    };
    Deno.addSignalListener(name, listener);
    return () => Deno.removeSignalListener(name, listener);
  });
  try {
    return await work(controller.signal);
  } catch (error) {
    if (status === 0) throw error;
    console.error(error instanceof CyclopsError ? `\n${error.message}` : "\nInterrupted");
    return Deno.exit(status);
  } finally {
    listeners.forEach((remove) => remove());
  }
}

/** Options of {@linkcode Progress}. */
export interface ProgressOptions {
  /** What is being done, e.g. "street". */
  readonly label: string;
  readonly total?: number;
  /** What is counted, e.g. "pairs". @default "steps" */
  readonly unit?: string;
  /** Seconds between lines in a log. @default 10 */
  readonly logEvery?: number;
  readonly write?: (text: string) => void;
  /** Redraw one line instead of printing many. @default whether standard error is a terminal */
  readonly terminal?: boolean;
  /** Maximum columns on a terminal: a longer line would wrap and stay. @default the terminal's width */
  readonly columns?: number;
}

/** Where progress goes instead of standard error: a notebook's cell. */
export interface ProgressSink {
  /** Replaces the current line. @param last Whether it is the final one. */
  line(text: string, last: boolean): void;
  log(text: string): void;
}

let openSink: (() => ProgressSink) | undefined;

/** Sends every {@linkcode Progress} made from now on to a sink of its own; `undefined` restores standard error. */
export function setProgressSink(open: (() => ProgressSink) | undefined): void {
  openSink = open;
}

/** Columns of the bar, at most and at least. */
const WIDE = 24, NARROW = 10;
/** Units after which the time left can be estimated. */
const SETTLED = 4;

/**
 * Shows how far long work has come, its rate and the time left.
 *
 * @example
 * ```ts
 * import { Progress } from "./terminal.ts";
 *
 * const progress = new Progress({ label: "reading", total: 3, unit: "files" });
 * for (let i = 1; i <= 3; i++) progress.update(i);
 * progress.finish();
 * ```
 */
export class Progress {
  readonly #options: ProgressOptions;
  readonly #started = performance.now();
  readonly #terminal: boolean;
  readonly #write: (text: string) => void;
  readonly #sink: ProgressSink | undefined;
  #shown = -Infinity;
  #done = 0;
  #details: readonly string[] = [];
  /** When how much was done, of about the last minute; from the first update on, which may include a set-up. */
  #samples: { readonly time: number; readonly done: number }[] = [];

  /** Prints nothing before the first update. */
  constructor(options: ProgressOptions) {
    this.#options = options;
    this.#sink = options.write ? undefined : openSink?.();
    this.#terminal = options.terminal ?? (this.#sink !== undefined || Deno.stderr.isTerminal());
    const encoder = new TextEncoder();
    this.#write = options.write ?? ((text) => {
      try {
        Deno.stderr.writeSync(encoder.encode(text));
      } catch { /* A closed terminal is no reason to stop the work. */ }
    });
  }

  /** Units per second over about the last minute, without the first update; 0 before the second one. */
  get rate(): number {
    const [first] = this.#samples;
    const seconds = first ? (performance.now() - first.time) / 1000 : 0;
    return seconds > 0 ? (this.#done - first.done) / seconds : 0;
  }

  /**
   * Reports the state; redraws at most ten times a second on a terminal, every `logEvery` seconds in a log.
   *
   * @param done Units done so far.
   * @param details Shown beside the bar, the most important first: those that do not fit are left out.
   */
  update(done: number, ...details: readonly string[]): void {
    this.#done = done;
    this.#details = details;
    const now = performance.now();
    if (now - (this.#samples.at(-1)?.time ?? -Infinity) > 1000) this.#samples.push({ time: now, done });
    if (this.#samples.length > 60) this.#samples.shift();
    const every = this.#terminal ? 100 : (this.#options.logEvery ?? 10) * 1000;
    if (now - this.#shown >= every) this.#show();
  }

  /** Shows at once, on a terminal, what is being done meanwhile; until the next update. */
  status(...details: readonly string[]): void {
    this.#details = details;
    if (this.#terminal) this.#show();
  }

  #show(): void {
    this.#shown = performance.now();
    if (this.#sink) return this.#sink.line(this.line(), false);
    this.#write(this.#terminal ? `\r\x1b[2K${this.line()}` : `${this.line()}\n`);
  }

  /** The current line, without control characters; on a terminal no wider than it. */
  line(): string {
    const details = [...this.#details];
    const line = this.#compose(WIDE, details);
    if (!this.#terminal || this.#sink) return line;
    // The last column stays empty: some terminals already wrap there.
    const room = (this.#options.columns ?? terminalColumns()) - 1;
    if (line.length <= room) return line;
    while (details.length && this.#compose(NARROW, details).length > room) details.pop();
    const over = this.#compose(WIDE, details).length - room;
    return this.#compose(Math.max(NARROW, WIDE - Math.max(0, over)), details).slice(0, room);
  }

  #compose(barWidth: number, details: readonly string[]): string {
    const { label, total, unit = "steps" } = this.#options;
    const { rate } = this;
    const parts = [label];
    if (total !== undefined) {
      const fraction = total > 0 ? Math.min(1, this.#done / total) : 1;
      if (this.#terminal) {
        const filled = Math.round(fraction * barWidth);
        parts.push("█".repeat(filled) + "░".repeat(barWidth - filled));
      }
      parts.push(`${this.#done}/${total} ${unit}`);
    } else parts.push(`${this.#done} ${unit}`);
    if (rate > 0) parts.push(rate >= 1 ? `${rate.toFixed(1)}/s` : `${(1 / rate).toFixed(1)} s each`);
    parts.push(...details);
    const since = this.#done - (this.#samples[0]?.done ?? 0);
    if (total !== undefined && rate > 0 && since >= SETTLED && this.#done < total) {
      parts.push(`${shortDuration((total - this.#done) / rate * 1000)} left`);
    }
    return parts.join("  ");
  }

  /** Prints a line above the bar. */
  log(line: string): void {
    this.#shown = -Infinity;
    if (this.#sink) return this.#sink.log(line);
    this.#write(this.#terminal ? `\r\x1b[2K${line}\n` : `${line}\n`);
  }

  /** Ends the bar with a summary line. */
  finish(summary?: string): void {
    const took = shortDuration(performance.now() - this.#started);
    const line = summary ??
      `${this.#options.label}  ${this.#done} ${this.#options.unit ?? "steps"} in ${took}`;
    if (this.#sink) return this.#sink.line(line, true);
    this.#write(this.#terminal ? `\r\x1b[2K${line}\n` : `${line}\n`);
  }
}
