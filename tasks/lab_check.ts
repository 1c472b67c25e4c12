/**
 * `deno task lab:check`: a notebook run in JupyterLab, in a real browser.
 *
 * @module
 */
import { basename, dirname, join } from "@std/path";
import { flag, number, text } from "../lib/base/options.ts";
import { interruptible } from "../lib/base/terminal.ts";
import { ensureLab } from "./notebooks/environment.ts";
import { checkInBrowser, findChromium } from "./notebooks/lab_check.ts";
import { findNotebooks } from "./notebooks/notebook.ts";
import { runTask } from "./_task.ts";

const root = dirname(import.meta.dirname!);

await runTask({
  name: "lab:check",
  summary:
    "Opens JupyterLab in a headless Chromium, runs all cells of a notebook from the menu and takes a picture of the\n" +
    "page. Status 1 when a cell shows an error or did not run. Does nothing without Chromium.",
  options: {
    notebook: text({ default: "04", value: "NAME", help: "The notebook, by the beginning of its name." }),
    dark: flag({ help: "Use JupyterLab's dark theme." }),
    out: text({ value: "FILE.png", help: "Where the picture goes (default: runs/lab-check/NAME.png)." }),
    timeout: number({ default: 180, min: 1, unit: "s", help: "Time for all cells." }),
  },
  examples: ["deno task lab:check", "deno task lab:check --notebook 02 --dark"],
}, async ({ notebook: name, dark, out, timeout }) => {
  const chromium = await findChromium();
  if (!chromium) {
    console.log(
      "skipped: no Chromium found (Debian: apt-get install chromium; or name one in CYCLOPS_CHROMIUM)",
    );
    return 0;
  }
  const [notebook] = await findNotebooks(join(root, "notebooks"), [name]);
  const screenshot = out ?? join(root, "runs/lab-check", `${basename(notebook, ".ipynb")}.png`);
  const onStep = (step: string) => console.error(step);
  const report = await interruptible(async (signal) =>
    await checkInBrowser(await ensureLab({ signal }), {
      chromium,
      dark,
      notebook,
      onStep,
      root,
      screenshot,
      signal,
      timeout,
    })
  );
  const { executed, cells, images, charts, tables, errors } = report;
  console.log(`${executed} of ${cells} cells ran: ${images} pictures, ${charts} charts, ${tables} tables`);
  console.log(screenshot);
  for (const error of errors) console.error(`error in a cell: ${error}`);
  return errors.length || executed < cells ? 1 : 0;
});
