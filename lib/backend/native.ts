/**
 * Calling TensorFlow's own operations, beyond those tfjs has: see TensorFlow's list of raw operations for their
 * names, attributes and inputs. Nothing here is recorded for differentiation; wrap it in `tf.customGrad`.
 *
 * @module
 */
import { CyclopsError } from "../base/errors.ts";
import { ATTRIBUTE, type Attribute, type Binding, DTYPE, type TensorMetadata } from "./binding.ts";
import { currentBinding } from "./select.ts";
import { type Tensor, type TensorInfo, tf } from "./tf.ts";

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
  #id: number;

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
    return this.#id;
  }

  /** Releases the native memory. Further use is an error. */
  dispose(): void {
    if (this.#id < 0) return;
    binding().deleteTensor(this.#id);
    this.#id = -1;
  }

  /** Hands the native tensor over to tfjs, which disposes it from now on. For the types that tfjs knows. */
  toTensor<T extends Tensor = Tensor>(): T {
    const tensor = nodeBackend().createOutputTensor({
      id: this.#id,
      shape: [...this.shape],
      dtype: this.dtype,
    });
    this.#id = -1;
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
