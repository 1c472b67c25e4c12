/**
 * What Adam must do on every backend, held against a plain float64 implementation of the paper's algorithm.
 *
 * @module
 */
import { assert, assertEquals, assertNotEquals, assertThrows } from "../_assert.ts";
import { Random } from "../../lib/base/random.ts";
import { type NamedTensorMap, type Tensor, tf, type Variable } from "../../lib/backend/tf.ts";
import { Adam } from "../../lib/training/adam.ts";

const SHAPES = [[3, 3, 2, 4], [4], [1]];

interface Problem {
  readonly variables: Variable[];
  readonly values: Float64Array[];
  dispose(): void;
}

function makeProblem(prefix: string): Problem {
  const random = new Random(5);
  const values = SHAPES.map((shape) =>
    Float64Array.from({ length: shape.reduce((a, b) => a * b) }, () => Math.fround(random.normal()))
  );
  const variables = values.map((v, i) => {
    const initial = tf.tensor(Float32Array.from(v), SHAPES[i]);
    const variable = tf.variable(initial, true, `${prefix}/${i}`);
    initial.dispose();
    return variable;
  });
  return { variables, values, dispose: () => tf.dispose(variables) };
}

/** Gradients of one step; sizes differ by orders of magnitude, as real ones do. */
function makeGradients(problem: Problem, step: number): { values: Float64Array[]; tensors: NamedTensorMap } {
  const random = new Random(100 + step);
  const values = problem.values.map((v, i) =>
    v.map(() => Math.fround(random.normal() * 10 ** (random.uniform(-4, 1)) * (i + 1)))
  );
  const tensors = Object.fromEntries(
    problem.variables.map(({ name }, i) => [name, tf.tensor(Float32Array.from(values[i]), SHAPES[i])]),
  );
  return { values, tensors };
}

/** Kingma and Ba 2015, the efficient order of computation at the end of section 2. */
class Reference {
  readonly #first: Float64Array[];
  readonly #second: Float64Array[];
  #t = 0;

  constructor(readonly values: Float64Array[]) {
    this.#first = values.map((v) => new Float64Array(v.length));
    this.#second = values.map((v) => new Float64Array(v.length));
  }

  apply(gradients: Float64Array[], rate: number, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-7): void {
    this.#t++;
    const corrected = rate * Math.sqrt(1 - beta2 ** this.#t) / (1 - beta1 ** this.#t);
    gradients.forEach((gradient, i) =>
      gradient.forEach((g, k) => {
        this.#first[i][k] = beta1 * this.#first[i][k] + (1 - beta1) * g;
        this.#second[i][k] = beta2 * this.#second[i][k] + (1 - beta2) * g * g;
        this.values[i][k] -= corrected * this.#first[i][k] / (Math.sqrt(this.#second[i][k]) + epsilon);
      })
    );
  }
}

function valuesOf(problem: Problem): Float32Array[] {
  return problem.variables.map((v) => v.dataSync().slice() as Float32Array);
}

function assertClose(found: Float32Array[], wanted: Float64Array[], tolerance: number): void {
  found.forEach((values, i) =>
    values.forEach((value, k) =>
      assert(
        Math.abs(value - wanted[i][k]) <= tolerance * Math.max(1, Math.abs(wanted[i][k])),
        `variable ${i}, element ${k}: ${value}, wanted ${wanted[i][k]}`,
      )
    )
  );
}

/** Registers the tests for the backend in use. */
export function testAdam(backend: string): void {
  Deno.test(`${backend}: 60 updates of changing rate give the numbers of a float64 implementation`, async () => {
    const problem = makeProblem("exact");
    const reference = new Reference(problem.values);
    const adam = new Adam({ variables: problem.variables, learningRate: 0.03 });
    for (let step = 0; step < 60; step++) {
      const rate = step < 30 ? 0.03 : 0.003;
      adam.setLearningRate(rate);
      const { values, tensors } = makeGradients(problem, step);
      adam.apply(tensors);
      reference.apply(values, rate);
      tf.dispose(tensors);
      assertClose(valuesOf(problem), problem.values, 2e-6 * (step + 1));
    }
    assertEquals((await adam.getState()).updates, 60);
    adam.dispose();
    problem.dispose();
  });

  Deno.test(`${backend}: other decays and epsilon take effect`, () => {
    const problem = makeProblem("decays");
    const reference = new Reference(problem.values);
    const adam = new Adam({
      variables: problem.variables,
      learningRate: 0.01,
      beta1: 0.5,
      beta2: 0.9,
      epsilon: 0.1,
    });
    for (let step = 0; step < 5; step++) {
      const { values, tensors } = makeGradients(problem, step);
      adam.apply(tensors);
      reference.apply(values, 0.01, 0.5, 0.9, 0.1);
      tf.dispose(tensors);
    }
    assertClose(valuesOf(problem), problem.values, 1e-5);
    adam.dispose();
    problem.dispose();
  });

  Deno.test(`${backend}: a restored optimizer continues exactly like one that never stopped`, async () => {
    const [whole, part] = ["whole", "part"].map(makeProblem);
    const first = new Adam({ variables: whole.variables, learningRate: 0.02 });
    let second = new Adam({ variables: part.variables, learningRate: 0.02 });
    for (let step = 0; step < 8; step++) {
      if (step === 4) {
        const state = await second.getState();
        second.dispose();
        second = new Adam({ variables: part.variables, learningRate: 0.02 });
        second.setState(structuredClone(state));
      }
      for (const [problem, adam] of [[whole, first], [part, second]] as const) {
        const { tensors } = makeGradients(problem, step);
        adam.apply(tensors);
        tf.dispose(tensors);
      }
    }
    assertEquals(valuesOf(part), valuesOf(whole));
    assertEquals((await second.getState()).updates, 8);
    for (const x of [first, second, whole, part]) x.dispose();
  });

  Deno.test(`${backend}: a variable that others write to, or hold, stays right`, () => {
    const problem = makeProblem("shared");
    const reference = new Reference(problem.values);
    const adam = new Adam({ variables: problem.variables, learningRate: 0.05 });
    const update = (step: number) => {
      const { values, tensors } = makeGradients(problem, step);
      adam.apply(tensors);
      reference.apply(values, 0.05);
      tf.dispose(tensors);
    };
    update(0);
    const held = tf.clone(problem.variables[0] as Tensor);
    const before = held.dataSync().slice();
    update(1);
    assertEquals([...held.dataSync()], [...before]);
    assertNotEquals([...problem.variables[0].dataSync()], [...before]);
    const written = tf.tensor(Float32Array.from(problem.values[1], (_, k) => k), SHAPES[1]);
    problem.variables[1].assign(written);
    problem.values[1].set(problem.values[1].map((_, k) => k));
    update(2);
    assertEquals([...written.dataSync()], [0, 1, 2, 3]);
    assertClose(valuesOf(problem), problem.values, 1e-5);
    tf.dispose([held, written]);
    adam.dispose();
    problem.dispose();
  });

  Deno.test(`${backend}: a variable without a gradient is left alone`, () => {
    const problem = makeProblem("partial");
    const adam = new Adam({ variables: problem.variables, learningRate: 0.05 });
    const before = valuesOf(problem);
    const { tensors } = makeGradients(problem, 0);
    const { name } = problem.variables[0];
    adam.apply({ [name]: tensors[name] });
    const after = valuesOf(problem);
    assertNotEquals(after[0], before[0]);
    assertEquals(after.slice(1), before.slice(1));
    tf.dispose(tensors);
    adam.dispose();
    problem.dispose();
  });

  Deno.test(`${backend}: a state of other variables is refused`, () => {
    const problem = makeProblem("refused");
    const adam = new Adam({ variables: problem.variables, learningRate: 0.05 });
    assertThrows(
      () => adam.setState({ updates: 1, moments: new Map() }),
      Error,
      "found no moments for refused/0",
    );
    const wrong = { first: new Float32Array(2), second: new Float32Array(2) };
    const moments = new Map(problem.variables.map((v) => [v.name, wrong]));
    assertThrows(
      () => adam.setState({ updates: 1, moments }),
      Error,
      "found 2 values for refused/0, expected 72",
    );
    adam.dispose();
    problem.dispose();
  });
}
