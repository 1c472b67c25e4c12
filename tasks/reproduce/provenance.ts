/**
 * What a result was made by, for the files that results are kept in.
 *
 * @module
 */
import { exists, readText } from "../../lib/base/files.ts";
import type { Provenance } from "./reproduce.ts";

/** The checked-out commit, read from `.git` without running git; `undefined` outside a clone. */
export async function currentCommit(root = "."): Promise<string | undefined> {
  if (!await exists(`${root}/.git/HEAD`)) return undefined;
  const head = (await readText(`${root}/.git/HEAD`)).trim();
  if (!head.startsWith("ref: ")) return head.slice(0, 12);
  const ref = head.slice(5);
  if (await exists(`${root}/.git/${ref}`)) return (await readText(`${root}/.git/${ref}`)).trim().slice(0, 12);
  if (!await exists(`${root}/.git/packed-refs`)) return undefined;
  const packed = (await readText(`${root}/.git/packed-refs`)).split("\n").find((line) =>
    line.endsWith(` ${ref}`)
  );
  return packed?.slice(0, 12);
}

/** Command line, machine and commit of this process. */
export async function describeProgram(task: string): Promise<Provenance> {
  const words = Deno.args.length ? ` ${Deno.args.join(" ")}` : "";
  const processor = await cpuModel();
  return {
    command: `deno task ${task}${words}`,
    machine: `${navigator.hardwareConcurrency} cores${
      processor ? `, ${processor}` : ""
    }, ${Deno.build.target}`,
    commit: await currentCommit(),
  };
}

async function cpuModel(): Promise<string | undefined> {
  try {
    return (await Deno.readTextFile("/proc/cpuinfo")).match(/^model name\s*: (.*)$/m)?.[1].trim();
  } catch {
    return undefined; // not Linux, or not permitted
  }
}
