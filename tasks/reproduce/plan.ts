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
  /**
   * Updates, relative to the half-cycle's; `"continued"`: as many as every row gets after it, refine networks included;
   * `"cost"`: as much time as row S needs beyond it.
   */
  readonly share: number | "continued" | "cost";
  /** What differs from the preset. */
  readonly options: TrainingInput;
  /** Whose disparity the row evaluates. */
  readonly network: "student" | "teacher";
}

/** Updates of the backward network. */
const BACKWARD = 0.25;
/** The larger network, trained at its own rate. */
const LARGER = {
  architecture: "lite0",
  pretrained: true,
  learningRate: 1e-3,
  clipNorm: 4,
} as const satisfies TrainingInput;
/** Hints count everywhere: the mask drops what the student does not see yet, which cost the oracle its gain. */
const FOLLOW = { hintWeight: 1, hintMask: false } as const;
/** Where the target is much better than what the images can teach, their terms only hold the student back. */
const ALONE = { photometricWeight: 0, consistencyWeight: 0 } as const;

const teacher = (name: string, row: string, options: TrainingInput): AblationJob => ({
  name,
  row,
  stage: "teacher",
  from: ["cycle", "half-cycle"],
  share: "continued",
  options: { freeze: "student,backward", ...options },
  network: "teacher",
});
const student = (
  name: string,
  row: string,
  stage: StageName,
  from: readonly string[],
  options: TrainingInput = {},
): AblationJob => ({ name, row, stage, from, share: "continued", options, network: "student" });

/**
 * All trainings of one seed, each after what it starts from, what decides most first.
 *
 * The backward network learns on the frozen half-cycle student (`cycle`), so that every teacher corrects the very
 * student that HC-continued starts from; row C is the paper's joint training, where the cycle's gradient reaches the
 * student.
 *
 * @param real Whether the data are photographs: then a student of rendered streets is where all begins.
 * @param architecture The student's; that of row W's teacher has no larger one to learn from.
 */
export function ablationJobs(real: boolean, architecture = "quick"): readonly AblationJob[] {
  const first = student("half-cycle", "HC", "half-cycle", real ? ["street"] : []);
  return [
    ...real ? [{ ...first, name: "street", row: "street zero-shot", from: [], share: 1 }] : [],
    { ...first, share: 1 },
    student("half-cycle-continued", "HC-continued", "half-cycle", ["half-cycle"]),
    // Refine networks see no changed colors: is that what they gain by?
    ...!real && architecture === "quick" ? [] : [
      student("plain-colors", "HC plain colors", "half-cycle", ["half-cycle"], { colourProbability: 0 }),
    ],
    { ...student("half-cycle-equal-cost", "HC equal cost", "half-cycle", ["half-cycle"]), share: "cost" },
    student("hints", "hints alone", "half-cycle", ["half-cycle"], { hints: "sgm", ...FOLLOW }),
    ...real ? [] : [
      student("oracle", "oracle", "half-cycle", ["half-cycle"], { hints: "truth", ...FOLLOW, ...ALONE }),
    ],
    {
      name: "cycle",
      stage: "cycle",
      from: ["half-cycle"],
      share: BACKWARD,
      options: { freeze: "student" },
      network: "student",
    },
    teacher("teacher", "T", {}),
    student("student", "S", "distill", ["cycle", "teacher"]),
    student("student-self-distilled", "S self-distilled", "distill", ["half-cycle"], { teacher: "flip" }),
    teacher("teacher-privileged", "P's teacher", { privilegedTeacher: true }),
    student("student-privileged", "P", "distill", ["cycle", "teacher-privileged"], {
      privilegedTeacher: true,
      distillMask: true,
      hints: "sgm",
      ...FOLLOW,
    }),
    teacher("teacher-blind", "T without inconsistency", { blindTeacher: true }),
    student("cycle-joint", "C", "cycle", ["half-cycle"], { cycleGradient: 1 }),
    ...architecture !== "quick" ? [] : [
      { ...first, name: "larger", row: "W's teacher", from: [], share: 1, options: LARGER },
      // Of two starting points the last one is where the student comes from.
      student("student-larger", "W", "distill", ["larger", "half-cycle"], {
        teacher: "flip",
        teacherArchitecture: LARGER.architecture,
        distillationWeight: 4,
        ...ALONE,
      }),
    ],
    student("occlusion-masks", "HC occlusion masks", "half-cycle", ["half-cycle"], { occlusionMask: true }),
    teacher("teacher-features", "T feat", { teacherInputs: "features" }),
    teacher("teacher-disparity", "T disp", { teacherInputs: "disparity" }),
  ];
}

/** The jobs that produce these rows, and all that they start from. */
export function jobsOf(rows: readonly string[], jobs: readonly AblationJob[]): readonly AblationJob[] {
  const needed = new Set<string>();
  for (const job of jobs.toReversed()) {
    if (needed.has(job.name) || rows.includes(job.row ?? "")) {
      [job.name, ...job.from].forEach((name) => needed.add(name));
    }
  }
  return jobs.filter(({ name }) => needed.has(name));
}

/** What {@linkcode Budget} counts with. */
export interface BudgetInput {
  readonly jobs: readonly AblationJob[];
  /** Updates of the half-cycle; the jobs' shares multiply it. */
  readonly updates: number;
  /** Updates of every row after the half-cycle, relative to it. */
  readonly continued: number;
  /** Time of an update of each job, ms. */
  readonly milliseconds: Readonly<Record<string, number>>;
}

/** The updates and the cost of each job, and of all that it starts from. */
export class Budget {
  /** Counts nothing yet. */
  constructor(readonly input: BudgetInput) {}

  #job(name: string): AblationJob | undefined {
    return this.input.jobs.find((job) => job.name === name);
  }

  /** A job and all jobs that it starts from; those not trained here are left out. */
  #lineage(name: string): Set<AblationJob> {
    const job = this.#job(name);
    return job ? new Set([job, ...job.from.flatMap((from) => [...this.#lineage(from)])]) : new Set();
  }

  /** Updates of one job. */
  updates(job: AblationJob): number {
    const { updates, continued, milliseconds } = this.input;
    const count = job.share === "cost"
      ? (this.cost("student") - this.cost("half-cycle")) / milliseconds[job.name]
      : updates * (job.share === "continued" ? continued : job.share);
    return Math.max(1, Math.round(count));
  }

  /** Time of one job, ms. */
  duration(job: AblationJob): number {
    return this.updates(job) * this.input.milliseconds[job.name];
  }

  /** Time of a job and of all that it starts from, ms. */
  cost(name: string): number {
    return [...this.#lineage(name)].reduce((sum, job) => sum + this.duration(job), 0);
  }

  /** Updates of the student in a job and in those that its student comes from. */
  studentUpdates(name: string): number {
    const job = this.#job(name);
    if (!job) return 0;
    const frozen = job.stage === "teacher" || String(job.options.freeze ?? "").includes("student");
    return (frozen ? 0 : this.updates(job)) + (job.from.length ? this.studentUpdates(job.from.at(-1)!) : 0);
  }
}
