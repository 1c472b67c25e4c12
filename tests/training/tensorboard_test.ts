import { assert, assertAlmostEquals, assertEquals, assertThrows } from "../_assert.ts";
import { join } from "@std/path";
import { nativeTensorCount, selectBackend, tf } from "../../lib/backend/mod.ts";
import { decodeRgb } from "../../lib/data/image.ts";
import { openSummary } from "../../lib/training/tensorboard.ts";
import { withFolder } from "../data/_pairs.ts";
import { eventFiles, float, message, text } from "./_events.ts";

await selectBackend({ backend: "tensorflow" });

/** Events of the one event file in a folder. */
function events(folder: string) {
  const files = eventFiles(folder);
  assertEquals(files.length, 1);
  return files[0];
}

Deno.test("scalars and images come back from the event file, and no handle is leaked", async () => {
  await withFolder(async (folder) => {
    const handles = nativeTensorCount(), tensors = tf.memory().numTensors;
    const where = join(folder, "run", "tensorboard");
    const summary = openSummary(where);
    const data = Uint8Array.from({ length: 5 * 3 * 3 }, (_, i) => (i * 37) % 256);
    summary.scalar("loss/total", 0.3125, 1);
    summary.scalar("loss/total", NaN, 2 ** 33);
    summary.image("panel/street", { width: 5, height: 3, data }, 7);
    assertEquals([nativeTensorCount() - handles, tf.memory().numTensors - tensors], [1, 0]);
    summary.close();
    summary.close();
    summary.scalar("too/late", 1, 1);
    assertEquals([nativeTensorCount() - handles, summary.problem], [0, undefined]);

    const [head, one, nan, picture, ...more] = events(where);
    assertEquals([text(head.version), more.length], ["brain.Event:2", 0]);
    assertEquals([one.step, text(one.value!.get(1)), float(one.value!.get(2))], [1, "loss/total", 0.3125]);
    assertEquals([nan.step, Number.isNaN(float(nan.value!.get(2)))], [2 ** 33, true]);
    assertEquals([picture.step, text(picture.value!.get(1))], [7, "panel/street/image"]);
    const image = message(picture.value!.get(4) as Uint8Array);
    assertEquals([image.get(1), image.get(2)], [3, 5]);
    assertEquals((await decodeRgb(image.get(4) as Uint8Array)).data, data);
  });
});

Deno.test("what is flushed is on the disk while the run goes on", async () => {
  await withFolder((folder) => {
    using summary = openSummary(folder);
    summary.scalar("a", 1.5, 3);
    summary.flush();
    const [, { step, value }] = events(folder);
    assertEquals(step, 3);
    assertAlmostEquals(float(value!.get(2)), 1.5);
    return Promise.resolve();
  });
});

Deno.test("a folder that cannot be written stops the event file, not the run", async () => {
  await withFolder(async (folder) => {
    const handles = nativeTensorCount();
    await Deno.writeTextFile(join(folder, "file"), "");
    const never = openSummary(join(folder, "file", "inside"));
    const said = never.problem?.message ?? "";
    assert(said.startsWith("Cannot write TensorBoard's event file in "), said);
    assert(said.includes("CreateSummaryFileWriter"), said);
    never.scalar("a", 1, 1);
    never.close();
    assertEquals(nativeTensorCount(), handles);
  });
});

Deno.test("an image whose data do not fit its size is refused", async () => {
  await withFolder((folder) => {
    using summary = openSummary(folder);
    const image = { width: 5, height: 3, data: new Uint8Array(15) };
    assertThrows(() => summary.image("a", image, 1), RangeError, "15 bytes for 5×3 px, expected 45");
    return Promise.resolve();
  });
});

Deno.test("a file that goes on after a step tells readers to forget what earlier ones say of later steps", async () => {
  await withFolder((folder) => {
    const steps = [0, 126, 127, 2 ** 33];
    for (const after of steps) openSummary(join(folder, String(after)), { after }).close();
    const found = steps.map((after) => eventFiles(join(folder, String(after)))[0][1]);
    assertEquals(found.map(({ step, restart }) => [step, restart]), steps.map((after) => [after + 1, true]));
    return Promise.resolve();
  });
});
