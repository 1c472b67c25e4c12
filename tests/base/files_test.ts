import { assert, assertEquals, assertRejects, assertStringIncludes } from "../_assert.ts";
import { join } from "@std/path";
import { CyclopsError } from "../../lib/base/errors.ts";
import { exists, readJson, readText, writeAtomic } from "../../lib/base/files.ts";
import { withFolder } from "../_folder.ts";

Deno.test("a file is written whole, in folders that are made, over an older one", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "a", "b.txt");
    await writeAtomic(path, "one");
    await writeAtomic(path, new TextEncoder().encode("two"));
    assertEquals(await readText(path), "two");
    assertEquals([...Deno.readDirSync(join(folder, "a"))].map((e) => e.name), ["b.txt"]);
  });
});

Deno.test("what cannot be written is named, and leaves nothing behind", async () => {
  await withFolder(async (folder) => {
    await Deno.writeTextFile(join(folder, "file"), "");
    const path = join(folder, "file", "below.txt");
    const error = await assertRejects(() => writeAtomic(path, "x"), CyclopsError);
    assertStringIncludes(error.message, path);
    assertEquals([...Deno.readDirSync(folder)].length, 1);
  });
});

Deno.test("what cannot be read is named; JSON says that it is none", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "x.json");
    assert(!await exists(path));
    assertStringIncludes((await assertRejects(() => readText(path), CyclopsError)).message, "no such file");
    await Deno.writeTextFile(path, "{");
    assertStringIncludes((await assertRejects(() => readJson(path), CyclopsError)).message, "not valid JSON");
  });
});
