/**
 * Output that changes in place while a notebook's cell runs. Outside a notebook everything here is silent.
 *
 * Importing this file lets every {@linkcode Progress} of the project show itself in the notebook's cell.
 *
 * @module
 */
import { type ProgressSink, setProgressSink } from "../base/progress.ts";
import { type Displayable, jupyter, JUPYTER_DISPLAY, type JupyterApi, type MimeBundle } from "./display.ts";

/** What a {@linkcode LiveDisplay} can show; a function is called only when its result will be shown. */
export type LiveContent = Displayable | string | (() => Displayable | string | Promise<Displayable | string>);

/** Options of {@linkcode LiveDisplay}. */
export interface LiveDisplayOptions {
  /** Shortest time between two pictures, s; what comes sooner is passed over. @default 1 */
  readonly every?: number;
  /** The kernel's interface. @default the one of this process, if it is a notebook's */
  readonly kernel?: JupyterApi;
}

/**
 * One output that is drawn again and again at the same place.
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

  /** Shows nothing yet. */
  constructor(options: LiveDisplayOptions = {}) {
    this.#every = (options.every ?? 1) * 1000;
    this.#kernel = options.kernel ?? jupyter();
  }

  /** Whether anybody sees it. */
  get visible(): boolean {
    return this.#kernel !== undefined;
  }

  /** Shows the content, unless one was shown a moment ago or is being drawn. */
  async update(content: LiveContent): Promise<void> {
    if (this.#busy || performance.now() - this.#last < this.#every) return;
    await this.#show(content);
  }

  /** Shows the content in any case: the state that stays. */
  async finish(content: LiveContent): Promise<void> {
    await this.#show(content);
  }

  #show(content: LiveContent): Promise<void> {
    if (!this.#kernel) return Promise.resolve();
    this.#busy = true;
    this.#drawing = this.#drawing.catch(() => {}).then(async () => {
      try {
        const data = await bundleOf(typeof content === "function" ? await content() : content);
        const type = this.#begun ? "update_display_data" : "display_data";
        this.#begun = true;
        await this.#kernel!.broadcast(type, { data, metadata: {}, transient: { display_id: this.#id } });
      } finally {
        this.#busy = false;
        this.#last = performance.now();
      }
    });
    return this.#drawing;
  }
}

async function bundleOf(content: Displayable | string): Promise<MimeBundle> {
  return typeof content === "string" ? { "text/plain": content } : await content[JUPYTER_DISPLAY]();
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
