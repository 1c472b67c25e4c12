/**
 * `deno task predict`: the depth of photographs and videos.
 *
 * @module
 */
import { glob } from "node:fs/promises";
import { basename, dirname, extname, join, relative, resolve } from "@std/path";
import { backendOptions, selectBackend } from "../lib/backend/select.ts";
import { CyclopsError, messageOf, UsageError } from "../lib/base/errors.ts";
import { exists, readText, writeAtomic } from "../lib/base/files.ts";
import { choice, flag, integer, list, number, type OptionsOf, text } from "../lib/base/options.ts";
import { Progress } from "../lib/base/terminal.ts";
import { KITTI_DATES, kittiCamera } from "../lib/data/kitti.ts";
import { parseManifest } from "../lib/data/manifest.ts";
import type { CloudOptions } from "../lib/data/points.ts";
import { type Depth, type Format, FORMATS } from "../lib/predict/depth.ts";
import type { DepthColors, KnownCamera } from "../lib/predict/map.ts";
import { loadStudent } from "../lib/predict/mod.ts";
import type { Photo, Student } from "../lib/predict/student.ts";
import {
  Flicker,
  isVideo,
  probeVideo,
  readVideo,
  type VideoWriter,
  writeVideo,
} from "../lib/predict/video.ts";
import { findCheckpoint } from "../lib/training/checkpoint.ts";
import { runTask, userPath } from "./_task.ts";

const formats = Object.keys(FORMATS) as Format[];

const predictOptions = {
  model: text({
    value: "NAME|FILE",
    help:
      "Model that comes with Cyclops (kitti, street), or a model file (default: the best that comes with it).",
  }),
  run: text({ value: "RUN", help: "Predict with a run instead: its folder, or a checkpoint's own." }),
  checkpoint: choice(["best", "latest"], { help: "Which of the run's checkpoints (default best)." }),
  of: choice(["student", "teacher"], { default: "student", help: "Whose disparity; a run's teacher." }),
  flip: flag({ help: "Average with the mirrored image's prediction: slower, slightly better." }),
  batch: integer({ default: 8, min: 1, help: "Images at a time." }),
  out: text({ default: "runs/predictions", value: "DIR", help: "Output folder." }),
  overwrite: flag({ help: "Replace files that are there." }),
  format: list({
    choices: formats,
    default: ["png"] as const,
    value: "FORMAT",
    help:
      "png (colors), png16 (disparity, px · 256), npy (disparity, px), depth (.npy, m), ply, glb (points, m).",
  }),
  layout: choice(["map", "side-by-side", "overlay"], {
    default: "map",
    help: "png: the map, beside the photograph, or over it.",
  }),
  colors: choice(["magma", "inferno", "viridis", "turbo", "grey"], {
    default: "magma",
    help: "png: color map; near is its high end.",
  }),
  range: text({
    value: "MIN,MAX",
    pattern: { regexp: /^\d+(\.\d+)?,\d+(\.\d+)?$/, expected: "two numbers such as 0,96" },
    help: "png: disparities at the ends of the color map, px (default: 0 to each image's 98th percentile).",
  }),
  points: integer({ default: 300_000, min: 1, help: "ply, glb: about how many points at most." }),
  maxDepth: number({ default: 80, min: 0.01, unit: "m", help: "ply, glb: farther points are left out." }),
  focal: number({ min: 1, unit: "px", help: "Focal length, px of the image (default: EXIF's, or assumed)." }),
  baseline: number({
    min: 0.001,
    unit: "m",
    help: "Baseline that sets the scale (default: that of the rig that the network was trained with).",
  }),
  kitti: choice(KITTI_DATES, { help: "The images are KITTI's, of this date: its camera." }),
  manifest: text({ value: "FILE.csv", help: "Cameras of the images: columns left, focal_px, baseline_m." }),
  ...backendOptions,
} as const;

type PredictTaskOptions = OptionsOf<typeof predictOptions>;

/** Something to predict. */
interface Input {
  /** As errors show it. */
  readonly path: string;
  /** How its outputs' names begin. */
  readonly name: string;
  readonly kind: "image" | "video" | "stdin";
}

/** Pixels of photographs whose maps wait in memory to be written. */
const WAITING = 64e6;
/** Endings of the images that a folder is searched for. */
const IMAGE = /\.(png|jpe?g|webp|avif|tiff?|gif|svg)$/i;
/** Our own pictures, which lie there if --out named the same folder. */
const OWN = /_disparity(16)?\.png$/;

async function isFolder(path: string): Promise<boolean> {
  return (await exists(path)) && (await Deno.stat(path)).isDirectory;
}

/** The files that the arguments name, folders and patterns resolved. */
async function findInputs(args: readonly string[]): Promise<Input[]> {
  const paths: string[] = [];
  for (const arg of args) {
    const path = arg === "-" ? arg : userPath(arg);
    if (path === "-") paths.push(path);
    else if (await isFolder(path)) {
      const names = (await Array.fromAsync(Deno.readDir(path))).map(({ name }) => name);
      const images = names.filter((name) => IMAGE.test(name) && !OWN.test(name));
      if (images.length === 0) {
        throw new UsageError(
          `Cannot predict ${arg}: no image in the folder (png, jpg, webp, avif, tiff, gif, svg)`,
        );
      }
      paths.push(
        ...images.sort(new Intl.Collator("en", { numeric: true }).compare).map((n) => join(path, n)),
      );
    } else if (/[*?[{]/.test(path) && !await exists(path)) {
      const found = (await Array.fromAsync(glob(path))).sort();
      if (found.length === 0) throw new UsageError(`Cannot predict ${arg}: no file matches the pattern`);
      paths.push(...found);
    } else paths.push(path);
  }
  return [...new Set(paths)].map((path) =>
    path === "-"
      ? { path: "standard input", name: "stdin", kind: "stdin" }
      : { path, name: basename(path, extname(path)), kind: isVideo(path) ? "video" : "image" }
  );
}

/** The files that an input becomes; a video's colors are one video, its other formats a folder of frames. */
function outputsOf({ name, kind }: Input, { out, format }: PredictTaskOptions): string[] {
  if (kind !== "video") return format.map((f) => join(out, name + FORMATS[f]));
  const frames = format.some((f) => f !== "png");
  return [
    ...(format.includes("png") ? [join(out, `${name}_disparity.mp4`)] : []),
    ...(frames ? [join(out, name)] : []),
  ];
}

/** Refuses what would overwrite: two inputs of one name, files that are there, the inputs themselves. */
async function checkOutputs(inputs: readonly Input[], options: PredictTaskOptions): Promise<void> {
  const fail = (why: string) => new UsageError(`Cannot predict: ${why}`);
  const from = new Map<string, string>(), sources = new Set(inputs.map(({ path }) => resolve(path)));
  const there: string[] = [];
  for (const input of inputs) {
    for (const output of outputsOf(input, options)) {
      const other = from.get(output);
      if (other !== undefined) {
        throw fail(
          `${other} and ${input.path} would both be written to ${output}; rename one, or predict them into two folders`,
        );
      }
      from.set(output, input.path);
      if (sources.has(resolve(output))) throw fail(`${output} is one of the inputs; choose another --out`);
      if (await exists(output)) there.push(output);
    }
  }
  if (there.length && !options.overwrite) {
    const more = there.length > 1 ? ` and ${there.length - 1} more are` : " is";
    throw fail(`${shown(there[0])}${more} there already; give --overwrite, or another --out`);
  }
}

/** A path as the user can use it from where the task was started. */
function shown(path: string): string {
  const from = Deno.env.get("INIT_CWD");
  if (!from) return path;
  const local = relative(from, resolve(path));
  return local.startsWith("..") ? resolve(path) : local;
}

/** What the options say about the camera of a photograph. */
async function cameras(options: PredictTaskOptions): Promise<(path: string) => KnownCamera | undefined> {
  const { focal: focalPx, baseline: baselineM, kitti, manifest } = options;
  const given = { "--focal or --baseline": focalPx ?? baselineM, "--kitti": kitti, "--manifest": manifest };
  const named = Object.entries(given).filter(([, value]) => value !== undefined).map(([name]) => name);
  if (named.length > 1) {
    throw new UsageError(
      `Cannot predict: found ${named.join(" and ")}, expected one of them: each names the camera`,
    );
  }
  if (kitti) {
    const camera = { ...kittiCamera(kitti), source: `KITTI ${kitti}` };
    return () => camera;
  }
  if (manifest) {
    const rows = parseManifest(await readText(manifest), manifest), root = dirname(manifest);
    const byPath = new Map(rows.flatMap((row) => {
      const camera = { focalPx: row.focalPx, baselineM: row.baselineM, source: "manifest" };
      return [row.left, row.right].map((path) => [resolve(root, path), camera] as const);
    }));
    return (path) => byPath.get(resolve(path));
  }
  const camera = { ...focalPx && { focalPx }, ...baselineM && { baselineM } };
  return () => camera;
}

/** A line that says which network predicts, of a run which checkpoint's, and on what terms. */
function describe(
  { name, architecture, size, data, license }: Student["info"],
  checkpoint: string | undefined,
): string {
  const terms = license === "not given" ? "" : `, license ${license}`;
  const step = checkpoint && basename(checkpoint) !== name ? `, ${basename(checkpoint)}` : "";
  return `model ${name}${step} (${architecture}, ${size.height}x${size.width}, trained on ${
    data.replace(/ \(.*/s, "")
  }${terms})`;
}

await runTask({
  name: "predict",
  summary:
    "Predicts the depth of photographs and videos: files, folders, quoted patterns, or - for standard input.\n" +
    "Writes NAME_disparity.png and what else --format names, at the photograph's size, to --out.",
  positionals: "FILE|DIR|PATTERN|-…",
  options: predictOptions,
  headings: {
    model: "Network",
    out: "Output",
    layout: "Pictures and point clouds",
    focal: "Camera",
    backend: "Computing",
  },
  examples: [
    "deno task predict photo.jpg",
    "deno task predict photos --out depth --format npy,depth,glb",
    "deno task predict --layout side-by-side drive.mp4",
    "deno task predict --run runs/kitti --flip --kitti 2011_09_26 a.png b.png",
  ],
}, async (options, args) => {
  const { model, run, checkpoint, of: network, out, format, range } = options;
  if (args.length === 0) throw new UsageError("Cannot predict: no image given");
  if (model !== undefined && run !== undefined) {
    throw new UsageError("Cannot predict: found --model and --run, expected one of them");
  }
  if (run === undefined && (checkpoint !== undefined || network === "teacher")) {
    throw new UsageError(`Cannot predict: ${checkpoint ? "--checkpoint" : "--of teacher"} goes with --run`);
  }
  const [min, max] = range?.split(",").map(Number) ?? [];
  if (range && !(min < max)) {
    throw new UsageError(`Cannot predict: --range is ${range}, expected MIN below MAX`);
  }
  const { points, maxDepth, layout, colors: map } = options;
  const colors: DepthColors & CloudOptions = {
    ...{ points, maxDepth, layout, colors: map },
    ...range && { range: [min, max] },
  };
  let failed = 0;
  const inputs: Input[] = [], all = await findInputs(args);
  for (const input of all) {
    if (input.kind === "stdin" || await exists(input.path)) inputs.push(input);
    else {
      // At once, not behind those before it.
      failed++;
      console.error(`Cannot predict ${input.path}: no such file`);
    }
  }
  await checkOutputs(inputs, options);
  const cameraOf = await cameras(options);
  const videos = inputs.filter(({ kind }) => kind === "video");
  const infos = new Map(await Promise.all(videos.map(async (v) => [v, await probeVideo(v.path)] as const)));

  if (inputs.length === 0) return 1;
  await selectBackend(options);
  using student = await loadStudent(run ?? model, { network, checkpoint });
  const saved = run === undefined
    ? undefined
    : await findCheckpoint(run, checkpoint ?? "best").catch(() => {});
  console.error(describe(student.info, saved?.folder));

  const written: string[] = [], told = new Set<string>();
  const fail = (progress: Progress, path: string, error: unknown) => {
    if (!(error instanceof CyclopsError || error instanceof RangeError)) throw error;
    failed++;
    progress.log(
      error.message.includes(path) ? error.message : `Cannot predict ${path}: ${messageOf(error)}`,
    );
  };
  const explain = (progress: Progress, { basis }: Depth) => {
    if (told.size < 3 && !told.has(basis)) progress.log(basis[0].toUpperCase() + basis.slice(1));
    told.add(basis);
  };
  /** Writes a depth in the formats given; `stem` is the path without its ending. */
  const write = async (progress: Progress, depth: Depth, stem: string, which: readonly Format[]) => {
    for (const f of which) {
      const path = stem + FORMATS[f];
      await writeAtomic(path, await depth.encode(f, colors));
      written.push(path);
    }
    if (which.includes("png16") && depth.clipped > 0) {
      const share = Number((100 * depth.clipped).toPrecision(2));
      progress.log(
        `${depth.name}: ${share} % of the pixels have more than 255 px and are clipped in the 16-bit PNG`,
      );
    }
  };

  const images = inputs.filter(({ kind }) => kind !== "video");
  if (images.length) {
    const progress = new Progress({ label: "predict", total: images.length, unit: "images" });
    const photos = await Promise.all(
      images.map(({ path, kind }): Photo | Promise<Photo> =>
        kind === "stdin" ? new Response(Deno.stdin.readable).bytes() : path
      ),
    );
    const pending = new Set<Promise<void>>();
    let done = 0, waiting = 0;
    const results = student.predictAll(
      photos,
      (_, i) => ({ name: images[i].name, camera: cameraOf(images[i].path) }),
      options,
    );
    for await (const { depth, error } of results) {
      const { path, name } = images[done++];
      progress.update(done);
      if (!depth) {
        fail(progress, path, error);
        continue;
      }
      explain(progress, depth);
      const pixels = depth.size.width * depth.size.height;
      const writing: Promise<void> = write(progress, depth, join(out, name), format)
        .catch((error) => fail(progress, path, error))
        .finally(() => (waiting -= pixels, pending.delete(writing)));
      pending.add(writing);
      waiting += pixels;
      // Encoding runs on other threads, beside the network if it need not be waited for.
      while (waiting > WAITING) await Promise.race(pending);
    }
    await Promise.all(pending);
    progress.finish();
  }

  for (const video of videos) {
    const info = infos.get(video)!, frames = format.filter((f) => f !== "png");
    const progress = new Progress({ label: video.name, total: info.frames, unit: "frames" });
    const flicker = new Flicker(), path = join(out, `${video.name}_disparity.mp4`);
    let writer: VideoWriter | undefined, fixed = colors, done = 0;
    try {
      const named = { name: video.name, camera: cameraOf(video.path) };
      for await (const { depth, error } of student.predictAll(readVideo(video.path, info), named, options)) {
        if (!depth) throw error;
        if (done++ === 0) explain(progress, depth);
        flicker.add(depth.prediction);
        if (format.includes("png")) {
          // One range for all frames: else the colors flicker where the disparity does not.
          fixed = { ...fixed, range: fixed.range ?? depth.range };
          const picture = await depth.picture(fixed);
          if (!writer) await Deno.mkdir(out, { recursive: true });
          writer ??= writeVideo(path, picture, info);
          await writer.write(picture);
        }
        await write(progress, depth, join(out, video.name, String(done).padStart(6, "0")), frames);
        progress.update(done);
      }
      if (done === 0) throw new CyclopsError(`Cannot predict the video ${video.path}: it has no frame`);
      await writer?.close();
      if (writer) written.push(path);
      const { value } = flicker;
      progress.finish(
        `${video.name}: ${done} frames${
          value === undefined
            ? ""
            : `, flicker ${
              (100 * value).toFixed(2)
            } % (median change of disparity against the frames before and after)`
        }`,
      );
    } catch (error) {
      await writer?.abort();
      fail(progress, video.path, error);
    }
  }

  for (const path of written.sort()) console.log(shown(path));
  if (failed) console.error(`${failed} of ${all.length} could not be predicted`);
  return failed ? 1 : 0;
});
