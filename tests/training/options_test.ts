import { assert, assertEquals } from "../_assert.ts";
import { join } from "@std/path";
import { selectBackend } from "../../lib/backend/mod.ts";
import { CyclopsError } from "../../lib/base/errors.ts";
import { exists } from "../../lib/base/files.ts";
import { exportCityscapes } from "../data/_cityscapes.ts";
import { openDataset } from "../../lib/data/dataset.ts";
import { hasLite0 } from "../../lib/training/weights.ts";
import { resolveTraining, storedOptions, trainingOptions } from "../../lib/training/options.ts";
import { bestCheckpoint } from "../../lib/training/checkpoint.ts";
import { train } from "../../lib/training/loop.ts";
import { Trainer } from "../../lib/training/trainer.ts";
import { withFolder, writePairs } from "../data/_pairs.ts";
import { facts } from "./_checkpoints.ts";
import {
  checkpointNames,
  ofKind,
  records,
  recordsIn,
  testFolder,
  TINY,
  tinyStreet,
  withCache,
} from "./_runs.ts";

await selectBackend();

type Given = Readonly<Record<string, unknown>>;
/** What a run shows of itself; two runs that differ in an option must differ in it. */
type Look = (given: Given) => Promise<unknown>;

const base = await testFolder();
const noise = join(base, "noise"), street = join(base, "street"), city = join(base, "city");
await writePairs(noise, 4, { width: 64, height: 32 });
await tinyStreet(street);
for (const part of ["train", "val"] as const) {
  const { root, pairs } = await openDataset({ data: street, part });
  await exportCityscapes(root, pairs, city, part);
}
const manifest = join(noise, "pairs.csv");
const rows = (await openDataset({ data: noise })).pairs.map(({ left, right }) => `${left},${right},50,0.5\n`);
await Deno.writeTextFile(manifest, `left,right,focal_px,baseline_m\n${rows.join("")}`);
const GIVEN: Given = { ...TINY, data: noise, batch: 1, steps: 2, warmup: 0 };

/** A short run of each stage, to start the next one from. */
const starts = new Map<string, readonly string[]>([["half-cycle", []]]);
for (const [former, stage] of [["half-cycle", "cycle"], ["cycle", "teacher"], ["teacher", "distill"]]) {
  const given = { ...GIVEN, stage: former, steps: 1, teacherInputs: "inconsistency,disparity" };
  const from = starts.get(former)!;
  starts.set(stage, [ofKind(await recordsIn(join(base, former), given, { from }), "end")[0].folder!]);
}
const startOf = (given: Given) => starts.get(resolveTraining(given).stage)!;

/** The losses of updates: they depend on weights, images, terms and optimizer. */
const losses: Look = async (given) =>
  ofKind(await records(given, { from: startOf(given) }), "step").map(({ loss }) => loss);
const terms: Look = async (given) =>
  ofKind(await records({ ...given, steps: 1 }, { from: startOf(given) }), "step").map((step) =>
    Object.keys(step.terms)
  );
/** The learning rate of each update. */
const rates: Look = async (given) =>
  ofKind(await records(given), "step").map(({ learningRate }) => learningRate);
const validations: Look = async (given) =>
  ofKind(await records({ ...given, data: street }), "validation").map((
    { step, validation },
  ) => [step, validation.absRel]);
/** Runs something in a folder that is gone afterwards, and gives what it gives. */
async function inFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  let result: T;
  await withFolder(async (folder) => void (result = await use(folder)));
  return result!;
}

/** How many workers are started, and how many batches are asked of them before the first update. */
const asked: Look = async (given) => {
  const Original = globalThis.Worker;
  let workers = 0, messages = 0;
  globalThis.Worker = class extends Original {
    constructor(...args: ConstructorParameters<typeof Worker>) {
      super(...args);
      workers++;
    }
    override postMessage(...args: unknown[]): void {
      messages++;
      (super.postMessage as (...args: unknown[]) => void)(...args);
    }
  };
  try {
    for await (const { kind } of train({ options: resolveTraining(given) })) if (kind === "start") break;
    return [workers, messages];
  } finally {
    globalThis.Worker = Original;
  }
};

/** How often the function that computes gradients runs: compiled, once for each part of a batch; eager, each time. */
const parts: Look = async (given) => {
  const { gradients } = Trainer.prototype;
  let count = 0;
  Trainer.prototype.gradients = function (...args) {
    count++;
    return gradients.apply(this, args);
  };
  try {
    await records({ steps: 1, ...given });
    return count;
  } finally {
    Trainer.prototype.gradients = gradients;
  }
};

/** How many weights there are. */
const parameters: Look = async (given) => {
  for await (const record of train({ options: resolveTraining(given) })) {
    if (record.kind === "start") return record.parameters;
  }
};

/** Whether a second epoch needs the files. */
const secondEpoch: Look = (given) =>
  inFolder(async (data) => {
    await writePairs(data, 2, { width: 64, height: 32 });
    try {
      for await (const { kind } of train({ options: resolveTraining({ ...given, data }) })) {
        if (kind === "step") await Deno.remove(join(data, "2026_01_01"), { recursive: true }).catch(() => {});
      }
      return "from memory";
    } catch (error) {
      if (error instanceof CyclopsError) return "from files";
      throw error;
    }
  });

/** Losses, with hints. */
const hinted: Look = (given) => withCache(base, () => losses({ ...given, data: street }));

/** What an option is tried with, and where it must show. */
interface Trial {
  /** Options beside it. */
  readonly with?: Given;
  /** Two values that must give different runs. */
  readonly values: readonly [unknown, unknown];
  /** @default losses */
  readonly look?: Look;
}

const CYCLE = { stage: "cycle" } as const, TEACHER = { stage: "teacher" } as const;
const DISTILL = { stage: "distill" } as const,
  COLOURED = { colourProbability: 1, flipProbability: 0 } as const,
  HINTS = { hints: "truth" } as const;
const weight = (given: Given = {}): Trial => ({ with: given, values: [1, 0.5] });
const colour = (low: unknown, high: unknown): Trial => ({ with: COLOURED, values: [low, high] });

const TRIALS: Readonly<Record<keyof typeof trainingOptions, Trial>> = {
  preset: {
    values: ["quick", "vgg"],
    look: (given) => Promise.resolve(resolveTraining({ preset: given.preset })),
  },
  stage: { with: { freeze: "" }, values: ["half-cycle", "cycle"], look: terms },
  seed: { values: [1, 2] },
  data: { values: [noise, street] },
  split: { with: { data: street }, values: ["train.txt", "test.txt"] },
  holdout: { with: { data: manifest }, values: [0, 0.5] },
  cropBottom: { with: { data: city, split: "cityscapes" }, values: [0, 0.3] },
  view: { with: { flipProbability: 0 }, values: ["left", "right"] },
  size: { values: ["32x64", "64x64"] },
  coarse: { with: { size: "64x64" }, values: [0, 0.7] },
  architecture: {
    with: { size: "128x128", steps: 1, batch: 1 },
    values: ["quick", "vgg"],
    look: parameters,
  },
  pretrained: {
    with: { architecture: "lite0" },
    values: [false, true],
    // Tests fetch nothing.
    look: async (given) => await hasLite0() ? await losses(given) : given.pretrained,
  },
  headBias: { values: [-2.4, -1] },
  steps: { values: [2, 3], look: rates },
  epochs: { with: { steps: undefined }, values: [0.5, 1], look: rates },
  batch: { values: [1, 2] },
  accumulate: { with: { batch: 2 }, values: [1, 2], look: parts },
  eager: { with: { steps: 2 }, values: [false, true], look: parts },
  learningRate: { values: [1e-3, 1e-2] },
  schedule: { values: ["polynomial", "constant"], look: rates },
  warmup: { values: [0, 2], look: rates },
  decayPower: { values: [0.9, 2], look: rates },
  finalRate: { values: [0, 0.5], look: rates },
  // The first update of Adam is the same whatever these are.
  beta1: { with: { steps: 3 }, values: [0.9, 0.5] },
  beta2: { with: { steps: 3 }, values: [0.999, 0.5] },
  padding: { with: { size: "64x64" }, values: ["zero", "reflect"] },
  camera: { with: { data: manifest }, values: ["fraction", "canonical"] },
  clipNorm: { values: [0, 1e-8] },
  ema: { with: { validateEvery: 1, steps: 3 }, values: [0, 0.9], look: validations },
  ssimWeight: { values: [0.85, 0.2] },
  photometricViews: { values: ["target", "source"] },
  occlusionMask: { values: [false, true] },
  lossSize: { values: ["scale", "full"] },
  normalizeSmoothness: { values: [false, true] },
  border: { with: { headBias: 0 }, values: ["edge", "zero"] },
  photometricWeight: weight(),
  consistencyWeight: weight(),
  smoothnessWeight: weight(),
  cycleWeight: weight(CYCLE),
  cycleConsistencyWeight: weight(CYCLE),
  cycleSmoothnessWeight: weight(CYCLE),
  refinedWeight: weight(TEACHER),
  refinedConsistencyWeight: weight(TEACHER),
  refinedSmoothnessWeight: weight(TEACHER),
  distillationWeight: weight({ ...DISTILL, distill: "both" }),
  featureDistillationWeight: weight({ ...DISTILL, distill: "both" }),
  hints: { with: HINTS, values: ["sgm", "truth"], look: hinted },
  hintWeight: { with: HINTS, values: [1, 0], look: hinted },
  hintMask: { with: HINTS, values: [true, false], look: hinted },
  freeze: { with: CYCLE, values: ["", "student"] },
  cycleGradient: { with: { ...CYCLE, photometricViews: "both" }, values: [0, 1] },
  // At its first step the refine network is a copy of the student, blind to all but the image.
  refineGradient: { with: { ...TEACHER, freeze: "", steps: 4 }, values: [0, 1] },
  gradientRamp: { with: { ...CYCLE, cycleGradient: 1 }, values: [0, 10] },
  teacherInputs: { with: { ...TEACHER, steps: 4 }, values: ["inconsistency", "inconsistency,disparity"] },
  blindTeacher: { with: TEACHER, values: [false, true] },
  privilegedTeacher: { with: TEACHER, values: [false, true] },
  distill: { with: DISTILL, values: ["disp", "feat"] },
  teacher: { with: DISTILL, values: ["refined", "flip"] },
  teacherArchitecture: {
    with: { ...DISTILL, teacher: "flip" },
    values: [undefined, "lite0"],
    look: (given) => {
      const trainer = new Trainer(resolveTraining(given), 1);
      trainer.dispose();
      return Promise.resolve(trainer.networks.get("teacherStudent")!.parameters);
    },
  },
  distillMask: { with: DISTILL, values: [false, true] },
  distillFrom: { with: DISTILL, values: ["student", "scratch"] },
  augment: { values: [true, false] },
  flipProbability: { with: { colourProbability: 0 }, values: [0, 1] },
  colourProbability: { with: { flipProbability: 0 }, values: [0, 1] },
  gammaLow: colour(0.5, 1.1),
  gammaHigh: colour(1.2, 2),
  brightnessLow: colour(0.2, 1),
  brightnessHigh: colour(0.6, 2),
  colourLow: colour(0.2, 1),
  colourHigh: colour(0.9, 2),
  grayProbability: { with: { flipProbability: 0, colourProbability: 0 }, values: [0, 1] },
  colourViews: { with: COLOURED, values: ["both", "input"] },
  workers: { values: [0, 2], look: asked },
  prefetch: { with: { workers: 1 }, values: [1, 5], look: asked },
  cacheMib: { with: { batch: 2 }, values: [0, 1], look: secondEpoch },
  selectBy: {
    values: ["photometric", "abs-rel"],
    look: (given) => {
      const options = storedOptions(resolveTraining(given));
      const entry = (step: number, photometric: number, absRel: number) => ({
        folder: "",
        facts: { ...facts(step, { photometric, absRel }), options },
      });
      return Promise.resolve([bestCheckpoint([entry(1, 0.2, 0.1), entry(2, 0.1, 0.2)])!.facts.step]);
    },
  },
  validateEvery: { values: [1, 2], look: validations },
  overfit: { with: { batch: 2 }, values: [0, 1] },
  patience: {
    // The photometric loss does not fall without a learning rate.
    with: { data: street, validateEvery: 1, steps: 6, learningRate: 0 },
    values: [0, 2],
    look: validations,
  },
  validationPairs: { with: { validateEvery: 1 }, values: [1, 2], look: validations },
  checkpointEvery: {
    values: [0, 1],
    look: (given) =>
      inFolder((folder) => recordsIn(folder, given).then((all) => ofKind(all, "checkpoint").length)),
  },
  checkpointMinutes: {
    values: [0, 1e-6],
    look: (given) =>
      inFolder((folder) => recordsIn(folder, given).then((all) => ofKind(all, "checkpoint").length)),
  },
  keep: {
    with: { checkpointEvery: 1, steps: 3 },
    values: [1, 3],
    look: (given) => inFolder((folder) => recordsIn(folder, given).then(() => checkpointNames(folder))),
  },
  tensorboard: {
    values: [true, false],
    look: (given) =>
      inFolder((folder) => recordsIn(folder, given).then(() => exists(join(folder, "tensorboard")))),
  },
  precision: { values: ["fp32", "bf16"] },
};

Deno.test("every option is tried", () => {
  assertEquals(Object.keys(TRIALS).sort(), Object.keys(trainingOptions).sort());
});

/** Runs are compared with several others. */
const seen = new Map<string, Promise<unknown>>();

function look(how: Look, given: Given): Promise<unknown> {
  const key = `${how.name} ${JSON.stringify(given)}`;
  if (!how.name) return how(given);
  if (!seen.has(key)) seen.set(key, how(given));
  return seen.get(key)!;
}

/** The largest relative difference of two lists of numbers; other things are the same or not. */
function difference(a: unknown, b: unknown): number {
  const numbers = (x: unknown): x is number[] =>
    Array.isArray(x) && x.every((value) => typeof value === "number");
  if (!numbers(a) || !numbers(b)) return JSON.stringify(a) === JSON.stringify(b) ? 0 : 1;
  if (a.length !== b.length) return 1;
  return Math.max(...a.map((value, i) => Math.abs(value - b[i]) / Math.max(1e-12, Math.abs(value))));
}

for (const [option, { with: beside = {}, values, look: how = losses }] of Object.entries(TRIALS)) {
  Deno.test(`${option}: ${values.map((value) => JSON.stringify(value)).join(" and ")} give different runs`, async () => {
    const shown = async (value: unknown) => {
      try {
        return await look(how, { ...GIVEN, ...beside, [option]: value });
      } catch (error) {
        // A processor without bf16 refuses it.
        if (option === "precision" && error instanceof CyclopsError) return error.message;
        throw error;
      }
    };
    const [a, b] = [await shown(values[0]), await shown(values[1])];
    assert(
      difference(a, b) > 1e-5,
      `${option} changes nothing: ${JSON.stringify(a)} and ${JSON.stringify(b)}`,
    );
  });
}

Deno.test("the same options give the same run", async () => {
  const again = await losses(GIVEN);
  assert(difference(await look(losses, GIVEN), again) < 1e-6);
});
