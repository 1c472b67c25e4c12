import { assert, assertEquals } from "../_assert.ts";
import { join } from "@std/path";
import { writeNpy } from "../../lib/data/npy.ts";
import { formatSplit } from "../../lib/data/split.ts";
import { pointAt, withRoot } from "../data/_kitti_root.ts";
import { task } from "./_run.ts";

Deno.test("eval prints one JSON object and nothing else on standard output", async () => {
  const depth = new Float32Array(64 * 32).fill(20);
  await withRoot([{ scan: pointAt(21, 21, 10), depth }], async (root, pairs) => {
    const predictions = join(root, "p.npy"), split = join(root, "split.txt");
    await writeNpy(predictions, { shape: [1, 2, 2], data: new Float32Array(4).fill(0.0390625) });
    await Deno.writeTextFile(split, formatSplit(pairs));
    const call = [
      "eval",
      "--predictions",
      predictions,
      "--data",
      root,
      "--split",
      split,
      "--cap",
      "80",
      "--json",
    ];
    const lidar = await task(...call, "--crop", "garg");
    assertEquals([lidar.code, lidar.out.trim().split("\n").length], [0, 1], lidar.err);
    const { protocol, ...numbers } = JSON.parse(lidar.out);
    const perfect = { absRel: 0, sqRel: 0, rmse: 0, rmseLog: 0, a1: 1, a2: 1, a3: 1, points: 1, images: 1 };
    assertEquals(numbers, perfect);
    assert(protocol.includes("Garg crop"), protocol);
    const shown = await task(...call.filter((word) => word !== "--json"));
    const wide = shown.out.split("\n").filter((line) => line.length > 80 && !line.includes(predictions));
    assertEquals([shown.code, wide], [0, []], "fits 80 columns");
    // The permissions of the task are enough for depth PNGs, too.
    const dense = await task(
      ...call,
      "--crop",
      "none",
      "--truth",
      "dense",
      "--predictions-flipped",
      predictions,
    );
    assertEquals(dense.code, 0, dense.err);
    assertEquals(JSON.parse(dense.out).absRel, 0.5);
  });
});

Deno.test("eval says what is wrong with a call or its files, and how to go on", async () => {
  await withRoot([{ scan: pointAt(21, 21, 10) }], async (root, pairs) => {
    const predictions = join(root, "p.npy"), split = join(root, "split.txt");
    await writeNpy(predictions, { shape: [1, 2, 2], data: new Float32Array(4) });
    const absent = pairs[0].left.replace("000.png", "009.png");
    await Deno.writeTextFile(split, formatSplit([...pairs, { left: absent, right: absent }]));
    const [missing, call] = await Promise.all([
      task("eval", "--predictions", predictions, "--data", root, "--split", split, "--json"),
      task("eval", "--predictions", predictions),
    ]);
    assertEquals([missing.code, missing.out], [1, ""]);
    assert(missing.err.includes(`1 of 2 images are absent under ${root}`) && missing.err.includes(absent));
    assertEquals(call.code, 2);
    assert(call.err.includes("missing --data, --split (or give --run)"), call.err);
  });
});

Deno.test("kitti prints the Eigen split, and refuses what it does not know", async () => {
  const [split, wrong] = await Promise.all([
    task("kitti", "split", "eigen-test"),
    task("kitti", "split", "eigen"),
  ]);
  const lines = split.out.split("\n");
  assertEquals([split.code, lines.length, lines.at(-1)], [0, 698, ""]);
  assert(
    lines.every((line, i) =>
      i === 697 || /^\S+\/image_02\/data\/\d{10}\.png \S+\/image_03\/data\/\d{10}\.png$/.test(line)
    ),
  );
  assertEquals(wrong.code, 2);
  assert(wrong.err.includes("eigen-train"), wrong.err);
});
