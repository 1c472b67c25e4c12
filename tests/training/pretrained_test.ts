import {
  assertAlmostEquals,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "../_assert.ts";
import { join } from "@std/path";
import { runPython } from "../../lib/backend/install.ts";
import { selectBackend, type Tensor4D, tf } from "../../lib/backend/mod.ts";
import { CyclopsError, UsageError } from "../../lib/base/errors.ts";
import { exists } from "../../lib/base/files.ts";
import { ARCHITECTURES } from "../../lib/models/architecture.ts";
import { createNetwork, disposeNetwork, runEncoder } from "../../lib/models/network.ts";
import { readSafetensors } from "../../lib/training/checkpoint.ts";
import { resolveTraining } from "../../lib/training/options.ts";
import { applyPretrained, CONVERT, hasLite0, loadLite0 } from "../../lib/training/weights.ts";
import { withFolder } from "../_folder.ts";

await selectBackend();

/** Writes a file as torch.save did before version 1.6, of the tensors [2,3] named "a", stored transposed, and "n". */
const SAVE = `
import collections, pickle, struct, sys

class Named:
    def __init__(self, module, name): self.module, self.name = module, name
    def __call__(self, *args): pass

class Storage:
    def __init__(self, dtype, key, count): self.id = ("storage", Named("torch", dtype), key, "cpu", count, None)

class Tensor:
    def __init__(self, *arguments): self.arguments = arguments
    def __reduce__(self): return Named("torch._utils", "_rebuild_tensor_v2"), self.arguments

class Writer(pickle._Pickler):
    def persistent_id(self, value): return value.id if isinstance(value, Storage) else None
    def save(self, value, *rest, **named):
        if isinstance(value, Named): self.write(f"c{value.module}\\n{value.name}\\n".encode())
        else: super().save(value, *rest, **named)

tensors = collections.OrderedDict(
    a=Tensor(Storage("FloatStorage", "1", 6), 0, (2, 3), (1, 2), False, collections.OrderedDict()),
    n=Tensor(Storage("LongStorage", "2", 1), 0, (), (), False, collections.OrderedDict()),
)
if sys.argv[2] == "attack":
    tensors["b"] = Named("os", "system")
with open(sys.argv[1], "wb") as file:
    for value in 0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, tensors, ["1", "2"]:
        Writer(file, 2).dump(value)
    file.write(struct.pack("<q6f", 6, 1, 2, 3, 4, 5, 6) + struct.pack("<qq", 1, 7))
`;

Deno.test("a state dict of PyTorch becomes safetensors, whatever the strides", () =>
  withFolder(async (folder) => {
    const [saved, converted] = [join(folder, "a.pth"), join(folder, "a.safetensors")];
    await runPython(SAVE, [saved, "plain"]);
    await runPython(CONVERT, [saved, converted]);
    const { tensors } = await readSafetensors(converted);
    assertEquals([...tensors.keys()], ["a"]);
    assertEquals(tensors.get("a")!.shape, [2, 3]);
    assertEquals([...tensors.get("a")!.data], [1, 3, 5, 2, 4, 6]);
  }));

Deno.test("a state dict that asks for anything but tensors is refused before that runs", () =>
  withFolder(async (folder) => {
    const [saved, converted] = [join(folder, "a.pth"), join(folder, "a.safetensors")];
    await runPython(SAVE, [saved, "attack"]);
    const error = await assertRejects(() => runPython(CONVERT, [saved, converted]), CyclopsError);
    assertStringIncludes(error.message, "it asks for os.system, expected tensors only");
    assertEquals(await exists(converted), false);
  }));

Deno.test("pretrained weights are for lite0 only", () => {
  const error = assertThrows(() => resolveTraining({ pretrained: true }), UsageError);
  assertStringIncludes(error.message, "pretrained is true and architecture is quick, expected lite0");
  const network = createNetwork({ scope: "student", architecture: ARCHITECTURES.quick });
  assertThrows(() => applyPretrained(network, new Map()), UsageError);
  disposeNetwork(network);
});

Deno.test({
  name: "the pretrained encoder computes what PyTorch's does, also with more input channels",
  ignore: !await hasLite0(),
  async fn() {
    const weights = await loadLite0();
    // Means of the features that torch 2.5.1 computes of this picture, by stage, with running statistics.
    const means = [0.139531, 1.639853, -0.099841, -0.093224, 0.568327];
    for (const inputChannels of [3, 5]) {
      const network = createNetwork({
        scope: "refine",
        architecture: ARCHITECTURES.lite0,
        inputChannels,
        seed: 1,
      });
      applyPretrained(network, weights);
      tf.tidy(() => {
        const x = tf.range(0, 96).div(96).reshape([1, 1, 96, 1]).tile([1, 64, 1, 1]);
        const y = tf.range(0, 64).div(64).reshape([1, 64, 1, 1]).tile([1, 1, 96, 1]);
        const more = inputChannels > 3 ? [tf.ones([1, 64, 96, 2])] : [];
        const picture = tf.concat([x, y, tf.mul(x, y), ...more], 3) as Tensor4D;
        runEncoder(network, picture).forEach((features, i) =>
          assertAlmostEquals(tf.mean(features).dataSync()[0], means[i], 1e-4)
        );
      });
      disposeNetwork(network);
    }
  },
});
