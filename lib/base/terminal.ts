/**
 * Text for a person at a terminal: styles, sizes, durations.
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
