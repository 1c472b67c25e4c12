/** A worker of a training that `cluster_test.ts` starts; prints its records, or its error, as JSON, one per line. */
import { setProgressSink } from "../../lib/base/terminal.ts";
import { messageOf } from "../../lib/base/errors.ts";
import { joinCluster } from "../../lib/training/cluster.ts";
import { runStage } from "../../lib/training/run.ts";

/** What a worker is told, as JSON in its only argument. */
export interface WorkerOrder {
  readonly addresses: readonly string[];
  readonly task: number;
  readonly timeout: number;
  readonly out: string;
  readonly resume?: boolean;
  readonly overrides: Readonly<Record<string, unknown>>;
  /** Asks all to stop after this step. */
  readonly stopAt?: number;
}

const say = (message: unknown) => console.log(JSON.stringify(message));

if (import.meta.main) {
  const { addresses, task, timeout, stopAt, ...rest }: WorkerOrder = JSON.parse(Deno.args[0]);
  setProgressSink(() => ({ line: () => {}, log: () => {} }));
  const controller = new AbortController();
  try {
    const options = { communication: "ring", timeout, threads: 1 } as const;
    const cluster = await joinCluster({ addresses, task }, options, () => {});
    await runStage({
      ...rest,
      cluster,
      signal: controller.signal,
      onRecord: (record) => {
        say(record);
        if (record.kind === "step" && record.step === stopAt) controller.abort();
      },
    });
  } catch (error) {
    say({ kind: "error", message: messageOf(error) });
  }
  Deno.exit();
}
