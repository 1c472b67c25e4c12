/**
 * Records operations as a TensorFlow graph and turns it into a function; `compile.ts` decides what is recorded.
 *
 * @module
 */
import { CyclopsError } from "../base/errors.ts";
import {
  ATTRIBUTE,
  type Attribute,
  type Binding,
  DTYPE,
  dtypeName,
  type Recorder,
  type TensorMetadata,
} from "./binding.ts";

type Pointer = Deno.PointerObject;

/** An output of an operation in the graph. */
interface Node {
  /** `TF_Output`, as the C functions take it. */
  readonly output: Uint8Array<ArrayBuffer>;
  readonly metadata: TensorMetadata;
  /** Values of a constant int32 vector, to recognize reshapes that change nothing. */
  readonly integers?: readonly number[];
}

/** An operation's definition in TensorFlow's registry. */
interface Definition {
  /** For each input: undefined for a single tensor, or the attribute with the length of a list. */
  readonly inputs: readonly (string | undefined)[];
  readonly stateful: boolean;
}

/** A TensorFlow variable that the graph reads or changes; its operations must keep their order. */
interface Resource {
  /** Shape of its value, if known. */
  readonly shape?: readonly number[];
  write?: Pointer;
  reads: Pointer[];
  /** The value read last, until the next write. */
  value?: TensorMetadata;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Ids of traced tensors count down from -2; -1 is tfjs-node's "not uploaded yet". Never reused, to detect strays. */
let nextId = -2;
let functions = 0;

/** Equal constants of up to this many bytes share a node. */
const SHARED_BYTES = 64;
/** Larger constants of one repeated value become a Fill. */
const FILL_ELEMENTS = 64;

/** Operations that only move values, so that rounding may come before or after; their attributes of the type. */
const MOVES: Readonly<Record<string, string>> = {
  ConcatV2: "T",
  GatherV2: "Tparams",
  Reshape: "T",
  ResizeNearestNeighbor: "T",
  Slice: "T",
  SplitV: "T",
  Transpose: "T",
};
/** Those of them before which rounding is no more work than after. */
const ROUNDED_BEFORE = ["ConcatV2", "GatherV2", "Reshape", "ResizeNearestNeighbor"];

/** Parses the wire format of a protocol buffer, as far as `OpDef` needs it. */
function fields(bytes: Uint8Array, each: (field: number, value: number, part: Uint8Array) => void): void {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let factor = 1;; factor *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const kind = tag & 7;
    const value = kind === 5 ? 4 : kind === 1 ? 8 : varint();
    const length = kind === 0 ? 0 : value;
    each(tag >> 3, value, bytes.subarray(at, at + length));
    at += length;
  }
}

/** `OpDef` of `op_def.proto`: input_arg = 2 (number_attr = 5, type_list_attr = 6), is_stateful = 17. */
function parseDefinition(bytes: Uint8Array): Definition {
  const inputs: (string | undefined)[] = [];
  let stateful = false;
  fields(bytes, (field, value, part) => {
    if (field === 17) stateful = value === 1;
    if (field !== 2) return;
    let list: string | undefined;
    fields(part, (field, _value, text) => {
      if (field === 5 || field === 6) list = decoder.decode(text);
    });
    inputs.push(list);
  });
  return { inputs, stateful };
}

/** The innermost stack frame outside of this folder and tfjs. */
export function callSite(): string {
  const frames = new Error().stack?.split("\n").slice(1) ?? [];
  const frame = frames.find((line) => !/node_modules|\/lib\/backend\/|\bext:|\bnode:/.test(line));
  return frame ? ` (${frame.trim()})` : "";
}

function isUniform(values: ArrayLike<number>): boolean {
  for (let i = 1; i < values.length; i++) if (values[i] !== values[0]) return false;
  return true;
}

/** A graph that is being recorded. */
export class Graph implements Recorder {
  /** Nodes by operation, for reports. */
  readonly counts: Record<string, number> = {};
  readonly #binding: Binding;
  readonly #graph: Pointer;
  readonly #capture: (id: number) => TensorMetadata;
  readonly #nodes = new Map<number, Node>();
  readonly #definitions = new Map<string, Definition>();
  readonly #constants = new Map<string, TensorMetadata>();
  readonly #resources = new Map<number, Resource>();
  /** Nodes of bfloat16 by that of the same values in float32. */
  readonly #exact = new Map<number, TensorMetadata>();
  /** Nodes of bfloat16 by that of the values in float32 that they were rounded from. */
  readonly #rounded = new Map<number, TensorMetadata>();
  /** How the results of {@linkcode ROUNDED_BEFORE} were made. */
  readonly #moved = new Map<
    number,
    [name: string, attributes: readonly Attribute[], inputs: readonly number[]]
  >();
  /** Operations that must run though no output depends on them. */
  readonly #effects: Pointer[] = [];
  #size = 0;

  /** @param capture Brings a native tensor from outside into the graph. */
  constructor(binding: Binding, capture: (id: number) => TensorMetadata) {
    this.#binding = binding;
    this.#capture = capture;
    this.#graph = binding.runtime.c.TF_NewGraph() as Pointer;
  }

  /** Number of nodes. */
  get size(): number {
    return this.#size;
  }

  read = (): never => {
    throw new CyclopsError(
      `Cannot read a tensor's values inside a compiled function${callSite()}: nothing is computed while it is ` +
        "traced; return the tensor and read it outside",
    );
  };

  /** An input of the function. */
  placeholder(shape: readonly number[], dtype: number): TensorMetadata {
    const { c, cName, int64s } = this.#binding.runtime;
    const node = this.#begin("Placeholder");
    c.TF_SetAttrType(node, cName("dtype"), dtype);
    c.TF_SetAttrShape(node, cName("shape"), int64s(shape), shape.length);
    return this.#finish(node, "Placeholder", []).outputs[0];
  }

  /** An input of the function that is a variable's handle. @param shape Of its value. */
  resource(shape: readonly number[] | undefined): TensorMetadata {
    const made = this.placeholder([], DTYPE.resource);
    this.#resources.set(made.id, { shape, reads: [] });
    return made;
  }

  createTensor = (shape: readonly number[], dtype: number, values: ArrayBufferView): number =>
    this.constant(shape, dtype, values).id;

  /** A constant; equal small ones are one node. */
  constant(shape: readonly number[], dtype: number, values: ArrayBufferView): TensorMetadata {
    const { c, newTensor } = this.#binding.runtime;
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    const key = bytes.length <= SHARED_BYTES ? `${dtype}[${shape}]${bytes}` : undefined;
    const known = key && this.#constants.get(key);
    if (known) return known;
    const elements = values as unknown as ArrayLike<number>;
    if (elements.length > FILL_ELEMENTS && dtype !== DTYPE.complex64 && isUniform(elements)) {
      const dims = this.constant([shape.length], DTYPE.int32, Int32Array.from(shape));
      const value = this.constant([], dtype, bytes.slice(0, bytes.length / elements.length));
      return this.executeOp("Fill", [{ name: "T", type: ATTRIBUTE.type, value: dtype }], [
        dims.id,
        value.id,
      ])[0];
    }
    const tensor = newTensor(shape, dtype, values);
    try {
      const integers = dtype === DTYPE.int32 && shape.length === 1 ? Array.from(elements) : undefined;
      const made = this.constantFrom(tensor, dtype, integers);
      if (key) this.#constants.set(key, made);
      return made;
    } finally {
      c.TF_DeleteTensor(tensor);
    }
  }

  /** A constant with the values of a `TF_Tensor`, which stays the caller's. */
  constantFrom(tensor: Pointer, dtype: number, integers?: readonly number[]): TensorMetadata {
    const { c, cName, check, status } = this.#binding.runtime;
    const node = this.#begin("Const");
    c.TF_SetAttrTensor(node, cName("value"), tensor, status);
    check("record a constant");
    c.TF_SetAttrType(node, cName("dtype"), dtype);
    return this.#finish(node, "Const", [], undefined, integers).outputs[0];
  }

  executeOp = (
    name: string,
    attributes: readonly Attribute[],
    inputs: readonly number[],
  ): TensorMetadata[] => {
    const nodes = inputs.map((id) => this.#node(id).metadata);
    if (name === "Cast") {
      const [{ id, dtype }] = nodes;
      const to = attributes.find((attribute) => attribute.name === "DstT")?.value;
      if (dtype === DTYPE.float32 && to === DTYPE.bfloat16) return [this.#narrow(id)];
      return dtype === DTYPE.bfloat16 && to === DTYPE.float32
        ? [this.#widen(id)]
        : this.#add(name, attributes, inputs);
    }
    const wide = name in MOVES ? nodes.filter(({ dtype }) => dtype === DTYPE.float32) : [];
    if (wide.length > 0 && wide.every(({ id }) => this.#exact.has(id))) {
      return this.#moveNarrow(name, attributes, inputs).map(({ id }) => this.#widen(id));
    }
    const made = this.#add(name, attributes, inputs);
    // An operation that changes nothing is its own input.
    if (wide.length > 0 && ROUNDED_BEFORE.includes(name) && made[0].id !== inputs[0]) {
      this.#moved.set(made[0].id, [name, attributes, inputs]);
    }
    return made;
  };

  // Values stay in bfloat16 from one convolution to the next: of casts that cancel out both are left out, also where
  // operations that only move values lie between them. A cast takes longer than some convolutions.

  /** A float32 node's values in bfloat16. */
  #narrow(id: number): TensorMetadata {
    const known = this.#exact.get(id) ?? this.#rounded.get(id);
    if (known) return known;
    const moved = this.#moved.get(id);
    const [made] = moved ? this.#moveNarrow(...moved) : this.#cast(id, DTYPE.float32, DTYPE.bfloat16);
    this.#rounded.set(id, made);
    return made;
  }

  /** A bfloat16 node's values in float32. */
  #widen(id: number): TensorMetadata {
    const [made] = this.#cast(id, DTYPE.bfloat16, DTYPE.float32);
    this.#exact.set(made.id, this.#node(id).metadata);
    return made;
  }

  #cast(id: number, from: number, to: number): TensorMetadata[] {
    const type = (name: string, value: number) => ({ name, type: ATTRIBUTE.type, value });
    return this.#add("Cast", [type("SrcT", from), type("DstT", to)], [id]);
  }

  /** Runs one of {@linkcode MOVES} in bfloat16. */
  #moveNarrow(name: string, attributes: readonly Attribute[], inputs: readonly number[]): TensorMetadata[] {
    return this.#add(
      name,
      attributes.map((a) => a.name === MOVES[name] ? { ...a, value: DTYPE.bfloat16 } : a),
      inputs.map((id) => this.#node(id).metadata.dtype === DTYPE.float32 ? this.#narrow(id).id : id),
    );
  }

  #add(name: string, attributes: readonly Attribute[], inputs: readonly number[]): TensorMetadata[] {
    const { c, setGraphAttribute } = this.#binding.runtime;
    const nodes = inputs.map((id) => this.#node(id));
    if (changesNothing(name, attributes, nodes)) return [nodes[0].metadata];
    const resources = nodes.filter(({ metadata }) => metadata.dtype === DTYPE.resource)
      .map(({ metadata }) => this.#resourceOf(metadata.id));
    const reads = name === "ReadVariableOp";
    if (reads && resources[0].value) return [resources[0].value];

    const definition = this.#definition(name);
    const operation = this.#begin(name);
    let next = 0;
    for (const list of definition.inputs) {
      if (list === undefined) {
        if (next < nodes.length) c.TF_AddInput(operation, nodes[next++].output);
        continue;
      }
      const value = attributes.find((attribute) => attribute.name === list)?.value;
      const count = Array.isArray(value) ? value.length : value as number;
      const outputs = new Uint8Array(16 * count);
      for (let i = 0; i < count; i++) outputs.set(nodes[next++].output, 16 * i);
      c.TF_AddInputList(operation, outputs, count);
    }
    for (const attribute of attributes) setGraphAttribute(operation, attribute);
    for (const { write, reads: before } of resources) {
      if (write) c.TF_AddControlInput(operation, write);
      if (!reads) { for (const read of before) c.TF_AddControlInput(operation, read); }
    }
    const { node, outputs } = this.#finish(operation, name, nodes, reads ? resources[0].shape : undefined);
    if (definition.stateful && !reads) this.#effects.push(node);
    for (const resource of resources) {
      if (reads) {
        resource.reads.push(node);
        resource.value = outputs[0];
      } else Object.assign(resource, { write: node, reads: [], value: undefined });
    }
    return outputs;
  }

  /**
   * Turns what was recorded into a function that {@linkcode Binding.executeOp} runs by its name.
   *
   * @param inputs Placeholders. @param outputs Any nodes, also repeated ones.
   */
  toFunction(label: string, inputs: readonly number[], outputs: readonly number[]): string {
    const { c, context, status, check } = this.#binding.runtime;
    const name = `${label.replace(/\W/g, "_") || "function"}_${functions++}`;
    const list = (nodes: readonly Node[]) => {
      const bytes = new Uint8Array(16 * nodes.length);
      nodes.forEach(({ output }, i) => bytes.set(output, 16 * i));
      return bytes;
    };
    // TensorFlow wants each output once, and none that is an input.
    const used = new Set(inputs);
    const results = outputs.map((id) => {
      const { metadata } = this.#node(id);
      const type = { name: "T", type: ATTRIBUTE.type, value: metadata.dtype };
      const own = used.has(metadata.id) ? this.#identity(metadata.id, type) : metadata.id;
      used.add(own);
      return this.#node(own);
    });
    const effects = BigUint64Array.from(this.#effects, (node) => Deno.UnsafePointer.value(node));
    const made = c.TF_GraphToFunctionWithControlOutputs(
      this.#graph,
      this.#binding.runtime.cName(name),
      0,
      -1,
      null,
      inputs.length,
      list(inputs.map((id) => this.#node(id))),
      results.length,
      list(results),
      null,
      effects.length,
      effects,
      null,
      null,
      null,
      status,
    ) as Pointer;
    check(`compile ${name}`);
    c.TFE_ContextAddFunction(context, made, status);
    c.TF_DeleteFunction(made);
    check(`add the function ${name}`);
    return name;
  }

  /** Frees the graph; functions made from it stay. */
  close(): void {
    this.#binding.runtime.c.TF_DeleteGraph(this.#graph);
  }

  #identity(id: number, type: Attribute): number {
    const { c, setGraphAttribute } = this.#binding.runtime;
    const operation = this.#begin("Identity");
    c.TF_AddInput(operation, this.#node(id).output);
    setGraphAttribute(operation, type);
    return this.#finish(operation, "Identity", [this.#node(id)]).outputs[0].id;
  }

  #node(id: number): Node {
    const node = this.#nodes.get(id >= 0 ? this.#capture(id).id : id);
    if (!node) {
      throw new CyclopsError(
        `Cannot use a tensor of one compiled function inside another${callSite()}: return it first`,
      );
    }
    return node;
  }

  #resourceOf(id: number): Resource {
    let resource = this.#resources.get(id);
    if (!resource) this.#resources.set(id, resource = { reads: [] });
    return resource;
  }

  #definition(name: string): Definition {
    let definition = this.#definitions.get(name);
    if (definition) return definition;
    const { c, cName, status, check } = this.#binding.runtime;
    const buffer = c.TF_NewBuffer() as Pointer;
    try {
      c.TF_GraphGetOpDef(this.#graph, cName(name), buffer, status);
      check(`compile ${name}`);
      const view = new Deno.UnsafePointerView(buffer);
      const bytes = Deno.UnsafePointerView.getArrayBuffer(view.getPointer(0)!, Number(view.getBigUint64(8)));
      this.#definitions.set(name, definition = parseDefinition(new Uint8Array(bytes)));
    } finally {
      c.TF_DeleteBuffer(buffer);
    }
    return definition;
  }

  #begin(name: string): Pointer {
    const { c, cName } = this.#binding.runtime;
    this.counts[name] = (this.counts[name] ?? 0) + 1;
    const label = encoder.encode(`${name}_${this.#size++}\0`);
    return c.TF_NewOperation(this.#graph, cName(name), label) as Pointer;
  }

  #finish(
    operation: Pointer,
    name: string,
    inputs: readonly Node[],
    shape?: readonly number[],
    integers?: readonly number[],
  ): { readonly node: Pointer; readonly outputs: TensorMetadata[] } {
    const { c, status, check, int64s } = this.#binding.runtime;
    const what = () =>
      `${name}(${inputs.map(({ metadata: m }) => `${dtypeName(m.dtype)}[${m.shape}]`).join(", ")})`;
    const node = c.TF_FinishOperation(operation, status) as Pointer;
    if (c.TF_GetCode(status) !== 0) check(`run ${what()}`);
    const outputs: TensorMetadata[] = [];
    for (let index = 0; index < c.TF_OperationNumOutputs(node); index++) {
      const output = new Uint8Array(16);
      const view = new DataView(output.buffer);
      view.setBigUint64(0, Deno.UnsafePointer.value(node), true);
      view.setInt32(8, index, true);
      if (shape) c.TF_GraphSetTensorShape(this.#graph, output, int64s(shape), shape.length, status);
      const rank = c.TF_GraphGetTensorNumDims(this.#graph, output, status);
      const sizes = new BigInt64Array(Math.max(rank, 1));
      if (rank > 0) c.TF_GraphGetTensorShape(this.#graph, output, sizes, rank, status);
      check(`infer the shape of ${what()}`);
      const known = Array.from(sizes.subarray(0, Math.max(rank, 0)), Number);
      if (rank < 0 || known.some((size) => size < 0)) {
        throw new CyclopsError(
          `Cannot compile ${what()}${callSite()}: the shape of its result depends on values`,
        );
      }
      const metadata = { id: nextId--, shape: known, dtype: c.TF_OperationOutputType(output) };
      this.#nodes.set(metadata.id, { output, metadata, integers });
      outputs.push(metadata);
    }
    return { node, outputs };
  }
}

/** tfjs-node's kernels reshape and cast also where the result is what went in. */
function changesNothing(name: string, attributes: readonly Attribute[], inputs: readonly Node[]): boolean {
  switch (name) {
    case "Cast":
      return attributes.find((a) => a.name === "DstT")?.value === inputs[0].metadata.dtype;
    case "Reshape": {
      const { shape } = inputs[0].metadata;
      const to = inputs[1].integers;
      return to?.length === shape.length && shape.every((size, i) => size === to[i]);
    }
    case "Identity":
      return true;
    default:
      return false;
  }
}
