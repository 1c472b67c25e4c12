/** TensorBoard's event files, read without TensorFlow. */
import { assert, assertEquals } from "../_assert.ts";
import { join } from "@std/path";

/** CRC-32C (Castagnoli), as TFRecord files use it. */
function crc32c(bytes: Uint8Array): number {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return ~crc >>> 0;
}

function masked(crc: number): number {
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/** Records of a TFRecord file: length, its checksum, data, their checksum. */
function records(file: Uint8Array): Uint8Array[] {
  const view = new DataView(file.buffer, file.byteOffset);
  const found: Uint8Array[] = [];
  for (let at = 0; at < file.length;) {
    const length = Number(view.getBigUint64(at, true));
    assertEquals(view.getUint32(at + 8, true), masked(crc32c(file.subarray(at, at + 8))));
    const data = file.subarray(at + 12, at + 12 + length);
    assertEquals(view.getUint32(at + 12 + length, true), masked(crc32c(data)));
    found.push(data);
    at += 16 + length;
  }
  return found;
}

/** A field of a protobuf message: a varint as a number, anything else as bytes. */
export type Field = number | Uint8Array;

/** The last value of each field of a protobuf message. */
export function message(data: Uint8Array): Map<number, Field> {
  const fields = new Map<number, Field>();
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let factor = 1;; factor *= 128) {
      value += (data[at] & 127) * factor;
      if (!(data[at++] & 128)) return value;
    }
  };
  while (at < data.length) {
    const key = varint(), field = Math.floor(key / 8), kind = key & 7;
    if (kind === 0) fields.set(field, varint());
    else {
      const length = kind === 1 ? 8 : kind === 5 ? 4 : varint();
      fields.set(field, data.subarray(at, at += length));
    }
  }
  return fields;
}

/** A field that holds a text. */
export const text = (field: Field | undefined) => new TextDecoder().decode(field as Uint8Array);
/** A field that holds a 32-bit number. */
export const float = (field: Field | undefined) => {
  const bytes = field as Uint8Array;
  return new DataView(bytes.buffer, bytes.byteOffset).getFloat32(0, true);
};

/** An event; field numbers are those of `event.proto` and `summary.proto`. */
export interface EventRecord {
  readonly step: number;
  /** The format's name, in a file's first event. */
  readonly version?: Field;
  /** The summary's value. */
  readonly value?: ReadonlyMap<number, Field>;
  /** Whether it tells readers to forget this step and later ones. */
  readonly restart: boolean;
}

/** Events of each event file in a folder, the oldest file first. */
export function eventFiles(folder: string): EventRecord[][] {
  const names = [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
  return names.map((name) => {
    assert(name.includes("tfevents"), name);
    return records(Deno.readFileSync(join(folder, name))).map((record) => {
      const event = message(record);
      const value = event.has(5)
        ? message(message(event.get(5) as Uint8Array).get(1) as Uint8Array)
        : undefined;
      const restart = event.has(7) && message(event.get(7) as Uint8Array).get(1) === 1;
      return { step: Number(event.get(2) ?? 0), version: event.get(3), value, restart };
    });
  });
}

/** The curves of the event files in a folder, as TensorBoard draws them: values by name and step. */
export function curves(folder: string): Map<string, Map<number, number>> {
  const all = new Map<string, Map<number, number>>();
  for (const { step, value, restart } of eventFiles(folder).flat()) {
    if (restart) {
      for (const curve of all.values()) for (const s of [...curve.keys()]) if (s >= step) curve.delete(s);
    }
    if (!value?.has(2)) continue;
    const name = text(value.get(1));
    if (!all.has(name)) all.set(name, new Map());
    const curve = all.get(name)!;
    assert(!curve.has(step), `${name} has two values at step ${step}`);
    curve.set(step, float(value.get(2)));
  }
  return all;
}

/** Steps at which there are pictures, by name. */
export function pictures(folder: string): Map<string, number[]> {
  const all = new Map<string, number[]>();
  for (const { step, value } of eventFiles(folder).flat()) {
    if (!value?.has(4)) continue;
    const name = text(value.get(1));
    all.set(name, [...all.get(name) ?? [], step]);
  }
  return all;
}
