import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "../_assert.ts";
import { join } from "@std/path";
import { CyclopsError } from "../../lib/base/errors.ts";
import { encodeNpy, openNpy, readNpy, writeNpy } from "../../lib/data/npy.ts";
import { withFolder } from "../_folder.ts";

/** A file as numpy writes it, or nearly so. */
function npy(
  header: string,
  data: Float32Array | Float64Array | Uint8Array = new Uint8Array(0),
  version = 1,
): Uint8Array {
  const text = new TextEncoder().encode(header + "\n");
  const start = version === 1 ? 10 : 12;
  const bytes = new Uint8Array(start + text.length + data.byteLength);
  bytes.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, version, 0]);
  const view = new DataView(bytes.buffer);
  if (version === 1) view.setUint16(8, text.length, true);
  else view.setUint32(8, text.length, true);
  bytes.set(text, start);
  bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), start + text.length);
  return bytes;
}

const header = (shape: string, descr = "'<f4'", order = "False") =>
  `{'descr': ${descr}, 'fortran_order': ${order}, 'shape': ${shape}, }`;

async function read(bytes: Uint8Array) {
  let result: Awaited<ReturnType<typeof readNpy>> | undefined;
  await withFolder(async (folder) => {
    await Deno.writeFile(join(folder, "p.npy"), bytes);
    result = await readNpy(join(folder, "p.npy"));
  });
  return result!;
}

Deno.test("float32 and float64 files of versions 1 to 3 are read", async () => {
  const data = Float32Array.of(1, 2.5, -3, 0, 1e-20, 7);
  for (const version of [1, 2, 3]) {
    assertEquals(await read(npy(header("(2, 3)"), data, version)), { shape: [2, 3], data });
    const wide = npy(header("(2, 3)", "'<f8'"), Float64Array.from(data), version);
    assertEquals(await read(wide), { shape: [2, 3], data });
  }
});

Deno.test("vectors, single numbers and empty arrays have the shape that numpy gives them", async () => {
  assertEquals((await read(npy(header("(2,)"), Float32Array.of(1, 2)))).shape, [2]);
  assertEquals((await read(npy(header("()"), Float32Array.of(1)))).shape, []);
  assertEquals(await read(npy(header("(0, 4)"))), { shape: [0, 4], data: new Float32Array(0) });
});

Deno.test("what is written is read back, with the values on a 64-byte boundary", async () => {
  await withFolder(async (folder) => {
    for (const shape of [[2, 3, 4], [24], [1, 24]]) {
      const array = { shape, data: Float32Array.from({ length: 24 }, (_, i) => i / 7) };
      await writeNpy(join(folder, "x.npy"), array);
      assertEquals(await readNpy(join(folder, "x.npy")), array);
      assertEquals((encodeNpy(array).length - 24 * 4) % 64, 0);
    }
  });
  assertThrows(() => encodeNpy({ shape: [2, 2], data: new Float32Array(3) }), RangeError, "3 values");
});

const bad: readonly (readonly [what: string, bytes: Uint8Array, said: string])[] = [
  [
    "another dtype",
    npy(header("(1,)", "'<i4'"), new Uint8Array(4)),
    "values are <i4, expected little-endian float32",
  ],
  ["big-endian values", npy(header("(1,)", "'>f4'"), new Uint8Array(4)), "values are >f4"],
  ["a structured dtype", npy(header("(1,)", "[('a', '<f4')]"), new Uint8Array(4)), "values are structured"],
  ["Fortran order", npy(header("(1, 1)", "'<f4'", "True"), new Uint8Array(4)), "numpy.ascontiguousarray"],
  ["NaN", npy(header("(2, 2)"), Float32Array.of(0, 0, NaN, 0)), "value [1, 0] is NaN"],
  ["infinity", npy(header("(2,)", "'<f8'"), Float64Array.of(0, -Infinity)), "value [1] is -Infinity"],
  ["a double too large for a float", npy(header("(1,)", "'<f8'"), Float64Array.of(1e300)), "value [0] is"],
  [
    "a cut file",
    npy(header("(2, 3)"), new Float32Array(5)),
    "promises shape (2, 3), 24 bytes, but 20 follow",
  ],
  ["bytes too many", npy(header("(2,)"), new Float32Array(3)), "8 bytes, but 12 follow"],
  ["a huge shape", npy(header("(4000000000, 1000000)"), new Float32Array(3)), "but 12 follow"],
  // 2^32 · 2^32 · 4 bytes wrap to 0 in 64-bit arithmetic.
  ["a shape that overflows", npy(header("(4294967296, 4294967296)")), "but 0 follow"],
  ["a negative axis", npy(header("(-1, 2)"), new Float32Array(2)), "expected integers"],
  ["an axis beyond exact numbers", npy(header("(99999999999999999999,)")), "expected integers"],
  ["no shape", npy("{'descr': '<f4', 'fortran_order': False, }"), "expected descr, fortran_order and shape"],
  ["no dictionary", npy("hello"), 'its header is "hello"'],
  ["a version to come", npy(header("(1,)"), new Float32Array(1), 4), "format version 4"],
  ["another format", new TextEncoder().encode("PK\x03\x04 a zip archive"), "without the NUMPY magic"],
  ["an empty file", new Uint8Array(0), "0 bytes without the NUMPY magic"],
];
for (const [what, bytes, said] of bad) {
  Deno.test(`an array file with ${what} is refused`, async () => {
    const error = await assertRejects(() => read(bytes), CyclopsError, "Cannot read the array");
    assertStringIncludes(error.message, "p.npy");
    assertStringIncludes(error.message, said);
  });
}

Deno.test("a header that claims more than the file holds is refused before it is allocated", async () => {
  const lying = npy(header("(1,)"), new Float32Array(1), 2);
  new DataView(lying.buffer).setUint32(8, 0xfffffff0, true);
  await assertRejects(() => read(lying), CyclopsError, "its header claims 4294967280 bytes");
  await assertRejects(
    () => read(npy(header("(1,)")).subarray(0, 10)),
    CyclopsError,
    "it is truncated or damaged",
  );
});

Deno.test("a missing array and a folder are named", async () => {
  await assertRejects(() => readNpy("nowhere.npy"), CyclopsError, "nowhere.npy: no such file");
  await withFolder(async (folder) => {
    await assertRejects(() => readNpy(folder), CyclopsError, `${folder}: it is a folder`);
  });
});

Deno.test("parts of an array are read from where they lie", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "a.npy"), data = Float32Array.from({ length: 600 }, (_, i) => i);
    await writeNpy(path, { shape: [6, 100], data });
    using file = await openNpy(path);
    assertEquals([...file.read(250, 2), ...file.read(7, 2)], [250, 251, 7, 8]);
    assertThrows(() => file.read(590, 20), CyclopsError, "it shrank");
  });
});
