/**
 * Starts JupyterLab on the project.
 *
 * @module
 */
import { CyclopsError, messageOf } from "../../lib/base/errors.ts";
import type { Lab } from "./environment.ts";

/** Options of {@linkcode startServer}. */
export interface ServerOptions {
  /** The project's root: what the file browser shows. It opens in its folder `notebooks`. */
  readonly root: string;
  /** TCP port. @default JupyterLab's own, 8888 or the next free one */
  readonly port?: number;
  /** Open the web browser. @default true */
  readonly browser?: boolean;
  /** Whether this user is root, whom JupyterLab refuses by itself. @default false */
  readonly asRoot?: boolean;
  /** More arguments for JupyterLab. */
  readonly args?: readonly string[];
  /** More environment variables. */
  readonly env?: Readonly<Record<string, string>>;
  /** Where its log goes. @default "inherit" */
  readonly log?: "inherit" | "null";
}

/**
 * Starts JupyterLab; it runs until it is stopped.
 *
 * @throws {CyclopsError} When it cannot be started.
 */
export function startServer(lab: Lab, options: ServerOptions): Deno.ChildProcess {
  const { root, port, browser = true, asRoot = false, args = [], env = {}, log = "inherit" } = options;
  const settings = [
    `--ServerApp.root_dir=${root}`,
    "--LabApp.default_url=/lab/tree/notebooks",
    ...(port === undefined ? [] : [`--ServerApp.port=${port}`]),
    ...(browser ? [] : ["--no-browser"]),
    ...(asRoot ? ["--allow-root"] : []),
  ];
  try {
    return new Deno.Command(lab.python, {
      args: ["-m", "jupyterlab", ...settings, ...args],
      env: { ...lab.env, ...env },
      stdin: log === "inherit" ? "inherit" : "null",
      stdout: log,
      stderr: log,
    }).spawn();
  } catch (error) {
    throw new CyclopsError(`Cannot start JupyterLab with ${lab.python}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}
