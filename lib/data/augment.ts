/**
 * Augmentation of stereo pairs: flip-and-swap and one color change for both views, with the ranges of Godard et al.
 * (CVPR 2017).
 *
 * Images stay 8-bit until the last moment, so that a color change is one table of 256 values per channel.
 *
 * @module
 */
import { UsageError } from "../base/errors.ts";
import { choice, flag, number, type OptionsOf, resolveOptions, toKebabCase } from "../base/options.ts";
import type { Random } from "../base/random.ts";
import { HINT_STEPS, type HintPair } from "./hints.ts";

/** The augmentation's options. Every range is drawn from uniformly; low = high fixes the value. */
export const augmentationOptions = {
  augment: flag({ default: true, help: "Augment the training pairs." }),
  flipProbability: number({
    default: 0.5,
    min: 0,
    max: 1,
    help: "Probability of mirroring both views and swapping them.",
  }),
  colourProbability: number({
    default: 0.5,
    min: 0,
    max: 1,
    help: "Probability of changing gamma, brightness and color.",
  }),
  gammaLow: number({ default: 0.8, min: 0.01, max: 10, help: "Smallest exponent of the intensities." }),
  gammaHigh: number({ default: 1.2, min: 0.01, max: 10, help: "Largest exponent of the intensities." }),
  brightnessLow: number({ default: 0.5, min: 0, max: 10, help: "Smallest factor for all channels." }),
  brightnessHigh: number({ default: 2, min: 0, max: 10, help: "Largest factor for all channels." }),
  colourLow: number({ default: 0.8, min: 0, max: 10, help: "Smallest factor for each channel separately." }),
  colourHigh: number({ default: 1.2, min: 0, max: 10, help: "Largest factor for each channel separately." }),
  grayProbability: number({ default: 0, min: 0, max: 1, help: "Probability of removing the color." }),
  colourViews: choice(["both", "input"], {
    default: "both",
    help: "Change the colors of both views, or only those that the student sees: losses compare true colors.",
  }),
} as const;

/** Resolved {@linkcode augmentationOptions}. */
export type AugmentationOptions = OptionsOf<typeof augmentationOptions>;

/** What happens to one pair. */
export interface Augmentation {
  /** Mirror both views and swap them: left' = mirror(right), right' = mirror(left), so that disparities stay ≥ 0. */
  readonly flip: boolean;
  readonly gamma: number;
  /** Factor for all channels, after the exponent. */
  readonly brightness: number;
  readonly color: readonly [red: number, green: number, blue: number];
  /** Replace the channels by their mean, after all else. */
  readonly gray: boolean;
}

/** The augmentation that changes nothing. */
export const NO_AUGMENTATION: Augmentation = Object.freeze({
  flip: false,
  gamma: 1,
  brightness: 1,
  color: [1, 1, 1] as const,
  gray: false,
});

/**
 * Fills in defaults and validates; see {@linkcode augmentationOptions}.
 *
 * @throws {UsageError} On a value that is not allowed, or a range whose low end lies above its high end.
 */
export function resolveAugmentation(overrides: Readonly<Record<string, unknown>> = {}): AugmentationOptions {
  const options = resolveOptions("augmentation", augmentationOptions, overrides);
  checkRanges(options);
  return options;
}

/** @throws {UsageError} On a range whose low end lies above its high end. */
export function checkRanges(options: AugmentationOptions): void {
  for (const range of ["gamma", "brightness", "colour"] as const) {
    const low = options[`${range}Low`], high = options[`${range}High`];
    if (low > high) {
      throw new UsageError(
        `Cannot configure augmentation: ${range}Low is ${low} and ${range}High is ${high}, ` +
          `expected --${toKebabCase(`${range}Low`)} at most --${toKebabCase(`${range}High`)}`,
      );
    }
  }
}

/**
 * Draws the augmentation of one pair. Consumes the same count of random numbers whatever the options say, so that
 * changing one range leaves the other draws as they were.
 */
export function drawAugmentation(options: AugmentationOptions, random: Random): Augmentation {
  const flip = random.chance(options.flipProbability);
  const recolor = random.chance(options.colourProbability);
  const gamma = random.uniform(options.gammaLow, options.gammaHigh);
  const brightness = random.uniform(options.brightnessLow, options.brightnessHigh);
  const draw = () => random.uniform(options.colourLow, options.colourHigh);
  const color = [draw(), draw(), draw()] as const;
  const gray = random.chance(options.grayProbability);
  if (!options.augment) return NO_AUGMENTATION;
  return recolor ? { flip, gamma, brightness, color, gray } : { ...NO_AUGMENTATION, flip, gray };
}

/**
 * The color change as a table.
 *
 * @returns [3, 256]: for each channel and 8-bit value v, clip((v/255)^gamma · brightness · color, 0, 1).
 */
export function colorTable({ gamma, brightness, color }: Augmentation): Float32Array {
  const table = new Float32Array(3 * 256);
  for (let v = 0; v < 256; v++) {
    const bright = brightness * (v / 255) ** gamma;
    for (let c = 0; c < 3; c++) table[c * 256 + v] = Math.min(1, bright * color[c]);
  }
  return table;
}

/** A decoded stereo pair. */
export interface PixelPair {
  /** [height, width, 3] interleaved red, green, blue, 0–255. */
  readonly left: Uint8Array;
  readonly right: Uint8Array;
  /** Disparity hints, where they are used. */
  readonly hints?: HintPair;
}

/**
 * Writes one augmented pair into a batch.
 *
 * @param pair Both views, [height, width, 3], 0–255; not modified.
 * @param width Width of the views in px.
 * @param left The batch's left views, float32 [batch, height, width, 3] in [0, 1]; written.
 * @param right The batch's right views; written.
 * @param index Position in the batch.
 * @throws {RangeError} When the sizes do not fit.
 */
export function fillPair(
  pair: PixelPair,
  width: number,
  augmentation: Augmentation,
  left: Float32Array,
  right: Float32Array,
  index: number,
): void {
  const size = pair.left.length, row = 3 * width;
  if (
    pair.right.length !== size || size % row !== 0 || left.length !== right.length ||
    (index + 1) * size > left.length
  ) {
    throw new RangeError(
      `Cannot fill pair ${index} of a batch: views of ${size} and ${pair.right.length} bytes at width ${width} ` +
        `for batches of ${left.length} and ${right.length} values`,
    );
  }
  const table = colorTable(augmentation), { flip, gray } = augmentation;
  const fill = (from: Uint8Array, to: Float32Array) => {
    let at = index * size;
    for (let start = 0; start < size; start += row) {
      for (let x = 0; x < row; x += 3, at += 3) {
        const i = flip ? start + row - 3 - x : start + x;
        to[at] = table[from[i]];
        to[at + 1] = table[256 + from[i + 1]];
        to[at + 2] = table[512 + from[i + 2]];
        if (gray) to[at] = to[at + 1] = to[at + 2] = (to[at] + to[at + 1] + to[at + 2]) / 3;
      }
    }
  };
  fill(flip ? pair.right : pair.left, left);
  fill(flip ? pair.left : pair.right, right);
}

/**
 * Writes the hints of an augmented pair into a batch: mirrored and swapped as its views are.
 *
 * @param hints Both views', [height, width], fixed point; not modified.
 * @param left The batch's left hints, [batch, height, width], fractions of the width; written. So is `right`.
 */
export function fillHints(
  hints: HintPair,
  width: number,
  flip: boolean,
  left: Float32Array,
  right: Float32Array,
  index: number,
): void {
  const fill = (from: Uint16Array, to: Float32Array) => {
    for (let p = 0, at = index * from.length; p < from.length; p++, at++) {
      to[at] = from[flip ? p - 2 * (p % width) + width - 1 : p] / HINT_STEPS;
    }
  };
  fill(flip ? hints.right : hints.left, left);
  fill(flip ? hints.left : hints.right, right);
}
