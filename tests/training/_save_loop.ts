/** Saves checkpoints as fast as it can, until it is killed; says after each what it saved. */
import { pruneCheckpoints, saveCheckpoint } from "../../lib/training/checkpoint.ts";
import { content } from "./_checkpoints.ts";

const [folder, steps] = Deno.args;
for (let step = 1; step <= Number(steps); step++) {
  await saveCheckpoint(folder, content(step, 200_000));
  await pruneCheckpoints(folder, 2);
  console.log(step);
}
