/**
 * Everything about a training run that a user can choose, with its presets, and the config files that hold it. The
 * command line, config files, `options.json` and checkpoints all use these names.
 *
 * @module
 */
import { UsageError } from "../base/errors.ts";
import { readJson, readText } from "../base/files.ts";
import {
  choice,
  flag,
  formatOptions,
  formatSize,
  type InputOf,
  integer,
  list,
  number,
  type NumberSpec,
  type OptionsOf,
  resolveOptions,
  size,
  withDefaults,
} from "../base/options.ts";
import { augmentationOptions, checkRanges } from "../data/augment.ts";
import { type DataPart, datasetOptions, openDataset, type StereoDataset } from "../data/dataset.ts";
import { loaderOptions } from "../data/loader.ts";
import { ARCHITECTURES, checkSize, sizeMultiple } from "../models/architecture.ts";
import type { RefineOptions } from "../models/chain.ts";
import { networksOf, STAGE_NAMES } from "./stages.ts";

/** The named sets of defaults. */
export const PRESET_NAMES = ["quick", "lite0", "vgg", "resnet50", "paper"] as const;
/** A preset's name. */
export type PresetName = (typeof PRESET_NAMES)[number];

/** Names of {@linkcode ARCHITECTURES}. */
const ARCHITECTURE_NAMES = ["quick", "vgg", "resnet50", "lite0"] as const;

const lossWeight = (term: string): NumberSpec<undefined> =>
  number({ min: 0, help: `Weight of ${term} (default: the stage's).` });

/** The options of a training run, with the defaults that presets share; {@linkcode PRESETS} has each preset's. */
export const trainingOptions = {
  preset: choice(PRESET_NAMES, { default: "quick", help: "Set of defaults; options that are given win." }),
  stage: choice(STAGE_NAMES, { default: "half-cycle", help: "Training stage." }),
  seed: integer({ default: 1, min: 0, help: "Seed of weights, data order and augmentation." }),

  ...datasetOptions,
  view: choice(["left", "right"], { default: "left", help: "The view that the student sees." }),
  size: size({ default: "64x192", help: "Size of the training images, height x width, px." }),
  coarse: number({
    default: 0,
    min: 0,
    max: 1,
    help: "Fraction of the steps, from the start, that train at half the size: cheaper, and long-range " +
      "matches are closer.",
  }),

  architecture: choice(ARCHITECTURE_NAMES, {
    default: "quick",
    help: "Encoder and decoder.",
  }),
  pretrained: flag({
    help: "Start lite0's encoder from weights trained on ImageNet; they are fetched once, 17 MB.",
  }),
  headBias: number({
    default: -2.4,
    min: -10,
    max: 10,
    help: "Initial bias of the disparity heads' logits; -2.4 starts at 0.025 of the width.",
  }),
  padding: choice(["zero", "reflect"], {
    default: "zero",
    help: "What the decoder sees beyond the edges; zeros darken the frame of the maps.",
  }),
  camera: choice(["fraction", "canonical"], {
    default: "fraction",
    help:
      "Predict the disparity of the pair's own baseline, or of a canonical one, so that stereo rigs can be " +
      "mixed; needs calibrated data.",
  }),
  precision: choice(["fp32", "bf16"], { default: "fp32", help: "Number format of the convolutions." }),
  eager: flag({ help: "Run updates operation by operation instead of compiled, for debugging." }),

  steps: integer({ min: 1, help: "Updates; or give --epochs." }),
  epochs: number({ min: 0.001, help: "Passes over the training data, instead of --steps." }),
  batch: integer({ default: 8, min: 1, help: "Image pairs per update." }),
  accumulate: integer({
    default: 1,
    min: 1,
    help: "Parts to split a batch into, to save memory; must divide it.",
  }),
  learningRate: number({ default: 2e-3, min: 0, help: "Adam's peak learning rate." }),
  schedule: choice(["polynomial", "halving", "constant"], {
    default: "polynomial",
    help: "How the rate decays: polynomially to the end, or halved at 3/5 and 4/5 of the steps.",
  }),
  warmup: integer({ default: 30, min: 0, unit: "steps", help: "Steps over which the rate rises from 0." }),
  decayPower: number({ default: 0.9, min: 0, help: "Exponent of the polynomial schedule." }),
  finalRate: number({
    default: 0.02,
    min: 0,
    max: 1,
    help: "Fraction of the rate left at the end (polynomial schedule).",
  }),
  beta1: number({ default: 0.9, min: 0, max: 0.999999, help: "Adam's decay of the first moment." }),
  beta2: number({ default: 0.999, min: 0, max: 0.999999, help: "Adam's decay of the second moment." }),
  clipNorm: number({
    default: 0,
    min: 0,
    help: "Longest gradient of an update; longer ones are shortened; 0: off.",
  }),
  ema: number({
    default: 0,
    min: 0,
    max: 0.999999,
    help: "Decay of a running mean of the weights, which is then validated and saved; 0: off.",
  }),

  ssimWeight: number({
    default: 0.85,
    min: 0,
    max: 1,
    help: "Weight of SSIM in photometric terms; L1 has the rest.",
  }),
  photometricViews: choice(["both", "target", "source"], {
    default: "both",
    help:
      "Views that photometric terms compare: both, or only the synthesized opposite one (target), which trains " +
      "the disparity aligned with it, or only the input view (source), which trains the disparity of the input.",
  }),
  occlusionMask: flag({
    help:
      "Photometric terms leave out what only one view shows, by the network's own disparities: for a second stage.",
  }),
  lossSize: choice(["scale", "full"], {
    default: "scale",
    help: "Compute the losses of coarse disparities at their own size, or upsampled to the image's.",
  }),
  normalizeSmoothness: flag({ help: "Smoothness of the disparity divided by its mean." }),
  border: choice(["edge", "zero"], { default: "edge", help: "What warps read beyond the image." }),
  photometricWeight: lossWeight("the student's photometric term"),
  consistencyWeight: lossWeight("the student's left-right consistency"),
  smoothnessWeight: lossWeight("the student's smoothness"),
  cycleWeight: lossWeight("the cycle term"),
  cycleConsistencyWeight: lossWeight("the backward network's consistency"),
  cycleSmoothnessWeight: lossWeight("the backward network's smoothness"),
  refinedWeight: lossWeight("the refined photometric term"),
  refinedConsistencyWeight: lossWeight("the refined consistency"),
  refinedSmoothnessWeight: lossWeight("the refined smoothness"),
  distillationWeight: lossWeight("disparity distillation"),
  featureDistillationWeight: lossWeight("feature distillation"),
  hints: choice(["none", "sgm", "truth"], {
    default: "none",
    help:
      "Disparities that the student follows besides the images: matched (sgm; half a second per pair, once, kept " +
      "in the cache folder), or true (truth; supervised: the oracle experiment, never for a result).",
  }),
  hintWeight: lossWeight("the student's log difference from the hints"),
  hintMask: flag({
    default: true,
    help: "Follow a hint only where its photometric error is lower than the student's.",
  }),

  freeze: list({
    choices: ["student", "backward", "refine"],
    value: "NETWORK",
    help: "Networks that are not trained, e.g. student,backward (default: the stage's).",
  }),
  cycleGradient: number({
    default: 0,
    min: 0,
    max: 1,
    help: "Fraction of the cycle terms' gradient that reaches the student.",
  }),
  refineGradient: number({
    default: 0,
    min: 0,
    max: 1,
    help: "Fraction of the refined terms' gradient that reaches student and backward network.",
  }),
  gradientRamp: integer({
    default: 0,
    min: 0,
    unit: "steps",
    help: "Steps over which these two rise from 0.",
  }),
  teacherInputs: list({
    choices: ["inconsistency", "disparity", "features"],
    default: ["inconsistency", "disparity"],
    value: "INPUT",
    help: "Inputs of the refine network besides the image: inconsistency, disparity, features.",
  }),
  blindTeacher: flag({ help: "Zero the inconsistency: the control that shows what it contributes." }),
  privilegedTeacher: flag({
    help: "Show the refine network the real opposite view, which is not known at test time (row P).",
  }),
  distill: choice(["disp", "feat", "both"], {
    default: "disp",
    help: "What the student learns from the teacher.",
  }),
  teacher: choice(["refined", "flip"], {
    default: "refined",
    help:
      "Whom the student is distilled from: the refine network, or its own earlier self, averaged with what that says " +
      "of the mirrored image (self-distillation).",
  }),
  teacherArchitecture: choice(ARCHITECTURE_NAMES, {
    help:
      "With --teacher flip: a teacher of another, larger architecture; --from names its run beside the student's.",
  }),
  distillMask: flag({ help: "Follow the teacher only where its photometric error is lower." }),
  distillFrom: choice(["student", "scratch"], {
    default: "student",
    help: "Start from the undistilled student or from new weights.",
  }),

  overfit: integer({
    default: 0,
    min: 0,
    unit: "pairs",
    help:
      "Train and validate on the first pairs alone, as they are, to see whether a network learns them; 0: off.",
  }),
  ...augmentationOptions,
  ...loaderOptions,

  validateEvery: integer({
    default: 200,
    min: 0,
    unit: "steps",
    help: "Steps between validations; 0 for none.",
  }),
  patience: integer({
    default: 0,
    min: 0,
    unit: "validations",
    help: "End early after this many validations in a row that are no better than the best; 0: off.",
  }),
  validationPairs: integer({ default: 64, min: 1, unit: "pairs", help: "Pairs per validation." }),
  selectBy: choice(["photometric", "abs-rel"], {
    default: "photometric",
    help:
      "Which validation the best checkpoint is chosen by: the photometric loss, or abs rel against true depths, which " +
      "is supervision; results must say so.",
  }),
  checkpointEvery: integer({
    default: 500,
    min: 0,
    unit: "steps",
    help: "Steps between checkpoints; 0 for the end only.",
  }),
  checkpointMinutes: number({
    default: 10,
    min: 0,
    unit: "min",
    help: "Time between checkpoints; 0 for none.",
  }),
  keep: integer({ default: 2, min: 1, help: "Last checkpoints to keep, besides the best one." }),
  tensorboard: flag({
    default: true,
    help: "Write TensorBoard event files to the run's folder.",
  }),
} as const;

/** Headings of the groups of options, by the first option of each. */
export const TRAINING_HEADINGS = {
  preset: "Training",
  data: "Data",
  architecture: "Network",
  steps: "Updates",
  ssimWeight: "Losses",
  freeze: "Gradients, teacher and distillation",
  overfit: "Augmentation",
  workers: "Loading",
  validateEvery: "Validation and checkpoints",
} as const;

/** Resolved options of a run. */
export type TrainingOptions = OptionsOf<typeof trainingOptions>;
/** Options as a user gives them: sizes and lists may be text, as on the command line. */
export type TrainingInput = InputOf<typeof trainingOptions>;

const LARGE: TrainingInput = {
  size: "256x512",
  epochs: 50,
  learningRate: 1e-4,
  schedule: "halving",
  warmup: 0,
};

const CHANGES: Readonly<Record<PresetName, TrainingInput>> = {
  // Two CPU cores, minutes: too few updates to learn that colors change, so they do not.
  quick: { steps: 1900, coarse: 0.3, colourProbability: 0 },
  // A strong student from real pairs in an hour on two cores: half-cycle only.
  lite0: {
    architecture: "lite0",
    pretrained: true,
    padding: "reflect",
    camera: "canonical",
    headBias: -2.2,
    size: "128x416",
    steps: 1600,
    batch: 6,
    learningRate: 3e-4,
    warmup: 100,
    clipNorm: 4,
    ema: 0.995,
    photometricViews: "source",
    lossSize: "full",
    consistencyWeight: 0,
    smoothnessWeight: 1e-3,
    normalizeSmoothness: true,
    brightnessLow: 0.7,
    brightnessHigh: 1.4,
    colourLow: 0.9,
    colourHigh: 1.1,
    grayProbability: 0.2,
    colourViews: "input",
  },
  // monodepth's VGG-like network at its own size and schedule.
  vgg: { ...LARGE, architecture: "vgg" },
  // The same with ResNet-50.
  resnet50: { ...LARGE, architecture: "resnet50" },
  // The paper's experiment on KITTI.
  paper: { ...LARGE, architecture: "resnet50", split: "eigen" },
};

/** All options of each preset. */
export const PRESETS = Object.fromEntries(
  PRESET_NAMES.map((
    preset,
  ) => [preset, resolveOptions("training", trainingOptions, { ...CHANGES[preset], preset })]),
) as Readonly<Record<PresetName, TrainingOptions>>;

/** Options without those that only older versions had: their `options.json` and checkpoints still load. */
function withoutRetired(
  { replicas: _1, refineHead: _2, refineHeadScale: _3, ...options }: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  return options;
}

/**
 * Why the refine network of a checkpoint does not run in this version: version 0.1's corrected the student's logits.
 *
 * @param stored The checkpoint's own options.
 * @returns `undefined` where it runs.
 */
export function refusedRefine(stored: Readonly<Record<string, unknown>>): string | undefined {
  return stored.refineHead === "residual"
    ? "its refine network is a correction of the student's logits (refineHead residual), as version 0.1 made them; " +
      "train the teacher again"
    : undefined;
}

/**
 * Fills in a run's options from its preset and checks that they fit together.
 *
 * @param source The file that the options are from, for errors.
 * @throws {UsageError} Naming the option, its value and what is allowed.
 */
export function resolveTraining(
  overrides: Readonly<Record<string, unknown>> = {},
  source?: string,
): TrainingOptions {
  overrides = withoutRetired(overrides);
  const what = source === undefined ? "training" : `training with the options in ${source}`;
  const refuse = (why: string) => new UsageError(`Cannot configure ${what}: ${why}`);
  const { preset } = resolveOptions(what, { preset: trainingOptions.preset }, { preset: overrides.preset });
  // Steps and epochs are two ways to say the same: either replaces the preset's.
  const own = overrides.steps !== undefined || overrides.epochs !== undefined;
  const defaults = own ? { ...PRESETS[preset], steps: undefined, epochs: undefined } : PRESETS[preset];
  const options = resolveOptions(what, withDefaults(trainingOptions, defaults), overrides);
  checkRanges(options);
  const { steps, epochs, batch, accumulate, coarse } = options;
  if (steps !== undefined && epochs !== undefined) {
    throw refuse(`steps is ${steps} and epochs is ${epochs}, expected only one of them`);
  }
  if (batch % accumulate !== 0) {
    throw refuse(`accumulate is ${accumulate}, expected a divisor of batch, ${batch}`);
  }
  if (options.stage === "distill" && options.teacher === "flip") {
    const unfit = options.view === "right"
      ? "view is right, expected left"
      : options.distillMask
      ? "distillMask is set, which compares a refine network with the student"
      : options.distill !== "disp" && `distill is ${options.distill}, expected disp`;
    if (unfit) throw refuse(`teacher is flip and ${unfit}`);
  } else if (options.teacherArchitecture) {
    throw refuse(
      `teacherArchitecture is ${options.teacherArchitecture}, stage ${options.stage} and teacher ${options.teacher}, ` +
        "expected stage distill and teacher flip",
    );
  }
  if (options.occlusionMask && options.photometricViews !== "both") {
    throw refuse(
      `occlusionMask is set and photometricViews is ${options.photometricViews}, expected both: the mask needs both ` +
        "disparities",
    );
  }
  if (options.photometricViews === "source") {
    const needs = networksOf(options).includes("backward")
      ? `stage is ${options.stage}, whose backward network sees what the other disparity, that of the opposite view, ` +
        "synthesizes"
      : options.view === "right" &&
        "view is right, where the other disparity, that of the left view, is evaluated";
    if (needs) {
      throw refuse(
        `photometricViews is source and ${needs}: source does not train it; give --photometric-views both`,
      );
    }
  }
  if (options.patience > 0 && options.validateEvery === 0) {
    throw refuse(`patience is ${options.patience} and validateEvery is 0: nothing is validated`);
  }
  if (options.pretrained && options.architecture !== "lite0") {
    throw refuse(`pretrained is true and architecture is ${options.architecture}, expected lite0`);
  }
  const architecture = ARCHITECTURES[options.architecture], { height, width } = options.size;
  checkSize(architecture, height, width);
  const smallest = Math.min(height, width) / (coarse > 0 ? 2 : 1);
  if (options.padding === "reflect" && smallest < 2 * sizeMultiple(architecture)) {
    throw refuse(`padding is reflect and size is ${formatSize(options.size)}: too small to be mirrored`);
  }
  const multiple = 2 * sizeMultiple(architecture);
  if (coarse > 0 && (height % multiple !== 0 || width % multiple !== 0)) {
    const origin = overrides.coarse === undefined ? ` (the default of preset ${preset})` : "";
    const fit = (n: number) => Math.max(multiple, Math.round(n / multiple) * multiple);
    throw refuse(
      `size is ${
        formatSize(options.size)
      }, but coarse is ${coarse}${origin} and trains at half the size first, ` +
        `expected multiples of ${multiple} px; give --coarse 0, or e.g. --size ${fit(height)}x${fit(width)}`,
    );
  }
  // First and last loss compare only at one size.
  return options.overfit > 0 ? { ...options, augment: false, coarse: 0 } : options;
}

/** The options as `options.json` and checkpoints hold them: sizes and lists as text. */
export function storedOptions(options: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return formatOptions(trainingOptions, options);
}

/** Opens a part of a run's data; to overfit, the first training pairs in place of any. */
export async function openPart(options: TrainingOptions, part: DataPart): Promise<StereoDataset> {
  const { data, split, holdout, cropBottom, overfit } = options;
  const dataset = await openDataset({ data, split, holdout, cropBottom, part: overfit ? "train" : part });
  return overfit ? { ...dataset, pairs: dataset.pairs.slice(0, overfit) } : dataset;
}

/** What the refine network sees in a run. */
export function refineOptions(
  options: Pick<TrainingOptions, "teacherInputs" | "blindTeacher" | "privilegedTeacher">,
): RefineOptions {
  return {
    inputs: options.teacherInputs,
    blind: options.blindTeacher,
    privileged: options.privilegedTeacher,
  };
}

/** Options that may differ from worker to worker: where the data lie and how they are read. */
export const PLACE: readonly string[] = ["data", ...Object.keys(loaderOptions)];

/** Options that may differ when a run is resumed: they decide where and how it runs, not its result. */
const NEUTRAL: readonly string[] = [
  ...PLACE,
  "validateEvery",
  "patience",
  "validationPairs",
  "checkpointEvery",
  "checkpointMinutes",
  "keep",
  "tensorboard",
  "eager",
];

/**
 * The options of a resumed run: its own, with those overrides that do not change its result.
 *
 * @param extend Also accept more steps or epochs. @default false
 * @throws {UsageError} When other overrides differ from the run's own options, naming them.
 */
export function resumedOptions(
  own: TrainingOptions,
  overrides: Readonly<Record<string, unknown>>,
  extend = false,
): Record<string, unknown> {
  const options = storedOptions(own);
  const refused: string[] = [];
  for (const [key, value] of Object.entries(storedOptions(overrides))) {
    if (value === undefined || value === options[key]) continue;
    const more = (key === "steps" || key === "epochs") && Number(value) > Number(options[key]);
    if (NEUTRAL.includes(key) || extend && more) options[key] = value;
    else refused.push(`${key} is ${JSON.stringify(options[key])} there and ${JSON.stringify(value)} now`);
  }
  if (refused.length) {
    throw new UsageError(
      `Cannot resume the run with other options: ${refused.join(", ")}; leave them out, or start a new run ` +
        "with --from and another --out",
    );
  }
  return options;
}

/** The stages of `deno task train`: one, or all of them in a row. */
const configStage = {
  stage: choice([...STAGE_NAMES, "all"], {
    default: "half-cycle",
    help: "Training stage, or all of them in a row.",
  }),
};

/** The options of `deno task train` on its command line and in config files, with a preset's defaults. */
export function configOptions(
  preset: PresetName = "quick",
): Omit<typeof trainingOptions, "stage"> & typeof configStage {
  return { ...withDefaults(trainingOptions, PRESETS[preset]), ...configStage };
}

/** A key that a flat JSON object has twice; `JSON.parse` would silently keep the last value. */
function repeatedKey(json: string): string | undefined {
  const keys = [...json.matchAll(/("(?:[^"\\]|\\.)*")(\s*:)?/g)].filter(([, , colon]) => colon)
    .map(([, key]) => JSON.parse(key) as string);
  return keys.find((key, i) => keys.indexOf(key) !== i);
}

/** The values in a JSON file, checked one by one; no defaults are filled in. */
async function readConfig(path: string): Promise<Record<string, unknown>> {
  const parsed = await readJson(path);
  const refuse = (why: string) => new UsageError(`Cannot read the options in ${path}: ${why}`);
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    throw refuse('expected a JSON object, e.g. {"seed": 2}');
  }
  const repeated = repeatedKey(await readText(path));
  if (repeated !== undefined) throw refuse(`"${repeated}" is there twice, expected once`);
  const { $schema, ...values } = withoutRetired(parsed as Record<string, unknown>);
  if ($schema !== undefined && typeof $schema !== "string") {
    throw refuse(`$schema is ${JSON.stringify($schema)}, expected a string`);
  }
  resolveOptions(`training with the options in ${path}`, configOptions(), values);
  return values;
}

/**
 * Options from a config file under those of the command line. A run's own `options.json` is such a file.
 *
 * @param path The config file, if any.
 * @returns The values that were given, without the preset's or any defaults.
 * @throws {CyclopsError} When the file cannot be read or is not JSON.
 * @throws {UsageError} When it is not an object, has a key twice, an unknown key or a value that is not allowed.
 *
 * @example
 * ```ts ignore
 * const overrides = await readTraining("configs/kitti.json", { seed: 2 });
 * const options = resolveTraining(overrides);
 * ```
 */
export async function readTraining(
  path: string | undefined,
  commandLine: Readonly<Record<string, unknown>>,
): Promise<Record<string, unknown>> {
  if (path === undefined) return { ...commandLine };
  const file = await readConfig(path);
  // Steps and epochs are two ways to say the same: the command line's replaces the file's, whichever that is.
  if (commandLine.steps !== undefined || commandLine.epochs !== undefined) {
    delete file.steps;
    delete file.epochs;
  }
  return { ...file, ...commandLine };
}
