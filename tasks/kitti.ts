/**
 * `deno task kitti`: prints the Eigen split, or what a KITTI download has and lacks.
 *
 * @module
 */
import { UsageError } from "../lib/base/errors.ts";
import { checkDownload, type DownloadReport, eigenNames, eigenSplit } from "../lib/data/kitti.ts";
import { formatSplit } from "../lib/data/split.ts";
import { runTask, userPath } from "./_task.ts";

const CALLS = `split ${Object.keys(eigenNames).join("|")} | check DIR`;
const SOURCE = "https://www.cvlibs.net/datasets/kitti/raw_data.php";

await runTask({
  name: "kitti",
  summary: "split NAME prints a part of the Eigen split, one pair of images per line: 697 test,\n" +
    "22,600 training or 888 validation pairs. check DIR lists what a KITTI raw download has and lacks; status 1 if files are missing.",
  options: {},
  positionals: CALLS,
  examples: ["deno task kitti split eigen-test > eigen_test.txt", "deno task kitti check kitti"],
}, async (_options, words) => {
  const [action, name] = words;
  if (words.length === 2 && action === "check") {
    const root = userPath(name), report = await checkDownload(root);
    console.log(describe(root, report));
    return report.complete ? 0 : 1;
  }
  if (words.length === 2 && action === "split" && Object.hasOwn(eigenNames, name)) {
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

function describe(root: string, { parts, drives, calibrations, complete }: DownloadReport): string {
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
    ...present.map(({ path, found, expected }) =>
      `  ${path}: ${found === expected ? `complete, ${found} images` : `${found} of ${expected} images`}`
    ),
  ];
  if (absent.length) {
    lines.push(`${absent.length} drives absent:`);
    for (const [date, group] of Map.groupBy(absent, ({ path }) => path.split("/")[0])) {
      const numbers = group.map(({ path }) => path.match(/drive_(\d+)/)![1]);
      for (let i = 0; i < numbers.length; i += 12) {
        lines.push(`  ${(i ? "" : date).padEnd(12)}${numbers.slice(i, i + 12).join(" ")}`);
      }
    }
  }
  lines.push(...calibrations.map((path) => `absent: ${path}`), "");
  lines.push(
    complete
      ? `${root} has everything that training and testing need`
      : `${root} is incomplete: download the synced and rectified drives and each date's calibration from\n${SOURCE}`,
  );
  return lines.join("\n");
}
