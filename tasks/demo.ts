/**
 * `deno task demo`: the depth of photographs, in a browser.
 *
 * @module
 */
import { basename, dirname, fromFileUrl, join } from "@std/path";
import { CyclopsError, UsageError } from "../lib/base/errors.ts";
import { exists, readBytes, readIfThere, writeAtomic } from "../lib/base/files.ts";
import { choice, integer, text } from "../lib/base/options.ts";
import { encodeRgbJpeg } from "../lib/data/image.ts";
import { findStudent } from "../lib/models/student.ts";
import { StreetDrive } from "../lib/street/mod.ts";
import { saveModel } from "../lib/training/model.ts";
import { runTask } from "./_task.ts";

const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  css: "text/css",
  js: "text/javascript",
  wasm: "application/wasm",
  jpg: "image/jpeg",
};

/** The page's script with all that it imports. */
async function bundle(entry: string): Promise<Uint8Array> {
  const folder = await Deno.makeTempDir({ prefix: "cyclops-demo-" }), out = join(folder, "page.js");
  try {
    const args = ["bundle", "-q", "--platform", "browser", "--minify", "-o", out, entry];
    const { success, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
    if (!success) {
      throw new CyclopsError(`Cannot bundle the page: ${new TextDecoder().decode(stderr).trim()}`);
    }
    return await readBytes(out);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** All files of the page by name. */
async function pageFiles(model: Uint8Array): Promise<Map<string, Uint8Array>> {
  const own = new URL("demo/", import.meta.url), files = new Map([["model.safetensors", model]]);
  for (const name of ["index.html", "style.css"]) files.set(name, await readBytes(new URL(name, own)));
  files.set("page.js", await bundle(fromFileUrl(new URL("page.ts", own))));
  const wasm = dirname(fromFileUrl(import.meta.resolve("@tensorflow/tfjs-backend-wasm")));
  for await (const { name } of Deno.readDir(wasm)) {
    if (name.endsWith(".wasm")) files.set(name, await readBytes(join(wasm, name)));
  }
  const street = new StreetDrive({ seed: 2, frames: 1, width: 1242, height: 375 }, 1).frame(0);
  files.set("sample.jpg", await encodeRgbJpeg({ width: 1242, height: 375, data: street.left.rgb }, 88));
  return files;
}

await runTask({
  name: "demo",
  summary:
    "Serves a page that shows the depth of photographs and of the camera's picture, computed in the browser by\n" +
    "WebGPU, WebGL or WebAssembly. Nothing is fetched from elsewhere, and no picture leaves the browser.",
  options: {
    model: text({
      value: "NAME|FILE",
      help: "Model that comes with Cyclops, or a model file (default: the best that comes with it).",
    }),
    run: text({ value: "RUN", help: "The student of a run instead: its folder, or a checkpoint's own." }),
    checkpoint: choice(["best", "latest"], { default: "best", help: "Which of the run's checkpoints." }),
    build: text({ value: "DIR", help: "Write the page's files, for any host, instead of serving them." }),
    port: integer({
      default: 8008,
      min: 0,
      max: 65535,
      help: "Where to serve, on this machine only; 0: any.",
    }),
  },
  examples: ["deno task demo", "deno task demo --run runs/quickstart", "deno task demo --build site"],
}, async ({ model, run, checkpoint, build, port }) => {
  if (model !== undefined && run !== undefined) {
    throw new UsageError("Cannot show a demo: found --model and --run, expected one of them");
  }
  if (build !== undefined && await exists(build)) {
    throw new UsageError(
      `Cannot build the demo: ${build} is there already; remove it, or give another folder`,
    );
  }
  let file = "";
  const temporary = await Deno.makeTempDir({ prefix: "cyclops-demo-" });
  let files: Map<string, Uint8Array>;
  try {
    if (run !== undefined) {
      await saveModel(run, file = join(temporary, `${basename(run)}.safetensors`), {}, checkpoint);
    } else {
      const shipped = new URL("../data/models/", import.meta.url);
      const found = await findStudent(model, shipped, readIfThere);
      if (!found) {
        throw new CyclopsError("Cannot show a demo: no such model in data/models; give a file or --run");
      }
      file = found.path;
    }
    files = await pageFiles(await readBytes(file));
  } finally {
    await Deno.remove(temporary, { recursive: true });
  }
  if (build !== undefined) {
    for (const [name, content] of files) await writeAtomic(join(build, name), content);
    console.log(join(build, "index.html"));
    return;
  }
  const server = Deno.serve({
    hostname: "127.0.0.1",
    port,
    onListen: (address) => console.log(`http://127.0.0.1:${address.port}/ (Ctrl-C ends it)`),
  }, ({ url }) => {
    const name = new URL(url).pathname.slice(1) || "index.html", content = files.get(name);
    if (!content) return new Response("Not found", { status: 404 });
    return new Response(content as BodyInit, {
      headers: {
        "content-type": TYPES[name.split(".").at(-1)!] ?? "application/octet-stream",
        // For WebAssembly on several threads.
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-embedder-policy": "require-corp",
      },
    });
  });
  await server.finished;
});
