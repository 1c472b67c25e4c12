import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertGreater,
  assertLess,
  assertRejects,
  assertThrows,
} from "../_assert.ts";
import { CyclopsError, UsageError } from "../../lib/base/errors.ts";
import { nativeTensorCount } from "../../lib/backend/ops.ts";
import { rewriting } from "../../lib/backend/compile.ts";
import { compile, cpuFeatures, selectBackend, type Tensor4D, tf } from "../../lib/backend/mod.ts";
import { CLOSED_GATES, imagePyramid, type Networks, runChain, synthesize } from "../../lib/models/chain.ts";
import { mirror, opposite, type View } from "../../lib/geometry/warp.ts";
import {
  lossTerms,
  SMOOTHNESS_WEIGHT,
  TERM_NAMES,
  type TermName,
  totalLoss,
  viewPyramids,
} from "../../lib/losses/objective.ts";
import { ARCHITECTURES } from "../../lib/models/architecture.ts";
import { copyWeights, createNetwork, disposeNetwork } from "../../lib/models/network.ts";
import { Adam } from "../../lib/training/adam.ts";
import { refineOptions, resolveTraining, type TrainingInput } from "../../lib/training/options.ts";
import { lossWeights, STAGE_NAMES, STAGES } from "../../lib/training/stages.ts";
import { Trainer } from "../../lib/training/trainer.ts";
import {
  collectMoments,
  collectWeights,
  restoreMoments,
  restoreWeights,
} from "../../lib/training/weights.ts";
import type { StereoBatch } from "../../lib/data/loader.ts";
import { distance, uniform } from "../_tensors.ts";
import { noiseBatch, snapshot } from "./_runs.ts";

await selectBackend();

const SMALL = { size: "32x64", coarse: 0, batch: 2, steps: 10, seed: 3, eager: true } as const;

/** Networks with a changed weight. */
function moved(before: Map<string, Float32Array>, after: Map<string, Float32Array>): string[] {
  const names = new Set<string>();
  for (const [name, values] of after) {
    const old = before.get(name)!;
    if (values.some((v, i) => v !== old[i])) names.add(name.split("/")[0]);
  }
  return [...names].sort();
}

const only = (term: TermName) =>
  Object.fromEntries(TERM_NAMES.map((name) => [`${name}Weight`, name === term ? 1 : 0]));

/** The batch with hints of one value. */
function hinted(batch: StereoBatch, value: number): StereoBatch {
  const hints = () => new Float32Array(batch.batch * batch.height * batch.width).fill(value);
  return { ...batch, hints: { left: hints(), right: hints() } };
}

/** Which network each term alone moves, in the stage that has it and with nothing frozen. */
const MOVES: readonly [TermName, (typeof STAGE_NAMES)[number], readonly string[]][] = [
  ["photometric", "half-cycle", ["student"]],
  ["consistency", "half-cycle", ["student"]],
  ["smoothness", "half-cycle", ["student"]],
  ["photometric", "cycle", ["student"]],
  ["cycle", "cycle", ["backward"]],
  ["cycleConsistency", "cycle", ["backward"]],
  ["cycleSmoothness", "cycle", ["backward"]],
  ["cycle", "teacher", ["backward"]],
  ["refined", "teacher", ["refine"]],
  ["refinedConsistency", "teacher", ["refine"]],
  ["refinedSmoothness", "teacher", ["refine"]],
  ["distillation", "distill", ["student"]],
  ["featureDistillation", "distill", ["student"]],
  ["hint", "half-cycle", ["student"]],
  ["hint", "cycle", ["student"]],
  ["hint", "distill", ["student"]],
];

for (const [term, stage, expected] of MOVES) {
  Deno.test(`${stage}: ${term} alone moves ${expected}`, async () => {
    const trainer = new Trainer(
      resolveTraining({
        ...SMALL,
        stage,
        freeze: "",
        distill: "both",
        hints: "truth",
        hintMask: false,
        ...only(term),
      }),
      10,
    );
    const before = snapshot(trainer);
    const result = await trainer.update(hinted(await noiseBatch(1), 0.1));
    assertEquals(Object.keys(result.terms), [term]);
    assertAlmostEquals(result.loss, result.terms[term]!, 1e-5 * Math.abs(result.loss) + 1e-7);
    assertEquals(moved(before, snapshot(trainer)), expected);
    trainer.dispose();
  });
}

Deno.test("with open gates the cycle reaches the student, the refined terms reach everyone", async () => {
  for (
    const [term, stage, gates, expected] of [
      ["cycle", "cycle", { cycleGradient: 1 }, ["backward", "student"]],
      ["refined", "teacher", { refineGradient: 1 }, ["backward", "refine", "student"]],
      ["refined", "teacher", { refineGradient: 0.5, cycleGradient: 0 }, ["backward", "refine", "student"]],
    ] as const
  ) {
    const options = { ...SMALL, stage, freeze: "", ...gates, ...only(term) };
    const trainer = new Trainer(resolveTraining(options), 10);
    const before = snapshot(trainer);
    // At first the refine network's kernels for all but the image are 0.
    for (const seed of [1, 2]) await trainer.update(await noiseBatch(seed));
    assertEquals(moved(before, snapshot(trainer)), [...expected]);
    trainer.dispose();
  }
});

Deno.test("each stage moves the networks its table names, frozen ones stay bitwise the same", async () => {
  for (const stage of STAGE_NAMES) {
    const trainer = new Trainer(resolveTraining({ ...SMALL, stage }), 10);
    const before = snapshot(trainer);
    await trainer.update(await noiseBatch(5));
    await trainer.update(await noiseBatch(7));
    assertEquals(moved(before, snapshot(trainer)), [...STAGES[stage].trains].sort());
    trainer.dispose();
  }
  const frozen = new Trainer(resolveTraining({ ...SMALL, stage: "cycle", freeze: "student" }), 10);
  const before = snapshot(frozen);
  await frozen.update(await noiseBatch(5));
  assertEquals(moved(before, snapshot(frozen)), ["backward"]);
  frozen.dispose();
  assertThrows(
    () => new Trainer(resolveTraining({ ...SMALL, freeze: "student" }), 10),
    CyclopsError,
    "frozen",
  );
});

Deno.test("the loss is the weighted sum of its terms", async () => {
  const options = resolveTraining({ ...SMALL, stage: "teacher", freeze: "", photometricWeight: 0.7 });
  const trainer = new Trainer(options, 10);
  const { loss, terms } = await trainer.update(await noiseBatch(1));
  const weights = lossWeights(options);
  const sum = Object.entries(terms).reduce((n, [name, value]) => n + weights[name as TermName] * value, 0);
  assertAlmostEquals(loss, sum, 1e-4);
  trainer.dispose();
});

/** Options of updates that reach every branch: each stage, both settings of the compared views, frozen networks, gates. */
const VARIANTS: readonly TrainingInput[] = [
  { stage: "half-cycle", photometricViews: "both" },
  { stage: "half-cycle", photometricViews: "target", border: "zero", view: "right" },
  { stage: "half-cycle", accumulate: 2 },
  {
    stage: "half-cycle",
    accumulate: 2,
    clipNorm: 0.1,
    ema: 0.9,
    normalizeSmoothness: true,
    lossSize: "full",
  },
  { stage: "cycle", cycleGradient: 0.5, gradientRamp: 2 },
  { stage: "cycle", freeze: "student" },
  { stage: "teacher", freeze: "", refineGradient: 1 },
  { stage: "teacher", privilegedTeacher: true },
  { stage: "distill", distill: "both" },
  { stage: "half-cycle", hints: "truth", view: "right", accumulate: 2 },
  { stage: "half-cycle", hints: "sgm", photometricViews: "source", lossSize: "full" },
  ...(cpuFeatures().bf16 ? [{ precision: "bf16", hints: "truth" } as const] : []),
];

/** Images without sharp edges: in noise, rounding moves samples across pixels, where gradients jump. */
async function smoothBatch(seed: number): Promise<StereoBatch> {
  const smooth = async (seed: number) => {
    const image = tf.tidy(() => tf.image.resizeBilinear(uniform([2, 4, 8, 3], seed), [32, 64]));
    const values = (await image.data()).slice() as Float32Array<ArrayBuffer>;
    image.dispose();
    return values;
  };
  const batch = { ...await noiseBatch(seed), left: await smooth(seed), right: await smooth(seed + 1) };
  return hinted(batch, 0.05);
}

for (const variant of VARIANTS) {
  Deno.test(`compiled and eager updates agree: ${Object.entries(variant).join("; ")}`, async () => {
    const run = async (eager: boolean) => {
      const trainer = new Trainer(resolveTraining({ ...SMALL, ...variant, eager }), 10);
      const first = await trainer.update(await smoothBatch(1));
      // Adam's first moment after one update is (1 - beta1) times the gradient.
      const { moments } = await trainer.optimizer.getState();
      const gradients = [...moments.values()].map(({ first }) => first);
      trainer.dispose();
      return { ...first, gradients };
    };
    const eager = await run(true);
    const bf16 = variant.precision === "bf16";
    const length = (vectors: readonly Float32Array[]) =>
      Math.sqrt(vectors.reduce((sum, v) => v.reduce((s, x) => s + x * x, sum), 0));
    // A fused ELU rounds differently, which the kinks of |x| and of sampling amplify.
    for (const [rewritten, tolerance] of [[false, 1e-5], [true, 2e-4]] as const) {
      rewriting.enabled = rewritten;
      const compiled = await run(false).finally(() => rewriting.enabled = true);
      assertAlmostEquals(compiled.loss, eager.loss, (bf16 ? 1e-3 : 1e-6) * eager.loss);
      assertEquals(Object.keys(compiled.terms), Object.keys(eager.terms));
      assertAlmostEquals(compiled.disparityMean, eager.disparityMean, bf16 ? 1e-4 : 1e-7);
      const apart = compiled.gradients.map((own, i) => own.map((g, k) => g - eager.gradients[i][k]));
      assertLess(length(apart) / length(eager.gradients), bf16 ? 0.1 : tolerance);
    }
  });
}

Deno.test("an update in a few lines of the public API is the trainer's", async () => {
  const options = resolveTraining({ ...SMALL, warmup: 0, schedule: "constant" });
  const trainer = new Trainer(options, 10);
  const { seed, headBias, learningRate } = options;
  const student = createNetwork({ scope: "student", architecture: ARCHITECTURES.quick, seed, headBias });
  const variables = [...student.variables.values()];
  const adam = new Adam({ variables, learningRate });
  const weights = { photometric: 1, consistency: 1, smoothness: SMOOTHNESS_WEIGHT };
  const update = compile((left: Tensor4D, right: Tensor4D) => {
    const views = viewPyramids(left, right);
    const { value, grads } = tf.variableGrads(() => {
      const chain = runChain({ student }, views.source);
      return totalLoss(lossTerms(chain, views, weights), weights);
    }, variables);
    adam.apply(grads);
    return value;
  });
  for (const seed of [1, 5]) {
    const batch = await noiseBatch(seed);
    const [left, right] = [batch.left, batch.right].map((x) => tf.tensor4d(x, [2, 32, 64, 3]));
    const loss = update(left, right);
    assertAlmostEquals(loss.dataSync()[0], (await trainer.update(batch)).loss, 1e-5);
    tf.dispose([left, right, loss]);
  }
  update.dispose();
  adam.dispose();
  disposeNetwork(student);
  trainer.dispose();
});

Deno.test("compiled updates continue bit for bit from saved weights and moments", async () => {
  const options = resolveTraining({
    ...SMALL,
    stage: "cycle",
    cycleGradient: 1,
    gradientRamp: 5,
    eager: false,
  });
  const batches = await Promise.all([1, 3, 5, 7].map((seed) => noiseBatch(seed)));
  const whole = new Trainer(options, 10), part = new Trainer(options, 10), rest = new Trainer(options, 10);
  for (const batch of batches) await whole.update(batch);
  for (const batch of batches.slice(0, 2)) await part.update(batch);
  const networks = (trainer: Trainer) => [...trainer.networks.values()];
  const weights = await collectWeights(networks(part));
  const moments = await collectMoments(part.optimizer, networks(part));
  for (const network of networks(rest)) restoreWeights(network, weights, "the first part");
  restoreMoments(rest.optimizer, networks(rest), moments, part.step);
  rest.step = part.step;
  for (const batch of batches.slice(2)) await rest.update(batch);
  assertEquals(snapshot(rest), snapshot(whole));
  for (const trainer of [whole, part, rest]) trainer.dispose();
});

Deno.test("a batch in parts gives the same update as the whole", async () => {
  const run = async (accumulate: number) => {
    const trainer = new Trainer(resolveTraining({ ...SMALL, batch: 4, accumulate }), 10);
    const { loss, terms } = await trainer.update(await noiseBatch(1, 4));
    const weights = snapshot(trainer);
    trainer.dispose();
    return { loss, terms, weights };
  };
  const [whole, parts] = [await run(1), await run(2)];
  assertAlmostEquals(whole.loss, parts.loss, 1e-5);
  let worst = 0;
  let total = 0;
  for (const [name, values] of whole.weights) {
    values.forEach((v, i) => {
      // Adam's first step is ±rate wherever the gradient is not tiny; count those that differ.
      if (Math.abs(v - parts.weights.get(name)![i]) > 2e-4) worst++;
      total++;
    });
  }
  assertLess(worst / total, 0.01);
});

Deno.test("flip-and-swap leaves the loss of a mirrored pair unchanged when the network sees mirrored features", () => {
  // A network is not mirror-symmetric, so the disparities are mirrored by hand.
  tf.tidy(() => {
    const [left, right] = [uniform([2, 32, 64, 3], 1), uniform([2, 32, 64, 3], 2)];
    const disparities = [0, 1, 2, 3].map((s) => uniform([2, 32 >> s, 64 >> s, 2], 10 + s, 0, 0.2));
    const weights = lossWeights(resolveTraining(SMALL));
    const loss = (l: Tensor4D, r: Tensor4D, ds: Tensor4D[]) => {
      const views = viewPyramids(l, r);
      const chain = fixedChain(views.source, ds);
      return totalLoss(lossTerms(chain, views, weights, { view: "left" }), weights).dataSync()[0];
    };
    const direct = lossOfView(left, right, disparities, "left", weights);
    const flipped = lossOfView(mirror(left), mirror(right), disparities.map(mirror), "right", weights);
    assertAlmostEquals(direct, flipped, 1e-5);
    assertGreater(Math.abs(direct - loss(right, left, disparities)), 1e-4);
  });
});

function fixedChain(input: readonly Tensor4D[], disparities: Tensor4D[], view: View = "left") {
  const prediction = { logits: disparities, disparities, features: disparities[0] };
  return { input, student: synthesize(input, prediction, opposite(view)) };
}

function lossOfView(
  source: Tensor4D,
  target: Tensor4D,
  disparities: Tensor4D[],
  view: View,
  weights: ReturnType<typeof lossWeights>,
): number {
  const views = viewPyramids(source, target);
  const terms = lossTerms(fixedChain(views.source, disparities, view), views, weights, { view });
  return totalLoss(terms, weights).dataSync()[0];
}

Deno.test("finite differences of the whole objective, through both warps", () => {
  const options = resolveTraining({
    ...SMALL,
    size: "32x32",
    stage: "teacher",
    freeze: "",
    cycleGradient: 1,
    refineGradient: 1,
    photometricWeight: 1,
    consistencyWeight: 1,
    smoothnessWeight: 0.1,
    teacherInputs: "inconsistency,disparity,features",
  });
  const trainer = new Trainer(options, 10);
  const [left, right] = [uniform([2, 32, 32, 3], 1), uniform([2, 32, 32, 3], 2)];
  const { numbers, gradients } = trainer.gradients(left, right);
  const views = viewPyramids(left, right);
  const weights = lossWeights(options);
  const value = () =>
    tf.tidy(() => {
      const networks = trainer.chainNetworks;
      const chain = runChain(networks, views.source, {
        view: "left",
        refine: { inputs: ["inconsistency", "disparity", "features"], blind: false, privileged: false },
        gates: { cycleIntoStudent: 1, refineIntoOthers: 1 },
      });
      return { v: totalLoss(lossTerms(chain, views, weights, options), weights).dataSync()[0] };
    }).v;
  // Along each network's own gradient the slope is the gradient's length, far above float32's rounding.
  for (const scope of ["student", "backward", "refine"] as const) {
    const variables = [...trainer.networks.get(scope)!.variables.values()];
    const squares = variables.map((v) =>
      tf.tidy(() => ({ v: tf.sum(tf.square(gradients[v.name])).dataSync()[0] })).v
    );
    const length = Math.sqrt(squares.reduce((a, b) => a + b, 0));
    const move = (by: number) =>
      variables.forEach((v) =>
        tf.tidy(() => void v.assign(tf.add(v, tf.mul(gradients[v.name], by / length)) as typeof v))
      );
    const step = 1e-3;
    move(step);
    const above = value();
    move(-2 * step);
    const below = value();
    move(step);
    const difference = (above - below) / (2 * step);
    assertAlmostEquals(length, difference, 0.05 * length, `${scope}: ${length} against ${difference}`);
    assertGreater(length, 0.02, `${scope} has no gradient`);
  }
  tf.dispose([numbers, gradients, left, right, views.source.slice(1), views.target.slice(1)]);
  tf.dispose([...views.sourceEdges, ...views.targetEdges].flatMap((e) => [e.x, e.y]));
  trainer.dispose();
});

Deno.test("the teacher needs one image: the chain runs without the opposite view", () => {
  const trainer = new Trainer(resolveTraining({ ...SMALL, stage: "teacher" }), 10);
  tf.tidy(() => {
    const image = uniform([1, 32, 64, 3], 1);
    const refine = { inputs: ["inconsistency", "disparity"], blind: false, privileged: false } as const;
    const networks: Networks = trainer.teacherNetworks;
    const chain = runChain(networks, imagePyramid(image), { view: "left", refine, gates: CLOSED_GATES });
    assertEquals(chain.refined!.prediction.disparities[0].shape, [1, 32, 64, 2]);
  });
  trainer.dispose();
});

Deno.test("self-distillation needs no teacher, and draws the student to its own flip average", async () => {
  const options = resolveTraining({ ...SMALL, stage: "distill", teacher: "flip", ...only("distillation") });
  const trainer = new Trainer(options, 10);
  assertEquals([...trainer.networks.keys()], ["student", "teacherStudent"]);
  const batch = await noiseBatch(1), before = snapshot(trainer);
  copyWeights(trainer.networks.get("teacherStudent")!, trainer.networks.get("student")!);
  const started = (await trainer.update(batch)).loss;
  assertGreater(started, 0);
  assertEquals(moved(before, snapshot(trainer)), ["student"]);
  let loss = started;
  for (let i = 0; i < 8; i++) loss = (await trainer.update(batch)).loss;
  assertLess(loss, started);
  trainer.dispose();
});

for (const privilegedTeacher of [false, true]) {
  const name = privilegedTeacher ? "the privileged teacher" : "the teacher";
  Deno.test(`${name} starts as its student, to the digit, and learns from all of its inputs`, async () => {
    const given = { ...SMALL, stage: "teacher", teacherInputs: "inconsistency,disparity,features" } as const;
    const trainer = new Trainer(resolveTraining({ ...given, privilegedTeacher }), 10);
    const refine = refineOptions(trainer.options);
    const [left, right] = [uniform([2, 32, 64, 3], 1), uniform([2, 32, 64, 3], 2)];
    const difference = () =>
      tf.tidy(() => {
        const how = { view: "left", refine, opposite: right } as const;
        const { student, refined } = runChain(trainer.teacherNetworks, imagePyramid(left), how);
        const apart = refined!.prediction.disparities.map((d, s) =>
          distance(d.dataSync(), student.prediction.disparities[s].dataSync())
        );
        return { v: Math.max(...apart) };
      }).v;
    assertLess(difference(), 1e-7);
    const kernel = trainer.networks.get("refine")!.variables.get("refine/encoder/1/conv1/kernel")!;
    const perInput = () => tf.tidy(() => ({ v: tf.sum(tf.square(kernel), [0, 1, 3]).dataSync().slice() })).v;
    assertEquals([...perInput()].slice(3).every((length) => length === 0), true);
    await trainer.update(await noiseBatch(1));
    assertEquals([...perInput()].every((length) => length > 0), true);
    assertGreater(difference(), 1e-4);
    tf.dispose([left, right]);
    trainer.dispose();
  });
}

Deno.test("200 updates leave tensor and handle counts flat", async () => {
  const trainer = new Trainer(
    resolveTraining({ ...SMALL, size: "32x32", batch: 1, steps: 200, eager: false }),
    200,
  );
  const batch = await noiseBatch(1, 1);
  const small = {
    ...batch,
    width: 32,
    left: batch.left.slice(0, 32 * 32 * 3),
    right: batch.right.slice(0, 32 * 32 * 3),
  };
  for (let i = 0; i < 3; i++) await trainer.update(small);
  const [tensors, handles] = [tf.memory().numTensors, nativeTensorCount()];
  for (let i = 0; i < 200; i++) await trainer.update(small);
  assertEquals(tf.memory().numTensors, tensors);
  assertEquals(nativeTensorCount(), handles);
  trainer.dispose();
});

Deno.test("a loss that is not a number stops training, naming term and batch", async () => {
  const trainer = new Trainer(resolveTraining(SMALL), 10);
  const batch = await noiseBatch(1);
  batch.right[5] = NaN;
  const error = await assertRejects(() => trainer.update(batch), CyclopsError);
  assert(error.message.includes("photometric") && error.message.includes("batch 0"));
  trainer.dispose();
});

Deno.test("options: contradictions and misspellings are refused by name", () => {
  assertThrows(() => resolveTraining({ steps: 5, epochs: 2 }), UsageError, "only one");
  assertThrows(() => resolveTraining({ batch: 8, accumulate: 3 }), UsageError, "divisor");
  assertThrows(() => resolveTraining({ size: "60x100" }), UsageError, "multiples of 32");
  assertThrows(() => resolveTraining({ learningrate: 1 }), UsageError, "learningRate");
  assertThrows(() => resolveTraining({ teacherInputs: "depth" }), UsageError, '"depth"');
  assertThrows(() => resolveTraining({ freeze: "teacher" }), UsageError, '"teacher"');
  assertEquals(resolveTraining({ preset: "paper" }).epochs, 50);
  assertEquals(resolveTraining({ preset: "paper", steps: 3 }).epochs, undefined);
});

Deno.test("a teacher's student that was saved under its former name, guide, is loaded", async () => {
  const trainer = new Trainer(resolveTraining({ ...SMALL, stage: "distill" }), 10);
  const network = trainer.networks.get("teacherStudent")!;
  const saved = await collectWeights([network]);
  const former = new Map(
    [...saved].map(([name, tensor]) => [name.replace("teacherStudent/", "guide/"), tensor]),
  );
  for (const variable of network.variables.values()) {
    variable.assign(tf.zerosLike(variable) as typeof variable);
  }
  restoreWeights(network, former, "an old run");
  assertEquals(await collectWeights([network]), saved);
  trainer.dispose();
});
