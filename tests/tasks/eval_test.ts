import { assert, assertEquals } from "../_assert.ts";
import { join } from "@std/path";
import { writeNpy } from "../../lib/data/npy.ts";
import { writeDepthPng } from "../../lib/data/kitti.ts";
import { formatSplit } from "../../lib/data/split.ts";
import { pointAt, withRoot } from "../data/_kitti_root.ts";
import { grid, withMake3d } from "../data/_make3d.ts";
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
    const { protocol, details, ...numbers } = JSON.parse(lidar.out);
    const perfect = { absRel: 0, sqRel: 0, rmse: 0, rmseLog: 0, a1: 1, a2: 1, a3: 1, points: 1, images: 1 };
    assertEquals(numbers, perfect);
    assert(protocol.includes("Garg crop"), protocol);
    assertEquals([details.split, details.frames, details.interval95.absRel], ["split", 1, [0, 0]]);
    // Scans and calibration say all that is needed.
    for (const { left, right } of pairs) {
      for (const image of [left, right]) await Deno.remove(join(root, image));
    }
    assertEquals(JSON.parse((await task(...call, "--crop", "garg")).out).absRel, 0);
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

Deno.test("eval reads a folder of depth PNG, compares with a file, and writes tables, numbers by image and plots", async () => {
  const frames = [10, 20, 40].map((m) => ({ scan: [...pointAt(21, 21, m), ...pointAt(31, 25, m / 2)] }));
  await withRoot(frames, async (root, pairs) => {
    const split = join(root, "split.txt"), folder = join(root, "png"), other = join(root, "other.npy");
    await Deno.writeTextFile(split, formatSplit(pairs));
    const size = { width: 64, height: 32 };
    for (const i of pairs.keys()) {
      await writeDepthPng(join(folder, `${i}.png`), {
        ...size,
        data: new Float32Array(64 * 32).fill(11 * 2 ** i),
      });
    }
    const data = Float32Array.from({ length: 3 * 64 * 32 }, (_, i) => 19 * 2 ** Math.floor(i / 2048));
    await writeNpy(other, { shape: [3, 32, 64], data });
    const csv = join(root, "images.csv"), plots = join(root, "plots");
    const call = ["eval", "--predictions", folder, "--units", "metres", "--data", root, "--split", split];
    const [text, latex, markdown] = await Promise.all([
      task(...call, "--against", other, "--csv", csv, "--plots", plots, "--worst", "2"),
      task(...call, "--latex"),
      task(...call, "--markdown", "--median-scaling"),
    ]);
    assertEquals([text.code, latex.code, markdown.code], [0, 0, 0], text.err + latex.err + markdown.err);
    const wide = text.out.split("\n").filter((line) => line.length > 80 && !line.includes(root));
    assertEquals(wide, []);
    for (
      const said of [
        "difference, paired",
        "100 % of 3 images",
        "predictions are depths, m",
        "no median scaling",
      ]
    ) {
      assert(text.out.includes(said), said + text.out);
    }
    const lines = (await Deno.readTextFile(csv)).trim().split("\n");
    assertEquals([lines.length, lines[0].split(",").slice(0, 3)], [4, ["frame", "left", "absRel"]]);
    assertEquals(lines[3].split(",")[1], JSON.stringify(pairs[2].left));
    for (const name of ["error_by_distance.svg", "error_by_row.png", "worst.png"]) {
      assert((await Deno.stat(join(plots, name))).size > 2000, name);
    }
    assert(latex.out.includes("\\toprule") && latex.out.includes("% Garg crop"), latex.out);
    assert(markdown.out.includes("MEDIAN-SCALED") && markdown.out.includes("MEDIAN SCALING"), markdown.out);
    assert(markdown.err.includes("Median scaling is on"), markdown.err);
  });
});

Deno.test("eval judges files on Make3D by four metrics below 70 m", async () => {
  await withMake3d([grid(() => 20), grid((y) => y < 20 ? 69 : 75)], async (root) => {
    const file = join(root, "p.npy"),
      call = ["eval", "--predictions", file, "--units", "metres", "--data", root];
    await writeNpy(file, {
      shape: [2, 2, 3],
      data: Float32Array.from({ length: 12 }, (_, i) => i < 6 ? 30 : 90),
    });
    const { code, out, err } = await task(...call, "--split", "make3d", "--markdown");
    assertEquals(code, 0, err);
    assert(out.startsWith("|  | abs rel ↓ | sq rel m ↓ | RMSE m ↓ | RMSE log10 ↓ |\n"), out);
    assert(out.includes("0.001 to 70 m") && !out.includes("KITTI"), out); // depths need no camera
    const { extra, points } = JSON.parse((await task(...call, "--split", "make3d", "--json")).out);
    assertEquals(points, 21 * 305 + 3 * 305);
    const expected = (Math.log10(1.5) + Math.log10(70 / 69)) / 2;
    assert(Math.abs(extra.log10 - expected) < 1e-6, String(extra.log10));
    assertEquals((await task(...call, "--split", "eigen-test", "--truth", "make3d")).code, 2);
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
    assert(missing.err.includes(`laser scans: 1 of 4 files are missing under ${root}`), missing.err);
    assert(missing.err.includes("velodyne_points/data/0000000009.bin"), missing.err);
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
