/**
 * Everything about a training run that a user can choose, with its presets. The command line, the config file and the
 * checkpoint all use these names.
 *
 * @module
 */
import { UsageError } from "../base/errors.ts";
import {
  choice,
  flag,
  formatOptions,
  type InputOf,
  integer,
  list,
  number,
  type OptionsOf,
  resolveOptions,
  size,
} from "../base/options.ts";
import { augmentationOptions } from "../data/augment.ts";
import { loaderOptions } from "../data/loader.ts";
import { datasetOptions } from "../data/dataset.ts";
import { ARCHITECTURES, checkSize } from "../models/architecture.ts";
import type { RefineOptions } from "../models/chain.ts";
import { STAGE_NAMES } from "./stages.ts";

/** The named sets of defaults. */
export const PRESET_NAMES = ["quick", "vgg", "resnet50", "paper"] as const;
/** A preset's name. */
export type PresetName = (typeof PRESET_NAMES)[number];

const weight = (what: string) => number({ min: 0, help: `Weight of ${what} (default: the stage's).` });

/** The options of a training run. Defaults are those of preset `quick`. */
export const trainingOptions = {
  preset: choice(PRESET_NAMES, { default: "quick", help: "Set of defaults; given options win over it." }),
  stage: choice(STAGE_NAMES, { default: "half-cycle", help: "Stage of training." }),
  seed: integer({ default: 1, min: 0, help: "Seed of weights, data order and augmentation." }),

  ...datasetOptions,
  view: choice(["left", "right"], { default: "left", help: "The view that the student sees." }),
  size: size({ default: "64x192", help: "Size of the images in training, height x width, px." }),

  coarse: number({
    default: 0,
    min: 0,
    max: 1,
    help:
      "Share of the steps, at the beginning, that see images of half the size: cheaper, and far matches are near.",
  }),
  architecture: choice(["quick", "vgg", "resnet50"], { default: "quick", help: "Encoder and decoder." }),
  headBias: number({
    default: -2.4,
    min: -10,
    max: 10,
    help: "Initial bias of the disparity heads' logits; -2.4 starts at 0.025 of the width.",
  }),

  steps: integer({ min: 1, help: "Updates; --epochs instead counts passes over the data." }),
  epochs: number({ min: 0.001, help: "Passes over the training data." }),
  batch: integer({ default: 8, min: 1, help: "Image pairs an update." }),
  accumulate: integer({
    default: 1,
    min: 1,
    help: "Parts that a batch is cut into, to save memory; must divide it.",
  }),
  replicas: integer({
    default: 1,
    min: 1,
    max: 256,
    help: "Copies of the networks that share each batch, a thread each; for small networks on CPUs.",
  }),
  learningRate: number({ default: 2e-3, min: 0, help: "Adam's learning rate at its highest." }),
  schedule: choice(["polynomial", "halving", "constant"], {
    default: "polynomial",
    help: "How the rate falls: polynomially to the end, or halved at 3/5 and 4/5 of the steps.",
  }),
  warmup: integer({ default: 30, min: 0, unit: "steps", help: "Steps over which the rate rises from 0." }),
  decayPower: number({ default: 0.9, min: 0, help: "Exponent of the polynomial schedule." }),
  finalRate: number({
    default: 0.02,
    min: 0,
    max: 1,
    help: "Share of the rate left at the end (polynomial).",
  }),
  beta1: number({ default: 0.9, min: 0, max: 0.999999, help: "Adam's decay of the first moment." }),
  beta2: number({ default: 0.999, min: 0, max: 0.999999, help: "Adam's decay of the second moment." }),

  ssimWeight: number({
    default: 0.85,
    min: 0,
    max: 1,
    help: "Share of SSIM in photometric terms; L1 has the rest.",
  }),
  photometricViews: choice(["target", "both"], {
    default: "target",
    help: "Compare the produced view alone, or the seen one too.",
  }),
  border: choice(["edge", "zero"], { default: "edge", help: "What warps read beyond the image." }),
  photometricWeight: weight("the student's photometric term"),
  consistencyWeight: weight("the student's left-right consistency"),
  smoothnessWeight: weight("the student's smoothness"),
  cycleWeight: weight("the cycle term"),
  cycleConsistencyWeight: weight("the backward network's consistency"),
  cycleSmoothnessWeight: weight("the backward network's smoothness"),
  refinedWeight: weight("the refined photometric term"),
  refinedConsistencyWeight: weight("the refined consistency"),
  refinedSmoothnessWeight: weight("the refined smoothness"),
  distillationWeight: weight("distillation of disparities"),
  featureDistillationWeight: weight("distillation of features"),

  freeze: list({
    choices: ["student", "backward", "refine"],
    value: "NETWORK",
    help: "Networks that do not learn, e.g. student,backward (default: the stage's).",
  }),
  cycleGradient: number({
    default: 0,
    min: 0,
    max: 1,
    help: "How much of the cycle terms' gradient reaches the student.",
  }),
  refineGradient: number({
    default: 0,
    min: 0,
    max: 1,
    help: "How much of the refined terms' gradient reaches student and backward network.",
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
    help: "What the refine network sees besides the image: inconsistency, disparity, features.",
  }),
  blindTeacher: flag({ help: "Zero the inconsistency: the control that shows what it brings." }),
  privilegedTeacher: flag({ help: "Feed the teacher the real opposite view's inconsistency (row P)." }),
  refineHead: choice(["residual", "scratch"], {
    default: "residual",
    help: "The refine network corrects the student's logits, or predicts its own.",
  }),
  refineHeadScale: number({
    default: 0.1,
    min: 0,
    max: 1,
    help: "Initial weights of a residual head against He's.",
  }),
  distill: choice(["disp", "feat", "both"], {
    default: "disp",
    help: "What the student learns from the teacher.",
  }),
  distillMask: flag({ help: "Follow the teacher only where its photometric error is the lower one." }),
  distillFrom: choice(["student", "scratch"], {
    default: "student",
    help: "Start from the undistilled student or from new weights.",
  }),

  ...augmentationOptions,
  ...loaderOptions,

  validateEvery: integer({
    default: 200,
    min: 0,
    unit: "steps",
    help: "Steps between validations; 0 for none.",
  }),
  validationPairs: integer({ default: 64, min: 1, unit: "pairs", help: "Pairs in a validation." }),
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
  keep: integer({ default: 2, min: 1, help: "Last checkpoints kept, besides the best." }),
  tensorboard: flag({
    default: true,
    help: "Write event files for TensorBoard into the run's folder (backend tensorflow).",
  }),
  precision: choice(["fp32", "bf16"], { default: "fp32", help: "Number format of the convolutions." }),
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

/** What each preset sets; everything else keeps its default. */
export const PRESETS: Readonly<Record<PresetName, TrainingInput>> = {
  /** Two CPU cores, minutes: too few updates to learn that colours change, so they do not. */
  quick: { steps: 1900, replicas: 2, coarse: 0.3, photometricViews: "both", colourProbability: 0 },
  /** monodepth's VGG-like network at its own size and schedule. */
  vgg: { ...LARGE, architecture: "vgg" },
  /** The same with ResNet-50. */
  resnet50: { ...LARGE, architecture: "resnet50" },
  /** The paper's experiment on KITTI. */
  paper: { ...LARGE, architecture: "resnet50", split: "eigen" },
};

/**
 * Fills in a run's options from its preset and checks that they fit together.
 *
 * @throws {UsageError} Naming the option, its value and what is allowed.
 */
export function resolveTraining(given: Readonly<Record<string, unknown>> = {}): TrainingOptions {
  const preset =
    resolveOptions("training", { preset: trainingOptions.preset }, { preset: given.preset }).preset;
  const chosen = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  const defaults: Record<string, unknown> = { ...PRESETS[preset] };
  // Steps and epochs are two ways to say the same: a given one replaces the preset's, whichever that is.
  if (chosen.steps !== undefined || chosen.epochs !== undefined) {
    delete defaults.steps;
    delete defaults.epochs;
  }
  const options = resolveOptions("training", trainingOptions, { ...defaults, ...chosen });
  if (options.steps !== undefined && options.epochs !== undefined) {
    throw new UsageError(
      `Cannot configure training: steps is ${options.steps} and epochs is ${options.epochs}, wanted only one of them`,
    );
  }
  const { height, width } = options.size;
  checkSize(ARCHITECTURES[options.architecture], height, width);
  if (options.coarse > 0) {
    checkSize(
      ARCHITECTURES[options.architecture],
      height / 2,
      width / 2,
      "half the size, as --coarse wants it",
    );
  }
  if (options.batch % options.accumulate !== 0) {
    throw new UsageError(
      `Cannot configure training: accumulate is ${options.accumulate}, wanted a divisor of batch, ${options.batch}`,
    );
  }
  return options;
}

/** The options as `options.json` and checkpoints hold them: sizes and lists as text. */
export function storedOptions(options: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return formatOptions(trainingOptions, options);
}

/** How the refine network is wired in a run. */
export function refineOptions(
  options: Pick<TrainingOptions, "teacherInputs" | "refineHead" | "blindTeacher">,
): RefineOptions {
  return {
    inputs: options.teacherInputs,
    residual: options.refineHead === "residual",
    blind: options.blindTeacher,
  };
}
