/**
 * Progress of long work: a bar that redraws itself on a terminal, plain lines in a log. Writes to standard error, so
 * that standard output stays clean for results.
 *
 * @module
 */
import { shortDuration, terminalColumns } from "./terminal.ts";

/** Options of {@linkcode Progress}. */
export interface ProgressOptions {
  /** What is being done, e.g. "street". */
  readonly label: string;
  /** Units in all; `undefined` when unknown. */
  readonly total?: number;
  /** What is counted, e.g. "pairs". @default "steps" */
  readonly unit?: string;
  /** Seconds between lines in a log. @default 10 */
  readonly logEvery?: number;
  /** Where the text goes. @default standard error */
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
  /** Adds a line that stays. */
  log(text: string): void;
}

let openSink: (() => ProgressSink) | undefined;

/** Sends every {@linkcode Progress} made from now on to a sink of its own; `undefined` restores standard error. */
export function setProgressSink(open: (() => ProgressSink) | undefined): void {
  openSink = open;
}

/**
 * Shows how far long work has come, its rate and the time left.
 *
 * @example
 * ```ts
 * import { Progress } from "./progress.ts";
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
  #first: number | undefined;
  #done = 0;
  #detail = "";

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

  /** Units per second since the first update. */
  get rate(): number {
    const seconds = (performance.now() - this.#started) / 1000;
    return seconds > 0 ? (this.#done - (this.#first ?? 0)) / seconds : 0;
  }

  /**
   * Reports the state; redraws at most ten times a second on a terminal, every `logEvery` seconds in a log.
   *
   * @param done Units done so far.
   * @param detail Shown beside the bar, e.g. the loss.
   */
  update(done: number, detail = ""): void {
    this.#first ??= done > 1 ? done - 1 : 0;
    this.#done = done;
    this.#detail = detail;
    const now = performance.now();
    const every = this.#terminal ? 100 : (this.#options.logEvery ?? 10) * 1000;
    if (now - this.#shown < every) return;
    this.#shown = now;
    if (this.#sink) return this.#sink.line(this.line(), false);
    this.#write(this.#terminal ? `\r\x1b[2K${this.line()}` : `${this.line()}\n`);
  }

  /** The current line, without control characters; on a terminal no wider than it. */
  line(): string {
    const line = this.#compose(24, this.#detail);
    if (!this.#terminal || this.#sink) return line;
    const columns = this.#options.columns ?? terminalColumns();
    // The last column stays empty: some terminals already wrap there.
    const over = line.length - (columns - 1);
    if (over <= 0) return line;
    const narrow = this.#compose(Math.max(8, 24 - over), this.#detail);
    const rest = narrow.length - (columns - 1);
    if (rest <= 0) return narrow;
    const kept = this.#detail.slice(0, Math.max(0, this.#detail.length - rest - 1));
    const shorter = this.#compose(8, kept && `${kept}…`);
    return shorter.length < columns ? shorter : `${shorter.slice(0, Math.max(0, columns - 2))}…`;
  }

  #compose(barWidth: number, detail: string): string {
    const { label, total, unit = "steps" } = this.#options;
    const rate = this.rate;
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
    if (detail) parts.push(detail);
    if (total !== undefined && rate > 0 && this.#done < total) {
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
