/**
 * Holding gradients against finite differences: the only oracle that does not share TensorFlow.js's own mistakes.
 *
 * @module
 */
import { AssertionError } from "./_assert.ts";
import { Random } from "../lib/base/random.ts";
import { type Tensor, tf } from "../lib/backend/tf.ts";

/** How gradients are compared. */
export interface GradientCheck {
  /** Half the distance between the two points of a central difference, in the input's units. @default 1e-2 */
  readonly step?: number;
  /**
   * Largest allowed |gradient − difference|, relative to the larger of the two, or to the mean size of this input's
   * gradient where both are smaller than that. @default 2e-3
   */
  readonly tolerance?: number;
  /** Elements of each input to look at, spread evenly over it; all when it has fewer. @default 64 */
  readonly samples?: number;
}

/** A function of tensors to differentiate; its result may have any shape. */
export type Differentiable = (...inputs: Tensor[]) => Tensor;

/**
 * Compares the gradient of Σ weight·f(inputs), weights random in ±[0.5, 1.5], with central differences of it.
 *
 * The sums are made in float64 from f's float32 values, so that the differences carry little rounding. Choose inputs
 * further than `step` from kinks of f (0 for |x|, ties of a maximum).
 *
 * @param f The function, made of tfjs operations.
 * @param inputs Float32 tensors; each is checked.
 * @returns The largest relative error seen.
 * @throws {AssertionError} When a gradient is off, has another shape than its input, or anything is not finite.
 */
export function checkGradients(
  f: Differentiable,
  inputs: readonly Tensor[],
  { step = 1e-2, tolerance = 2e-3, samples = 64 }: GradientCheck = {},
): number {
  const random = new Random(11);
  const shape = tf.tidy(() => f(...inputs).shape);
  const size = shape.reduce((product, n) => product * n, 1);
  const weights = Float32Array.from(
    { length: size },
    () => (random.chance(0.5) ? 1 : -1) * random.uniform(0.5, 1.5),
  );
  const weighted = (...xs: Tensor[]) => tf.sum(tf.mul(f(...xs), tf.tensor(weights, shape)));
  const gradients = tf.tidy(() => {
    const results = tf.grads(weighted)([...inputs]);
    return results.map((gradient, i) => {
      if (!tf.util.arraysEqual(gradient.shape, inputs[i].shape)) {
        throw new AssertionError(
          `gradient of input ${i} has shape [${gradient.shape}], wanted [${inputs[i].shape}]`,
        );
      }
      return { values: gradient.dataSync() };
    });
  });
  const output = (i: number, values: Float32Array) =>
    tf.tidy(() => {
      const xs = inputs.map((x, k) => k === i ? tf.tensor(values, x.shape) : x);
      return { values: f(...xs).dataSync() };
    }).values;

  let worst = 0;
  inputs.forEach((input, i) => {
    const base = input.dataSync() as Float32Array;
    const count = Math.min(samples, base.length);
    const picked = Array.from({ length: count }, (_, k) => Math.floor((k + 0.5) * base.length / count));
    const pairs = picked.map((index) => {
      const moved = base.slice();
      const high = Math.fround(base[index] + step);
      const low = Math.fround(base[index] - step);
      moved[index] = high;
      const above = output(i, moved);
      moved[index] = low;
      const below = output(i, moved);
      let difference = 0;
      for (let k = 0; k < size; k++) difference += weights[k] * (above[k] - below[k]);
      return { index, wanted: difference / (high - low), found: gradients[i].values[index] };
    });
    const typical = pairs.reduce((sum, { wanted }) => sum + Math.abs(wanted), 0) / pairs.length;
    for (const { index, wanted, found } of pairs) {
      const scale = Math.max(Math.abs(wanted), Math.abs(found), typical);
      const error = scale === 0 ? 0 : Math.abs(found - wanted) / scale;
      if (!(error <= tolerance)) {
        throw new AssertionError(
          `gradient of input ${i} [${input.shape}] at element ${index}: ` +
            `autodiff ${found}, finite differences ${wanted}, relative error ${
              error.toPrecision(3)
            } > ${tolerance}`,
        );
      }
      worst = Math.max(worst, error);
    }
  });
  return worst;
}

/**
 * Seeded values for gradient checks: uniform in [low, high], row-major.
 *
 * @param away Keeps values at least this far from 0, for functions with a kink there.
 */
export function seededTensor<T extends Tensor = Tensor>(
  shape: readonly number[],
  seed: number,
  { low = -1, high = 1, away = 0 }: {
    readonly low?: number;
    readonly high?: number;
    readonly away?: number;
  } = {},
): T {
  const random = new Random(seed);
  const size = shape.reduce((product, n) => product * n, 1);
  const values = Float32Array.from({ length: size }, () => {
    let value = random.uniform(low, high);
    while (Math.abs(value) < away) value = random.uniform(low, high);
    return value;
  });
  return tf.tensor(values, [...shape]) as T;
}
