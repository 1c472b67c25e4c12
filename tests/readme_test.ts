import { fromFileUrl, join } from "@std/path";
import { checkReadme } from "../tasks/readme_check.ts";
import { withFolder } from "./_folder.ts";
import { tinyStreet } from "./training/_runs.ts";
import { assertEquals, assertLessOrEqual, assertMatch, assertRejects } from "./_assert.ts";

const root = fromFileUrl(new URL("..", import.meta.url));
const readme = await Deno.readTextFile(join(root, "README.md"));

Deno.test("the README is short, its program, too, and every file it links to exists", async () => {
  assertLessOrEqual(readme.split(/\s+/).length, 1200);
  const lines = readme.match(/```ts\n(.*?)```/s)![1].split("\n").filter((line) => line.trim() !== "");
  assertLessOrEqual(lines.length, 15);
  for (const [, path] of readme.matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)) await Deno.stat(join(root, path));
});

Deno.test("the README's commands parse, and they and its program run; none is left out without a reason", async () => {
  const checked = await Array.fromAsync(checkReadme(readme));
  assertEquals(checked.filter(({ state }) => state === "failed"), []);
  const states = Object.fromEntries(checked.map(({ command, state }) => [command, state]));
  for (
    const command of ["deno task predict photo.jpg", "deno run -A script.ts", "deno task kitti check kitti"]
  ) {
    assertEquals(states[command], "ok");
  }
  for (const { state, note } of checked) {
    if (state === "parsed") assertMatch(note, /^(in a sentence|not run, .)/);
  }
});

Deno.test("the program by which docs/architecture.md follows a training runs, and ends when its target is met", () =>
  withFolder(async (folder) => {
    const page = await Deno.readTextFile(join(root, "docs/architecture.md"));
    const program = page.match(/```ts\n(import .*? train .*?)```/s)![1];
    const path = join(folder, "example.ts"), data = join(folder, "street");
    await Deno.writeTextFile(
      path,
      program.replace("../lib/mod.ts", new URL("../lib/mod.ts", import.meta.url).href),
    );
    await tinyStreet(data);
    const { lossesUntil } = await import(`file://${path}`);
    assertEquals((await lossesUntil(Infinity, data)).length, 20);
  }));

Deno.test("a README that names a task or an option that there is not, or what is no command, fails", async () => {
  const text = "`deno task predict --photo a.jpg`, `deno task prdict`, `deno task predict a.jpg`";
  const [option, task, fine] = await Array.fromAsync(checkReadme(text, { rules: [] }));
  assertMatch(`${option.state} ${option.note}`, /^failed .*unknown option --photo/s);
  assertEquals(task, { command: "deno task prdict", state: "failed", note: "deno.json has no task prdict" });
  assertEquals(fine.state, "parsed");
  const unknown = checkReadme("```sh\ndeno task predict\n```\n", { rules: [] });
  await assertRejects(() => Array.fromAsync(unknown), Error, "no way to run ```sh");
  const stale = checkReadme("", { rules: [{ begins: "gone" }] });
  await assertRejects(() => Array.fromAsync(stale), Error, 'no command begins with "gone"');
});
