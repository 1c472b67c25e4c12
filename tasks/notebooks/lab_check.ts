/**
 * Uses a notebook as a person would: opens JupyterLab in a real browser, runs all cells from the menu, and looks.
 *
 * @module
 */
import { basename, dirname, join } from "@std/path";
import { chromium, type Page } from "playwright-core";
import { CyclopsError, messageOf } from "../../lib/base/errors.ts";
import { exists, writeAtomic } from "../../lib/base/files.ts";
import { type Lab, startServer } from "./environment.ts";
import { codeCells, formatNotebook, readNotebook } from "./notebook.ts";

const NAMES = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];

/** The path of a Chromium or Chrome: CYCLOPS_CHROMIUM, or one on the PATH. */
export async function findChromium(): Promise<string | undefined> {
  const own = Deno.env.get("CYCLOPS_CHROMIUM");
  const folders = (Deno.env.get("PATH") ?? "").split(":").filter(Boolean);
  const candidates = own ? [own] : folders.flatMap((folder) => NAMES.map((name) => join(folder, name)));
  for (const path of candidates) if (await exists(path)) return path;
  return undefined;
}

/** Options of {@linkcode checkInBrowser}. */
export interface BrowserCheckOptions {
  /** The notebook, in the project's folder `notebooks`. */
  readonly notebook: string;
  /** The project's root. */
  readonly root: string;
  /** Path of Chromium; see {@linkcode findChromium}. */
  readonly chromium: string;
  /** Where the picture of the page is written. */
  readonly screenshot: string;
  /** Show the page in JupyterLab's dark theme. @default false */
  readonly dark?: boolean;
  /** How long the cells may take, s. */
  readonly timeout: number;
  /** Stops the check. */
  readonly signal: AbortSignal;
  /** Called with what is being done. */
  readonly onStep: (step: string) => void;
}

/** What the page showed when all cells had run. */
export interface PageReport {
  /** Code cells that ran, of {@linkcode cells}. */
  readonly executed: number;
  readonly cells: number;
  /** Pictures, Vega charts and tables that are drawn. */
  readonly images: number;
  readonly charts: number;
  readonly tables: number;
  /** Errors and what was printed to standard error, which JupyterLab shows alike: first lines. */
  readonly errors: readonly string[];
}

/**
 * Runs a copy of a notebook in JupyterLab, in a real browser, and takes a picture of the page.
 *
 * @throws {CyclopsError} When JupyterLab, the browser or the notebook do not come to an end; errors in cells are in the
 * report.
 */
export async function checkInBrowser(lab: Lab, options: BrowserCheckOptions): Promise<PageReport> {
  const { dark = false, notebook, onStep, root, screenshot, signal, timeout } = options;
  await using cleanup = new AsyncDisposableStack();
  const home = await Deno.makeTempDir({ prefix: "cyclops-lab-" });
  cleanup.defer(() => Deno.remove(home, { recursive: true }).catch(() => {}));
  await writeSettings(home, dark);
  const copy = await copyNotebook(notebook, cleanup);
  onStep("start JupyterLab");
  // Folders of its own, so that neither the user's settings nor open windows play a part.
  const env = Object.fromEntries(
    ["JUPYTER_CONFIG", "JUPYTER_DATA", "JUPYTER_RUNTIME", "JUPYTERLAB_SETTINGS", "JUPYTERLAB_WORKSPACES"]
      .map((name) => [`${name}_DIR`, join(home, name.split("_")[1].toLowerCase())]),
  );
  const server = startServer(lab, { root, port: 0, browser: false, env, log: "null" });
  cleanup.defer(async () => {
    try {
      server.kill("SIGTERM");
    } catch { /* It has ended already. */ }
    await server.status;
  });
  const { url, token } = await serverAddress(join(home, "runtime"), server, signal);
  onStep("open the notebook");
  const page = await openPage(options.chromium, cleanup, signal);
  const cells = codeCells(await readNotebook(notebook)).length;
  try {
    await page.goto(`${url}lab/tree/notebooks/${basename(copy)}?token=${token}`, { timeout: 60_000 });
    // Before the kernel has started, JupyterLab would ask which one is meant.
    await page.locator("#jp-main-statusbar", { hasText: "Deno | Idle" }).waitFor({ timeout: 60_000 });
    onStep("run all cells");
    await page.locator(".lm-MenuBar-itemLabel", { hasText: /^Run$/ }).click();
    await page.locator(".lm-Menu-itemLabel", { hasText: /^Run All Cells$/ }).click();
    await page.waitForFunction(`(${FINISHED})(${cells})`, undefined, {
      timeout: timeout * 1000,
      polling: 200,
    });
    const height = await page.evaluate<number>(HEIGHT);
    await page.setViewportSize({ width: 1280, height: Math.min(16_000, height + 200) });
    await page.locator(".jp-NotebookPanel .jp-Cell").first().scrollIntoViewIfNeeded();
    await page.waitForTimeout(1000); // charts and layout settle
    onStep("look");
    await writeAtomic(screenshot, await page.screenshot());
    return { cells, ...await page.evaluate<Omit<PageReport, "cells">>(LOOK) };
  } catch (error) {
    signal.throwIfAborted();
    throw new CyclopsError(`Cannot use ${notebook} in JupyterLab: ${messageOf(error).split("\n")[0]}`);
  }
}

/** Starts a browser with one page. @throws {CyclopsError} When it does not start. */
export async function openPage(
  path: string,
  cleanup: AsyncDisposableStack,
  signal?: AbortSignal,
): Promise<Page> {
  try {
    const browser = await chromium.launch({ executablePath: path, args: ["--no-sandbox", "--disable-gpu"] });
    cleanup.defer(() => browser.close());
    signal?.addEventListener("abort", () => browser.close());
    return await browser.newPage({ viewport: { width: 1280, height: 1000 } });
  } catch (error) {
    throw new CyclopsError(`Cannot start ${path}: ${messageOf(error)}`, { cause: error });
  }
}

/** All cells are to be in the page, not only those in sight. */
async function writeSettings(home: string, dark: boolean): Promise<void> {
  const settings = {
    "notebook-extension/tracker": { windowingMode: "none" },
    "apputils-extension/themes": { theme: `JupyterLab ${dark ? "Dark" : "Light"}` },
  };
  for (const [name, content] of Object.entries(settings)) {
    const path = join(home, "settings/@jupyterlab", `${name}.jupyterlab-settings`);
    await writeAtomic(path, JSON.stringify(content));
  }
}

/**
 * Copies a notebook without its outputs: beside the original, so that relative imports hold. JupyterLab saves what it
 * opens, and hides names that begin with a dot.
 */
async function copyNotebook(path: string, cleanup: AsyncDisposableStack): Promise<string> {
  const folder = dirname(path),
    name = `lab-check-${Deno.pid}`,
    checkpoints = join(folder, ".ipynb_checkpoints");
  const copy = join(folder, `${name}.ipynb`);
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

/** Waits for the file in which a Jupyter server records its address. */
async function serverAddress(
  folder: string,
  server: Deno.ChildProcess,
  signal: AbortSignal,
): Promise<{ readonly url: string; readonly token: string }> {
  let ended = false;
  server.status.then(() => ended = true);
  const deadline = performance.now() + 90_000;
  while (!ended && performance.now() < deadline) {
    signal.throwIfAborted();
    try {
      for await (const { name } of Deno.readDir(folder)) {
        if (/^jpserver-\d+\.json$/.test(name)) return JSON.parse(await Deno.readTextFile(join(folder, name)));
      }
    } catch {
      // Not there yet, or half written.
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new CyclopsError(`JupyterLab ${ended ? "ended at once" : "does not start"}: deno task lab shows why`);
}

// Evaluated in the page, where the types of this module mean nothing.
const PANEL = "document.querySelector('.jp-NotebookPanel:not(.lm-mod-hidden)')";
const HEIGHT = `(({ top }, { bottom }) => Math.ceil(bottom - top))(
  ...[0, -1].map((i) => [...${PANEL}.querySelectorAll(".jp-Cell")].at(i).getBoundingClientRect()))`;
/** Whether as many cells have a number and none waits. (The Deno kernel continues after a cell that failed.) */
const FINISHED = `(cells) => {
  const prompts = [...${PANEL}.querySelectorAll(".jp-CodeCell .jp-InputPrompt")].map((e) => e.textContent);
  return !prompts.some((text) => text.includes("*")) && prompts.filter((text) => /\\d/.test(text)).length >= cells;
}`;
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
