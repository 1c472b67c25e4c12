/**
 * The one TensorFlow.js instance of the project. Import `tf` from here, never from the package: tfjs-node's kernels
 * load the CommonJS build, and a second copy would have an engine, and backends, of its own.
 *
 * @module
 */
import { createRequire } from "node:module";
import util from "node:util";
import type * as Tf from "@tensorflow/tfjs";

/** tfjs's data types: "float32", "int32", "bool", "complex64", "string". */
export type DataType = Tf.DataType;
/** A tensor; immutable. Freed by `tf.tidy`, `tf.dispose` or its own `dispose`. */
export type Tensor = Tf.Tensor;
/** A tensor of rank 0. */
export type Scalar = Tf.Scalar;
/** A tensor of rank 1. */
export type Tensor1D = Tf.Tensor1D;
/** A tensor of rank 2. */
export type Tensor2D = Tf.Tensor2D;
/** A tensor of rank 4, mostly [batch, height, width, channels]. */
export type Tensor4D = Tf.Tensor4D;
/** A tensor as kernels see it: data id, shape and type. */
export type TensorInfo = Tf.TensorInfo;
/** Tensors by name, as `tf.variableGrads` returns them. */
export type NamedTensorMap = Tf.NamedTensorMap;
/** A tensor that can be assigned to, e.g. a weight. */
export type Variable = Tf.Variable;

// tfjs-node 4.22 calls two helpers that newer Nodes, and Deno, no longer have.
const helpers = util as unknown as Record<string, unknown>;
helpers.isNullOrUndefined ??= (value: unknown) => value === null || value === undefined;
helpers.isArray ??= Array.isArray;

/** Loads a CommonJS module of an installed package, so that it shares tfjs's one instance. */
export const requirePackage: (name: string) => unknown = createRequire(import.meta.url);

/** TensorFlow.js 4.22 with its types. Choose a backend by `selectBackend` before the first operation. */
export const tf: typeof Tf = requirePackage("@tensorflow/tfjs") as typeof Tf;

/** Whether plain JavaScript was asked for; else its first use says how to have TensorFlow's library. */
export const plainJavaScript = { chosen: false };

// Its own banner recommends tfjs-node, which Deno does not need.
const createCpu = tf.findBackendFactory("cpu");
tf.removeBackend("cpu");
tf.registerBackend("cpu", () => {
  if (!plainJavaScript.chosen) {
    console.error(
      "Computing in plain JavaScript, hundreds of times slower than TensorFlow's library: await selectBackend() first",
    );
  }
  return Object.assign(createCpu(), { firstUse: false });
});
