import { assert, assertEquals, assertRejects } from "../_assert.ts";
import { join } from "@std/path";
import { decodeRgb } from "../../lib/data/image.ts";
import { Summary } from "../../lib/training/records.ts";
import { withFolder } from "../data/_pairs.ts";
import { eventFiles, float, message, text } from "./_events.ts";

/** Events of the one event file in a folder. */
function events(folder: string) {
  const files = eventFiles(folder);
  assertEquals(files.length, 1);
  return files[0];
}

Deno.test("scalars and images come back from the event file", () =>
  withFolder(async (folder) => {
    const where = join(folder, "run", "tensorboard");
    const summary = new Summary(where);
    const data = Uint8Array.from({ length: 5 * 3 * 3 }, (_, i) => (i * 37) % 256);
    summary.scalar("loss/total", 0.3125, 1);
    summary.scalar("loss/total", NaN, 2 ** 33);
    await summary.image("panel/street", { width: 5, height: 3, data }, 7);
    // A reader need not wait for the end.
    assertEquals(events(where).length, 4);
    summary.close();
    summary.close();
    summary.scalar("too/late", 1, 1);
    assertEquals(summary.problem, undefined);

    const [head, one, nan, picture, ...more] = events(where);
    assertEquals([text(head.version), more.length], ["brain.Event:2", 0]);
    assertEquals([one.step, text(one.value!.get(1)), float(one.value!.get(2))], [1, "loss/total", 0.3125]);
    assertEquals([nan.step, Number.isNaN(float(nan.value!.get(2)))], [2 ** 33, true]);
    assertEquals([picture.step, text(picture.value!.get(1))], [7, "panel/street/image"]);
    const image = message(picture.value!.get(4) as Uint8Array);
    assertEquals([image.get(1), image.get(2)], [3, 5]);
    assertEquals((await decodeRgb(image.get(4) as Uint8Array)).data, data);
  }));

Deno.test("the checksums are those that TensorFlow writes", () =>
  withFolder(async (folder) => {
    using summary = new Summary(folder);
    summary.close();
    const [{ name }] = [...Deno.readDirSync(folder)];
    const bytes = await Deno.readFile(join(folder, name));
    const view = new DataView(bytes.buffer), length = Number(view.getBigUint64(0, true));
    assertEquals([length, bytes.length], [24, 12 + 24 + 4]);
    // Of a length of 24, computed apart from this code, which agrees with files that TensorFlow wrote.
    assertEquals(view.getUint32(8, true), 0x224b7fa3);
  }));

Deno.test("a folder that cannot be written stops the event file, not the run", () =>
  withFolder(async (folder) => {
    await Deno.writeTextFile(join(folder, "file"), "");
    using never = new Summary(join(folder, "file", "inside"));
    const said = never.problem?.message ?? "";
    assert(said.startsWith("Cannot write TensorBoard's event file "), said);
    assert(said.includes("a file is in the way"), said);
    never.scalar("a", 1, 1);
  }));

Deno.test("an image whose data do not fit its size is refused", () =>
  withFolder(async (folder) => {
    using summary = new Summary(folder);
    const image = { width: 5, height: 3, data: new Uint8Array(15) };
    await assertRejects(() => summary.image("a", image, 1), RangeError, "15 bytes for 5×3 px, expected 45");
  }));

Deno.test("a file that continues after a step tells readers to forget what earlier ones say of later steps", async () => {
  await withFolder((folder) => {
    const steps = [0, 126, 127, 2 ** 33];
    for (const after of steps) new Summary(join(folder, String(after)), after).close();
    const found = steps.map((after) => eventFiles(join(folder, String(after)))[0][1]);
    assertEquals(found.map(({ step, restart }) => [step, restart]), steps.map((after) => [after + 1, true]));
    return Promise.resolve();
  });
});
