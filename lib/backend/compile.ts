/**
 * Whole functions as one TensorFlow operation. A training update is thousands of operations; as one function, they are
 * scheduled, fused and run in parallel by TensorFlow instead of being called one by one from JavaScript.
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
  /** Runs the function, tracing it first if the inputs' shapes are new. The tensors returned are the caller's. */
  (...inputs: A): R;
  /**
   * The same on another thread where TensorFlow computes and nothing is assigned: this one is free meanwhile. The inputs
   * must not be disposed before it is done.
   */
  later(...inputs: A): Promise<R>;
  /** One trace for each combination of shapes, types and plain values so far. */
  readonly traces: readonly TraceInfo[];
  /** Frees all traces. A further call traces anew. */
  dispose(): void;
  /** For `using`: the same as `dispose`. */
  [Symbol.dispose](): void;
}

/** A description of one trace. */
export interface TraceInfo {
  /** TensorFlow's name of the function. */
  readonly name: string;
  /** Number of nodes by TensorFlow operation, before TensorFlow optimizes them. */
  readonly operations: Readonly<Record<string, number>>;
}

/** Options of {@linkcode compile}. */
export interface CompileOptions {
  /** For errors and profiles. @default the function's own name */
  readonly name?: string;
  /** Number of traces kept; the least recently used is dropped. @default 16 */
  readonly maxTraces?: number;
  /** False calls the function itself, for debugging. @default true */
  readonly enabled?: boolean;
  /**
   * Variables become constants, as far as they are few enough: for networks that do not learn. oneDNN orders their
   * weights once instead of at every call. Assigning to one makes the next call trace anew.
   *
   * @default false
   */
  readonly frozen?: boolean;
}

/** The parts of tfjs-node's backend that tracing uses and replaces. */
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
  /** Variables that are constants, with the data that they had. */
  readonly frozen: ReadonlyMap<Variable, object>;
  /** Variables that the function changes in TensorFlow's memory. */
  readonly updated: readonly Variable[];
  /** Variables that are assigned the last outputs. */
  readonly assigned: readonly Variable[];
  readonly outputs: number;
  /** What the function returned, with {@linkcode Output}s in place of tensors. */
  readonly result: unknown;
}

/** Set while a function is traced. */
let tracer: Tracer | undefined;

/**
 * Runs operations that change variables bound by `bindVariable` in place, e.g. `ResourceApplyAdam`. Inside a compiled
 * function they become part of it.
 */
export function updateInPlace(variables: readonly Variable[], run: () => void): void {
  const resources = variables.map((variable) => {
    const resource = resourceOf(variable);
    if (!resource) {
      throw new CyclopsError(`Cannot update ${variable.name} in place: call bindVariable first`);
    }
    return resource;
  });
  if (tracer) {
    for (const variable of variables) tracer.update(variable);
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
 * The first call with new shapes traces the function: it runs once, over tensors without values, and its operations
 * are recorded, those of gradients taken inside included. Later calls run the recorded operations; JavaScript inside
 * the function runs only while tracing. Numbers, strings and booleans among the arguments are constants, and a new
 * value means a new trace: pass what changes often as a tensor.
 *
 * - Arguments and results are tensors, plain values, and arrays and objects of them, nested. Plain values in the
 *   result are those of the trace.
 * - A `tf.Variable` read inside has its current value at every call. `variable.assign` inside takes effect after each
 *   call; variables bound by `bindVariable` can be updated in place, see {@linkcode updateInPlace}. Other tensors from
 *   outside keep the value that they had when the function was traced.
 * - Values cannot be read inside (`dataSync`, `data`, `array`, …), and random numbers drawn inside are constants.
 * - Gradients must be taken inside: calls are not recorded for differentiation.
 *
 * On backends other than tensorflow, and inside another compiled function, `fn` is simply called.
 *
 * @throws {CyclopsError} When called, if the function reads values, creates a variable, returns a promise, or uses an
 * operation that TensorFlow refuses.
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
 * step.dispose(); // or: using step = compile(…)
 * ```
 */
export function compile<A extends unknown[], R>(
  fn: (...inputs: A) => R,
  options: CompileOptions = {},
): Compiled<A, R> {
  const { name = fn.name || "compiled", maxTraces = 16, enabled = true, frozen = false } = options;
  const traces = new Map<string, Trace>();
  const free = (key: string, trace: Trace) => {
    traces.delete(key);
    freeTrace(trace);
  };
  /** The trace for these inputs; `undefined` where the function itself is called. */
  const find = (inputs: A) => {
    const binding = currentBinding();
    if (!enabled || !binding || tf.getBackend() !== "tensorflow" || tracer) return undefined;
    const { gradientDepth, kernelDepth } = engine().state;
    if (gradientDepth > 0 && kernelDepth === 0) {
      throw new CyclopsError(
        `Cannot differentiate the compiled function ${name}: take the gradient inside of it, or wrap the call in noGradient`,
      );
    }
    const tensors: Tensor[] = [];
    const key = describe(inputs, tensors);
    let trace = traces.get(key);
    if (
      trace?.captures.some((c) => "variable" in c && resourceOf(c.variable) !== c.resource) ||
      trace && [...trace.frozen].some(([{ dataId, isDisposed }, data]) => dataId !== data || isDisposed)
    ) {
      free(key, trace);
      trace = undefined;
    }
    traces.delete(key);
    trace ??= record(binding, name, fn, inputs, tensors, frozen);
    traces.set(key, trace); // the last one is the one used last
    if (traces.size > maxTraces) free(...traces.entries().next().value!);
    return { binding, trace, tensors };
  };
  const call = (...inputs: A): R => {
    const found = find(inputs);
    return found ? run(found.binding, found.trace, found.tensors) as R : fn(...inputs);
  };
  const later = async (...inputs: A): Promise<R> => {
    const found = find(inputs);
    if (!found) return fn(...inputs);
    const { binding, trace, tensors } = found;
    if (trace.updated.length + trace.assigned.length > 0) return run(binding, trace, tensors) as R;
    const ids = inputsOf(trace, tensors);
    return resultOf(trace, await binding.executeOpLater(trace.name, attributes(), ids, trace.outputs)) as R;
  };
  const dispose = () => traces.forEach((trace, key) => free(key, trace));
  return Object.defineProperties(call, {
    name: { value: name },
    later: { value: later },
    traces: { get: () => [...traces.values()].map(({ name, operations }) => ({ name, operations })) },
    dispose: { value: dispose },
    [Symbol.dispose]: { value: dispose },
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

/** Describes a nested structure as a cache key, and collects its tensors in the same order. */
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

/** The same nested structure with what is neither array nor object replaced. */
function mapLeaves(value: unknown, by: (leaf: unknown) => unknown): unknown {
  if (Array.isArray(value)) return value.map((item) => mapLeaves(item, by));
  if (!isRecord(value)) return by(value);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, mapLeaves(item, by)]));
}

/**
 * Attributes of every call. Measured on a `quick` update, 64x192, batch 8, two cores with AVX-512:
 * - TensorFlow optimizes a function only if the call has a configuration (`ConfigProto`): 1,720 of 3,063 nodes
 *   remained, and Conv2D, BiasAdd and Elu were one operation. One iteration, `graph_options { rewrite_options {
 *   meta_optimizer_iterations: ONE } }`, gives the same speed as the default two, and the first call takes 0.64 instead
 *   of 0.77 s of processor time. Single optimizers switched off made updates slower or no difference.
 * - SINGLE_THREADED_EXECUTOR took 112 ms where the default one took 64.
 * - XLA for the parts without convolutions, forward and gradient: warp 1.9 ms (2.1 without), smoothness 0.6 (0.7),
 *   photometric loss 9 to 16 (5.3), and 0.1 s of compilation for each part and scale: not worth it.
 */
const CALL: readonly Attribute[] = [attr.string("config_proto", "\x52\x04\x52\x02\x60\x01")];

/** Whether TensorFlow may rewrite compiled functions; switched off, they round exactly as single operations do. */
export const rewriting = { enabled: true };

/** Tensors from outside with at most this many elements are constants of the function. */
const CONSTANT_ELEMENTS = 1024;
/**
 * Frozen variables have at most this many elements together: TensorFlow keeps many copies of a constant. Those of the
 * teacher's networks, 9 MiB, made a distillation 130 MiB larger and no faster.
 */
const FROZEN_ELEMENTS = 2 ** 22;

const attributes = () => rewriting.enabled ? CALL : [];

/** The native tensors that a call takes. */
function inputsOf({ name, captures }: Trace, tensors: readonly Tensor[]): number[] {
  const ids = backend().getInputTensorIds(tensors);
  for (const capture of captures) {
    if ("handle" in capture) {
      ids.push(capture.handle);
      continue;
    }
    const { variable, resource } = capture;
    if (variable.isDisposed) {
      throw new CyclopsError(`Cannot call ${name}: its variable ${variable.name} was disposed`);
    }
    resource?.sync();
    ids.push(resource ? resource.handle.id : backend().getInputTensorIds([variable])[0]);
  }
  return ids;
}

function run(binding: Binding, trace: Trace, tensors: readonly Tensor[]): unknown {
  const ids = inputsOf(trace, tensors);
  const resources = trace.updated.map((variable) => resourceOf(variable)!);
  for (const resource of resources) resource.release();
  let metadata: TensorMetadata[];
  try {
    metadata = binding.executeOp(trace.name, attributes(), ids, trace.outputs);
  } finally {
    for (const resource of resources) resource.refresh();
  }
  return resultOf(trace, metadata);
}

/** What a call returns; the variables that it assigns are assigned. */
function resultOf({ assigned, outputs: count, result }: Trace, metadata: readonly TensorMetadata[]): unknown {
  const outputs = metadata.map((m) => backend().createOutputTensor(m));
  outputs.splice(count - assigned.length).forEach((value, i) => {
    assigned[i].assign(value);
    value.dispose();
  });
  return mapLeaves(result, (leaf) => leaf instanceof Output ? outputs[leaf.index] : leaf);
}

/** Stands for a tensor in a trace's result. */
class Output {
  readonly index: number;
  constructor(index: number) {
    this.index = index;
  }
}

/** Runs the function over tensors without values and turns what it does into a TensorFlow function. */
function record(
  binding: Binding,
  name: string,
  fn: (...inputs: never[]) => unknown,
  inputs: readonly unknown[],
  tensors: readonly Tensor[],
  freeze: boolean,
): Trace {
  const { state } = engine();
  const before = new Set(Object.values(state.registeredVariables));
  const newVariables = () => Object.values(state.registeredVariables).filter((v) => !before.has(v));
  const scopes = state.scopeStack.length;
  const tracer = new Tracer(binding, freeze);
  const { graph, captures, placeholders, updated, assigned, frozen } = tracer;
  try {
    tracer.start();
    engine().startScope(name);
    const parameters = tensors.map((t) => graph.placeholder(t.shape, dtypeOf(t)));
    let next = 0;
    const traced = mapLeaves(
      inputs,
      (leaf) => leaf instanceof tf.Tensor ? backend().createOutputTensor(parameters[next++]) : leaf,
    );
    const returned = fn(...traced as never[]);
    if (returned instanceof Promise) {
      returned.catch(() => {});
      throw new CyclopsError(`Cannot compile ${name}: it returns a promise; compile its synchronous part`);
    }
    for (const { name } of newVariables()) {
      throw new CyclopsError(`Cannot create variable ${name} inside a compiled function: create it outside`);
    }
    const outputs: Tensor[] = [];
    const result = mapLeaves(
      returned,
      (leaf) => leaf instanceof tf.Tensor ? new Output(outputs.push(leaf) - 1) : leaf,
    );
    const ids = [...outputs, ...assigned.keys()].map((tensor) => tracer.idOf(tensor));
    return {
      name: graph.toFunction(name, [...parameters, ...placeholders].map(({ id }) => id), ids),
      operations: graph.counts,
      captures,
      frozen,
      updated: [...updated],
      assigned: [...assigned.keys()],
      outputs: ids.length,
      result,
    };
  } catch (error) {
    for (const variable of newVariables()) variable.dispose();
    for (const source of captures) if ("handle" in source) binding.deleteTensor(source.handle);
    throw error;
  } finally {
    tracer.stop();
    while (state.scopeStack.length > scopes) engine().endScope();
    for (const tensor of tracer.made) if (!tensor.isDisposed) tensor.dispose();
    graph.close();
  }
}

/** Redirects tfjs into a graph from {@linkcode Tracer.start} to {@linkcode Tracer.stop}. */
class Tracer {
  readonly graph: Graph;
  readonly captures: Capture[] = [];
  /** The placeholders of `captures`. */
  readonly placeholders: TensorMetadata[] = [];
  readonly updated = new Set<Variable>();
  /** Variables that became constants, with their data. */
  readonly frozen = new Map<Variable, object>();
  /** Variables assigned to, with the data that they had before. */
  readonly assigned = new Map<Variable, object>();
  /** All tensors created, kept ones included. */
  readonly made: Tensor[] = [];
  readonly #binding: Binding;
  /** Elements of variables that may still become constants. */
  #freezable: number;
  /** What has been captured: native tensors by id; the rest by variable, or by tfjs's data. */
  readonly #byId = new Map<number, TensorMetadata>();
  readonly #bySource = new Map<object, TensorMetadata>();
  /** Data of tensors created from values inside. */
  readonly #own = new Set<object>();
  readonly #restore: (() => void)[] = [];
  readonly #upload: (tensor: TensorInfo) => number;

  constructor(binding: Binding, freeze: boolean) {
    this.#binding = binding;
    this.#freezable = freeze ? FROZEN_ELEMENTS : 0;
    this.graph = new Graph(binding, (id) => this.#captureHandle(id));
    const { getInputTensorIds } = backend();
    this.#upload = (tensor) => getInputTensorIds.call(backend(), [tensor])[0];
  }

  start(): void {
    const { graph } = this;
    const own = this.#own, made = this.made, assigned = this.assigned;
    const node = backend();
    const { write, readSync } = node;
    this.#replace(node, {
      getInputTensorIds: (list) => list.map((tensor) => this.idOf(tensor)),
      write: (values, shape, dtype) => {
        const data = write.call(node, values, shape, dtype);
        own.add(data);
        return data;
      },
      readSync: (data) => own.has(data) ? readSync.call(node, data) : graph.read(),
    });
    const { trackTensor } = engine();
    this.#replace(engine(), {
      trackTensor(tensor, backend) {
        if (!(tensor instanceof tf.Variable)) made.push(tensor);
        trackTensor.call(this, tensor, backend);
      },
    });
    this.#replace(engine().state, { gradientDepth: 0, kernelDepth: 0, activeTape: null });
    this.#replace(tf.Variable.prototype as unknown as Variable, {
      assign(this: Variable, value: Tensor) {
        if (value.dtype !== this.dtype || !tf.util.arraysEqual(value.shape, this.shape)) {
          throw new CyclopsError(
            `Cannot assign ${value.dtype}[${value.shape}] to ${this.name}: expected ${this.dtype}[${this.shape}]`,
          );
        }
        if (assigned.has(this)) engine().disposeTensor(this);
        else assigned.set(this, this.dataId);
        this.dataId = value.dataId;
        engine().incRef(this, null);
      },
    });
    this.#binding.recorder = graph;
    tracer = this;
  }

  stop(): void {
    tracer = undefined;
    this.#binding.recorder = undefined;
    for (const restore of this.#restore.reverse()) restore();
    for (const [variable, data] of this.assigned) {
      engine().disposeTensor(variable);
      variable.dataId = data;
    }
  }

  #replace<T extends object>(target: T, by: Partial<T>): void {
    const original = Object.fromEntries(Object.keys(by).map((key) => [key, target[key as keyof T]]));
    this.#restore.push(() => Object.assign(target, original));
    Object.assign(target, by);
  }

  /** The node that holds a tensor. */
  idOf(tensor: TensorInfo): number {
    const data = tensor.dataId as object;
    if (!data) return this.#upload(tensor); // tfjs-node's Int64Scalar
    const info = backend().tensorMap.get(data);
    if (info.id < -1) return info.id;
    // Variables may share their data with one another and with tensors.
    const source = tensor instanceof tf.Variable ? tensor : data;
    let found = this.#bySource.get(source);
    if (!found) {
      if (source !== data) found = this.#captureVariable(source as Variable);
      else if (this.#own.has(data)) {
        found = this.graph.constant(tensor.shape, dtypeOf(tensor), info.values as ArrayBufferView);
      } else {
        found = this.#captureHandle(this.#uploaded(tensor));
      }
      this.#bySource.set(source, found);
    }
    return found.id;
  }

  /** Declares that the function changes a bound variable in place. */
  update(variable: Variable): void {
    this.updated.add(variable);
    this.#captureVariable(variable);
    this.#bySource.delete(variable); // reads that follow see the new value
  }

  #capture(source: Capture, placeholder: TensorMetadata): TensorMetadata {
    this.captures.push(source);
    this.placeholders.push(placeholder);
    return placeholder;
  }

  /** The native tensor of a tensor from outside. */
  #uploaded(tensor: TensorInfo): number {
    this.#binding.recorder = undefined;
    const id = this.#upload(tensor);
    this.#binding.recorder = this.graph;
    return id;
  }

  #captureVariable(variable: Variable): TensorMetadata {
    const { graph } = this;
    if (variable.size <= this.#freezable && !this.updated.has(variable)) {
      this.#freezable -= variable.size;
      this.frozen.set(variable, variable.dataId);
      return this.#captureHandle(this.#uploaded(variable), FROZEN_ELEMENTS);
    }
    const resource = resourceOf(variable);
    if (!resource) {
      return this.#capture({ variable, resource }, graph.placeholder(variable.shape, dtypeOf(variable)));
    }
    let handle = this.#byId.get(resource.handle.id);
    if (!handle) {
      handle = this.#capture({ variable, resource }, graph.resource(variable.shape));
      this.#byId.set(resource.handle.id, handle);
    }
    return graph.executeOp("ReadVariableOp", [attr.type("dtype", "float32")], [handle.id])[0];
  }

  /** A native tensor from outside: small ones are constants, others inputs that the trace keeps alive. */
  #captureHandle(id: number, largest = CONSTANT_ELEMENTS): TensorMetadata {
    let found = this.#byId.get(id);
    if (found) return found;
    const binding = this.#binding, graph = this.graph;
    const { id: handle, shape, dtype } = binding.shareTensor(id);
    if (dtype === DTYPE.resource) {
      found = this.#capture({ handle }, graph.resource(binding.resourceShapes.get(id)));
    } else if (tf.util.sizeFromShape(shape) <= largest) {
      const tensor = binding.runtime.resolve(handle);
      found = graph.constantFrom(tensor, dtype);
      binding.runtime.c.TF_DeleteTensor(tensor);
      binding.deleteTensor(handle);
    } else found = this.#capture({ handle }, graph.placeholder(shape, dtype));
    this.#byId.set(id, found);
    return found;
  }
}
