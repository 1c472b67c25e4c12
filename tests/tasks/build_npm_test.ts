import { assert, assertEquals, assertLess, assertStringIncludes } from "../_assert.ts";
import { join } from "@std/path";
import ts from "typescript";
import { exists } from "../../lib/base/files.ts";
import { writeRgb } from "../../lib/data/image.ts";
import { readNpy } from "../../lib/data/npy.ts";
import { loadStudent } from "../../lib/predict/mod.ts";
import { saveModel } from "../../lib/training/model.ts";
import { findChromium, openPage } from "../../tasks/notebooks/lab_check.ts";
import { untrainedRun } from "../_student.ts";
import { distance } from "../_tensors.ts";
import { testFolder } from "../training/_runs.ts";
import { task } from "./_run.ts";

/** What a user of the package writes. */
const SCRIPT = `
import { CyclopsError, loadStudent } from "@cyclops/cyclops";

const student = await loadStudent("tiny.safetensors");
const depth = await student.predict("photo.png", { flip: true });
await depth.save("depth.npy");
await depth.save("depth.png");
await depth.save("depth.glb");
const { count } = await depth.pointCloud({ maxDepth: 1e6 });
console.log(JSON.stringify([depth.size.width, depth.metres.data.length, count > 0, student.info.license]));
try {
  await student.predict("none.png");
} catch (error) {
  console.log(error instanceof CyclopsError && error.message);
}
`;

async function run(command: string, args: string[], cwd: string): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args, cwd }).output();
  assert(success, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

const npm = await new Deno.Command("npm", { args: ["--version"] }).output().then(() => true, () => false);
const chromium = await findChromium();

Deno.test({
  name: "build:npm: the tarball is installed, its types hold, and Node and a browser predict what Deno does",
  ignore: !npm,
  fn: async () => {
    const base = await testFolder(), model = join(base, "tiny.safetensors"), out = join(base, "package");
    await saveModel(await untrainedRun(join(base, "run"), { camera: "canonical" }), model, {
      license: "MIT",
    });
    const built = await task("build:npm", "--out", out);
    assertEquals(built.code, 0, built.err);
    const tarball = built.out.trim().split("\n")[1];

    await Deno.writeTextFile(join(base, "package.json"), '{ "type": "module", "private": true }');
    await run("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", tarball], base);
    // Smooth: a browser shrinks by another filter.
    const wave = (i: number) => 127 + 80 * Math.sin((i % 210) / 40 + (i % 3)) + 40 * Math.cos(i / 210 / 6);
    const data = Uint8Array.from({ length: 70 * 36 * 3 }, (_, i) => Math.round(wave(i)));
    await writeRgb(join(base, "photo.png"), { width: 70, height: 36, data });
    await Deno.writeTextFile(join(base, "use.ts"), SCRIPT);
    await Deno.writeTextFile(join(base, "use.mjs"), SCRIPT);
    const [line, error] = (await run("node", ["use.mjs"], base)).trim().split("\n");
    assertEquals(JSON.parse(line), [70, 70 * 36, true, "MIT"]);
    assertStringIncludes(error, "none.png: no such file");

    using student = await loadStudent(model);
    const expected = await student.predict(join(base, "photo.png"), { flip: true });
    const { shape, data: px } = await readNpy(join(base, "depth.npy"));
    assertEquals(shape, [36, 70]);
    assertLess(distance(px, expected.disparity.data.map((d) => d * 70)), 1e-4);

    const program = ts.createProgram([join(base, "use.ts")], {
      strict: true,
      noEmit: true,
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.NodeNext,
      moduleResolution: ts.ModuleResolutionKind.NodeNext,
      lib: ["lib.es2022.d.ts", "lib.dom.d.ts", "lib.esnext.disposable.d.ts"],
      types: [],
      skipLibCheck: true,
    });
    const own = ts.getPreEmitDiagnostics(program).filter(({ file }) =>
      !/\/(?:tfjs|sharp)/.test(file?.fileName ?? "")
    );
    const said = own.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n"));
    assertEquals(said.filter((text) => !text.includes("'console'")), []);

    if (!chromium) return;
    await using cleanup = new AsyncDisposableStack();
    await Deno.writeTextFile(
      join(base, "page.ts"),
      `export * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-backend-cpu";
export * from "@cyclops/cyclops/browser";`,
    );
    await run(Deno.execPath(), ["bundle", "-q", "--platform", "browser", "-o", "page.js", "page.ts"], base);
    const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, async (request) => {
      const { pathname } = new URL(request.url);
      if (pathname === "/") {
        return new Response("<!doctype html>", { headers: { "content-type": "text/html" } });
      }
      if (!await exists(join(base, pathname))) return new Response(null, { status: 404 });
      const type = pathname.endsWith(".js") ? "text/javascript" : "application/octet-stream";
      return new Response(await Deno.readFile(join(base, pathname)), { headers: { "content-type": type } });
    });
    cleanup.defer(() => server.shutdown());
    const page = await openPage(chromium, cleanup);
    await page.goto(`http://127.0.0.1:${server.addr.port}/`);
    const found = await page.evaluate(
      async (): Promise<{ disparity: number[]; png: number[]; points: number }> => {
        const { tf, loadStudent, toImageData } = await import("/page.js" as string);
        await tf.setBackend("cpu");
        const student = await loadStudent(tf, "tiny.safetensors");
        const depth = await student.predict(await (await fetch("photo.png")).blob());
        const picture = toImageData(await depth.picture({ layout: "overlay" }));
        const { count } = await depth.points({ maxDepth: 1e6 });
        return { disparity: [...depth.disparity.data], png: [picture.width, picture.height], points: count };
      },
    );
    assertEquals(found.png, [70, 36]);
    assert(found.points > 0);
    const plain = await student.predict(join(base, "photo.png"));
    assertLess(distance(found.disparity, plain.disparity.data), 1e-2);
  },
});
