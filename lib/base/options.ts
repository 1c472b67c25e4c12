/**
 * One description of an option serves the command line, the config file, the help text and validation.
 * A group of options is a plain object of specs; {@linkcode OptionsOf} derives its frozen, typed value.
 *
 * @module
 */
import { UsageError } from "./errors.ts";

/** A numeric option. */
export interface NumberSpec<D extends number | undefined = number | undefined> {
  /** Tells the kinds of options apart. */
  readonly kind: "number";
  /** Value when none is given; `undefined` means "decided elsewhere", as `help` says. */
  readonly default: D;
  /** Smallest allowed value. */
  readonly min?: number;
  /** Largest allowed value. */
  readonly max?: number;
  /** Only whole numbers are allowed. */
  readonly integer?: boolean;
  /** Unit shown in the help, e.g. "m" or "px". */
  readonly unit?: string;
  /** One line for the help text. */
  readonly help: string;
}

/** A free-text option (a path, a name, a size such as `128x416`). */
export interface TextSpec<D extends string | undefined = string | undefined> {
  /** Tells the kinds of options apart. */
  readonly kind: "text";
  /** Value when none is given; `undefined` means "decided elsewhere", as `help` says. */
  readonly default: D;
  /**
   * What the value stands for in the help. `DIR`, `FILE` and `RUN` in it say that it names files, which tasks take
   * relative to the folder where the user stands: "DIR", "FILE.npy", "FILE[,FILE…]" for several, "FILE|NAME".
   */
  readonly value?: string;
  /** What the text must match, and how to say so. */
  readonly pattern?: { readonly regexp: RegExp; readonly wanted: string };
  /** One line for the help text. */
  readonly help: string;
}

/** An option with a fixed set of values. */
export interface ChoiceSpec<V extends string = string, D extends V | undefined = V | undefined> {
  /** Tells the kinds of options apart. */
  readonly kind: "choice";
  /** All values that are allowed. */
  readonly choices: readonly V[];
  /** Value when none is given; `undefined` means "decided elsewhere", as `help` says. */
  readonly default: D;
  /** One line for the help text. */
  readonly help: string;
}

/** A yes/no option: `--name` or `--no-name`. */
export interface FlagSpec {
  /** Tells the kinds of options apart. */
  readonly kind: "flag";
  /** Value when it is not mentioned. */
  readonly default: boolean;
  /** One line for the help text. */
  readonly help: string;
}

/** Any option. */
export type OptionSpec = NumberSpec | TextSpec | ChoiceSpec | FlagSpec;
/** A named group of options; keys are camelCase, the command line shows them in kebab-case. */
export type OptionSpecs = Readonly<Record<string, OptionSpec>>;

/** The value type of one spec. */
export type ValueOf<S> = S extends FlagSpec ? boolean
  : S extends ChoiceSpec<infer V, infer D> ? V | Extract<D, undefined>
  : S extends NumberSpec<infer D> ? number | Extract<D, undefined>
  : S extends TextSpec<infer D> ? string | Extract<D, undefined>
  : never;
/** The resolved, read-only value of a group of specs. */
export type OptionsOf<S extends OptionSpecs> = { readonly [K in keyof S]: ValueOf<S[K]> };

/** Describes a number. Leave `default` out for a value that may stay undefined. */
export function number<const D extends number | undefined = undefined>(
  spec: Omit<NumberSpec<D>, "kind" | "default"> & { readonly default?: D },
): NumberSpec<D> {
  return { kind: "number", ...spec, default: spec.default as D };
}

/** Describes a whole number; see {@linkcode number}. */
export function integer<const D extends number | undefined = undefined>(
  spec: Omit<NumberSpec<D>, "kind" | "default" | "integer"> & { readonly default?: D },
): NumberSpec<D> {
  return { kind: "number", integer: true, ...spec, default: spec.default as D };
}

/** Describes a text. Leave `default` out for a value that may stay undefined. */
export function text<const D extends string | undefined = undefined>(
  spec: Omit<TextSpec<D>, "kind" | "default"> & { readonly default?: D },
): TextSpec<D> {
  return { kind: "text", ...spec, default: spec.default as D };
}

/** Describes a choice between fixed values. */
export function choice<const V extends string, const D extends V | undefined = undefined>(
  choices: readonly V[],
  spec: { readonly default?: D; readonly help: string },
): ChoiceSpec<V, D> {
  return { kind: "choice", choices, help: spec.help, default: spec.default as D };
}

/** Describes a yes/no option. */
export function flag(spec: { readonly default?: boolean; readonly help: string }): FlagSpec {
  return { kind: "flag", default: spec.default ?? false, help: spec.help };
}

/** The allowed values of one option, as a phrase for errors and help. */
export function allowedValues(spec: OptionSpec): string {
  switch (spec.kind) {
    case "flag":
      return "true or false";
    case "choice":
      return spec.choices.map((c) => `"${c}"`).join(", ");
    case "text":
      return spec.pattern?.wanted ?? "a text";
    case "number": {
      const what = spec.integer ? "a whole number" : "a number";
      const unit = spec.unit ? ` (${spec.unit})` : "";
      if (spec.min !== undefined && spec.max !== undefined) {
        return `${what} from ${spec.min} to ${spec.max}${unit}`;
      }
      if (spec.min !== undefined) return `${what}, at least ${spec.min}${unit}`;
      if (spec.max !== undefined) return `${what}, at most ${spec.max}${unit}`;
      return what + unit;
    }
  }
}

/** `maxDisparity` as the command line spells it: `max-disparity`. */
export function toKebabCase(key: string): string {
  return key.replace(/[A-Z]/g, (c) => "-" + c.toLowerCase());
}

/** The known names closest to a misspelt one, for "did you mean". */
export function nearestNames(name: string, known: readonly string[]): string[] {
  return known
    .map((k) => ({ k, d: editDistance(name.toLowerCase(), k.toLowerCase()) }))
    .filter(({ k, d }) => d <= Math.max(2, Math.floor(k.length / 3)))
    .sort((a, b) => a.d - b.d)
    .slice(0, 3)
    .map(({ k }) => k);
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length];
}

function check(spec: OptionSpec, value: unknown): boolean {
  switch (spec.kind) {
    case "flag":
      return typeof value === "boolean";
    case "choice":
      return typeof value === "string" && spec.choices.includes(value);
    case "text":
      return typeof value === "string" && (spec.pattern?.regexp.test(value) ?? true);
    case "number":
      return typeof value === "number" && Number.isFinite(value) &&
        (!spec.integer || Number.isInteger(value)) &&
        (spec.min === undefined || value >= spec.min) && (spec.max === undefined || value <= spec.max);
  }
}

/**
 * Fills in defaults and validates.
 *
 * @param what What the options configure, for the error: "training", "street".
 * @param specs The group's description.
 * @param given Values by camelCase key; `undefined` counts as not given.
 * @returns A frozen object with every key of `specs`.
 * @throws {UsageError} On an unknown key or a value that is not allowed, naming key, value and what is allowed.
 *
 * @example
 * ```ts
 * import { integer, resolveOptions } from "./options.ts";
 *
 * const specs = { steps: integer({ default: 100, min: 1, help: "Training steps." }) };
 * resolveOptions("training", specs, { steps: 3 }).steps; // 3
 * ```
 */
export function resolveOptions<S extends OptionSpecs>(
  what: string,
  specs: S,
  given: Readonly<Record<string, unknown>> = {},
): OptionsOf<S> {
  for (const key of Object.keys(given)) {
    if (!Object.hasOwn(specs, key)) {
      const near = nearestNames(key, Object.keys(specs));
      const hint = near.length
        ? `did you mean ${near.join(" or ")}`
        : `known: ${Object.keys(specs).join(", ")}`;
      throw new UsageError(`Cannot configure ${what}: unknown option "${key}" (${hint})`);
    }
  }
  const out: Record<string, unknown> = {};
  for (const [key, spec] of Object.entries(specs)) {
    const value = given[key] === undefined ? spec.default : given[key];
    if (value !== undefined && !check(spec, value)) {
      throw new UsageError(
        `Cannot configure ${what}: ${key} is ${
          typeof value === "number" ? value : JSON.stringify(value)
        }, wanted ${allowedValues(spec)}`,
      );
    }
    out[key] = value;
  }
  return Object.freeze(out) as OptionsOf<S>;
}

/** `128x416` and the like: height × width in px. */
export const SIZE_PATTERN = {
  regexp: /^\d+x\d+$/,
  wanted: "HEIGHTxWIDTH in px, e.g. 128x416",
} as const;

/** Parses a text that matched {@linkcode SIZE_PATTERN} into [height, width] in px. */
export function parseSize(size: string): readonly [height: number, width: number] {
  const [height, width] = size.split("x").map(Number);
  return [height, width];
}
