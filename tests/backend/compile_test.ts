import { assert, assertEquals, assertLess, assertRejects, assertThrows } from "../_assert.ts";
import { CyclopsError } from "../../lib/base/errors.ts";
import { compile, type Compiled, rewriting, updateInPlace } from "../../lib/backend/compile.ts";
import {
  attr,
  bindVariable,
  convolution2d,
  cpuFeatures,
  executeNative,
  nativeTensorCount,
  noGradient,
  ResourceVariable,
} from "../../lib/backend/ops.ts";
import { currentBinding } from "../../lib/backend/binding.ts";
import { selectBackend } from "../../lib/backend/select.ts";
import {
  type Scalar,
  type Tensor,
  type Tensor1D,
  type Tensor4D,
  tf,
  type Variable,
} from "../../lib/backend/tf.ts";
import { distance, uniform } from "../_tensors.ts";

await selectBackend({ backend: "tensorflow" });

const values = (t: Tensor) => [...t.dataSync()];
/** Runs inside a tidy and checks that nothing is left over, neither here nor in TensorFlow. */
function test(name: string, fn: () => void): void {
  Deno.test(name, () => {
    const before = { ...tf.memory(), native: nativeTensorCount() };
    tf.tidy(fn);
    assertEquals({ ...tf.memory(), native: nativeTensorCount() }, before);
  });
}
function using(variable: Variable, run: (variable: Variable) => void): void {
  try {
    run(variable);
  } finally {
    variable.dispose();
  }
}

test("values are those of the function itself; nested structures, plain values and pass-through", () => {
  const f = compile((xs: { a: Tensor; list: [Tensor, number] }, name: string) => ({
    sum: tf.add(xs.a, tf.mul(xs.list[0], xs.list[1])),
    same: xs.a,
    parts: [tf.square(xs.a), { name, none: null, twice: xs.a }],
    constant: tf.tensor1d([1, 2, 3]),
  }));
  const a = tf.tensor1d([1, 2]), b = tf.tensor1d([10, 20]);
  for (let i = 0; i < 2; i++) {
    const out = f({ a, list: [b, 3] }, "x");
    assertEquals(values(out.sum), [31, 62]);
    assertEquals(values(out.same), [1, 2]);
    assertEquals(values(out.constant), [1, 2, 3]);
    const [square, rest] = out.parts as [Tensor, { name: string; none: null; twice: Tensor }];
    assertEquals(values(square), [1, 4]);
    assertEquals(values(rest.twice), [1, 2]);
    assertEquals({ ...rest, twice: 0 }, { name: "x", none: null, twice: 0 });
  }
  assertEquals(f.traces.length, 1);
  f.dispose();
  assertEquals(f.traces.length, 0);
});

test("one trace for each combination of shapes, types and plain values; the oldest goes", () => {
  let calls = 0;
  const f = compile((x: Tensor, factor: number) => {
    calls++;
    return tf.mul(x, factor);
  }, { maxTraces: 2, name: "scale" });
  const shapes = [[2], [3], [2]];
  for (const shape of shapes) assertEquals(f(tf.ones(shape), 2).shape, shape);
  assertEquals(calls, 2);
  assertEquals(values(f(tf.ones([2], "int32"), 2)), [2, 2]);
  assertEquals(values(f(tf.ones([2]), 5)), [5, 5]);
  assertEquals(calls, 4);
  assertEquals(f.traces.length, 2);
  assert(f.traces.every(({ name, operations }) => name.startsWith("scale_") && operations.Mul === 1));
  f.dispose();
});

test("variables have their current value, also those never used before; other tensors are kept as they were", () => {
  using(tf.variable(tf.tensor1d([1, 2])), (v) => {
    const outside = tf.tensor1d([5, 5]);
    const large = tf.fill([2000], 7);
    const f = compile((x: Tensor) => [tf.add(tf.mul(x, v), outside), tf.sum(large)]);
    assertEquals(values(f(tf.ones([2]))[0]), [6, 7]);
    v.assign(tf.tensor1d([3, 4]));
    outside.dispose();
    large.dispose();
    const [sum, all] = f(tf.ones([2]));
    assertEquals(values(sum), [8, 9]);
    assertEquals(values(all), [14000]);
    f.dispose();
  });
});

test("frozen variables are constants until they change, unless they are too large", () => {
  const large = tf.variable(tf.ones([2 ** 22 + 1]));
  using(tf.variable(tf.tensor1d([2, 3])), (v) => {
    using f = compile((x: Tensor) => tf.add(tf.mul(v, x), tf.slice(large, [0], [1])), { frozen: true });
    const x = tf.scalar(10);
    assertEquals(values(f(x)), [21, 31]);
    assertEquals(f.traces[0].operations.Placeholder, 2); // x and the large one
    const first = f.traces[0].name;
    large.assign(tf.add(large, 1));
    assertEquals(values(f(x)), [22, 32]);
    assertEquals(f.traces[0].name, first);
    v.assign(tf.tensor1d([4, 5]));
    assertEquals(values(f(x)), [42, 52]);
    assertEquals([f.traces.length, f.traces[0].name === first], [1, false]);
    const bound = bindVariable(v);
    assertEquals(values(f(x)), [42, 52]);
    bound.dispose();
  });
  large.dispose();
});

test("variables that began as the same tensor are told apart, also through copies made inside", () => {
  const start = tf.tensor1d([1, 2]);
  const [a, b] = [tf.variable(start), tf.variable(start)];
  const f = compile(() => [tf.clone(a), tf.mul(b, 10), tf.clone(start)]);
  f();
  b.assign(tf.tensor1d([3, 4]));
  assertEquals(f().map(values), [[1, 2], [30, 40], [1, 2]]);
  a.assign(b);
  assertEquals(f().map(values), [[3, 4], [30, 40], [1, 2]]);
  f.dispose();
  tf.dispose([a, b]);
});

test("gradients taken inside: bf16 convolutions, custom gradients, frozen parts, tidy and keep", () => {
  const precision = cpuFeatures().bf16 ? "bf16" : "fp32";
  const kernel = tf.variable(uniform([3, 3, 3, 4], 1, -0.5, 0.5));
  const bias = tf.variable(tf.zeros([4]));
  const doubled = tf.customGrad((x) => ({
    value: tf.clone(x as Tensor),
    gradFunc: (dy: Tensor) => tf.mul(dy, 2),
  }));
  const step = (x: Tensor4D) => {
    const watched: Tensor[] = [];
    const { value, grads } = tf.variableGrads(() => {
      const y = convolution2d(x, kernel as unknown as Tensor4D, bias as unknown as Tensor1D, {
        stride: 2,
        activation: "elu",
        precision,
      });
      const frozen = noGradient(() => tf.mean(y));
      watched.push(tf.keep(tf.tidy(() => tf.sqrt(tf.abs(frozen)))));
      return tf.mean(tf.square(tf.mul(doubled(y), frozen)));
    }, [kernel, bias]);
    return { value, grads, watched };
  };
  const f = compile(step);
  for (const seed of [1, 2]) {
    const x = uniform([2, 8, 10, 3], seed);
    rewriting.enabled = precision === "fp32"; // a fused bfloat16 convolution rounds once, not three times
    const eager = step(x), traced = f(x);
    rewriting.enabled = true;
    assertLess(distance(traced.value.dataSync(), eager.value.dataSync()), 1e-6);
    assertLess(distance(traced.watched[0].dataSync(), eager.watched[0].dataSync()), 1e-6);
    for (const [name, grad] of Object.entries(eager.grads)) {
      assertLess(distance(traced.grads[name].dataSync(), grad.dataSync()), 1e-5);
    }
    tf.dispose(eager.watched);
  }
  assertEquals(f.traces.length, 1);
  f.dispose();
  tf.dispose([kernel, bias]);
});

Deno.test({
  name: "bf16 stays narrow between convolutions, with the same values",
  ignore: !cpuFeatures().bf16,
  fn: () =>
    tf.tidy(() => {
      const kernel = (inputs: number, seed: number) => uniform([3, 3, inputs, 4], seed, -0.5, 0.5);
      const bias = tf.tensor1d([0.1, -0.2, 0.3, 0]);
      const wide = uniform([2, 4, 6, 3], 7);
      const network = (x: Tensor4D, first: Tensor4D, second: Tensor4D) => {
        const attributes = { stride: 1, activation: "elu", precision: "bf16", padding: "reflect" } as const;
        const y = convolution2d(x, first, bias, attributes);
        const same = tf.reshape(wide, wide.shape);
        const up = tf.image.resizeNearestNeighbor(tf.concat([y, same], 3) as Tensor4D, [8, 12]);
        return convolution2d(up, second, bias, attributes);
      };
      const step = (...inputs: [Tensor4D, Tensor4D, Tensor4D]) => {
        const loss = (...all: Tensor[]) => tf.sum(network(...all as typeof inputs)) as Scalar;
        return [network(...inputs), ...tf.grads(loss)(inputs)];
      };
      const inputs: Parameters<typeof step> = [uniform([2, 4, 6, 3], 1), kernel(3, 2), kernel(7, 3)];
      using f = compile(step);
      const traced = f(...inputs);
      step(...inputs).forEach((eager, i) => {
        // Bias and activation are rounded along with the convolution, where it is one operation.
        const size = tf.max(tf.abs(eager)).dataSync()[0];
        assertLess(distance(traced[i].dataSync(), eager.dataSync()) / size, 0.01);
      });
      using forward = compile(network);
      forward(...inputs);
      // Down: x, two kernels, the bias (once), `wide`. Up: the results of the two convolutions; that of the first, a
      // matrix product, also in its proper shape; both are unused.
      assertEquals(forward.traces[0].operations.Cast, 8);
    }),
});

test("assigning inside takes effect after each call, and reads that follow inside see it", () => {
  using(tf.variable(tf.tensor1d([1, 1])), (v) => {
    const f = compile((x: Tensor) => {
      const before = tf.clone(v);
      v.assign(tf.add(v, x));
      v.assign(tf.add(v, x));
      return { before, after: tf.mul(v, 1) };
    });
    for (let i = 0; i < 3; i++) {
      const { before, after } = f(tf.ones([2]));
      assertEquals(values(before), [1 + 2 * i, 1 + 2 * i]);
      assertEquals(values(after), values(v));
      assertEquals(values(v), [3 + 2 * i, 3 + 2 * i]);
    }
    f.dispose();
  });
});

test("tfjs's own optimizers run inside once they have made their variables", () => {
  using(tf.variable(tf.tensor1d([3, -2])), (v) => {
    const optimizer = tf.train.adam(0.1);
    const minimize = () => optimizer.minimize(() => tf.sum(tf.square(v)) as Scalar, true, [v]) as Tensor;
    minimize();
    const f = compile(minimize);
    const losses = Array.from({ length: 20 }, () => f().dataSync()[0]);
    assert(losses.every((loss, i) => i === 0 || loss < losses[i - 1]), `${losses}`);
    assertEquals(f.traces.length, 1);
    f.dispose();
    optimizer.dispose();
  });
});

test("a whole update is one call: Adam in place, in TensorFlow's memory", () => {
  const start = tf.reshape(uniform([300, 40, 1, 1], 1, -1), [300, 40]);
  const make = () => {
    const variable = tf.variable(start);
    const value = bindVariable(variable);
    const [first, second] = [new ResourceVariable(variable.shape), new ResourceVariable(variable.shape)];
    const attributes = [
      attr.type("T", "float32"),
      attr.bool("use_locking", false),
      attr.bool("use_nesterov", false),
    ];
    const update = (x: Tensor, rates: Tensor[]) => {
      const { value: loss, grads } = tf.variableGrads(
        () => tf.mean(tf.square(tf.sub(variable, x))) as Scalar,
        [
          variable,
        ],
      );
      updateInPlace([variable], () => {
        executeNative("ResourceApplyAdam", attributes, [
          value.handle,
          first.handle,
          second.handle,
          ...rates,
          grads[variable.name],
        ], 0);
      });
      return loss;
    };
    return {
      variable,
      update,
      dispose: () => [value, first, second, variable].forEach((x) => x.dispose()),
    };
  };
  const [eager, traced] = [make(), make()];
  const f = compile(traced.update);
  const rates = (step: number) =>
    [0.9 ** step, 0.999 ** step, 0.01, 0.9, 0.999, 1e-7].map((x) => tf.scalar(x));
  const x = tf.zeros([300, 40]);
  for (let step = 1; step <= 5; step++) {
    assertEquals(values(f(x, rates(step))), values(eager.update(x, rates(step))));
    assertEquals(values(traced.variable), values(eager.variable));
  }
  // Someone else writes to the variable: the next update starts from there.
  for (const { variable } of [eager, traced]) variable.assign(tf.mul(start, 2));
  assertEquals(values(f(x, rates(6))), values(eager.update(x, rates(6))));
  assertEquals(values(traced.variable), values(eager.variable));
  assertEquals(f.traces.length, 1);
  f.dispose();
  traced.dispose();
  eager.dispose();
});

test("a function traced while a variable was bound, or was not, is traced anew when that changes", () => {
  using(tf.variable(tf.tensor1d([2])), (v) => {
    let calls = 0;
    const f = compile(() => {
      calls++;
      return tf.mul(v, 3);
    });
    assertEquals(values(f()), [6]);
    const bound = bindVariable(v);
    assertEquals(values(f()), [6]);
    v.assign(tf.tensor1d([5]));
    assertEquals(values(f()), [15]);
    bound.dispose();
    assertEquals(values(f()), [15]);
    assertEquals(calls, 3);
    f.dispose();
  });
});

test("a disposed variable is named", () => {
  const v = tf.variable(tf.ones([2]), true, "gone");
  const f = compile(() => tf.square(v));
  assertEquals(values(f()), [1, 1]);
  v.dispose();
  assertThrows(() => f(), CyclopsError, "gone");
  f.dispose();
});

test("reading values inside is refused, with the place", () => {
  const x = tf.ones([2]);
  using(tf.variable(tf.ones([2])), (v) => {
    for (
      const read of [
        () => tf.square(x).dataSync(),
        () => x.dataSync(),
        () => v.dataSync(),
        () => tf.add(v, 1).arraySync(),
      ]
    ) {
      const error = assertThrows(
        () =>
          compile(function reader(_: Tensor) {
            read();
          })(x),
        CyclopsError,
        "inside a compiled function",
      );
      assert(error.message.includes("compile_test.ts"), error.message);
    }
    assertThrows(() => compile(async () => await tf.square(x).data())(), CyclopsError, "promise");
    assertEquals(values(compile(() => tf.scalar(tf.scalar(3).dataSync()[0]))()), [3]);
  });
});

test("what cannot be compiled is refused, and leaves everything as it was", () => {
  const x = tf.ones([2, 3]);
  assertThrows(() => compile(() => tf.variable(tf.ones([2])))(), CyclopsError, "variable");
  assertThrows(
    () => compile((y: Tensor) => tf.add(y, tf.ones([7])))(x),
    CyclopsError,
    "Add(float32[2,3], float32[7])",
  );
  assertThrows(() => compile((y: unknown) => y)(new Map()), CyclopsError, "Map");
  assertThrows(
    () => tf.grad((y) => compile((z: Tensor) => tf.square(z))(y))(x),
    CyclopsError,
    "differentiate",
  );
  let leaked: Tensor | undefined;
  const leaky = compile((y: Tensor) => leaked = tf.keep(tf.square(y)));
  leaky(x);
  assert(leaked!.isDisposed);
  assertThrows(
    () => {
      const failing = compile((y: Tensor) => tf.gather(y, tf.cast(tf.sum(y), "int32")), { name: "picker" });
      try {
        failing(x).dataSync();
      } finally {
        failing.dispose();
      }
    },
    CyclopsError,
    "GatherV2",
  );
  leaky.dispose();
  assertEquals(values(tf.add(x, 1)), [2, 2, 2, 2, 2, 2]);
});

test("compiled functions inside one another are one function; under noGradient they run too", () => {
  const inner = compile((x: Tensor) => tf.mul(x, 2));
  const outer = compile((x: Tensor) => tf.sum(inner(x)));
  assertEquals(values(outer(tf.ones([3]))), [6]);
  assertEquals(inner.traces.length, 0);
  const gradient = tf.grad((x) => tf.mul(x, noGradient(() => outer(tf.ones([3])))));
  assertEquals(values(gradient(tf.scalar(1))), [6]);
  outer.dispose();
});

test("lists of inputs and several outputs", () => {
  const f = compile((x: Tensor) => {
    const [a, b, c] = tf.split(x, 3);
    const { mean, variance } = tf.moments(x);
    return [tf.concat([c, a, b]), tf.stack([a, b]), tf.addN([a, b, c]), tf.add(mean, variance)];
  });
  const direct = (x: Tensor) => {
    const [a, b, c] = tf.split(x, 3);
    const { mean, variance } = tf.moments(x);
    return [tf.concat([c, a, b]), tf.stack([a, b]), tf.addN([a, b, c]), tf.add(mean, variance)];
  };
  const x = tf.reshape(uniform([6, 2, 1, 1], 3), [6, 2]);
  f(x).forEach((t, i) => assertLess(distance(t.dataSync(), direct(x)[i].dataSync()), 1e-6));
  f.dispose();
});

test("it is disposed at the end of a block by `using`", () => {
  let f: Compiled<[Tensor], Tensor>;
  {
    using doubled = compile((x: Tensor) => tf.mul(x, 2));
    f = doubled;
    assertEquals(values(doubled(tf.ones([2]))), [2, 2]);
    assertEquals(doubled.traces.length, 1);
  }
  assertEquals(f.traces.length, 0);
});

test("disabled, it is the function itself", () => {
  let calls = 0;
  const f = compile(() => calls++, { enabled: false });
  f();
  f();
  assertEquals(calls, 2);
});

Deno.test("memory stays flat over 1,000 calls and 100 traces", () => {
  const v = tf.variable(tf.reshape(uniform([64, 64, 1, 1], 1), [64, 64]));
  const f = compile((x: Tensor) => {
    const { value, grads } = tf.variableGrads(() => tf.mean(tf.square(tf.matMul(x as never, v as never))), [
      v,
    ]);
    v.assign(tf.sub(v, tf.mul(grads[v.name], 1e-3)));
    return value;
  });
  const x = uniform([256, 64, 1, 1], 2).reshape([256, 64]);
  const resident = () => Deno.memoryUsage().rss / 2 ** 20;
  const call = () => f(x).dispose();
  for (let i = 0; i < 50; i++) call();
  const before = { memory: resident(), native: nativeTensorCount(), tensors: tf.memory().numTensors };
  for (let i = 0; i < 1000; i++) call();
  for (let i = 0; i < 100; i++) {
    f.dispose();
    call();
  }
  assertEquals(nativeTensorCount(), before.native);
  assertEquals(tf.memory().numTensors, before.tensors);
  assertLess(resident() - before.memory, 40);
  f.dispose();
  tf.dispose([v, x]);
  assert(currentBinding() !== undefined);
});

Deno.test("later: the same values, while this thread computes something else; what assigns runs at once", async () => {
  const before = { ...tf.memory(), native: nativeTensorCount() };
  const image = uniform([4, 64, 64, 3], 1) as Tensor4D, kernel = uniform([3, 3, 3, 8], 2) as Tensor4D;
  const count = tf.tidy(() => tf.variable(tf.scalar(0)));
  {
    using f = compile((x: Tensor4D) => tf.mean(tf.relu(tf.conv2d(x, kernel, 1, "same"))));
    const expected = f(image), pending = [1, 2, 3].map(() => f.later(image));
    // Beside them, on the same runtime.
    const beside = tf.tidy(() => tf.sum(tf.square(image))), sums = values(beside);
    for (const found of await Promise.all(pending)) {
      assertEquals(values(found), values(expected));
      found.dispose();
    }
    assertEquals(values(beside), sums);
    tf.dispose([expected, beside]);

    using counting = compile((x: Tensor) => {
      count.assign(tf.add(count, x));
      return tf.square(count);
    });
    const one = tf.scalar(1), promise = counting.later(one);
    assertEquals(values(count), [1]);
    tf.dispose([one, await promise]);

    using wrong = compile((x: Tensor) => tf.reshape(x, [2, 2]));
    const three = tf.ones([3]);
    await assertRejects(() => wrong.later(three), Error);
    three.dispose();
  }
  tf.dispose([image, kernel, count]);
  assertEquals({ ...tf.memory(), native: nativeTensorCount() }, before);
});
