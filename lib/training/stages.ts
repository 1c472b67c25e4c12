/**
 * The stages of training as one table: which networks each runs and trains, with which loss terms, from which stage's
 * checkpoint it starts; and the learning rate over a stage.
 *
 * @module
 */
import { type LossWeights, SMOOTHNESS_WEIGHT, TERM_NAMES, type TermName } from "../losses/objective.ts";

/** The stages, in order. */
export const STAGE_NAMES = ["half-cycle", "cycle", "teacher", "distill"] as const;
/** A stage's name. */
export type StageName = (typeof STAGE_NAMES)[number];
/** The networks. `teacherStudent` is the teacher's own, frozen student while another one is distilled from it. */
export type NetworkName = "student" | "backward" | "refine" | "teacherStudent";

/** A stage of training. */
export interface Stage {
  /** Networks that it runs. */
  readonly networks: readonly NetworkName[];
  /** Networks that it trains, unless the options say otherwise. */
  readonly trains: readonly NetworkName[];
  /** Its loss weights, unless the options say otherwise. */
  readonly lossWeights: LossWeights;
  /** The stage whose checkpoint it starts from. */
  readonly from?: StageName;
}

const NONE = Object.fromEntries(TERM_NAMES.map((name) => [name, 0])) as LossWeights;
const STUDENT = { photometric: 1, consistency: 1, smoothness: SMOOTHNESS_WEIGHT, hint: 0.3 } as const;
const BACKWARD = { cycle: 1, cycleConsistency: 1, cycleSmoothness: SMOOTHNESS_WEIGHT } as const;
const REFINE = { refined: 1, refinedConsistency: 1, refinedSmoothness: SMOOTHNESS_WEIGHT } as const;

/** The stages by name. */
export const STAGES: Readonly<Record<StageName, Stage>> = {
  "half-cycle": {
    networks: ["student"],
    trains: ["student"],
    lossWeights: { ...NONE, ...STUDENT },
  },
  cycle: {
    networks: ["student", "backward"],
    trains: ["student", "backward"],
    lossWeights: { ...NONE, ...STUDENT, ...BACKWARD },
    from: "half-cycle",
  },
  teacher: {
    networks: ["student", "backward", "refine"],
    // The inconsistency comes from the others: it must not change while the refine network learns what it means.
    trains: ["refine"],
    lossWeights: { ...NONE, ...BACKWARD, ...REFINE },
    from: "cycle",
  },
  distill: {
    networks: ["student", "teacherStudent", "backward", "refine"],
    trains: ["student"],
    // Half of the log difference pulls at the disparities about as strongly as the photometric term does.
    lossWeights: { ...NONE, ...STUDENT, distillation: 0.5, featureDistillation: 1 },
    from: "teacher",
  },
};

/** The options that decide what a stage trains, and how; `TrainingOptions` has them all. */
export type StageOptions =
  & {
    readonly stage: StageName;
    /** Networks that do not learn; `undefined` leaves it to the stage. */
    readonly freeze?: readonly NetworkName[];
    /** Share of the cycle terms' gradient that reaches the student, 0 to 1. */
    readonly cycleGradient: number;
    /** Share of the refined terms' gradient that reaches student and backward network, 0 to 1. */
    readonly refineGradient: number;
    /** What the student learns from the teacher: disparities, features or both. */
    readonly distill: "disp" | "feat" | "both";
    /** Whose disparities they are: the refine network's, or the earlier student's own. */
    readonly teacher: "refined" | "flip";
    /** Where disparity hints come from. */
    readonly hints: "none" | "sgm" | "truth";
  }
  /** Loss weights that replace the stage's. */
  & { readonly [T in TermName as `${T}Weight`]?: number };

/** The networks of a run: the stage's, but for those that self-distillation does without. */
export function networksOf(
  { stage, teacher }: Pick<StageOptions, "stage" | "teacher">,
): readonly NetworkName[] {
  const { networks } = STAGES[stage];
  const alone = stage === "distill" && teacher === "flip";
  return alone ? networks.filter((name) => name === "student" || name === "teacherStudent") : networks;
}

/** The networks that learn in a run. */
export function trainableNetworks(options: StageOptions): readonly NetworkName[] {
  const { stage, freeze } = options;
  return freeze
    ? networksOf(options).filter((n) => n !== "teacherStudent" && !freeze.includes(n))
    : STAGES[stage].trains;
}

/** The networks that a term's gradient reaches, in the order of the chain. */
function reachedBy(term: TermName, { cycleGradient, refineGradient }: StageOptions): readonly NetworkName[] {
  if (term.startsWith("cycle")) return cycleGradient > 0 ? ["backward", "student"] : ["backward"];
  if (term.startsWith("refined")) return refineGradient > 0 ? ["refine", "backward", "student"] : ["refine"];
  return ["student"];
}

/** The loss weights of a run: the options', else the stage's; 0 for terms that would train nothing. */
export function lossWeights(options: StageOptions): LossWeights {
  const trainable = trainableNetworks(options);
  const wanted = (term: TermName) => {
    if (term === "distillation" && options.distill === "feat") return false;
    if (term === "featureDistillation" && options.distill === "disp") return false;
    if (term === "hint" && options.hints === "none") return false;
    return reachedBy(term, options).some((network) => trainable.includes(network));
  };
  const weightOf = (term: TermName) => options[`${term}Weight`] ?? STAGES[options.stage].lossWeights[term];
  return Object.fromEntries(
    TERM_NAMES.map((term) => [term, wanted(term) ? weightOf(term) : 0]),
  ) as LossWeights;
}

/** The learning rate's course; `TrainingOptions` has it. */
export interface ScheduleOptions {
  /** Adam's rate at its highest. */
  readonly learningRate: number;
  /** Shape of the decay. */
  readonly schedule: "polynomial" | "halving" | "constant";
  /** Steps over which the rate rises from 0. */
  readonly warmup: number;
  /** Exponent of the polynomial schedule. */
  readonly decayPower: number;
  /** Share of the rate left at the end of the polynomial schedule. */
  readonly finalRate: number;
}

/**
 * The learning rate of one update.
 *
 * @param step Number of the update, from 0.
 * @param steps Updates in the whole run.
 *
 * @example
 * ```ts
 * import { learningRateAt } from "./stages.ts";
 *
 * const options = { learningRate: 1e-4, schedule: "halving", warmup: 0, decayPower: 0.9, finalRate: 0 } as const;
 * learningRateAt(70, 100, options); // 5e-5
 * ```
 */
export function learningRateAt(step: number, steps: number, options: ScheduleOptions): number {
  const { learningRate, schedule, warmup, decayPower, finalRate } = options;
  if (step < warmup) return learningRate * (step + 1) / (warmup + 1);
  switch (schedule) {
    case "constant":
      return learningRate;
    case "halving":
      return learningRate * (step >= steps * 4 / 5 ? 0.25 : step >= steps * 3 / 5 ? 0.5 : 1);
    case "polynomial": {
      const left = Math.max(0, 1 - (step - warmup) / Math.max(1, steps - warmup));
      return learningRate * (finalRate + (1 - finalRate) * left ** decayPower);
    }
  }
}
