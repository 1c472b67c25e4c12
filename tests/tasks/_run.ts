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

/** What a task finds around it. */
interface Surroundings {
  /** Variables beside the test's own. */
  readonly env?: Readonly<Record<string, string>>;
  /** Its standard input. */
  readonly stdin?: Uint8Array;
}

async function deno(args: readonly string[], cwd: string, around: Surroundings = {}): Promise<TaskResult> {
  const process = new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd,
    env: { NO_COLOR: "1", INIT_CWD: cwd, ...around.env },
    stdin: around.stdin ? "piped" : "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  if (around.stdin) await ReadableStream.from([around.stdin]).pipeTo(process.stdin);
  const { code, stdout, stderr } = await process.output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, out: text(stdout), err: text(stderr) };
}

/** `deno task ARGS`, with the permissions that deno.json gives. */
export function task(...args: readonly string[]): Promise<TaskResult> {
  return taskIn({}, ...args);
}

/** The same, with variables or a standard input of its own. */
export function taskIn(around: Surroundings, ...args: readonly string[]): Promise<TaskResult> {
  return deno(["task", "--quiet", ...args], project, around);
}
