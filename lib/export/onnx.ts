/**
 * Graphs as ONNX files. The format is a protobuf of a few kinds of messages, https://onnx.ai/onnx/repo-docs/IR.html, and
 * is written here byte by byte.
 *
 * Images are NCHW in ONNX: `image` [N,3,H,W], intensities in [0,1], goes in, `disparity` [N,1,H,W] comes out.
 *
 * @module
 */
import type { Constant, ExportOptions, Graph, Node } from "./graph.ts";

/** ONNX 1.8, of 2020: what every runtime of today reads. */
const OPSET = 13, IR_VERSION = 7;
/** TensorProto.DataType. */
const TYPE = { float32: 1, int8: 3, int64: 7, float16: 10 } as const;

/** Chunks of bytes, so that weights are not copied from message to message. */
type Message = readonly Uint8Array[];

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return Uint8Array.of(...bytes, Number(rest));
}

/** A field: an integer, or what has a length. */
function field(number: number, value: number | string | Message): Message {
  if (typeof value === "number") return [varint(number << 3), varint(value)];
  const chunks = typeof value === "string" ? [new TextEncoder().encode(value)] : value;
  return [varint(number << 3 | 2), varint(chunks.reduce((sum, { length }) => sum + length, 0)), ...chunks];
}

type AttributeValue = number | string | readonly number[];

function attribute(name: string, value: AttributeValue): Message {
  const [number, type] = typeof value === "number" ? [3, 2] : typeof value === "string" ? [4, 3] : [8, 7];
  const values = typeof value === "string" ? [value] : [value].flat();
  return [...field(1, name), ...values.flatMap((v) => field(number, v)), ...field(20, type)];
}

/** A float32 input or output; a string stands for a size that is known when it runs. */
function valueInfo(name: string, shape: readonly (number | string)[]): Message {
  const dimensions = shape.flatMap((size) => field(1, field(typeof size === "number" ? 1 : 2, size)));
  return [...field(1, name), ...field(2, field(1, [...field(1, TYPE.float32), ...field(2, dimensions)]))];
}

/**
 * A graph as a file.
 *
 * @returns Its bytes in chunks.
 */
export function encodeOnnx(graph: Graph, options: ExportOptions): Uint8Array[] {
  const { size: { height, width } = { height: "height", width: "width" }, metadata } = options;
  const writer = new Writer(options), batch = options.size ? 1 : "batch";
  const names = new Map<Node | Constant, string>();
  for (const node of graph.nodes) {
    names.set(node, writer.node(node, (x) => names.get(x) ?? writer.constant(x as Constant)));
  }
  writer.emit("Identity", [names.get(graph.output)!], {}, "disparity");
  const body = [
    ...writer.nodes.flatMap((node) => field(1, node)),
    ...field(2, "cyclops"),
    ...writer.initializers.flatMap((tensor) => field(5, tensor)),
    ...field(11, valueInfo("image", [batch, 3, height, width])),
    ...field(12, valueInfo("disparity", [batch, 1, height, width])),
  ];
  return [
    ...field(1, IR_VERSION),
    ...field(2, "cyclops"),
    ...field(7, body),
    ...field(8, field(2, OPSET)),
    ...Object.entries(metadata).flatMap(([key, value]) => field(14, [...field(1, key), ...field(2, value)])),
  ];
}

class Writer {
  readonly nodes: Message[] = [];
  readonly initializers: Message[] = [];
  #count = 0;

  constructor(readonly options: ExportOptions) {}

  /** Adds a node. @returns The name of its output. */
  emit(
    type: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, AttributeValue>> = {},
    output = `${type.toLowerCase()}_${this.#count++}`,
  ): string {
    const described = Object.entries(attributes).flatMap(([name, value]) => field(5, attribute(name, value)));
    const names = inputs.flatMap((name) => field(1, name));
    this.nodes.push([...names, ...field(2, output), ...field(3, output), ...field(4, type), ...described]);
    return output;
  }

  #tensor(
    type: keyof typeof TYPE,
    shape: readonly number[],
    { buffer, byteOffset, byteLength }: ArrayBufferView,
    name = `constant_${this.#count++}`,
  ): string {
    const raw = new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
    const dimensions = shape.flatMap((size) => field(1, size));
    this.initializers.push([...dimensions, ...field(2, TYPE[type]), ...field(8, name), ...field(9, [raw])]);
    return name;
  }

  #floats(values: readonly number[], shape: readonly number[] = []): string {
    return this.#tensor("float32", shape, Float32Array.from(values));
  }

  #integers(...values: readonly number[]): string {
    return this.#tensor("int64", [values.length], BigInt64Array.from(values, BigInt));
  }

  /** A number, or one for each channel. */
  constant({ shape, data, name }: Constant): string {
    return this.#tensor("float32", shape.length ? [shape[0], 1, 1] : [], data, name);
  }

  /** A kernel as [outputs,inputs,k,k], as the precision says. */
  #kernel({ shape: [k, , inputs, outputs], data, name }: Constant, depthwise: boolean): string {
    // [k,k,channels,1] has the order of [k,k,1,channels].
    if (depthwise) [inputs, outputs] = [1, inputs];
    const shape = [outputs, inputs, k, k], each = k * k * inputs;
    const moved = new Float32Array(data.length);
    for (let o = 0, to = 0; o < outputs; o++) {
      for (let i = 0; i < inputs; i++) {
        for (let at = 0; at < k * k; at++) moved[to++] = data[(at * inputs + i) * outputs + o];
      }
    }
    if (this.options.precision === "fp32") return this.#tensor("float32", shape, moved, name);
    if (this.options.precision === "fp16") {
      return this.emit("Cast", [this.#tensor("float16", shape, new Float16Array(moved), name)], {
        to: TYPE.float32,
      });
    }
    // A scale for each output channel.
    const scales = Float32Array.from({ length: outputs }, (_, o) => {
      const largest = moved.subarray(o * each, (o + 1) * each).reduce((m, v) => Math.max(m, Math.abs(v)), 0);
      return largest / 127 || 1;
    });
    const rounded = Int8Array.from(moved, (value, i) => Math.round(value / scales[Math.floor(i / each)]));
    const stored = this.#tensor("int8", shape, rounded, name);
    return this.emit("DequantizeLinear", [stored, this.#tensor("float32", [outputs], scales)], { axis: 0 });
  }

  /** Adds what a node does. @returns The name of its result. */
  node({ operation, inputs }: Node, nameOf: (input: Node | Constant) => string): string {
    switch (operation.op) {
      case "input":
        return "image";
      case "convolution": {
        const { depthwise, stride, pads: [before, after], activation } = operation;
        const [x, kernel, bias] = inputs as [Node, Constant, Constant];
        const y = this.emit("Conv", [
          nameOf(x),
          this.#kernel(kernel, depthwise),
          this.#tensor("float32", bias.shape, bias.data, bias.name),
        ], {
          kernel_shape: kernel.shape.slice(0, 2),
          strides: [stride, stride],
          pads: [before, before, after, after],
          group: depthwise ? kernel.shape[2] : 1,
        });
        return activation ? this.#activate(activation, y) : y;
      }
      case "elu":
      case "relu6":
        return this.#activate(operation.op, nameOf(inputs[0]));
      case "maxPool": {
        const { size, stride, pads: [before, after] } = operation;
        return this.emit("MaxPool", inputs.map(nameOf), {
          kernel_shape: [size, size],
          strides: [stride, stride],
          pads: [before, before, after, after],
        });
      }
      case "reflect": {
        const { rim } = operation;
        const pads = this.#integers(0, 0, rim, rim, 0, 0, rim, rim);
        return this.emit("Pad", [nameOf(inputs[0]), pads], { mode: "reflect" });
      }
      case "upsample":
        return this.emit("Resize", [nameOf(inputs[0]), "", this.#floats([1, 1, 2, 2], [4])], {
          mode: "nearest",
          coordinate_transformation_mode: "asymmetric",
          nearest_mode: "floor",
        });
      case "channel": {
        const { index } = operation;
        const bounds = [index, index + 1, 1].map((value) => this.#integers(value));
        return this.emit("Slice", [nameOf(inputs[0]), ...bounds]);
      }
      case "concat":
        return this.emit("Concat", inputs.map(nameOf), { axis: 1 });
      case "warp":
        return this.#warp(nameOf(inputs[0]), nameOf(inputs[1]), operation.sign);
      default: // add, sub, mul, sigmoid
        return this.emit(operation.op[0].toUpperCase() + operation.op.slice(1), inputs.map(nameOf));
    }
  }

  #activate(activation: "elu" | "relu6", x: string): string {
    return activation === "elu"
      ? this.emit("Elu", [x])
      : this.emit("Clip", [x, this.#floats([0]), this.#floats([6])]);
  }

  /** As in geometry/warp.ts: both neighbors of each sample, gathered along the row. GridSample came later, with 16. */
  #warp(image: string, disparity: string, sign: number): string {
    const integer = (value: number) => this.#tensor("int64", [], BigInt64Array.of(BigInt(value)));
    const toFloat = (x: string) => this.emit("Cast", [x], { to: TYPE.float32 });
    const shape = this.emit("Shape", [image]), count = this.emit("Gather", [shape, integer(3)]);
    const width = toFloat(count), columns = toFloat(this.emit("Range", [integer(0), count, integer(1)]));
    const shift = this.emit("Mul", [disparity, this.emit("Mul", [width, this.#floats([sign])])]);
    const x = this.emit("Add", [shift, columns]), left = this.emit("Floor", [x]);
    const last = this.emit("Sub", [width, this.#floats([1])]);
    const pixels = (column: string) => {
      const inside = this.emit("Clip", [column, this.#floats([0]), last]);
      const places = this.emit("Expand", [this.emit("Cast", [inside], { to: TYPE.int64 }), shape]);
      return this.emit("GatherElements", [image, places], { axis: 3 });
    };
    const first = pixels(left), second = pixels(this.emit("Add", [left, this.#floats([1])]));
    const weight = this.emit("Sub", [x, left]);
    return this.emit("Add", [first, this.emit("Mul", [this.emit("Sub", [second, first]), weight])]);
  }
}
