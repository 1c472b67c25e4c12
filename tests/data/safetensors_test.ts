import { assertEquals, assertRejects, assertThrows } from "../_assert.ts";
import { join } from "@std/path";
import { CyclopsError } from "../../lib/base/errors.ts";
import { writeAtomic } from "../../lib/base/files.ts";
import {
  encodeSafetensors,
  parseSafetensorsHeader,
  type StoredTensor,
  toFloat32,
} from "../../lib/data/safetensors.ts";
import { readSafetensors } from "../../lib/training/checkpoint.ts";
import { withFolder } from "./_pairs.ts";

/** Writes a file of tensors. */
function writeSafetensors(
  ...[path, ...content]: [string, ...Parameters<typeof encodeSafetensors>]
): Promise<void> {
  return writeAtomic(path, encodeSafetensors(...content));
}

const bytesOf = (text: string) => new TextEncoder().encode(text);

/** A file of the given header and so many bytes of tensors. */
function fileOf(header: string, body: number, claimed = bytesOf(header).length): Uint8Array {
  const json = bytesOf(header), file = new Uint8Array(8 + json.length + body);
  new DataView(file.buffer).setBigUint64(0, BigInt(claimed), true);
  file.set(json, 8);
  return file;
}

Deno.test("every element type comes back as it was written, in any order of the map", () =>
  withFolder(async (folder) => {
    const tensors: [string, StoredTensor][] = [
      ["flag", { dtype: "BOOL", shape: [3], data: Uint8Array.of(1, 0, 1) }],
      ["weights", { dtype: "F32", shape: [2, 3], data: Float32Array.of(1.5, -0, 1e-40, NaN, Infinity, 3) }],
      ["step", { dtype: "I64", shape: [], data: BigInt64Array.of(-5n) }],
      ["count", { dtype: "I32", shape: [2], data: Int32Array.of(-1, 2 ** 31 - 1) }],
      ["half", { dtype: "F16", shape: [1], data: Uint16Array.of(0x3c00) }],
      ["brain", { dtype: "BF16", shape: [1, 1], data: Uint16Array.of(0x3f80) }],
      ["double", { dtype: "F64", shape: [1], data: Float64Array.of(Math.PI) }],
      ["small", { dtype: "I8", shape: [1], data: Int8Array.of(-7) }],
      ["none", { dtype: "F32", shape: [0, 4], data: new Float32Array(0) }],
      ["__proto__", { dtype: "U8", shape: [1], data: Uint8Array.of(9) }],
      ["ünï/名", { dtype: "U16", shape: [1], data: Uint16Array.of(65535) }],
    ];
    const one = join(folder, "one.safetensors"), two = join(folder, "two.safetensors");
    await writeSafetensors(one, new Map(tensors), { step: "12", note: 'a "quoted" text' });
    await writeSafetensors(two, new Map(tensors.toReversed()), { step: "12", note: 'a "quoted" text' });
    const { tensors: read, metadata } = await readSafetensors(one);
    assertEquals(new Map([...read].sort()), new Map([...tensors].sort()));
    assertEquals(metadata, { step: "12", note: 'a "quoted" text' });
    assertEquals(await Deno.readFile(two), await Deno.readFile(one));
  }));

Deno.test("the file is what the format says, its tensors aligned to 8 bytes", () => {
  const [head, ...rest] = encodeSafetensors(
    new Map([
      ["b", { dtype: "F32", shape: [2], data: Float32Array.of(1, 2) }],
      ["a", { dtype: "U8", shape: [3], data: Uint8Array.of(7, 8, 9) }],
    ]),
  );
  assertEquals(head.length % 8, 0);
  const length = Number(new DataView(head.buffer).getBigUint64(0, true));
  assertEquals(length, head.length - 8);
  const json = new TextDecoder().decode(head.subarray(8));
  assertEquals(JSON.parse(json), {
    b: { dtype: "F32", shape: [2], data_offsets: [0, 8] },
    a: { dtype: "U8", shape: [3], data_offsets: [8, 11] },
  });
  assertEquals(rest, [Uint8Array.of(0, 0, 128, 63, 0, 0, 0, 64), Uint8Array.of(7, 8, 9)]);
});

Deno.test("a view into a larger buffer is written as that view alone", () =>
  withFolder(async (folder) => {
    const path = join(folder, "x.safetensors");
    const data = Float32Array.of(1, 2, 3, 4).subarray(1, 3);
    await writeSafetensors(path, new Map([["x", { dtype: "F32", shape: [2], data }]]));
    assertEquals([...(await readSafetensors(path)).tensors.get("x")!.data], [2, 3]);
  }));

Deno.test("headers that lie are refused before anything is allocated", () => {
  const tensor = (shape: string, offsets: string, dtype = "F32") =>
    `{"dtype":"${dtype}","shape":${shape},"data_offsets":${offsets}}`;
  const lies: [header: string, body: number, said: string][] = [
    ["{", 0, "not JSON"],
    ["\xff", 0, "not JSON"],
    ["[]", 0, "expected an object"],
    ["null", 0, "expected an object"],
    [`{"a":3}`, 0, "expected dtype"],
    [`{"a":${tensor("[1]", "[0,4]", "F31")}}`, 4, 'dtype "F31"'],
    [`{"a":${tensor("[1]", "[0,4]", "constructor")}}`, 4, 'dtype "constructor"'],
    [`{"a":${tensor("[-1]", "[0,4]")}}`, 4, "shape [-1]"],
    [`{"a":${tensor("[1.5]", "[0,6]")}}`, 6, "shape [1.5]"],
    [`{"a":${tensor('"1"', "[0,4]")}}`, 4, 'shape "1"'],
    [`{"a":${tensor("[1]", "[0]")}}`, 4, "data_offsets [0]"],
    [`{"a":${tensor("[1]", "[4,0]")}}`, 4, "data_offsets [4,0]"],
    [`{"a":${tensor("[1]", "[0,1e300]")}}`, 4, "data_offsets"],
    [`{"a":${tensor("[2]", "[0,4]")}}`, 4, "8 bytes, but data_offsets span 4"],
    [`{"a":${tensor("[1]", "[0,4]")}}`, 3, "describes 4 bytes of tensors, the file has 3"],
    [`{"a":${tensor("[1]", "[0,4]")}}`, 5, "describes 4 bytes of tensors, the file has 5"],
    [`{"a":${tensor("[1000000000000]", "[0,4000000000000]")}}`, 4, "describes 4000000000000 bytes"],
    [`{"a":${tensor("[9007199254740991,9007199254740991]", "[0,4]")}}`, 4, "data_offsets span 4"],
    [`{"a":${tensor("[4294967296,4294967296]", "[0,0]")}}`, 0, "data_offsets span 0"],
    [`{"a":${tensor("[1]", "[0,4]")},"b":${tensor("[1]", "[0,4]")}}`, 4, "overlaps"],
    [`{"a":${tensor("[2]", "[0,8]")},"b":${tensor("[1]", "[4,8]")}}`, 8, "overlaps"],
    [`{"a":${tensor("[1]", "[0,4]")},"b":${tensor("[1]", "[8,12]")}}`, 12, "leaves a hole"],
    [`{"a":${tensor("[1]", "[0,4]")},"a":${tensor("[1]", "[0,4]")}}`, 4, 'key "a" twice'],
    [`{"a":${tensor("[1]", "[0,4]")},"\\u0061":${tensor("[1]", "[0,4]")}}`, 4, 'key "a" twice'],
    [`{"a":{"dtype":"U8","dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4, 'key "dtype" twice'],
    [`{"__metadata__":{"a":1}}`, 0, "__metadata__"],
    [`{"__metadata__":[]}`, 0, "__metadata__"],
  ];
  for (const [header, body, said] of lies) {
    const bytes = header === "\xff" ? Uint8Array.of(0xff) : bytesOf(header);
    assertThrows(() => parseSafetensorsHeader(bytes, body, "m.safetensors"), CyclopsError, said, header);
    assertThrows(() => parseSafetensorsHeader(bytes, body, "m.safetensors"), CyclopsError, "m.safetensors");
  }
});

Deno.test("equal keys of different objects, and braces in names, are no duplicates", () => {
  const header = `{"a{\\"":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},` +
    `"b:":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}} `;
  const { tensors } = parseSafetensorsHeader(bytesOf(header), 2, "x");
  assertEquals([...tensors.keys()], ['a{"', "b:"]);
});

Deno.test("cut, empty, missing and foreign files are refused, naming them", () =>
  withFolder(async (folder) => {
    const path = join(folder, "x.safetensors");
    const read = (said: string) => assertRejects(() => readSafetensors(path), CyclopsError, said);
    await read("no such file");
    const data = new Float32Array(100);
    await writeSafetensors(path, new Map([["x", { dtype: "F32", shape: [100], data }]]));
    const whole = await Deno.readFile(path);
    for (
      const [length, said] of [
        [0, "0 bytes"],
        [7, "7 bytes"],
        [20, "claims"],
        [whole.length - 1, "describes 400 bytes of tensors, the file has 399"],
      ] as const
    ) {
      await Deno.writeFile(path, whole.subarray(0, length));
      const error = await read(said) as Error;
      assertEquals(error.message.includes(path), true);
    }
    await Deno.writeFile(path, bytesOf("\x89PNG\r\n\x1a\n and so on"));
    await read("claims");
    await Deno.writeFile(path, fileOf("{}", 0, 2 ** 40));
    await read("claims 1099511627776 bytes of a file of 10");
    await Deno.writeFile(path, fileOf("{}", 0));
    assertEquals((await readSafetensors(path)).tensors.size, 0);
    await Deno.remove(path);
    await Deno.mkdir(path);
    await read(path);
  }));

Deno.test("a header longer than the format allows is refused", () =>
  withFolder(async (folder) => {
    const path = join(folder, "x.safetensors");
    await Deno.writeFile(path, fileOf("{}", 0, 150_000_000));
    await Deno.truncate(path, 200_000_000); // sparse
    await assertRejects(() => readSafetensors(path), CyclopsError, "the format allows 100000000");
  }));

Deno.test("what cannot be encoded is refused", () => {
  const encode = (name: string, tensor: StoredTensor) => () => encodeSafetensors(new Map([[name, tensor]]));
  const data = new Float32Array(4);
  assertThrows(encode("x", { dtype: "F32", shape: [3], data }), RangeError, "4 elements");
  assertThrows(encode("x", { dtype: "I32", shape: [4], data }), RangeError, "Float32Array");
  assertThrows(encode("__metadata__", { dtype: "F32", shape: [4], data }), RangeError, "__metadata__");
});

Deno.test("half and brain floats convert to 32-bit numbers", () => {
  const half = Uint16Array.of(0x3c00, 0xc000, 0x3555, 0x0001, 0x7bff, 0x7c00, 0xfc00, 0x8000, 0x03ff);
  const wanted = [1, -2, 0.333251953125, 2 ** -24, 65504, Infinity, -Infinity, -0, 1023 * 2 ** -24];
  assertEquals([...toFloat32({ dtype: "F16", shape: [9], data: half })], wanted);
  assertEquals(toFloat32({ dtype: "F16", shape: [1], data: Uint16Array.of(0x7e00) })[0], NaN);
  const brain = Uint16Array.of(0x3f80, 0xc049, 0x7f80, 0x8000);
  assertEquals([...toFloat32({ dtype: "BF16", shape: [4], data: brain })], [1, -3.140625, Infinity, -0]);
  assertEquals([...toFloat32({ dtype: "I64", shape: [2], data: BigInt64Array.of(-3n, 4n) })], [-3, 4]);
  assertEquals([...toFloat32({ dtype: "I8", shape: [1], data: Int8Array.of(-3) })], [-3]);
  const single = Float32Array.of(1);
  assertEquals(toFloat32({ dtype: "F32", shape: [1], data: single }) === single, true);
});
