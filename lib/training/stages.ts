/**
 * The stages of training as one table: what each runs, what it moves, which terms it sums, what it starts from.
 *
 * @module
 */
import { SMOOTHNESS_WEIGHT, type TermWeights } from "./objective.ts";

/** The stages, in order. */
export const STAGE_NAMES = ["half-cycle", "cycle", "teacher", "distill"] as const;
/** A stage's name. */
export type StageName = (typeof STAGE_NAMES)[number];
/** The networks there are. `guide` is the teacher's own, frozen student while another one is distilled. */
export type NetworkName = "student" | "backward" | "refine" | "guide";

/** What a stage does. */
export interface Stage {
  /** Networks that must exist. */
  readonly networks: readonly NetworkName[];
  /** Networks that learn unless frozen. */
  readonly moves: readonly NetworkName[];
  /** Weights of its loss terms; the options' weights multiply these, 0 leaves a term out. */
  readonly terms: TermWeights;
  /** The stage whose checkpoint it starts from, if any. */
  readonly from?: StageName;
}

const NONE: TermWeights = {
  photometric: 0,
  consistency: 0,
  smoothness: 0,
  cycle: 0,
  cycleConsistency: 0,
  cycleSmoothness: 0,
  refined: 0,
  refinedConsistency: 0,
  refinedSmoothness: 0,
  distillation: 0,
  featureDistillation: 0,
};
const STUDENT = { photometric: 1, consistency: 1, smoothness: SMOOTHNESS_WEIGHT } as const;
const BACKWARD = { cycle: 1, cycleConsistency: 1, cycleSmoothness: SMOOTHNESS_WEIGHT } as const;
const REFINE = { refined: 1, refinedConsistency: 1, refinedSmoothness: SMOOTHNESS_WEIGHT } as const;

/** The table. */
export const STAGES: Readonly<Record<StageName, Stage>> = {
  "half-cycle": {
    networks: ["student"],
    moves: ["student"],
    terms: { ...NONE, ...STUDENT },
  },
  cycle: {
    networks: ["student", "backward"],
    moves: ["student", "backward"],
    terms: { ...NONE, ...STUDENT, ...BACKWARD },
    from: "half-cycle",
  },
  teacher: {
    networks: ["student", "backward", "refine"],
    moves: ["backward", "refine"],
    terms: { ...NONE, ...BACKWARD, ...REFINE },
    from: "cycle",
  },
  distill: {
    networks: ["student", "guide", "backward", "refine"],
    moves: ["student"],
    terms: { ...NONE, ...STUDENT, distillation: 1, featureDistillation: 1 },
    from: "teacher",
  },
};
