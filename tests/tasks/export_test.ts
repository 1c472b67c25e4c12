import { assertEquals, assertMatch, assertStringIncludes } from "../_assert.ts";
import { join } from "@std/path";
import { exists } from "../../lib/base/files.ts";
import { loadModel } from "../../lib/training/model.ts";
import { untrainedRun } from "../_student.ts";
import { testFolder } from "../training/_runs.ts";
import { task } from "./_run.ts";

const base = await testFolder(), run = await untrainedRun(join(base, "tiny"));

Deno.test("export: writes files that were checked, and replaces none unless told to", async () => {
  const onnx = join(base, "out/tiny.onnx"), model = join(base, "tiny.safetensors"), web = join(base, "web");
  const first = await task("export", run, "--dynamic", "--precision", "fp16", "--out", onnx);
  assertEquals(first.code, 0, first.err);
  assertEquals(first.out.trim(), onnx);
  assertMatch(first.err, /1\.5\d MB; read by onnxruntime .* differs from Cyclops's by 0\.0\d+ % on average/);
  const again = await task("export", run, "--out", onnx);
  assertEquals(again.code, 2);
  assertStringIncludes(again.err, "give --overwrite");
  // A model file of the run is a model like any other.
  const words = ["--license", "MIT", "--trained-on", "noise", "--commit", "abc"];
  assertEquals((await task("export", run, "--to", "safetensors", "--out", model, ...words)).code, 0);
  const { info, dispose } = await loadModel(model);
  assertEquals([info.license, info.data, info.commit], ["MIT", "noise", "abc"]);
  dispose();
  assertEquals((await task("export", model, "--to", "tfjs", "--size", "64x96", "--out", web)).code, 0);
  const { format, signature } = JSON.parse(await Deno.readTextFile(join(web, "model.json")));
  assertEquals(format, "graph-model");
  assertEquals(signature.inputs.image.tensorShape.dim.map(({ size }: { size: string }) => size), [
    "1",
    "64",
    "96",
    "3",
  ]);
});

Deno.test("export: what cannot be is refused, and nothing is written", async () => {
  const out = join(base, "refused.onnx");
  for (
    const [args, code, why] of [
      [[run, "--of", "teacher"], 2, "it holds only a student"],
      [[run, "--network", "teacher"], 2, "unknown option --network (it is --of now)"],
      [[run, "--size", "64x96", "--dynamic"], 2, "--size and --dynamic"],
      [[run, run], 2, "found 2 names"],
      [[join(base, "none")], 1, "none"],
    ] as const
  ) {
    const result = await task("export", ...args, "--out", out);
    assertEquals(result.code, code, result.err);
    assertStringIncludes(result.err, why);
  }
  assertEquals(await exists(out), false);
});
