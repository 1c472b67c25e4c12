import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertGreater,
  assertLess,
  assertThrows,
} from "../_assert.ts";
import { UsageError } from "../../lib/base/errors.ts";
import { selectBackend, type Tensor4D, tf } from "../../lib/backend/mod.ts";
import {
  type Architecture,
  ARCHITECTURES,
  checkSize,
  countGigaflops,
  countParameters,
  MAX_DISPARITY,
  planNetwork,
} from "../../lib/models/architecture.ts";
import { copyWeights, createNetwork, disposeNetwork, runNetwork } from "../../lib/models/network.ts";
import { checkGradients } from "../_finite_differences.ts";
import { distance, uniform } from "../_tensors.ts";

await selectBackend();

Deno.test("parameters are METHOD.md's check values", () => {
  assertEquals(countParameters(planNetwork(ARCHITECTURES.resnet50, 3)), 58_452_008);
  assertEquals(countParameters(planNetwork(ARCHITECTURES.vgg, 3)), 31_600_072);
});

Deno.test("lite0 has the parameters of EfficientNet-lite0's first 15 blocks and of its decoder", () => {
  const plan = planNetwork(ARCHITECTURES.lite0, 3);
  const of = (part: string) =>
    countParameters({ ...plan, convolutions: plan.convolutions.filter(({ name }) => name.startsWith(part)) });
  // torch: the weights of stem and blocks 0 to 14, and a bias in place of each batch norm.
  assertEquals(of("encoder/"), 2_336_304);
  assertEquals(countParameters(plan), 3_213_656);
});

Deno.test("the VGG-like network takes 29.95 GFLOPs at 256x512", () => {
  assertAlmostEquals(countGigaflops(planNetwork(ARCHITECTURES.vgg, 3), 256, 512), 29.95, 0.01);
});

for (const architecture of Object.values(ARCHITECTURES)) {
  Deno.test(`${architecture.name}: the variables are the plan's, the outputs four scales of two disparities`, () => {
    const [height, width] = architecture.name === "quick" ? [32, 64] : [128, 256];
    const network = createNetwork({ scope: "student", architecture, seed: 1 });
    const size = [...network.variables.values()].reduce((n, v) => n + v.size, 0);
    assertEquals(size, network.parameters);
    assertEquals(size, countParameters(network.plan));
    tf.tidy(() => {
      const { disparities, logits, features } = runNetwork(network, uniform([1, height, width, 3], 1));
      disparities.forEach((d, s) => {
        assertEquals(d.shape, [1, height >> s, width >> s, 2]);
        assertEquals(logits[s].shape, d.shape);
        const values = d.dataSync();
        assert(values.every((v) => v > 0 && v < MAX_DISPARITY));
      });
      assertEquals(features.shape, [1, height, width, architecture.decoder[0]]);
    });
    disposeNetwork(network);
  });
}

Deno.test("weights depend on seed and scope, not on what else was made", () => {
  const make = (scope: string, seed: number) =>
    createNetwork({ scope, seed, architecture: ARCHITECTURES.quick });
  const networks = [make("student", 1), make("student", 1), make("student", 2), make("backward", 1)];
  const first = networks.map((n) => [...[...n.variables.values()][0].dataSync()]);
  assertEquals(first[0], first[1]);
  assertGreater(distance(first[0], first[2]), 0.01);
  assertGreater(distance(first[0], first[3]), 0.01);
  networks.forEach(disposeNetwork);
});

Deno.test("the head's bias sets the first disparity", () => {
  const network = createNetwork({
    scope: "student", // without a seed its weights are 0
    architecture: ARCHITECTURES.quick,
    headBias: -2.4,
  });
  tf.tidy(() => {
    const { disparities } = runNetwork(network, uniform([1, 32, 32, 3], 1));
    for (const d of disparities) assertAlmostEquals(d.dataSync()[0], 0.3 / (1 + Math.exp(2.4)), 1e-6);
  });
  disposeNetwork(network);
});

Deno.test("a copy with more input channels predicts the same, whatever these show", () => {
  for (const architecture of [ARCHITECTURES.quick, ARCHITECTURES.lite0]) {
    const student = createNetwork({ scope: "student", seed: 1, architecture });
    const refine = createNetwork({ scope: "refine", seed: 2, architecture, inputChannels: 5 });
    copyWeights(student, refine);
    tf.tidy(() => {
      const image = uniform([1, 32, 64, 3], 1);
      const base = runNetwork(student, image);
      const copy = runNetwork(refine, tf.concat([image, uniform([1, 32, 64, 2], 2)], 3) as Tensor4D);
      copy.disparities.forEach((d, s) =>
        assertLess(distance(d.dataSync(), base.disparities[s].dataSync()), 1e-6)
      );
    });
    [student, refine].forEach(disposeNetwork);
  }
});

Deno.test("gradients through a whole small network are those of finite differences", () => {
  const tiny: Architecture = {
    name: "quick",
    encoder: [
      { kind: "plain", kernel: 3, channels: 3, convolutions: 1, strideAt: 0 },
      { kind: "pool" },
      { kind: "bottleneck", channels: 2, blocks: 2 },
      { kind: "plain", kernel: 5, channels: 4, convolutions: 2, strideAt: 1 },
    ],
    decoder: [2, 3, 3, 4],
  };
  const block = { kernel: 3, expansion: 2, channels: 4 } as const;
  const inverted: Architecture = {
    name: "lite0",
    encoder: [
      { kind: "inverted", stem: 4, blocks: [{ ...block, expansion: 1, stride: 1 }] },
      { kind: "inverted", blocks: [{ ...block, stride: 2 }, { ...block, stride: 1 }] },
      { kind: "inverted", blocks: [{ ...block, kernel: 5, stride: 2 }] },
      { kind: "inverted", blocks: [{ ...block, stride: 2 }] },
    ],
    decoder: [2, 3, 3, 4],
    convolveFirst: true,
    normalization: { mean: 0.5, deviation: 0.5 },
  };
  for (const [architecture, padding] of [[tiny, "zero"], [inverted, "reflect"]] as const) {
    const network = createNetwork({ scope: "tiny", seed: 3, architecture, padding });
    tf.tidy(() => {
      const x = uniform([2, 32, 32, 3], 4, -1, 1); // reflection needs two rows at 1/16
      checkGradients(
        (image) =>
          tf.concat(runNetwork(network, image as Tensor4D).logits.map((l) => tf.reshape(l, [-1])), 0),
        [x],
        { step: 2e-3, tolerance: 2e-2, samples: 24 },
      );
    });
    disposeNetwork(network);
  }
});

Deno.test("a size that does not halve evenly is refused with sizes that do", () => {
  const error = assertThrows(() => checkSize(ARCHITECTURES.vgg, 128, 416), UsageError);
  assert(error.message.includes("multiples of 128") && error.message.includes("128x384"));
  checkSize(ARCHITECTURES.quick, 128, 416);
  assertThrows(() => checkSize(ARCHITECTURES.quick, 0, 416), UsageError);
});

Deno.test("running a network leaves no tensors behind", () => {
  const network = createNetwork({ scope: "student", seed: 1, architecture: ARCHITECTURES.quick });
  const before = tf.memory().numTensors;
  tf.tidy(() => void runNetwork(network, uniform([1, 32, 32, 3], 1)));
  assertEquals(tf.memory().numTensors, before);
  disposeNetwork(network);
  assertEquals(tf.memory().numTensors, before - network.variables.size);
});
