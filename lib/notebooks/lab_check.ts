/**
 * Uses a notebook as a person would: opens JupyterLab in a browser, runs all cells from the menu, and looks.
 *
 * @module
 */
import { basename, dirname, join } from "@std/path";
import { CyclopsError } from "../base/errors.ts";
import { writeWhole } from "../base/files.ts";
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
  const { root, timeout, onStep = () => {} } = options;
  const home = await Deno.makeTempDir({ prefix: "cyclops-lab-" });
  // Beside the original, so that relative imports hold; JupyterLab saves what it opens, and hides names with a dot.
  const copy = join(dirname(options.notebook), `lab-check-${Deno.pid}.ipynb`);
  const notebook = await readNotebook(options.notebook);
  const cells = notebook.cells.map((cell) => ({ ...cell, outputs: [], execution_count: null }));
  await writeWhole(copy, formatNotebook({ ...notebook, cells }));
  await writeSettings(home);
  onStep("start JupyterLab");
  const server = startServer(lab, {
    root,
    port: 0,
    browser: false,
    asRoot: options.asRoot,
    env: labFolders(home),
    log: "null",
  });
  try {
    const { url, token } = await serverAddress(home, server);
    onStep("open the notebook");
    await using browser = await Browser.launch(options.chromium, { width: 1280, height: 1000 });
    await browser.open(`${url}lab/tree/notebooks/${basename(copy)}?token=${token}`);
    await browser.waitFor("a notebook whose kernel is ready", READY, 60);
    onStep("run all cells");
    await browser.click("the menu Run", menu(".lm-MenuBar-itemLabel", "Run"));
    await browser.click("Run All Cells", menu(".lm-Menu-itemLabel", "Run All Cells"));
    await browser.waitFor("the end of all cells", finished(codeCells(notebook).length), timeout);
    const height = await browser.evaluate<number>(HEIGHT);
    await browser.resize({ width: 1280, height: Math.min(16_000, height + 200) });
    await browser.evaluate(TO_TOP);
    await new Promise((resolve) => setTimeout(resolve, 1000)); // charts and layout settle
    onStep("look");
    await writeWhole(options.screenshot, await browser.screenshot());
    return { cells: codeCells(notebook).length, ...await browser.evaluate<Omit<PageReport, "cells">>(LOOK) };
  } finally {
    server.kill("SIGTERM");
    await server.status;
    const checkpoint = `.ipynb_checkpoints/${basename(copy, ".ipynb")}-checkpoint.ipynb`;
    for (const file of [copy, join(dirname(copy), checkpoint), join(dirname(copy), ".ipynb_checkpoints")]) {
      await Deno.remove(file).catch(() => {}); // the folder only when it is empty
    }
    await Deno.remove(home, { recursive: true }).catch(() => {});
  }
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
  await writeWhole(path, JSON.stringify({ windowingMode: "none" }));
}

/** Waits for the file in which a Jupyter server says where it listens. */
async function serverAddress(
  home: string,
  server: Deno.ChildProcess,
): Promise<{ readonly url: string; readonly token: string }> {
  let ended = false;
  server.status.then(() => ended = true);
  const deadline = performance.now() + 90_000;
  while (!ended && performance.now() < deadline) {
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
