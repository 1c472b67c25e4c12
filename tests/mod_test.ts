import { fromFileUrl } from "@std/path";
import * as api from "../lib/mod.ts";
import { assertEquals, assertLessOrEqual } from "./_assert.ts";

Deno.test("every public name, and every member that a user sees, has a docstring", async () => {
  const args = ["doc", "--lint", fromFileUrl(new URL("../lib/mod.ts", import.meta.url))];
  const { stderr } = await new Deno.Command(Deno.execPath(), { args, env: { NO_COLOR: "1" } }).output();
  const errors = new TextDecoder().decode(stderr).match(/^error\[.*/gm) ?? [];
  // Types that appear only in signatures are inferred by users, so they need no name on the page.
  assertEquals(errors.filter((line) => !line.startsWith("error[private-type-ref]")), []);
});

Deno.test("the public page stays a page", () => {
  assertLessOrEqual(Object.keys(api).length, 110);
});
