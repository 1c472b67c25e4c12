/**
 * `deno task lab`: JupyterLab on the project's notebooks.
 *
 * @module
 */
import { dirname } from "@std/path";
import { flag, integer } from "../lib/base/options.ts";
import { ensureLab } from "./notebooks/mod.ts";
import { startServer } from "./notebooks/server.ts";
import { runTask } from "./_task.ts";

await runTask({
  name: "lab",
  summary:
    "Opens JupyterLab on the notebooks. The first time it makes the Python environment for it in the user's cache\n" +
    "folder: pinned packages, checked by hash, and the Deno kernel.",
  options: {
    port: integer({ min: 1, max: 65535, help: "TCP port; 8888 or the next free one where not given." }),
    browser: flag({ default: true, help: "Open the web browser; without, print the address." }),
    setup: flag({ help: "Make the environment and stop." }),
  },
  positionals: "[-- ARGUMENTS for JupyterLab]",
  examples: [
    "deno task lab",
    "deno task lab --port 9000 --no-browser",
    "deno task lab -- --ServerApp.ip=0.0.0.0",
  ],
}, async ({ port, browser, setup }, args) => {
  const interrupted = new AbortController();
  // At Ctrl-C the terminal tells JupyterLab, too, which asks whether it shall end.
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => interrupted.abort());
  }
  const lab = await ensureLab({ signal: interrupted.signal }).catch((error) => {
    if (interrupted.signal.aborted) Deno.exit(130);
    throw error;
  });
  if (setup) {
    console.log(`${lab.made ? "made" : "found"} ${lab.folder}`);
    return 0;
  }
  const root = dirname(import.meta.dirname!);
  const server = startServer(lab, { root, port, browser, args, asRoot: Deno.uid() === 0 });
  Deno.addSignalListener("SIGTERM", () => server.kill("SIGTERM"));
  return (await server.status).code;
});
