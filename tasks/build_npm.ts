/**
 * `deno task build:npm`: an npm package of what predicts photographs, for Node and browsers.
 *
 * @module
 */
import { dirname, join, relative, resolve } from "@std/path";
import ts from "typescript";
import { CyclopsError } from "../lib/base/errors.ts";
import { exists, readBytes, readText, writeAtomic } from "../lib/base/files.ts";
import { text } from "../lib/base/options.ts";
import { parseStudent } from "../lib/models/student.ts";
import config from "../deno.json" with { type: "json" };
import { runTask } from "./_task.ts";

/** Packages that the bundles import. */
const DEPENDENCIES = ["@tensorflow/tfjs-backend-wasm", "@tensorflow/tfjs-core", "sharp"] as const;

const ENTRIES = { "index": "lib/predict/node.ts", "browser": "lib/predict/browser.ts" } as const;

async function run(command: string, args: readonly string[], cwd?: string): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args: [...args], cwd }).output();
  const said = new TextDecoder().decode(success ? stdout : stderr);
  if (!success) {
    throw new CyclopsError(`Cannot build the package: ${command} ${args[0]} failed\n${said.trim()}`);
  }
  return said;
}

/** Writes the declarations of a module, and of those that its declarations name. */
async function declare(path: string, out: string, seen: Set<string>): Promise<void> {
  if (seen.has(path)) return;
  seen.add(path);
  const { outputText } = ts.transpileDeclaration(await readText(path), {
    fileName: path,
    compilerOptions: { target: ts.ScriptTarget.ESNext, module: ts.ModuleKind.ESNext },
  });
  const declarations = outputText.replace(/(["'])(\.{1,2}\/[^"']*)\.ts\1/g, '"$2.js"');
  await writeAtomic(join(out, relative("lib", path).replace(/\.ts$/, ".d.ts")), declarations);
  for (const [, local] of outputText.matchAll(/["'](\.{1,2}\/[^"']*\.ts)["']/g)) {
    await declare(join(dirname(path), local), out, seen);
  }
}

/** The models that ship, as the package's page lists them. */
async function copyModels(out: string): Promise<string[]> {
  const rows: string[] = [];
  for await (const { name } of Deno.readDir("data/models")) {
    const path = join("data/models", name), bytes = await readBytes(path);
    await writeAtomic(join(out, "models", name), bytes);
    if (!name.endsWith(".safetensors")) continue;
    const { info } = parseStudent(bytes, path);
    rows.push(`| \`${info.name}\` | ${info.data} | ${info.license} |`);
  }
  return rows.sort();
}

const page = (name: string, models: readonly string[]) =>
  `# Cyclops

Depth from a single photograph, in Node and in browsers.

    import { loadStudent } from "${name}";

    const student = await loadStudent();
    const depth = await student.predict("photo.jpg");
    await depth.save("depth.png");

\`depth.metres\` is depth in m, \`depth.disparity\` the disparity as a fraction of the width, \`depth.basis\` says what
meters are computed from; \`depth.save\` writes .png, .npy, .ply and .glb. \`predict\` takes a path, a URL, a file's bytes or
pixels. Node 20 or later; TensorFlow.js computes in WebAssembly.

In a browser, on the page's own TensorFlow.js:

    import * as tf from "@tensorflow/tfjs";
    import { loadStudent, toImageData } from "${name}/browser";

    const student = await loadStudent(tf, "models/street.safetensors");
    const depth = await student.predict(document.querySelector("img"));

| model | trained on | license |
| ----- | ---------- | ------- |
${models.join("\n")}

The first one is the default. The code is MIT; each model has its own license, see models/README.md.
`;

await runTask({
  name: "build:npm",
  summary: "Builds an npm package of what predicts photographs, for Node and browsers, and its tarball.",
  options: { out: text({ default: "dist/npm", value: "DIR", help: "Output folder; replaced." }) },
  examples: ["deno task build:npm"],
}, async ({ out }) => {
  const mark = join(out, "package.json");
  if (await exists(out) && !await exists(mark)) {
    throw new CyclopsError(
      `Cannot replace ${out}: it is not a package that this task built; choose another --out`,
    );
  }
  await Deno.remove(out, { recursive: true }).catch(() => {});
  const external = DEPENDENCIES.flatMap((name) => ["--external", name]);
  const seen = new Set<string>();
  for (const [name, entry] of Object.entries(ENTRIES)) {
    const platform = name === "browser" ? "browser" : "deno";
    const output = join(out, `${name}.js`);
    await run(Deno.execPath(), ["bundle", "-q", "--platform", platform, ...external, "-o", output, entry]);
    await declare(entry, join(out, "types"), seen);
  }
  const models = await copyModels(out);
  await Deno.copyFile("LICENSE", join(out, "LICENSE"));
  await writeAtomic(join(out, "README.md"), page(config.name, models));
  const typed = (name: keyof typeof ENTRIES) => ({
    types: `./types/${relative("lib", ENTRIES[name]).replace(/\.ts$/, ".d.ts")}`,
    default: `./${name}.js`,
  });
  await writeAtomic(
    mark,
    JSON.stringify(
      {
        name: config.name,
        version: config.version,
        description: "Depth from a single photograph",
        license: config.license,
        type: "module",
        engines: { node: ">=20" },
        exports: { ".": typed("index"), "./browser": typed("browser"), "./models/*": "./models/*" },
        dependencies: Object.fromEntries(
          DEPENDENCIES.map((name) => [name, config.imports[name].replace(/^.*@/, "")]),
        ),
      },
      undefined,
      2,
    ) + "\n",
  );
  const tarball = (await run("npm", ["pack", "--silent", resolve(out)], dirname(resolve(out)))).trim();
  console.log(`${out}\n${join(dirname(out), tarball)}`);
});
