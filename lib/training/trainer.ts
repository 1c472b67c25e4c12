/**
 * The networks of a stage, and one update of them.
 *
 * @module
 */
import { checkPrecision } from "../backend/convolution.ts";
import { noGradient } from "../backend/gradients.ts";
import { type NamedTensorMap, type Scalar, type Tensor4D, tf, type Variable } from "../backend/tf.ts";
import { CyclopsError } from "../base/errors.ts";
import type { StereoBatch } from "../data/loader.ts";
import { warp } from "../geometry/warp.ts";
import {
  type DistillationTarget,
  lossTerms,
  type LossWeights,
  type TermName,
  type Terms,
  totalLoss,
  type ViewPyramids,
  viewPyramids,
} from "../losses/objective.ts";
import { betterPixels } from "../losses/photometric.ts";
import { ARCHITECTURES } from "../models/architecture.ts";
import { type Chain, type ChainOptions, type Networks, refineChannels, runChain } from "../models/chain.ts";
import { createNetwork, disposeNetwork, type Network } from "../models/network.ts";
import { Adam } from "./adam.ts";
import { refineOptions, type TrainingOptions } from "./options.ts";
import { type BatchGradients, replicaCount, Replicas } from "./replicas.ts";
import { learningRateAt, lossWeights, type NetworkName, STAGES, trainableNetworks } from "./stages.ts";

/** The outcome of one update. */
export interface StepResult {
  /** The weighted sum of the terms. */
  readonly loss: number;
  /** The loss terms, unweighted. */
  readonly terms: Partial<Record<TermName, number>>;
  /** Learning rate of this update. */
  readonly learningRate: number;
  /** Mean of the finest disparities, fraction of width. */
  readonly disparityMean: number;
  /** Their standard deviation, fraction of width; near 0 when the network has collapsed. */
  readonly disparityDeviation: number;
  /** Mean |correction| that the refine network makes to the student's finest logits; near 0 when it is dead. */
  readonly residual?: number;
}

/**
 * Owns the networks and the optimizer of one stage, and updates them.
 *
 * Memory: every update frees what it makes; {@linkcode Trainer.dispose} frees the rest.
 */
export class Trainer {
  readonly options: TrainingOptions;
  /** Updates in the whole run, for the learning rate. */
  readonly steps: number;
  /** Updates done. */
  step = 0;
  /** The networks of the stage. */
  readonly networks: ReadonlyMap<NetworkName, Network>;
  /** Names of the networks that learn. */
  readonly trainable: readonly NetworkName[];
  /** The variables that learn, in a fixed order. */
  readonly trainableVariables: readonly Variable[];
  /** The variables that do not. */
  readonly frozenVariables: readonly Variable[];
  /** Coefficients of the loss terms. */
  readonly lossWeights: LossWeights;
  /** Frozen networks that no gradient has to pass on its way to one that learns. */
  readonly #constant: readonly (keyof Networks)[];
  #optimizer: Adam | undefined;
  #replicas: Replicas | undefined;

  /**
   * Creates the stage's networks, with new weights.
   *
   * @param steps Updates in the whole run.
   * @throws {CyclopsError} When nothing is left to train, or the precision does not run on this machine.
   */
  constructor(options: TrainingOptions, steps: number) {
    checkPrecision(options.precision);
    this.options = options;
    this.steps = steps;
    this.trainable = trainableNetworks(options);
    this.lossWeights = lossWeights(options);
    const networks = new Map(STAGES[options.stage].networks.map((name) => [name, newNetwork(name, options)]));
    this.networks = networks;
    const variablesOf = (names: readonly NetworkName[]) =>
      names.flatMap((name) => [...networks.get(name)!.variables.values()]);
    this.trainableVariables = variablesOf(this.trainable);
    this.frozenVariables = variablesOf([...networks.keys()].filter((name) => !this.trainable.includes(name)));
    if (this.trainableVariables.length === 0) {
      throw new CyclopsError(
        `Cannot train stage ${options.stage}: all the networks that it could train are frozen`,
      );
    }
    const constant: (keyof Networks)[] = [];
    const studentLearns = this.trainable.includes("student");
    if (!studentLearns) constant.push("student");
    if (!this.trainable.includes("backward") && !(studentLearns && options.cycleGradient > 0)) {
      constant.push("backward");
    }
    this.#constant = constant;
  }

  /** Updates the trainable variables. Created at its first use: a replica's trainer needs none. */
  get optimizer(): Adam {
    const { learningRate, beta1, beta2 } = this.options;
    return this.#optimizer ??= new Adam({ variables: this.trainableVariables, learningRate, beta1, beta2 });
  }

  /** The chain that the loss terms look at: all networks of the stage; when distilling, the student alone. */
  get chainNetworks(): Networks {
    const student = this.networks.get("student")!;
    if (this.options.stage === "distill") return { student };
    return { student, backward: this.networks.get("backward"), refine: this.networks.get("refine") };
  }

  /** The teacher's chain; when distilling, with a frozen student of its own. */
  get teacherNetworks(): Networks {
    const student = this.networks.get("teacherStudent") ?? this.networks.get("student")!;
    return { student, backward: this.networks.get("backward"), refine: this.networks.get("refine") };
  }

  /** Splits a batch into the seen and the opposite view, [B,H,W,3] in [0,1]. */
  views(batch: StereoBatch): { readonly source: Tensor4D; readonly target: Tensor4D } {
    const shape: [number, number, number, number] = [batch.batch, batch.height, batch.width, 3];
    const [source, target] = this.options.view === "left"
      ? [batch.left, batch.right]
      : [batch.right, batch.left];
    return { source: tf.tensor4d(source, shape), target: tf.tensor4d(target, shape) };
  }

  #chainOptions(views: ViewPyramids): ChainOptions {
    const { view, border, cycleGradient, refineGradient, gradientRamp, privilegedTeacher } = this.options;
    const ramp = gradientRamp > 0 ? Math.min(1, this.step / gradientRamp) : 1;
    return {
      view,
      border,
      refine: refineOptions(this.options),
      gates: { cycleIntoStudent: cycleGradient * ramp, refineIntoOthers: refineGradient * ramp },
      privileged: privilegedTeacher ? views.target[0] : undefined,
      constant: this.#constant,
    };
  }

  /** Runs the teacher, where there is distillation. */
  #distillationTarget(views: ViewPyramids): DistillationTarget | undefined {
    const { stage, view, border, ssimWeight, distillMask } = this.options;
    if (stage !== "distill") return undefined;
    return noGradient(() => {
      const chain = runChain(this.teacherNetworks, views.source, this.#chainOptions(views));
      const refined = chain.refined!;
      const { disparities, features } = refined.prediction;
      if (!distillMask) return { disparities, features };
      const [teachers, students] = [refined.synthesized[0], chain.student.synthesized[0]];
      const mask = betterPixels(teachers, students, views.target[0], ssimWeight); // aligned with the target view
      const sourceMask = warp(mask, refined.aligned[0].source, view, { border });
      return { disparities, features, mask: tf.concat([mask, sourceMask], 3) };
    });
  }

  /**
   * Loss and gradients of a batch, or of a part of it.
   *
   * @param source The seen view in [0,1], [B,H,W,3].
   * @param target The opposite view in [0,1], [B,H,W,3].
   * @returns `numbers`: the loss, its terms and diagnostics, by name; `gradients` by variable name. The caller
   * disposes of them.
   */
  gradients(
    source: Tensor4D,
    target: Tensor4D,
  ): { readonly numbers: Record<string, Scalar>; readonly gradients: NamedTensorMap } {
    const views = viewPyramids(source, target);
    const teacher = this.#distillationTarget(views);
    let terms: Terms = {};
    let diagnostics: Record<string, Scalar> = {};
    const { value: loss, grads: gradients } = tf.variableGrads(() => {
      const chain = runChain(this.chainNetworks, views.source, this.#chainOptions(views));
      terms = lossTerms(chain, views, this.lossWeights, this.options, teacher);
      if (Object.keys(terms).length === 0) {
        throw new CyclopsError(`Cannot train stage ${this.options.stage}: all its loss terms have weight 0`);
      }
      diagnostics = noGradient(() => diagnose(chain));
      for (const t of [...Object.values(terms), ...Object.values(diagnostics)]) tf.keep(t);
      return totalLoss(terms, this.lossWeights);
    }, [...this.trainableVariables]);
    return { numbers: { loss, ...terms, ...diagnostics }, gradients };
  }

  /** Computes a batch in this thread, in as many parts as `accumulate` says. */
  async compute(batch: StereoBatch): Promise<BatchGradients> {
    const { source, target } = this.views(batch);
    const parts = this.options.accumulate;
    const share = batch.batch / parts;
    const numbers: Record<string, number> = {};
    let sum: NamedTensorMap | undefined;
    try {
      for (let part = 0; part < parts; part++) {
        tf.engine().startScope();
        const cut = (x: Tensor4D) => parts === 1 ? x : tf.slice(x, part * share, share);
        const { numbers: scalars, gradients } = this.gradients(cut(source), cut(target));
        const stacked = tf.keep(tf.stack(Object.values(scalars).map((s) => tf.reshape(s, []))));
        tf.dispose(scalars);
        const added: NamedTensorMap = {};
        for (const [name, gradient] of Object.entries(gradients)) {
          const scaled = parts === 1 ? gradient : tf.div(gradient, parts);
          added[name] = tf.keep(sum ? tf.add(sum[name], scaled) : scaled);
        }
        if (sum) tf.dispose(sum);
        sum = added;
        tf.engine().endScope();
        const values = await stacked.data();
        stacked.dispose();
        Object.keys(scalars).forEach((name, i) => numbers[name] = (numbers[name] ?? 0) + values[i] / parts);
      }
    } catch (error) {
      if (sum) tf.dispose(sum);
      throw error;
    } finally {
      tf.dispose([source, target]);
    }
    return { numbers, gradients: sum! };
  }

  /** Starts the replicas with the first batch, when the frozen weights are loaded. */
  async #compute(batch: StereoBatch): Promise<BatchGradients> {
    const { options, steps, trainableVariables: trainable, frozenVariables: frozen } = this;
    const count = replicaCount(options);
    if (count === 1) return await this.compute(batch);
    this.#replicas ??= await Replicas.start({ options, steps, count, trainable, frozen });
    return await this.#replicas.compute(batch, this.step);
  }

  /**
   * One update.
   *
   * @throws {CyclopsError} When the loss or a term is not finite, naming it and the batch's images.
   */
  async update(batch: StereoBatch): Promise<StepResult> {
    const learningRate = learningRateAt(this.step, this.steps, this.options);
    const { numbers, gradients } = await this.#compute(batch);
    try {
      this.#checkFinite(numbers, batch);
      this.optimizer.setLearningRate(learningRate);
      this.optimizer.apply(gradients);
    } finally {
      tf.dispose(gradients);
    }
    this.step++;
    const { loss, disparityMean, disparityDeviation, residual, ...terms } = numbers;
    return { loss, terms, learningRate, disparityMean, disparityDeviation, residual };
  }

  #checkFinite(numbers: BatchGradients["numbers"], batch: StereoBatch): void {
    const bad = Object.keys(numbers).filter((name) => !Number.isFinite(numbers[name]));
    if (bad.length === 0) return;
    const names = bad.filter((name) => name !== "loss").join(", ") || "loss";
    throw new CyclopsError(
      `Training stopped at step ${this.step}: ${names} is not a number, for batch ${batch.step} ` +
        `(seed ${this.options.seed}): ${batch.ids.slice(0, 3).join(", ")}…; start again with a lower ` +
        "--learning-rate, or from this run's best checkpoint with --from",
    );
  }

  /** Size of the images in training, px. */
  get size(): { readonly height: number; readonly width: number } {
    return this.options.size;
  }

  /** Frees networks and optimizer and ends the replicas. */
  dispose(): void {
    this.#replicas?.close();
    for (const network of this.networks.values()) disposeNetwork(network);
    this.#optimizer?.dispose();
  }
}

function newNetwork(scope: NetworkName, options: TrainingOptions): Network {
  const { seed, headBias, precision, refineHead, refineHeadScale } = options;
  const architecture = ARCHITECTURES[options.architecture];
  const common = { scope, architecture, seed, precision };
  if (scope !== "refine") return createNetwork({ ...common, headBias });
  const inputChannels = refineChannels(architecture, options.teacherInputs);
  return refineHead === "residual"
    ? createNetwork({ ...common, inputChannels, headScale: refineHeadScale })
    : createNetwork({ ...common, inputChannels, headBias });
}

/** Scalars that tell whether the last network of a chain is alive; see {@linkcode StepResult}. */
function diagnose({ student, refined }: Chain): Record<string, Scalar> {
  const { mean, variance } = tf.moments((refined ?? student).prediction.disparities[0]);
  const scalars = { disparityMean: mean as Scalar, disparityDeviation: tf.sqrt(variance) as Scalar };
  if (!refined) return scalars;
  const residual = tf.mean(tf.abs(tf.sub(refined.prediction.logits[0], student.prediction.logits[0])));
  return { ...scalars, residual: residual as Scalar };
}
