/**
 * Adam (Kingma and Ba 2015). On the tensorflow backend each variable is updated by TensorFlow's own
 * `ResourceApplyAdam`, in place; elsewhere by tfjs operations with the same numbers.
 *
 * @module
 */
import { attr, executeNative, isNative, type NativeTensor } from "../backend/native.ts";
import { type NamedTensorMap, type Tensor, tf, type Variable } from "../backend/tf.ts";
import { CyclopsError } from "../base/errors.ts";

/** What an optimiser is made from. */
export interface AdamOptions {
  /** What it moves, in a fixed order; names must differ. */
  readonly variables: readonly Variable[];
  /** Step size. */
  readonly learningRate: number;
  /** Decay of the first moment. @default 0.9 */
  readonly beta1?: number;
  /** Decay of the second moment. @default 0.999 */
  readonly beta2?: number;
  /** Added to the root of the second moment, after bias correction of the rate. @default 1e-7 */
  readonly epsilon?: number;
}

/** An optimiser's memory, to be saved with a checkpoint. */
export interface AdamState {
  /** Updates done; decides the bias correction. */
  readonly updates: number;
  /** By variable name: first and second moment, as the variable is laid out. */
  readonly moments: ReadonlyMap<string, Moments>;
}

/** What the optimiser remembers of one variable, row-major as the variable is laid out. */
export interface Moments {
  /** Running mean of the gradient. */
  readonly first: Float32Array;
  /** Running mean of its square. */
  readonly second: Float32Array;
}

/** Where one variable's value and moments live between updates. */
interface Slot {
  readonly variable: Variable;
  apply(gradient: Tensor, rates: Rates): void;
  read(): Promise<Moments>;
  write(first: Float32Array, second: Float32Array): void;
  dispose(): void;
}

interface Rates {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** beta1 and beta2 to the power of the update's number, from 1. */
  readonly power1: number;
  readonly power2: number;
  /** The same and the four above as scalars, in `ResourceApplyAdam`'s order, for the native slots. */
  readonly scalars: readonly Tensor[];
}

/**
 * Moves variables along their gradients.
 *
 * @example
 * ```ts
 * import { selectBackend, tf } from "../backend/mod.ts";
 * import { Adam } from "./adam.ts";
 *
 * await selectBackend();
 * const x = tf.variable(tf.scalar(3), true, "x");
 * const adam = new Adam({ variables: [x], learningRate: 0.1 });
 * const { value, grads } = tf.variableGrads(() => tf.square(x), [x]);
 * adam.apply(grads);
 * tf.dispose([value, grads]);
 * ```
 */
export class Adam {
  readonly #slots: readonly Slot[];
  readonly #beta1: number;
  readonly #beta2: number;
  readonly #epsilon: number;
  #learningRate: number;
  #updates = 0;

  /** Starts with moments of zero. */
  constructor(options: AdamOptions) {
    const { variables, learningRate, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-7 } = options;
    const names = new Set(variables.map(({ name }) => name));
    if (names.size !== variables.length) {
      throw new RangeError(
        `Cannot make an optimiser: ${variables.length} variables share ${names.size} names`,
      );
    }
    this.#slots = variables.map((v) => isNative() ? new NativeSlot(v) : new PortableSlot(v));
    this.#learningRate = learningRate;
    this.#beta1 = beta1;
    this.#beta2 = beta2;
    this.#epsilon = epsilon;
  }

  /** Updates done. */
  get updates(): number {
    return this.#updates;
  }

  /** Sets the rate of the updates that follow. */
  setLearningRate(learningRate: number): void {
    this.#learningRate = learningRate;
  }

  /**
   * One update. The gradients stay the caller's.
   *
   * @param gradients By variable name, as `tf.variableGrads` gives them; a variable without one is left alone.
   */
  apply(gradients: NamedTensorMap): void {
    this.#updates++;
    const [learningRate, beta1, beta2, epsilon] = [
      this.#learningRate,
      this.#beta1,
      this.#beta2,
      this.#epsilon,
    ];
    const power1 = beta1 ** this.#updates;
    const power2 = beta2 ** this.#updates;
    const scalars = [power1, power2, learningRate, beta1, beta2, epsilon].map((x) => tf.scalar(x));
    for (const slot of this.#slots) {
      const gradient = gradients[slot.variable.name];
      if (gradient) slot.apply(gradient, { learningRate, beta1, beta2, epsilon, power1, power2, scalars });
    }
    tf.dispose(scalars);
  }

  /** Copies the moments out. */
  async getState(): Promise<AdamState> {
    const moments = new Map<string, Moments>();
    for (const slot of this.#slots) moments.set(slot.variable.name, await slot.read());
    return { updates: this.#updates, moments };
  }

  /**
   * Goes on from a saved state.
   *
   * @throws {CyclopsError} When it is not of these variables.
   */
  setState(state: AdamState): void {
    for (const slot of this.#slots) {
      const { name, size } = slot.variable;
      const saved = state.moments.get(name);
      if (!saved || saved.first.length !== size || saved.second.length !== size) {
        const found = saved ? `${saved.first.length} values` : "no moments";
        throw new CyclopsError(`Cannot restore the optimiser: ${found} found for ${name}, ${size} wanted`);
      }
      slot.write(saved.first, saved.second);
    }
    this.#updates = state.updates;
  }

  /** Frees the moments; the variables stay. */
  dispose(): void {
    for (const slot of this.#slots) slot.dispose();
  }
}

/** Moments as tfjs tensors. */
class PortableSlot implements Slot {
  readonly variable: Variable;
  #first: Tensor;
  #second: Tensor;

  constructor(variable: Variable) {
    this.variable = variable;
    this.#first = tf.keep(tf.zeros(variable.shape));
    this.#second = tf.keep(tf.zeros(variable.shape));
  }

  apply(gradient: Tensor, { learningRate, beta1, beta2, epsilon, power1, power2 }: Rates): void {
    const [first, second, value] = tf.tidy(() => {
      const m = tf.add(tf.mul(this.#first, beta1), tf.mul(gradient, 1 - beta1));
      const v = tf.add(tf.mul(this.#second, beta2), tf.mul(tf.square(gradient), 1 - beta2));
      const rate = learningRate * Math.sqrt(1 - power2) / (1 - power1);
      return [m, v, tf.sub(this.variable, tf.mul(tf.div(m, tf.add(tf.sqrt(v), epsilon)), rate))];
    });
    this.#replace(first, second);
    this.variable.assign(value);
    value.dispose();
  }

  #replace(first: Tensor, second: Tensor): void {
    tf.dispose([this.#first, this.#second]);
    this.#first = tf.keep(first);
    this.#second = tf.keep(second);
  }

  async read(): Promise<Moments> {
    const [first, second] = await Promise.all([this.#first.data(), this.#second.data()]);
    return { first: first.slice() as Float32Array, second: second.slice() as Float32Array };
  }

  write(first: Float32Array, second: Float32Array): void {
    this.#replace(tf.tensor(first, this.variable.shape), tf.tensor(second, this.variable.shape));
  }

  dispose(): void {
    tf.dispose([this.#first, this.#second]);
  }
}

const FLOAT = attr.type("dtype", "float32");
let resources = 0;

/** Value and moments as TensorFlow's resource variables. */
class NativeSlot implements Slot {
  readonly variable: Variable;
  readonly #value: NativeTensor;
  readonly #first: NativeTensor;
  readonly #second: NativeTensor;
  /** The tensor that the resource's value was last read into or written from. */
  #known: object | undefined;

  constructor(variable: Variable) {
    this.variable = variable;
    [this.#value, this.#first, this.#second] = ["value", "first", "second"].map((part) =>
      executeNative("VarHandleOp", [
        FLOAT,
        attr.shape("shape", variable.shape),
        // Handles of one name would share their memory.
        attr.string("shared_name", `cyclops-adam-${resources}-${part}`),
      ], [])[0]
    );
    resources++;
    for (const moment of [this.#first, this.#second]) {
      const zeros = tf.zeros(variable.shape);
      assign(moment, zeros);
      zeros.dispose();
    }
  }

  apply(gradient: Tensor, { scalars }: Rates): void {
    const { variable } = this;
    if (this.#known !== variable.dataId) {
      // Someone else wrote to the variable; a copy keeps the resource's memory its own.
      const copy = tf.tidy(() => tf.add(variable, 0));
      assign(this.#value, copy);
      copy.dispose();
    }
    // TensorFlow updates in place only what nobody else holds: let go of the old value first.
    tf.engine().disposeTensor(variable);
    executeNative(
      "ResourceApplyAdam",
      [attr.type("T", "float32"), attr.bool("use_locking", false), attr.bool("use_nesterov", false)],
      [this.#value, this.#first, this.#second, ...scalars, gradient],
      0,
    );
    const now = read(this.#value);
    (variable as { dataId: object }).dataId = now.dataId;
    (tf.engine() as unknown as { incRef(t: Tensor, b: null): void }).incRef(variable, null);
    now.dispose();
    this.#known = variable.dataId;
  }

  read(): Promise<Moments> {
    const [first, second] = [this.#first, this.#second].map((moment) => {
      const tensor = read(moment);
      const values = tensor.dataSync() as Float32Array;
      tensor.dispose();
      return values;
    });
    return Promise.resolve({ first, second });
  }

  write(first: Float32Array, second: Float32Array): void {
    for (const [moment, values] of [[this.#first, first], [this.#second, second]] as const) {
      const tensor = tf.tensor(values, this.variable.shape);
      assign(moment, tensor);
      tensor.dispose();
    }
  }

  dispose(): void {
    for (const resource of [this.#value, this.#first, this.#second]) {
      executeNative("DestroyResourceOp", [attr.bool("ignore_lookup_error", true)], [resource], 0);
      resource.dispose();
    }
  }
}

function assign(resource: NativeTensor, value: Tensor): void {
  executeNative("AssignVariableOp", [FLOAT], [resource, value], 0);
}

function read(resource: NativeTensor): Tensor {
  return executeNative("ReadVariableOp", [FLOAT], [resource])[0].toTensor();
}
