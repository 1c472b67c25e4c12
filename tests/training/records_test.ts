import { assert, assertEquals } from "../_assert.ts";
import { join } from "@std/path";
import { selectBackend } from "../../lib/backend/mod.ts";
import { exists } from "../../lib/base/files.ts";
import { decodeRgb } from "../../lib/data/image.ts";
import { readMetrics } from "../../lib/training/records.ts";
import { withFolder, writePairs } from "../data/_pairs.ts";
import { curves, eventFiles, message, pictures, text } from "./_events.ts";
import { ofKind, recordsIn, testFolder, TINY, tinyStreet } from "./_runs.ts";

await selectBackend({ backend: "tensorflow" });

const street = join(await testFolder(), "street");
await tinyStreet(street);
const GIVEN = { ...TINY, data: street, tensorboard: true };

Deno.test("TensorBoard gets every logged line and validation, and images of the same pairs each time", () =>
  withFolder(async (folder) => {
    const given = { ...GIVEN, steps: 12, validateEvery: 5 };
    await recordsIn(folder, given);
    const drawn = curves(join(folder, "tensorboard"));
    const lines = await readMetrics(join(folder, "metrics.jsonl"));
    // The event file holds 32-bit numbers.
    const points = (pick: (line: Record<string, unknown>) => unknown) =>
      new Map(lines.flatMap((line) => {
        const value = pick(line);
        return typeof value === "number" ? [[Number(line.step), Math.fround(value)]] : [];
      }));
    assertEquals(drawn.get("loss/total"), points(({ loss }) => loss));
    assertEquals([...drawn.get("loss/total")!.keys()], [5, 10, 12]);
    const term = (name: string) =>
      points(({ terms }) => (terms as Record<string, number> | undefined)?.[name]);
    for (const name of ["photometric", "consistency", "smoothness"]) {
      assertEquals(drawn.get(`loss/${name}`), term(name));
    }
    for (const name of ["learningRate", "disparityMean", "disparityDeviation", "milliseconds"]) {
      assertEquals(drawn.get(`training/${name}`), points((line) => line[name]));
    }
    for (const name of ["absRel", "rmse", "photometric"]) {
      const measured = points(({ validation }) => (validation as Record<string, number> | undefined)?.[name]);
      assertEquals([drawn.get(`validation/${name}`), measured.size], [measured, 3]);
    }
    const names = ["input", "opposite", "synthesized", "disparity"];
    assertEquals(
      pictures(join(folder, "tensorboard")),
      new Map(
        ["pair1", "pair2"].flatMap((pair) => names.map((name) => [`${pair}/${name}/image`, [5, 10, 12]])),
      ),
    );
  }));

Deno.test("a longer chain shows more: the re-synthesis, the inconsistency, the refined disparity", () =>
  withFolder(async (folder) => {
    const given = { ...GIVEN, steps: 1, validateEvery: 1 };
    let from: string[] = [];
    const counts: number[] = [];
    for (const stage of ["half-cycle", "cycle", "teacher", "distill"]) {
      const out = join(folder, stage);
      from = [ofKind(await recordsIn(out, { ...given, stage }, { from }), "end")[0].folder!];
      const images = eventFiles(join(out, "tensorboard")).flat().filter(({ value }) => value?.has(4));
      counts.push(images.length / 2);
      for (const { value } of images) {
        const png = message(value!.get(4) as Uint8Array).get(4) as Uint8Array;
        const { width, height, data } = await decodeRgb(png);
        assertEquals([width, height], [64, 32]);
        const name = text(value!.get(1));
        if (!name.includes("inconsistency")) assert(new Set(data).size > 10, `${name} has few colors`);
      }
    }
    // 4 of the student, 6 with the cycle, 7 with the refined disparity.
    assertEquals(counts, [4, 6, 7, 7]);
  }));

Deno.test("a resumed run's curves have one value per step", () =>
  withFolder(async (folder) => {
    const given = { ...GIVEN, steps: 30, validateEvery: 10, checkpointEvery: 10 };
    await recordsIn(folder, given, { stopAt: 20 });
    // As if it had been killed after step 20 and before it was saved.
    await Deno.remove(join(folder, "checkpoints", "step-000020"), { recursive: true });
    await recordsIn(folder, given, { resume: true });
    const drawn = curves(join(folder, "tensorboard"));
    assertEquals([...drawn.get("loss/total")!.keys()], [10, 20, 30]);
    assertEquals([...drawn.get("validation/absRel")!.keys()], [10, 20, 30]);
  }));

Deno.test("--no-tensorboard writes no event file", () =>
  withFolder(async (folder) => {
    await recordsIn(folder, { ...GIVEN, steps: 1, tensorboard: false });
    assert(!await exists(join(folder, "tensorboard")));
  }));

Deno.test("a warning of validation on the training pairs themselves is recorded", () =>
  withFolder(async (folder) => {
    const data = join(folder, "data"), out = join(folder, "run");
    await writePairs(data, 2, { width: 64, height: 32 });
    // A split file is one part, whichever is asked for.
    const all = await recordsIn(out, { ...TINY, data, split: "train.txt", steps: 1, validateEvery: 1 });
    const told = ofKind(all, "warning").map(({ step, message }) => ({ step, warning: message }));
    const written = (await readMetrics(join(out, "metrics.jsonl"))).filter((line) => "warning" in line);
    assertEquals(written, told);
    assert(
      told.some(({ warning }) => warning.startsWith("validation uses the training pairs themselves")),
    );
  }));
