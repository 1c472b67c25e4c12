import { assert, assertEquals, assertGreater, assertLess, assertMatch, assertRejects } from "../_assert.ts";
import { join } from "@std/path";
import { selectBackend } from "../../lib/backend/select.ts";
import { type Tensor4D, tf } from "../../lib/backend/tf.ts";
import { CyclopsError, UsageError } from "../../lib/base/errors.ts";
import { writeAtomic } from "../../lib/base/files.ts";
import { predictDisparity } from "../../lib/evaluation/predict.ts";
import { traceGraph } from "../../lib/export/graph.ts";
import { exportModel, type ExportRequest, READERS } from "../../lib/export/mod.ts";
import { encodeOnnx } from "../../lib/export/onnx.ts";
import { encodeTfjs } from "../../lib/export/tfjs.ts";
import {
  type Architecture,
  ARCHITECTURES,
  type EncoderStage,
  sizeMultiple,
} from "../../lib/models/architecture.ts";
import { refineChannels, type RefineOptions } from "../../lib/models/chain.ts";
import { createNetwork, disposeNetwork } from "../../lib/models/network.ts";
import { loadModel } from "../../lib/training/model.ts";
import { findChromium, openPage } from "../../tasks/notebooks/lab_check.ts";
import { untrainedRun } from "../_student.ts";
import { distance, uniform } from "../_tensors.ts";
import { testFolder } from "../training/_runs.ts";

await selectBackend();
const base = await testFolder();

/** The same blocks with an eighth of the channels, two blocks of a kind at most. */
function narrow(architecture: Architecture): Architecture {
  const thin = <T extends { channels: number }>(x: T): T => ({ ...x, channels: Math.ceil(x.channels / 8) });
  const stage = (s: EncoderStage): EncoderStage =>
    s.kind === "pool"
      ? s
      : s.kind === "bottleneck"
      ? thin({ ...s, blocks: Math.min(2, s.blocks) })
      : s.kind === "inverted"
      ? { ...s, ...s.stem && { stem: 4 }, blocks: s.blocks.slice(0, 2).map(thin) }
      : thin(s);
  const { encoder, decoder } = architecture;
  return {
    ...architecture,
    gains: undefined,
    encoder: encoder.map(stage),
    decoder: decoder.map((c) => Math.ceil(c / 8)),
  };
}

const cases = [
  {
    name: "quick",
    padding: "zero",
    inputs: ["inconsistency", "disparity", "features"],
    blind: false,
  },
  { name: "vgg", padding: "zero", inputs: ["inconsistency"], blind: true },
  {
    name: "resnet50",
    padding: "reflect",
    inputs: ["inconsistency", "disparity"],
    blind: false,
  },
  { name: "lite0", padding: "reflect", inputs: ["inconsistency", "features"], blind: false },
] as const;
for (const { name, padding, ...refine } of cases) {
  for (const network of ["student", "teacher"] as const) {
    Deno.test(`the graph of the ${name} ${network} is read by onnxruntime and TensorFlow.js, for several sizes`, async () => {
      const architecture = narrow(ARCHITECTURES[name]);
      // Deep features of one pixel cannot be mirrored.
      const size = sizeMultiple(architecture) * (padding === "reflect" ? 2 : 1),
        before = tf.memory().numTensors;
      const create = (scope: string, seed: number, inputChannels = 3) =>
        createNetwork({ scope, architecture, seed, padding, inputChannels, headBias: -2 });
      const networks = {
        student: create("student", 1),
        backward: create("backward", 2),
        refine: create("refine", 3, refineChannels(architecture, refine as RefineOptions)),
      };
      const options = {
        size: { height: size, width: size },
        network,
        refine,
        view: name === "vgg" ? "right" : "left",
      } as const;
      const predict = (x: Tensor4D) => predictDisparity(networks, x, options);
      const traced = uniform([1, size, size, 3], 4), images = uniform([2, size, 2 * size, 3], 5);
      const variables = new Map(Object.values(networks).flatMap((n) => [...n.variables]));
      const graph = await traceGraph(predict, traced, variables);
      const map = predict(images), expected = await map.data();
      assertGreater(distance(expected, expected.map(() => expected[0])), 0.01);
      const exportOptions = { precision: "fp32", metadata: {} } as const;
      const files = {
        onnx: new Map([["", encodeOnnx(graph, exportOptions)]]),
        tfjs: encodeTfjs(graph, exportOptions),
      };
      for (const format of ["onnx", "tfjs"] as const) {
        await using reader = await READERS[format](files[format]);
        assertLess(distance(await reader.predict(images), expected), 1e-4, format);
      }
      tf.dispose([traced, images, map]);
      Object.values(networks).forEach(disposeNetwork);
      assertEquals(tf.memory().numTensors, before);
    });
  }
}

const run = await untrainedRun(join(base, "tiny"), {}, ["student", "backward", "refine"]);
const REQUEST = { to: "onnx", network: "student", about: { license: "MIT" } } as const;
const bytesOf = (files: ReadonlyMap<string, readonly Uint8Array[]>) =>
  [...files.values()].flat().reduce((sum, { length }) => sum + length, 0);

Deno.test("every precision is smaller and less exact than the one before", async () => {
  const model = await loadModel(run);
  for (const to of ["onnx", "tfjs"] as const) {
    let last = { bytes: Infinity, mean: 0 };
    for (const precision of ["fp32", "fp16", "int8"] as const) {
      const { files, mean } = await exportModel(model, { ...REQUEST, to, precision });
      const now = { bytes: bytesOf(files), mean };
      assertLess(now.bytes, 0.6 * last.bytes);
      assertGreater(now.mean, last.mean);
      last = now;
    }
  }
  const { files, largest, reader } = await exportModel(model, { ...REQUEST, to: "safetensors" });
  assertLess(bytesOf(files), 1.6e6);
  assertLess(largest, 1e-3);
  assertEquals(reader, "createStudent");
  model.dispose();
});

Deno.test("a graph for one size takes that size alone; the file says what it is", async () => {
  const model = await loadModel(run), size = { height: 64, width: 96 };
  for (const to of ["onnx", "tfjs"] as const) {
    const { files } = await exportModel(model, { ...REQUEST, to, size });
    await using reader = await READERS[to](files);
    const other = uniform([1, 32, 64, 3], 1);
    await assertRejects(() => reader.predict(other), Error);
    other.dispose();
    const text = (await Promise.all([...files.values()].flat().map((b) => new Blob([b as BlobPart]).text())))
      .join("");
    for (const part of ["license", "MIT", "cyclops tiny", "of the left view, fraction of the image width"]) {
      assert(text.includes(part), `${to} lacks ${part}`);
    }
  }
  model.dispose();
});

Deno.test("what a format cannot hold, and a graph that predicts something else, is refused", async () => {
  const model = await loadModel(run);
  const refused: [Partial<ExportRequest>, string][] = [
    [{ to: "safetensors", network: "teacher" }, "holds the student, in fp16"],
    [{ to: "safetensors", precision: "int8" }, "holds the student, in fp16"],
    [{ size: { height: 40, width: 64 } }, "multiples of 32"],
  ];
  for (const [change, why] of refused) {
    await assertRejects(() => exportModel(model, { ...REQUEST, ...change }), UsageError, why);
  }
  // Beyond half precision.
  const kernel = model.networks.student.variables.get("student/encoder/1/conv1/kernel")!;
  tf.tidy(() => kernel.assign(tf.mul(kernel, 1e6)));
  await assertRejects(
    () => exportModel(model, { ...REQUEST, precision: "fp16" }),
    CyclopsError,
    "nothing was written",
  );
  model.dispose();
});

const chromium = await findChromium();

Deno.test({
  name: "the teacher as a graph model is read by the published TensorFlow.js in Chromium",
  ignore: chromium === undefined,
  fn: async () => {
    const model = await loadModel(run);
    const { files } = await exportModel(model, {
      ...REQUEST,
      to: "tfjs",
      network: "teacher",
      size: "dynamic",
    });
    const images = uniform([1, 64, 64, 3], 6);
    const map = predictDisparity(model.networks, images, { ...model, network: "teacher" });
    await using cleanup = new AsyncDisposableStack();
    const page = await openPage(chromium!, cleanup);
    const script = new URL("../../node_modules/@tensorflow/tfjs/dist/tf.min.js", import.meta.url);
    const server = Deno.serve({ port: 0, onListen: () => {} }, async ({ url }) => {
      const name = new URL(url).pathname.slice(1), chunks = files.get(name);
      if (chunks) return new Response(new Blob([...chunks] as BlobPart[]));
      if (name === "tf.js") return new Response(await Deno.readFile(script));
      return new Response("<script src=tf.js></script>", { headers: { "content-type": "text/html" } });
    });
    cleanup.defer(() => server.shutdown());
    await page.goto(`http://localhost:${server.addr.port}/`);
    const predicted = await page.evaluate<number[]>(`(async () => {
      await tf.setBackend("cpu");
      const model = await tf.loadGraphModel("/model.json");
      return Array.from(await model.predict(tf.tensor(${
      JSON.stringify([...await images.data()])
    }, [1, 64, 64, 3])).data());
    })()`);
    assertLess(distance(predicted, await map.data()), 1e-4);
    tf.dispose([images, map]);
    model.dispose();
  },
});

const python = Deno.env.get("ONNX_PYTHON") ?? "python3";
const runPython = (...args: string[]) =>
  new Deno.Command(python, { args }).output().catch(() => ({ success: false }));

Deno.test({
  name:
    "the teacher as ONNX is valid, and read by Python's onnxruntime (needs ONNX_PYTHON with onnx and onnxruntime)",
  ignore: !(await runPython("-c", "import onnx, onnxruntime")).success,
  fn: async () => {
    const model = await loadModel(run), path = join(base, "teacher.onnx");
    const { files } = await exportModel(model, { ...REQUEST, network: "teacher", size: "dynamic" });
    await writeAtomic(path, files.get("")!);
    const images = uniform([2, 64, 64, 3], 7);
    const map = predictDisparity(model.networks, images, { ...model, network: "teacher" });
    const planes = tf.transpose(images, [0, 3, 1, 2]);
    await writeAtomic(join(base, "image.bin"), new Uint8Array((await planes.data()).buffer));
    const { stdout, stderr, code } = await new Deno.Command(python, {
      args: [
        "-c",
        `
import numpy, onnx, onnxruntime, sys
model = onnx.load(sys.argv[1])
onnx.checker.check_model(model, full_check=True)
image = numpy.fromfile(sys.argv[2], numpy.float32).reshape(2, 3, 64, 64)
session = onnxruntime.InferenceSession(sys.argv[1])
session.run(["disparity"], {"image": image})[0].tofile(sys.argv[3])
print({entry.key: entry.value for entry in model.metadata_props}["network"], session.get_outputs()[0].shape)
`,
        path,
        join(base, "image.bin"),
        join(base, "map.bin"),
      ],
    }).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    assertEquals(code, 0, text(stderr));
    assertMatch(text(stdout), /^teacher \['batch', 1, 'height', 'width'\]/);
    const predicted = new Float32Array((await Deno.readFile(join(base, "map.bin"))).buffer);
    assertLess(distance(predicted, await map.data()), 1e-4);
    tf.dispose([images, map, planes]);
    model.dispose();
  },
});
