/**
 * Graphs as TensorFlow.js graph models, which `tf.loadGraphModel` reads: model.json with TensorFlow's operations, and the
 * weights beside it. Images stay NHWC: `image` [N,H,W,3] goes in, `disparity` [N,H,W,1] comes out.
 *
 * @module
 */
import type { Constant, ExportOptions, Graph, Node, Operation } from "./graph.ts";

/** An attribute of a node, as the JSON form of TensorFlow's protobuf has it. */
type Attribute = Readonly<Record<string, unknown>>;

const FLOAT: Attribute = { type: "DT_FLOAT" }, INT: Attribute = { type: "DT_INT32" };
const text = (value: string): Attribute => ({ s: btoa(value) });
const integers = (...values: readonly number[]): Attribute => ({ list: { i: values.map(String) } });
const dimensions = (shape: readonly number[]) => ({ dim: shape.map((size) => ({ size: String(size) })) });
const padding = (pads: readonly number[]): Attribute => text(pads[1] > 0 ? "SAME" : "VALID");

/** The files' contents by name. */
export function encodeTfjs(graph: Graph, options: ExportOptions): ReadonlyMap<string, Uint8Array[]> {
  const { size: { height, width } = { height: -1, width: -1 }, metadata } = options;
  const writer = new Writer(options), batch = options.size ? 1 : -1;
  const shapes = { image: [batch, height, width, 3], disparity: [batch, height, width, 1] };
  writer.emit("Placeholder", [], { dtype: FLOAT, shape: { shape: dimensions(shapes.image) } }, "image");
  const names = new Map<Node | Constant, string>();
  for (const node of graph.nodes) {
    names.set(node, writer.node(node, (x) => names.get(x) ?? writer.floats(x as Constant)));
  }
  writer.emit("Identity", [names.get(graph.output)!], { T: FLOAT }, "disparity");
  const tensorInfo = (name: keyof typeof shapes) => ({
    [name]: { name: `${name}:0`, dtype: "DT_FLOAT", tensorShape: dimensions(shapes[name]) },
  });
  const model = {
    format: "graph-model",
    generatedBy: "cyclops",
    convertedBy: "cyclops",
    modelTopology: { node: writer.nodes, versions: { producer: 1087 } },
    weightsManifest: [{ paths: [WEIGHTS], weights: writer.weights }],
    signature: { inputs: tensorInfo("image"), outputs: tensorInfo("disparity") },
    userDefinedMetadata: metadata,
  };
  const json = new TextEncoder().encode(JSON.stringify(model));
  return new Map([[WEIGHTS, writer.bytes], ["model.json", [json]]]);
}

const WEIGHTS = "weights.bin";

class Writer {
  readonly nodes: unknown[] = [];
  readonly weights: unknown[] = [];
  readonly bytes: Uint8Array[] = [];
  #count = 0;

  constructor(readonly options: ExportOptions) {}

  /** Adds a node. @returns Its name. */
  emit(
    op: string,
    input: readonly string[],
    attr: Readonly<Record<string, Attribute>> = { T: FLOAT },
    name = `${op.replace("_", "").toLowerCase()}_${this.#count++}`,
  ): string {
    this.nodes.push({ name, op, input, attr });
    return name;
  }

  #constant(
    dtype: "float32" | "int32",
    shape: readonly number[],
    data: Float32Array | Int32Array | Uint16Array | Uint8Array,
    name = `constant_${this.#count++}`,
    quantization?: Readonly<Record<string, unknown>>,
  ): string {
    const type = dtype === "float32" ? FLOAT : INT;
    const value = { tensor: { dtype: type.type, tensorShape: dimensions(shape) } };
    this.weights.push({ name, shape, dtype, ...quantization && { quantization } });
    this.bytes.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    return this.emit("Const", [], { dtype: type, value }, name);
  }

  floats({ shape, data, name }: Omit<Constant, "kind">): string {
    return this.#constant("float32", shape, data, name);
  }

  #integers(values: readonly number[], shape: readonly number[] = [values.length]): string {
    return this.#constant("int32", shape, Int32Array.from(values));
  }

  /** A kernel, stored as the precision says. One scale is too little for kernels of a channel each, which are small. */
  #kernel({ shape, data, name }: Constant, depthwise: boolean): string {
    const { precision } = this.options, original_dtype = "float32";
    if (precision === "fp32" || precision === "int8" && depthwise) return this.floats({ shape, data, name });
    if (precision === "fp16") {
      const halves = new Uint16Array(new Float16Array(data).buffer);
      return this.#constant("float32", shape, halves, name, { dtype: "float16", original_dtype });
    }
    const [low, high] = data.reduce(([low, high], v) => [Math.min(low, v), Math.max(high, v)], [0, 0]);
    const scale = (high - low) / 255 || 1, min = Math.round(low / scale) * scale;
    const steps = Uint8Array.from(
      data,
      (value) => Math.min(255, Math.max(0, Math.round((value - min) / scale))),
    );
    return this.#constant("float32", shape, steps, name, { dtype: "uint8", original_dtype, min, scale });
  }

  /** Adds what a node does. @returns The name of its result. */
  node({ operation, inputs }: Node, nameOf: (input: Node | Constant) => string): string {
    switch (operation.op) {
      case "input":
        return "image";
      case "convolution":
        return this.#convolution(operation, inputs, nameOf);
      case "maxPool": {
        const { size, stride, pads } = operation;
        return this.emit("MaxPool", inputs.map(nameOf), {
          T: FLOAT,
          ksize: integers(1, size, size, 1),
          strides: integers(1, stride, stride, 1),
          padding: padding(pads),
        });
      }
      case "reflect": {
        const { rim } = operation, rims = this.#integers([0, 0, rim, rim, rim, rim, 0, 0], [4, 2]);
        return this.emit("MirrorPad", [nameOf(inputs[0]), rims], { T: FLOAT, mode: text("REFLECT") });
      }
      case "upsample": {
        const x = nameOf(inputs[0]), size = this.#sizes(x, 1, 3);
        return this.emit("ResizeNearestNeighbor", [
          x,
          this.emit("Mul", [size, this.#integers([2, 2])], { T: INT }),
        ]);
      }
      case "channel": {
        const bounds = [[0, 0, 0, operation.index], [-1, -1, -1, 1]].map((values) => this.#integers(values));
        return this.emit("Slice", [nameOf(inputs[0]), ...bounds], { T: FLOAT, Index: INT });
      }
      case "concat":
        return this.#concat(inputs.map(nameOf));
      case "warp":
        return this.#warp(nameOf(inputs[0]), nameOf(inputs[1]), operation.sign);
      case "add":
        return this.emit("AddV2", inputs.map(nameOf));
      default: // sub, mul, sigmoid, elu, relu6
        return this.emit(operation.op[0].toUpperCase() + operation.op.slice(1), inputs.map(nameOf));
    }
  }

  #concat(names: readonly string[]): string {
    const N = { i: String(names.length) };
    return this.emit("ConcatV2", [...names, this.#integers([3], [])], { T: FLOAT, N, Tidx: INT });
  }

  #convolution(
    { depthwise, stride, pads, activation }: Extract<Operation, { op: "convolution" }>,
    [x, kernel, bias]: Node["inputs"],
    nameOf: (input: Node | Constant) => string,
  ): string {
    // Not every backend can fuse ELU.
    const fused = ["BiasAdd", ...activation === "relu6" ? ["Relu6"] : []];
    const weights = [this.#kernel(kernel as Constant, depthwise), this.floats(bias as Constant)];
    const y = this.emit(depthwise ? "FusedDepthwiseConv2dNative" : "_FusedConv2D", [nameOf(x), ...weights], {
      T: FLOAT,
      strides: integers(1, stride, stride, 1),
      dilations: integers(1, 1, 1, 1),
      padding: padding(pads),
      data_format: text("NHWC"),
      num_args: { i: "1" },
      fused_ops: { list: { s: fused.map(btoa) } },
    });
    return activation === "elu" ? this.emit("Elu", [y]) : y;
  }

  /** Sizes of axes `from` to `to` of an image, int32; of a single axis a number. */
  #sizes(image: string, from: number, to: number): string {
    const bounds = [[from], [to], [1]].map((values) => this.#integers(values));
    return this.emit("StridedSlice", [this.emit("Shape", [image], { T: FLOAT, out_type: INT }), ...bounds], {
      T: INT,
      shrink_axis_mask: { i: to - from === 1 ? "1" : "0" },
    });
  }

  /** As in geometry/warp.ts: both neighbors of each sample, gathered along the row. */
  #warp(image: string, disparity: string, sign: number): string {
    const number = (value: number) => this.floats({ shape: [], data: Float32Array.of(value) });
    const integer = (value: number) => this.#integers([value], []);
    const cast = (x: string, SrcT: Attribute, DstT: Attribute) => this.emit("Cast", [x], { SrcT, DstT });
    const count = this.#sizes(image, 2, 3), width = cast(count, INT, FLOAT);
    const columns = cast(this.emit("Range", [integer(0), count, integer(1)], { Tidx: INT }), INT, FLOAT);
    const rows = this.emit("Squeeze", [disparity], { T: FLOAT, squeeze_dims: integers(3) });
    const shift = this.emit("Mul", [rows, this.emit("Mul", [width, number(sign)])]);
    const x = this.emit("AddV2", [shift, columns]), left = this.emit("Floor", [x]);
    const last = this.emit("Sub", [width, number(1)]);
    const pixels = (column: string) => {
      const inside = this.emit("Minimum", [this.emit("Maximum", [column, number(0)]), last]);
      const places = [image, cast(inside, FLOAT, INT), integer(2)];
      return this.emit("GatherV2", places, {
        Tparams: FLOAT,
        Tindices: INT,
        Taxis: INT,
        batch_dims: { i: "2" },
      });
    };
    const first = pixels(left), second = pixels(this.emit("AddV2", [left, number(1)]));
    const weight = this.emit("ExpandDims", [this.emit("Sub", [x, left]), integer(3)]);
    return this.emit("AddV2", [first, this.emit("Mul", [this.emit("Sub", [second, first]), weight])]);
  }
}
