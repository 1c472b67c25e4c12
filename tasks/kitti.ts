/**
 * `deno task kitti`: the Eigen split as text, and what a KITTI download still lacks.
 *
 * @module
 */
import { UsageError } from "../lib/base/errors.ts";
import { checkDownload } from "../lib/data/download.ts";
import { eigenNames, eigenSplit } from "../lib/data/kitti.ts";
import { formatSplit } from "../lib/data/split.ts";
import { userPath } from "./_paths.ts";
import { runTask } from "./_task.ts";

const CALLS = `split ${Object.keys(eigenNames).join("|")}  or  check DIR`;

await runTask({
  name: "kitti",
  summary:
    "split NAME prints a part of the Eigen split, one pair of images a line: 697 to test, 22600 to train,\n" +
    "888 to validate. check DIR counts what is there of a KITTI raw download; status 1 when files are missing.",
  options: {},
  positionals: CALLS,
  examples: ["deno task kitti split eigen-test > eigen_test.txt", "deno task kitti check kitti"],
}, async (_options, words) => {
  const [action, name] = words;
  if (words.length === 2 && action === "check") {
    const root = userPath(name);
    return printReport(root, await checkDownload(root));
  }
  if (words.length === 2 && action === "split" && Object.hasOwn(eigenNames, name)) {
    const text = formatSplit(eigenSplit(eigenNames[name as keyof typeof eigenNames]));
    try {
      await new Blob([text]).stream().pipeTo(Deno.stdout.writable);
    } catch (error) {
      if (!(error instanceof Deno.errors.BrokenPipe)) throw error; // `| head` has seen enough
    }
    return 0;
  }
  throw new UsageError(`Cannot run kitti ${words.join(" ")}: wanted ${CALLS}`);
});

function printReport(root: string, report: Awaited<ReturnType<typeof checkDownload>>): number {
  const row = (cells: readonly (string | number)[]) =>
    cells.map((cell, i) => i === 0 ? String(cell).padEnd(12) : String(cell).padStart(9)).join("");
  console.log(row(["split", "pairs", "left", "right", "scans"]));
  for (const { part, pairs, left, right, scans } of report.parts) {
    console.log(row([`eigen-${part}`, pairs, left, right, scans]));
  }
  for (const path of report.calibrations) console.log(`absent: ${path}`);
  for (const { path, found, wanted } of report.drives) console.log(`${path}: ${found} of ${wanted} images`);
  console.log(
    report.complete
      ? `\n${root} has all that training and testing need`
      : `\n${root} is incomplete: fetch the synced and rectified drives and the calibration of each date from ` +
        `https://www.cvlibs.net/datasets/kitti/raw_data.php`,
  );
  return report.complete ? 0 : 1;
}
