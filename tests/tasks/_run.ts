/** Tasks in processes of their own, as users run them. */
import { join } from "@std/path";

/** The project's folder. */
export const project = join(import.meta.dirname!, "../..");

/** How a task ended and what it said. */
export interface TaskResult {
  readonly code: number;
  /** Standard output. */
  readonly out: string;
  /** Standard error. */
  readonly err: string;
}

async function deno(args: readonly string[], cwd: string): Promise<TaskResult> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd,
    env: { NO_COLOR: "1", INIT_CWD: cwd },
    stdin: "null",
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, out: text(stdout), err: text(stderr) };
}

/** `deno task ARGS`, with the permissions that deno.json gives. */
export function task(...args: readonly string[]): Promise<TaskResult> {
  return deno(["task", "--quiet", ...args], project);
}
