import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";

const project = join(import.meta.dirname!, "../..");

async function deno(...args: string[]) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    cwd: project,
    env: { NO_COLOR: "1" },
  }).output();
  return { code, text: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
}

Deno.test("schema finds the shipped file up to date, with the permissions it has", async () => {
  const { code, text } = await deno("task", "--quiet", "schema", "--check");
  assertEquals([code, text.trim()], [0, "data/train.schema.json is up to date"]);
});

Deno.test("train refuses a config file with an unknown key before anything is trained", async () => {
  const path = await Deno.makeTempFile({ suffix: ".json" });
  try {
    await Deno.writeTextFile(path, '{"batchSize": 8}');
    const { code, text } = await deno("run", "-A", "tasks/train.ts", "--config", path);
    assertEquals(code, 2, text);
    assert(text.includes(path) && text.includes('unknown option "batchSize"'), text);
  } finally {
    await Deno.remove(path);
  }
});
