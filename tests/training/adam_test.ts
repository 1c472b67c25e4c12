import { assertAlmostEquals, assertEquals, assertThrows } from "../_assert.ts";
import { CyclopsError } from "../../lib/base/errors.ts";
import { nativeTensorCount } from "../../lib/backend/ops.ts";
import { selectBackend, tf, type Variable } from "../../lib/backend/mod.ts";
import { Adam } from "../../lib/training/adam.ts";

await selectBackend();

/** Minimises Σ c·(x − t)² for a few updates and gives the trajectory. */
function descend(
  adam: Adam,
  x: Variable,
  updates: number,
  curvature: number[],
  rates?: number[],
): number[][] {
  const c = tf.tensor1d(curvature);
  const path: number[][] = [];
  for (let i = 0; i < updates; i++) {
    if (rates) adam.setLearningRate(rates[i]);
    const { value, grads } = tf.variableGrads(() => tf.sum(tf.mul(c, tf.square(tf.sub(x, 1)))), [x]);
    adam.apply(grads);
    path.push([...x.dataSync()]);
    tf.dispose([value, grads]);
  }
  c.dispose();
  return path;
}

/** Adam in float64, from the paper's algorithm 1 with its section 2's order of computation. */
function reference(
  start: number[],
  updates: number,
  curvature: number[],
  rate: number,
  eps = 1e-7,
): number[][] {
  const x = [...start];
  const m = x.map(() => 0);
  const v = x.map(() => 0);
  const path: number[][] = [];
  for (let t = 1; t <= updates; t++) {
    const step = rate * Math.sqrt(1 - 0.999 ** t) / (1 - 0.9 ** t);
    x.forEach((_, i) => {
      const g = 2 * curvature[i] * (x[i] - 1);
      m[i] = 0.9 * m[i] + 0.1 * g;
      v[i] = 0.999 * v[i] + 0.001 * g * g;
      x[i] -= step * m[i] / (Math.sqrt(v[i]) + eps);
    });
    path.push([...x]);
  }
  return path;
}

const CURVATURE = [1, 0.01, 40];
const make = (name: string) => {
  const start = tf.tensor1d([3, -2, 0.5]);
  const variable = tf.variable(start, true, name);
  start.dispose();
  return variable;
};

Deno.test("the trajectory is the paper's", async () => {
  const x = make("adam-a");
  const adam = new Adam({ variables: [x], learningRate: 0.05 });
  const expected = reference([3, -2, 0.5], 40, CURVATURE, 0.05);
  descend(adam, x, 40, CURVATURE).forEach((point, t) =>
    point.forEach((value, i) => assertAlmostEquals(value, expected[t][i], 2e-5, `update ${t}, element ${i}`))
  );
  assertEquals((await adam.getState()).updates, 40);
  adam.dispose();
  x.dispose();
});

Deno.test("state saved and restored continues as if nothing had happened", async () => {
  const [x, y] = [make("adam-b"), make("adam-b2")];
  const adam = new Adam({ variables: [x], learningRate: 0.05 });
  descend(adam, x, 10, CURVATURE);
  const state = await adam.getState();
  const copy = new Adam({ variables: [y], learningRate: 0.05 });
  copy.setState({ updates: state.updates, moments: new Map([["adam-b2", state.moments.get("adam-b")!]]) });
  y.assign(x as unknown as typeof y);
  assertEquals(descend(copy, y, 10, CURVATURE), descend(adam, x, 10, CURVATURE));
  [adam, copy].forEach((a) => a.dispose());
  tf.dispose([x, y]);
});

Deno.test("what is assigned from outside is what the next update starts from", () => {
  const x = make("adam-c");
  const adam = new Adam({ variables: [x], learningRate: 0 });
  descend(adam, x, 2, CURVATURE);
  const other = tf.tensor1d([7, 8, 9]);
  x.assign(other);
  descend(adam, x, 1, CURVATURE);
  assertEquals([...x.dataSync()], [7, 8, 9]);
  assertEquals([...other.dataSync()], [7, 8, 9]);
  adam.dispose();
  tf.dispose([x, other]);
});

Deno.test("a copy taken before an update keeps its values", () => {
  const x = make("adam-d");
  const adam = new Adam({ variables: [x], learningRate: 0.1 });
  descend(adam, x, 3, CURVATURE);
  const before = tf.clone(x);
  const values = [...x.dataSync()];
  descend(adam, x, 3, CURVATURE);
  assertEquals([...before.dataSync()], values);
  adam.dispose();
  tf.dispose([x, before]);
});

Deno.test("the learning rate can change from update to update", () => {
  const x = make("adam-e");
  const adam = new Adam({ variables: [x], learningRate: 0.05 });
  const path = descend(adam, x, 3, CURVATURE, [0.05, 0, 0.05]);
  assertEquals(path[1], path[0]);
  adam.dispose();
  x.dispose();
});

Deno.test("updates leave tensor and handle counts flat, disposal gives all back", () => {
  const [tensors, handles] = [tf.memory().numTensors, nativeTensorCount()];
  const x = make("adam-f");
  const adam = new Adam({ variables: [x], learningRate: 0.05 });
  descend(adam, x, 2, CURVATURE);
  const [t, h] = [tf.memory().numTensors, nativeTensorCount()];
  descend(adam, x, 50, CURVATURE);
  assertEquals([tf.memory().numTensors, nativeTensorCount()], [t, h]);
  adam.dispose();
  x.dispose();
  assertEquals(nativeTensorCount(), handles);
  assertEquals(tf.memory().numTensors, tensors);
});

Deno.test("moments of other variables are refused", () => {
  const x = make("adam-g");
  const adam = new Adam({ variables: [x], learningRate: 0.05 });
  const error = assertThrows(() => adam.setState({ updates: 1, moments: new Map() }), CyclopsError);
  assertEquals(error.message.includes("adam-g"), true);
  adam.dispose();
  x.dispose();
});
