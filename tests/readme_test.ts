import { fromFileUrl, join, toFileUrl } from "@std/path";
import { writeRgb } from "../lib/mod.ts";
import { assert, assertEquals, assertLessOrEqual, assertMatch } from "./_assert.ts";

const root = fromFileUrl(new URL("..", import.meta.url));
const readme = await Deno.readTextFile(join(root, "README.md"));

Deno.test("the README's script trains, evaluates and predicts", async () => {
  const script = readme.match(/```ts\n(.*?)```/s)![1];
  const lines = script.split("\n").filter((line) => line.trim() !== "");
  assertLessOrEqual(lines.length, 15);
  const small = script.replaceAll("./lib/mod.ts", toFileUrl(join(root, "lib/mod.ts")).href)
    .replace("pairs: 480", 'pairs: 6, size: "64x192"').replace("steps: 1300", "steps: 2, batch: 2");
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(join(folder, "script.ts"), small);
    const gray = { width: 96, height: 64, data: new Uint8Array(96 * 64 * 3).fill(128) };
    await writeRgb(join(folder, "photo.png"), gray);
    await Deno.rename(join(folder, "photo.png"), join(folder, "photo.jpg"));
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--config", join(root, "deno.json"), "script.ts"],
      cwd: folder,
    }).output();
    assertEquals(code, 0, new TextDecoder().decode(stderr));
    assertMatch(new TextDecoder().decode(stdout), /abs rel \d\.\d+ on \d+ frames/);
    assert((await Deno.stat(join(folder, "photo_disparity.png"))).size > 1000);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("every task the README names exists, and every file it links to", async () => {
  const { tasks } = JSON.parse(await Deno.readTextFile(join(root, "deno.json")));
  for (const [, name] of readme.matchAll(/(?:deno|2\.9\.6) task ([a-z:]+)/g)) assert(name in tasks, name);
  for (const [, path] of readme.matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)) await Deno.stat(join(root, path));
});
