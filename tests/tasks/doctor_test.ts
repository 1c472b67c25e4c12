import { assert, assertEquals } from "../_assert.ts";
import { fromFileUrl } from "@std/path";
import { cpuFeatures } from "../../lib/backend/ops.ts";
import { type Diagnosis, examine } from "../../tasks/setup/doctor.ts";

Deno.test("a machine with the library can train, and every finding has a text", async () => {
  const { findings, canTrain } = await examine({ backend: "tensorflow" });
  assert(canTrain);
  for (const { what, found, state, fix } of findings) {
    assert(found.length > 0, what);
    assert(state === "ok" || fix, `${what} has no fix`);
  }
  const of = (what: string) => findings.find((finding) => finding.what === what)!;
  assertEquals(of("Deno").found, Deno.version.deno);
  assertEquals(of("Computation").state, "ok");
  assertEquals(of("sharp (images)").state, "ok");
  assert(of("Backend").found.startsWith("tensorflow 2."));
});

/** Runs the task itself on a machine without the library. */
async function doctor(env: Record<string, string>): Promise<{ code: number; diagnosis: Diagnosis }> {
  const cache = await Deno.makeTempDir({ prefix: "cyclops-doctor-" });
  try {
    const output = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", fromFileUrl(new URL("../../tasks/doctor.ts", import.meta.url)), "--json"],
      env: { XDG_CACHE_HOME: cache, CYCLOPS_LIBTENSORFLOW: "", DENO_DIR: denoFolder(), ...env },
    }).output();
    return { code: output.code, diagnosis: JSON.parse(new TextDecoder().decode(output.stdout)) };
  } finally {
    await Deno.remove(cache, { recursive: true });
  }
}

/** Deno's own cache, which would otherwise follow XDG_CACHE_HOME. */
function denoFolder(): string {
  const { HOME, XDG_CACHE_HOME, DENO_DIR } = Deno.env.toObject();
  return DENO_DIR ?? `${XDG_CACHE_HOME ?? `${HOME}/.cache`}/deno`;
}

Deno.test("without the library doctor ends with 1 and says how to get it", async () => {
  const { code, diagnosis } = await doctor({ CYCLOPS_BACKEND: "tensorflow" });
  assertEquals(code, 1);
  assertEquals(diagnosis.canTrain, false);
  const library = diagnosis.findings.find(({ what }) => what === "libtensorflow")!;
  assertEquals([library.found, library.state, library.fix], ["not installed", "problem", "deno task setup"]);
});

Deno.test("a wrong CYCLOPS_LIBTENSORFLOW is named", async () => {
  const before = Deno.env.get("CYCLOPS_LIBTENSORFLOW");
  Deno.env.set("CYCLOPS_LIBTENSORFLOW", "/nowhere");
  try {
    const { findings } = await examine();
    const library = findings.find(({ what }) => what === "libtensorflow")!;
    assert(library.found.includes("CYCLOPS_LIBTENSORFLOW=/nowhere"));
    assertEquals(library.state, "problem");
  } finally {
    if (before === undefined) Deno.env.delete("CYCLOPS_LIBTENSORFLOW");
    else Deno.env.set("CYCLOPS_LIBTENSORFLOW", before);
  }
});

Deno.test("the processor's features are read from cpuinfo", () => {
  const xeon =
    "processor\t: 0\nmodel name\t: Some Xeon\nflags\t\t: fpu avx avx2 avx512f avx512_bf16 amx_bf16 amx_tile\n";
  const { model, avx2, avx512, bf16, amx } = cpuFeatures(xeon);
  assertEquals([model, avx2, avx512, bf16, amx], ["Some Xeon", true, true, true, true]);
  const old = cpuFeatures("model name\t: Old\nflags\t\t: fpu avx avx2\n");
  assertEquals([old.known, old.avx2, old.avx512, old.bf16, old.amx], [true, true, false, false, false]);
  assertEquals(cpuFeatures("").known, false);
});
