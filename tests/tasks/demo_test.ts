import {
  assert,
  assertEquals,
  assertGreater,
  assertLess,
  assertMatch,
  assertStringIncludes,
} from "../_assert.ts";
import { join } from "@std/path";
import { depthFromDisparity } from "../../lib/geometry/camera.ts";
import { loadStudent } from "../../lib/predict/mod.ts";
import { findChromium, openPage } from "../../tasks/notebooks/lab_check.ts";
import { untrainedRun } from "../_student.ts";
import { distance } from "../_tensors.ts";
import { testFolder } from "../training/_runs.ts";
import { project, task } from "./_run.ts";

const base = await testFolder();
const run = await untrainedRun(join(base, "tiny"), { camera: "canonical" });

Deno.test("demo: the page is a folder of files that name nothing elsewhere; what is there stays", async () => {
  const site = join(base, "site");
  const { code, out, err } = await task("demo", "--run", run, "--build", site);
  assertEquals(code, 0, err);
  assertEquals(out.trim(), join(site, "index.html"));
  const names = [...Deno.readDirSync(site)].map(({ name }) => name).sort();
  assertEquals(names.filter((name) => !name.endsWith(".wasm")), [
    ...["index.html", "model.safetensors", "page.js", "sample.jpg", "style.css"],
  ]);
  assertEquals(names.length, 8);
  for (const name of ["index.html", "style.css"]) {
    const text = await Deno.readTextFile(join(site, name));
    assert(!/https?:\/\/(?!www\.w3\.org\/2000\/svg)|@import|src="\//.test(text), name);
  }
  const again = await task("demo", "--run", run, "--build", site);
  assertEquals(again.code, 2);
  assertStringIncludes(again.err, "is there already");
  assertEquals((await task("demo", "--run", run, "--model", "street")).code, 2);
});

const chromium = await findChromium();

Deno.test({
  name:
    "demo: in a browser it predicts what Deno does, by pointer, keys and touch, and fetches nothing from elsewhere",
  ignore: chromium === undefined,
  fn: async () => {
    await using cleanup = new AsyncDisposableStack();
    const server = new Deno.Command(Deno.execPath(), {
      args: ["task", "--quiet", "demo", "--run", run, "--port", "0"],
      cwd: project,
      env: { NO_COLOR: "1" },
      stdout: "piped",
    }).spawn();
    const lines = server.stdout.pipeThrough(new TextDecoderStream());
    cleanup.defer(async () => {
      server.kill("SIGINT");
      await server.status;
    });
    const reader = lines.getReader();
    const url = /http:\/\/127\.0\.0\.1:\d+\//.exec((await reader.read()).value!)![0];
    cleanup.defer(() => reader.cancel());

    const page = await openPage(chromium!, cleanup);
    const faults: string[] = [];
    page.on("console", (message) => message.type() === "error" && faults.push(message.text()));
    page.on("pageerror", (error) => faults.push(error.message));
    page.on(
      "request",
      (request) =>
        /^(blob:|data:)/.test(request.url()) || request.url().startsWith(url) || faults.push(request.url()),
    );
    await page.goto(url);
    await page.locator('#stage[aria-busy="false"]').waitFor();
    assertMatch(
      await page.locator("#line").innerText(),
      /^A rendered street, 1242 × 375 px\. .+, [\d.]+ ms per frame$/,
    );

    // Of the network's own size nothing is resized, else a canvas does that otherwise than sharp; weights are float16.
    using student = await loadStudent(run);
    const pixels = Uint8ClampedArray.from(
      { length: 64 * 32 * 4 },
      (_, i) => i % 4 === 3 ? 255 : (i * 7) & 255,
    );
    const own = await student.predict({ width: 64, height: 32, data: pixels });
    const exact = await page.evaluate<number[]>(`(async () => {
      const pixels = new ImageData(Uint8ClampedArray.of(${pixels}), 64, 32);
      return [...(await cyclops.student.predict(pixels)).prediction.data];
    })()`);
    assertLess(distance(exact, own.prediction.data), 1e-3);
    const sample = await student.predict(
      new Uint8Array(await (await fetch(`${url}sample.jpg`)).arrayBuffer()),
    );
    const predicted = await page.evaluate<number[]>("[...cyclops.depth.prediction.data]");
    const off = predicted.reduce((sum, d, i) => sum + Math.abs(d - sample.prediction.data[i]), 0);
    assertLess(off / predicted.length, 1e-2);
    const center = depthFromDisparity(sample.prediction.data[16 * 64 + 32], sample.camera!);

    // Keys: a point whose depth is read out; the divider.
    await page.locator("#photo").focus();
    await page.keyboard.press("ArrowRight");
    assertLess(Math.abs(parseFloat(await page.locator("#said").innerText()) - center) / center, 0.1);
    await page.getByRole("slider", { name: "Where the depth begins" }).fill("20");
    assertMatch(await page.evaluate<string>("getComputedStyle(depth).clipPath"), /20%/);
    // The pointer.
    const { x, y } = (await page.locator("#photo").boundingBox())!;
    await page.mouse.move(x + 10, y + 10);
    assertMatch(await page.locator("#probe").innerText(), /^(over )?[\d.]+ m$/);
    // Another field of view is another focal length.
    await page.getByText("Model and settings").click();
    const narrow = page.getByLabel("Horizontal field of view");
    await narrow.fill("20");
    await narrow.blur();
    await page.getByText("(from the field of view)").waitFor();
    // In space, turned.
    await page.getByRole("radio", { name: "3-D" }).check({ force: true });
    const look = () =>
      page.evaluate<string>(`new Promise((done) =>
        requestAnimationFrame(() => requestAnimationFrame(() => done(space.toDataURL()))))`);
    await page.locator("#space").focus();
    const before = await look();
    await page.keyboard.press("ArrowLeft");
    assert(await look() !== before);
    // What is no image is said to be none; a picture that is pasted is shown.
    await page.locator("#file").setInputFiles({
      name: "x.txt",
      mimeType: "text/plain",
      buffer: new TextEncoder().encode("x") as never,
    });
    await page.getByText("x.txt is not an image").waitFor();
    await page.getByRole("radio", { name: "Compare" }).check({ force: true });
    await page.evaluate(`(async () => {
      const canvas = new OffscreenCanvas(64, 48);
      canvas.getContext("2d").fillRect(0, 0, 9, 9);
      const data = new DataTransfer();
      data.items.add(new File([await canvas.convertToBlob()], "p.png", { type: "image/png" }));
      document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data }));
    })()`);
    await page.getByText("The pasted picture, 64 × 48 px.").waitFor();
    // A phone.
    await page.setViewportSize({ width: 360, height: 640 });
    assertEquals(await page.evaluate("document.documentElement.scrollWidth"), 360);
    assertGreater((await page.locator("#photo").boundingBox())!.width, 200);
    assertEquals(faults, []);
  },
});
