/**
 * `deno task lab:check`: a notebook run in JupyterLab, in a real browser.
 *
 * @module
 */
import { basename, dirname, join } from "@std/path";
import { number, text } from "../lib/base/options.ts";
import { findChromium } from "./notebooks/browser.ts";
import { checkInBrowser } from "./notebooks/lab_check.ts";
import { ensureLab, findNotebooks } from "./notebooks/mod.ts";
import { runTask } from "./_task.ts";

const root = dirname(import.meta.dirname!);

await runTask({
  name: "lab:check",
  summary:
    "Opens JupyterLab in a headless Chromium, runs all cells of a notebook from the menu and takes a picture of the\n" +
    "page. Status 1 when a cell shows an error or did not run. Does nothing where no Chromium is found.",
  options: {
    notebook: text({ default: "04", value: "NAME", help: "The notebook, by the beginning of its name." }),
    out: text({
      value: "FILE.png",
      help: "Where the picture goes; runs/lab-check/NAME.png where not given.",
    }),
    timeout: number({ default: 180, min: 1, unit: "s", help: "Time for all cells." }),
  },
  examples: ["deno task lab:check", "deno task lab:check --notebook 02"],
}, async ({ notebook: name, out, timeout }) => {
  const chromium = await findChromium();
  if (!chromium) {
    console.log(
      "skipped: no Chromium found (Debian: apt-get install chromium; or name one in CYCLOPS_CHROMIUM)",
    );
    return 0;
  }
  const [notebook] = await findNotebooks(join(root, "notebooks"), [name]);
  const screenshot = out ? out : join(root, "runs/lab-check", `${basename(notebook, ".ipynb")}.png`);
  const interrupted = new AbortController();
  const { signal } = interrupted;
  for (const name of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(name, () => interrupted.abort());
  const report = await checkInBrowser(await ensureLab({ signal }), {
    signal,
    notebook,
    root,
    chromium,
    screenshot,
    timeout,
    asRoot: Deno.uid() === 0,
    onStep: (step) => console.error(step),
  });
  const { executed, cells, images, charts, tables, errors } = report;
  console.log(`${executed} of ${cells} cells ran: ${images} pictures, ${charts} charts, ${tables} tables`);
  console.log(screenshot);
  for (const error of errors) console.error(`error in a cell: ${error}`);
  return errors.length || executed < cells ? 1 : 0;
});
