/**
 * What computes: TensorFlow.js over libtensorflow, called from Deno without a compiler.
 *
 * @module
 */
export { compile, type Compiled, type CompileOptions, type TraceInfo, updateInPlace } from "./compile.ts";
export { ensureLibrary } from "./install.ts";
export * from "./ops.ts";
export * from "./select.ts";
export * from "./tf.ts";
