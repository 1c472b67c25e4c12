import {
  assertAlmostEquals,
  assertEquals,
  assertGreater,
  assertLess,
  assertMatch,
  assertStringIncludes,
} from "../_assert.ts";
import { join } from "@std/path";
import { type FloatMap, readRgb, writeRgb } from "../../lib/data/image.ts";
import { readNpy } from "../../lib/data/npy.ts";
import { loadStudent } from "../../lib/predict/mod.ts";
import { Flicker } from "../../lib/predict/video.ts";
import { saveModel } from "../../lib/training/model.ts";
import { untrainedRun } from "../_student.ts";
import { distance } from "../_tensors.ts";
import { testFolder } from "../training/_runs.ts";
import { task, taskIn } from "./_run.ts";

const base = await testFolder(), model = join(base, "tiny.safetensors"), photos = join(base, "photos");
const run = await untrainedRun(join(base, "run"), { camera: "canonical" });
await saveModel(run, model, { license: "CC BY-NC-SA 3.0", data: "noise", commit: "abc" });
for (const [i, name] of ["a", "b10", "b9"].entries()) {
  const data = Uint8Array.from({ length: 60 * 30 * 3 }, (_, k) => (k * (7 + i) + (k >> 5) * 31) & 255);
  await writeRgb(join(photos, `${name}.png`), { width: 60, height: 30, data });
}
const list = (folder: string) => [...Deno.readDirSync(folder)].map(({ name }) => name).sort();

Deno.test("predict: files, a folder and a pattern, in all formats, at the photograph's size; a bad one is skipped", async () => {
  const out = join(base, "all");
  await Deno.writeTextFile(join(photos, "broken.png"), "no image");
  const { code, out: said, err } = await task(
    ...["predict", photos, join(photos, "b*.png"), "--out", out, "--model", model],
    ...["--format", "png,png16,npy,depth,ply,glb", "--max-depth", "1e6", "--kitti", "2011_09_26"],
  );
  await Deno.remove(join(photos, "broken.png"));
  assertEquals(code, 1, err);
  assertStringIncludes(err, "model tiny (quick, 32x64, trained on noise, license CC BY-NC-SA 3.0)");
  assertEquals(err.match(/non-commercial use only/g)?.length, 1);
  assertStringIncludes(err, "broken.png: it is not a known image format");
  assertStringIncludes(err, "1 of 4 could not be predicted");
  assertStringIncludes(err, "focal length 35 px (KITTI 2011_09_26)");
  const endings = [".glb", ".ply", "_depth.npy", "_disparity.npy", "_disparity.png", "_disparity16.png"];
  assertEquals(
    list(out),
    ["a", "b10", "b9"].flatMap((name) => endings.map((ending) => name + ending)).sort(),
  );
  assertEquals(said.trim().split("\n").length, 18);
  const { shape, data } = await readNpy(join(out, "b9_disparity.npy"));
  assertEquals(shape, [30, 60]);
  using student = await loadStudent(model);
  const { disparity } = await student.predict(join(photos, "b9.png"));
  assertLess(distance(data, disparity.data.map((d) => d * 60)), 1e-4);
  const depth = await readNpy(join(out, "b9_depth.npy"));
  assertAlmostEquals(depth.data[9], 721.5377 * 60 / 1242 * 0.532725 / data[9], 1e-3);
  assertEquals((await readRgb(join(out, "a_disparity.png"))).width, 60);
});

Deno.test("predict: nothing is overwritten, or done at all, unless told to; a run, standard input and layouts", async () => {
  const out = join(base, "stdin"), image = await Deno.readFile(join(photos, "a.png"));
  const call = ["predict", "-", "--out", out, "--run", run, "--layout", "side-by-side"];
  const first = await taskIn({ stdin: image }, ...call);
  assertEquals(first.code, 0, first.err);
  assertStringIncludes(first.err, ", step-000001 (quick");
  assertEquals(list(out), ["stdin_disparity.png"]);
  assertEquals((await readRgb(join(out, "stdin_disparity.png"))).width, 120);
  const { code, err } = await task("predict", "-", join(photos, "a.png"), "--out", out, "--run", run);
  assertEquals(code, 2);
  assertStringIncludes(err, "stdin_disparity.png is there already; give --overwrite, or another --out");
  assertEquals(list(out), ["stdin_disparity.png"]);
  assertEquals((await taskIn({ stdin: image }, ...call, "--overwrite")).code, 0);
  const absent = await task("predict", join(photos, "none.png"), "--out", out, "--run", run);
  assertEquals(absent.code, 1);
  assertEquals(absent.err.split("\n")[0], `Cannot predict ${join(photos, "none.png")}: no such file`);
});

Deno.test("predict: calls that cannot be meant are refused before any work", async () => {
  const twin = join(base, "twin", "a.png");
  await writeRgb(twin, { width: 8, height: 8, data: new Uint8Array(192) });
  await Deno.writeTextFile(join(base, "cameras.csv"), `left,right,focal_px,baseline_m\n${twin},x,50,0.3\n`);
  const a = join(photos, "a.png"), own = join(base, "photo_disparity.png");
  await Deno.copyFile(a, own);
  await Deno.copyFile(a, join(base, "photo.png"));
  const cases: [string[], string][] = [
    [[], "no image given"],
    [[a, twin], "a.png would both be written to"],
    [[join(base, "photo.png"), own, "--out", base, "--overwrite"], "is one of the inputs"],
    [[join(photos, "*.bmp")], "no file matches the pattern"],
    [[base + "/run"], "no image in the folder"],
    [
      [a, "--run", "x", "--model", "y"],
      "found --run and --model".replace("--run and --model", "--model and --run"),
    ],
    [[a, "--of", "teacher"], "--of teacher goes with --run"],
    [[a, "--range", "9,3"], "expected MIN below MAX"],
    [
      [a, "--focal", "3", "--manifest", join(base, "cameras.csv")],
      "found --focal or --baseline and --manifest",
    ],
    [[a, "--kitti", "2011_09_27"], '"2011_09_26", "2011_09_28"'],
    [[a, "--format", "jpg"], "png, png16, npy, depth, ply, glb"],
  ];
  const results = await Promise.all(cases.map(([args]) => task("predict", ...args)));
  for (const [i, { code, err }] of results.entries()) {
    assertEquals(code, 2, err);
    assertStringIncludes(err, cases[i][1]);
  }
  const manifest = await task(
    ...["predict", twin, "--model", model, "--manifest", join(base, "cameras.csv")],
    ...["--out", join(base, "manifest"), "--format", "depth"],
  );
  assertEquals(manifest.code, 0, manifest.err);
  assertStringIncludes(manifest.err, "focal length 50 px (manifest) · baseline 0.3 m (manifest)");
});

/** Plays ffmpeg: a video of four gray frames of 8×4 px, each brighter; what is to be a video becomes a file of its bytes. */
const FFMPEG = `#!/bin/sh
for last; do :; done
case "$*" in
  *image2pipe*) for v in 0 1 2 3; do printf 'P6\\n8 4\\n255\\n'; head -c 96 /dev/zero | tr '\\0' $v; done ;;
  *rawvideo*) cat > "$last" ;;
  *) echo "  Duration: 00:00:00.50, start" >&2; echo "  Stream #0: Video: h264, 8x4, 8 fps" >&2; exit 1 ;;
esac
`;

Deno.test("predict: a video's frames in order, as a video and as files; how much it flickers; no ffmpeg", async () => {
  const bin = join(base, "bin"), out = join(base, "video"), video = join(base, "drive.mp4");
  await Deno.mkdir(bin);
  await Deno.writeTextFile(join(bin, "ffmpeg"), FFMPEG, { mode: 0o755 });
  await Deno.writeTextFile(video, "video");
  const env = { PATH: `${bin}:${Deno.env.get("PATH")}` };
  const { code, err } = await taskIn(
    { env },
    ...["predict", video, "--model", model, "--out", out, "--format", "png,npy", "--layout", "side-by-side"],
  );
  assertEquals(code, 0, err);
  assertMatch(err, /drive: 4 frames, flicker \d+\.\d\d %/);
  assertEquals(list(out), ["drive", "drive_disparity.mp4"]);
  assertEquals(list(join(out, "drive")), [1, 2, 3, 4].map((n) => `00000${n}_disparity.npy`));
  // Frames of 16×4 px, the left half of each its photograph.
  const bytes = await Deno.readFile(join(out, "drive_disparity.mp4"));
  assertEquals(bytes.length, 4 * 16 * 4 * 3);
  assertEquals([0, 1, 2, 3].map((frame) => bytes[frame * 192]), [48, 49, 50, 51]);
  using student = await loadStudent(model);
  const { disparity } = await student.predict({ width: 8, height: 4, data: new Uint8Array(96).fill(50) });
  const third = await readNpy(join(out, "drive", "000003_disparity.npy"));
  assertLess(distance(third.data, disparity.data.map((d) => d * 8)), 1e-5);

  const without = await taskIn(
    { env: { PATH: "/nowhere" } },
    "predict",
    video,
    "--model",
    model,
    "--out",
    `${out}2`,
  );
  assertEquals(without.code, 1);
  assertStringIncludes(without.err, "ffmpeg is not installed");
  assertStringIncludes(without.err, "apt-get install ffmpeg");
});

Deno.test("flicker: none in what moves evenly, all of what jumps to and fro", () => {
  const map = (value: number): FloatMap => ({ width: 2, height: 2, data: new Float32Array(4).fill(value) });
  const measure = (values: readonly number[]) => {
    const flicker = new Flicker();
    values.forEach((value) => flicker.add(map(value)));
    return flicker.value;
  };
  assertEquals(measure([0.1, 0.2]), undefined);
  assertAlmostEquals(measure([0.1, 0.2, 0.3, 0.4])!, 0, 1e-6);
  assertGreater(measure([0.1, 0.2, 0.1, 0.2])!, 0.4);
});
