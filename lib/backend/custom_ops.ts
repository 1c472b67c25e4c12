/**
 * Operations of our own with hand-written gradients: few large operations where tfjs's differentiation would record many
 * small ones.
 *
 * @module
 */
import { type Tensor, tf } from "./tf.ts";

/** One operation. `A` are its attributes. */
export interface CustomOp<A> {
  /** Unique, starting with "Cyclops". */
  readonly name: string;
  /** Names of the tensor inputs, in order. */
  readonly inputs: readonly string[];
  /** Computes the outputs; what the gradients need later may be among them. */
  readonly forward: (inputs: readonly Tensor[], attributes: A) => Tensor[];
  /**
   * Gradients with respect to each input, computed only where needed.
   *
   * @param dy Gradient of the first output; further outputs are not differentiated.
   */
  readonly gradients: (
    dy: Tensor,
    inputs: readonly Tensor[],
    outputs: readonly Tensor[],
    attributes: A,
  ) => (() => Tensor)[];
}

/**
 * Registers an operation and its gradients.
 *
 * @returns A function that runs it and returns all its outputs.
 */
export function defineOp<A extends object>(
  op: CustomOp<A>,
): (inputs: readonly Tensor[], attributes: A) => Tensor[] {
  const { name, inputs: names, forward, gradients } = op;
  for (const backendName of ["tensorflow", "webgpu", "cpu"]) {
    tf.registerKernel({
      kernelName: name,
      backendName,
      kernelFunc: ({ inputs, attrs }) => {
        const tensors = names.map((name) => (inputs as Record<string, Tensor>)[name]);
        return tf.tidy(() => forward(tensors, attrs as unknown as A));
      },
    });
  }
  tf.registerGradient({
    kernelName: name,
    inputsToSave: [...names],
    outputsToSave: Array(8).fill(true),
    gradFunc: (dys, saved, attrs) => {
      const dy = Array.isArray(dys) ? dys[0] : dys;
      const inputs = saved.slice(0, names.length);
      const all = gradients(dy, inputs, saved.slice(names.length), attrs as unknown as A);
      return Object.fromEntries(names.map((name, i) => [name, () => tf.tidy(all[i])]));
    },
  });
  return (tensors, attributes) => {
    const named = Object.fromEntries(names.map((name, i) => [name, tensors[i]]));
    const out = tf.engine().runKernel(name, named, attributes as Record<string, never>) as Tensor | Tensor[];
    return Array.isArray(out) ? out : [out];
  };
}
