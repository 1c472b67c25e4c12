/**
 * Adam (Kingma and Ba 2015). On the tensorflow backend TensorFlow's own `ResourceApplyAdam` updates each variable in
 * place; elsewhere tfjs operations compute the same numbers.
 *
 * @module
 */
import { updateInPlace } from "../backend/compile.ts";
import {
  attr,
  bindVariable,
  type BoundVariable,
  executeNative,
  isNative,
  ResourceVariable,
} from "../backend/ops.ts";
import { type NamedTensorMap, type Scalar, type Tensor, tf, type Variable } from "../backend/tf.ts";
import { CyclopsError } from "../base/errors.ts";

/** Options of {@linkcode Adam}. */
export interface AdamOptions {
  /** The variables to update, in a fixed order, with distinct names. */
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

/** An optimizer's memory, to be saved with a checkpoint. */
export interface AdamState {
  /** Updates done; decides the bias correction. */
  readonly updates: number;
  /** By variable name. */
  readonly moments: ReadonlyMap<string, Moments>;
}

/** The optimizer's memory of one variable, row-major, of the variable's shape. */
export interface Moments {
  /** Running mean of the gradient. */
  readonly first: Float32Array;
  /** Running mean of its square. */
  readonly second: Float32Array;
}

/** Scalars of one update, in the order in which `ResourceApplyAdam` takes them. */
type Scalars = readonly [
  power1: Scalar,
  power2: Scalar,
  learningRate: Scalar,
  beta1: Scalar,
  beta2: Scalar,
  epsilon: Scalar,
];

/** One variable and its moments. */
interface Slot {
  readonly variable: Variable;
  apply(gradient: Tensor, scalars: Scalars): void;
  read(): Promise<Moments>;
  write(moments: Moments): void;
  dispose(): void;
}

/**
 * Moves variables against their gradients.
 *
 * Everything that changes from update to update lives in variables, so that `apply` can be part of a function that
 * `compile` made.
 *
 * @example
 * ```ts
 * import { compile, selectBackend, tf } from "../backend/mod.ts";
 * import { Adam } from "./adam.ts";
 *
 * await selectBackend();
 * const x = tf.variable(tf.scalar(3), true, "x");
 * const adam = new Adam({ variables: [x], learningRate: 0.1 });
 * const update = compile(() => {
 *   const { value, grads } = tf.variableGrads(() => tf.square(x), [x]);
 *   adam.apply(grads);
 *   return value;
 * });
 * update().print(); // 9
 * ```
 */
export class Adam {
  readonly #slots: readonly Slot[];
  readonly #constants: { readonly beta1: number; readonly beta2: number; readonly epsilon: number };
  readonly #learningRate: Variable;
  readonly #updates: Variable;

  /** Starts with moments of zero. @throws {RangeError} When two variables share a name. */
  constructor({ variables, learningRate, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-7 }: AdamOptions) {
    const names = new Set(variables.map(({ name }) => name));
    if (names.size !== variables.length) {
      throw new RangeError(
        `Cannot make an optimizer: ${variables.length} variables share ${names.size} names`,
      );
    }
    this.#slots = variables.map((v) => isNative() ? new NativeSlot(v) : new PortableSlot(v));
    this.#constants = { beta1, beta2, epsilon };
    this.#learningRate = tf.tidy(() => tf.variable(tf.scalar(learningRate), false));
    this.#updates = tf.tidy(() => tf.variable(tf.scalar(0), false));
  }

  /** Sets the rate of the updates that follow. */
  setLearningRate(learningRate: number): void {
    assign(this.#learningRate, tf.scalar(learningRate));
  }

  /**
   * One update. The gradients stay the caller's.
   *
   * @param gradients By variable name, as `tf.variableGrads` returns them; a variable without one is left alone.
   */
  apply(gradients: NamedTensorMap): void {
    const slots = this.#slots.filter(({ variable }) => gradients[variable.name]);
    const { beta1, beta2, epsilon } = this.#constants;
    tf.tidy(() => {
      const updates = tf.add(this.#updates, 1);
      this.#updates.assign(updates as Variable);
      const powers = [beta1, beta2].map((beta) => tf.pow(beta, updates));
      const constants = [beta1, beta2, epsilon].map((x) => tf.scalar(x));
      const scalars = [...powers, this.#learningRate, ...constants] as unknown as Scalars;
      const apply = () => slots.forEach((slot) => slot.apply(gradients[slot.variable.name], scalars));
      if (isNative()) updateInPlace(slots.map(({ variable }) => variable), apply);
      else apply();
    });
  }

  /** Copies the moments out. */
  async getState(): Promise<AdamState> {
    const moments = new Map<string, Moments>();
    for (const slot of this.#slots) moments.set(slot.variable.name, await slot.read());
    return { updates: (await this.#updates.data())[0], moments };
  }

  /**
   * Continues from a saved state.
   *
   * @throws {CyclopsError} When it belongs to other variables.
   */
  setState({ updates, moments }: AdamState): void {
    for (const slot of this.#slots) {
      const { name, size } = slot.variable;
      const saved = moments.get(name);
      if (!saved || saved.first.length !== size || saved.second.length !== size) {
        const found = saved ? `${saved.first.length} values` : "no moments";
        throw new CyclopsError(`Cannot restore the optimizer: found ${found} for ${name}, expected ${size}`);
      }
      slot.write(saved);
    }
    assign(this.#updates, tf.scalar(updates));
  }

  /** Frees the moments; the variables stay. */
  dispose(): void {
    for (const slot of this.#slots) slot.dispose();
    tf.dispose([this.#learningRate, this.#updates]);
  }
}

/** Assigns a tensor that nobody else needs. */
function assign(variable: Variable, value: Tensor): void {
  variable.assign(value as Variable);
  value.dispose();
}

/** Moments as tfjs variables. */
class PortableSlot implements Slot {
  readonly variable: Variable;
  readonly #first: Variable;
  readonly #second: Variable;

  constructor(variable: Variable) {
    const zeros = () => tf.tidy(() => tf.variable(tf.zeros(variable.shape), false));
    this.variable = variable;
    this.#first = zeros();
    this.#second = zeros();
  }

  apply(gradient: Tensor, [power1, power2, learningRate, beta1, beta2, epsilon]: Scalars): void {
    const first = tf.add(tf.mul(this.#first, beta1), tf.mul(gradient, tf.sub(1, beta1)));
    const second = tf.add(tf.mul(this.#second, beta2), tf.mul(tf.square(gradient), tf.sub(1, beta2)));
    const rate = tf.div(tf.mul(learningRate, tf.sqrt(tf.sub(1, power2))), tf.sub(1, power1));
    const change = tf.mul(rate, tf.div(first, tf.add(tf.sqrt(second), epsilon)));
    this.#first.assign(first as Variable);
    this.#second.assign(second as Variable);
    this.variable.assign(tf.sub(this.variable, change) as Variable);
  }

  async read(): Promise<Moments> {
    const [first, second] = await Promise.all([this.#first.data(), this.#second.data()]);
    return { first: first.slice() as Float32Array, second: second.slice() as Float32Array };
  }

  write({ first, second }: Moments): void {
    assign(this.#first, tf.tensor(first, this.variable.shape));
    assign(this.#second, tf.tensor(second, this.variable.shape));
  }

  dispose(): void {
    tf.dispose([this.#first, this.#second]);
  }
}

const APPLY = [attr.type("T", "float32"), attr.bool("use_locking", false), attr.bool("use_nesterov", false)];

/** Value and moments in TensorFlow's memory. */
class NativeSlot implements Slot {
  readonly variable: Variable;
  readonly #value: BoundVariable;
  readonly #first: ResourceVariable;
  readonly #second: ResourceVariable;

  constructor(variable: Variable) {
    this.variable = variable;
    this.#value = bindVariable(variable);
    this.#first = new ResourceVariable(variable.shape);
    this.#second = new ResourceVariable(variable.shape);
  }

  apply(gradient: Tensor, scalars: Scalars): void {
    const resources = [this.#value, this.#first, this.#second].map(({ handle }) => handle);
    executeNative("ResourceApplyAdam", APPLY, [...resources, ...scalars, gradient], 0);
  }

  read(): Promise<Moments> {
    const [first, second] = [this.#first, this.#second].map((moment) => {
      const tensor = moment.read();
      const values = tensor.dataSync() as Float32Array;
      tensor.dispose();
      return values;
    });
    return Promise.resolve({ first, second });
  }

  write({ first, second }: Moments): void {
    for (const [moment, values] of [[this.#first, first], [this.#second, second]] as const) {
      tf.tidy(() => moment.assign(tf.tensor(values, this.variable.shape)));
    }
  }

  dispose(): void {
    for (const resource of [this.#value, this.#first, this.#second]) resource.dispose();
  }
}
