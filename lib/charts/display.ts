/**
 * Notebook output: objects that render themselves, and outputs that are redrawn in place. Outside a notebook nothing is
 * shown. Importing this file sends every {@linkcode Progress} to the running cell.
 *
 * @module
 */
import { type ProgressSink, setProgressSink } from "../base/terminal.ts";

/** The method that a notebook's kernel calls on a cell's last value. */
export const JUPYTER_DISPLAY: unique symbol = Symbol.for("Jupyter.display") as never;

/** One output in several formats; the viewer shows the richest it knows. Binary formats are base64 strings. */
export type MimeBundle = Readonly<Record<string, string | Readonly<Record<string, unknown>>>>;

/** Anything that renders itself in a notebook. */
export interface Displayable {
  [JUPYTER_DISPLAY](): MimeBundle | Promise<MimeBundle>;
}

/** The part of `Deno.jupyter` that is used here. */
export interface JupyterApi {
  broadcast(
    type: string,
    content: Record<string, unknown>,
    extra?: { metadata?: Record<string, unknown> },
  ): Promise<void>;
}

/** The notebook kernel's interface, or undefined outside one, where merely reading it throws. */
export function jupyter(): JupyterApi | undefined {
  try {
    return (Reflect.get(Deno, "jupyter") as JupyterApi | undefined) ?? undefined;
  } catch {
    return undefined;
  }
}

/** What a {@linkcode LiveDisplay} can show; a function is called only when its result will be shown. */
export type LiveContent = Displayable | string | (() => Displayable | string | Promise<Displayable | string>);

/**
 * One output of a cell that is redrawn in place.
 *
 * @example
 * ```ts ignore
 * const live = new LiveDisplay();
 * for await (const record of training) {
 *   records.push(record);
 *   await live.update(() => lossCurves(records));
 * }
 * await live.finish(() => lossCurves(records));
 * ```
 */
export class LiveDisplay {
  readonly #every: number;
  readonly #kernel: JupyterApi | undefined;
  readonly #id = crypto.randomUUID();
  #drawing: Promise<void> = Promise.resolve();
  #busy = false;
  #begun = false;
  #last = -Infinity;

  /**
   * Shows nothing yet.
   *
   * @param options.every Shortest time between two updates, s; earlier ones are skipped. @default 1
   * @param options.kernel The kernel's interface. @default this process's own, if it is a notebook's kernel
   */
  constructor(options: { readonly every?: number; readonly kernel?: JupyterApi } = {}) {
    this.#every = (options.every ?? 1) * 1000;
    this.#kernel = options.kernel ?? jupyter();
  }

  /** Shows the content, unless something was shown a moment ago or is still being drawn. */
  async update(content: LiveContent): Promise<void> {
    if (this.#busy || performance.now() - this.#last < this.#every) return;
    await this.finish(content);
  }

  /** Shows the content in any case. */
  finish(content: LiveContent): Promise<void> {
    const kernel = this.#kernel;
    if (!kernel) return Promise.resolve();
    this.#busy = true;
    this.#drawing = this.#drawing.catch(() => {}).then(async () => {
      try {
        const shown = typeof content === "function" ? await content() : content;
        const data = typeof shown === "string" ? { "text/plain": shown } : await shown[JUPYTER_DISPLAY]();
        const type = this.#begun ? "update_display_data" : "display_data";
        this.#begun = true;
        await kernel.broadcast(type, { data, metadata: {}, transient: { display_id: this.#id } });
      } finally {
        this.#busy = false;
        this.#last = performance.now();
      }
    });
    return this.#drawing;
  }
}

/** Shows an object below what the cell has shown so far; nothing outside a notebook. */
export async function show(content: Displayable | string): Promise<void> {
  await new LiveDisplay().finish(content);
}

/** Progress lines of a notebook's cell: each bar at its own place, log lines above it. */
export function notebookProgress(kernel: JupyterApi): ProgressSink {
  const live = new LiveDisplay({ every: 0.2, kernel });
  const log: string[] = [];
  // Progress is synchronous: a kernel that has gone away must not turn into an unhandled rejection.
  const quiet = (promise: Promise<void>) => void promise.catch(() => {});
  return {
    line: (text, last) => {
      const all = [...log, text].join("\n");
      quiet(last ? live.finish(all) : live.update(all));
    },
    log: (text) => {
      log.push(text);
      quiet(live.finish(log.join("\n")));
    },
  };
}

const kernel = jupyter();
if (kernel) setProgressSink(() => notebookProgress(kernel));
