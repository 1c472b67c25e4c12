import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { nativeTensorCount, selectBackend, tf } from "../../lib/backend/mod.ts";
import { decodeRgb } from "../../lib/data/image.ts";
import { openSummary } from "../../lib/training/tensorboard.ts";
import { withFolder } from "../data/_pairs.ts";

await selectBackend({ backend: "tensorflow" });

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

type Field = number | Uint8Array;

/** The last value of each field of a protobuf message; varints as numbers, the rest as bytes. */
function message(data: Uint8Array): Map<number, Field> {
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

const text = (field: Field | undefined) => new TextDecoder().decode(field as Uint8Array);
const float = (field: Field | undefined) => {
  const bytes = field as Uint8Array;
  return new DataView(bytes.buffer, bytes.byteOffset).getFloat32(0, true);
};

/** Events of the one event file in a folder: field numbers of `event.proto` and `summary.proto`. */
function events(folder: string) {
  const names = [...Deno.readDirSync(folder)].map(({ name }) => name);
  assertEquals(names.length, 1, names.join());
  assert(names[0].includes("tfevents"));
  return records(Deno.readFileSync(join(folder, names[0]))).map((record) => {
    const event = message(record);
    const value = event.has(5)
      ? message(message(event.get(5) as Uint8Array).get(1) as Uint8Array)
      : undefined;
    return { step: event.get(2) ?? 0, version: event.get(3), value };
  });
}

Deno.test("scalars and images come back from the event file, and no handle is leaked", async () => {
  await withFolder(async (folder) => {
    const handles = nativeTensorCount(), tensors = tf.memory().numTensors;
    const where = join(folder, "run", "tensorboard");
    const summary = openSummary(where);
    const data = Uint8Array.from({ length: 5 * 3 * 3 }, (_, i) => (i * 37) % 256);
    summary.scalar("loss/total", 0.3125, 1);
    summary.scalar("loss/total", NaN, 2 ** 33);
    summary.image("panel/street", { width: 5, height: 3, data }, 7);
    assertEquals([nativeTensorCount() - handles, tf.memory().numTensors - tensors], [1, 0]);
    summary.close();
    summary.close();
    summary.scalar("too/late", 1, 1);
    assertEquals([nativeTensorCount() - handles, summary.problem], [0, undefined]);

    const [head, one, nan, picture, ...more] = events(where);
    assertEquals([text(head.version), more.length], ["brain.Event:2", 0]);
    assertEquals([one.step, text(one.value!.get(1)), float(one.value!.get(2))], [1, "loss/total", 0.3125]);
    assertEquals([nan.step, Number.isNaN(float(nan.value!.get(2)))], [2 ** 33, true]);
    assertEquals([picture.step, text(picture.value!.get(1))], [7, "panel/street/image"]);
    const image = message(picture.value!.get(4) as Uint8Array);
    assertEquals([image.get(1), image.get(2)], [3, 5]);
    assertEquals((await decodeRgb(image.get(4) as Uint8Array)).data, data);
  });
});

Deno.test("what is flushed is on the disk while the run goes on", async () => {
  await withFolder((folder) => {
    using summary = openSummary(folder);
    summary.scalar("a", 1.5, 3);
    summary.flush();
    const [, { step, value }] = events(folder);
    assertEquals(step, 3);
    assertAlmostEquals(float(value!.get(2)), 1.5);
    return Promise.resolve();
  });
});

Deno.test("a folder that cannot be written stops the event file, not the run", async () => {
  await withFolder(async (folder) => {
    const handles = nativeTensorCount();
    await Deno.writeTextFile(join(folder, "file"), "");
    const never = openSummary(join(folder, "file", "inside"));
    const said = never.problem?.message ?? "";
    assert(said.startsWith("Cannot write TensorBoard's event file in "), said);
    assert(said.includes("CreateSummaryFileWriter"), said);
    never.scalar("a", 1, 1);
    never.close();
    assertEquals(nativeTensorCount(), handles);
  });
});

Deno.test("an image whose data do not fit its size is refused", async () => {
  await withFolder((folder) => {
    using summary = openSummary(folder);
    const image = { width: 5, height: 3, data: new Uint8Array(15) };
    assertThrows(() => summary.image("a", image, 1), RangeError, "15 bytes for 5×3 px, wanted 45");
    return Promise.resolve();
  });
});
