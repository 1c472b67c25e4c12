import { assert, assertLess } from "../_assert.ts";
import { selectBackend } from "../../lib/backend/select.ts";
import { predictImage } from "../../lib/evaluation/predict.ts";
import { ARCHITECTURES } from "../../lib/models/architecture.ts";
import { createNetwork, disposeNetwork } from "../../lib/models/network.ts";
import { distance } from "../_tensors.ts";

await selectBackend();

Deno.test("one image after the other is predicted alike, also once that is compiled; new weights count", async () => {
  const student = createNetwork({ scope: "student", architecture: ARCHITECTURES.quick, seed: 1 });
  const size = { height: 32, width: 64 };
  const image = { ...size, data: Uint8Array.from({ length: 32 * 64 * 3 }, (_, i) => (i * 37) % 256) };
  const networks = { student };
  const predict = async () => (await predictImage(networks, image, { size })).data;
  const first = await predict();
  for (let i = 0; i < 9; i++) assertLess(distance(await predict(), first), 1e-6);
  const bias = student.variables.get("student/head/0/bias")!;
  bias.assign(bias.add(1) as typeof bias);
  assert(distance(await predict(), first) > 0.01);
  disposeNetwork(student);
});
