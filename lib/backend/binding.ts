/**
 * A drop-in replacement for tfjs-node's native addon on TensorFlow's eager C API. It implements the interface
 * `TFJSBinding` of tfjs-node 4.22 (`dist/tfjs_binding.d.ts`) without SavedModels, so that tfjs-node's JavaScript
 * kernels run unchanged.
 *
 * It calls TensorFlow's stable C API (`c_api.h`, `c_api_eager.h`, `tf_tensor.h`), and `TFE_OpReset` and the collectives of
 * `c_api_experimental.h`.
 *
 * @module
 */
import { CyclopsError, messageOf } from "../base/errors.ts";

/** A node's output: the operation and which of its outputs. Passed by value: 16 bytes. */
const TF_OUTPUT = { struct: ["pointer", "i32"] } as const;

/** Names, parameters and results of the functions. */
const SYMBOLS = {
  TF_Version: { parameters: [], result: "pointer" },
  TF_NewStatus: { parameters: [], result: "pointer" },
  TF_DeleteStatus: { parameters: ["pointer"], result: "void" },
  TF_GetCode: { parameters: ["pointer"], result: "i32" },
  TF_Message: { parameters: ["pointer"], result: "pointer" },

  TFE_NewContextOptions: { parameters: [], result: "pointer" },
  TFE_ContextOptionsSetConfig: { parameters: ["pointer", "buffer", "usize", "pointer"], result: "void" },
  TFE_DeleteContextOptions: { parameters: ["pointer"], result: "void" },
  TFE_NewContext: { parameters: ["pointer", "pointer"], result: "pointer" },
  TFE_EnableCollectiveOps: { parameters: ["pointer", "buffer", "usize", "pointer"], result: "void" },
  TFE_CollectiveOpsCheckPeerHealth: {
    parameters: ["pointer", "pointer", "i64", "pointer"],
    result: "void",
    nonblocking: true,
  },
  TFE_ContextListDevices: { parameters: ["pointer", "pointer"], result: "pointer" },
  TF_DeviceListCount: { parameters: ["pointer"], result: "i32" },
  TF_DeviceListType: { parameters: ["pointer", "i32", "pointer"], result: "pointer" },
  TF_DeviceListName: { parameters: ["pointer", "i32", "pointer"], result: "pointer" },
  TF_DeleteDeviceList: { parameters: ["pointer"], result: "void" },

  TFE_NewOp: { parameters: ["pointer", "pointer", "pointer"], result: "pointer" },
  TFE_OpReset: { parameters: ["pointer", "pointer", "pointer", "pointer"], result: "void" },
  TFE_OpAddInput: { parameters: ["pointer", "pointer", "pointer"], result: "void" },
  TFE_OpSetAttrType: { parameters: ["pointer", "pointer", "i32"], result: "void" },
  TFE_OpSetAttrTypeList: { parameters: ["pointer", "pointer", "buffer", "i32"], result: "void" },
  TFE_OpSetAttrBool: { parameters: ["pointer", "pointer", "u8"], result: "void" },
  TFE_OpSetAttrBoolList: { parameters: ["pointer", "pointer", "buffer", "i32"], result: "void" },
  TFE_OpSetAttrInt: { parameters: ["pointer", "pointer", "i64"], result: "void" },
  TFE_OpSetAttrIntList: { parameters: ["pointer", "pointer", "buffer", "i32"], result: "void" },
  TFE_OpSetAttrFloat: { parameters: ["pointer", "pointer", "f32"], result: "void" },
  TFE_OpSetAttrFloatList: { parameters: ["pointer", "pointer", "buffer", "i32"], result: "void" },
  TFE_OpSetAttrString: { parameters: ["pointer", "pointer", "buffer", "usize"], result: "void" },
  TFE_OpSetAttrStringList: {
    parameters: ["pointer", "pointer", "buffer", "buffer", "i32"],
    result: "void",
  },
  TFE_OpSetAttrShape: { parameters: ["pointer", "pointer", "buffer", "i32", "pointer"], result: "void" },
  TFE_Execute: { parameters: ["pointer", "buffer", "buffer", "pointer"], result: "void" },
  TFE_DeleteOp: { parameters: ["pointer"], result: "void" },
  executeElsewhere: {
    name: "TFE_Execute",
    parameters: ["pointer", "buffer", "buffer", "pointer"],
    result: "void",
    nonblocking: true,
  },

  TF_NewGraph: { parameters: [], result: "pointer" },
  TF_DeleteGraph: { parameters: ["pointer"], result: "void" },
  TF_GraphGetOpDef: { parameters: ["pointer", "pointer", "pointer", "pointer"], result: "void" },
  TF_NewBuffer: { parameters: [], result: "pointer" },
  TF_DeleteBuffer: { parameters: ["pointer"], result: "void" },
  TF_NewOperation: { parameters: ["pointer", "pointer", "buffer"], result: "pointer" },
  TF_AddInput: { parameters: ["pointer", TF_OUTPUT], result: "void" },
  TF_AddInputList: { parameters: ["pointer", "buffer", "i32"], result: "void" },
  TF_AddControlInput: { parameters: ["pointer", "pointer"], result: "void" },
  TF_FinishOperation: { parameters: ["pointer", "pointer"], result: "pointer" },
  TF_OperationNumOutputs: { parameters: ["pointer"], result: "i32" },
  TF_OperationOutputType: { parameters: [TF_OUTPUT], result: "i32" },
  TF_GraphGetTensorNumDims: { parameters: ["pointer", TF_OUTPUT, "pointer"], result: "i32" },
  TF_GraphGetTensorShape: { parameters: ["pointer", TF_OUTPUT, "buffer", "i32", "pointer"], result: "void" },
  TF_GraphSetTensorShape: { parameters: ["pointer", TF_OUTPUT, "buffer", "i32", "pointer"], result: "void" },
  TF_SetAttrTensor: { parameters: ["pointer", "pointer", "pointer", "pointer"], result: "void" },
  TF_SetAttrType: { parameters: ["pointer", "pointer", "i32"], result: "void" },
  TF_SetAttrTypeList: { parameters: ["pointer", "pointer", "buffer", "i32"], result: "void" },
  TF_SetAttrBool: { parameters: ["pointer", "pointer", "u8"], result: "void" },
  TF_SetAttrBoolList: { parameters: ["pointer", "pointer", "buffer", "i32"], result: "void" },
  TF_SetAttrInt: { parameters: ["pointer", "pointer", "i64"], result: "void" },
  TF_SetAttrIntList: { parameters: ["pointer", "pointer", "buffer", "i32"], result: "void" },
  TF_SetAttrFloat: { parameters: ["pointer", "pointer", "f32"], result: "void" },
  TF_SetAttrFloatList: { parameters: ["pointer", "pointer", "buffer", "i32"], result: "void" },
  TF_SetAttrString: { parameters: ["pointer", "pointer", "buffer", "usize"], result: "void" },
  TF_SetAttrStringList: { parameters: ["pointer", "pointer", "buffer", "buffer", "i32"], result: "void" },
  TF_SetAttrShape: { parameters: ["pointer", "pointer", "buffer", "i32"], result: "void" },
  TF_GraphToFunctionWithControlOutputs: {
    // graph, name, append a hash, operations (-1: all), inputs, outputs, names, control outputs, names, options,
    // description, status
    parameters: [
      ...["pointer", "pointer", "u8", "i32", "pointer", "i32", "buffer", "i32", "buffer", "pointer"] as const,
      ...["i32", "buffer", "pointer", "pointer", "pointer", "pointer"] as const,
    ],
    result: "pointer",
  },
  TF_DeleteFunction: { parameters: ["pointer"], result: "void" },
  TFE_ContextAddFunction: { parameters: ["pointer", "pointer", "pointer"], result: "void" },
  TFE_ContextRemoveFunction: { parameters: ["pointer", "pointer", "pointer"], result: "void" },

  TF_AllocateTensor: { parameters: ["i32", "buffer", "i32", "usize"], result: "pointer" },
  TF_TensorData: { parameters: ["pointer"], result: "pointer" },
  TF_TensorByteSize: { parameters: ["pointer"], result: "usize" },
  TF_DeleteTensor: { parameters: ["pointer"], result: "void" },
  TFE_NewTensorHandle: { parameters: ["pointer", "pointer"], result: "pointer" },
  TFE_DeleteTensorHandle: { parameters: ["pointer"], result: "void" },
  TFE_TensorHandleCopySharingTensor: { parameters: ["pointer", "pointer"], result: "pointer" },
  TFE_TensorHandleResolve: { parameters: ["pointer", "pointer"], result: "pointer" },
  TFE_TensorHandleCopyToDevice: {
    parameters: ["pointer", "pointer", "pointer", "pointer"],
    result: "pointer",
  },
  TFE_TensorHandleDataType: { parameters: ["pointer"], result: "i32" },
  TFE_TensorHandleNumDims: { parameters: ["pointer", "pointer"], result: "i32" },
  TFE_TensorHandleDim: { parameters: ["pointer", "i32", "pointer"], result: "i64" },

  // From the C library, which libtensorflow is linked with: one copy straight between JavaScript and native memory.
  copyIn: { name: "memcpy", parameters: ["pointer", "buffer", "usize"], result: "void" },
  copyOut: { name: "memcpy", parameters: ["buffer", "pointer", "usize"], result: "void" },
  getsockname: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
} as const;

/** The C functions of a loaded libtensorflow. */
export type TensorFlowSymbols = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

/** Read by the library as it loads; values that the user has set stay. */
const ENVIRONMENT = {
  /** Errors only, no start-up messages. */
  TF_CPP_MIN_LOG_LEVEL: "2",
  /**
   * TensorFlow enables oneDNN's kernels by itself only where the CPU has AVX-512 VNNI or better, but they are faster
   * with AVX2 as well: convolution gradients take a third to a half of the time. Without them a compiled `quick`
   * update takes 290 instead of 120 ms of processor time (AVX-512, two cores).
   */
  TF_ENABLE_ONEDNN_OPTS: "1",
} as const;

/**
 * Loads libtensorflow. The library cannot be unloaded again.
 *
 * @param path Path of `libtensorflow_cc.so.2`.
 * @throws {CyclopsError} When it is missing, not a library, or older than 2.12.
 */
export function openLibrary(path: string): TensorFlowSymbols {
  for (const [name, value] of Object.entries(ENVIRONMENT)) {
    if (!Deno.env.get(name)) Deno.env.set(name, value);
  }
  try {
    return Deno.dlopen(path, SYMBOLS).symbols;
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    throw new CyclopsError(
      `Cannot load libtensorflow from ${path}: ${
        messageOf(error)
      }; expected the C library of TensorFlow 2.12 ` +
        "or newer for this machine; deno task setup fetches it",
      { cause: error },
    );
  }
}

/** Reads a NUL-terminated C string. */
function readCString(pointer: Deno.PointerValue): string {
  return pointer === null ? "" : Deno.UnsafePointerView.getCString(pointer);
}

/** TensorFlow's data types by their number in the C API (`tf_datatype.h`). */
export const DTYPE = {
  float32: 1,
  float64: 2,
  int32: 3,
  uint8: 4,
  string: 7,
  complex64: 8,
  int64: 9,
  bool: 10,
  bfloat16: 14,
  float16: 19,
  resource: 20,
} as const;

/** Kinds of attribute values, as tfjs-node numbers them. */
export const ATTRIBUTE = { string: 0, int: 1, float: 2, bool: 3, type: 4, shape: 5, resource: 9 } as const;

/** One attribute of an operation; a list where TensorFlow's operation takes a list. */
export interface Attribute {
  /** E.g. "padding". */
  readonly name: string;
  /** One of {@linkcode ATTRIBUTE}. */
  readonly type: number;
  readonly value: unknown;
}

/** A native tensor as tfjs-node describes it. */
export interface TensorMetadata {
  /** This binding's number of the handle. */
  readonly id: number;
  readonly shape: number[];
  /** One of {@linkcode DTYPE}. */
  readonly dtype: number;
}

/** Options of the native runtime, fixed once it runs. */
export interface BindingOptions {
  /**
   * Threads within one operation. The number of operations run at once is left to TensorFlow: 1, 2 and 4 made no
   * difference to a compiled `quick` update (processor time 115 to 130 ms, two cores).
   *
   * @default one per core
   */
  readonly intraOpThreads?: number;
  /** Allocate GPU memory as needed instead of all at once. @default true */
  readonly gpuAllowGrowth?: boolean;
  /** Become one of several processes that compute together, by TensorFlow's collectives. @default alone */
  readonly member?: ClusterMember;
}

/** A process among those that compute together. */
export interface ClusterMember {
  /** HOST:PORT of each, in an order that all agree on. */
  readonly addresses: readonly string[];
  /** Which of them this process is. */
  readonly task: number;
}

/** Whether a HOST:PORT is reached from this machine alone. */
export function isLoopback(address: string): boolean {
  return /^(localhost|127(\.\d+){3}|\[::1\]):/.test(address);
}

/** The interface of tfjs-node's addon, extended by what compiled functions need. */
export interface Binding {
  /** Names of all devices, e.g. "/job:localhost/replica:0/task:0/device:CPU:0". */
  readonly devices: readonly string[];
  /** TensorFlow's version, e.g. "2.15.1". */
  readonly TF_Version: string;
  /** Makes a native tensor from a copy of values in row-major order. */
  createTensor(shape: readonly number[], dtype: number, values: ArrayBufferView): number;
  /** Releases a handle. */
  deleteTensor(id: number): void;
  /** Copies a tensor's values out. */
  tensorDataSync(id: number): NativeValues;
  /** Runs one operation and waits for it. */
  executeOp(
    name: string,
    attributes: readonly Attribute[],
    inputs: readonly number[],
    outputs: number,
  ): TensorMetadata[];
  /** The same on another thread: this one is free meanwhile. Not while a function is traced. */
  executeOpLater(...call: Parameters<Binding["executeOp"]>): Promise<TensorMetadata[]>;
  /** Number of handles alive. */
  getNumOfTensors(): number;
  /** Whether one of the devices is a GPU. */
  isUsingGpuDevice(): boolean;
  /** Asks another process of the cluster for a sign of life. @returns Why there is none; `undefined` if it answers. */
  peerProblem(task: number, milliseconds: number): Promise<string | undefined>;
  /** While set, operations and new tensors are recorded instead of computed: see `compile.ts`. */
  recorder: Recorder | undefined;
  /** A second handle of the same memory, so that it outlives the first. */
  shareTensor(id: number): TensorMetadata;
  /** Removes a compiled function from the runtime. */
  removeFunction(name: string): void;
  /** Shapes of resources' values by the id of their handle: TensorFlow's API does not return them. */
  readonly resourceShapes: Map<number, readonly number[]>;
  readonly runtime: Runtime;
}

/** Takes the place of execution while a function is traced. Its tensors have ids below -1. */
export interface Recorder {
  executeOp: Binding["executeOp"];
  createTensor: Binding["createTensor"];
  /** Throws: a traced tensor has no values yet. */
  read(): never;
}

/** The loaded library and helpers, for `graph.ts`. */
export interface Runtime {
  readonly c: TensorFlowSymbols;
  readonly context: Pointer;
  readonly status: Pointer;
  /** A NUL-terminated copy of a name; kept forever. */
  cName(text: string): Pointer;
  /** Throws the error in `status`, if any. */
  check(action: string): void;
  int64s(values: readonly number[]): Int32Array<ArrayBuffer>;
  /** The caller deletes the tensor. */
  newTensor(shape: readonly number[], dtype: number, values: ArrayBufferView): Pointer;
  /** The caller deletes the tensor. */
  resolve(id: number): Pointer;
  setGraphAttribute(operation: Pointer, attribute: Attribute): void;
}

/** Values of a native tensor; float16 and bfloat16 as raw 16-bit words. */
export type NativeValues =
  | Float32Array
  | Float64Array
  | Int32Array
  | BigInt64Array
  | Uint16Array
  | Uint8Array;

type Pointer = Deno.PointerObject;

const DTYPE_NAME = new Map<number, string>(Object.entries(DTYPE).map(([name, number]) => [number, name]));

/** The type's name, for messages. */
export function dtypeName(dtype: number): string {
  return DTYPE_NAME.get(dtype) ?? `dtype ${dtype}`;
}

const BYTES_PER_ELEMENT = new Map<number, number>([
  [DTYPE.float32, 4],
  [DTYPE.float64, 8],
  [DTYPE.int32, 4],
  [DTYPE.uint8, 1],
  [DTYPE.complex64, 8],
  [DTYPE.int64, 8],
  [DTYPE.bool, 1],
  [DTYPE.bfloat16, 2],
  [DTYPE.float16, 2],
]);

const encoder = new TextEncoder();

type Field = readonly [number: number, value: number | string | readonly number[]];

/** A message in protobuf's wire format: integers, and texts or messages by their length. */
function message(...fields: readonly Field[]): number[] {
  const varint = (n: number): number[] => n < 128 ? [n] : [n & 127 | 128, ...varint(n >> 7)];
  return fields.flatMap(([field, value]) => {
    if (typeof value === "number") return [...varint(field << 3), ...varint(value)];
    const bytes = typeof value === "string" ? [...encoder.encode(value)] : value;
    return [...varint(field << 3 | 2), ...varint(bytes.length), ...bytes];
  });
}

/** `ConfigProto` of `config.proto`. */
export function encodeConfig({ intraOpThreads = 0, gpuAllowGrowth = true, member }: BindingOptions) {
  return new Uint8Array(message(
    ...intraOpThreads ? [[2, intraOpThreads]] as const : [],
    ...gpuAllowGrowth ? [[6, message([4, 1])]] as const : [],
    ...member ? [[16, message([1, taskName(0)])]] as const : [], // experimental: the group's leader
  ));
}

function taskName(task: number): string {
  return `/job:worker/replica:0/task:${task}`;
}

/** `ServerDef` of `tensorflow_server.proto`. */
function encodeServer({ addresses, task }: ClusterMember, config: Uint8Array): Uint8Array<ArrayBuffer> {
  const tasks = addresses.map((address, i): Field => [2, message([1, i], [2, address])]);
  const job = message([1, "worker"], ...tasks);
  return new Uint8Array(
    message([1, message([1, job])], [2, "worker"], [3, task], [4, [...config]], [5, "grpc"]),
  );
}

/** TensorFlow's message without the names that it makes up for its own functions. */
function cleanMessage(message: string): string {
  return message
    .replace(/\s*\[\[\{\{node ([^}]*)\}\}\]\]/g, " (in $1)") // an operation of a compiled function
    .replace(/'\{\{node ([^}]*)\}\} = .*?'/gs, "$1")
    .replace(/\{\{(function_node|node) [^}]*\}\}\s*/g, "")
    .replace(/\s*\[Op:\w+\](\s*name:.*)?$/s, "")
    .trim();
}

/**
 * Loads libtensorflow and starts its eager runtime.
 *
 * @param path Path of `libtensorflow_cc.so.2`.
 * @throws {CyclopsError} When the library cannot be loaded or the runtime does not start.
 */
export function createBinding(path: string, options: BindingOptions = {}): Binding {
  // A worker that is lost is named by an error; what TensorFlow logs on top would hide it.
  if (options.member && !Deno.env.get("TF_CPP_MIN_LOG_LEVEL")) Deno.env.set("TF_CPP_MIN_LOG_LEVEL", "3");
  const c = openLibrary(path);
  const status = c.TF_NewStatus() as Pointer;
  const handles = new Map<number, Pointer>();
  let nextId = 0;

  // Names of operations and attributes recur: each is encoded once and kept.
  const names = new Map<string, Pointer>();
  const nameBytes: Uint8Array[] = [];
  function cName(text: string): Pointer {
    let pointer = names.get(text);
    if (pointer === undefined) {
      const bytes = encoder.encode(text + "\0");
      nameBytes.push(bytes);
      names.set(text, pointer = Deno.UnsafePointer.of(bytes) as Pointer);
    }
    return pointer;
  }

  function check(action: string): void {
    if (c.TF_GetCode(status) !== 0) {
      throw new CyclopsError(
        `TensorFlow cannot ${action}: ${cleanMessage(readCString(c.TF_Message(status)))}`,
      );
    }
  }

  const contextOptions = c.TFE_NewContextOptions() as Pointer;
  const config = encodeConfig(options);
  c.TFE_ContextOptionsSetConfig(contextOptions, config, BigInt(config.length), status);
  check("read its configuration");
  const context = c.TFE_NewContext(contextOptions, status) as Pointer;
  check("start");
  c.TFE_DeleteContextOptions(contextOptions);
  if (options.member) {
    const { addresses, task } = options.member, address = addresses[task];
    const server = encodeServer(options.member, config);
    c.TFE_EnableCollectiveOps(context, server, BigInt(server.length), status);
    check(`start worker ${task} at ${address} (another process may have the port)`);
    if (addresses.every(isLoopback)) keepToLoopback(c, Number(address.split(":").at(-1)));
  }

  const devices: string[] = [];
  let gpu: string | undefined;
  const deviceList = c.TFE_ContextListDevices(context, status) as Pointer;
  check("list its devices");
  for (let i = 0; i < c.TF_DeviceListCount(deviceList); i++) {
    const name = readCString(c.TF_DeviceListName(deviceList, i, status));
    devices.push(name);
    if (readCString(c.TF_DeviceListType(deviceList, i, status)) === "GPU") gpu ??= name;
  }
  c.TF_DeleteDeviceList(deviceList);

  // Scratch for dimensions and integer lists: 64-bit values written as two 32-bit halves, which spares a BigInt each.
  let words = new Int32Array(128);
  function int64s(values: readonly number[]): Int32Array<ArrayBuffer> {
    if (values.length * 2 > words.length) words = new Int32Array(values.length * 4);
    for (let i = 0; i < values.length; i++) {
      words[2 * i] = values[i];
      words[2 * i + 1] = Math.floor(values[i] / 2 ** 32);
    }
    return words;
  }

  function handleOf(id: number): Pointer {
    const handle = handles.get(id);
    if (handle === undefined) {
      throw new CyclopsError(
        id < -1
          ? "Cannot use a tensor that was made inside a compiled function outside of it: return it from the function"
          : `TensorFlow cannot use tensor ${id}: it was disposed or never created`,
      );
    }
    return handle;
  }

  function shapeOf(handle: Pointer): number[] {
    const rank = c.TFE_TensorHandleNumDims(handle, status);
    const shape: number[] = [];
    for (let i = 0; i < rank; i++) shape.push(Number(c.TFE_TensorHandleDim(handle, i, status)));
    return shape;
  }

  function describe(id: number): string {
    const handle = handles.get(id);
    if (handle === undefined) return "disposed";
    const dtype = c.TFE_TensorHandleDataType(handle);
    return `${dtypeName(dtype)}[${shapeOf(handle)}]`;
  }

  function failed(name: string, inputs: readonly number[], said = status): CyclopsError {
    const message = cleanMessage(readCString(c.TF_Message(said)));
    const described = inputs.length > 8 ? `${inputs.length} inputs` : inputs.map(describe).join(", ");
    return new CyclopsError(`TensorFlow cannot run ${name}(${described}): ${message}`);
  }

  // One operation object serves all calls. It keeps its last inputs alive until the next call.
  let op: Pointer | undefined;
  const outputHandles = new BigUint64Array(256);
  const outputCount = new Int32Array(1);

  /** Operations to be run and nodes of a graph take the same attributes by two families of functions. */
  function attributeSetter(family: "TFE_OpSetAttr" | "TF_SetAttr") {
    const functions = c as unknown as Record<string, (...args: unknown[]) => void>;
    return (op: Pointer, { name, type, value }: Attribute): void => {
      const set = (kind: string, ...values: unknown[]) =>
        functions[family + kind](op, cName(name), ...values);
      const list = Array.isArray(value) ? value : undefined;
      switch (type) {
        case ATTRIBUTE.type:
          return list ? set("TypeList", Int32Array.from(list), list.length) : set("Type", value);
        case ATTRIBUTE.bool:
          return list
            ? set("BoolList", Uint8Array.from(list, Number), list.length)
            : set("Bool", value ? 1 : 0);
        case ATTRIBUTE.int:
          return list ? set("IntList", int64s(list), list.length) : set("Int", BigInt(value as number));
        case ATTRIBUTE.float:
          return list ? set("FloatList", Float32Array.from(list), list.length) : set("Float", value);
        case ATTRIBUTE.shape: {
          const shape = value as number[];
          return set("Shape", int64s(shape), shape.length, ...(family === "TF_SetAttr" ? [] : [status]));
        }
        case ATTRIBUTE.string: {
          const texts = (list ?? [value]).map((text) => encoder.encode(text));
          const lengths = texts.map((text) => BigInt(text.length));
          if (!list) return set("String", texts[0], lengths[0]);
          const pointers = texts.map((text) => Deno.UnsafePointer.value(Deno.UnsafePointer.of(text)));
          return set("StringList", BigUint64Array.from(pointers), BigUint64Array.from(lengths), list.length);
        }
        default:
          throw new CyclopsError(`TensorFlow cannot set attribute ${name}: unknown kind ${type}`);
      }
    };
  }
  const setAttribute = attributeSetter("TFE_OpSetAttr");
  const setGraphAttribute = attributeSetter("TF_SetAttr");

  function executeOp(
    name: string,
    attributes: readonly Attribute[],
    inputs: readonly number[],
    outputs: number,
  ): TensorMetadata[] {
    if (addon.recorder) return addon.recorder.executeOp(name, attributes, inputs, outputs);
    const n = cName(name);
    if (op === undefined) op = c.TFE_NewOp(context, n, status) as Pointer ?? undefined;
    else c.TFE_OpReset(op, n, null, status);
    if (op === undefined || c.TF_GetCode(status) !== 0) throw failed(name, inputs);
    fillOp(op, name, attributes, inputs);
    outputCount[0] = outputs;
    const results = outputs <= outputHandles.length ? outputHandles : new BigUint64Array(outputs);
    c.TFE_Execute(op, results, outputCount, status);
    if (c.TF_GetCode(status) !== 0) throw failed(name, inputs);
    return madeOf(results, outputCount[0]);
  }

  async function executeOpLater(
    ...[name, attributes, inputs, outputs]: Parameters<Binding["executeOp"]>
  ): Promise<TensorMetadata[]> {
    const operation = c.TFE_NewOp(context, cName(name), status) as Pointer;
    if (c.TF_GetCode(status) !== 0) throw failed(name, inputs);
    const own = c.TF_NewStatus() as Pointer;
    try {
      fillOp(operation, name, attributes, inputs); // and keeps its inputs
      const results = new BigUint64Array(outputs), count = Int32Array.of(outputs);
      await c.executeElsewhere(operation, results, count, own);
      if (c.TF_GetCode(own) !== 0) throw failed(name, inputs, own);
      return madeOf(results, count[0]);
    } finally {
      c.TFE_DeleteOp(operation);
      c.TF_DeleteStatus(own);
    }
  }

  function fillOp(
    to: Pointer,
    name: string,
    attributes: readonly Attribute[],
    inputs: readonly number[],
  ): void {
    for (let i = 0; i < inputs.length; i++) {
      c.TFE_OpAddInput(to, handleOf(inputs[i]), status);
      if (c.TF_GetCode(status) !== 0) throw failed(name, inputs);
    }
    for (let i = 0; i < attributes.length; i++) setAttribute(to, attributes[i]);
  }

  function madeOf(results: BigUint64Array, count: number): TensorMetadata[] {
    const made: TensorMetadata[] = new Array(count);
    for (let i = 0; i < made.length; i++) {
      const handle = Deno.UnsafePointer.create(results[i]) as Pointer;
      const id = nextId++;
      handles.set(id, handle);
      made[i] = { id, shape: shapeOf(handle), dtype: c.TFE_TensorHandleDataType(handle) };
    }
    return made;
  }

  function createTensor(
    shape: readonly number[],
    dtype: number,
    values: ArrayBufferView,
  ): number {
    if (dtype === DTYPE.string) {
      throw new CyclopsError("TensorFlow cannot create a tensor of strings: not supported here");
    }
    const tensor = newTensor(shape, dtype, values);
    let handle = c.TFE_NewTensorHandle(tensor, status) as Pointer;
    c.TF_DeleteTensor(tensor);
    check("make a tensor handle");
    if (gpu !== undefined && dtype !== DTYPE.int32) {
      const onGpu = c.TFE_TensorHandleCopyToDevice(handle, context, cName(gpu), status) as Pointer;
      c.TFE_DeleteTensorHandle(handle);
      check(`copy a tensor [${shape}] to ${gpu}`);
      handle = onGpu;
    }
    handles.set(nextId, handle);
    return nextId++;
  }

  function newTensor(shape: readonly number[], dtype: number, values: ArrayBufferView): Pointer {
    const bytes = values.byteLength;
    let size = BYTES_PER_ELEMENT.get(dtype) ?? 0;
    for (let i = 0; i < shape.length; i++) size *= shape[i];
    if (size !== bytes) {
      throw new CyclopsError(
        `TensorFlow cannot make a ${
          DTYPE_NAME.get(dtype)
        }[${shape}] tensor: found ${bytes} bytes, expected ${size}`,
      );
    }
    const tensor = c.TF_AllocateTensor(dtype, int64s(shape), shape.length, BigInt(bytes)) as Pointer;
    if (tensor === null) {
      throw new CyclopsError(
        `TensorFlow cannot allocate ${bytes} bytes for a tensor [${shape}]: out of memory`,
      );
    }
    if (bytes > 0) {
      c.copyIn(c.TF_TensorData(tensor), values as Uint8Array<ArrayBuffer>, BigInt(bytes));
    }
    return tensor;
  }

  function shareTensor(id: number): TensorMetadata {
    const handle = c.TFE_TensorHandleCopySharingTensor(handleOf(id), status) as Pointer;
    check(`share ${describe(id)}`);
    handles.set(nextId, handle);
    return { id: nextId++, shape: shapeOf(handle), dtype: c.TFE_TensorHandleDataType(handle) };
  }

  function resolve(id: number): Pointer {
    const tensor = c.TFE_TensorHandleResolve(handleOf(id), status) as Pointer;
    check(`read ${describe(id)}`);
    return tensor;
  }

  function deleteTensor(id: number): void {
    if (id < -1) return; // a traced one: it goes with its graph
    const handle = handleOf(id);
    handles.delete(id);
    c.TFE_DeleteTensorHandle(handle);
  }

  function tensorDataSync(id: number): NativeValues {
    const handle = handleOf(id);
    const dtype = c.TFE_TensorHandleDataType(handle);
    const tensor = resolve(id);
    try {
      const data = c.TF_TensorData(tensor);
      const bytes = Number(c.TF_TensorByteSize(tensor));
      const buffer = new ArrayBuffer(bytes);
      if (bytes > 0) c.copyOut(new Uint8Array(buffer), data, BigInt(bytes));
      switch (dtype) {
        case DTYPE.float32:
        case DTYPE.complex64:
          return new Float32Array(buffer);
        case DTYPE.float64:
          return new Float64Array(buffer);
        case DTYPE.int32:
          return new Int32Array(buffer);
        case DTYPE.int64:
          return new BigInt64Array(buffer);
        case DTYPE.bfloat16:
        case DTYPE.float16:
          return new Uint16Array(buffer);
        case DTYPE.bool:
        case DTYPE.uint8:
        case DTYPE.resource:
          return new Uint8Array(buffer);
        default:
          throw new CyclopsError(`TensorFlow cannot read ${describe(id)}: its type is not supported`);
      }
    } finally {
      c.TF_DeleteTensor(tensor);
    }
  }

  async function peerProblem(task: number, milliseconds: number): Promise<string | undefined> {
    const own = c.TF_NewStatus() as Pointer;
    await c.TFE_CollectiveOpsCheckPeerHealth(context, cName(taskName(task)), BigInt(milliseconds), own);
    const problem = c.TF_GetCode(own) === 0 ? undefined : readCString(c.TF_Message(own)).split("\n")[0];
    c.TF_DeleteStatus(own);
    return problem;
  }

  const addon: Binding & Record<string, unknown> = {
    recorder: undefined,
    runtime: { c, context, status, cName, check, int64s, newTensor, resolve, setGraphAttribute },
    // Constants that tfjs-node's kernels read.
    TF_FLOAT: DTYPE.float32,
    TF_INT32: DTYPE.int32,
    TF_INT64: DTYPE.int64,
    TF_BOOL: DTYPE.bool,
    TF_COMPLEX64: DTYPE.complex64,
    TF_STRING: DTYPE.string,
    TF_RESOURCE: DTYPE.resource,
    TF_UINT8: DTYPE.uint8,
    TF_ATTR_STRING: ATTRIBUTE.string,
    TF_ATTR_INT: ATTRIBUTE.int,
    TF_ATTR_FLOAT: ATTRIBUTE.float,
    TF_ATTR_BOOL: ATTRIBUTE.bool,
    TF_ATTR_TYPE: ATTRIBUTE.type,
    TF_ATTR_SHAPE: ATTRIBUTE.shape,
    TF_ATTR_RESOURCE: ATTRIBUTE.resource,
    TF_Version: readCString(c.TF_Version()),
    devices,
    createTensor: (shape, dtype, values) =>
      (addon.recorder?.createTensor ?? createTensor)(shape, dtype, values),
    deleteTensor,
    shareTensor,
    removeFunction: (name) => {
      c.TFE_ContextRemoveFunction(context, cName(name), status);
      check(`remove the function ${name}`);
    },
    resourceShapes: new Map(),
    tensorDataSync: (id) => addon.recorder?.read() ?? tensorDataSync(id),
    executeOp,
    executeOpLater,
    getNumOfTensors: () => handles.size,
    isUsingGpuDevice: () => gpu !== undefined,
    peerProblem,
  };
  return addon;
}

/** Limits of the C library's socket calls: file descriptors looked at, and their numbers on Linux. */
const DESCRIPTORS = 1024, SOL_SOCKET = 1, SO_BINDTODEVICE = 25;

/** TensorFlow's server listens on every network interface; this takes its socket off all but the loopback one. */
function keepToLoopback(c: TensorFlowSymbols, port: number): void {
  const address = new Uint8Array(128), loopback = encoder.encode("lo\0");
  let done = false;
  for (let fd = 3; fd < DESCRIPTORS; fd++) {
    if (c.getsockname(fd, address, Uint32Array.of(address.length)) !== 0) continue;
    const isInternet = address[0] === 2 || address[0] === 10;
    if (!isInternet || (address[2] << 8 | address[3]) !== port) continue;
    done ||= c.setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, loopback, loopback.length) === 0;
  }
  if (!done) {
    console.error(`warning: port ${port} is open to the network and TensorFlow asks nobody who they are`);
  }
}

let current: Binding | undefined;

/** The binding in use; `undefined` while another backend computes. */
export function currentBinding(): Binding | undefined {
  return current;
}

/** For `selectBackend`; `undefined` while operations are traced as tfjs's own. */
export function setCurrentBinding(binding: Binding | undefined): void {
  current = binding;
}
