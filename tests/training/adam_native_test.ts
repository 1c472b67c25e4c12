import { assertEquals } from "../_assert.ts";
import { nativeTensorCount, selectBackend } from "../../lib/backend/mod.ts";
import { tf } from "../../lib/backend/tf.ts";
import { Adam } from "../../lib/training/adam.ts";
import { testAdam } from "./_adam.ts";

await selectBackend({ backend: "tensorflow" });
testAdam("tensorflow");

Deno.test("tensorflow: 200 updates leak no tensor and no native handle, and disposal gives all of them back", () => {
  const count = () => [tf.memory().numTensors, tf.memory().numDataBuffers, nativeTensorCount()];
  const empty = count();
  const x = tf.tidy(() => tf.variable(tf.randomNormal([7, 5], 0, 1, "float32", 1), true, "leaking"));
  const adam = new Adam({ variables: [x], learningRate: 0.01 });
  const step = () => {
    const { value, grads } = tf.variableGrads(() => tf.sum(tf.square(x)), [x]);
    adam.apply(grads);
    tf.dispose([value, grads]);
  };
  step();
  const before = count();
  for (let i = 0; i < 200; i++) step();
  assertEquals(count(), before);
  adam.dispose();
  x.dispose();
  assertEquals(count(), empty);
});
