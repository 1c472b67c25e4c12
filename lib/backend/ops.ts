/**
 * Operations beyond tfjs's: TensorFlow's own by name, variables in its memory, our own with hand-written gradients,
 * convolution with bias and ELU, and ways to keep gradients out.
 *
 * TensorFlow documents its operations' names, attributes and inputs as `tf.raw_ops`.
 *
 * @module
 */
import { CyclopsError } from "../base/errors.ts";
import {
  ATTRIBUTE,
  type Attribute,
  type Binding,
  currentBinding,
  DTYPE,
  type TensorMetadata,
} from "./binding.ts";
import {
  type Scalar,
  type Tensor,
  type Tensor1D,
  type Tensor4D,
  type TensorInfo,
  tf,
  type Variable,
} from "./tf.ts";

export { type Attribute, DTYPE } from "./binding.ts";

/** A TensorFlow data type; there are more than tfjs knows. */
export type NativeDType = keyof typeof DTYPE;

/** Makes attributes for {@linkcode execute}; each takes one value or a list. */
export const attr = {
  type: (name: string, dtype: NativeDType | readonly NativeDType[]): Attribute => ({
    name,
    type: ATTRIBUTE.type,
    value: typeof dtype === "string" ? DTYPE[dtype] : dtype.map((d) => DTYPE[d]),
  }),
  /** An integer. */
  int: (name: string, value: number | readonly number[]): Attribute => ({ name, type: ATTRIBUTE.int, value }),
  float: (name: string, value: number | readonly number[]): Attribute => ({
    name,
    type: ATTRIBUTE.float,
    value,
  }),
  bool: (name: string, value: boolean | readonly boolean[]): Attribute => ({
    name,
    type: ATTRIBUTE.bool,
    value,
  }),
  string: (name: string, value: string | readonly string[]): Attribute => ({
    name,
    type: ATTRIBUTE.string,
    value,
  }),
  /** One tensor's shape. */
  shape: (name: string, value: readonly number[]): Attribute => ({ name, type: ATTRIBUTE.shape, value }),
} as const;

/** True when the tensorflow backend is in use, so that {@linkcode execute} works. */
export function isNative(): boolean {
  return currentBinding() !== undefined;
}

/** True while a compiled function is traced: operations are recorded, and tensors have no values. */
export function isTracing(): boolean {
  return currentBinding()?.recorder !== undefined;
}

/** The parts of tfjs-node's backend object that are used here. */
interface NodeBackend {
  getInputTensorIds(tensors: readonly TensorInfo[]): number[];
  createOutputTensor(metadata: TensorMetadata): Tensor;
}

function binding(): Binding {
  const found = currentBinding();
  if (found) return found;
  const backend = tf.getBackend() || "not chosen yet";
  throw new CyclopsError(
    `Cannot call a TensorFlow operation: the backend is ${backend}, expected tensorflow`,
  );
}

function nodeBackend(): NodeBackend {
  return tf.backend() as unknown as NodeBackend;
}

/**
 * A native tensor that tfjs does not know: a bfloat16 intermediate, a resource. `tf.tidy` does not see it; its owner
 * disposes it.
 */
export class NativeTensor {
  readonly shape: readonly number[];
  /** TensorFlow's number of the type; see `DTYPE`. */
  readonly dtype: number;
  #id: number | undefined;

  /** Takes ownership of a handle. */
  constructor({ id, shape, dtype }: TensorMetadata) {
    this.#id = id;
    this.shape = shape;
    this.dtype = dtype;
  }

  /** The binding's number of the handle. */
  get id(): number {
    if (this.#id !== undefined) return this.#id;
    throw new CyclopsError(`Cannot use a native tensor [${this.shape}]: it was disposed`);
  }

  /** Releases the native memory. */
  dispose(): void {
    if (this.#id !== undefined) binding().deleteTensor(this.#id);
    this.#id = undefined;
  }
}

/** An input of a native operation. */
export type NativeInput = TensorInfo | NativeTensor;

function run(
  name: string,
  attributes: readonly Attribute[],
  inputs: readonly NativeInput[],
  outputs: number,
) {
  // tfjs uploads values when they are first used.
  const id = (x: NativeInput) => x instanceof NativeTensor ? x.id : nodeBackend().getInputTensorIds([x])[0];
  return binding().executeOp(name, attributes, inputs.map(id), outputs);
}

/**
 * Runs one TensorFlow operation and keeps the results out of tfjs. See {@linkcode execute}.
 *
 * @throws {CyclopsError} When TensorFlow refuses, or the backend is not tensorflow.
 */
export function executeNative(
  name: string,
  attributes: readonly Attribute[],
  inputs: readonly NativeInput[],
  outputs = 1,
): NativeTensor[] {
  return run(name, attributes, inputs, outputs).map((metadata) => new NativeTensor(metadata));
}

/**
 * Runs one TensorFlow operation; the results are tfjs's, `tf.tidy` included. It is not recorded for differentiation:
 * wrap it in {@linkcode defineOp} or `tf.customGrad`.
 *
 * @param name TensorFlow's name of the operation, e.g. "BiasAddGrad".
 * @param inputs In order; the tensors of a list follow one another.
 * @param outputs Number of results.
 * @throws {CyclopsError} When TensorFlow refuses, with the operation's name and the inputs' shapes, or the backend is
 * not tensorflow.
 *
 * @example
 * ```ts
 * import { attr, execute, selectBackend, tf } from "./mod.ts";
 *
 * await selectBackend({ backend: "tensorflow" });
 * const [sums] = execute("BiasAddGrad", [attr.type("T", "float32")], [tf.ones([2, 3, 5, 4])]);
 * sums.print(); // four times 30
 * ```
 */
export function execute(
  name: string,
  attributes: readonly Attribute[],
  inputs: readonly NativeInput[],
  outputs = 1,
): Tensor[] {
  return run(name, attributes, inputs, outputs).map((metadata) => nodeBackend().createOutputTensor(metadata));
}

/** Number of native tensors alive. */
export function nativeTensorCount(): number {
  return currentBinding()?.getNumOfTensors() ?? 0;
}

// ---- Variables in TensorFlow's memory

const DTYPE_FLOAT = attr.type("dtype", "float32");
let resources = 0;

/**
 * A float32 variable in TensorFlow's own memory (a resource), which operations such as `ResourceApplyAdam` change in
 * place. tfjs does not know it; its owner disposes it.
 */
export class ResourceVariable {
  readonly shape: readonly number[];
  /** The input for TensorFlow's operations on resources. */
  readonly handle: NativeTensor;

  /** @param value Copied. @default zeros */
  constructor(shape: readonly number[], value?: Tensor) {
    this.shape = [...shape];
    // Handles of one name would share their memory.
    const name = attr.string("shared_name", `cyclops-${resources++}`);
    this.handle = executeNative("VarHandleOp", [DTYPE_FLOAT, attr.shape("shape", shape), name], [])[0];
    binding().resourceShapes.set(this.handle.id, this.shape);
    tf.tidy(() => this.assign(value ?? tf.zeros([...shape])));
  }

  /** Copies a tensor's values in, so that the resource alone holds its memory. */
  assign(value: Tensor): void {
    const copy = tf.tidy(() => tf.add(value, 0));
    executeNative("AssignVariableOp", [DTYPE_FLOAT], [this.handle, copy], 0);
    copy.dispose();
  }

  /** The current value. While it is held, the next change in place has to copy. */
  read(): Tensor {
    return execute("ReadVariableOp", [DTYPE_FLOAT], [this.handle])[0];
  }

  dispose(): void {
    binding().resourceShapes.delete(this.handle.id);
    executeNative("DestroyResourceOp", [attr.bool("ignore_lookup_error", true)], [this.handle], 0);
    this.handle.dispose();
  }
}

/** A `tf.Variable` whose value lives in a resource. */
export class BoundVariable extends ResourceVariable {
  readonly variable: Variable;
  /** Number of {@linkcode bindVariable} calls not yet disposed. */
  users = 0;
  /** The tensor data that the resource was last read into or written from. */
  #known: object | undefined;

  constructor(variable: Variable) {
    super(variable.shape, variable);
    this.variable = variable;
    this.#known = variable.dataId;
  }

  /** Updates the resource if someone has assigned to the variable. */
  sync(): void {
    if (this.#known === this.variable.dataId) return;
    this.assign(this.variable);
    this.#known = this.variable.dataId;
  }

  /** Releases tfjs's reference to the value: TensorFlow updates in place only what nobody else holds. */
  release(): void {
    this.sync();
    tf.engine().disposeTensor(this.variable);
  }

  /** Gives the variable the resource's value again. */
  refresh(): void {
    const now = this.read();
    (this.variable as { dataId: object }).dataId = now.dataId;
    (tf.engine() as unknown as { incRef(t: Tensor, b: null): void }).incRef(this.variable, null);
    now.dispose();
    this.#known = this.variable.dataId;
  }

  /** Ends one user's binding; the variable keeps its value. */
  override dispose(): void {
    if (--this.users > 0) return;
    bound.delete(this.variable);
    super.dispose();
  }
}

const bound = new WeakMap<Variable, BoundVariable>();

/** Moves a variable's value into a resource. Each call needs one `dispose` of the result. */
export function bindVariable(variable: Variable): BoundVariable {
  let found = bound.get(variable);
  if (!found) bound.set(variable, found = new BoundVariable(variable));
  found.users++;
  return found;
}

/** The resource that a variable is bound to. */
export function resourceOf(variable: Variable): BoundVariable | undefined {
  return bound.get(variable);
}

// ---- Gradients

/**
 * Runs a function without recording it for differentiation: its result is a constant to every gradient taken around
 * it, and costs no backward pass. tfjs has no `stopGradient`.
 *
 * @example
 * ```ts
 * import { noGradient, tf } from "./mod.ts";
 *
 * tf.grad((x) => tf.mul(x, noGradient(() => tf.square(x))))(tf.scalar(3)); // 9, not 27
 * ```
 */
export function noGradient<T>(compute: () => T): T {
  // The tape records an operation only at kernel depth 0; custom gradients rely on the same counter.
  const { state } = tf.engine() as unknown as { state: { kernelDepth: number } };
  state.kernelDepth++;
  try {
    return compute();
  } finally {
    state.kernelDepth--;
  }
}

/** The same values, through which no gradient passes. */
export function detach<T extends Tensor>(x: T): T {
  return noGradient(() => tf.clone(x));
}

/**
 * The same values, through which the gradient passes multiplied by `factor`; 0 is {@linkcode detach}, 1 changes
 * nothing. Inside a compiled function, a factor that changes from call to call must be a scalar tensor.
 */
export function scaleGradient<T extends Tensor>(x: T, factor: number | Scalar): T {
  if (factor === 1) return x;
  if (factor === 0) return detach(x);
  const scaled = tf.customGrad((value) => ({
    value: tf.clone(value as Tensor),
    gradFunc: (dy: Tensor) => tf.mul(dy, factor),
  }));
  return scaled(x) as T;
}

/** An operation of our own. `A` are its attributes. */
export interface CustomOp<A> {
  /** Unique, starting with "Cyclops". */
  readonly name: string;
  /** Names of the tensor inputs, in order. */
  readonly inputs: readonly string[];
  /** Computes the outputs, which may include what the gradients need. */
  readonly forward: (inputs: readonly Tensor[], attributes: A) => Tensor[];
  /**
   * Gradients with respect to each input, computed only where needed.
   *
   * @param dy Gradient of the first output; further outputs are not differentiated.
   */
  readonly gradients: (
    dy: Tensor,
    inputs: readonly Tensor[],
    outputs: readonly Tensor[],
    attributes: A,
  ) => (() => Tensor)[];
}

/**
 * Registers an operation with hand-written gradients: few large operations where differentiation would record many
 * small ones.
 *
 * @returns A function that runs it and returns all its outputs.
 */
export function defineOp<A extends object>(
  op: CustomOp<A>,
): (inputs: readonly Tensor[], attributes: A) => Tensor[] {
  const { name, inputs: names, forward, gradients } = op;
  for (const backendName of ["tensorflow", "webgpu", "cpu"]) {
    tf.registerKernel({
      kernelName: name,
      backendName,
      kernelFunc: ({ inputs, attrs }) => {
        const tensors = names.map((name) => (inputs as Record<string, Tensor>)[name]);
        return tf.tidy(() => forward(tensors, attrs as unknown as A));
      },
    });
  }
  tf.registerGradient({
    kernelName: name,
    inputsToSave: [...names],
    outputsToSave: Array(8).fill(true),
    gradFunc: (dys, saved, attrs) => {
      const dy = Array.isArray(dys) ? dys[0] : dys;
      const all = gradients(
        dy,
        saved.slice(0, names.length),
        saved.slice(names.length),
        attrs as unknown as A,
      );
      return Object.fromEntries(names.map((name, i) => [name, () => tf.tidy(all[i])]));
    },
  });
  return (tensors, attributes) => {
    const named = Object.fromEntries(names.map((name, i) => [name, tensors[i]]));
    const out = tf.engine().runKernel(name, named, attributes as Record<string, never>) as Tensor | Tensor[];
    return Array.isArray(out) ? out : [out];
  };
}

// ---- Convolution

/** Number formats of a convolution's multiplications. */
export type Precision = "fp32" | "bf16";

/** Options of {@linkcode convolution2d}. */
export interface ConvolutionAttributes {
  /** px between two results, in both directions. */
  readonly stride: 1 | 2;
  /** Upsample the input to twice its size first, by nearest neighbor; for 3×3 kernels and stride 1. @default false */
  readonly upsample?: boolean;
  /** Applied to the result. @default "none" */
  readonly activation?: "none" | "elu" | "relu6";
  /** Every input channel has a kernel of its own, [k,k,inputs,1]; always computed in float32. @default false */
  readonly depthwise?: boolean;
  /** What lies beyond the edges: zeros, or the image mirrored (stride 1, odd kernels). @default "zero" */
  readonly padding?: "zero" | "reflect";
  /** Number format of the multiplications; inputs, results and weights stay float32. @default "fp32" */
  readonly precision?: Precision;
}

/** The processor, as far as it matters to training. */
interface CpuFeatures {
  /** False where nothing could be read; then all features are false. */
  readonly known: boolean;
  /** Its name, or "unknown". */
  readonly model: string;
  /** Cores this process may use. */
  readonly cores: number;
  /** 256-bit vectors; TensorFlow needs AVX at least. */
  readonly avx2: boolean;
  /** 512-bit vectors. */
  readonly avx512: boolean;
  /** Arithmetic in bfloat16, by AVX-512 or AMX; without it bfloat16 convolutions are ten times slower than float32. */
  readonly bf16: boolean;
  /** Matrix tiles with bfloat16. */
  readonly amx: boolean;
}

/**
 * Reads the processor's features from Linux's `/proc/cpuinfo`. Needs all permissions, or `--allow-run=cat`.
 *
 * @param cpuinfo The file's content. @default the file, or nothing where there is none
 */
export function cpuFeatures(cpuinfo: string = readCpuinfo()): CpuFeatures {
  const flags = new Set(/^flags\s*:\s*(.*)$/m.exec(cpuinfo)?.[1].split(" "));
  const amx = flags.has("amx_bf16") && flags.has("amx_tile");
  return {
    known: flags.size > 0,
    model: /^model name\s*:\s*(.*)$/m.exec(cpuinfo)?.[1].trim() ?? "unknown",
    cores: navigator.hardwareConcurrency,
    avx2: flags.has("avx2"),
    avx512: flags.has("avx512f"),
    bf16: amx || flags.has("avx512_bf16"),
    amx,
  };
}

/** Deno lets only a process with all permissions read `/proc` itself; `--allow-run=cat` does as well. */
function readCpuinfo(): string {
  const path = "/proc/cpuinfo";
  try {
    return Deno.readTextFileSync(path);
  } catch {
    try {
      return new TextDecoder().decode(new Deno.Command("cat", { args: [path] }).outputSync().stdout);
    } catch {
      return "";
    }
  }
}

/**
 * Checks that a number format is fast on this machine.
 *
 * @throws {CyclopsError} When backend or processor have no bfloat16 arithmetic: emulated, it is slower than float32.
 */
export function checkPrecision(precision: Precision): void {
  if (precision === "fp32") return;
  if (!isNative()) {
    throw new CyclopsError(
      `Cannot compute in bf16: the backend is ${tf.getBackend()}, expected tensorflow; use --precision fp32`,
    );
  }
  const { bf16, known, model } = cpuFeatures();
  if (bf16 || binding().isUsingGpuDevice()) return;
  throw new CyclopsError(
    known
      ? `Cannot compute in bf16: this processor (${model}) has no bf16 instructions (avx512_bf16 or amx_bf16), so it ` +
        "would be slower than fp32; use --precision fp32"
      : "Cannot compute in bf16: the processor's features could not be read from /proc/cpuinfo; use --precision fp32",
  );
}

const FLOAT = attr.type("T", "float32");
const NHWC = attr.string("data_format", "NHWC");

/** An operation without its attribute T, and its inputs after the result of the step before. */
type Step = readonly [name: string, attributes: readonly Attribute[], inputs: readonly Tensor[]];

/** Runs operations one after the other in a number format; float32 and int32 tensors go in, float32 comes out. */
function runIn(precision: Precision, steps: readonly Step[]): Tensor {
  const type = precision === "bf16" ? "bfloat16" : "float32";
  const temporary: NativeTensor[] = [];
  const keep = ([tensor]: NativeTensor[]) => (temporary.push(tensor), tensor);
  const castTo = (from: NativeDType, to: NativeDType) => [attr.type("SrcT", from), attr.type("DstT", to)];
  const narrow = (x: Tensor): NativeInput =>
    x.dtype === "int32" || precision === "fp32"
      ? x
      : keep(executeNative("Cast", castTo("float32", type), [x]));
  try {
    const result = steps.reduce<readonly NativeTensor[]>(
      (before, [name, attributes, inputs]) => [
        keep(executeNative(name, [attr.type("T", type), ...attributes], [...before, ...inputs.map(narrow)])),
      ],
      [],
    );
    return precision === "bf16"
      ? execute("Cast", castTo(type, "float32"), result)[0]
      : execute("Identity", [FLOAT], result)[0];
  } finally {
    for (const tensor of temporary) tensor.dispose();
  }
}

/** One of TensorFlow's convolution operations as a step. */
function convolve(
  operation: string,
  { stride, depthwise, padding = "zero" }: ConvolutionAttributes,
  inputs: readonly Tensor[],
): Step {
  const name = depthwise ? operation.replace("Conv2D", "DepthwiseConv2dNative") : operation;
  return [name, [
    attr.int("strides", [1, stride, stride, 1]),
    attr.string("padding", padding === "zero" ? "SAME" : "VALID"),
    NHWC,
  ], inputs];
}

const precisionOf = ({ depthwise, precision = "fp32" }: ConvolutionAttributes) =>
  depthwise ? "fp32" : precision;

type Activation = ConvolutionAttributes["activation"];
const ACTIVATIONS = { elu: "Elu", relu6: "Relu6" } as const;

/** Bias and activation after a convolution; in a compiled function, TensorFlow makes one operation of all three. */
function biased(bias: Tensor, activation: Activation = "none"): Step[] {
  const add: Step = ["BiasAdd", [NHWC], [bias]];
  return activation === "none" ? [add] : [add, [ACTIVATIONS[activation], [], []]];
}

/** Always in float32: in bfloat16, TensorFlow's EluGrad takes 20 times as long, Relu6Grad twice. */
function activationGradient(dy: Tensor, y: Tensor, activation: Activation = "none"): Tensor {
  return activation === "none" ? dy : execute(`${ACTIVATIONS[activation]}Grad`, [FLOAT], [dy, y])[0];
}

/** Which pixels of a map lie where once a rim is mirrored around it. */
function mirrored([, height, width]: readonly number[], kernel: Tensor) {
  const [up, left] = kernel.shape as Tensor4D["shape"];
  const [rows, columns] = [[height, up >> 1], [width, left >> 1]].map(([size, rim]) =>
    Array.from({ length: size + 2 * rim }, (_, i) => size - 1 - Math.abs(size - 1 - Math.abs(i - rim)))
  );
  return {
    rim: [up >> 1, left >> 1],
    rows,
    columns,
    sources: rows.flatMap((y) => columns.map((x) => y * width + x)),
  };
}

/** Takes pixels out of maps: [B,H,W,C] → [B,n,C]. */
function takePixels(x: Tensor, pixels: readonly number[]): Tensor {
  const [batch, height, width, channels] = x.shape as Tensor4D["shape"];
  return tf.gather(
    tf.reshape(x, [batch, height * width, channels]),
    tf.tensor1d(pixels as number[], "int32"),
    1,
  );
}

/** Mirrors a rim around maps for a kernel: a third of the time of TensorFlow's MirrorPad. */
function mirrorRim(x: Tensor, kernel: Tensor): Tensor {
  const { rows, columns, sources } = mirrored(x.shape, kernel);
  return tf.reshape(takePixels(x, sources), [x.shape[0], rows.length, columns.length, x.shape[3]!]);
}

/** The gradient of {@linkcode mirrorRim}: the rim is added to the pixels that it mirrors. */
function foldRim(dy: Tensor, shape: readonly number[], kernel: Tensor): Tensor {
  const [batch, height, width, channels] = shape;
  const { rim: [top, left], columns, sources } = mirrored(shape, kernel);
  const rim = [...sources.keys()].filter((i) => {
    const y = Math.floor(i / columns.length) - top, x = i % columns.length - left;
    return y < 0 || y >= height || x < 0 || x >= width;
  });
  const inner = tf.slice(dy, [0, top, left, 0], [batch, height, width, channels]);
  const at = Array.from({ length: batch }, (_, b) => rim.map((i) => [b * height * width + sources[i]]))
    .flat();
  const sum = execute("TensorScatterAdd", [FLOAT, attr.type("Tindices", "int32")], [
    tf.reshape(inner, [-1, channels]),
    tf.tensor2d(at, [at.length, 1], "int32"),
    tf.reshape(takePixels(dy, rim), [-1, channels]),
  ])[0];
  return tf.reshape(sum, shape as Tensor4D["shape"]);
}

/**
 * Pixels of a result up to which a convolution is a matrix product of the patches that its kernel sees: oneDNN brings
 * the weights into an order of its own at every call, which takes most of the time then. 3×3, 512 to 512 channels, 32 px:
 * 1.7 ms became 1.0, the gradient of the kernel 1.9 became 0.9; at 512 px there is no difference.
 */
const PATCH_PIXELS = 128;

function usesPatches(
  [batch, height, width]: readonly number[],
  { depthwise }: ConvolutionAttributes,
): boolean {
  return !depthwise && batch * height * width <= PATCH_PIXELS;
}

/** What a kernel sees at each pixel of its result: [B·H·W, k·k·inputs]. */
function patches(x: Tensor, kernel: Tensor, y: readonly number[], attributes: ConvolutionAttributes): Tensor {
  const { stride, padding = "zero" } = attributes;
  const [batch, height, width, channels] = x.shape as Tensor4D["shape"];
  const [rows, columns] = kernel.shape as Tensor4D["shape"];
  const pixels = tf.reshape(x, [-1, channels]);
  if (rows * columns * stride === 1) return pixels;
  const before = (size: number, kernel: number, results: number) =>
    padding === "zero" ? Math.max((results - 1) * stride + kernel - size, 0) >> 1 : 0;
  const top = before(height, rows, y[1]), left = before(width, columns, y[2]);
  const black = batch * height * width;
  const seen: number[] = [];
  for (let b = 0; b < batch; b++) {
    for (let i = 0; i < y[1] * y[2]; i++) {
      const from = [Math.floor(i / y[2]) * stride - top, (i % y[2]) * stride - left];
      for (let k = 0; k < rows * columns; k++) {
        const row = from[0] + Math.floor(k / columns), column = from[1] + k % columns;
        const inside = row >= 0 && row < height && column >= 0 && column < width;
        seen.push(inside ? (b * height + row) * width + column : black);
      }
    }
  }
  const all = padding === "zero" ? tf.pad(pixels, [[0, 1], [0, 0]]) : pixels;
  return tf.reshape(tf.gather(all, tf.tensor1d(seen, "int32")), [-1, rows * columns * channels]);
}

/** A matrix product as a step. */
function multiply(a: Tensor, b: Tensor, transposeA = false): Step {
  return ["MatMul", [attr.bool("transpose_a", transposeA), attr.bool("transpose_b", false)], [a, b]];
}

/** Output channels up to which {@linkcode swappedGradient} pays. */
const FEW_OUTPUTS = 4;

/**
 * The gradient by a kernel with few outputs. oneDNN's vectors run along the outputs: it is two to six times faster to take
 * `dz` for the image and the image for `dz`, which gives the gradient rotated by 180 degrees, inputs and outputs swapped.
 */
function swappedGradient(x: Tensor, kernel: Tensor, dz: Tensor, attributes: ConvolutionAttributes): Tensor {
  const [size, , inputs, outputs] = kernel.shape as Tensor4D["shape"];
  const rim: [number, number] = [size - 1, size - 1];
  const image = attributes.padding === "reflect" ? tf.pad(dz, [[0, 0], rim, rim, [0, 0]]) : dz;
  const sizes = tf.tensor1d([size, size, outputs, inputs], "int32");
  const swapped = runIn(precisionOf(attributes), [
    convolve("Conv2DBackpropFilter", attributes, [image, sizes, x]),
  ]);
  return tf.transpose(tf.reverse(swapped, [0, 1]), [0, 1, 3, 2]);
}

/** Gradient of a convolution by its kernel. */
function kernelGradient(x: Tensor, kernel: Tensor, dz: Tensor, attributes: ConvolutionAttributes): Tensor {
  if (usesPatches(dz.shape, attributes)) {
    const flat = tf.reshape(dz, [-1, dz.shape[3]!]);
    const product = multiply(patches(x, kernel, dz.shape, attributes), flat, true);
    return tf.reshape(runIn(precisionOf(attributes), [product]), kernel.shape as Tensor4D["shape"]);
  }
  const [rows, columns, inputs, outputs] = kernel.shape as Tensor4D["shape"];
  const gradient = (x: Tensor, columns: number, attributes: ConvolutionAttributes) => {
    const sizes = tf.tensor1d([rows, columns, inputs, outputs], "int32");
    return runIn(precisionOf(attributes), [convolve("Conv2DBackpropFilter", attributes, [x, sizes, dz])]);
  };
  const { depthwise, stride, padding = "zero" } = attributes;
  if (!depthwise && stride === 1 && rows === columns && outputs <= FEW_OUTPUTS && outputs < inputs) {
    return swappedGradient(x, kernel, dz, attributes);
  }
  if (!depthwise || columns !== 5 || padding !== "zero") return gradient(x, columns, attributes);
  // oneDNN has a fast kernel for up to three columns; 5×5 takes 4 to 15 ms without it, two times 5×3 a fifth of that.
  const around = (size: number): [number, number] => {
    const all = Math.max((Math.ceil(size / stride) - 1) * stride + 5 - size, 0);
    return [all >> 1, all - (all >> 1)];
  };
  const [batch, height, width, channels] = x.shape as Tensor4D["shape"];
  const padded = tf.pad(x, [[0, 0], around(height), around(width), [0, 0]]);
  const half = (from: number) => {
    const part = tf.slice(padded, [0, 0, from, 0], [batch, padded.shape[1]!, padded.shape[2]! - 2, channels]);
    return gradient(part, 3, { ...attributes, padding: "reflect" });
  };
  return tf.concat([half(0), tf.slice(half(2), [0, 1, 0, 0], [rows, 2, inputs, outputs])], 1);
}

/** tfjs would broadcast the bias, sum its gradient over three axes, and keep every intermediate. */
const convolution = defineOp<ConvolutionAttributes>({
  name: "CyclopsConvolution",
  inputs: ["x", "kernel", "bias"],
  forward: ([x, kernel, bias], attributes) => {
    const { stride, activation, padding } = attributes, precision = precisionOf(attributes);
    const seen = padding === "reflect" ? mirrorRim(x, kernel) : x;
    const after = biased(bias, activation);
    const [batch, height, width] = x.shape;
    const shape = [batch, Math.ceil(height / stride), Math.ceil(width! / stride), bias.size];
    if (!usesPatches(shape, attributes)) {
      return [runIn(precision, [convolve("Conv2D", attributes, [seen, kernel]), ...after])];
    }
    const weights = tf.reshape(kernel, [-1, bias.size]);
    const product = multiply(patches(seen, kernel, shape, attributes), weights);
    return [tf.reshape(runIn(precision, [product, ...after]), shape)];
  },
  gradients: (dy, [x, kernel], [y], attributes) => {
    const reflect = attributes.padding === "reflect", precision = precisionOf(attributes);
    const dz = activationGradient(dy, y, attributes.activation);
    // Recomputed rather than kept; in a compiled function it is the forward pass's own.
    const seen = reflect ? mirrorRim(x, kernel) : x;
    return [
      () => {
        const size = tf.tensor1d(seen.shape, "int32");
        const slope = runIn(precision, [convolve("Conv2DBackpropInput", attributes, [size, kernel, dz])]);
        return reflect ? foldRim(slope, x.shape, kernel) : slope;
      },
      () => kernelGradient(seen, kernel, dz, attributes),
      () => runIn(precision, [["BiasAddGrad", [NHWC], [dz]]]),
    ];
  },
});

/** As {@linkcode convolution}, transposed: the 4×4 kernel, [4,4,outputs,inputs], doubles height and width. */
const upConvolution = defineOp<ConvolutionAttributes>({
  name: "CyclopsUpConvolution",
  inputs: ["x", "kernel", "bias"],
  forward: ([x, kernel, bias], { activation, precision = "fp32" }) => {
    const [batch, height, width] = x.shape;
    const size = tf.tensor1d([batch, 2 * height, 2 * width!, kernel.shape[2]!], "int32");
    const spread = convolve("Conv2DBackpropInput", { stride: 2 }, [size, kernel, x]);
    return [runIn(precision, [spread, ...biased(bias, activation)])];
  },
  gradients: (dy, [x, kernel], [y], attributes) => {
    const { precision = "fp32" } = attributes;
    const dz = activationGradient(dy, y, attributes.activation);
    return [
      () => runIn(precision, [convolve("Conv2D", { stride: 2 }, [dz, kernel])]),
      () => kernelGradient(dz, kernel, x, { stride: 2, precision }),
      () => runIn(precision, [["BiasAddGrad", [NHWC], [dz]]]),
    ];
  },
});

/**
 * The kernel of a transposed convolution that does what nearest-neighbor upsampling and a 3×3 convolution do, with 16
 * multiplications per input pixel instead of 36: of the three taps (a, b, c) along an axis, two always fall on the same
 * pixel, which leaves (c, b + c, a + b, a). [3,3,inputs,outputs] → [4,4,outputs,inputs].
 */
function upKernel(kernel: Tensor4D): Tensor4D {
  const [, , inputs, outputs] = kernel.shape;
  const taps = tf.tensor2d([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]]);
  const expand = (x: Tensor) => tf.matMul(taps, tf.reshape(x, [3, -1]));
  const alongX = tf.reshape(expand(tf.transpose(kernel, [1, 0, 3, 2])), [4, 3, outputs, inputs]);
  return tf.reshape(expand(tf.transpose(alongX, [1, 0, 2, 3])), [4, 4, outputs, inputs]);
}

/** Input pixels from which on {@linkcode upKernel} pays: below, the kernel is what takes the time. */
const UP_KERNEL_PIXELS = 256;

/**
 * Convolution with "same" padding and bias, followed by an activation if requested.
 *
 * @param x [B,H,W,inputs].
 * @param kernel [k,k,inputs,outputs]; [k,k,inputs,1] if depthwise.
 * @param bias [outputs].
 * @returns [B,⌈H/stride⌉,⌈W/stride⌉,outputs], or [B,2H,2W,outputs] with `upsample`.
 */
export function convolution2d(
  x: Tensor4D,
  kernel: Tensor4D,
  bias: Tensor1D,
  attributes: ConvolutionAttributes,
): Tensor4D {
  if (isNative() && attributes.upsample) {
    const [batch, height, width] = x.shape;
    if (attributes.padding !== "reflect" && batch * height * width >= UP_KERNEL_PIXELS) {
      return upConvolution([x, upKernel(kernel), bias], attributes)[0] as Tensor4D;
    }
  }
  const { stride, activation, depthwise, upsample, padding } = attributes;
  const seen = upsample ? tf.image.resizeNearestNeighbor(x, [2 * x.shape[1], 2 * x.shape[2]]) : x;
  if (isNative()) return convolution([seen, kernel, bias], attributes)[0] as Tensor4D;
  const [up, left] = kernel.shape.map((size) => size >> 1);
  const reflect = padding === "reflect";
  const padded = reflect ? tf.mirrorPad(seen, [[0, 0], [up, up], [left, left], [0, 0]], "reflect") : seen;
  const run = depthwise ? tf.depthwiseConv2d : tf.conv2d;
  const y = tf.add(run(padded, kernel, stride, reflect ? "valid" : "same"), bias) as Tensor4D;
  return activation === "elu" ? tf.elu(y) : activation === "relu6" ? tf.relu6(y) : y;
}
