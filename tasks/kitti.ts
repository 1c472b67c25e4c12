/**
 * `deno task kitti`: what to download of KITTI raw, whether a download is whole, and the same data prepared for training;
 * and the Eigen split as text.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { resolve } from "@std/path";
import { UsageError } from "../lib/base/errors.ts";
import { flag, integer, list, size, text } from "../lib/base/options.ts";
import { formatBytes, Progress } from "../lib/base/terminal.ts";
import type { DataPart } from "../lib/data/dataset.ts";
import { checkDownload, type DownloadReport, planDownload } from "../lib/data/download.ts";
import { eigenNames, eigenSplit } from "../lib/data/kitti.ts";
import { prepareData } from "../lib/data/prepare.ts";
import { formatSplit } from "../lib/data/split.ts";
import { encodePoints, truthReader } from "../lib/evaluation/truth.ts";
import { runTask, stopSignal, userPath } from "./_task.ts";

const CALLS = `plan [DIR] | check DIR | prepare DIR | split ${Object.keys(eigenNames).join("|")}`;
/** Faults of a drive that are listed. */
const FAULTS = 5;
const SOURCE = "https://www.cvlibs.net/datasets/kitti/raw_data.php";

await runTask({
  name: "kitti",
  summary:
    "plan says what to download for the Eigen split, and how large it is; with DIR, what is missing there. check reads " +
    "every file of the split: present, decodable, sized, pairs complete, scans and calibrations whole; status 1 if not. " +
    "prepare keeps the images at the network's size, not compressed, with laser points and an index, in a folder that " +
    "--data accepts. split prints a part of the split, one pair of images per line.",
  options: {
    quick: flag({ help: "check: only list which files are absent." }),
    journal: text({
      value: "FILE",
      help:
        "check: keeps what was read, so that a check that was interrupted goes on (default: in runs/kitti).",
    }),
    out: text({ default: "data/prepared", value: "DIR", help: "prepare: where to." }),
    size: size({ default: "256x512", help: "prepare: size of the images, px." }),
    split: text({
      default: "eigen",
      value: "street|eigen|cityscapes|FILE",
      help: "prepare: how the folder is divided; see train.",
    }),
    parts: list({
      choices: ["train", "val", "test"],
      default: ["train", "val", "test"],
      value: "PART",
      help: "prepare: which parts.",
    }),
    pairs: integer({
      min: 1,
      help: "prepare: at most so many training pairs, spread evenly (default: all).",
    }),
  },
  positionals: CALLS,
  examples: [
    "deno task kitti plan",
    "deno task kitti check kitti",
    "deno task kitti prepare kitti --out kitti_256x512",
    "deno task kitti split eigen-test > eigen_test.txt",
  ],
}, async (options, words) => {
  const [action, name] = words, root = name && userPath(name);
  if (action === "plan" && words.length <= 2) return await plan(root);
  if (action === "check" && words.length === 2) {
    const { quick } = options, stop = quick ? undefined : stopSignal();
    const hash = createHash("sha256").update(resolve(root)).digest("hex").slice(0, 12);
    const journal = options.journal ?? `runs/kitti/check-${hash}.jsonl`;
    let progress: Progress | undefined;
    const report = await checkDownload(root, {
      quick,
      journal,
      signal: stop?.signal,
      onProgress: (done, total, faults) => {
        progress ??= new Progress({ label: "check", total, unit: "frames" });
        progress.update(done, ...faults ? [`${faults} faults`] : []);
      },
    });
    progress?.finish();
    console.log(describe(root, report, Boolean(stop?.status)));
    if (stop?.status) console.error("interrupted: the same command goes on");
    return stop?.status || (report.complete ? 0 : 1);
  }
  if (action === "prepare" && words.length === 2) return await prepare(root, options);
  if (action === "split" && words.length === 2 && Object.hasOwn(eigenNames, name)) {
    const text = formatSplit(eigenSplit(eigenNames[name]));
    try {
      await new Blob([text]).stream().pipeTo(Deno.stdout.writable);
    } catch (error) {
      if (!(error instanceof Deno.errors.BrokenPipe)) throw error; // `| head` closed the pipe
    }
    return 0;
  }
  throw new UsageError(`Cannot run kitti: found ${JSON.stringify(words.join(" "))}, expected ${CALLS}`);
});

async function plan(root: string | undefined): Promise<void> {
  const report = root === undefined ? undefined : await checkDownload(root, { quick: true });
  const present = report?.drives.filter(({ found, expected }) => found === expected).map(({ path }) => path);
  const { dates, drives, frames, archiveBytes, neededBytes } = planDownload(new Set(present));
  const missing = [...dates.values()].reduce((sum, list) => sum + list.length, 0);
  const download = missing === 0 ? ["Nothing is left to download."] : [
    `From ${SOURCE}`,
    `download, of the synced and rectified data, ${missing} archives, about ${formatBytes(archiveBytes)}:`,
    ...driveNumbers(dates),
    "and the calibration of each date (a few kB). Unpack them in one folder, as they are.",
  ];
  const lines = [
    `The Eigen split needs ${frames} pairs of ${drives} drives of KITTI raw${
      report ? `; ${drives - missing} drives are complete in ${root}` : ""
    }.`,
    "",
    ...download,
    "",
    `About ${
      formatBytes(neededBytes)
    } of it are used: image_02 and image_03 of all, velodyne_points of the test drives.`,
    `Prepared at 256x512 the pairs take ${formatBytes(frames * 2 * 256 * 512 * 3)}.`,
    "KITTI is licensed CC BY-NC-SA 3.0: what is trained on it is for non-commercial use.",
  ];
  console.log(lines.join("\n"));
}

async function prepare(
  data: string,
  options: {
    readonly out: string;
    readonly split: string;
    readonly size: { readonly height: number; readonly width: number };
    readonly parts: readonly DataPart[];
    readonly pairs?: number;
  },
): Promise<number> {
  const stop = stopSignal(), read = truthReader(data, "lidar");
  let progress: Progress | undefined;
  const { pairs, skipped, bytes, complete } = await prepareData(options.out, {
    ...options,
    data,
    signal: stop.signal,
    points: async (pair) => {
      try {
        return encodePoints(await read(pair));
      } catch {
        return undefined; // no scan, or not KITTI's layout: evaluation says so, should it be asked for
      }
    },
    onProgress: (done, total, skipped) => {
      progress ??= new Progress({ label: "prepare", total, unit: "pairs" });
      progress.update(done, ...skipped ? [`${skipped} skipped`] : []);
    },
  });
  progress?.finish();
  const counts = Object.entries(pairs).map(([part, count]) => `${count} ${part}`).join(", ");
  console.log(`${counts} pairs in ${options.out}, ${formatBytes(bytes)}`);
  if (skipped.length) {
    console.log(`${skipped.length} pairs left out:`);
    console.log(skipped.slice(0, 10).map((line) => `  ${line}`).join("\n"));
    if (skipped.length > 10) console.log(`  … and ${skipped.length - 10} more`);
  }
  if (!complete) console.error("interrupted: the same command goes on");
  return complete ? 0 : stop.status;
}

/** The numbers of drives by date, twelve in a line. */
function driveNumbers(dates: ReadonlyMap<string, readonly string[]>): string[] {
  return [...dates].toSorted().flatMap(([date, unsorted]) => {
    const numbers = unsorted.toSorted();
    return Array.from(
      { length: Math.ceil(numbers.length / 12) },
      (_, i) => `  ${(i ? "" : date).padEnd(12)}${numbers.slice(12 * i, 12 * i + 12).join(" ")}`,
    );
  });
}

function describe(
  root: string,
  { parts, drives, calibrations, complete }: DownloadReport,
  interrupted: boolean,
): string {
  const present = drives.filter(({ found }) => found > 0), absent = drives.filter(({ found }) => found === 0);
  if (present.length === 0) {
    return `No drive of the Eigen split found in ${root}: expected folders such as\n` +
      `${root}/${
        drives[0].path
      }/image_02/data\n(the synced and rectified drives and calibrations from ${SOURCE})`;
  }
  const row = (cells: readonly (string | number)[]) =>
    cells.map((cell, i) => i === 0 ? String(cell).padEnd(12) : String(cell).padStart(9)).join("");
  const lines = [
    row(["split", "pairs", "left", "right", "scans"]),
    ...parts.map(({ part, pairs, left, right, scans }) => row([`eigen-${part}`, pairs, left, right, scans])),
    "",
    `${present.length} of ${drives.length} drives present:`,
    ...present.flatMap(({ path, found, expected, faults }) => {
      const whole = found === expected ? `complete, ${found} images` : `${found} of ${expected} images`;
      const more = faults.length > FAULTS ? [`    … and ${faults.length - FAULTS} more`] : [];
      return [
        `  ${path}: ${whole}${faults.length ? `, ${faults.length} faults` : ""}`,
        ...faults.slice(0, FAULTS).map((fault) => `    ${fault.replace(`${path}/`, "")}`),
        ...more,
      ];
    }),
  ];
  if (absent.length) {
    lines.push(`${absent.length} drives absent:`);
    const numbers = [...Map.groupBy(absent, ({ path }) => path.split("/")[0])].map(([date, group]) =>
      [date, group.map(({ path }) => path.match(/drive_(\d+)/)![1])] as const
    );
    lines.push(...driveNumbers(new Map(numbers)));
  }
  lines.push(...calibrations, "");
  const faults = drives.reduce((sum, drive) => sum + drive.faults.length, 0);
  const listed = absent.length + calibrations.length === 0 &&
    drives.every(({ found, expected }) => found === expected);
  lines.push(
    complete
      ? `${root} has everything that training and testing need`
      : interrupted && listed
      ? `${root} has every file of the split; of those read so far ${faults || "none"} ${
        faults > 1 ? "are" : "is"
      } damaged`
      : `${root} is incomplete: download the synced and rectified drives and each date's calibration from\n${SOURCE}`,
  );
  return lines.join("\n");
}
