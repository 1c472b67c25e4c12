/**
 * Kernels of our own: one name, several implementations. Plain loops over the values win on a CPU, where a chain of small
 * TensorFlow operations spends its time walking memory; the same mathematics in tfjs operations runs anywhere, and is
 * the better one on a GPU, whose memory is far away. Tests hold the two against each other.
 *
 * @module
 */
import { isTracing, viewValues } from "./native.ts";
import { currentBinding } from "./binding.ts";
import { CyclopsError } from "../base/errors.ts";
import { type Tensor, tf } from "./tf.ts";

/**
 * Values and shape of an input or output of a host kernel. An input's values lie in native memory: they must not be
 * written to, nor be part of an output.
 */
export interface HostTensor {
  /** Row-major. */
  readonly values: Float32Array;
  /** Size of each dimension. */
  readonly shape: readonly number[];
}

/** One kernel of ours. `A` are its attributes. */
export interface OwnKernel<A> {
  /** Unique, starting with "Cyclops". */
  readonly name: string;
  /** Names of the tensor inputs, in order. */
  readonly inputs: readonly string[];
  /** TensorFlow's own operations, where they are better than loops. */
  readonly native?: (inputs: readonly Tensor[], attributes: A) => Tensor[];
  /** Loops over the values. */
  readonly host?: (inputs: readonly HostTensor[], attributes: A) => HostTensor[];
  /** The same in tfjs operations; left out where callers compose them themselves, so that tfjs differentiates them. */
  readonly portable?: (inputs: readonly Tensor[], attributes: A) => Tensor[];
  /**
   * Gradients with respect to each input, computed only where wanted; without it the kernel cannot be differentiated.
   *
   * @param dy Gradient of the first output; further outputs are not differentiated.
   */
  readonly gradients?: (
    dy: Tensor,
    inputs: readonly Tensor[],
    outputs: readonly Tensor[],
    attributes: A,
  ) => (() => Tensor)[];
}

let forced: "host" | "portable" | undefined;

/** Whether loops over the values are the better implementation with the backend in use. */
export function prefersHost(): boolean {
  if (isTracing()) return false; // loops need values
  if (forced) return forced === "host";
  const backend = tf.getBackend();
  return backend === "cpu" || (backend === "tensorflow" && !currentBinding()?.isUsingGpuDevice());
}

/** Makes every own kernel use one implementation, for tests that compare them; `undefined` restores the choice. */
export function forceImplementation(which: "host" | "portable" | undefined): void {
  forced = which;
}

interface KernelCall {
  readonly inputs: unknown;
  readonly attrs?: unknown;
}
type RunKernel = ReturnType<typeof tf.engine>["runKernel"];

/**
 * Registers a kernel and its gradient.
 *
 * @returns A function that runs it and gives all its outputs.
 */
export function defineKernel<A extends object>(
  kernel: OwnKernel<A>,
): (inputs: readonly Tensor[], attributes: A) => Tensor[] {
  for (const backendName of ["tensorflow", "webgpu", "cpu"]) {
    tf.registerKernel({
      kernelName: kernel.name,
      backendName,
      kernelFunc: ({ inputs, attrs }: KernelCall) => {
        const named = inputs as Record<string, Tensor>;
        const tensors = kernel.inputs.map((name) => named[name]);
        if (kernel.native && backendName === "tensorflow") return kernel.native(tensors, attrs as A);
        if (kernel.portable && !prefersHost()) return tf.tidy(() => kernel.portable!(tensors, attrs as A));
        if (!kernel.host) throw new CyclopsError(`Cannot run ${kernel.name} on backend ${backendName}`);
        const host = tensors.map((t) => ({ values: viewValues(t), shape: t.shape }));
        return kernel.host(host, attrs as A).map(({ values, shape }) =>
          tf.tensor(values, [...shape], "float32")
        );
      },
    });
  }
  const { gradients } = kernel;
  if (gradients) registerGradients(kernel, gradients);
  return (tensors, attributes) => {
    const named = Object.fromEntries(kernel.inputs.map((name, i) => [name, tensors[i]]));
    const out = tf.engine().runKernel(kernel.name, named, attributes as Parameters<RunKernel>[2]) as
      | Tensor
      | Tensor[];
    return Array.isArray(out) ? out : [out];
  };
}

function registerGradients<A extends object>(
  kernel: OwnKernel<A>,
  gradients: NonNullable<OwnKernel<A>["gradients"]>,
): void {
  tf.registerGradient({
    kernelName: kernel.name,
    inputsToSave: [...kernel.inputs],
    outputsToSave: [true, true, true],
    gradFunc: (dys, saved, attrs) => {
      const dy = Array.isArray(dys) ? dys[0] : dys;
      const count = kernel.inputs.length;
      const all = gradients(dy, saved.slice(0, count), saved.slice(count), attrs as unknown as A);
      return Object.fromEntries(kernel.inputs.map((name, i) => [name, () => tf.tidy(all[i])]));
    },
  });
}
