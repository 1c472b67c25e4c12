/**
 * The safetensors format: named tensors in one file, readable from Python and elsewhere.
 *
 *     8 bytes     length N of the header, unsigned, little-endian
 *     N bytes     JSON: {"name": {"dtype": "F32", "shape": [3, 4], "data_offsets": [begin, end]}, …,
 *                 "__metadata__": {"key": "value", …}}, padded with spaces
 *     the rest    the tensors, row-major, little-endian, one after the other without holes
 *
 * The whole header is checked against the file's size before anything is allocated. Nothing here is Deno's or Node's.
 *
 * @module
 */
import { CyclopsError, messageOf } from "../base/errors.ts";

/** Arrays of the element types, as the format names them; F16 and BF16 as their 16 bits, BOOL as 0 or 1. */
const TYPES = {
  F64: Float64Array,
  F32: Float32Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  I64: BigInt64Array,
  I32: Int32Array,
  I16: Int16Array,
  I8: Int8Array,
  U64: BigUint64Array,
  U32: Uint32Array,
  U16: Uint16Array,
  U8: Uint8Array,
  BOOL: Uint8Array,
} as const satisfies Record<StoredTensor["dtype"], unknown>;

/** A tensor as stored. */
export interface StoredTensor {
  /** Type of the elements, as the format names it: "F32", "F16", … */
  readonly dtype:
    | ("F64" | "F32" | "F16" | "BF16" | "BOOL")
    | ("I64" | "I32" | "I16" | "I8" | "U64" | "U32" | "U16" | "U8");
  /** Sizes of the axes; empty for a single number. */
  readonly shape: readonly number[];
  /** Row-major; F16 and BF16 as their 16 bits, see {@linkcode toFloat32}. */
  readonly data:
    | (Float64Array | Float32Array | BigInt64Array | BigUint64Array)
    | (Int32Array | Int16Array | Int8Array | Uint32Array | Uint16Array | Uint8Array);
}

/** Tensors by name. */
export type TensorMap = ReadonlyMap<string, StoredTensor>;

/** Where a tensor lies: bytes from `begin` to `end`, counted from the end of the header. */
type TensorEntry = Pick<StoredTensor, "dtype" | "shape"> & { readonly begin: number; readonly end: number };

const METADATA = "__metadata__";

/** The format's own limit on the header, bytes. */
const HEADER_LIMIT = 100_000_000;

function malformed(path: string, found: string): CyclopsError {
  return new CyclopsError(
    `Cannot read the tensors in ${path}: ${found} (the file is truncated, damaged or not a safetensors file: ` +
      `copy it again or use another)`,
  );
}

const quote = (value: unknown) => {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
};

/** The first key that an object in well-formed JSON holds twice: JSON.parse would keep the last one silently. */
function duplicateKey(json: string): string | undefined {
  const open: (Set<string> | undefined)[] = [];
  let before = "";
  for (const [token] of json.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\]:]/g)) {
    if (token === "{") open.push(new Set());
    else if (token === "[") open.push(undefined);
    else if (token === "}" || token === "]") open.pop();
    else if (token === ":") {
      const keys = open.at(-1)!, key: string = JSON.parse(before);
      if (keys.has(key)) return key;
      keys.add(key);
    }
    before = token;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function parseEntry(name: string, value: unknown, path: string): TensorEntry {
  const wrong = (what: string) => malformed(path, `tensor ${quote(name)} ${what}`);
  if (!isObject(value)) {
    throw wrong(`is described by ${quote(value)}, expected dtype, shape and data_offsets`);
  }
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== "string" || !Object.hasOwn(TYPES, dtype)) {
    throw wrong(`has dtype ${quote(dtype)}, expected ${Object.keys(TYPES).join(", ")}`);
  }
  if (!Array.isArray(shape) || !shape.every(isCount)) {
    throw wrong(`has shape ${quote(shape)}, expected integers`);
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount) || offsets[0] > offsets[1]) {
    throw wrong(`has data_offsets ${quote(offsets)}, expected [begin, end]`);
  }
  const [begin, end] = offsets as number[];
  const type = dtype as StoredTensor["dtype"];
  // Beyond 2^53 the product loses digits but stays far above any file's size, so that the comparison still holds.
  const expected = shape.reduce((product, size) => product * size, TYPES[type].BYTES_PER_ELEMENT);
  if (expected !== end - begin) {
    throw wrong(
      `has shape ${quote(shape)} of ${type}, ${expected} bytes, but data_offsets span ${end - begin}`,
    );
  }
  return { dtype: type, shape, begin, end };
}

/**
 * Parses and checks a header.
 *
 * @param json The header's bytes.
 * @param bodyBytes How many bytes follow the header.
 * @param path The file's name, for errors.
 * @returns Entries by name, in the order of their bytes; strings by key.
 * @throws {CyclopsError} When it is not a JSON object, holds a key twice, names an unknown type, or when shapes, offsets
 * and the size of the body do not match.
 */
export function parseSafetensorsHeader(json: Uint8Array, bodyBytes: number, path: string): {
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly metadata: Readonly<Record<string, string>>;
} {
  let text: string, parsed: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(json);
    parsed = JSON.parse(text);
  } catch (error) {
    throw malformed(path, `its header is not JSON (${messageOf(error)})`);
  }
  if (!isObject(parsed)) throw malformed(path, `its header is ${quote(parsed)}, expected an object`);
  const twice = duplicateKey(text);
  if (twice !== undefined) throw malformed(path, `its header holds the key ${quote(twice)} twice`);

  const { [METADATA]: metadata = {}, ...rest } = parsed;
  if (!isObject(metadata) || !Object.values(metadata).every((value) => typeof value === "string")) {
    throw malformed(path, `its ${METADATA} is ${quote(metadata)}, expected strings by key`);
  }
  const entries = Object.entries(rest)
    .map(([name, value]) => [name, parseEntry(name, value, path)] as const)
    .sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let at = 0;
  for (const [name, { begin, end }] of entries) {
    if (begin !== at) {
      const what = begin < at ? "overlaps the one before" : "leaves a hole before it";
      throw malformed(path, `tensor ${quote(name)} begins at byte ${begin} and ${what}, expected ${at}`);
    }
    at = end;
  }
  if (at !== bodyBytes) {
    throw malformed(path, `its header describes ${at} bytes of tensors, the file has ${bodyBytes}`);
  }
  return { tensors: new Map(entries), metadata: metadata as Record<string, string> };
}

/**
 * The tensors and the metadata in the bytes of a safetensors file. The tensors are views of these bytes where they are
 * aligned.
 *
 * @param path The file's name, for errors.
 * @throws {CyclopsError} When they are truncated or the header is wrong.
 */
export function parseSafetensors(
  bytes: Uint8Array<ArrayBuffer>,
  path = "a file",
): { readonly tensors: TensorMap; readonly metadata: Readonly<Record<string, string>> } {
  const size = bytes.length;
  if (size < 8) throw malformed(path, `it has ${size} bytes, expected a header of at least 8`);
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  if (length > size - 8) throw malformed(path, `its header claims ${length} bytes of a file of ${size}`);
  if (length > HEADER_LIMIT) {
    throw malformed(path, `its header claims ${length} bytes, the format allows ${HEADER_LIMIT}`);
  }
  const header = parseSafetensorsHeader(bytes.subarray(8, 8 + length), size - 8 - length, path);
  const tensors = new Map<string, StoredTensor>();
  for (const [name, { dtype, shape, begin, end }] of header.tensors) {
    const Type = TYPES[dtype], start = bytes.byteOffset + 8 + length + begin;
    const data = start % Type.BYTES_PER_ELEMENT === 0
      ? new Type(bytes.buffer, start, (end - begin) / Type.BYTES_PER_ELEMENT)
      : new Type(bytes.buffer.slice(start, start + end - begin));
    tensors.set(name, { dtype, shape, data });
  }
  return { tensors, metadata: header.metadata };
}

/**
 * A safetensors file as chunks of bytes: the header, then each tensor's own memory, not copied. The same tensors give
 * the same bytes, whatever the order of the map: wide types first, then by name.
 *
 * @throws {RangeError} When shape, type and data do not match, or a tensor is called `__metadata__`.
 *
 * @example
 * ```ts ignore
 * const weights = new Map([["w", float32Tensor([2, 3], new Float32Array(6))]]);
 * await writeAtomic("model.safetensors", encodeSafetensors(weights, { made_by: "cyclops" }));
 * ```
 */
export function encodeSafetensors(
  tensors: TensorMap,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array[] {
  const header: Record<string, unknown> = Object.create(null);
  if (Object.keys(metadata).length) header[METADATA] = metadata;
  const order = [...tensors].sort(([a, { dtype: s }], [b, { dtype: t }]) =>
    TYPES[t].BYTES_PER_ELEMENT - TYPES[s].BYTES_PER_ELEMENT || (a < b ? -1 : 1)
  );
  let at = 0;
  for (const [name, { dtype, shape, data }] of order) {
    const count = shape.reduce((product, size) => product * size, 1);
    if (name === METADATA || !(data instanceof TYPES[dtype]) || data.length !== count) {
      throw new RangeError(
        `Cannot encode tensor ${quote(name)}: ${data.length} elements in a ${data.constructor.name}, ` +
          `expected ${dtype} of shape ${quote(shape)}`,
      );
    }
    header[name] = { dtype, shape, data_offsets: [at, at += data.byteLength] };
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  // Padded, so that the tensors start at a multiple of 8 and can be mapped into memory as they are.
  const head = new Uint8Array(8 + Math.ceil(json.length / 8) * 8).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(head.length - 8), true);
  head.set(json, 8);
  return [
    head,
    ...order.map(([, { data }]) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength)),
  ];
}

/** A float32 tensor. */
export function float32Tensor(shape: readonly number[], data: Float32Array): StoredTensor {
  return { dtype: "F32", shape, data };
}

/** The same tensor in IEEE half precision, half the bytes; beyond ±65504 values become infinite. */
export function toHalf(tensor: StoredTensor): StoredTensor {
  const data = new Uint16Array(Float16Array.from(toFloat32(tensor)).buffer);
  return { dtype: "F16", shape: tensor.shape, data };
}

/** A number from the 16 bits of its IEEE half precision. */
function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 0x1f, fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** All numbers of half precision: looking them up is a hundred times faster than computing millions. */
let halves: Float32Array | undefined;

/**
 * A tensor's elements as float32, rounded where the type is wider; F32 data is returned itself, not copied.
 */
export function toFloat32({ dtype, data }: StoredTensor): Float32Array {
  if (data instanceof Float32Array) return data;
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) {
    return Float32Array.from(data as ArrayLike<bigint>, Number);
  }
  if (dtype === "F16") {
    const table = halves ??= Float32Array.from({ length: 65536 }, (_, bits) => fromHalf(bits));
    const values = new Float32Array(data.length);
    for (let i = 0; i < values.length; i++) values[i] = table[data[i]];
    return values;
  }
  // BF16 is the upper half of an F32.
  if (dtype === "BF16") return new Float32Array(Uint32Array.from(data, (bits) => bits << 16).buffer);
  return Float32Array.from(data);
}

/** The name of a tensor with a value that is not finite, if there is one. */
export function notFinite(tensors: TensorMap): string | undefined {
  for (const [name, tensor] of tensors) {
    let zero = 0;
    // Infinity and NaN times 0 are NaN, and stay it: no branch for each value.
    for (const value of toFloat32(tensor)) zero += value * 0;
    if (zero !== 0) return name;
  }
}

/** Whether a license, as a model file's metadata has it, forbids commercial use. */
export function isNonCommercial(license: string): boolean {
  return /\bNC\b|non-?commercial/i.test(license);
}
