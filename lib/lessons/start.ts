/**
 * The first cell of every notebook: what computes here, and where the data come from.
 *
 * @module
 */
import { cpuFeatures } from "../backend/cpu.ts";
import { type BackendInfo, selectBackend } from "../backend/select.ts";
import { Table } from "../charts/table.ts";
import { kittiRoot } from "./data.ts";

/**
 * Starts the backend and says what this notebook runs on.
 *
 * @throws {CyclopsError} When the backend that CYCLOPS_BACKEND asks for cannot be started.
 */
export async function startLesson(): Promise<Table> {
  const backend = await selectBackend();
  const { model, cores } = cpuFeatures();
  const root = kittiRoot();
  const facts = {
    processor: `${model}, ${cores} cores`,
    backend: describeBackend(backend),
    runtime: `Deno ${Deno.version.deno}, TypeScript ${Deno.version.typescript}`,
    data: root ? `KITTI raw in ${root}` : "street scenes, made here (set KITTI_DIR for real ones)",
  };
  return new Table({
    corner: "this run",
    columns: [{ key: "value", label: "" }],
    rows: Object.entries(facts).map(([name, value]) => ({ name, cells: { value } })),
  });
}

function describeBackend({ name, version, devices }: BackendInfo): string {
  return `${name} ${version} on ${devices.join(", ")}`;
}
