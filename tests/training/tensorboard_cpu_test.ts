import { assertEquals } from "../_assert.ts";
import { join } from "@std/path";
import { selectBackend } from "../../lib/backend/mod.ts";
import { openSummary } from "../../lib/training/tensorboard.ts";
import { withFolder } from "../data/_pairs.ts";

await selectBackend({ backend: "cpu" });

Deno.test("a backend without TensorFlow writes no event file and says so", async () => {
  await withFolder((folder) => {
    using summary = openSummary(join(folder, "run"));
    summary.scalar("a", 1, 1);
    summary.image("b", { width: 1, height: 1, data: new Uint8Array(3) }, 1);
    summary.flush();
    const said = summary.problem?.message ?? "";
    assertEquals(
      said.includes("the backend is cpu, only tensorflow writes them; metrics.jsonl has"),
      true,
      said,
    );
    assertEquals([...Deno.readDirSync(folder)], []);
    return Promise.resolve();
  });
});
