/**
 * What every task shares: options and paths from the command line, `--help`, and errors a person can read.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { isAbsolute, join, relative } from "@std/path";
import { messageOf, UsageError } from "../lib/base/errors.ts";
import { exists } from "../lib/base/files.ts";
import {
  allowedValues,
  formatValue,
  nearestNames,
  type OptionsOf,
  type OptionSpec,
  type OptionSpecs,
  resolveOptions,
  toKebabCase,
} from "../lib/base/options.ts";
import { styled, wrap } from "../lib/base/terminal.ts";

/** A task's name, options and usage. */
export interface TaskDescription<S extends OptionSpecs> {
  /** As in `deno task NAME`. */
  readonly name: string;
  /** One or two sentences for the top of the help. */
  readonly summary: string;
  readonly options: S;
  /** Headings of groups of options in the help, by the first option of each. @default one group, "Options" */
  readonly headings?: { readonly [K in keyof S]?: string };
  /** The options that the help shows, where their defaults depend on others, e.g. on a preset. @default options */
  readonly helpOptions?: (options: OptionsOf<S>) => S;
  /**
   * Placeholder of the arguments that are not options, e.g. "IMAGE…"; none are accepted when absent. With "--" in it,
   * whatever follows a "--" is an argument, even when it looks like an option.
   */
  readonly positionals?: string;
  /** Options of older versions, as they were typed, and what they are called now. */
  readonly renamed?: Readonly<Record<string, string>>;
  /** Whole command lines shown at the end of the help. */
  readonly examples?: readonly string[];
}

/** What an option that is a time has in common with others. */
export const TIME = {
  value: "TIME",
  pattern: { regexp: /^\d+(\.\d+)?[smh]$/, expected: "a time such as 90s, 60m or 2h" },
} as const;

/** A time such as "60m" in ms. */
export function parseTime(time: string): number {
  return Number(time.slice(0, -1)) * { s: 1000, m: 60_000, h: 3_600_000 }[time.at(-1) as "s" | "m" | "h"];
}

/** Columns of the help, and those before an option's description. */
const COLUMNS = 80, INDENT = 26;

/** Stands for a space at which {@linkcode wrap} does not break. */
const NBSP = "\u00a0";

/** The help text of a task. */
export function helpText<S extends OptionSpecs>(task: TaskDescription<S>): string {
  const usage = `deno task ${task.name}`;
  const lines = [
    `${styled("bold", usage)}${task.positionals ? ` ${task.positionals}` : ""} [options]`,
    "",
    ...wrap(task.summary.replaceAll("\n", " "), COLUMNS),
  ];
  const row = (name: string, help: string) => {
    const [first, ...rest] = wrap(help, COLUMNS - INDENT);
    const short = name.length <= INDENT - 4;
    lines.push(short ? `  ${name}`.padEnd(INDENT) + first : `  ${name}`);
    for (const line of short ? rest : [first, ...rest]) lines.push(" ".repeat(INDENT) + line);
  };
  Object.entries(task.options).forEach(([key, spec], i) => {
    const heading = task.headings?.[key] ?? (i === 0 ? "Options" : undefined);
    if (heading) lines.push("", styled("bold", heading));
    row(flagName(key, spec), describe(spec));
  });
  if (task.headings) lines.push("", styled("bold", "Common"));
  row("--help", "Show this help.");
  row("--debug", "Show stack traces of errors.");
  if (task.examples?.length) {
    lines.push("", styled("bold", "Examples"));
    for (const example of task.examples) {
      // An option stays with its value.
      const parts = wrap(example.replace(/(--\S+) (?!--)/g, `$1${NBSP}`), COLUMNS - 4);
      lines.push(`  ${styled("dim", parts.join(" \\\n      "))}`);
    }
  }
  return lines.join("\n");
}

function flagName(key: string, spec: OptionSpec): string {
  const name = `--${toKebabCase(key)}`;
  switch (spec.kind) {
    case "flag":
      return spec.default ? `--[no-]${toKebabCase(key)}` : name;
    case "choice":
      return `${name} ${spec.choices.join("|")}`;
    case "number":
      return `${name} ${spec.integer ? "N" : "X"}`;
    case "text":
      return `${name} ${spec.value ?? "TEXT"}`;
    case "size":
      return `${name} HxW`;
    case "list":
      return `${name} ${spec.value}[,${spec.value}…]`;
  }
}

function describe(spec: OptionSpec): string {
  const notes: string[] = [];
  if (spec.kind === "number" && spec.unit) notes.push(spec.unit);
  const standard = formatValue(spec, spec.default);
  if (spec.kind === "flag") { if (spec.default) notes.push("default: yes"); }
  else if (standard !== undefined) notes.push(`default: ${standard}`);
  // No line breaks within the notes.
  return notes.length ? `${spec.help} (${notes.join(", ")})`.replace(/ (?=[^(]*\)$)/g, NBSP) : spec.help;
}

/**
 * Parses a command line.
 *
 * @returns Options, arguments that are not options, and the keys of the options that were given.
 * @throws {UsageError} On an unknown option, a missing or a disallowed value.
 */
export function parseTaskArgs<S extends OptionSpecs>(
  task: TaskDescription<S>,
  args: readonly string[],
): {
  readonly options: OptionsOf<S>;
  readonly positionals: readonly string[];
  readonly given: ReadonlySet<string>;
} {
  const refuse = (why: string) => new UsageError(`Cannot run ${task.name}: ${why}`);
  const keys = new Map(Object.keys(task.options).map((key) => [toKebabCase(key), key]));
  const isFlag = (name: string) => keys.has(name) && task.options[keys.get(name)!].kind === "flag";
  const { tokens } = parseArgs({
    args: [...args],
    options: Object.fromEntries(
      [...keys.keys()].map((name) => [name, { type: isFlag(name) ? "boolean" as const : "string" as const }]),
    ),
    strict: false,
    tokens: true,
  });
  const values: Record<string, unknown> = {};
  const positionals: string[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") positionals.push(token.value);
    if (token.kind !== "option") continue;
    const { rawName, value } = token;
    const negated = token.name.startsWith("no-") && isFlag(token.name.slice(3));
    const name = negated ? token.name.slice(3) : token.name;
    const key = keys.get(name);
    if (!key || !rawName.startsWith("--")) {
      const near = nearestNames(name, [...keys.keys()]), renamed = task.renamed?.[name];
      const hint = renamed
        ? `it is --${renamed} now`
        : near.length
        ? `did you mean ${near.map((n) => "--" + n).join(" or ")}?`
        : `deno task ${task.name} --help lists the options`;
      throw refuse(`unknown option ${rawName} (${hint})`);
    }
    const spec = task.options[key];
    if (spec.kind === "flag") {
      if (value !== undefined && (negated || !["true", "false"].includes(value))) {
        throw refuse(`${rawName}=${value}, expected --${name} or --no-${name}`);
      }
      values[key] = !negated && value !== "false";
      continue;
    }
    // "--seed --resume" lacks a value, "--rate -0.5" does not.
    const option = !token.inlineValue && value !== undefined && /^-(?!\.?\d)./.test(value);
    if (!value || option) throw refuse(`--${name} needs a value, ${allowedValues(spec)}`);
    if (key in values) throw refuse(`--${name} is given more than once`);
    values[key] = spec.kind === "number" ? (value.trim() === "" ? NaN : Number(value)) : value;
    if (spec.kind === "number" && !Number.isFinite(values[key])) {
      throw refuse(`--${name} is "${value}", expected ${allowedValues(spec)}`);
    }
  }
  if (positionals.length && !task.positionals) {
    throw refuse(`"${positionals[0]}" is not an option (options start with --)`);
  }
  return {
    options: resolveOptions(task.name, task.options, values, (key) => `--${toKebabCase(key)}`),
    positionals,
    given: new Set(Object.keys(values)),
  };
}

/**
 * Resolves a path that a user typed: `deno task` runs in the project's folder, but a relative path means the user's
 * current directory, which Deno passes in `INIT_CWD`. Within the project it stays relative, so that output is short.
 *
 * @param from The user's current directory. @default `INIT_CWD`
 */
export function userPath(path: string, from: string = Deno.env.get("INIT_CWD") ?? ""): string {
  if (isAbsolute(path) || from === "" || from === Deno.cwd()) return path;
  const whole = join(from, path), here = relative(Deno.cwd(), whole);
  return here.startsWith("..") ? whole : here || ".";
}

/** The options with the paths that the user gave resolved by {@linkcode userPath}; defaults lie in the project. */
export async function withUserPaths<S extends OptionSpecs>(
  specs: S,
  options: OptionsOf<S>,
  given: ReadonlySet<string>,
): Promise<OptionsOf<S>> {
  const resolved: Record<string, unknown> = { ...options };
  for (const key of given) {
    const spec = specs[key];
    const placeholder = spec.kind === "text" || spec.kind === "list" ? spec.value ?? "" : "";
    if (!/\b(DIR|FILE|RUN)\b/.test(placeholder)) continue;
    // A name such as "eigen" stands for itself unless there is such a file.
    const isName = async (typed: string) => placeholder.includes("|") && !await exists(userPath(typed));
    const resolve = async (typed: string) => await isName(typed) ? typed : userPath(typed);
    const value = options[key] as string | readonly string[];
    resolved[key] = typeof value === "string" ? await resolve(value) : await Promise.all(value.map(resolve));
  }
  return Object.freeze(resolved) as OptionsOf<S>;
}

/**
 * Runs a task from the command line and ends the process: status 0 on success (or what `main` returns), 2 for a
 * usage error, 1 for a failure. Errors show as one line; `--debug` adds the stack.
 */
export async function runTask<S extends OptionSpecs>(
  task: TaskDescription<S>,
  main: (
    options: OptionsOf<S>,
    positionals: readonly string[],
    given: ReadonlySet<string>,
  ) => Promise<number | void> | number | void,
): Promise<never> {
  // `deno task NAME -- --option`, as npm requires it, passes the "--" on; some tasks give it a meaning.
  const idle = Deno.args[0] === "--" && !task.positionals?.includes("--");
  const all = idle ? Deno.args.slice(1) : Deno.args;
  const debug = all.includes("--debug");
  const fail = (error: unknown): never => {
    const usage = error instanceof UsageError;
    console.error(`${styled("red", "error")}: ${messageOf(error)}`);
    if (debug && error instanceof Error) console.error(error.stack, error.cause ?? "");
    else if (usage) console.error(`deno task ${task.name} --help shows the usage`);
    else console.error("--debug shows the stack trace");
    Deno.exit(usage ? 2 : 1);
  };
  // An unhandled rejection ends the process like any other error, not with Deno's stack trace.
  globalThis.addEventListener("unhandledrejection", ({ reason }) => fail(reason));
  try {
    const args = all.filter((a) => !["--debug", "--help", "-h"].includes(a));
    if (args.length < all.length - Number(debug)) {
      const options = task.helpOptions?.(parseTaskArgs(task, args).options) ?? task.options;
      console.log(helpText({ ...task, options }));
      parseTaskArgs(task, args); // what is wrong with the other words is said all the same
      Deno.exit(0);
    }
    const { options, positionals, given } = parseTaskArgs(task, args);
    const resolved = await withUserPaths(task.options, options, given);
    Deno.exit(await main(resolved, positionals, given) ?? 0);
  } catch (error) {
    return fail(error);
  }
}

/**
 * SIGINT and SIGTERM as a signal that work in progress can heed; a second one ends the process at once.
 *
 * @returns `status` is the exit status that the process then owes: 130 or 143; 0 before any signal.
 */
export function stopSignal(): { readonly signal: AbortSignal; readonly status: number } {
  const controller = new AbortController();
  const stop = { signal: controller.signal, status: 0 };
  for (const [name, status] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
    Deno.addSignalListener(name, () => {
      if (stop.status !== 0) Deno.exit(status);
      stop.status = status;
      console.error(`\n${name}: finishing this step; press again to quit at once`);
      controller.abort();
    });
  }
  return stop;
}
