/**
 * Keeping gradients out. tfjs has no `stopGradient`; these do what it would.
 *
 * @module
 */
import { type Scalar, type Tensor, tf } from "./tf.ts";

/**
 * Runs a function whose operations are not recorded for differentiation: what it returns is a constant to every
 * gradient taken around it, and costs no backward pass.
 *
 * @example
 * ```ts
 * import { noGradient } from "./gradients.ts";
 * import { tf } from "./tf.ts";
 *
 * tf.grad((x) => tf.mul(x, noGradient(() => tf.square(x))))(tf.scalar(3)); // 9, not 27
 * ```
 */
export function noGradient<T>(compute: () => T): T {
  // The tape records an operation only at kernel depth 0; custom gradients rely on the same counter.
  const state = (tf.engine() as unknown as { state: { kernelDepth: number } }).state;
  state.kernelDepth++;
  try {
    return compute();
  } finally {
    state.kernelDepth--;
  }
}

/** The same values, through which no gradient passes. */
export function detach<T extends Tensor>(x: T): T {
  return noGradient(() => tf.clone(x));
}

/**
 * The same values, through which the gradient passes multiplied by `factor`; 0 is {@linkcode detach}, 1 changes
 * nothing. Inside a compiled function, a factor that changes from call to call must be a scalar tensor.
 */
export function scaleGradient<T extends Tensor>(x: T, factor: number | Scalar): T {
  if (factor === 1) return x;
  if (factor === 0) return detach(x);
  const scaled = tf.customGrad((value) => ({
    value: tf.clone(value as Tensor),
    gradFunc: (dy: Tensor) => tf.mul(dy, factor),
  }));
  return scaled(x) as T;
}
