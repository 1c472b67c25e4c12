/**
 * A prediction as a graph of operations, for other formats. The functions that predict run once while tfjs's kernels
 * are recorded: what is exported is what predicts, and no network is described a second time.
 *
 * @module
 */
import { currentBinding, setCurrentBinding } from "../backend/binding.ts";
import { type Tensor, type Tensor4D, tf, type Variable } from "../backend/tf.ts";
import { CyclopsError } from "../base/errors.ts";
import type { ImageSize } from "../geometry/camera.ts";

/** Values that do not depend on the image. */
export interface Constant {
  readonly kind: "constant";
  /** The variable's name, e.g. `student/head/0/bias`; `undefined` for other values. */
  readonly name?: string;
  readonly shape: readonly number[];
  data: Float32Array;
}

/** Rows or columns to add before and after an image, px. */
export type Pads = readonly [before: number, after: number];

/** What a node does, on images [B,H,W,C]. */
export type Operation =
  | { readonly op: "input" | "add" | "sub" | "mul" | "concat" | "elu" | "relu6" | "sigmoid" }
  /** A kernel that has no translation; most often nothing depends on it. */
  | { readonly op: "unknown"; readonly kernel: string }
  /** Inputs: image, kernel as in tfjs, bias if there is one. */
  | {
    readonly op: "convolution";
    readonly depthwise: boolean;
    readonly stride: number;
    readonly pads: Pads;
    readonly activation?: "elu" | "relu6";
  }
  | { readonly op: "maxPool"; readonly size: number; readonly stride: number; readonly pads: Pads }
  /** Mirrors a rim around the image. */
  | { readonly op: "reflect"; readonly rim: number }
  /** To twice the size, nearest neighbor. */
  | { readonly op: "upsample" }
  | { readonly op: "channel"; readonly index: number }
  /** Inputs: image, disparity [B,H,W,1]. Samples at x + sign · disparity · width, edge pixels beyond the image; see `warp`. */
  | { readonly op: "warp"; readonly sign: number };

/** A step of a prediction. */
export interface Node {
  readonly kind: "node";
  readonly operation: Operation;
  readonly inputs: readonly (Node | Constant)[];
}

/** A recorded prediction. */
export interface Graph {
  readonly output: Node;
  /** What the output depends on, in an order in which it can be computed; the input is the first. */
  readonly nodes: readonly Node[];
}

/** How a graph becomes a file. */
export interface ExportOptions {
  /** Height and width of the one image that it takes, px; `undefined` for any number of images of any size. */
  readonly size?: ImageSize;
  /** How kernels are stored; computed is always in float32. */
  readonly precision: "fp32" | "fp16" | "int8";
  /** What the file says about itself. */
  readonly metadata: Readonly<Record<string, string>>;
}

type Attributes = Readonly<Record<string, unknown>>;

/**
 * Runs a prediction once and records it.
 *
 * @param predict From an image, [B,H,W,3], to a map.
 * @param image What it runs on. The graph fits all sizes.
 * @param variables The networks' weights by name.
 * @throws {CyclopsError} When the result depends on a kernel that has no translation.
 */
export async function traceGraph(
  predict: (image: Tensor4D) => Tensor4D,
  image: Tensor4D,
  variables: ReadonlyMap<string, Variable>,
): Promise<Graph> {
  const recorder = new Recorder(image, variables);
  const engine = tf.engine(), binding = currentBinding(), { runKernel } = engine;
  let depth = 0, result: Tensor4D;
  try {
    // Out of sight between kernels, so that networks use tfjs's kernels on every backend; within, kernels may need it.
    setCurrentBinding(undefined);
    engine.runKernel = ((name: string, inputs: Record<string, Tensor>, attributes: Attributes = {}) => {
      setCurrentBinding(binding);
      depth++;
      const outputs = runKernel.call(engine, name, inputs, attributes as Record<string, never>);
      if (--depth > 0) return outputs;
      setCurrentBinding(undefined);
      recorder.record(name, Object.values(inputs), attributes, [outputs].flat() as Tensor[]);
      return outputs;
    }) as typeof runKernel;
    result = tf.tidy(() => predict(image));
  } finally {
    engine.runKernel = runKernel;
    setCurrentBinding(binding);
  }
  const graph = await recorder.finish(result);
  result.dispose();
  return graph;
}

/** tfjs's kernels that are one operation each. */
const SIMPLE = {
  Add: "add",
  Sub: "sub",
  Multiply: "mul",
  Concat: "concat",
  Elu: "elu",
  Relu6: "relu6",
  Sigmoid: "sigmoid",
} as const;

class Recorder {
  readonly #nodes = new Map<Tensor, Node>();
  readonly #constants = new Map<Tensor, Constant>();
  readonly #names: ReadonlyMap<Tensor, string>;

  constructor(image: Tensor4D, variables: ReadonlyMap<string, Variable>) {
    this.#names = new Map([...variables].map(([name, variable]) => [variable, name]));
    this.#nodes.set(image, { kind: "node", operation: { op: "input" }, inputs: [] });
  }

  #operand(tensor: Tensor): Node | Constant {
    const known = this.#nodes.get(tensor) ?? this.#constants.get(tensor);
    if (known) return known;
    const { shape } = tensor;
    const constant: Constant = {
      kind: "constant",
      name: this.#names.get(tensor),
      shape,
      data: new Float32Array(),
    };
    // Its values are read when the prediction has run: WebGPU cannot read them at once.
    this.#constants.set(tf.keep(tensor), constant);
    return constant;
  }

  record(
    kernel: string,
    tensors: readonly Tensor[],
    attributes: Attributes,
    outputs: readonly Tensor[],
  ): void {
    // What does not depend on the image is a constant where it is used.
    if (!tensors.some((tensor) => this.#nodes.has(tensor))) return;
    const inputs = tensors.map((tensor) => this.#operand(tensor));
    const nodes = this.#translate(kernel, tensors, inputs, attributes, outputs);
    nodes.forEach((node, i) => this.#nodes.set(outputs[i], node));
  }

  /** The nodes that compute a kernel's outputs, the first of them at least. */
  #translate(
    kernel: string,
    tensors: readonly Tensor[],
    inputs: readonly (Node | Constant)[],
    attributes: Attributes,
    outputs: readonly Tensor[],
  ): Node[] {
    const [x, y] = inputs as Node[];
    const node = (operation: Operation, from = inputs): Node[] => [{ kind: "node", operation, inputs: from }];
    /** Zeros around the image where the padding is "same". */
    const pads = (kernelSize: number, stride: number): Pads => {
      const rim = (outputs[0].shape[1]! - 1) * stride + kernelSize - tensors[0].shape[1]!;
      return attributes.pad === "same" && rim > 0 ? [rim >> 1, (rim + 1) >> 1] : [0, 0];
    };
    const first = (value: unknown) => [value].flat()[0] as number;

    if (kernel in SIMPLE) {
      const op = SIMPLE[kernel as keyof typeof SIMPLE];
      // A convolution takes its bias and its activation in.
      if (x.operation?.op === "convolution" && !x.operation.activation) {
        if (op === "add" && x.inputs.length === 2 && (y as unknown as Constant).kind === "constant") {
          return [{ ...x, inputs: [...x.inputs, y] }];
        }
        if (op === "elu" || op === "relu6") return [{ ...x, operation: { ...x.operation, activation: op } }];
      }
      return node({ op });
    }
    switch (kernel) {
      case "Conv2D":
      case "DepthwiseConv2dNative": {
        const stride = first(attributes.strides), depthwise = kernel !== "Conv2D";
        return node({ op: "convolution", depthwise, stride, pads: pads(tensors[1].shape[0], stride) });
      }
      case "MaxPool": {
        const size = first(attributes.filterSize), stride = first(attributes.strides);
        return node({ op: "maxPool", size, stride, pads: pads(size, stride) });
      }
      case "MirrorPad":
        return node({ op: "reflect", rim: (attributes.paddings as number[][])[1][0] });
      case "ResizeNearestNeighbor":
        if (outputs[0].shape[1] === 2 * tensors[0].shape[1]!) return node({ op: "upsample" });
        break;
      case "CyclopsSample":
        if (!attributes.zero) return node({ op: "warp", sign: Math.sign(attributes.shift as number) });
        break;
      case "ZerosLike":
        return node({ op: "mul" }, [x, { kind: "constant", shape: [], data: Float32Array.of(0) }]);
      case "Identity":
      case "Cast": // to float32, which it is
        return [x];
      // A view of one channel: they are moved to the front, taken apart, and given their axis again.
      case "Unpack":
        return outputs.map((_, index) => node({ op: "channel", index }, x.inputs)[0]);
      case "Reshape":
        if (x.operation.op === "channel") return [x];
    }
    return node({ op: "unknown", kernel });
  }

  /** Reads the constants and leaves out what the result does not depend on. */
  async finish(result: Tensor): Promise<Graph> {
    for (const [tensor, constant] of this.#constants) {
      constant.data = (await tensor.data()).slice() as Float32Array;
      if (!constant.name) tensor.dispose();
    }
    const output = this.#nodes.get(result)!, nodes = new Set<Node>();
    const visit = (node: Node | Constant) => {
      if (node.kind === "constant" || nodes.has(node)) return;
      if (node.operation.op === "unknown") {
        throw new CyclopsError(`Cannot export the operation ${node.operation.kernel}: no format has it`);
      }
      node.inputs.forEach(visit);
      nodes.add(node);
    };
    visit(output);
    return { output, nodes: [...nodes] };
  }
}
