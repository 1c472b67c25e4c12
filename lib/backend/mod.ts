/**
 * What computes: TensorFlow.js over libtensorflow, called from Deno without a compiler.
 *
 * @module
 */
export * from "./native.ts";
export * from "./select.ts";
export * from "./tf.ts";
