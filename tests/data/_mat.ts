/**
 * MATLAB files of level 5 as MATLAB and SciPy write them, for tests.
 *
 * @module
 */
import { deflateSync } from "node:zlib";

/** How to write one. */
export interface MatOptions {
  readonly little?: boolean;
  readonly compressed?: boolean;
  /** Type of the numbers: 7 single, 9 double, 2 uint8. */
  readonly type?: 2 | 7 | 9;
  /** Class of the array: 6 double. */
  readonly kind?: number;
}

/** An array as a file's element. @param data The first index running fastest. */
function element(
  name: string,
  shape: readonly number[],
  data: ArrayLike<number>,
  options: MatOptions,
): Uint8Array {
  const { little = true, compressed = true, type = 9, kind = 6 } = options;
  const size = { 2: 1, 7: 4, 9: 8 }[type], parts: Uint8Array[] = [];
  const put = (code: number, bytes: Uint8Array) => {
    const small = bytes.length <= 4, part = new Uint8Array(small ? 8 : 8 + Math.ceil(bytes.length / 8) * 8);
    const view = new DataView(part.buffer);
    if (small) view.setUint32(0, bytes.length << 16 | code, little);
    else view.setUint32(0, code, little), view.setUint32(4, bytes.length, little);
    part.set(bytes, small ? 4 : 8);
    parts.push(part);
  };
  const numbers = (
    width: number,
    list: ArrayLike<number>,
    set: (view: DataView, at: number, n: number) => void,
  ) => {
    const view = new DataView(new ArrayBuffer(width * list.length));
    for (let i = 0; i < list.length; i++) set(view, i * width, list[i]);
    return new Uint8Array(view.buffer);
  };
  put(6, numbers(4, [kind, 0], (view, at, n) => view.setUint32(at, n, little)));
  put(5, numbers(4, shape, (view, at, n) => view.setInt32(at, n, little)));
  put(1, new TextEncoder().encode(name));
  put(
    type,
    numbers(size, data, (view, at, n) => {
      if (type === 9) view.setFloat64(at, n, little);
      else if (type === 7) view.setFloat32(at, n, little);
      else view.setUint8(at, n);
    }),
  );
  const wrap = (code: number, body: Uint8Array) => {
    const whole = new Uint8Array(8 + body.length), view = new DataView(whole.buffer);
    view.setUint32(0, code, little);
    view.setUint32(4, body.length, little);
    whole.set(body, 8);
    return whole;
  };
  const matrix = wrap(14, Uint8Array.from(parts.flatMap((part) => [...part])));
  return compressed ? wrap(15, deflateSync(matrix)) : matrix;
}

/** The bytes of a file. */
export function encodeMat(
  arrays: Readonly<Record<string, { readonly shape: readonly number[]; readonly data: ArrayLike<number> }>>,
  options: MatOptions = {},
): Uint8Array {
  const little = options.little ?? true, header = new Uint8Array(128).fill(32);
  header.set(new TextEncoder().encode("MATLAB 5.0 MAT-file, Platform: GLNX86"));
  new DataView(header.buffer).setUint16(124, 0x0100, little);
  new DataView(header.buffer).setUint16(126, 0x4d49, little);
  const elements = Object.entries(arrays).map(([name, { shape, data }]) =>
    element(name, shape, data, options)
  );
  return Uint8Array.from([header, ...elements].flatMap((part) => [...part]));
}
