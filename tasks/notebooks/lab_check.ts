/**
 * Uses a notebook as a person would: opens JupyterLab in a browser, runs all cells from the menu, and looks.
 *
 * @module
 */
import { basename, dirname, join } from "@std/path";
import { CyclopsError } from "../../lib/base/errors.ts";
import { writeAtomic } from "../../lib/base/files.ts";
import { Browser } from "./browser.ts";
import type { Lab } from "./environment.ts";
import { codeCells, formatNotebook, readNotebook } from "./notebook.ts";
import { startServer } from "./server.ts";

/** Options of {@linkcode checkInBrowser}. */
export interface BrowserCheckOptions {
  /** The notebook, in the project's folder `notebooks`. */
  readonly notebook: string;
  /** The project's root. */
  readonly root: string;
  /** Path of Chromium; see `findChromium`. */
  readonly chromium: string;
  /** Where the picture of the page is written. */
  readonly screenshot: string;
  /** How long the cells may take, s. */
  readonly timeout: number;
  /** Whether this user is root. @default false */
  readonly asRoot?: boolean;
  /** Stops the check. */
  readonly signal?: AbortSignal;
  /** Called with what is being done. */
  readonly onStep?: (step: string) => void;
}

/** What the page showed when all cells had run. */
export interface PageReport {
  /** Code cells that ran. */
  readonly executed: number;
  /** Code cells that there are. */
  readonly cells: number;
  /** Pictures that are drawn. */
  readonly images: number;
  /** Vega charts that are drawn. */
  readonly charts: number;
  /** Tables. */
  readonly tables: number;
  /** Error outputs and what was printed to standard error, which JupyterLab shows alike: first lines. */
  readonly errors: readonly string[];
}

/**
 * Runs a copy of a notebook in JupyterLab, in a real browser, and takes a picture of the page.
 *
 * @throws {CyclopsError} When JupyterLab, the browser or the notebook do not come to an end; errors in cells are in the
 * report.
 */
export async function checkInBrowser(lab: Lab, options: BrowserCheckOptions): Promise<PageReport> {
  const { root, onStep = () => {}, signal } = options;
  await using cleanup = new AsyncDisposableStack();
  const home = await Deno.makeTempDir({ prefix: "cyclops-lab-" });
  cleanup.defer(() => Deno.remove(home, { recursive: true }).catch(() => {}));
  await writeSettings(home);
  const copy = await copyNotebook(options.notebook, cleanup);
  onStep("start JupyterLab");
  const env = labFolders(home);
  const server = startServer(lab, {
    root,
    port: 0,
    browser: false,
    asRoot: options.asRoot,
    env,
    log: "null",
  });
  cleanup.defer(() => stopServer(server));
  const { url, token } = await serverAddress(home, server, signal);
  onStep("open the notebook");
  const browser = cleanup.use(await Browser.launch(options.chromium, { width: 1280, height: 1000 }));
  const interrupted = new Promise<never>((_, reject) => {
    signal?.addEventListener("abort", () => reject(new CyclopsError("Interrupted")));
  });
  const address = `${url}lab/tree/notebooks/${basename(copy)}?token=${token}`;
  return await Promise.race([useNotebook(browser, address, options), interrupted]);
}

/** Runs all cells of the notebook at an address and looks at the page. */
async function useNotebook(
  browser: Browser,
  address: string,
  options: BrowserCheckOptions,
): Promise<PageReport> {
  const { notebook, onStep = () => {}, screenshot, timeout } = options;
  const cells = codeCells(await readNotebook(notebook)).length;
  await browser.open(address);
  await browser.waitFor("a notebook whose kernel is ready", READY, 60);
  onStep("run all cells");
  await browser.click("the menu Run", menu(".lm-MenuBar-itemLabel", "Run"));
  await browser.click("Run All Cells", menu(".lm-Menu-itemLabel", "Run All Cells"));
  await browser.waitFor("the end of all cells", finished(cells), timeout);
  const height = await browser.evaluate<number>(HEIGHT);
  await browser.resize({ width: 1280, height: Math.min(16_000, height + 200) });
  await browser.evaluate(TO_TOP);
  await new Promise((resolve) => setTimeout(resolve, 1000)); // charts and layout settle
  onStep("look");
  await writeAtomic(screenshot, await browser.screenshot());
  return { cells, ...await browser.evaluate<Omit<PageReport, "cells">>(LOOK) };
}

/**
 * Copies a notebook without its outputs: beside the original, so that relative imports hold. JupyterLab saves what it
 * opens, and hides names that begin with a dot.
 */
async function copyNotebook(path: string, cleanup: AsyncDisposableStack): Promise<string> {
  const folder = dirname(path), name = `lab-check-${Deno.pid}`;
  const copy = join(folder, `${name}.ipynb`);
  const checkpoints = join(folder, ".ipynb_checkpoints");
  cleanup.defer(async () => {
    for (const left of [copy, join(checkpoints, `${name}-checkpoint.ipynb`), checkpoints]) {
      await Deno.remove(left).catch(() => {}); // the folder only when it is empty
    }
  });
  const notebook = await readNotebook(path);
  const cells = notebook.cells.map((cell) => ({ ...cell, outputs: [], execution_count: null }));
  await writeAtomic(copy, formatNotebook({ ...notebook, cells }));
  return copy;
}

async function stopServer(server: Deno.ChildProcess): Promise<void> {
  try {
    server.kill("SIGTERM");
  } catch {
    // It has ended already.
  }
  await server.status;
}

/** Folders of JupyterLab's own, so that neither the user's settings nor open windows play a part. */
function labFolders(home: string): Record<string, string> {
  return {
    JUPYTER_CONFIG_DIR: join(home, "config"),
    JUPYTER_DATA_DIR: join(home, "data"),
    JUPYTER_RUNTIME_DIR: join(home, "runtime"),
    JUPYTERLAB_SETTINGS_DIR: join(home, "settings"),
    JUPYTERLAB_WORKSPACES_DIR: join(home, "workspaces"),
  };
}

/** All cells are to be in the page, not only those in sight. */
async function writeSettings(home: string): Promise<void> {
  const path = join(home, "settings/@jupyterlab/notebook-extension/tracker.jupyterlab-settings");
  await writeAtomic(path, JSON.stringify({ windowingMode: "none" }));
}

/** Waits for the file in which a Jupyter server says where it listens. */
async function serverAddress(
  home: string,
  server: Deno.ChildProcess,
  signal?: AbortSignal,
): Promise<{ readonly url: string; readonly token: string }> {
  let ended = false;
  server.status.then(() => ended = true);
  const deadline = performance.now() + 90_000;
  while (!ended && performance.now() < deadline) {
    if (signal?.aborted) throw new CyclopsError("Interrupted");
    try {
      for await (const { name } of Deno.readDir(join(home, "runtime"))) {
        if (!/^jpserver-\d+\.json$/.test(name)) continue;
        return JSON.parse(await Deno.readTextFile(join(home, "runtime", name)));
      }
    } catch {
      // Not there yet, or half written.
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new CyclopsError(`JupyterLab ${ended ? "ended at once" : "does not start"}: deno task lab shows why`);
}

const PANEL = "document.querySelector('.jp-NotebookPanel:not(.lm-mod-hidden)')";
/** What the status bar says when the kernel has started: before, JupyterLab would ask which one is meant. */
const READY = `${PANEL} && document.querySelector("#jp-main-statusbar")?.textContent.includes("Deno | Idle")`;
const HEIGHT = `(({ top }, { bottom }) => Math.ceil(bottom - top))(
  ...[0, -1].map((i) => [...${PANEL}.querySelectorAll(".jp-Cell")].at(i).getBoundingClientRect()))`;
/** Back to the first cell: running all cells has scrolled to the last. */
const TO_TOP = `${PANEL}.querySelector(".jp-Cell").scrollIntoView()`;

/** An entry of a menu by its text. */
function menu(selector: string, text: string): string {
  return `[...document.querySelectorAll(${JSON.stringify(selector)})].find((e) => e.textContent === ${
    JSON.stringify(text)
  })`;
}

/** Whether as many cells have a number and none waits. (The Deno kernel goes on after a cell that failed.) */
function finished(cells: number): string {
  return `(() => {
    const prompts = [...${PANEL}.querySelectorAll(".jp-CodeCell .jp-InputPrompt")].map((e) => e.textContent);
    const done = prompts.filter((text) => /\\d/.test(text)).length;
    return !prompts.some((text) => text.includes("*")) && done >= ${cells};
  })()`;
}

const LOOK = `(() => {
  const all = (selector) => [...${PANEL}.querySelectorAll(selector)];
  return {
    executed: all(".jp-CodeCell .jp-InputPrompt").filter((e) => /\\d/.test(e.textContent)).length,
    images: all(".jp-OutputArea img").filter((e) => e.naturalWidth > 0).length,
    charts: all(".jp-OutputArea .vega-embed").filter((e) => e.querySelector("svg, canvas")).length,
    tables: all(".jp-OutputArea table").length,
    errors: all('[data-mime-type="application/vnd.jupyter.stderr"]').map((e) => e.textContent.split("\\n")[0]),
  };
})()`;
