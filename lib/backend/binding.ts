/**
 * A drop-in replacement for tfjs-node's native addon, written over `Deno.dlopen` on TensorFlow's eager C API.
 * It implements the interface `TFJSBinding` of tfjs-node 4.22 (`dist/tfjs_binding.d.ts`), so that all of tfjs-node's
 * JavaScript kernels run unchanged. Running SavedModels is left out.
 *
 * @module
 */
import { CyclopsError } from "../base/errors.ts";
import { openLibrary, readCString } from "./library.ts";

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
  /** As the operation names it, e.g. "padding". */
  readonly name: string;
  /** One of {@linkcode ATTRIBUTE}. */
  readonly type: number;
  /** What its kind asks for: a number, a text, a list. */
  readonly value: unknown;
}

/** A native tensor as tfjs-node describes it. */
export interface TensorMetadata {
  /** Number by which this binding knows the handle. */
  readonly id: number;
  /** Size of each dimension. */
  readonly shape: number[];
  /** One of {@linkcode DTYPE}. */
  readonly dtype: number;
}

/** How the native runtime is set up; it cannot be changed once it runs. */
export interface BindingOptions {
  /** Threads within one operation; TensorFlow's default is one per core. */
  readonly intraOpThreads?: number;
  /** Operations run at once; eager execution runs one at a time, so this matters little. */
  readonly interOpThreads?: number;
  /** Take GPU memory as it is needed instead of all at once. @default true */
  readonly gpuAllowGrowth?: boolean;
}

/** What the addon of tfjs-node offers, and a little more. */
export interface Binding {
  /** Names of all devices, e.g. "/job:localhost/replica:0/task:0/device:CPU:0". */
  readonly devices: readonly string[];
  /** TensorFlow's version, e.g. "2.15.1". */
  readonly TF_Version: string;
  /** Makes a native tensor from values in row-major order; copies them once. */
  createTensor(shape: readonly number[], dtype: number, values: ArrayBufferView | Uint8Array[]): number;
  /** Releases a handle. */
  deleteTensor(id: number): void;
  /** Copies a tensor's values out. */
  tensorDataSync(id: number): NativeValues;
  /**
   * Looks at a float32 tensor's values where they are, if that is the CPU's memory; copies them otherwise. The view
   * must neither be written to nor used after the tensor is gone.
   */
  tensorView(id: number): Float32Array;
  /** Runs one operation and waits for it. */
  executeOp(
    name: string,
    attributes: readonly Attribute[],
    inputs: readonly number[],
    outputs: number,
  ): TensorMetadata[];
  /** How many handles are alive. */
  getNumOfTensors(): number;
  /** Whether one of the devices is a GPU. */
  isUsingGpuDevice(): boolean;
}

/** Values as they come out of a native tensor; float16 and bfloat16 as raw 16-bit words. */
export type NativeValues =
  | Float32Array
  | Float64Array
  | Int32Array
  | BigInt64Array
  | Uint16Array
  | Uint8Array
  | Uint8Array[];

type Pointer = Deno.PointerObject;

/** Bytes of one `TF_TString`. */
const STRING_BYTES = 24;

const DTYPE_NAME = new Map<number, string>(Object.entries(DTYPE).map(([name, number]) => [number, name]));
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

/** `tensorflow.ConfigProto` in protobuf's wire format: fields 2, 5 and 6.4 of `config.proto`. */
export function encodeConfig(options: BindingOptions): Uint8Array<ArrayBuffer> {
  const bytes: number[] = [];
  const varint = (field: number, value: number) => {
    bytes.push(field << 3);
    for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
    bytes.push(value);
  };
  if (options.intraOpThreads) varint(2, options.intraOpThreads);
  if (options.interOpThreads) varint(5, options.interOpThreads);
  if (options.gpuAllowGrowth ?? true) bytes.push(6 << 3 | 2, 2, 4 << 3, 1);
  return new Uint8Array(bytes);
}

/** TensorFlow's message without the names it makes up for its own functions. */
function cleanMessage(message: string): string {
  return message
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
  if (config.length) {
    c.TFE_ContextOptionsSetConfig(contextOptions, config, BigInt(config.length), status);
    check("take its configuration");
  }
  const context = c.TFE_NewContext(contextOptions, status) as Pointer;
  check("start");
  c.TFE_DeleteContextOptions(contextOptions);

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
      throw new CyclopsError(`TensorFlow cannot use tensor ${id}: it was disposed or never made`);
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
    return `${DTYPE_NAME.get(dtype) ?? `dtype ${dtype}`}[${shapeOf(handle)}]`;
  }

  function failed(name: string, inputs: readonly number[]): CyclopsError {
    const message = cleanMessage(readCString(c.TF_Message(status)));
    return new CyclopsError(`TensorFlow cannot run ${name}(${inputs.map(describe).join(", ")}): ${message}`);
  }

  // One operation object serves all calls. It keeps its last inputs alive until the next call.
  let op: Pointer | undefined;
  const outputHandles = new BigUint64Array(256);
  const outputCount = new Int32Array(1);

  function setAttribute(op: Pointer, { name, type, value }: Attribute): void {
    const n = cName(name);
    switch (type) {
      case ATTRIBUTE.type:
        if (Array.isArray(value)) c.TFE_OpSetAttrTypeList(op, n, Int32Array.from(value), value.length);
        else c.TFE_OpSetAttrType(op, n, value as number);
        break;
      case ATTRIBUTE.bool:
        if (Array.isArray(value)) {
          c.TFE_OpSetAttrBoolList(op, n, Uint8Array.from(value, (v) => v ? 1 : 0), value.length);
        } else c.TFE_OpSetAttrBool(op, n, value ? 1 : 0);
        break;
      case ATTRIBUTE.int:
        if (Array.isArray(value)) c.TFE_OpSetAttrIntList(op, n, int64s(value), value.length);
        else c.TFE_OpSetAttrInt(op, n, BigInt(value as number));
        break;
      case ATTRIBUTE.float:
        if (Array.isArray(value)) c.TFE_OpSetAttrFloatList(op, n, Float32Array.from(value), value.length);
        else c.TFE_OpSetAttrFloat(op, n, value as number);
        break;
      case ATTRIBUTE.string:
        if (Array.isArray(value)) {
          const texts = value.map((v) => encoder.encode(v as string));
          const pointers = BigUint64Array.from(
            texts,
            (t) => Deno.UnsafePointer.value(Deno.UnsafePointer.of(t)),
          );
          const lengths = BigUint64Array.from(texts, (t) => BigInt(t.length));
          c.TFE_OpSetAttrStringList(op, n, pointers, lengths, value.length);
        } else {
          const text = encoder.encode(value as string);
          c.TFE_OpSetAttrString(op, n, text, BigInt(text.length));
        }
        break;
      case ATTRIBUTE.shape: {
        const shape = value as number[];
        c.TFE_OpSetAttrShape(op, n, int64s(shape), shape.length, status);
        check(`set attribute ${name} to shape [${shape}]`);
        break;
      }
      default:
        throw new CyclopsError(`TensorFlow cannot set attribute ${name}: its kind ${type} is unknown`);
    }
  }

  function executeOp(
    name: string,
    attributes: readonly Attribute[],
    inputs: readonly number[],
    outputs: number,
  ): TensorMetadata[] {
    const n = cName(name);
    if (op === undefined) op = c.TFE_NewOp(context, n, status) as Pointer ?? undefined;
    else c.TFE_OpReset(op, n, null, status);
    if (op === undefined || c.TF_GetCode(status) !== 0) throw failed(name, inputs);
    for (let i = 0; i < inputs.length; i++) {
      c.TFE_OpAddInput(op, handleOf(inputs[i]), status);
      if (c.TF_GetCode(status) !== 0) throw failed(name, inputs);
    }
    for (let i = 0; i < attributes.length; i++) setAttribute(op, attributes[i]);
    outputCount[0] = outputs;
    const results = outputs <= outputHandles.length ? outputHandles : new BigUint64Array(outputs);
    c.TFE_Execute(op, results, outputCount, status);
    if (c.TF_GetCode(status) !== 0) throw failed(name, inputs);
    const made: TensorMetadata[] = new Array(outputCount[0]);
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
    values: ArrayBufferView | Uint8Array[],
  ): number {
    if (dtype === DTYPE.string) return createStrings(shape, values as Uint8Array[]);
    const bytes = (values as ArrayBufferView).byteLength;
    let size = BYTES_PER_ELEMENT.get(dtype) ?? 0;
    for (let i = 0; i < shape.length; i++) size *= shape[i];
    if (size !== bytes) {
      throw new CyclopsError(
        `TensorFlow cannot make a ${
          DTYPE_NAME.get(dtype)
        }[${shape}] tensor: got ${bytes} bytes, wanted ${size}`,
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

  /** The C API never destroys strings that were put into a tensor from outside, so TensorFlow gets a copy of its own. */
  function createStrings(shape: readonly number[], values: readonly Uint8Array[]): number {
    const tensor = c.TF_AllocateTensor(
      DTYPE.string,
      int64s(shape),
      shape.length,
      BigInt(values.length * STRING_BYTES),
    ) as Pointer;
    const data = c.TF_TensorData(tensor);
    const stringAt = (i: number) => Deno.UnsafePointer.offset(data as Pointer, i * STRING_BYTES);
    for (let i = 0; i < values.length; i++) {
      c.TF_StringInit(stringAt(i));
      c.TF_StringCopy(stringAt(i), values[i] as Uint8Array<ArrayBuffer>, BigInt(values[i].length));
    }
    const handle = c.TFE_NewTensorHandle(tensor, status) as Pointer;
    check("make a tensor of strings");
    const id = nextId++;
    handles.set(id, handle);
    try {
      return executeOp("StringJoin", [{ name: "N", type: ATTRIBUTE.int, value: 1 }], [id], 1)[0].id;
    } finally {
      for (let i = 0; i < values.length; i++) c.TF_StringDealloc(stringAt(i));
      c.TF_DeleteTensor(tensor);
      deleteTensor(id);
    }
  }

  function deleteTensor(id: number): void {
    const handle = handleOf(id);
    handles.delete(id);
    c.TFE_DeleteTensorHandle(handle);
  }

  function tensorDataSync(id: number): NativeValues {
    const handle = handleOf(id);
    const dtype = c.TFE_TensorHandleDataType(handle);
    const tensor = c.TFE_TensorHandleResolve(handle, status) as Pointer;
    check(`read ${describe(id)}`);
    try {
      const data = c.TF_TensorData(tensor);
      if (dtype === DTYPE.string) return readStrings(data, shapeOf(handle).reduce((a, b) => a * b, 1));
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
          throw new CyclopsError(`TensorFlow cannot read ${describe(id)}: a type this binding does not know`);
      }
    } finally {
      c.TF_DeleteTensor(tensor);
    }
  }

  function tensorView(id: number): Float32Array {
    const handle = handleOf(id);
    if (c.TFE_TensorHandleDataType(handle) !== DTYPE.float32) {
      throw new CyclopsError(`TensorFlow cannot show ${describe(id)} as float32`);
    }
    if (gpu !== undefined) return tensorDataSync(id) as Float32Array;
    const tensor = c.TFE_TensorHandleResolve(handle, status) as Pointer;
    check(`read ${describe(id)}`);
    // The handle keeps the memory; `tensor` is but a second reference to it.
    const data = c.TF_TensorData(tensor);
    const bytes = Number(c.TF_TensorByteSize(tensor));
    c.TF_DeleteTensor(tensor);
    return bytes === 0
      ? new Float32Array()
      : new Float32Array(Deno.UnsafePointerView.getArrayBuffer(data as Pointer, bytes));
  }

  function readStrings(data: Deno.PointerValue, count: number): Uint8Array[] {
    return Array.from({ length: count }, (_, i) => {
      const string = Deno.UnsafePointer.offset(data as Pointer, i * STRING_BYTES);
      const size = c.TF_StringGetSize(string);
      const bytes = new Uint8Array(Number(size));
      if (bytes.length) c.copyOut(bytes, c.TF_StringGetDataPointer(string), size);
      return bytes;
    });
  }

  function noSavedModels(): never {
    throw new CyclopsError("Cannot use a SavedModel: this backend runs single operations only");
  }

  const addon = {
    // Constants and classes by which tfjs-node's kernels know the addon.
    TensorMetadata: class {},
    TFEOpAttr: class {},
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
    createTensor,
    deleteTensor,
    tensorDataSync,
    tensorView,
    executeOp,
    getNumOfTensors: () => handles.size,
    isUsingGpuDevice: () => gpu !== undefined,
    getNumOfSavedModels: () => 0,
    loadSavedModel: noSavedModels,
    deleteSavedModel: noSavedModels,
    runSavedModel: noSavedModels,
  };
  return addon;
}
