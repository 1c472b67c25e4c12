/**
 * One description of an option serves the command line, the config file, the help text and validation.
 * A group of options is a plain object of specs; {@linkcode OptionsOf} derives its frozen, typed value.
 *
 * @module
 */
import { UsageError } from "./errors.ts";

/** What all kinds of options have. */
export interface Spec<D> {
  /** Value when none is given; `undefined` means "decided elsewhere", as `help` says. */
  readonly default: D;
  readonly help: string;
}

/** A numeric option. */
export interface NumberSpec<D extends number | undefined = number | undefined> extends Spec<D> {
  readonly kind: "number";
  readonly min?: number;
  readonly max?: number;
  readonly integer?: boolean;
  /** Unit shown in the help, e.g. "m" or "px". */
  readonly unit?: string;
}

/** A string: a path or a name. */
export interface TextSpec<D extends string | undefined = string | undefined> extends Spec<D> {
  readonly kind: "text";
  /**
   * Placeholder in the help. `DIR`, `FILE` and `RUN` in it mark a path, which tasks resolve against the user's current
   * directory: "DIR", "FILE.npy", or "eigen|FILE" for a path or a name.
   */
  readonly value?: string;
  /** What the string must match, and that in words. */
  readonly pattern?: { readonly regexp: RegExp; readonly expected: string };
}

/** An option with a fixed set of values. */
export interface ChoiceSpec<V extends string = string, D extends V | undefined = V | undefined>
  extends Spec<D> {
  readonly kind: "choice";
  readonly choices: readonly V[];
}

/** A yes/no option: `--name` or `--no-name`. */
export interface FlagSpec extends Spec<boolean> {
  readonly kind: "flag";
}

/** Height and width in px. */
export interface Size {
  readonly height: number;
  readonly width: number;
}

/** A size in px: `128x416` on the command line and on disk, {@linkcode Size} in the program. */
export interface SizeSpec<D extends Size | undefined = Size | undefined> extends Spec<D> {
  readonly kind: "size";
}

/** Several names: `a,b` on the command line and on disk, an array in the program. */
export interface ListSpec<
  V extends string = string,
  D extends readonly V[] | undefined = readonly V[] | undefined,
> extends Spec<D> {
  readonly kind: "list";
  /** The allowed names; any where absent. */
  readonly choices?: readonly V[];
  /** Placeholder of one entry in the help; see {@linkcode TextSpec.value}. */
  readonly value: string;
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

/** A spec as it is described, its kind and maybe its default left out. */
export type Given<S extends Spec<unknown>, D> = Omit<S, "kind" | "default"> & { readonly default?: D };

/** Describes a number. Leave `default` out for a value that may stay undefined. */
export function number<const D extends number | undefined = undefined>(
  spec: Given<NumberSpec, D>,
): NumberSpec<D> {
  return { kind: "number", ...spec, default: spec.default as D };
}

/** Describes an integer; see {@linkcode number}. */
export function integer<const D extends number | undefined = undefined>(
  spec: Given<Omit<NumberSpec, "integer">, D>,
): NumberSpec<D> {
  return { kind: "number", integer: true, ...spec, default: spec.default as D };
}

/** Describes a string; see {@linkcode number}. */
export function text<const D extends string | undefined = undefined>(spec: Given<TextSpec, D>): TextSpec<D> {
  return { kind: "text", ...spec, default: spec.default as D };
}

/** Describes a choice between fixed values; see {@linkcode number}. */
export function choice<const V extends string, const D extends V | undefined = undefined>(
  choices: readonly V[],
  spec: { readonly default?: D; readonly help: string },
): ChoiceSpec<V, D> {
  return { kind: "choice", choices, help: spec.help, default: spec.default as D };
}

/** Describes a size in px, its default as text; see {@linkcode number}. */
export function size<const D extends string | undefined = undefined>(
  spec: { readonly default?: D; readonly help: string },
): SizeSpec<D extends string ? Size : undefined> {
  const standard = spec.default === undefined ? undefined : parseSize(spec.default);
  return { kind: "size", ...spec, default: standard as D extends string ? Size : undefined };
}

/** Describes a list of names; see {@linkcode number}. */
export function list<const V extends string = string, const D extends readonly V[] | undefined = undefined>(
  spec: Given<ListSpec<V>, D>,
): ListSpec<V, D> {
  return { kind: "list", ...spec, default: spec.default as D };
}

/** Describes a yes/no option. */
export function flag(spec: { readonly default?: boolean; readonly help: string }): FlagSpec {
  return { kind: "flag", default: spec.default ?? false, help: spec.help };
}

/** The allowed values of an option, as a phrase for errors. */
export function allowedValues(spec: OptionSpec): string {
  switch (spec.kind) {
    case "flag":
      return "true or false";
    case "choice":
      return spec.choices.map((c) => `"${c}"`).join(", ").replace(/, (?=[^,]*$)/, " or ");
    case "text":
      return spec.pattern?.expected ?? "a string";
    case "size":
      return "HEIGHTxWIDTH in px, e.g. 128x416";
    case "list":
      return `${spec.choices ? `some of ${spec.choices.join(", ")}` : "names"}, separated by commas`;
    case "number": {
      const { min, max } = spec;
      const range = min !== undefined && max !== undefined
        ? ` from ${min} to ${max}`
        : min !== undefined
        ? `, at least ${min}`
        : max !== undefined
        ? `, at most ${max}`
        : "";
      return `${spec.integer ? "an integer" : "a number"}${range}${spec.unit ? ` (${spec.unit})` : ""}`;
    }
  }
}

/** `maxDisparity` as the command line spells it: `max-disparity`. */
export function toKebabCase(key: string): string {
  return key.replace(/[A-Z]/g, (c) => "-" + c.toLowerCase());
}

/** The known names closest to a misspelled one, for "did you mean". */
export function nearestNames(name: string, known: readonly string[]): string[] {
  const near = known
    .map((k) => ({ k, d: editDistance(name.toLowerCase(), k.toLowerCase()) }))
    .filter(({ k, d }) => d <= Math.max(2, Math.floor(k.length / 3)));
  const best = Math.min(...near.map(({ d }) => d));
  return near.filter(({ d }) => d === best).slice(0, 3).map(({ k }) => k);
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

/** The typed form of a value that is typed or text; `undefined` where it is not allowed. */
function parseValue(spec: OptionSpec, value: unknown): unknown {
  const allowed = (ok: boolean) => ok ? value : undefined;
  switch (spec.kind) {
    case "flag":
      return allowed(typeof value === "boolean");
    case "choice":
      return allowed(typeof value === "string" && spec.choices.includes(value));
    case "text":
      return allowed(typeof value === "string" && (spec.pattern?.regexp.test(value) ?? true));
    case "number": {
      const { integer, min = -Infinity, max = Infinity } = spec;
      return allowed(
        typeof value === "number" && Number.isFinite(value) && (!integer || Number.isInteger(value)) &&
          value >= min && value <= max,
      );
    }
    case "size": {
      const { height, width }: Partial<Size> = (typeof value === "string" ? parseSize(value) : value) ?? {};
      const whole = (n: unknown) => Number.isSafeInteger(n) && (n as number) >= 0;
      return whole(height) && whole(width) ? Object.freeze({ height, width }) : undefined;
    }
    case "list": {
      const names: unknown = typeof value === "string"
        ? value.split(",").map((name) => name.trim()).filter((name) => name !== "")
        : value;
      const known = (name: unknown) => typeof name === "string" && (spec.choices?.includes(name) ?? true);
      return Array.isArray(names) && names.every(known) ? Object.freeze([...names]) : undefined;
    }
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

/** The same options with other defaults, e.g. those of a preset. */
export function withDefaults<S extends OptionSpecs>(specs: S, defaults: OptionsOf<S>): S {
  return Object.fromEntries(
    Object.entries(specs).map(([key, spec]) => [key, { ...spec, default: defaults[key] }]),
  ) as unknown as S;
}

/**
 * Fills in defaults and validates.
 *
 * @param what What the options configure, for the error: "training", "street".
 * @param specs The group's description.
 * @param given Values by camelCase key; sizes and lists may be typed or text; `undefined` counts as not given.
 * @param spell How the user spells a key, for the error. @default the key itself
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
  spell: (key: string) => string = (key) => key,
): OptionsOf<S> {
  for (const key of Object.keys(given)) {
    if (Object.hasOwn(specs, key)) continue;
    const near = nearestNames(key, Object.keys(specs));
    const hint = near.length
      ? `did you mean ${near.join(" or ")}`
      : `known: ${Object.keys(specs).join(", ")}`;
    throw new UsageError(`Cannot configure ${what}: unknown option "${key}" (${hint})`);
  }
  const out: Record<string, unknown> = {};
  for (const [key, spec] of Object.entries(specs)) {
    const found = given[key] === undefined ? spec.default : given[key];
    out[key] = found === undefined ? undefined : parseValue(spec, found);
    if (found !== undefined && out[key] === undefined) {
      const shown = typeof found === "number" ? found : JSON.stringify(found);
      throw new UsageError(
        `Cannot configure ${what}: ${spell(key)} is ${shown}, expected ${allowedValues(spec)}`,
      );
    }
  }
  return Object.freeze(out) as OptionsOf<S>;
}
