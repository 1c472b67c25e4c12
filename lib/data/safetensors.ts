/**
 * The safetensors format: named tensors in one file, readable from Python and elsewhere.
 *
 *     8 bytes     length N of the header, unsigned, little-endian
 *     N bytes     JSON: {"name": {"dtype": "F32", "shape": [3, 4], "data_offsets": [begin, end]}, …,
 *                 "__metadata__": {"key": "text", …}}, padded with spaces
 *     the rest    the tensors, row-major, little-endian, one after the other without holes
 *
 * A header is believed only once all of it is checked against the file's size; nothing is allocated before.
 *
 * @module
 */
import { CyclopsError, messageOf } from "../base/errors.ts";
import { fileError, fillFrom, writeAtomic } from "../base/files.ts";

/** The element types this codec knows, as the format names them. */
export type TensorType =
  | "F64"
  | "F32"
  | "F16"
  | "BF16"
  | "I64"
  | "I32"
  | "I16"
  | "I8"
  | "U64"
  | "U32"
  | "U16"
  | "U8"
  | "BOOL";

/** A tensor's elements: F16 and BF16 as their 16 bits, BOOL as 0 or 1; see {@linkcode toFloat32}. */
export type TensorData =
  | Float64Array
  | Float32Array
  | Int32Array
  | Int16Array
  | Int8Array
  | Uint32Array
  | Uint16Array
  | Uint8Array
  | BigInt64Array
  | BigUint64Array;

const TYPES: Readonly<
  Record<TensorType, { readonly bytes: number; readonly array: new (bytes: ArrayBuffer) => TensorData }>
> = {
  F64: { bytes: 8, array: Float64Array },
  F32: { bytes: 4, array: Float32Array },
  F16: { bytes: 2, array: Uint16Array },
  BF16: { bytes: 2, array: Uint16Array },
  I64: { bytes: 8, array: BigInt64Array },
  I32: { bytes: 4, array: Int32Array },
  I16: { bytes: 2, array: Int16Array },
  I8: { bytes: 1, array: Int8Array },
  U64: { bytes: 8, array: BigUint64Array },
  U32: { bytes: 4, array: Uint32Array },
  U16: { bytes: 2, array: Uint16Array },
  U8: { bytes: 1, array: Uint8Array },
  BOOL: { bytes: 1, array: Uint8Array },
};

/** A tensor as stored. */
export interface StoredTensor {
  /** Type of the elements. */
  readonly dtype: TensorType;
  /** Sizes of the axes; empty for a single number. */
  readonly shape: readonly number[];
  /** Row-major elements. */
  readonly data: TensorData;
}

/** Tensors by name. */
export type TensorMap = ReadonlyMap<string, StoredTensor>;

/** Where a tensor lies in a file. */
export interface TensorEntry {
  /** Type of the elements. */
  readonly dtype: TensorType;
  /** Sizes of the axes. */
  readonly shape: readonly number[];
  /** First byte, counted from the end of the header. */
  readonly begin: number;
  /** One past the last byte. */
  readonly end: number;
}

/** What a file's header says, checked. */
export interface SafetensorsHeader {
  /** Entries by name, in the order of their bytes. */
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  /** Free text by key. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** What a file holds. */
export interface SafetensorsFile {
  /** The tensors by name. */
  readonly tensors: Map<string, StoredTensor>;
  /** Free text by key. */
  readonly metadata: Readonly<Record<string, string>>;
}

const METADATA = "__metadata__";

/** The format's own limit on the header, bytes. */
const HEADER_LIMIT = 100_000_000;

function refuse(path: string, found: string): CyclopsError {
  return new CyclopsError(
    `Cannot read the tensors in ${path}: ${found} (the file is cut, damaged or no safetensors file: ` +
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
  const wrong = (what: string) => refuse(path, `tensor ${quote(name)} ${what}`);
  if (!isObject(value)) throw wrong(`is described by ${quote(value)}, wanted dtype, shape and data_offsets`);
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== "string" || !Object.hasOwn(TYPES, dtype)) {
    throw wrong(`has dtype ${quote(dtype)}, known are ${Object.keys(TYPES).join(", ")}`);
  }
  if (!Array.isArray(shape) || !shape.every(isCount)) {
    throw wrong(`has shape ${quote(shape)}, wanted whole numbers`);
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount) || offsets[0] > offsets[1]) {
    throw wrong(`has data_offsets ${quote(offsets)}, wanted [begin, end]`);
  }
  const [begin, end] = offsets as number[];
  const type = dtype as TensorType;
  // Beyond 2^53 the product loses digits but stays far above any file's size, so that the comparison still holds.
  const wanted = shape.reduce((product, size) => product * size, TYPES[type].bytes);
  if (wanted !== end - begin) {
    throw wrong(
      `has shape ${quote(shape)} of ${type}, ${wanted} bytes, but data_offsets span ${end - begin}`,
    );
  }
  return { dtype: type, shape, begin, end };
}

/**
 * Parses a header and checks all it says.
 *
 * @param json The header's bytes.
 * @param bodyBytes How many bytes follow the header.
 * @param path The file's name for errors.
 * @throws {CyclopsError} When it is no JSON object, holds a key twice, names an unknown type, or when shapes, offsets
 * and the size of the body do not fit together.
 */
export function parseSafetensorsHeader(json: Uint8Array, bodyBytes: number, path: string): SafetensorsHeader {
  let text: string, parsed: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(json);
    parsed = JSON.parse(text);
  } catch (error) {
    throw refuse(path, `its header is not JSON (${messageOf(error)})`);
  }
  if (!isObject(parsed)) throw refuse(path, `its header is ${quote(parsed)}, wanted an object`);
  const twice = duplicateKey(text);
  if (twice !== undefined) throw refuse(path, `its header holds the key ${quote(twice)} twice`);

  const { [METADATA]: metadata = {}, ...rest } = parsed;
  if (!isObject(metadata) || !Object.values(metadata).every((value) => typeof value === "string")) {
    throw refuse(path, `its ${METADATA} is ${quote(metadata)}, wanted texts by key`);
  }
  const entries = Object.entries(rest)
    .map(([name, value]) => [name, parseEntry(name, value, path)] as const)
    .sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let at = 0;
  for (const [name, { begin, end }] of entries) {
    if (begin !== at) {
      const what = begin < at ? "overlaps the one before" : "leaves a hole before it";
      throw refuse(path, `tensor ${quote(name)} begins at byte ${begin} and ${what}, wanted ${at}`);
    }
    at = end;
  }
  if (at !== bodyBytes) {
    throw refuse(path, `its header speaks of ${at} bytes of tensors, the file has ${bodyBytes}`);
  }
  return { tensors: new Map(entries), metadata: metadata as Record<string, string> };
}

async function fill(file: Deno.FsFile, bytes: Uint8Array, path: string): Promise<void> {
  if (await fillFrom(file, bytes) < bytes.length) throw refuse(path, "it became shorter while it was read");
}

async function withOpen<T>(path: string, use: (file: Deno.FsFile) => Promise<T>): Promise<T> {
  try {
    using file = await Deno.open(path);
    return await use(file);
  } catch (error) {
    throw error instanceof CyclopsError ? error : fileError("read the tensors in", path, error);
  }
}

async function readHeader(
  file: Deno.FsFile,
  path: string,
): Promise<SafetensorsHeader & { readonly body: number }> {
  const { size } = await file.stat();
  if (size < 8) throw refuse(path, `it has ${size} bytes, wanted a header of at least 8`);
  const first = new Uint8Array(8);
  await fill(file, first, path);
  const length = Number(new DataView(first.buffer).getBigUint64(0, true));
  if (length > size - 8) throw refuse(path, `its header claims ${length} bytes of a file of ${size}`);
  if (length > HEADER_LIMIT) {
    throw refuse(path, `its header claims ${length} bytes, the format allows ${HEADER_LIMIT}`);
  }
  const json = new Uint8Array(length);
  await fill(file, json, path);
  const body = 8 + length;
  return { ...parseSafetensorsHeader(json, size - body, path), body };
}

/** Reads and checks a file's header alone. @throws {CyclopsError} As {@linkcode readSafetensors}. */
export async function readSafetensorsHeader(path: string): Promise<SafetensorsHeader> {
  return await withOpen(path, async (file) => {
    const { tensors, metadata } = await readHeader(file, path);
    return { tensors, metadata };
  });
}

/**
 * Reads a safetensors file.
 *
 * @param names Read only these tensors; names the file lacks are passed over. @default all
 * @throws {CyclopsError} When the file is missing, cut, or its header does not hold.
 */
export async function readSafetensors(path: string, names?: ReadonlySet<string>): Promise<SafetensorsFile> {
  return await withOpen(path, async (file) => {
    const header = await readHeader(file, path);
    const tensors = new Map<string, StoredTensor>();
    for (const [name, { dtype, shape, begin, end }] of header.tensors) {
      if (names && !names.has(name)) continue;
      const bytes = new Uint8Array(end - begin);
      await file.seek(header.body + begin, Deno.SeekMode.Start);
      await fill(file, bytes, path);
      tensors.set(name, { dtype, shape, data: new TYPES[dtype].array(bytes.buffer) });
    }
    return { tensors, metadata: header.metadata };
  });
}

/**
 * A safetensors file as pieces that follow each other: the header, then each tensor's own memory, not copied. The
 * same tensors give the same bytes, whatever the order of the map: wide types first, then by name.
 *
 * @throws {RangeError} When a shape, type and data do not fit, or a tensor is called `__metadata__`.
 */
export function encodeSafetensors(
  tensors: TensorMap,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array[] {
  const header: Record<string, unknown> = Object.create(null);
  if (Object.keys(metadata).length) header[METADATA] = metadata;
  const order = [...tensors].sort(([a, { dtype: s }], [b, { dtype: t }]) =>
    TYPES[t].bytes - TYPES[s].bytes || (a < b ? -1 : 1)
  );
  let at = 0;
  for (const [name, { dtype, shape, data }] of order) {
    const { bytes, array } = TYPES[dtype];
    const count = shape.reduce((product, size) => product * size, 1);
    if (name === METADATA || !(data instanceof array) || data.length !== count) {
      throw new RangeError(
        `Cannot encode tensor ${quote(name)}: ${data.length} elements in a ${data.constructor.name}, ` +
          `wanted ${dtype} of shape ${quote(shape)}`,
      );
    }
    header[name] = { dtype, shape, data_offsets: [at, at += count * bytes] };
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

/**
 * Writes a safetensors file, whole or not at all.
 *
 * @param metadata Free text by key.
 * @throws {CyclopsError} When it cannot be written; what was there before stays.
 *
 * @example
 * ```ts ignore
 * const tensors = new Map([
 *   ["w", { dtype: "F32" as const, shape: [2, 3], data: new Float32Array(6) }],
 * ]);
 * await writeSafetensors("model.safetensors", tensors, { made_by: "cyclops" });
 * ```
 */
export async function writeSafetensors(
  path: string,
  tensors: TensorMap,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  await writeAtomic(path, encodeSafetensors(tensors, metadata));
}

/** A tensor of 32-bit numbers. */
export function float32Tensor(shape: readonly number[], data: Float32Array): StoredTensor {
  return { dtype: "F32", shape, data };
}

/** IEEE half precision, as its 16 bits, to a number. */
function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 0x1f, fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/**
 * A tensor's elements as 32-bit numbers, rounded where the type holds more digits; F32 is returned as it is, not
 * copied.
 */
export function toFloat32({ dtype, data }: StoredTensor): Float32Array {
  if (data instanceof Float32Array) return data;
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) {
    return Float32Array.from(data as ArrayLike<bigint>, Number);
  }
  if (dtype === "F16") return Float32Array.from(data, fromHalf);
  // BF16 is the upper half of an F32.
  if (dtype === "BF16") return new Float32Array(Uint32Array.from(data, (bits) => bits << 16).buffer);
  return Float32Array.from(data);
}
