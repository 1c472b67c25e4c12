/**
 * Paths as users mean them. `deno task` runs in the project's folder, but a relative path is typed in the folder where
 * the user stands, which Deno leaves in `INIT_CWD`.
 *
 * @module
 */
import { isAbsolute, join, relative } from "@std/path";
import { exists } from "../lib/base/files.ts";
import type { OptionsOf, OptionSpec, OptionSpecs } from "../lib/base/options.ts";

/**
 * A path that a user typed, as this process has to spell it: relative where it lies in the project's folder, so that
 * what is printed and stored stays short.
 *
 * @param from The folder in which the user typed it. @default `INIT_CWD`
 */
export function userPath(path: string, from: string = Deno.env.get("INIT_CWD") ?? ""): string {
  if (isAbsolute(path) || from === "" || from === Deno.cwd()) return path;
  const whole = join(from, path), here = relative(Deno.cwd(), whole);
  return here.startsWith("..") ? whole : here || ".";
}

/**
 * Whether an option names files, which its placeholder in the help says: `DIR`, `FILE`, `RUN`, a file or a name
 * with `|`.
 */
function namesFiles(spec: OptionSpec): "one" | "several" | "perhaps" | undefined {
  const value = spec.kind === "text" || spec.kind === "list" ? spec.value ?? "" : "";
  if (!/\b(DIR|FILE|RUN)\b/.test(value)) return undefined;
  return value.includes("|") ? "perhaps" : spec.kind === "list" ? "several" : "one";
}

/** The options with every path that the user gave spelt by {@linkcode userPath}; defaults lie in the project. */
export async function withUserPaths<S extends OptionSpecs>(
  specs: S,
  options: OptionsOf<S>,
  given: ReadonlySet<string>,
): Promise<OptionsOf<S>> {
  const spelt: Record<string, unknown> = { ...options };
  for (const key of given) {
    const files = namesFiles(specs[key]), typed = String(options[key]);
    if (files === "one") spelt[key] = userPath(typed);
    if (files === "several") spelt[key] = (options[key] as readonly string[]).map((part) => userPath(part));
    // A name such as "eigen" stands for itself unless there is such a file.
    if (files === "perhaps" && await exists(userPath(typed))) spelt[key] = userPath(typed);
  }
  return Object.freeze(spelt) as OptionsOf<S>;
}
