/**
 * What every task shares: options from the command line, `--help`, and errors a person can read.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { bold, dim, red, setColorEnabled } from "@std/fmt/colors";
import { messageOf, UsageError } from "../lib/base/errors.ts";
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
import { withUserPaths } from "./_paths.ts";

/** A task's face: its name, its options and how it is called. */
export interface TaskDescription<S extends OptionSpecs> {
  /** As in `deno task NAME`. */
  readonly name: string;
  /** One or two sentences for the top of the help. */
  readonly summary: string;
  readonly options: S;
  /**
   * What the words that are no options stand for, e.g. "IMAGE…"; none are taken when absent. With "--" in it what
   * follows a "--" is theirs, even when it looks like an option.
   */
  readonly positionals?: string;
  /** Whole command lines shown at the end of the help. */
  readonly examples?: readonly string[];
}

const COMMON = { help: "Show this help.", debug: "Show stack traces of errors." } as const;

/** The help text of a task. */
export function helpText<S extends OptionSpecs>(task: TaskDescription<S>): string {
  const rows = Object.entries(task.options).map(([key, spec]) => [flagName(key, spec), describe(spec)]);
  for (const [name, help] of Object.entries(COMMON)) rows.push([`--${name}`, help]);
  const width = Math.max(...rows.map(([name]) => name.length));
  const lines = [
    `${bold(`deno task ${task.name}`)}${task.positionals ? ` ${task.positionals}` : ""} [options]`,
    "",
    task.summary,
    "",
    "Options",
    ...rows.map(([name, help]) => `  ${name.padEnd(width)}  ${help}`),
  ];
  if (task.examples?.length) lines.push("", "Examples", ...task.examples.map((e) => `  ${dim(e)}`));
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
  const standard = spec.kind === "flag"
    ? (spec.default ? "yes" : undefined)
    : formatValue(spec, spec.default);
  if (standard !== undefined) notes.push(`default: ${standard}`);
  return notes.length ? `${spec.help} (${notes.join(", ")})` : spec.help;
}

/**
 * Reads a command line into options and positional words.
 *
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
  const keys = new Map(Object.keys(task.options).map((key) => [toKebabCase(key), key]));
  const isFlag = (name: string) => task.options[keys.get(name)!].kind === "flag";
  const flags = [...keys.keys()].filter(isFlag);
  const valued = [...keys.keys()].filter((name) => !isFlag(name));
  const isNumber = (name: string) => keys.has(name) && task.options[keys.get(name)!].kind === "number";
  args = joinNegative(args, isNumber);
  const parsed = parseArgs(args, {
    boolean: flags,
    negatable: flags,
    string: [...valued, "_"], // "_": a file may be called 01
    collect: valued,
    unknown: (word, name) => {
      if (name === undefined) return;
      const near = nearestNames(name, [...keys.keys()]);
      const hint = near.length
        ? `did you mean ${near.map((n) => "--" + n).join(" or ")}?`
        : `deno task ${task.name} --help lists the options`;
      throw new UsageError(`Cannot run ${task.name}: unknown option ${word} (${hint})`);
    },
  });
  const values: Record<string, unknown> = {};
  const given = new Set<string>();
  for (const [name, key] of keys) {
    const spec = task.options[key];
    const mentioned = args.some((a) =>
      a === `--${name}` || a === `--no-${name}` || a.startsWith(`--${name}=`)
    );
    if (!mentioned) continue;
    given.add(key);
    if (spec.kind === "flag") {
      const odd = args.find((a) => a.startsWith(`--${name}=`) && !/=(true|false)$/.test(a));
      if (odd) throw new UsageError(`Cannot run ${task.name}: ${odd}, wanted --${name} or --no-${name}`);
      values[key] = parsed[name];
      continue;
    }
    const all = parsed[name] as string[] | undefined;
    if (!all?.length || all.at(-1) === "") {
      throw new UsageError(`Cannot run ${task.name}: --${name} needs a value, ${allowedValues(spec)}`);
    }
    if (all.length > 1) {
      throw new UsageError(`Cannot run ${task.name}: --${name} is given ${all.length} times, wanted once`);
    }
    const word = all[0];
    values[key] = spec.kind === "number" ? (word.trim() === "" ? NaN : Number(word)) : word;
    if (spec.kind === "number" && !Number.isFinite(values[key])) {
      throw new UsageError(`Cannot run ${task.name}: --${name} is "${word}", wanted ${allowedValues(spec)}`);
    }
  }
  const positionals = parsed._.map(String);
  if (positionals.length && !task.positionals) {
    throw new UsageError(
      `Cannot run ${task.name}: "${positionals[0]}" is not an option (options start with --)`,
    );
  }
  return { options: resolveOptions(task.name, task.options, values), positionals, given };
}

/** `--rate -0.5` as `--rate=-0.5`: the parser would take the number for an option. */
function joinNegative(args: readonly string[], isNumber: (name: string) => boolean): string[] {
  const joined: string[] = [];
  for (const arg of args) {
    const last = joined.at(-1);
    if (last?.startsWith("--") && isNumber(last.slice(2)) && /^-\.?\d/.test(arg)) {
      joined[joined.length - 1] = `${last}=${arg}`;
    } else joined.push(arg);
  }
  return joined;
}

/**
 * Runs a task from the command line and ends the process: status 0 on success (or what `main` returns), 2 for a
 * wrong call, 1 for a failure. Errors show as one line; `--debug` adds the stack.
 */
export async function runTask<S extends OptionSpecs>(
  task: TaskDescription<S>,
  main: (
    options: OptionsOf<S>,
    positionals: readonly string[],
    given: ReadonlySet<string>,
  ) => Promise<number | void> | number | void,
): Promise<never> {
  if (!Deno.stdout.isTerminal()) setColorEnabled(false);
  // `deno task NAME -- --option`, as npm wants it, gives the "--" on; some tasks mean something by it.
  const idle = Deno.args[0] === "--" && !task.positionals?.includes("--");
  let args = idle ? Deno.args.slice(1) : Deno.args;
  const debug = args.includes("--debug");
  args = args.filter((a) => a !== "--debug");
  if (args.includes("--help") || args.includes("-h")) {
    console.log(helpText(task));
    Deno.exit(0);
  }
  const fail = (error: unknown): never => {
    const usage = error instanceof UsageError;
    console.error(`${red("error")}: ${messageOf(error)}`);
    if (debug && error instanceof Error) console.error(error.stack, error.cause ?? "");
    else if (usage) console.error(`deno task ${task.name} --help shows how it is called`);
    else console.error("--debug shows where it happened");
    Deno.exit(usage ? 2 : 1);
  };
  // What nobody waited for ends the process as everything else does, and not with Deno's stack trace.
  globalThis.addEventListener("unhandledrejection", ({ reason }) => fail(reason));
  try {
    const { options, positionals, given } = parseTaskArgs(task, args);
    const spelt = await withUserPaths(task.options, options, given);
    Deno.exit(await main(spelt, positionals, given) ?? 0);
  } catch (error) {
    return fail(error);
  }
}

/** Ctrl-C and a polite kill, as something that work in progress can heed; a second one ends the process at once. */
export interface StopSignal {
  readonly signal: AbortSignal;
  /** The exit status that the process then owes: 130 or 143; 0 while nothing was asked. */
  readonly status: number;
}

/** Listens for SIGINT and SIGTERM. */
export function stopSignal(): StopSignal {
  const controller = new AbortController();
  const stop = { signal: controller.signal, status: 0 };
  for (const [name, status] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
    Deno.addSignalListener(name, () => {
      if (stop.status !== 0) Deno.exit(status);
      stop.status = status;
      console.error(`\n${name}: finishing this step; again to end at once`);
      controller.abort();
    });
  }
  return stop;
}
