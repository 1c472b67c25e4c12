/**
 * Calling TensorFlow's own operations, beyond those tfjs has: see TensorFlow's list of raw operations for their
 * names, attributes and inputs. Nothing here is recorded for differentiation; wrap it in `tf.customGrad`.
 *
 * @module
 */
import { CyclopsError } from "../base/errors.ts";
import {
  ATTRIBUTE,
  type Attribute,
  type Binding,
  currentBinding,
  DTYPE,
  type TensorMetadata,
} from "./binding.ts";
import { type Tensor, type TensorInfo, tf, type Variable } from "./tf.ts";

export { type Attribute, DTYPE } from "./binding.ts";

/** A data type of TensorFlow, more than tfjs knows. */
export type NativeDType = keyof typeof DTYPE;

/** Makers of attributes for {@linkcode execute}. */
export const attr = {
  /** A data type, or a list of them. */
  type: (name: string, dtype: NativeDType | readonly NativeDType[]): Attribute => ({
    name,
    type: ATTRIBUTE.type,
    value: typeof dtype === "string" ? DTYPE[dtype] : dtype.map((d) => DTYPE[d]),
  }),
  /** A whole number, or a list of them. */
  int: (name: string, value: number | readonly number[]): Attribute => ({ name, type: ATTRIBUTE.int, value }),
  /** A floating-point number, or a list of them. */
  float: (name: string, value: number | readonly number[]): Attribute => ({
    name,
    type: ATTRIBUTE.float,
    value,
  }),
  /** A truth value, or a list of them. */
  bool: (name: string, value: boolean | readonly boolean[]): Attribute => ({
    name,
    type: ATTRIBUTE.bool,
    value,
  }),
  /** A text, or a list of them. */
  string: (name: string, value: string | readonly string[]): Attribute => ({
    name,
    type: ATTRIBUTE.string,
    value,
  }),
  /** A tensor's shape. */
  shape: (name: string, value: readonly number[]): Attribute => ({ name, type: ATTRIBUTE.shape, value }),
} as const;

/** True when the tensorflow backend computes, so that {@linkcode execute} works. */
export function isNative(): boolean {
  return currentBinding() !== undefined;
}

/** True while a compiled function is traced: operations are recorded, and JavaScript cannot look at values. */
export function isTracing(): boolean {
  return currentBinding()?.recorder !== undefined;
}

/** The part of tfjs-node's backend object that is used here. */
interface NodeBackend {
  getInputTensorIds(tensors: readonly TensorInfo[]): number[];
  createOutputTensor(metadata: TensorMetadata): Tensor;
}

function binding(): Binding {
  const found = currentBinding();
  if (found === undefined) {
    throw new CyclopsError(
      `Cannot call a TensorFlow operation: the backend is ${
        tf.getBackend() || "not chosen yet"
      }, wanted tensorflow`,
    );
  }
  return found;
}

function nodeBackend(): NodeBackend {
  binding();
  return tf.backend() as unknown as NodeBackend;
}

/**
 * A native tensor that tfjs does not know: a bfloat16 intermediate, a resource. Nobody disposes it but its owner;
 * `tf.tidy` does not see it.
 */
export class NativeTensor {
  /** Size of each dimension. */
  readonly shape: readonly number[];
  /** TensorFlow's number of the type; see `DTYPE`. */
  readonly dtype: number;
  #id: number | undefined;

  /**
   * Takes over a handle.
   *
   * @param metadata What the binding returned; its handle now belongs to this object.
   */
  constructor(metadata: TensorMetadata) {
    this.#id = metadata.id;
    this.shape = metadata.shape;
    this.dtype = metadata.dtype;
  }

  /** The binding's number of the handle. */
  get id(): number {
    if (this.#id === undefined) {
      throw new CyclopsError(`Cannot use a native tensor [${this.shape}]: it was disposed`);
    }
    return this.#id;
  }

  /** Releases the native memory. Further use is an error. */
  dispose(): void {
    if (this.#id !== undefined) binding().deleteTensor(this.#id);
    this.#id = undefined;
  }

  /** Hands the native tensor over to tfjs, which disposes it from now on. For the types that tfjs knows. */
  toTensor<T extends Tensor = Tensor>(): T {
    const tensor = nodeBackend().createOutputTensor({
      id: this.id,
      shape: [...this.shape],
      dtype: this.dtype,
    });
    this.#id = undefined;
    return tensor as T;
  }
}

/** What a native operation takes in. */
export type NativeInput = TensorInfo | NativeTensor;

/** The binding's number of a tensor; writes its values to native memory if that has not happened yet. */
function idOf(input: NativeInput): number {
  return input instanceof NativeTensor ? input.id : nodeBackend().getInputTensorIds([input])[0];
}

/**
 * Runs one TensorFlow operation and keeps the results out of tfjs.
 *
 * @param name TensorFlow's name of the operation, e.g. "Cast".
 * @param attributes Its attributes; see {@linkcode attr}.
 * @param inputs Its inputs in order; a list input is simply continued.
 * @param outputs How many results it has.
 * @throws {CyclopsError} When TensorFlow refuses, with the operation's name and the inputs' shapes.
 */
export function executeNative(
  name: string,
  attributes: readonly Attribute[],
  inputs: readonly NativeInput[],
  outputs = 1,
): NativeTensor[] {
  return binding().executeOp(name, attributes, inputs.map(idOf), outputs).map((m) => new NativeTensor(m));
}

/**
 * Runs one TensorFlow operation on tensors; the results belong to tfjs, `tf.tidy` included.
 *
 * @param name TensorFlow's name of the operation, e.g. "BiasAddGrad".
 * @param attributes Its attributes; see {@linkcode attr}.
 * @param inputs Its inputs in order; a list input is simply continued.
 * @param outputs How many results it has.
 * @throws {CyclopsError} When TensorFlow refuses, or the backend is not tensorflow.
 *
 * @example
 * ```ts
 * import { attr, execute, selectBackend, tf } from "./mod.ts";
 *
 * await selectBackend({ backend: "tensorflow" });
 * const [sums] = execute("BiasAddGrad", [attr.type("T", "float32")], [tf.ones([2, 3, 5, 4])]);
 * sums.print(); // four times 30
 * ```
 */
export function execute(
  name: string,
  attributes: readonly Attribute[],
  inputs: readonly NativeInput[],
  outputs = 1,
): Tensor[] {
  const backend = nodeBackend();
  return binding().executeOp(name, attributes, inputs.map(idOf), outputs).map((m) =>
    backend.createOutputTensor(m)
  );
}

const FLOAT = attr.type("dtype", "float32");
let resources = 0;

/**
 * A float32 variable in TensorFlow's own memory (a resource), which operations such as `ResourceApplyAdam` change in
 * place. tfjs does not know it; nobody disposes it but its owner.
 */
export class ResourceVariable {
  /** Size of each dimension. */
  readonly shape: readonly number[];
  /** What TensorFlow's operations on resources take. */
  readonly handle: NativeTensor;

  /** @param value Copied. @default zeros */
  constructor(shape: readonly number[], value?: Tensor) {
    this.shape = [...shape];
    // Handles of one name would share their memory.
    const name = attr.string("shared_name", `cyclops-${resources++}`);
    this.handle = executeNative("VarHandleOp", [FLOAT, attr.shape("shape", shape), name], [])[0];
    binding().resourceShapes.set(this.handle.id, this.shape);
    this.assign(value ?? tf.zeros(this.shape as number[]));
  }

  /** Copies a tensor's values in, so that the resource alone holds its memory. */
  assign(value: Tensor): void {
    const copy = tf.tidy(() => tf.add(value, 0));
    executeNative("AssignVariableOp", [FLOAT], [this.handle, copy], 0);
    copy.dispose();
  }

  /** The current value. While it is held, the next change in place has to copy. */
  read(): Tensor {
    return execute("ReadVariableOp", [FLOAT], [this.handle])[0];
  }

  dispose(): void {
    binding().resourceShapes.delete(this.handle.id);
    executeNative("DestroyResourceOp", [attr.bool("ignore_lookup_error", true)], [this.handle], 0);
    this.handle.dispose();
  }
}

/** A `tf.Variable` whose value lives in a resource. */
export class BoundVariable extends ResourceVariable {
  readonly variable: Variable;
  /** The tensor data that the resource's value was last read into or written from. */
  #known: object | undefined;
  /** How many called {@linkcode bindVariable}. */
  users = 0;

  constructor(variable: Variable) {
    super(variable.shape, variable);
    this.variable = variable;
    this.#known = variable.dataId;
  }

  /** Brings the resource up to date if someone else has assigned to the variable. */
  sync(): void {
    if (this.#known === this.variable.dataId) return;
    this.assign(this.variable);
    this.#known = this.variable.dataId;
  }

  /** Lets go of the value: TensorFlow updates in place only what nobody else holds. */
  release(): void {
    this.sync();
    tf.engine().disposeTensor(this.variable);
  }

  /** Gives the variable the resource's value again. */
  refresh(): void {
    const now = this.read();
    (this.variable as { dataId: object }).dataId = now.dataId;
    (tf.engine() as unknown as { incRef(t: Tensor, b: null): void }).incRef(this.variable, null);
    now.dispose();
    this.#known = this.variable.dataId;
  }

  /** Ends one user's binding; the variable keeps its value. */
  override dispose(): void {
    if (--this.users > 0) return;
    bound.delete(this.variable);
    super.dispose();
  }
}

const bound = new WeakMap<Variable, BoundVariable>();

/** Moves a variable's value into a resource. Whoever calls this disposes the result once. */
export function bindVariable(variable: Variable): BoundVariable {
  let found = bound.get(variable);
  if (!found) bound.set(variable, found = new BoundVariable(variable));
  found.users++;
  return found;
}

/** The resource that holds a variable's value, if it is bound to one. */
export function resourceOf(variable: Variable): BoundVariable | undefined {
  return bound.get(variable);
}

/**
 * A float32 tensor's values without copying them, where they lie in the CPU's memory.
 *
 * @returns A view that must not be written to, nor used after the tensor is disposed; an ordinary copy elsewhere.
 */
export function viewValues(tensor: Tensor): Float32Array {
  if (!isNative() || tensor.dtype !== "float32") return tensor.dataSync() as Float32Array;
  return binding().tensorView(idOf(tensor));
}

/**
 * Puts bytes into a native uint8 tensor, e.g. decoded images, a quarter of the copying that float32 takes.
 *
 * @param values As many bytes as `shape` has elements, row-major.
 */
export function bytesToNative(values: Uint8Array, shape: readonly number[]): NativeTensor {
  const id = binding().createTensor(shape, DTYPE.uint8, values);
  return new NativeTensor({ id, shape: [...shape], dtype: DTYPE.uint8 });
}

/**
 * Decoded images as float32 in [0, 1].
 *
 * @param values Bytes 0..255, row-major, as many as `shape` has elements.
 * @param shape Usually [batch, height, width, 3] (NHWC).
 */
export function imagesFromBytes<T extends Tensor = Tensor>(values: Uint8Array, shape: readonly number[]): T {
  return tf.tidy(() => {
    if (!isNative()) return tf.tensor(Float32Array.from(values, (v) => v / 255), [...shape]) as T;
    const bytes = bytesToNative(values, shape);
    try {
      const attributes = [attr.type("SrcT", "uint8"), attr.type("DstT", "float32")];
      return tf.mul(execute("Cast", attributes, [bytes])[0], 1 / 255) as T;
    } finally {
      bytes.dispose();
    }
  });
}

/** How many native tensors are alive; equal to `tf.memory().numTensors`' data when nothing leaks. */
export function nativeTensorCount(): number {
  return currentBinding()?.getNumOfTensors() ?? 0;
}
