import { assert, assertEquals, assertStrictEquals, assertThrows } from "../_assert.ts";
import { CyclopsError } from "../../lib/base/errors.ts";
import {
  ATTRIBUTE,
  createBinding,
  currentBinding,
  DTYPE,
  encodeConfig,
  openLibrary,
} from "../../lib/backend/binding.ts";
import { attr, execute, executeNative, nativeTensorCount } from "../../lib/backend/ops.ts";
import { selectBackend } from "../../lib/backend/select.ts";
import { type Tensor2D, type Tensor4D, tf } from "../../lib/backend/tf.ts";

const info = await selectBackend({ backend: "tensorflow" });
const binding = currentBinding()!;

Deno.test("the backend says which library computes, and asking again gives the same answer", async () => {
  assertEquals(info.name, "tensorflow");
  assert(/^2\.\d+\.\d+/.test(info.version));
  assert(info.devices.includes("CPU:0"));
  assert(info.library?.endsWith("libtensorflow_cc.so.2"));
  assertStrictEquals(await selectBackend(), info);
  assertStrictEquals(await selectBackend({ backend: "tensorflow" }), info);
});

Deno.test("values of every type come back as they went in", () => {
  tf.tidy(() => {
    assertEquals([...tf.tensor([1.5, -2, 3e9]).dataSync()], [1.5, -2, 3e9]);
    assertEquals([...tf.tensor([1, -2, 3], [3], "int32").dataSync()], [1, -2, 3]);
    assertEquals([...tf.tensor([true, false], [2], "bool").dataSync()], [1, 0]);
    assertEquals(tf.tensor([], [0, 3]).dataSync().length, 0);
    const z = tf.complex([1, 2], [3, -4]);
    assertEquals([...tf.imag(z).dataSync()], [3, -4]);
    assertEquals([...tf.real(tf.mul(z, z)).dataSync()], [1 - 9, 4 - 16]);
  });
});

Deno.test("native tensors of the types tfjs lacks: uint8, int64, bfloat16, float64, bool lists", () => {
  const id = binding.createTensor([2, 2], DTYPE.uint8, new Uint8Array([1, 2, 3, 255]));
  assertEquals([...binding.tensorDataSync(id) as Uint8Array], [1, 2, 3, 255]);
  const long = binding.createTensor([2], DTYPE.int64, new BigInt64Array([-5n, 1n << 40n]));
  assertEquals([...binding.tensorDataSync(long) as BigInt64Array], [-5n, 1n << 40n]);
  binding.deleteTensor(id);
  binding.deleteTensor(long);
  tf.tidy(() => {
    const x = tf.tensor([1, 2.5, -3]);
    for (const [dtype, bytes] of [["bfloat16", 2], ["float64", 8]] as const) {
      const to = [attr.type("SrcT", "float32"), attr.type("DstT", dtype)];
      const [cast] = executeNative("Cast", to, [x]);
      assertEquals((binding.tensorDataSync(cast.id) as Float64Array).byteLength, 3 * bytes);
      const [back] = execute("Cast", [attr.type("SrcT", dtype), attr.type("DstT", "float32")], [cast]);
      assertEquals([...back.dataSync()], [1, 2.5, -3]);
      cast.dispose();
    }
  });
});

Deno.test("an operation that TensorFlow refuses is reported with its name, its inputs' types and shapes", () => {
  tf.tidy(() => {
    const error = assertThrows(
      () => tf.add(tf.ones([2, 3]), tf.ones([7])),
      CyclopsError,
    );
    assertEquals(
      error.message,
      "TensorFlow cannot run Add(float32[2,3], float32[7]): Incompatible shapes: [2,3] vs. [7]",
    );
    assertThrows(
      () => tf.gather(tf.ones([4, 2]), tf.tensor1d([0, 4], "int32")).dataSync(),
      CyclopsError,
      "GatherV2",
    );
    assertThrows(
      () => execute("NoSuchOperation", [], [tf.ones([2])]),
      CyclopsError,
      "NoSuchOperation(float32[2])",
    );
    assertThrows(() => execute("Cast", [], [tf.ones([2])]), CyclopsError, "Cast(float32[2])");
    assertEquals([...tf.add([1, 2], [3, 4]).dataSync()], [4, 6]);
  });
});

Deno.test("a disposed handle and a shape that does not fit its values are refused", () => {
  const id = binding.createTensor([1], DTYPE.float32, new Float32Array(1));
  binding.deleteTensor(id);
  assertThrows(() => binding.tensorDataSync(id), CyclopsError, "disposed");
  assertThrows(() => binding.deleteTensor(id), CyclopsError, "disposed");
  assertThrows(() => binding.executeOp("Neg", [], [id], 1), CyclopsError, "disposed");
  assertThrows(
    () => binding.createTensor([2, 3], DTYPE.float32, new Float32Array(5)),
    CyclopsError,
    "float32[2,3] tensor: found 20 bytes, expected 24",
  );
});

Deno.test("values are copied: the array may be reused once the tensor has been used", () => {
  const values = new Float32Array([1, 2, 3, 4]);
  const id = binding.createTensor([4], DTYPE.float32, values);
  values.fill(0);
  assertEquals([...binding.tensorDataSync(id) as Float32Array], [1, 2, 3, 4]);
  binding.deleteTensor(id);
});

Deno.test("a view into a larger array, and one on shared memory, are read at their own place", () => {
  const large = Float32Array.from({ length: 8 }, (_, i) => i);
  const id = binding.createTensor([3], DTYPE.float32, large.subarray(2, 5));
  assertEquals([...binding.tensorDataSync(id) as Float32Array], [2, 3, 4]);
  binding.deleteTensor(id);
  const shared = new Float32Array(new SharedArrayBuffer(16), 4, 2);
  shared.set([7, 8]);
  const other = binding.createTensor([2], DTYPE.float32, shared);
  assertEquals([...binding.tensorDataSync(other) as Float32Array], [7, 8]);
  binding.deleteTensor(other);
});

Deno.test("lists of attributes reach TensorFlow", () => {
  tf.tidy(() => {
    const attributes = [
      attr.type("T", "float32"),
      attr.type("TArgs", ["float32"]),
      attr.int("num_args", 1),
      attr.int("strides", [1, 1, 1, 1]),
      attr.string("padding", "SAME"),
      attr.string("fused_ops", ["BiasAdd", "Elu"]),
    ];
    const x = tf.tensor4d([1, -2, 3, 4], [1, 2, 2, 1]);
    const w = tf.tensor4d([2], [1, 1, 1, 1]);
    const [y] = execute("_FusedConv2D", attributes, [x, w, tf.tensor1d([-1])]);
    const expected = tf.elu(tf.add(tf.conv2d(x, w, 1, "same"), -1));
    assert(tf.max(tf.abs(tf.sub(y, expected))).dataSync()[0] < 1e-6);
  });
});

Deno.test("200 training steps leave as many native handles as tfjs counts tensors, and not one more than before", () => {
  const count = () => {
    const { numTensors, numDataBuffers } = tf.memory();
    return { numTensors, numDataBuffers, native: nativeTensorCount() };
  };
  const kernel = tf.variable(tf.randomNormal([3, 3, 2, 4], 0, 0.1, "float32", 1));
  const bias = tf.variable(tf.zeros([4]));
  const x = tf.randomUniform([2, 6, 9, 2], 0, 1, "float32", 2) as Tensor4D;
  const target = tf.randomUniform([2, 3, 5, 4], 0, 1, "float32", 3);
  const optimizer = tf.train.adam(1e-3);
  const step = () => {
    const loss = optimizer.minimize(
      () => {
        const y = tf.elu(tf.add(tf.conv2d(x, kernel as unknown as Tensor4D, 2, "same"), bias));
        const warped = tf.mirrorPad(tf.slice(y, 0, y.shape), [[0, 0], [1, 1], [1, 1], [0, 0]], "reflect");
        const resized = tf.image.resizeBilinear(warped as Tensor4D, [3, 5], false, true);
        return tf.mean(tf.abs(tf.sub(resized, target)));
      },
      true,
      [kernel, bias],
    )!;
    const value = loss.dataSync()[0];
    loss.dispose();
    return value;
  };
  const first = step();
  step();
  const before = count();
  let last = 0;
  for (let i = 0; i < 200; i++) last = step();
  const after = count();
  assertEquals(after, before);
  assertEquals(after.native, after.numDataBuffers);
  assert(last < first);
  optimizer.dispose();
  tf.dispose([kernel, bias, x, target]);
});

Deno.test("the configuration is TensorFlow's ConfigProto on the wire", () => {
  assertEquals([...encodeConfig({ gpuAllowGrowth: false })], []);
  assertEquals([...encodeConfig({ intraOpThreads: 3, gpuAllowGrowth: false })], [0x10, 3]);
  assertEquals([...encodeConfig({ intraOpThreads: 300 })], [0x10, 0xac, 0x02, 0x32, 2, 0x20, 1]);
});

Deno.test("a second runtime with its own number of threads works beside the first", () => {
  const second = createBinding(info.library!, { intraOpThreads: 1 });
  const id = second.createTensor([2], DTYPE.float32, new Float32Array([1, 2]));
  const attributes = [{ name: "T", type: ATTRIBUTE.type, value: DTYPE.float32 }];
  const [result] = second.executeOp("Neg", attributes, [id], 1);
  assertEquals([...second.tensorDataSync(result.id) as Float32Array], [-1, -2]);
  second.deleteTensor(id);
  second.deleteTensor(result.id);
  assertEquals(second.getNumOfTensors(), 0);
});

Deno.test("a file that is no library, or a missing one, is refused with what to do", async () => {
  const path = await Deno.makeTempFile({ suffix: ".so" });
  await Deno.writeTextFile(path, "not a library");
  assertThrows(() => openLibrary(path), CyclopsError, "deno task setup");
  assertThrows(() => openLibrary(path + ".absent"), CyclopsError, path);
  await Deno.remove(path);
});

Deno.test("a matrix product large enough for several threads is right", () => {
  tf.tidy(() => {
    const a = tf.randomNormal([257, 300], 0, 1, "float32", 1) as Tensor2D;
    const b = tf.randomNormal([300, 129], 0, 1, "float32", 2) as Tensor2D;
    const c = tf.matMul(a, b).dataSync();
    const [av, bv] = [a.dataSync(), b.dataSync()];
    for (const [i, j] of [[0, 0], [256, 128], [100, 57]]) {
      let sum = 0;
      for (let k = 0; k < 300; k++) sum += av[i * 300 + k] * bv[k * 129 + j];
      assert(Math.abs(c[i * 129 + j] - sum) < 1e-3);
    }
  });
});
