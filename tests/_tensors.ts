/** Seeded tensors for tests. @module */
import { Random } from "../lib/base/random.ts";
import { type Tensor4D, tf } from "../lib/backend/tf.ts";

/** Uniform values in [low, high), the same for the same seed on every backend. */
export function uniform(
  shape: readonly [number, number, number, number],
  seed: number,
  low = 0,
  high = 1,
): Tensor4D {
  const random = new Random(seed);
  const size = shape.reduce((a, b) => a * b, 1);
  return tf.tensor4d(Float32Array.from({ length: size }, () => random.uniform(low, high)), [...shape]);
}

/** Largest absolute difference; NaN counts as infinite. */
export function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Infinity;
  let worst = 0;
  for (let i = 0; i < a.length; i++) {
    const d = Math.abs(a[i] - b[i]);
    worst = d <= Infinity ? Math.max(worst, d) : Infinity;
  }
  return worst;
}
