import { assertEquals } from "../_assert.ts";
import { task } from "./_run.ts";

Deno.test("schema finds the shipped file up to date, with the permissions it has", async () => {
  const { code, out } = await task("schema", "--check");
  assertEquals([code, out.trim()], [0, "data/train.schema.json is up to date"]);
});
