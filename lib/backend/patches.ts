/**
 * Fixes of TensorFlow.js 4.22: kernels and gradients that are wrong, missing or slow, replaced by registration. Each
 * entry names the fault upstream; `tests/backend/gradients_*_test.ts` check all of them by finite differences.
 *
 * @module
 */
import type { GradConfig, KernelConfig } from "@tensorflow/tfjs";
import { attr, execute, isTracing } from "./ops.ts";
import { type Tensor, type Tensor1D, type Tensor4D, type TensorInfo, tf } from "./tf.ts";

type KernelCall = Parameters<KernelConfig["kernelFunc"]>[0];
type KernelFunction = (call: KernelCall) => TensorInfo;

/** Registers all fixes for a backend; `selectBackend` calls it, once in a process. */
export function patchTfjs(backend: "tensorflow" | "webgpu" | "cpu"): void {
  for (const config of gradients()) {
    if (tf.getGradient(config.kernelName)) tf.unregisterGradient(config.kernelName);
    tf.registerGradient(config);
  }
  for (const [kernelName, kernelFunc] of Object.entries(KERNELS[backend])) {
    if (tf.getKernel(kernelName, backend)) tf.unregisterKernel(kernelName, backend);
    tf.registerKernel({ kernelName, backendName: backend, kernelFunc });
  }
}

/** A gradient of zeros (float32), made by the backend instead of copied from JavaScript. */
function noSlope(x: Tensor): () => Tensor {
  return () => tf.fill(x.shape, 0);
}

function gradients(): GradConfig[] {
  return [
    // tfjs-core has no gradients of comparisons and logic except GreaterEqual: `where(x > 0, …)` throws.
    ...["Greater", "GreaterEqual", "Less", "LessEqual", "Equal", "NotEqual", "LogicalAnd", "LogicalOr"].map((
      kernelName,
    ): GradConfig => ({
      kernelName,
      inputsToSave: ["a", "b"],
      gradFunc: (_dy, [a, b]) => ({ a: noSlope(a), b: noSlope(b) }),
    })),
    {
      kernelName: "LogicalNot",
      inputsToSave: ["x"],
      gradFunc: (_dy, [x]) => ({ x: noSlope(x) }),
    },
    {
      // tfjs-core passes the gradient through a cast to int32 or bool as if nothing had been rounded.
      kernelName: "Cast",
      gradFunc: (dy, _saved, attributes) => {
        const { dtype } = attributes as unknown as { dtype: string };
        return { x: dtype === "float32" ? () => tf.clone(dy as Tensor) : noSlope(dy as Tensor) };
      },
    },
    {
      // tfjs-core slices dy, which drops the gradient of the mirrored pixels.
      kernelName: "MirrorPad",
      inputsToSave: ["x"],
      gradFunc: (dy, [x], attributes) => {
        const { paddings, mode } = attributes as unknown as MirrorPadAttributes;
        return { x: () => foldMirrored(dy as Tensor, x.shape, paddings, mode === "reflect" ? 1 : 0) };
      },
    },
    gatherGradient(tf.getGradient("GatherV2")),
    poolGradient(tf.getGradient("AvgPool")),
    {
      // tfjs-core permutes the axes of a gradient that was never permuted, unless the last axis is summed over.
      kernelName: "Cumsum",
      gradFunc: (dy, _saved, attributes) => {
        const { axis, exclusive, reverse } = attributes as unknown as CumsumAttributes;
        return { x: () => tf.cumsum(dy as Tensor, axis, exclusive, !reverse) };
      },
    },
    {
      // tfjs-core uses the slope -1 at 0, and `step`, which is eight operations in tfjs-node.
      kernelName: "Abs",
      inputsToSave: ["x"],
      gradFunc: (dy, [x]) => ({ x: () => tf.mul(dy as Tensor, tf.sign(x)) }),
    },
    // tfjs-core multiplies by ones of the input's size, created in JavaScript and uploaded at every step.
    {
      kernelName: "Sum",
      inputsToSave: ["x"],
      gradFunc: (dy, [x], attributes) => {
        const axes = axesOf(x, attributes);
        return { x: () => spread(dy as Tensor, x.shape, axes) };
      },
    },
    {
      kernelName: "Mean",
      inputsToSave: ["x"],
      gradFunc: (dy, [x], attributes) => {
        const axes = axesOf(x, attributes);
        const count = axes.reduce((product, axis) => product * x.shape[axis], 1);
        return { x: () => spread(tf.div(dy as Tensor, count), x.shape, axes) };
      },
    },
  ];
}

function axesOf(x: Tensor, attributes: unknown): number[] {
  return tf.util.parseAxisParam((attributes as { axis: number | number[] }).axis, x.shape);
}

/** Repeats reduced values over the axes that were reduced. */
function spread(dy: Tensor, shape: number[], axes: readonly number[]): Tensor {
  const kept = shape.map((size, axis) => axes.includes(axis) ? 1 : size);
  return tf.broadcastTo(tf.reshape(dy, kept), shape);
}

interface CumsumAttributes {
  readonly axis: number;
  readonly exclusive: boolean;
  readonly reverse: boolean;
}

interface MirrorPadAttributes {
  readonly paddings: readonly (readonly [number, number])[];
  readonly mode: "reflect" | "symmetric";
}

/**
 * Adds the gradient of mirrored elements to that of their originals, axis by axis.
 *
 * @param skip 1 where the edge itself is not repeated ("reflect"), 0 where it is ("symmetric").
 */
function foldMirrored(
  dy: Tensor,
  shape: readonly number[],
  paddings: MirrorPadAttributes["paddings"],
  skip: 0 | 1,
): Tensor {
  let folded = dy;
  paddings.forEach(([before, after], axis) => {
    const size = shape[axis];
    const part = (from: number, length: number) => {
      const begin = folded.shape.map((_, i) => i === axis ? from : 0);
      return tf.slice(folded, begin, folded.shape.map((n, i) => i === axis ? length : n));
    };
    const place = (mirrored: Tensor, from: number) => {
      const pads = mirrored.shape.map((n, i): [number, number] =>
        i === axis ? [from, size - from - n] : [0, 0]
      );
      return tf.pad(tf.reverse(mirrored, axis), pads);
    };
    const terms = [part(before, size)];
    if (before > 0) terms.push(place(part(0, before), skip));
    if (after > 0) terms.push(place(part(before + size, after), size - after - skip));
    folded = terms.length > 1 ? tf.addN(terms) : terms[0];
  });
  return folded;
}

/**
 * tfjs-core returns the int32 indices themselves as the gradient of the indices, which throws as soon as they depend
 * on a variable; and it transposes twice even where rows are gathered.
 */
function gatherGradient(upstream: GradConfig): GradConfig {
  return {
    ...upstream,
    gradFunc: (dy, saved, attributes) => {
      const [x, indices] = saved;
      const { axis, batchDims } = attributes as unknown as { axis: number; batchDims: number };
      const [parsedAxis] = tf.util.parseAxisParam(axis, x.shape);
      const rows = () => {
        const inner = x.shape.slice(1);
        return tf.unsortedSegmentSum(
          tf.reshape(dy as Tensor, [indices.size, ...inner]),
          tf.reshape(indices, [indices.size]) as Tensor1D,
          x.shape[0],
        );
      };
      const general = upstream.gradFunc(dy, saved, attributes).x;
      return { x: parsedAxis === 0 && !batchDims ? rows : general, indices: noSlope(indices) };
    },
  };
}

interface Pooling {
  readonly filterSize: number | readonly [number, number];
  readonly strides: number | readonly [number, number];
  readonly pad: unknown;
}

/**
 * TensorFlow's AvgPoolGrad is slow: 5.4 ms for overlapping 3×3 windows of 8×64×192×3. Averaging the padded gradient
 * takes 0.8 ms; with tiles that do not overlap the gradient is simply repeated.
 */
function poolGradient(upstream: GradConfig): GradConfig {
  const pair = (x: number | readonly [number, number]) => typeof x === "number" ? [x, x] as const : x;
  return {
    ...upstream,
    gradFunc: (dy, saved, attributes) => {
      const { filterSize, strides, pad } = attributes as unknown as Pooling;
      const [height, width] = pair(filterSize);
      const [down, across] = pair(strides);
      const [, rows, columns] = (saved[0] as Tensor4D).shape;
      if (pad === "valid" && down === 1 && across === 1) {
        const rim = (size: number): [number, number] => [size - 1, size - 1];
        const padded = () => tf.pad(dy as Tensor4D, [[0, 0], rim(height), rim(width), [0, 0]]);
        return { x: () => tf.avgPool(padded(), [height, width], 1, "valid") };
      }
      if (down === height && across === width && rows % height === 0 && columns % width === 0) {
        const share = () => tf.div(dy as Tensor4D, height * width) as Tensor4D;
        return { x: () => tf.image.resizeNearestNeighbor(share(), [rows, columns]) };
      }
      return upstream.gradFunc(dy, saved, attributes);
    },
  };
}

function resizeAttributes({ attrs }: KernelCall) {
  const { alignCorners, halfPixelCenters } = attrs as unknown as ResizeAttributes;
  return [attr.bool("align_corners", alignCorners), attr.bool("half_pixel_centers", halfPixelCenters)];
}

/** For the tensorflow backend. */
const nativeKernels: Record<string, KernelFunction> = {
  /** tfjs-node drops half_pixel_centers. */
  ResizeBilinearGrad: (call) => {
    const { dy, images } = call.inputs;
    return execute("ResizeBilinearGrad", [attr.type("T", "float32"), ...resizeAttributes(call)], [
      dy as TensorInfo,
      images as TensorInfo,
    ])[0];
  },
  /** tfjs-node drops half_pixel_centers. Where every pixel was repeated alike, averages take half the time. */
  ResizeNearestNeighborGrad: (call) => {
    const { dy, images } = call.inputs as Record<"dy" | "images", TensorInfo>;
    return tf.tidy(() => {
      const [down, across] = [1, 2].map((axis) => dy.shape[axis] / images.shape[axis]);
      const { alignCorners } = call.attrs as unknown as ResizeAttributes;
      if (!alignCorners && Number.isInteger(down) && Number.isInteger(across)) {
        const window = [down, across] as [number, number];
        return tf.mul(tf.avgPool(dy as Tensor4D, window, window, "valid"), down * across);
      }
      const size = tf.tensor1d(images.shape.slice(1, 3), "int32");
      const attributes = [attr.type("T", "float32"), ...resizeAttributes(call)];
      return execute("ResizeNearestNeighborGrad", attributes, [dy, size])[0];
    });
  },
  /** tfjs-node shares the data: while tracing, a copy of a variable could not be told from the variable. */
  Identity: ({ inputs, backend }) => {
    const x = inputs.x as TensorInfo;
    if (isTracing()) return execute("Identity", [attr.type("T", x.dtype as "float32")], [x])[0];
    (backend as { incRef(data: object): void }).incRef(x.dataId);
    return { dataId: x.dataId, shape: x.shape, dtype: x.dtype };
  },
  /**
   * tfjs-node copies all indices to JavaScript to check them; TensorFlow checks them itself on the CPU (on a GPU an
   * index out of range gives zeros).
   */
  GatherV2: ({ inputs, attrs }) => {
    const x = inputs.x as TensorInfo;
    const indices = inputs.indices as TensorInfo;
    const { axis, batchDims } = attrs as unknown as { axis: number; batchDims?: number };
    return tf.tidy(() => {
      const attributes = [
        attr.int("batch_dims", batchDims ?? 0),
        attr.type("Tparams", x.dtype as "float32"),
        attr.type("Tindices", "int32"),
        attr.type("Taxis", "int32"),
      ];
      const axisTensor = tf.scalar(tf.util.parseAxisParam(axis, x.shape)[0], "int32");
      return execute("GatherV2", attributes, [x, indices, axisTensor])[0];
    });
  },
};

/** For webgpu and cpu. */
const portableKernels: Record<string, KernelFunction> = {
  /** Upstream, both ignore halfPixelCenters, and cpu swaps height and width of the result. */
  ResizeBilinearGrad: (call) => unresize(call, bilinearWeights),
  /** Upstream, both ignore halfPixelCenters, and cpu reads wrong rows of dy for every image but the first. */
  ResizeNearestNeighborGrad: (call) => unresize(call, nearestWeights),
};

const webgpuKernels: Readonly<Record<string, KernelFunction>> = {
  ...portableKernels,
  /**
   * tfjs-backend-webgpu binds all addends in one shader: 8 or more exceed the default limit of storage buffers, and
   * the whole batch of commands is dropped without an error.
   */
  AddN: ({ inputs }) =>
    tf.tidy(() => (inputs as unknown as Tensor[]).reduce((sum, addend) => tf.add(sum, addend)).clone()),
};

const KERNELS = { tensorflow: nativeKernels, webgpu: webgpuKernels, cpu: portableKernels };

interface ResizeAttributes {
  readonly alignCorners: boolean;
  readonly halfPixelCenters: boolean;
}

/** Positions along an axis of `from` px that are sampled for each of `to` px. */
function samplePoints(
  from: number,
  to: number,
  { alignCorners, halfPixelCenters }: ResizeAttributes,
): number[] {
  const scale = alignCorners && to > 1 ? (from - 1) / (to - 1) : from / to;
  return Array.from({ length: to }, (_, i) => halfPixelCenters ? (i + 0.5) * scale - 0.5 : i * scale);
}

type ResizeWeights = (from: number, to: number, attributes: ResizeAttributes) => Float32Array;

/** A resize along one axis as a matrix [to, from]. */
const bilinearWeights: ResizeWeights = (from, to, attributes) => {
  const weights = new Float32Array(to * from);
  samplePoints(from, to, attributes).forEach((x, i) => {
    const low = Math.floor(x);
    const fraction = x - low;
    const clamp = (j: number) => Math.min(Math.max(j, 0), from - 1);
    weights[i * from + clamp(low)] += 1 - fraction;
    weights[i * from + clamp(low + 1)] += fraction;
  });
  return weights;
};

const nearestWeights: ResizeWeights = (from, to, attributes) => {
  const weights = new Float32Array(to * from);
  samplePoints(from, to, attributes).forEach((x, i) => {
    const nearest = attributes.alignCorners
      ? Math.round(x)
      : Math.floor(attributes.halfPixelCenters ? x + 0.5 : x);
    weights[i * from + Math.min(Math.max(nearest, 0), from - 1)] = 1;
  });
  return weights;
};

/** The gradient of a separable resize: the transposed matrices, rows first. */
function unresize(call: KernelCall, weightsOf: ResizeWeights): TensorInfo {
  const attributes = call.attrs as unknown as ResizeAttributes;
  const dy = call.inputs.dy as Tensor4D;
  const images = call.inputs.images as TensorInfo;
  const [batch, height, width, channels] = images.shape;
  const [, toHeight, toWidth] = dy.shape;
  return tf.tidy(() => {
    const rows = tf.tensor2d(weightsOf(height, toHeight, attributes), [toHeight, height]);
    const columns = tf.tensor2d(weightsOf(width, toWidth, attributes), [toWidth, width]);
    const vertical = tf.matMul(
      tf.tile(tf.expandDims(rows, 0), [batch, 1, 1]),
      tf.reshape(dy, [batch, toHeight, toWidth * channels]),
      true,
    );
    const horizontal = tf.matMul(
      tf.tile(tf.expandDims(columns, 0), [batch * height, 1, 1]),
      tf.reshape(vertical, [batch * height, toWidth, channels]),
      true,
    );
    return tf.reshape(horizontal, images.shape);
  });
}
