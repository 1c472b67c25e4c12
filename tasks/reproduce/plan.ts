/**
 * The ablation as a list of trainings: what each starts from, how many updates it gets relative to the others, and
 * which row of the table it produces. Rows that are compared get the same number of updates of the student.
 *
 * @module
 */
import type { TrainingInput } from "../../lib/training/options.ts";
import type { StageName } from "../../lib/training/stages.ts";

/** One training of the ablation. */
export interface AblationJob {
  /** Folder name, unique within a seed. */
  readonly name: string;
  /** The row of the table that it produces, if any. */
  readonly row?: string;
  readonly stage: StageName;
  /** Jobs whose weights it starts from; later ones win. */
  readonly from: readonly string[];
  /** Updates, relative to the half-cycle's; `"cost"`: as much time as row S needs beyond the half-cycle. */
  readonly share: number | "cost";
  /** What differs from the preset. */
  readonly options: TrainingInput;
  /** Whose disparity the row evaluates. */
  readonly network: "student" | "teacher";
}

/** Updates of every row after the half-cycle, relative to it. */
const CONTINUED = 0.5;
/** Updates of each refine network. */
const TEACHER = 0.4;

const teacher = (name: string, row: string, options: TrainingInput): AblationJob => ({
  name,
  row,
  stage: "teacher",
  from: ["cycle", "half-cycle"],
  share: TEACHER,
  options: { freeze: "student,backward", ...options },
  network: "teacher",
});
const student = (name: string, row: string, from: string, options: TrainingInput = {}): AblationJob => ({
  name,
  row,
  stage: "distill",
  from: ["cycle", from],
  share: CONTINUED,
  options,
  network: "student",
});

/**
 * All trainings of one seed, in an order in which each finds what it starts from.
 *
 * The backward network learns on the frozen half-cycle student (`cycle`), so that every teacher corrects the very
 * student that HC-continued starts from; row C is the paper's joint training, where the cycle's gradient reaches the
 * student.
 */
export const ABLATION_JOBS: readonly AblationJob[] = [
  { name: "half-cycle", row: "HC", stage: "half-cycle", from: [], share: 1, options: {}, network: "student" },
  {
    name: "half-cycle-continued",
    row: "HC-continued",
    stage: "half-cycle",
    from: ["half-cycle"],
    share: CONTINUED,
    options: {},
    network: "student",
  },
  {
    name: "half-cycle-equal-cost",
    row: "HC equal cost",
    stage: "half-cycle",
    from: ["half-cycle"],
    share: "cost",
    options: {},
    network: "student",
  },
  {
    name: "cycle-joint",
    row: "C",
    stage: "cycle",
    from: ["half-cycle"],
    share: CONTINUED,
    options: { cycleGradient: 0.1, gradientRamp: 200 },
    network: "student",
  },
  {
    name: "cycle",
    stage: "cycle",
    from: ["half-cycle"],
    share: TEACHER,
    options: { freeze: "student" },
    network: "student",
  },
  teacher("teacher-features", "T feat", { teacherInputs: "features" }),
  teacher("teacher-disparity", "T disp", { teacherInputs: "disparity" }),
  teacher("teacher", "T", {}),
  teacher("teacher-blind", "T without inconsistency", { blindTeacher: true }),
  student("student", "S", "teacher"),
  {
    ...teacher("teacher-privileged", "", { privilegedTeacher: true }),
    row: undefined,
  },
  student("student-privileged", "P", "teacher-privileged", { privilegedTeacher: true }),
];

/** What row S trains beyond the half-cycle: the backward network, the teacher, and the student that learns from it. */
const WAY_TO_S = ["cycle", "teacher", "student"];

/**
 * Updates of a job relative to the half-cycle's.
 *
 * @param milliseconds Time of an update of each stage.
 */
export function shareOf(job: AblationJob, milliseconds: Readonly<Record<StageName, number>>): number {
  if (job.share !== "cost") return job.share;
  const way = ABLATION_JOBS.filter(({ name }) => WAY_TO_S.includes(name));
  const cost = way.reduce((sum, other) => sum + shareOf(other, milliseconds) * milliseconds[other.stage], 0);
  return cost / milliseconds[job.stage];
}
