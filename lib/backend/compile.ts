/**
 * Whole functions as one TensorFlow operation. A training update is thousands of small operations, each of which costs
 * a call from JavaScript and a pass over memory; as one function, TensorFlow schedules, fuses and frees them by itself.
 *
 * @module
 */
import { CyclopsError } from "../base/errors.ts";
import { type Attribute, type Binding, currentBinding, DTYPE, type TensorMetadata } from "./binding.ts";
import { Graph } from "./graph.ts";
import { attr, type BoundVariable, resourceOf } from "./ops.ts";
import { type DataType, type Tensor, type TensorInfo, tf, type Variable } from "./tf.ts";

/** A function made by {@linkcode compile}. */
export interface Compiled<A extends unknown[], R> {
  /** Runs the function, tracing it first where these shapes are new. The tensors returned are the caller's. */
  (...inputs: A): R;
  /** What has been traced so far, one for each combination of shapes, types and plain values. */
  readonly traces: readonly TraceInfo[];
  /** Frees all traces. The function may be called again; it is traced anew. */
  dispose(): void;
}

/** About one trace. */
export interface TraceInfo {
  /** TensorFlow's name of the function. */
  readonly name: string;
  /** Number of nodes by TensorFlow operation, before TensorFlow optimizes them. */
  readonly operations: Readonly<Record<string, number>>;
}

/** How a function is compiled. */
export interface CompileOptions {
  /** For errors and profiles. @default the function's own name */
  readonly name?: string;
  /** Traces kept; a further one drops the one that was used longest ago. @default 16 */
  readonly maxTraces?: number;
  /** False calls the function as it is, for debugging. @default true */
  readonly enabled?: boolean;
}

/** What the tfjs-node backend object offers here, and what it is told to do while tracing. */
interface Backend {
  readonly tensorMap: { get(dataId: object): { readonly id: number; readonly values: unknown } };
  getInputTensorIds(tensors: readonly TensorInfo[]): number[];
  createOutputTensor(metadata: TensorMetadata): Tensor;
  write(values: unknown, shape: number[], dtype: DataType): object;
  readSync(dataId: object): unknown;
}

interface Engine {
  readonly state: {
    gradientDepth: number;
    kernelDepth: number;
    activeTape: unknown;
    readonly registeredVariables: Record<string, Variable>;
    readonly scopeStack: unknown[];
  };
  incRef(tensor: Tensor, backend: null): void;
  disposeTensor(tensor: Tensor): void;
  trackTensor(tensor: Tensor, backend: unknown): void;
  startScope(name?: string): void;
  endScope(): void;
}

/** An input of the function beyond its parameters. */
type Capture =
  | { readonly variable: Variable; readonly resource: BoundVariable | undefined }
  | { readonly handle: number };

interface Trace extends TraceInfo {
  readonly captures: readonly Capture[];
  /** Variables whose value the function itself moves in TensorFlow's memory. */
  readonly updated: readonly Variable[];
  /** Variables that take over one of the last outputs. */
  readonly assigned: readonly Variable[];
  readonly outputs: number;
  /** Builds the result from the outputs. */
  build(outputs: readonly Tensor[]): unknown;
}

/** Set while a function is traced. */
let recording: { update(variable: Variable): void } | undefined;

/**
 * Runs operations that change the values of variables bound by `bindVariable` in place, e.g. `ResourceApplyAdam`;
 * inside a compiled function they become part of it.
 */
export function updateInPlace(variables: readonly Variable[], run: () => void): void {
  const resources = variables.map((variable) => {
    const resource = resourceOf(variable);
    if (!resource) {
      throw new CyclopsError(`Cannot update ${variable.name} in place: call bindVariable first`);
    }
    return resource;
  });
  if (recording) {
    variables.forEach(recording.update);
    return run();
  }
  for (const resource of resources) resource.release();
  try {
    run();
  } finally {
    for (const resource of resources) resource.refresh();
  }
}

/**
 * Makes a function of tensors run as one TensorFlow operation.
 *
 * The first call with new shapes traces the function: it runs once over tensors without values, and all its operations
 * are recorded, those of gradients taken inside included. Later calls run the record alone, so that JavaScript inside
 * the function runs only while it is traced: plain values (numbers, strings, booleans) among the arguments are
 * constants, and a new value means a new trace; pass what changes often as a tensor.
 *
 * - Arguments and results may be tensors, arrays and objects of them, nested; what else is returned is what the trace
 *   returned.
 * - A `tf.Variable` read inside has its current value at every call. `variable.assign` inside takes effect after each
 *   call; variables bound by `bindVariable` may be updated in place by TensorFlow's own operations. Other tensors
 *   from outside are kept as they were when the function was traced.
 * - Values cannot be read inside (`dataSync`, `data`, `array`, …), and random numbers made inside would be constants.
 * - Gradients must be taken inside: calls are not recorded for differentiation.
 *
 * On other backends than tensorflow, and inside another compiled function, `fn` is simply called.
 *
 * @throws {CyclopsError} On a call: when the function reads values while it is traced, makes a variable, returns a
 * promise, or uses an operation that TensorFlow refuses.
 *
 * @example
 * ```ts
 * import { compile, selectBackend, type Tensor, tf } from "./mod.ts";
 *
 * await selectBackend();
 * const weight = tf.variable(tf.scalar(2));
 * const step = compile((x: Tensor, rate: Tensor) => {
 *   const { value, grads } = tf.variableGrads(() => tf.mean(tf.square(tf.mul(x, weight))), [weight]);
 *   weight.assign(tf.sub(weight, tf.mul(grads[weight.name], rate)));
 *   return { loss: value };
 * });
 * const { loss } = step(tf.ones([4]), tf.scalar(0.1));
 * ```
 */
export function compile<A extends unknown[], R>(
  fn: (...inputs: A) => R,
  options: CompileOptions = {},
): Compiled<A, R> {
  const { name = fn.name || "compiled", maxTraces = 16, enabled = true } = options;
  const traces = new Map<string, Trace>();
  const free = (key: string, trace: Trace) => {
    traces.delete(key);
    freeTrace(trace);
  };
  const call = (...inputs: A): R => {
    const binding = currentBinding();
    if (!enabled || !binding || tf.getBackend() !== "tensorflow" || recording) return fn(...inputs);
    const { gradientDepth, kernelDepth } = engine().state;
    if (gradientDepth > 0 && kernelDepth === 0) {
      throw new CyclopsError(
        `Cannot differentiate the compiled function ${name}: take the gradient inside of it, or wrap the call in noGradient`,
      );
    }
    const tensors: Tensor[] = [];
    const key = describe(inputs, tensors);
    let trace = traces.get(key);
    if (trace?.captures.some((c) => "variable" in c && resourceOf(c.variable) !== c.resource)) {
      free(key, trace);
      trace = undefined;
    }
    traces.delete(key);
    trace ??= record(binding, name, fn, inputs, tensors);
    traces.set(key, trace); // the last one is the one used last
    if (traces.size > maxTraces) free(...traces.entries().next().value!);
    return run(binding, trace, tensors) as R;
  };
  return Object.defineProperties(call, {
    name: { value: name },
    traces: { get: () => [...traces.values()].map(({ name, operations }) => ({ name, operations })) },
    dispose: { value: () => [...traces].forEach(([key, trace]) => free(key, trace)) },
  }) as unknown as Compiled<A, R>;
}

function engine(): Engine {
  return tf.engine() as unknown as Engine;
}

function backend(): Backend {
  return tf.backend() as unknown as Backend;
}

function dtypeOf(tensor: TensorInfo): number {
  return DTYPE[tensor.dtype as "float32"];
}

function freeTrace(trace: Trace): void {
  const binding = currentBinding()!;
  for (const capture of trace.captures) if ("handle" in capture) binding.deleteTensor(capture.handle);
  binding.removeFunction(trace.name);
}

/** Spells a nested structure, and gathers its tensors in the same order. */
function describe(value: unknown, tensors: Tensor[]): string {
  if (value instanceof tf.Tensor) {
    tensors.push(value);
    return `${value.dtype}[${value.shape}]`;
  }
  if (Array.isArray(value)) return `[${value.map((item) => describe(item, tensors)).join()}]`;
  if (isRecord(value)) {
    return `{${
      Object.entries(value).map(([k, item]) => `${JSON.stringify(k)}:${describe(item, tensors)}`).join()
    }}`;
  }
  if (
    typeof value === "function" || typeof value === "object" && value !== null || typeof value === "symbol"
  ) {
    throw new CyclopsError(
      `Cannot pass ${
        typeof value === "object" ? value.constructor?.name ?? "an object" : `a ${typeof value}`
      } to a ` +
        "compiled function: expected tensors, plain values, and arrays and objects of them",
    );
  }
  return typeof value === "string" ? JSON.stringify(value) : `${typeof value} ${value}`;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** The same structure with its tensors replaced. */
function replace(value: unknown, by: (tensor: Tensor) => unknown): unknown {
  if (value instanceof tf.Tensor) return by(value);
  if (Array.isArray(value)) return value.map((item) => replace(item, by));
  if (isRecord(value)) {
    return Object.fromEntries(Object.entries(value).map(([k, item]) => [k, replace(item, by)]));
  }
  return value;
}

/**
 * Attributes of every call. TensorFlow optimizes a function only if the call has a configuration (`ConfigProto`; here
 * `graph_options { rewrite_options {} }`, which means the defaults): of the 3,063 nodes of a `quick` update 1,720 are
 * left, and Conv2D, BiasAdd and Elu are one operation. Of its executors the usual one is the faster.
 */
const CALL: readonly Attribute[] = [attr.string("config_proto", "\x52\x02\x52\x00")];

function run(binding: Binding, trace: Trace, tensors: readonly Tensor[]): unknown {
  const { captures, updated, assigned } = trace;
  for (const capture of captures) if ("variable" in capture) capture.resource?.sync();
  const ids = backend().getInputTensorIds(tensors);
  for (const capture of captures) {
    if ("handle" in capture) ids.push(capture.handle);
    else if (capture.resource) ids.push(capture.resource.handle.id);
    else ids.push(...backend().getInputTensorIds([capture.variable]));
  }
  const resources = updated.map((variable) => resourceOf(variable)!);
  for (const resource of resources) resource.release();
  let outputs: Tensor[];
  try {
    outputs = binding.executeOp(trace.name, CALL, ids, trace.outputs).map((m) =>
      backend().createOutputTensor(m)
    );
  } finally {
    for (const resource of resources) resource.refresh();
  }
  const values = outputs.splice(trace.outputs - assigned.length);
  assigned.forEach((variable, i) => {
    variable.assign(values[i]);
    values[i].dispose();
  });
  return trace.build(outputs);
}

/** Runs the function over tensors without values and makes what it does a TensorFlow function. */
function record(
  binding: Binding,
  name: string,
  fn: (...inputs: never[]) => unknown,
  inputs: readonly unknown[],
  tensors: readonly Tensor[],
): Trace {
  const captures: Capture[] = [];
  const captured: TensorMetadata[] = [];
  /** What has been brought in, by native id; by variable, or else by tfjs's data. */
  const byId = new Map<number, TensorMetadata>();
  const bySource = new Map<object, TensorMetadata>();
  const capture = (source: Capture, placeholder: TensorMetadata) => {
    captures.push(source);
    captured.push(placeholder);
    return placeholder;
  };
  /** A native tensor from outside: small ones are constants, others stay inputs that the trace keeps alive. */
  const captureHandle = (id: number): TensorMetadata => {
    let known = byId.get(id);
    if (known) return known;
    const shared = binding.shareTensor(id);
    if (shared.dtype === DTYPE.resource) {
      known = capture({ handle: shared.id }, graph.resource(binding.resourceShapes.get(id)));
    } else if (tf.util.sizeFromShape(shared.shape) <= CONSTANT_ELEMENTS) {
      const { c } = binding.runtime;
      const tensor = binding.runtime.resolve(shared.id);
      known = graph.constantFrom(tensor, shared.dtype);
      c.TF_DeleteTensor(tensor);
      binding.deleteTensor(shared.id);
    } else known = capture({ handle: shared.id }, graph.placeholder(shared.shape, shared.dtype));
    byId.set(id, known);
    return known;
  };
  const graph = new Graph(binding, captureHandle);
  const { state } = engine();
  const before = new Set(Object.values(state.registeredVariables));
  const captureVariable = (variable: Variable): TensorMetadata => {
    const resource = resourceOf(variable);
    if (!resource) {
      return capture({ variable, resource }, graph.placeholder(variable.shape, dtypeOf(variable)));
    }
    let handle = byId.get(resource.handle.id);
    if (!handle) {
      handle = capture({ variable, resource }, graph.resource(variable.shape));
      byId.set(resource.handle.id, handle);
    }
    return graph.executeOp("ReadVariableOp", [attr.type("dtype", "float32")], [handle.id])[0];
  };
  const updated = new Set<Variable>();
  /** Variables assigned to inside, and the data that they had. */
  const assigned = new Map<Variable, object>();
  const own = new Set<object>(); // data of tensors made inside
  const made: Tensor[] = [];
  const node = backend();
  const original = { getInputTensorIds: node.getInputTensorIds, write: node.write, readSync: node.readSync };
  const eagerly = <T>(compute: () => T): T => {
    binding.recorder = undefined;
    try {
      return compute();
    } finally {
      binding.recorder = graph;
    }
  };
  const idOf = (tensor: TensorInfo): number => {
    const data = tensor.dataId as object;
    if (!data) return original.getInputTensorIds.call(node, [tensor])[0]; // tfjs-node's Int64Scalar
    const info = node.tensorMap.get(data);
    if (info.id < -1) return info.id;
    // Variables may share their data with one another and with tensors.
    const source = tensor instanceof tf.Variable ? tensor : data;
    let found = bySource.get(source);
    if (!found) {
      found = source !== data
        ? captureVariable(source as Variable)
        : own.has(data)
        ? graph.constant(tensor.shape, dtypeOf(tensor), info.values as Float32Array)
        : captureHandle(eagerly(() => original.getInputTensorIds.call(node, [tensor])[0]));
      bySource.set(source, found);
    }
    return found.id;
  };
  const hooks: Partial<Backend> = {
    getInputTensorIds: (list) => list.map(idOf),
    write: (values, shape, dtype) => {
      const data = original.write.call(node, values, shape, dtype);
      own.add(data);
      return data;
    },
    readSync: (data) => own.has(data) ? original.readSync.call(node, data) : graph.read(),
  };
  const depths = {
    gradientDepth: state.gradientDepth,
    kernelDepth: state.kernelDepth,
    activeTape: state.activeTape,
  };
  const { assign } = tf.Variable.prototype;
  const track = engine().trackTensor;
  const scopes = state.scopeStack.length;
  const outputs: Tensor[] = [];
  recording = {
    update(variable) {
      updated.add(variable);
      captureVariable(variable);
      bySource.delete(variable); // reads that follow see the new value
    },
  };
  try {
    binding.recorder = graph;
    Object.assign(node, hooks);
    Object.assign(state, { gradientDepth: 0, kernelDepth: 0, activeTape: null });
    tf.Variable.prototype.assign = function (value) {
      if (value.dtype !== this.dtype || !tf.util.arraysEqual(value.shape, this.shape)) {
        throw new CyclopsError(
          `Cannot assign ${value.dtype}[${value.shape}] to ${this.name}: expected ${this.dtype}[${this.shape}]`,
        );
      }
      if (assigned.has(this)) engine().disposeTensor(this);
      else assigned.set(this, this.dataId);
      this.dataId = value.dataId;
      engine().incRef(this, null);
    };
    engine().trackTensor = function (tensor, backend) {
      if (!(tensor instanceof tf.Variable)) made.push(tensor);
      track.call(this, tensor, backend);
    };
    engine().startScope(name);
    const parameters = tensors.map((t) => graph.placeholder(t.shape, dtypeOf(t)));
    let next = 0;
    const result = fn(...replace(inputs, () => node.createOutputTensor(parameters[next++])) as never[]);
    if (result instanceof Promise) {
      result.catch(() => {});
      throw new CyclopsError(
        `Cannot compile ${name}: it returns a promise; compile the part that is synchronous`,
      );
    }
    const template = replace(result, (tensor) => {
      outputs.push(tensor);
      return new Output(outputs.length - 1);
    });
    const ids = [...outputs, ...assigned.keys()].map(idOf);
    const created = Object.values(state.registeredVariables).find((v) => !before.has(v));
    if (created) {
      throw new CyclopsError(
        `Cannot make the variable ${created.name} inside a compiled function: make it outside`,
      );
    }
    const inputIds = [...parameters, ...captured].map(({ id }) => id);
    return {
      name: graph.toFunction(name, inputIds, ids),
      operations: graph.counts,
      captures,
      updated: [...updated],
      assigned: [...assigned.keys()],
      outputs: ids.length,
      build: (tensors) => fill(template, tensors),
    };
  } catch (error) {
    for (const variable of Object.values(state.registeredVariables)) {
      if (!before.has(variable)) variable.dispose();
    }
    for (const source of captures) if ("handle" in source) binding.deleteTensor(source.handle);
    throw error;
  } finally {
    recording = undefined;
    binding.recorder = undefined;
    Object.assign(node, original);
    tf.Variable.prototype.assign = assign;
    engine().trackTensor = track;
    for (const [variable, data] of assigned) {
      engine().disposeTensor(variable);
      variable.dataId = data;
    }
    while (state.scopeStack.length > scopes) engine().endScope();
    for (const tensor of made) if (!tensor.isDisposed) tensor.dispose();
    Object.assign(state, depths);
    graph.close();
  }
}

/** Tensors from outside with at most this many elements are constants of the function. */
const CONSTANT_ELEMENTS = 1024;

/** Stands for a tensor in a result. */
class Output {
  readonly index: number;
  constructor(index: number) {
    this.index = index;
  }
}

function fill(template: unknown, outputs: readonly Tensor[]): unknown {
  if (template instanceof Output) return outputs[template.index];
  if (Array.isArray(template)) return template.map((item) => fill(item, outputs));
  if (isRecord(template)) {
    return Object.fromEntries(Object.entries(template).map(([k, item]) => [k, fill(item, outputs)]));
  }
  return template;
}
