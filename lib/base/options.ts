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

/** Height and width in px. */
export interface Size {
  readonly height: number;
  readonly width: number;
}

/** A size in px: `128x416` on the command line and on disk, {@linkcode Size} in the program. */
export interface SizeSpec<D extends Size | undefined = Size | undefined> {
  readonly kind: "size";
  /** Value when none is given; `undefined` means "decided elsewhere", as `help` says. */
  readonly default: D;
  /** One line for the help text. */
  readonly help: string;
}

/** Several names: `a,b` on the command line and on disk, an array in the program. */
export interface ListSpec<
  V extends string = string,
  D extends readonly V[] | undefined = readonly V[] | undefined,
> {
  readonly kind: "list";
  /** All names that are allowed; any where absent. */
  readonly choices?: readonly V[];
  /** Value when none is given; `undefined` means "decided elsewhere", as `help` says. */
  readonly default: D;
  /** What one entry stands for in the help; as {@linkcode TextSpec.value}. */
  readonly value: string;
  /** One line for the help text. */
  readonly help: string;
}

/** A free-text option (a path, a name). */
export interface TextSpec<D extends string | undefined = string | undefined> {
  /** Tells the kinds of options apart. */
  readonly kind: "text";
  /** Value when none is given; `undefined` means "decided elsewhere", as `help` says. */
  readonly default: D;
  /**
   * What the value stands for in the help. `DIR`, `FILE` and `RUN` in it say that it names files, which tasks take
   * relative to the folder where the user stands: "DIR", "FILE.npy", "FILE|NAME".
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
export type OptionSpec = NumberSpec | TextSpec | ChoiceSpec | FlagSpec | SizeSpec | ListSpec;
/** A named group of options; keys are camelCase, the command line shows them in kebab-case. */
export type OptionSpecs = Readonly<Record<string, OptionSpec>>;

/** The value type of one spec. */
export type ValueOf<S> = S extends FlagSpec ? boolean
  : S extends ChoiceSpec<infer V, infer D> ? V | Extract<D, undefined>
  : S extends NumberSpec<infer D> ? number | Extract<D, undefined>
  : S extends TextSpec<infer D> ? string | Extract<D, undefined>
  : S extends SizeSpec<infer D> ? Size | Extract<D, undefined>
  : S extends ListSpec<infer V, infer D> ? readonly V[] | Extract<D, undefined>
  : never;
/** The resolved, read-only value of a group of specs. */
export type OptionsOf<S extends OptionSpecs> = { readonly [K in keyof S]: ValueOf<S[K]> };
/** What {@linkcode resolveOptions} accepts: sizes and lists as text, too. */
export type InputOf<S extends OptionSpecs> = {
  readonly [K in keyof S]?: ValueOf<S[K]> | (S[K] extends SizeSpec | ListSpec ? string : never);
};

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

/** Describes a size in px; see {@linkcode number}. */
export function size<const D extends string | undefined = undefined>(
  spec: { readonly default?: D; readonly help: string },
): SizeSpec<D extends string ? Size : undefined> {
  const standard = spec.default === undefined ? undefined : parseSize(spec.default);
  return { kind: "size", ...spec, default: standard as D extends string ? Size : undefined };
}

/** Describes a list of names; see {@linkcode number}. */
export function list<const V extends string = string, const D extends readonly V[] | undefined = undefined>(
  spec: Omit<ListSpec<V, D>, "kind" | "default"> & { readonly default?: D },
): ListSpec<V, D> {
  return { kind: "list", ...spec, default: spec.default as D };
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
    case "size":
      return "HEIGHTxWIDTH in px, e.g. 128x416";
    case "list":
      return spec.choices
        ? `some of ${spec.choices.join(", ")}, separated by commas`
        : "names separated by commas";
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

/** A value, given in its typed or its textual form, in its typed form; `undefined` where it is not allowed. */
function parseValue(spec: OptionSpec, value: unknown): unknown {
  switch (spec.kind) {
    case "flag":
      return typeof value === "boolean" ? value : undefined;
    case "choice":
      return typeof value === "string" && spec.choices.includes(value) ? value : undefined;
    case "text":
      return typeof value === "string" && (spec.pattern?.regexp.test(value) ?? true) ? value : undefined;
    case "size": {
      const { height, width }: Partial<Size> = (typeof value === "string" ? parseSize(value) : value) ?? {};
      const whole = (n: unknown) => Number.isSafeInteger(n) && (n as number) >= 0;
      return whole(height) && whole(width) ? Object.freeze({ height, width }) : undefined;
    }
    case "list": {
      const names: unknown = typeof value === "string"
        ? value.split(",").map((name) => name.trim()).filter((name) => name !== "")
        : value;
      const allowed = (name: unknown) =>
        typeof name === "string" && (spec.choices === undefined || spec.choices.includes(name));
      return Array.isArray(names) && names.every(allowed) ? Object.freeze([...names]) : undefined;
    }
    case "number":
      return typeof value === "number" && Number.isFinite(value) &&
          (!spec.integer || Number.isInteger(value)) &&
          (spec.min === undefined || value >= spec.min) && (spec.max === undefined || value <= spec.max)
        ? value
        : undefined;
  }
}

/** A typed value as files and the command line spell it: a size as `128x416`, a list as `a,b`. */
export function formatValue(spec: OptionSpec, value: unknown): string | number | boolean | undefined {
  if (spec.kind === "size" && typeof value === "object") return formatSize(value as Size);
  if (Array.isArray(value)) return value.join(",");
  return value as string | number | boolean | undefined;
}

/** Typed values as files spell them; see {@linkcode formatValue}. Keys without a spec stay as they are. */
export function formatOptions(
  specs: OptionSpecs,
  options: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(options).map(([key, value]) => [
      key,
      Object.hasOwn(specs, key) ? formatValue(specs[key], value) : value,
    ]),
  );
}

/**
 * Fills in defaults and validates.
 *
 * @param what What the options configure, for the error: "training", "street".
 * @param specs The group's description.
 * @param given Values by camelCase key; sizes and lists may be typed or text; `undefined` counts as not given.
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
    const found = given[key] === undefined ? spec.default : given[key];
    const value = found === undefined ? undefined : parseValue(spec, found);
    if (found !== undefined && value === undefined) {
      throw new UsageError(
        `Cannot configure ${what}: ${key} is ${
          typeof found === "number" ? found : JSON.stringify(found)
        }, wanted ${allowedValues(spec)}`,
      );
    }
    out[key] = value;
  }
  return Object.freeze(out) as OptionsOf<S>;
}

/** Parses `64x192`, height × width in px. @returns `undefined` where the text is not a size. */
export function parseSize<S extends string>(
  text: S,
): S extends `${number}x${number}` ? Size : Size | undefined {
  const match = /^(\d+)x(\d+)$/.exec(text);
  return (match ? { height: Number(match[1]), width: Number(match[2]) } : undefined) as Size;
}

/** The opposite of {@linkcode parseSize}. */
export function formatSize({ height, width }: Size): string {
  return `${height}x${width}`;
}
