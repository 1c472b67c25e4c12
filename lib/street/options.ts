/**
 * What can be chosen about a set of street scenes.
 *
 * @module
 */
import { UsageError } from "../base/errors.ts";
import {
  flag,
  formatSize,
  type InputOf,
  integer,
  type OptionsOf,
  resolveOptions,
  size,
  text,
} from "../base/options.ts";

/** The options of {@linkcode generateStreet} and of `deno task street`. */
export const STREET_SPECS = {
  out: text({ default: "data/street", value: "DIR", help: "Folder to write, in the layout of KITTI raw." }),
  pairs: integer({
    default: undefined,
    min: 3,
    max: 1_000_000,
    help: "About how many stereo pairs; sets --drives. 600 where neither is given.",
  }),
  drives: integer({
    default: undefined,
    min: 3,
    max: 9999,
    help: "How many drives, each a street of its own; at least 3, one per split.",
  }),
  frames: integer({ default: 6, min: 1, max: 200, help: "Consecutive frames of each drive, 10 a second." }),
  size: size({ default: "128x416", help: "Height and width of the images in px." }),
  seed: integer({ default: 1, min: 0, help: "The same seed gives the same bytes." }),
  workers: integer({
    default: undefined,
    min: 0,
    max: 64,
    help: "Threads that render; 0 renders in this one. As many as cores where not given.",
  }),
  overwrite: flag({ help: "Replace what another call with other options has written there." }),
} as const;

/** The resolved value of {@linkcode STREET_SPECS}, as the user gave it. */
export type StreetOptions = OptionsOf<typeof STREET_SPECS>;

/** What decides the bytes of a set: everything but where and how it is made. Kept in `street.json`. */
export interface StreetPlan {
  /** Whole number that all randomness comes from. */
  readonly seed: number;
  /** How many drives. */
  readonly drives: number;
  /** Frames of each drive. */
  readonly frames: number;
  /** Image height in px. */
  readonly height: number;
  /** Image width in px. */
  readonly width: number;
}

/**
 * Fills in defaults, validates, and works out how many drives there are.
 *
 * @throws {UsageError} On an unknown or disallowed option, or `pairs` and `drives` that contradict each other.
 */
export function planStreet(
  given: InputOf<typeof STREET_SPECS>,
): { readonly options: StreetOptions; readonly plan: StreetPlan } {
  const options = resolveOptions("street", STREET_SPECS, given);
  const { pairs, drives, frames, seed } = options;
  if (pairs !== undefined && drives !== undefined && pairs !== drives * frames) {
    throw new UsageError(
      `Cannot configure street: ${drives} drives of ${frames} frames are ${drives * frames} pairs, ` +
        `but pairs is ${pairs}; give either pairs or drives`,
    );
  }
  const { height, width } = options.size;
  for (
    const [name, value, low, high] of [["height", height, 32, 1024], ["width", width, 64, 4096]] as const
  ) {
    if (value < low || value > high) {
      throw new UsageError(
        `Cannot configure street: size is "${
          formatSize(options.size)
        }", wanted a ${name} of ${low} to ${high} px`,
      );
    }
  }
  const count = Math.max(3, drives ?? Math.ceil((pairs ?? 600) / frames));
  if (count > 9999) {
    throw new UsageError(`Cannot configure street: ${count} drives, wanted at most 9999 (raise --frames)`);
  }
  return { options, plan: { seed, drives: count, frames, height, width } };
}
