/**
 * The one TensorFlow.js instance of the project. Import `tf` from here, never from the package: tfjs-node's kernels
 * load the CommonJS build, and a second copy would have an engine, and backends, of its own.
 *
 * @module
 */
import { createRequire } from "node:module";
import util from "node:util";
import type * as Tf from "@tensorflow/tfjs";

/** Names of tfjs's types of values: "float32", "int32", "bool", "complex64", "string". */
export type DataType = Tf.DataType;
/** A tensor; immutable. Freed by `tf.tidy`, `tf.dispose` or its own `dispose`. */
export type Tensor = Tf.Tensor;
/** A tensor without dimensions: one number. */
export type Scalar = Tf.Scalar;
/** A tensor of one dimension. */
export type Tensor1D = Tf.Tensor1D;
/** A tensor of two dimensions. */
export type Tensor2D = Tf.Tensor2D;
/** A tensor of four dimensions: mostly [batch, height, width, channels] here. */
export type Tensor4D = Tf.Tensor4D;
/** What kernels see of a tensor: where its data are, its shape and type. */
export type TensorInfo = Tf.TensorInfo;
/** Tensors by name, as `tf.variableGrads` gives them. */
export type NamedTensorMap = Tf.NamedTensorMap;
/** A tensor that can be assigned to: a weight. */
export type Variable = Tf.Variable;

// tfjs-node 4.22 calls two helpers that newer Nodes, and Deno, no longer have.
const helpers = util as unknown as Record<string, unknown>;
helpers.isNullOrUndefined ??= (value: unknown) => value === null || value === undefined;
helpers.isArray ??= Array.isArray;

/** Loads a CommonJS module of an installed package, so that it shares tfjs's one instance. */
export const requirePackage: (name: string) => unknown = createRequire(import.meta.url);

/** TensorFlow.js 4.22 with its types. Choose a backend by `selectBackend` before the first operation. */
export const tf: typeof Tf = requirePackage("@tensorflow/tfjs") as typeof Tf;
