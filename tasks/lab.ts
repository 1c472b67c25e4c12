/**
 * `deno task lab`: JupyterLab on the project's notebooks.
 *
 * @module
 */
import { dirname } from "@std/path";
import { flag, integer } from "../lib/base/options.ts";
import { interruptible } from "../lib/base/terminal.ts";
import { ensureLab, startServer } from "./notebooks/environment.ts";
import { runTask } from "./_task.ts";

await runTask({
  name: "lab",
  summary:
    "Opens JupyterLab on the notebooks. The first run makes its Python environment in the user's cache folder:\n" +
    "pinned packages, checked by hash, and the Deno kernel.",
  options: {
    port: integer({ min: 1, max: 65535, help: "TCP port (default: 8888 or the next free one)." }),
    browser: flag({ default: true, help: "Open the web browser; without it, print the address." }),
    setup: flag({ help: "Make the environment and stop." }),
  },
  positionals: "[-- ARGUMENTS for JupyterLab]",
  examples: [
    "deno task lab",
    "deno task lab --port 9000 --no-browser",
    "deno task lab -- --ServerApp.ip=0.0.0.0",
  ],
}, async ({ port, browser, setup }, args) => {
  const lab = await interruptible((signal) => ensureLab({ signal }));
  if (setup) {
    console.log(`${lab.made ? "made" : "found"} ${lab.folder}`);
    return 0;
  }
  const server = startServer(lab, { root: dirname(import.meta.dirname!), port, browser, args });
  // The terminal sends Ctrl-C to JupyterLab too, which asks whether to end.
  Deno.addSignalListener("SIGINT", () => {});
  Deno.addSignalListener("SIGTERM", () => server.kill("SIGTERM"));
  return (await server.status).code;
});
