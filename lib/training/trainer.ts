/**
 * The networks of a stage, and one update of them.
 *
 * @module
 */
import { checkPrecision } from "../backend/convolution.ts";
import { noGradient } from "../backend/gradients.ts";
import {
  type NamedTensorMap,
  type Scalar,
  type Tensor,
  type Tensor4D,
  tf,
  type Variable,
} from "../backend/tf.ts";
import { CyclopsError } from "../base/errors.ts";
import type { StereoBatch } from "../data/loader.ts";
import { warp } from "../geometry/warp.ts";
import { betterPixels } from "../losses/photometric.ts";
import { ARCHITECTURES } from "../models/architecture.ts";
import { type Chain, type ChainOptions, type Networks, refineChannels, runChain } from "../models/chain.ts";
import { createNetwork, disposeNetwork, type Network } from "../models/network.ts";
import { Adam } from "./adam.ts";
import {
  computeTerms,
  type Lesson,
  type ObjectiveOptions,
  prepareScene,
  type Scene,
  TERM_NAMES,
  type TermName,
  type Terms,
  type TermWeights,
  totalLoss,
} from "./objective.ts";
import { refineWiring, type TrainingOptions } from "./options.ts";
import { type BatchGradients, replicaCount, Replicas } from "./replicas.ts";
import { learningRateAt } from "./schedule.ts";
import { type NetworkName, type Stage, STAGES } from "./stages.ts";

/** What one update gave. */
export interface StepResult {
  /** The weighted sum. */
  readonly loss: number;
  /** The loss terms before weighting. */
  readonly terms: Partial<Record<TermName, number>>;
  /** Learning rate of this update. */
  readonly learningRate: number;
  /** Mean of the finest disparities, fraction of width. */
  readonly disparityMean: number;
  /** Their standard deviation; near 0 when the network has collapsed. */
  readonly disparityDeviation: number;
  /** Mean |residual| of the refine network's logits, where it corrects the student's: near 0 when it is dead. */
  readonly residual?: number;
}

/** The networks whose weights a term can move, in the order of the chain. */
function movedBy(name: TermName, options: TrainingOptions): readonly NetworkName[] {
  if (name.startsWith("cycle")) return options.cycleGradient > 0 ? ["backward", "student"] : ["backward"];
  if (name.startsWith("refined")) {
    return options.refineGradient > 0 ? ["refine", "backward", "student"] : ["refine"];
  }
  return ["student"];
}

/** The weights of a run's loss terms: the stage's, with what the options set; 0 for those that would move nothing. */
export function termWeights(options: TrainingOptions): TermWeights {
  const stage = STAGES[options.stage].terms;
  const moving = movingNetworks(options);
  const wanted = (name: TermName) => {
    if (name === "distillation" && options.distill === "feat") return false;
    if (name === "featureDistillation" && options.distill === "disp") return false;
    return movedBy(name, options).some((network) => moving.includes(network));
  };
  const entries = TERM_NAMES.map((
    name,
  ) => [name, wanted(name) ? options[`${name}Weight`] ?? stage[name] : 0]);
  return Object.fromEntries(entries) as TermWeights;
}

/** The networks that learn in a run. */
export function movingNetworks(options: TrainingOptions): readonly NetworkName[] {
  const stage: Stage = STAGES[options.stage];
  const frozen: readonly NetworkName[] | undefined = options.freeze;
  return frozen ? stage.networks.filter((n) => n !== "guide" && !frozen.includes(n)) : stage.moves;
}

/**
 * Owns the networks and the optimiser of one stage.
 *
 * Memory: every update frees what it makes; {@linkcode Trainer.dispose} frees the rest.
 */
export class Trainer {
  /** The run's options. */
  readonly options: TrainingOptions;
  /** The networks of the stage, by name. */
  readonly networks: ReadonlyMap<NetworkName, Network>;
  /** Names of the networks that learn. */
  readonly moving: readonly NetworkName[];
  /** Weights of the loss terms. */
  readonly weights: TermWeights;
  #optimizer: Adam | undefined;
  /** Updates in the whole run, for the schedule. */
  readonly steps: number;
  /** Updates done. */
  step = 0;
  /** The variables that learn, in a fixed order. */
  readonly movingVariables: readonly Variable[];
  /** Those that do not. */
  readonly stillVariables: readonly Variable[];
  #replicas: Replicas | undefined;
  /** Frozen networks that no gradient has to pass on its way to one that learns. */
  readonly #constant: readonly (keyof Networks)[];

  /**
   * Makes the networks, with new weights.
   *
   * @param steps Updates in the whole run.
   */
  constructor(options: TrainingOptions, steps: number) {
    this.options = options;
    this.steps = steps;
    checkPrecision(options.precision);
    const architecture = ARCHITECTURES[options.architecture];
    const { seed, headBias } = options;
    const networks = new Map<NetworkName, Network>();
    for (const scope of STAGES[options.stage].networks) {
      const refine = scope === "refine";
      const residual = refine && options.refineHead === "residual";
      const inputChannels = refine ? refineChannels(architecture, options.teacherInputs) : 3;
      networks.set(
        scope,
        createNetwork({
          scope,
          architecture,
          inputChannels,
          seed,
          headBias: residual ? 0 : headBias,
          headScale: residual ? options.refineHeadScale : 1,
          precision: options.precision,
        }),
      );
    }
    this.networks = networks;
    this.moving = movingNetworks(options);
    this.weights = termWeights(options);
    const variablesOf = (names: readonly NetworkName[]) =>
      names.flatMap((name) => [...networks.get(name)!.variables.values()]);
    this.movingVariables = variablesOf(this.moving);
    this.stillVariables = variablesOf([...networks.keys()].filter((name) => !this.moving.includes(name)));
    if (this.movingVariables.length === 0) {
      throw new CyclopsError(`Cannot train stage ${options.stage}: every network it could move is frozen`);
    }
    const studentMoves = this.moving.includes("student");
    const constant: (keyof Networks)[] = studentMoves ? [] : ["student"];
    if (!this.moving.includes("backward") && !(studentMoves && options.cycleGradient > 0)) {
      constant.push("backward");
    }
    this.#constant = constant;
  }

  /** Moves the networks that learn. Made at its first use: a replica's trainer never updates. */
  get optimizer(): Adam {
    const { learningRate, beta1, beta2 } = this.options;
    return this.#optimizer ??= new Adam({ variables: this.movingVariables, learningRate, beta1, beta2 });
  }

  #network(name: NetworkName): Network | undefined {
    return this.networks.get(name);
  }

  /** The chain's networks as the stage trains them: all of them, but for distillation the student alone. */
  get chainNetworks(): Networks {
    const student = this.#network("student")!;
    if (this.options.stage === "distill") return { student };
    return { student, backward: this.#network("backward"), refine: this.#network("refine") };
  }

  /** The teacher's chain: while a student is distilled it has a frozen student, the guide, of its own. */
  get teacherNetworks(): Networks {
    const student = this.#network("guide") ?? this.#network("student")!;
    return { student, backward: this.#network("backward"), refine: this.#network("refine") };
  }

  #objective(): ObjectiveOptions {
    const { view, border, ssimWeight, photometricViews } = this.options;
    return { view, border, ssimWeight, photometricViews };
  }

  #chainOptions(scene: Scene): ChainOptions {
    const { view, border, cycleGradient, refineGradient, gradientRamp, privilegedTeacher } = this.options;
    const ramp = gradientRamp > 0 ? Math.min(1, this.step / gradientRamp) : 1;
    return {
      view,
      border,
      refine: refineWiring(this.options),
      gates: { cycleIntoStudent: cycleGradient * ramp, refineIntoOthers: refineGradient * ramp },
      privileged: privilegedTeacher ? scene.target[0] : undefined,
      constant: this.#constant,
    };
  }

  #lesson(scene: Scene): Lesson | undefined {
    if (this.options.stage !== "distill") return undefined;
    return noGradient(() => {
      const chain = runChain(this.teacherNetworks, scene.source, this.#chainOptions(scene));
      const refined = chain.refined!;
      const { disparities, features } = refined.prediction;
      if (!this.options.distillMask) return { disparities, features };
      const [taught, own] = [refined.synthesised[0], chain.student.synthesised[0]];
      const mask = betterPixels(taught, own, scene.target[0], this.options.ssimWeight);
      const aligned = warp(mask, refined.aligned[0].source, this.options.view, {
        border: this.options.border,
      });
      return { disparities, features, mask: tf.concat([mask, aligned], 3) };
    });
  }

  /**
   * Computes loss and gradients of one part of a batch; the caller owns them.
   *
   * @param source The seen view, [B,H,W,3]. @param target The opposite view.
   */
  gradients(
    source: Tensor4D,
    target: Tensor4D,
  ): { readonly numbers: Scalar[]; readonly names: string[]; readonly grads: NamedTensorMap } {
    const scene = prepareScene(source, target);
    const lesson = this.#lesson(scene);
    let terms: Terms = {};
    const watched: Record<string, Scalar> = {};
    const { value, grads } = tf.variableGrads(() => {
      const chain = runChain(this.chainNetworks, scene.source, this.#chainOptions(scene));
      terms = computeTerms(chain, scene, this.weights, this.#objective(), lesson);
      if (Object.keys(terms).length === 0) {
        throw new CyclopsError(`Cannot train stage ${this.options.stage}: all its loss terms have weight 0`);
      }
      noGradient(() => watch(chain, watched));
      for (const t of [...Object.values(terms), ...Object.values(watched)]) tf.keep(t);
      return totalLoss(terms, this.weights);
    }, [...this.movingVariables]);
    const all = { loss: value, ...terms, ...watched };
    return { names: Object.keys(all), numbers: Object.values(all), grads };
  }

  /** Splits a batch into seen and opposite view, as tensors [B,H,W,3]. */
  views(batch: StereoBatch): { readonly source: Tensor4D; readonly target: Tensor4D } {
    const shape: [number, number, number, number] = [batch.batch, batch.height, batch.width, 3];
    const [source, target] = this.options.view === "left"
      ? [batch.left, batch.right]
      : [batch.right, batch.left];
    return { source: tf.tensor4d(source, shape), target: tf.tensor4d(target, shape) };
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
        const { names, numbers: scalars, grads } = this.gradients(cut(source), cut(target));
        const told = tf.keep(tf.stack(scalars.map((s) => tf.reshape(s, []))));
        scalars.forEach((s) => s.dispose());
        const added: NamedTensorMap = {};
        for (const [name, grad] of Object.entries(grads)) {
          const scaled = parts === 1 ? grad : tf.div(grad, parts);
          added[name] = tf.keep(sum ? tf.add(sum[name], scaled) : scaled) as Tensor;
        }
        if (sum) tf.dispose(sum);
        sum = added;
        tf.engine().endScope();
        const values = await told.data();
        told.dispose();
        names.forEach((name, i) => numbers[name] = (numbers[name] ?? 0) + values[i] / parts);
      }
    } catch (error) {
      if (sum) tf.dispose(sum);
      throw error;
    } finally {
      tf.dispose([source, target]);
    }
    return { numbers, gradients: sum! };
  }

  /** Starts the replicas with the first batch: the weights that stay as they are must be there by then. */
  async #compute(batch: StereoBatch): Promise<BatchGradients> {
    const { options, steps, movingVariables: moving, stillVariables: still } = this;
    const count = replicaCount(options);
    if (count === 1) return await this.compute(batch);
    this.#replicas ??= await Replicas.start({ options, steps, count, moving, still });
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
    const bad = Object.entries(numbers).filter(([, value]) => !Number.isFinite(value)).map(([name]) => name);
    if (bad.length === 0) return;
    const { seed } = this.options;
    throw new CyclopsError(
      `Training stopped at step ${this.step}: ${
        bad.filter((n) => n !== "loss").join(", ") || "loss"
      } is not a ` +
        `number, for batch ${batch.step} (seed ${seed}): ${batch.ids.slice(0, 3).join(", ")}…; ` +
        "start again with a lower --learning-rate, or from this run's best checkpoint with --from",
    );
  }

  /** Size of the images in training, px. */
  get size(): { readonly height: number; readonly width: number } {
    return this.options.size;
  }

  /** Frees networks and optimiser and ends the replicas. */
  dispose(): void {
    this.#replicas?.close();
    for (const network of this.networks.values()) disposeNetwork(network);
    this.#optimizer?.dispose();
  }
}

/** Puts scalars that tell whether a network is alive into `watched`. */
function watch(chain: Chain, watched: Record<string, Scalar>): void {
  const last = chain.refined ?? chain.student;
  const { mean, variance } = tf.moments(last.prediction.disparities[0]);
  watched.disparityMean = mean as Scalar;
  watched.disparityDeviation = tf.sqrt(variance) as Scalar;
  if (chain.refined) {
    const residual = tf.sub(chain.refined.prediction.logits[0], chain.student.prediction.logits[0]);
    watched.residual = tf.mean(tf.abs(residual)) as Scalar;
  }
}
