/**
 * The one TensorFlow.js instance of the project. Import `tf` from here, never from the package: tfjs-node's kernels
 * load the CommonJS build, and a second copy would have an engine, and backends, of its own.
 *
 * @module
 */
import { createRequire } from "node:module";
import util from "node:util";
import type * as Tf from "@tensorflow/tfjs";

export type {
  DataType,
  NamedTensorMap,
  Rank,
  Scalar,
  Tensor,
  Tensor1D,
  Tensor2D,
  Tensor3D,
  Tensor4D,
  Tensor5D,
  TensorInfo,
  TensorLike,
  Variable,
} from "@tensorflow/tfjs";

// tfjs-node 4.22 calls two helpers that newer Nodes, and Deno, no longer have.
const helpers = util as unknown as Record<string, unknown>;
helpers.isNullOrUndefined ??= (value: unknown) => value === null || value === undefined;
helpers.isArray ??= Array.isArray;

/** Loads a CommonJS module of an installed package, so that it shares tfjs's one instance. */
export const requirePackage: (name: string) => unknown = createRequire(import.meta.url);

/** TensorFlow.js 4.22 with its types. Choose a backend by `selectBackend` before the first operation. */
export const tf: typeof Tf = requirePackage("@tensorflow/tfjs") as typeof Tf;
