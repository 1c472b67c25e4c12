import { assert, assertAlmostEquals, assertEquals, assertStringIncludes } from "../_assert.ts";
import { join } from "@std/path";
import { readRgb } from "../../lib/data/image.ts";
import { withFolder } from "../_folder.ts";
import { tinyStreet } from "../training/_runs.ts";
import { task } from "./_run.ts";

Deno.test("train, eval --run and predict work together with the permissions they have", async () => {
  await withFolder(async (folder) => {
    const data = join(folder, "street"), run = join(folder, "run"), saved = join(folder, "p.npy");
    await tinyStreet(data);
    const tiny = "--size 32x64 --batch 2 --steps 2 --coarse 0 --warmup 0 --validate-every 0 --workers 0";
    const trained = await task("train", "--data", data, "--out", run, ...tiny.split(" "));
    assertEquals(trained.code, 0, trained.err);
    assertEquals(trained.out.trim(), join(run, "checkpoints", "step-000002"));

    const [own, photo, refused] = await Promise.all([
      task("eval", "--run", run, "--flip", "--save-predictions", saved, "--json"),
      task(
        "predict",
        "--run",
        run,
        "--out",
        join(folder, "out"),
        "--format",
        "png,png16",
        join(data, photograph),
      ),
      task("eval", "--run", run, "--of", "teacher", "--json"),
    ]);
    assertEquals(own.code, 0, own.err);
    const metrics = JSON.parse(own.out);
    assertEquals(metrics.images, 2);
    assertStringIncludes(metrics.protocol, "averaged with the mirrored image's prediction");
    assertEquals([refused.code, refused.out], [2, ""], refused.err);
    assertStringIncludes(refused.err, "it has no refine network, which stage teacher trains");

    const once = await task("eval", "--run", run, "--save-predictions", saved, "--json");
    assertEquals([once.code, once.out], [2, ""]);
    assertStringIncludes(once.err, "is there already; give --overwrite");

    // What was saved gives the same numbers without the network, of the part that was not trained on.
    const flipped = saved.replace(".npy", "-flipped.npy");
    const again = await task(
      ...["eval", "--predictions", saved, "--predictions-flipped", flipped, "--data", data],
      ...["--split", "test", "--json"],
    );
    assertEquals(again.code, 0, again.err);
    assertAlmostEquals(JSON.parse(again.out).absRel, metrics.absRel, 1e-12);

    // Two shards put together are the whole, intervals included.
    const parts = await Promise.all([0, 1].map(async (i) => {
      const { code, out, err } = await task("eval", "--run", run, "--flip", "--shard", `${i}/2`, "--json");
      assertEquals([code, JSON.parse(out).images], [0, 1], err);
      await Deno.writeTextFile(join(folder, `${i}.json`), out);
      return join(folder, `${i}.json`);
    }));
    const merged = await task("eval", "--merge", parts.toReversed().join(), "--json");
    assertEquals(merged.code, 0, merged.err);
    const { details: { frames, interval95 }, ...numbers } = JSON.parse(merged.out);
    assertEquals([frames, numbers.points, numbers.protocol], [2, metrics.points, metrics.protocol]);
    assertAlmostEquals(numbers.rmse, metrics.rmse, 1e-4);
    assertAlmostEquals(interval95.absRel[0], metrics.details.interval95.absRel[0], 1e-4);
    const twice = await task("eval", "--merge", [parts[0], parts[0]].join());
    assertEquals(twice.code, 2);
    assertStringIncludes(twice.err, "expected shards 0/2 to 1/2 of one evaluation, each once");

    assertEquals(photo.code, 0, photo.err);
    const [coloured, raw] = photo.out.trim().split("\n");
    assert((await readRgb(coloured)).width >= 96);
    assertStringIncludes(raw, "0000000000_disparity16.png");
  });
});

const photograph = "2030_01_01/2030_01_01_drive_0001_sync/image_02/data/0000000000.png";
