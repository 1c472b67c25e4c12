/**
 * The C symbols of libtensorflow that the binding calls: TensorFlow's stable C API (`c_api.h`, `c_api_eager.h`,
 * `tf_tensor.h`), `TFE_OpReset` and the collectives of `c_api_experimental.h`.
 *
 * @module
 */
import { CyclopsError, messageOf } from "../base/errors.ts";

/** A node's output: the operation and which of its outputs. Passed by value: 16 bytes. */
const TF_OUTPUT = { struct: ["pointer", "i32"] } as const;

/** Names, parameters and results of the functions. */
export const SYMBOLS = {
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
export function readCString(pointer: Deno.PointerValue): string {
  return pointer === null ? "" : Deno.UnsafePointerView.getCString(pointer);
}
