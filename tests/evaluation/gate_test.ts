import { assert, assertEquals, assertGreater } from "../_assert.ts";
import { selectBackend } from "../../lib/backend/mod.ts";
import { tf } from "../../lib/backend/tf.ts";
import { openDataset } from "../../lib/data/dataset.ts";
import { inconsistencyGate } from "../../lib/evaluation/gate.ts";
import { ARCHITECTURES } from "../../lib/models/architecture.ts";
import { createNetwork, disposeNetwork } from "../../lib/models/network.ts";
import { testFolder, tinyStreet } from "../training/_runs.ts";

await selectBackend();

Deno.test("the gate: signs of the student's error, each a rank correlation, tensors flat", async () => {
  const data = await testFolder();
  await tinyStreet(data);
  const dataset = await openDataset({ data, part: "test" });
  const create = (scope: string, seed: number, headBias: number) =>
    createNetwork({ scope, architecture: ARCHITECTURES.quick, seed, headBias });
  const networks = { student: create("student", 1, -2.4), backward: create("backward", 2, -2.4) };
  const before = tf.memory().numTensors, how = { size: { height: 32, width: 96 }, truth: "dense" } as const;
  const gate = await inconsistencyGate(networks, dataset, how);
  assertEquals(tf.memory().numTensors, before);
  const { points, ...signs } = gate;
  assertGreater(points, 100);
  assert(Object.values(signs).every((sign) => Math.abs(sign) < 1 && sign !== 0), JSON.stringify(gate));
  // Another backward network re-synthesizes otherwise, which the other two signs do not see.
  disposeNetwork(networks.backward);
  networks.backward = create("backward", 2, 1);
  const other = await inconsistencyGate(networks, dataset, how);
  assertEquals([other.edges, other.privileged], [gate.edges, gate.privileged]);
  assert(other.inconsistency !== gate.inconsistency);
  Object.values(networks).forEach(disposeNetwork);
});
