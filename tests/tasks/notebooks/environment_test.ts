import { assert, assertEquals, assertRejects, assertStringIncludes } from "../../_assert.ts";
import { join } from "@std/path";
import { CyclopsError } from "../../../lib/base/errors.ts";
import { ensureLab, findLab, REQUIREMENTS } from "../../../tasks/notebooks/environment.ts";

/** What a Python that is none answers, by its arguments. */
interface FakePython {
  /** To `-c`: its version and home. */
  readonly version?: string;
  /** To `-m pip --version`. */
  readonly pip?: string;
  /** Shell commands for `pip install`. */
  readonly install?: string;
  /** Shell commands for `-m venv`. */
  readonly venv?: string;
}

/** Runs `use` with a script that stands for Python and a folder for environments. */
async function withPython(
  fake: FakePython,
  use: (options: LabOptionsFor, log: () => Promise<string[]>) => Promise<void>,
) {
  const folder = await Deno.makeTempDir();
  const { version = "3 11 /usr", pip = "pip 23.0.1 from /usr (python 3.11)", install = "", venv = "" } = fake;
  const python = join(folder, "python"), log = join(folder, "log");
  await Deno.writeTextFile(
    python,
    `#!/bin/sh
case "$*" in
  -c*) echo "${version}" ;;
  "-m venv"*) ${venv || `mkdir -p "$4/bin" && cp "$0" "$4/bin/python" && echo venv >> "${log}"`} ;;
  "-m pip --version") ${pip ? `echo "${pip}"` : "echo 'No module named pip' >&2; exit 1"} ;;
  "-m ensurepip"*) echo "No module named ensurepip" >&2; exit 1 ;;
  *install*) echo "Collecting one"; echo install >> "${log}"; ${install || "true"} ;;
esac
`,
    { mode: 0o755 },
  );
  const requirements = join(folder, "requirements.txt");
  await Deno.writeTextFile(requirements, "one==1 --hash=sha256:00\n");
  let said = "";
  try {
    const options = {
      python,
      requirements,
      root: join(folder, "cache"),
      write: (text: string) => void (said += text),
    };
    await use(options, async () => (await Deno.readTextFile(log).catch(() => "")).trim().split("\n"));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

type LabOptionsFor = { readonly python: string; readonly requirements: string; readonly root: string };

Deno.test("an environment is made once, with a kernel that runs this deno, and found again", async () => {
  await withPython({ install: "sleep 0.2" }, async (options, log) => {
    assertEquals(await findLab(options), undefined);
    const [one, two] = await Promise.all([ensureLab(options), ensureLab(options)]);
    assertEquals([one.made, two.made].sort(), [false, true]);
    assertEquals(await log(), ["venv", "install"]);
    assertEquals((await findLab(options))?.folder, one.folder);
    const [path] = one.env.JUPYTER_PATH.split(":");
    const { argv } = JSON.parse(await Deno.readTextFile(join(path, "kernels/deno/kernel.json")));
    assertEquals(argv.slice(0, 2), [Deno.execPath(), "jupyter"]);
  });
});

Deno.test("a half-made environment is remade; other packages lie elsewhere", async () => {
  await withPython({}, async (options, log) => {
    const { folder } = await ensureLab(options);
    await Deno.remove(join(folder, "complete.json"));
    await Deno.writeTextFile(join(folder, "rest"), "");
    assertEquals((await ensureLab(options)).made, true);
    await assertRejects(() => Deno.stat(join(folder, "rest")), Deno.errors.NotFound);
    await Deno.writeTextFile(options.requirements, "two==2 --hash=sha256:00\n");
    assert((await ensureLab(options)).folder !== folder);
    assertEquals((await log()).filter((line) => line === "install").length, 3);
  });
});

Deno.test("what is missing is named with its fix", async (t) => {
  const cases: [string, FakePython, string][] = [
    ["an old Python", { version: "3 8 /usr" }, "is Python 3.8, expected 3.9 or newer"],
    [
      "no venv",
      { venv: "echo \"No module named 'venv'\" >&2; exit 1" },
      "it has no venv; install it (Debian: apt-get install python3-venv)",
    ],
    [
      "no pip",
      { pip: "" },
      "has no pip and no ensurepip, expected pip 22.3 or newer; install it (Debian: apt-get install python3-pip",
    ],
    ["an old pip", { pip: "pip 20.3.4 from /usr" }, "has pip 20.3 and no ensurepip"],
    ["another package than locked", {
      install: "echo 'ERROR: THESE PACKAGES DO NOT MATCH THE HASHES' >&2; exit 1",
    }, "a package is not the one that was locked"],
    [
      "no network",
      { install: "echo 'ERROR: No matching distribution found for one==1' >&2; exit 1" },
      "pip says: ERROR: No matching distribution",
    ],
    [
      "a full disk",
      { install: "echo 'OSError: [Errno 28] No space left on device' >&2; exit 1" },
      "no space left on the disk",
    ],
  ];
  for (const [name, fake, message] of cases) {
    await t.step(name, async () => {
      await withPython(fake, async (options) => {
        await assertRejects(() => ensureLab(options), CyclopsError, message);
        if (!fake.version) assertEquals(await findLab(options), undefined);
      });
    });
  }
  await t.step("no Python at all", async () => {
    await assertRejects(
      () => ensureLab({ python: "python-that-is-none" }),
      CyclopsError,
      "python-that-is-none is not installed; install Python 3.9 or newer with pip",
    );
  });
});

Deno.test("every locked package has hashes, and every line a version", async () => {
  const lines = (await Deno.readTextFile(REQUIREMENTS)).split("\n").filter((line) =>
    line && !line.startsWith("#")
  );
  const packages = lines.filter((line) => !line.startsWith(" "));
  assert(packages.length > 100);
  for (const line of packages) assertStringIncludes(line, "==");
  for (const line of packages) assert(line.endsWith("\\"), line);
  for (const line of lines.filter((line) => line.startsWith(" "))) {
    assert(/^ {4}--hash=sha256:[0-9a-f]{64}( \\)?$/.test(line), line);
  }
});
