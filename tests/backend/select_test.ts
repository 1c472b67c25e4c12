import { assert, assertEquals, assertRejects } from "../_assert.ts";
import { fromFileUrl } from "@std/path";
import { UsageError } from "../../lib/base/errors.ts";
import { type BackendInfo, selectBackend } from "../../lib/backend/select.ts";

Deno.test("an unknown backend in CYCLOPS_BACKEND is refused, naming what is allowed", async () => {
  const before = Deno.env.get("CYCLOPS_BACKEND");
  Deno.env.set("CYCLOPS_BACKEND", "tensorflwo");
  try {
    await assertRejects(
      () => selectBackend(),
      UsageError,
      'CYCLOPS_BACKEND="tensorflwo": expected auto, tensorflow',
    );
  } finally {
    if (before === undefined) Deno.env.delete("CYCLOPS_BACKEND");
    else Deno.env.set("CYCLOPS_BACKEND", before);
  }
});

Deno.test("a process keeps its backend: asking for another is refused, auto takes what is there", async () => {
  const warnings: string[] = [];
  const warn = (line: string) => void warnings.push(line);
  const info = await selectBackend({ backend: "cpu" }, warn);
  assertEquals(info.name, "cpu");
  await assertRejects(() => selectBackend({ backend: "webgpu" }), UsageError, "cpu is already in use");
  assertEquals((await selectBackend({ backend: "auto" })).name, "cpu");
  await selectBackend({}, warn);
  assertEquals(warnings, [`Computing with cpu on JavaScript: ${info.reason}`]);
});

/** Chooses a backend in a process of its own, on a machine without the library. */
async function selectElsewhere(permissions: string[], backend: string) {
  const module = fromFileUrl(new URL("../../lib/backend/select.ts", import.meta.url));
  const code = `
    const { selectBackend } = await import(${JSON.stringify("file://" + module)});
    const { messageOf } = await import(${
    JSON.stringify("file://" + module.replace("backend/select", "base/errors"))
  });
    const warnings = [];
    try {
      const info = await selectBackend({ backend: ${
    JSON.stringify(backend)
  } }, (line) => warnings.push(line));
      console.log(JSON.stringify({ info, warnings }));
    } catch (error) {
      console.log(JSON.stringify({ error: messageOf(error), warnings }));
    }
    Deno.exit(0);`;
  const cache = await Deno.makeTempDir({ prefix: "cyclops-select-" });
  const script = `${cache}/select.ts`;
  await Deno.writeTextFile(script, code);
  const { HOME, XDG_CACHE_HOME, DENO_DIR } = Deno.env.toObject();
  try {
    const output = await new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--no-prompt",
        "--config",
        fromFileUrl(new URL("../../deno.json", import.meta.url)),
        ...permissions,
        script,
      ],
      env: {
        XDG_CACHE_HOME: cache,
        CYCLOPS_LIBTENSORFLOW: "",
        DENO_DIR: DENO_DIR ?? `${XDG_CACHE_HOME ?? `${HOME}/.cache`}/deno`,
      },
    }).output();
    return JSON.parse(new TextDecoder().decode(output.stdout)) as {
      readonly info?: BackendInfo;
      readonly error?: string;
      readonly warnings: readonly string[];
    };
  } finally {
    await Deno.remove(cache, { recursive: true });
  }
}

const NARROW = ["--allow-read", "--allow-ffi", "--allow-env"];

Deno.test("without the library auto takes webgpu or cpu, and says that it is slower and what to do", async () => {
  const { info, warnings } = await selectElsewhere(NARROW, "auto");
  assert(info?.name === "webgpu" || info?.name === "cpu");
  assert(warnings[0].includes("run deno task setup"), warnings[0]);
  assert(/slower than tensorflow|for tiny tests only/.test(warnings[0]), warnings[0]);
});

Deno.test("without the library the tensorflow backend is refused with what to do", async () => {
  const { error } = await selectElsewhere(NARROW, "tensorflow");
  assert(error?.includes("run deno task setup"), error);
});

Deno.test("computing without a choice says that it is slow, and what to do", async () => {
  const module = new URL("../../lib/backend/tf.ts", import.meta.url).href;
  const code = `const { tf } = await import(${
    JSON.stringify(module)
  }); console.log(tf.scalar(1).add(1).dataSync()[0])`;
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), { args: ["eval", code] }).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes).trim());
  assertEquals(out, "2");
  assert(/^Computing in plain JavaScript, .*selectBackend\(\) first$/.test(err), err);
});
