/**
 * The networks of a stage, and one update of them.
 *
 * @example The half-cycle's update without a trainer
 * ```ts ignore
 * const student = createNetwork({ scope: "student", architecture: ARCHITECTURES.quick, seed: 1, headBias: -2.4 });
 * const variables = [...student.variables.values()];
 * const adam = new Adam({ variables, learningRate: 2e-3 });
 * const weights = { photometric: 1, consistency: 1, smoothness: SMOOTHNESS_WEIGHT };
 * const update = compile((left: Tensor4D, right: Tensor4D) => {
 *   const views = viewPyramids(left, right);
 *   const { value, grads } = tf.variableGrads(() => {
 *     const chain = runChain({ student }, views.source);
 *     return totalLoss(lossTerms(chain, views, weights), weights);
 *   }, variables);
 *   adam.apply(grads);
 *   return value;
 * });
 * ```
 *
 * @module
 */
import { compile, type Compiled } from "../backend/compile.ts";
import { checkPrecision, noGradient } from "../backend/ops.ts";
import {
  type NamedTensorMap,
  type Scalar,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  type Tensor4D,
  tf,
  type Variable,
} from "../backend/tf.ts";
import { CyclopsError } from "../base/errors.ts";
import type { StereoBatch } from "../data/loader.ts";
import { canonicalScales } from "../geometry/camera.ts";
import { mirror, opposite, type View } from "../geometry/warp.ts";
import {
  type DistillationTarget,
  distillationTarget,
  lossTerms,
  type LossWeights,
  type TermName,
  totalLoss,
  type ViewPyramids,
  viewPyramids,
} from "../losses/objective.ts";
import { ARCHITECTURES } from "../models/architecture.ts";
import {
  type AlignedDisparity,
  type Chain,
  type ChainOptions,
  type Networks,
  refineChannels,
  runChain,
  splitAligned,
} from "../models/chain.ts";
import { copyWeights, createNetwork, disposeNetwork, type Network, runNetwork } from "../models/network.ts";
import { Adam } from "./adam.ts";
import type { Cluster } from "./cluster.ts";
import { refineOptions, type TrainingOptions } from "./options.ts";
import { learningRateAt, lossWeights, type NetworkName, networksOf, trainableNetworks } from "./stages.ts";

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
  /** Mean |difference| between the finest logits of refine network and student; near 0 when it learned nothing. */
  readonly residual?: number;
}

/** What changes from batch to batch besides the views; each may be missing. */
interface BatchExtras {
  /** How far the gates between networks are open, relative to the options, 0 to 1. @default 1 */
  readonly ramp?: Scalar;
  /** See `SynthesisOptions`. */
  readonly scale?: Tensor4D;
  /** Color changes of the student's input; see `StereoBatch`. */
  readonly colors?: Tensor2D;
  /** In a cluster: 1 if this worker was asked to stop. */
  readonly stop?: Scalar;
  /** Disparity hints; see `lossTerms`. */
  readonly hints?: AlignedDisparity;
}

/** What one call of an update computes; `accumulate` parts add up to a batch. */
type Part = {
  /** The loss, its terms and diagnostics: names and values. */
  readonly names: string[];
  readonly values: Tensor1D;
  /** By variable name; none after the last part, whose gradients Adam has applied. */
  readonly gradients: NamedTensorMap;
};

/**
 * Owns the networks and the optimizer of one stage, and updates them.
 *
 * Memory: every update frees what it makes; {@linkcode Trainer.dispose} frees the rest.
 */
export class Trainer {
  /** Options of the run. */
  readonly options: TrainingOptions;
  /** Updates in the whole run, for the learning rate. */
  readonly steps: number;
  /** Updates done. */
  step = 0;
  /** Whether a worker of the cluster was asked to stop, as of the last update: all of them know. */
  stopping = false;
  /** The networks of the stage. */
  readonly networks: ReadonlyMap<NetworkName, Network>;
  /** Names of the networks that learn. */
  readonly trainable: readonly NetworkName[];
  /** The variables that learn, in a fixed order. */
  readonly trainableVariables: readonly Variable[];
  /** Coefficients of the loss terms. */
  readonly lossWeights: LossWeights;
  /** Frozen networks that no gradient has to pass on its way to one that learns. */
  readonly #constant: readonly (keyof Networks)[];
  /** Updates the trainable variables. */
  readonly optimizer: Adam;
  /** Adds a part of a batch to the sum of the former ones; Adam applies the last sum. One TensorFlow function. */
  readonly #updatePart: Compiled<
    [source: Tensor4D, target: Tensor4D, extras: BatchExtras, former: Part | null, decay: Scalar | null],
    Part
  >;
  readonly #cluster: Cluster | undefined;
  /** Running means of the trainable networks' weights, by name; none unless the options ask for them. */
  readonly averages: ReadonlyMap<NetworkName, Network>;

  /**
   * Creates the stage's networks, with new weights.
   *
   * @param steps Updates in the whole run.
   * @param cluster The workers that share each batch. @default this process alone
   * @throws {CyclopsError} When nothing is left to train, or the precision does not run on this machine.
   */
  constructor(options: TrainingOptions, steps: number, cluster?: Cluster) {
    checkPrecision(options.precision);
    this.#cluster = cluster;
    this.options = options;
    this.steps = steps;
    this.trainable = trainableNetworks(options);
    this.lossWeights = lossWeights(options);
    const networks = new Map(networksOf(options).map((name) => [name, newNetwork(name, options)]));
    this.networks = networks;
    this.warmStart();
    this.trainableVariables = this.trainable.flatMap((name) => [...networks.get(name)!.variables.values()]);
    if (this.trainableVariables.length === 0) {
      throw new CyclopsError(
        `Cannot train stage ${options.stage}: all the networks that it could train are frozen`,
      );
    }
    this.averages = new Map(
      options.ema > 0 ? this.trainable.map((name) => [name, newNetwork(name, options, "average")]) : [],
    );
    const constant: (keyof Networks)[] = [];
    const studentLearns = this.trainable.includes("student");
    if (!studentLearns) constant.push("student");
    if (!this.trainable.includes("backward") && !(studentLearns && options.cycleGradient > 0)) {
      constant.push("backward");
    }
    this.#constant = constant;
    const { learningRate, beta1, beta2, stage, eager } = options;
    this.optimizer = new Adam({ variables: this.trainableVariables, learningRate, beta1, beta2 });
    this.#updatePart = compile((...inputs) => tf.tidy(() => this.#addPart(...inputs)), {
      name: `update_${stage.replace("-", "_")}`,
      enabled: !eager,
    });
  }

  /** Makes the refine network, if there is one, a copy of the student: what it learns is then a correction. */
  warmStart(): void {
    const refine = this.networks.get("refine");
    if (refine) copyWeights(this.teacherNetworks.student, refine);
  }

  /** The chain that the loss terms look at: all networks of the stage; when distilling, the student alone. */
  get chainNetworks(): Networks {
    const student = this.networks.get("student")!;
    if (this.options.stage === "distill") return { student };
    return { student, backward: this.networks.get("backward"), refine: this.networks.get("refine") };
  }

  /** The networks to validate, save and predict with, by name: averages where there are any. */
  get evaluated(): ReadonlyMap<NetworkName, Network> {
    return new Map([...this.networks].map(([name, network]) => [name, this.averages.get(name) ?? network]));
  }

  /** {@linkcode chainNetworks} of the networks to evaluate. */
  get evaluatedChain(): Networks {
    const evaluated = this.evaluated, chain = Object.keys(this.chainNetworks) as (keyof Networks)[];
    return Object.fromEntries(chain.map((name) => [name, evaluated.get(name)])) as unknown as Networks;
  }

  /** The teacher's chain; when distilling, with a frozen student of its own. */
  get teacherNetworks(): Networks {
    const student = this.networks.get("teacherStudent") ?? this.networks.get("student")!;
    return { student, backward: this.networks.get("backward"), refine: this.networks.get("refine") };
  }

  #chainOptions(views: ViewPyramids, { ramp, scale, colors }: BatchExtras): ChainOptions {
    const { view, border, cycleGradient, refineGradient } = this.options;
    const gate = (open: number) => ramp && open > 0 ? tf.mul(ramp, open) as Scalar : open;
    return {
      view,
      border,
      scale,
      seen: colors && noGradient(() => recolor(views.source[0], colors)),
      refine: refineOptions(this.options),
      gates: { cycleIntoStudent: gate(cycleGradient), refineIntoOthers: gate(refineGradient) },
      opposite: views.target[0],
      constant: this.#constant,
    };
  }

  /**
   * Loss and gradients of a batch, or of a part of it.
   *
   * @param source The seen view in [0,1], [B,H,W,3].
   * @param target The opposite view in [0,1], [B,H,W,3].
   * @param extras What else belongs to the batch: cameras, colors, hints, the gates' ramp. @default none
   * @returns `numbers`: the loss, its terms and diagnostics, by name; `gradients` by variable name. The caller
   * disposes of them.
   */
  gradients(
    source: Tensor4D,
    target: Tensor4D,
    extras: BatchExtras = {},
  ): { readonly numbers: Readonly<Record<string, Scalar>>; readonly gradients: NamedTensorMap } {
    const views = viewPyramids(source, target, this.options.lossSize);
    const options = this.#chainOptions(views, extras);
    const teacher = this.options.stage === "distill"
      ? noGradient(() => {
        if (this.options.teacher === "flip") return flipTarget(this.teacherNetworks.student, source);
        const chain = runChain(this.teacherNetworks, views.source, { ...options, seen: undefined });
        return distillationTarget(chain, views, this.options, this.options.distillMask);
      })
      : undefined;
    let numbers: Record<string, Scalar> = {};
    const { value: loss, grads: gradients } = tf.variableGrads(() => {
      const chain = runChain(this.chainNetworks, views.source, options);
      const terms = lossTerms(chain, views, this.lossWeights, this.options, teacher, extras.hints);
      if (Object.keys(terms).length === 0) {
        throw new CyclopsError(`Cannot train stage ${this.options.stage}: all its loss terms have weight 0`);
      }
      numbers = { ...terms, ...noGradient(() => diagnose(chain)) };
      Object.values(numbers).forEach((scalar) => tf.keep(scalar));
      return totalLoss(terms, this.lossWeights);
    }, [...this.trainableVariables]);
    return { numbers: { loss, ...numbers }, gradients };
  }

  #addPart(
    source: Tensor4D,
    target: Tensor4D,
    extras: BatchExtras,
    former: Part | null,
    decay: Scalar | null,
  ): Part {
    const { accumulate, clipNorm } = this.options;
    const { numbers, gradients: own } = this.gradients(source, target, extras);
    const scalars = extras.stop ? { ...numbers, stop: extras.stop } : numbers;
    const names = Object.keys(scalars);
    const add = <T extends Tensor>(own: T, sum?: T) => {
      if (accumulate === 1) return own;
      const share = tf.div(own, accumulate) as T;
      return sum ? tf.add(sum, share) as T : share;
    };
    let values = add(tf.stack(Object.values(scalars)) as Tensor1D, former?.values);
    tf.dispose(numbers);
    const gradients = Object.fromEntries(
      Object.entries(own).map(([name, gradient]) => [name, add(gradient, former?.gradients[name])]),
    );
    if (!decay) return { names, values, gradients };
    if (this.#cluster) {
      // The gradients of the last layers are known first.
      const learned = Object.keys(gradients).reverse();
      const [shared, ...means] = this.#cluster.mean([values, ...learned.map((name) => gradients[name])]);
      values = shared as Tensor1D;
      learned.forEach((name, i) => gradients[name] = means[i]);
    }
    this.optimizer.apply(clipNorm > 0 ? clipGradients(gradients, clipNorm) : gradients);
    for (const [name, average] of this.averages) {
      const weights = this.networks.get(name)!.variables;
      for (const [key, variable] of average.variables) {
        const weight = weights.get(key)!;
        variable.assign(tf.add(weight, tf.mul(tf.sub(variable, weight), decay)));
      }
    }
    return { names, values, gradients: {} };
  }

  /**
   * One update.
   *
   * @param batch In a cluster, this worker's share of it.
   * @param stop In a cluster: ask all workers to stop after this update.
   * @param learningRate Of this update. @default what the options' schedule says
   * @throws {CyclopsError} When the loss or a term is not finite, naming it and the batch's images. The weights are
   * not usable then.
   */
  async update(
    batch: StereoBatch,
    stop: boolean = false,
    learningRate: number = learningRateAt(this.step, this.steps, this.options),
  ): Promise<StepResult> {
    const { accumulate, gradientRamp, view, camera, ema } = this.options;
    this.optimizer.setLearningRate(learningRate);
    const scales = camera === "canonical" && canonicalScales(batch.cameras ?? [], batch.ids);
    const pairs = batch.batch / accumulate;
    const shape: [number, number, number, number] = [pairs, batch.height, batch.width, 3];
    const { names, values: stacked } = tf.tidy(() => {
      // Early on, the mean is that of few updates; the first one replaces it.
      const decay = tf.scalar(Math.min(ema, this.step / (this.step + 9)));
      const ramp = gradientRamp > 0 && { ramp: tf.scalar(Math.min(1, this.step / gradientRamp)) };
      let sum: Part | null = null;
      for (let part = 0; part < accumulate; part++) {
        const cut = <T extends Tensor>(values: Float32Array, shape: number[]) => {
          const size = tf.util.sizeFromShape(shape);
          return tf.tensor(values.subarray(part * size, (part + 1) * size), shape) as T;
        };
        const [source, target] = [view, opposite(view)].map((side) => cut<Tensor4D>(batch[side], shape));
        const hintOf = (side: View) => cut<Tensor4D>(batch.hints![side], [...shape.slice(0, 3), 1]);
        const extras: BatchExtras = {
          ...ramp,
          ...scales && { scale: cut<Tensor4D>(scales, [pairs, 1, 1, 1]) },
          ...batch.colors && { colors: cut<Tensor2D>(batch.colors, [pairs, 5]) },
          ...this.#cluster && { stop: tf.scalar(Number(stop)) },
          ...batch.hints && { hints: { target: hintOf(opposite(view)), source: hintOf(view) } },
        };
        const next: Part = this.#updatePart(
          source,
          target,
          extras,
          sum,
          part === accumulate - 1 ? decay : null,
        );
        tf.dispose([source, target, sum?.values, sum?.gradients]);
        sum = next;
      }
      return sum!;
    });
    const values = await stacked.data();
    stacked.dispose();
    const numbers = Object.fromEntries(names.map((name, i) => [name, values[i]]));
    this.#checkFinite(numbers, batch);
    this.step++;
    const { loss, disparityMean, disparityDeviation, residual, stop: stops = 0, ...terms } = numbers;
    this.stopping = stops > 0;
    return { loss, terms, learningRate, disparityMean, disparityDeviation, residual };
  }

  #checkFinite(numbers: Readonly<Record<string, number>>, batch: StereoBatch): void {
    const bad = Object.keys(numbers).filter((name) => !Number.isFinite(numbers[name]));
    if (bad.length === 0) return;
    const names = bad.filter((name) => name !== "loss").join(", ") || "loss";
    throw new CyclopsError(
      `Training stopped at step ${this.step}: ${names} is not a number, for batch ${batch.step} ` +
        `(seed ${this.options.seed}): ${batch.ids.slice(0, 3).join(", ")}…; start again with a lower ` +
        "--learning-rate, or from this run's best checkpoint with --from",
    );
  }

  /** Frees networks, optimizer and compiled functions. */
  dispose(): void {
    this.#updatePart.dispose();
    for (const network of [...this.networks.values(), ...this.averages.values()]) disposeNetwork(network);
    this.optimizer.dispose();
  }
}

function newNetwork(scope: NetworkName, options: TrainingOptions, values?: "average"): Network {
  const { headBias, precision, padding } = options;
  const other = scope === "teacherStudent" ? options.teacherArchitecture : undefined;
  const architecture = ARCHITECTURES[other ?? options.architecture];
  const inputChannels = scope === "refine" ? refineChannels(architecture, refineOptions(options)) : 3;
  const seed = values ? undefined : options.seed;
  return createNetwork({ scope, architecture, inputChannels, seed, headBias, precision, padding });
}

/**
 * What a student's own flip average teaches: the mirrored image's disparity belongs to the seen view alone, for there is no
 * view on the other side.
 */
function flipTarget(student: Network, image: Tensor4D): DistillationTarget {
  const { disparities, features } = runNetwork(student, image);
  const { disparities: mirrored } = runNetwork(student, mirror(image));
  const averaged = disparities.map((own, s) => {
    const { target, source } = splitAligned(own);
    const other = mirror(splitAligned(mirrored[s]).source);
    return tf.concat([target, tf.mul<Tensor4D>(tf.add(source, other), 0.5)], 3);
  });
  return { disparities: averaged, features };
}

/** Changes the colors of images in [0,1]. @param colors See `StereoBatch`. */
function recolor(image: Tensor4D, colors: Tensor2D): Tensor4D {
  const column = (from: number, channels: number) =>
    tf.reshape(tf.slice(colors, [0, from], [-1, channels]), [-1, 1, 1, channels]);
  const changed = tf.clipByValue(tf.mul(tf.pow(image, column(0, 1)), column(1, 3)), 0, 1) as Tensor4D;
  const gray = tf.sub(tf.mean(changed, 3, true), changed);
  return tf.add(changed, tf.mul(gray, column(4, 1)));
}

/** Shortens gradients, taken together as one vector, to a length. */
function clipGradients(gradients: NamedTensorMap, length: number): NamedTensorMap {
  const squares = Object.values(gradients).map((gradient) => tf.sum(tf.square(gradient)));
  const factor = tf.minimum(1, tf.div(length, tf.maximum(tf.sqrt(tf.addN(squares)), 1e-12)));
  return Object.fromEntries(Object.entries(gradients).map(([name, g]) => [name, tf.mul(g, factor)]));
}

/** Scalars that tell whether the last network of a chain is alive; see {@linkcode StepResult}. */
function diagnose({ student, refined }: Chain): Record<string, Scalar> {
  const { mean, variance } = tf.moments((refined ?? student).prediction.disparities[0]);
  const scalars = { disparityMean: mean as Scalar, disparityDeviation: tf.sqrt(variance) as Scalar };
  if (!refined) return scalars;
  const residual = tf.mean(tf.abs(tf.sub(refined.prediction.logits[0], student.prediction.logits[0])));
  return { ...scalars, residual: residual as Scalar };
}
