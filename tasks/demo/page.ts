/**
 * The demo's page: a photograph, its depth beside it, in meters under the pointer, and in space.
 *
 * @module
 */
/// <reference lib="dom" />
import "@tensorflow/tfjs-backend-webgl";
import "@tensorflow/tfjs-backend-webgpu";
import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import * as tf from "@tensorflow/tfjs-core";
import { colorAt, disparityScale, mapToRgb } from "../../lib/charts/colormap.ts";
import { centerPoints, paintPoints, turnPoints } from "../../lib/charts/turn.ts";
import { depthFromDisparity } from "../../lib/geometry/camera.ts";
import { type BrowserStudent, type DepthMap, loadStudent, toImageData } from "../../lib/predict/browser.ts";

const BACKENDS = { webgpu: "WebGPU", webgl: "WebGL", wasm: "WebAssembly" } as const;
type Backend = keyof typeof BACKENDS;
/** The longer side of what is shown, px: more is slow in space and no sharper, the network sees less. */
const LARGEST = 1600;
const POINTS = 200_000;

const find = <E extends HTMLElement = HTMLElement>(id: string) => document.getElementById(id) as E;
const stage = find("stage"), split = find<HTMLInputElement>("split"), probe = find("probe");
const photo = find<HTMLCanvasElement>("photo"), map = find<HTMLCanvasElement>("depth");
const space = find<HTMLCanvasElement>("space"), video = document.createElement("video");
const angle = find<HTMLInputElement>("view-angle"), backends = find<HTMLSelectElement>("backend");

let student: BrowserStudent | undefined, bytes: Uint8Array<ArrayBuffer>, depth: DepthMap | undefined;
/** What is shown; counts up, so that what comes late is not. */
let shown: [ImageBitmapSource, string] | undefined, turn = 0, stream: MediaStream | undefined, pace = 0;
const eye = { yaw: 10, pitch: 6, zoom: 1 };

/** Only what changed, so that it is not read out again. */
const say = (text: string) =>
  void (find("status").textContent === text || (find("status").textContent = text));
const meters = (m: number) => `${m < 10 ? m.toFixed(1) : m < 1000 ? Math.round(m) : "over 1000"} m`;

// ---- What computes

/** Renderers that only imitate a graphics processor: a hundred times slower than WebAssembly. */
const SOFTWARE = /swiftshader|llvmpipe|software|basic render/i;

/** Whether a backend is worth trying. */
async function isFast(backend: Backend): Promise<boolean> {
  if (backend === "wasm") return true;
  if (backend === "webgl") {
    const gl = new OffscreenCanvas(1, 1).getContext("webgl2", { failIfMajorPerformanceCaveat: true });
    const names = gl?.getExtension("WEBGL_debug_renderer_info");
    return !!gl && !SOFTWARE.test(names ? gl.getParameter(names.UNMASKED_RENDERER_WEBGL) : "");
  }
  const { gpu } = navigator as unknown as { gpu?: { requestAdapter(): Promise<Adapter | null> } };
  const info = (await gpu?.requestAdapter())?.info;
  return !!info && !info.isFallbackAdapter && !SOFTWARE.test(`${info.architecture} ${info.description}`);
}

/** What of a GPUAdapter is used here. */
interface Adapter {
  readonly info: {
    readonly architecture: string;
    readonly description: string;
    readonly isFallbackAdapter?: boolean;
  };
}

/** Loads the student on the first of the backends that works. */
async function start(wanted: readonly Backend[]): Promise<void> {
  for (const backend of wanted) {
    try {
      if (!await tf.setBackend(backend)) continue;
      const loaded = await loadStudent(tf, bytes);
      await loaded.predict(new ImageData(8, 8)); // compiles
      student?.dispose();
      student = loaded;
      backends.value = backend;
      return;
    } catch (error) {
      console.warn(`${BACKENDS[backend]} does not work here:`, error);
    }
  }
  throw new Error("neither WebGPU nor WebGL nor WebAssembly works in this browser");
}

// ---- Pictures

/** Shows a picture and its depth; a later call overtakes an earlier one. */
async function show(source: ImageBitmapSource, name: string): Promise<void> {
  const mine = ++turn;
  stage.ariaBusy = String(stream === undefined);
  const whole = await createImageBitmap(source);
  const shrink = Math.min(1, LARGEST / Math.max(whole.width, whole.height));
  const [width, height] = [whole.width, whole.height].map((size) => Math.max(1, Math.round(size * shrink)));
  const bitmap = shrink === 1
    ? whole
    : await createImageBitmap(whole, { resizeWidth: width, resizeHeight: height, resizeQuality: "high" });
  const started = performance.now();
  const focalPx = angle.value ? width / 2 / Math.tan(Number(angle.value) * Math.PI / 360) : undefined;
  const camera = focalPx ? { focalPx, source: "from the field of view" } : undefined;
  const predicted = await student!.predict(bitmap, { name, camera });
  const took = performance.now() - started;
  if (mine !== turn) return;
  pace = stream && pace ? 0.9 * pace + 0.1 * took : took;
  depth = predicted;
  shown = [source, name];
  stage.style.setProperty("--aspect", String(width / height));
  if (photo.width !== width || photo.height !== height) [photo.width, photo.height] = [width, height];
  photo.getContext("2d")!.drawImage(bitmap, 0, 0);
  bitmap.close();
  // In the network's own size: the page smooths it.
  const colors = toImageData(mapToRgb(depth.prediction, disparityScale(depth.range[1] / width)));
  [map.width, map.height] = [colors.width, colors.height];
  map.getContext("2d")!.putImageData(colors, 0, 0);
  drawScale();
  stage.ariaBusy = "false";
  find("basis").textContent = `${depth.basis[0].toUpperCase()}${depth.basis.slice(1)}.`;
  find("speed").textContent = `${BACKENDS[backends.value as Backend]}, ${
    pace.toFixed(pace < 10 ? 1 : 0)
  } ms per frame`;
  say(`${name}, ${width} × ${height} px.`);
  if (!probe.hidden) readOut();
  if (!space.hidden) await drawSpace();
}

/** The color scale, with depths that are round numbers. */
function drawScale(): void {
  const { camera, range: [, most], size: { width } } = depth!, scale = find("scale");
  const stops = Array.from({ length: 17 }, (_, i) => `rgb(${colorAt("magma", i / 16)})`);
  scale.style.backgroundImage = `linear-gradient(to right, ${stops})`;
  const nearest = camera && depthFromDisparity(most / width, camera);
  const rounds = [0.5, 1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 100, 200].map((m) => [m, (nearest ?? 0) / m]);
  const ticks: [number, number][] = [];
  for (const [m, at] of rounds) {
    if (at <= 1 && at > 0.1 && (ticks.at(-1)?.[1] ?? 2) - at > 0.12) ticks.push([m, at]);
  }
  const texts = nearest
    ? [["far", 0], ...ticks.map(([m, at]) => [`${m} m`, at])]
    : [["far", 0], ["near", 0.97]];
  scale.replaceChildren(...texts.map(([text, at]) => {
    const tick = document.createElement("span");
    tick.textContent = String(text);
    tick.style.left = `${100 * Number(at)}%`;
    return tick;
  }));
  scale.ariaLabel = `Color scale, from dark to bright: ${texts.map(([text]) => text).join(", ")}`;
}

/** The depth at a place, from 0 to 1 either way, in words. */
function depthAt(x: number, y: number): string {
  const { prediction: { data, width, height }, camera } = depth!;
  const pixel = (at: number, size: number) => Math.min(size - 1, Math.floor(at * size));
  const d = data[pixel(y, height) * width + pixel(x, width)];
  return camera ? meters(depthFromDisparity(d, camera)) : `${(100 * d).toFixed(1)} % of the width`;
}

const place = { x: 0.5, y: 0.5 };

/** Puts the probe where `place` is. @returns The depth there, in words. */
function readOut(): string {
  const text = depthAt(place.x, place.y);
  probe.hidden = false;
  probe.style.left = `${100 * place.x}%`;
  probe.style.top = `${100 * place.y}%`;
  probe.style.setProperty("--shift", `${-100 * Math.min(0.95, Math.max(0.05, place.x))}%`);
  probe.classList.toggle("below", place.y < 0.2);
  probe.querySelector("b")!.textContent = text;
  return text;
}

async function drawSpace(): Promise<void> {
  if (!depth?.camera) return say("The rig that this network was trained with is not known: no 3-D view.");
  const scale = Math.min(2, devicePixelRatio);
  [space.width, space.height] = [stage.clientWidth, stage.clientHeight].map((size) =>
    Math.round(size * scale)
  );
  turnPoints(space, centerPoints(await depth.points({ points: POINTS })), eye, paintPoints);
}

// ---- Where pictures come from

async function open(file: Blob | undefined | null, name = "The photo"): Promise<void> {
  if (!file) return;
  stopCamera();
  try {
    await show(file, name);
  } catch {
    stage.ariaBusy = "false";
    say(`${name} is not an image that this browser can read.`);
  }
}

const openSample = async () => await open(await (await fetch("sample.jpg")).blob(), "A rendered street");

function stopCamera(): void {
  stream?.getTracks().forEach((track) => track.stop());
  stream = undefined;
  find("camera").ariaPressed = "false";
}

async function startCamera(): Promise<void> {
  try {
    const wanted = { facingMode: "environment", width: { ideal: 960 } };
    stream = video.srcObject = await navigator.mediaDevices.getUserMedia({ video: wanted });
  } catch {
    return say("The camera cannot be used: it is absent, busy, or not allowed for this page.");
  }
  pace = 0;
  find("camera").ariaPressed = "true";
  video.playsInline = video.muted = true;
  await video.play();
  while (stream) {
    await show(video, "Camera");
    await new Promise(requestAnimationFrame);
  }
}

// ---- What people do

split.oninput = () => stage.style.setProperty("--split", `${split.value}%`);
photo.onpointermove = photo.onpointerdown = ({ offsetX, offsetY }) => {
  if (!depth) return;
  [place.x, place.y] = [offsetX / photo.clientWidth, offsetY / photo.clientHeight].map((v) =>
    Math.min(1, Math.max(0, v))
  );
  readOut();
};
photo.onpointerleave = ({ pointerType }) => probe.hidden = pointerType === "mouse";
photo.onkeydown = (event) => {
  const step = event.shiftKey ? 0.1 : 0.02;
  const moves: Record<string, readonly number[]> = {
    ArrowLeft: [-step, 0],
    ArrowRight: [step, 0],
    ArrowUp: [0, -step],
    ArrowDown: [0, step],
  };
  const move = moves[event.key];
  if (!move || !depth) return;
  event.preventDefault();
  if (!probe.hidden) {
    [place.x, place.y] = [place.x + move[0], place.y + move[1]].map((v) => Math.min(1, Math.max(0, v)));
  }
  find("said").textContent = readOut();
};
find<HTMLInputElement>("file").onchange = ({ target }) => {
  const input = target as HTMLInputElement;
  open(input.files?.[0], input.files?.[0]?.name);
  input.value = "";
};
find("sample").onclick = openSample;
find("camera").onclick = () => stream ? stopCamera() : startCamera();
for (const choice of document.querySelectorAll<HTMLInputElement>("[name=view]")) {
  choice.onchange = async () => {
    const inSpace = choice.value === "space";
    stage.classList.toggle("space", inSpace);
    space.hidden = !inSpace;
    photo.hidden = map.hidden = split.hidden = inSpace;
    probe.hidden = true;
    if (inSpace) await drawSpace();
  };
}
document.onpaste = ({ clipboardData }) => open(clipboardData?.files[0], "The pasted picture");
document.ondragover = (event) => {
  event.preventDefault();
  stage.classList.add("dropping");
};
document.ondragleave = ({ relatedTarget }) => relatedTarget ?? stage.classList.remove("dropping");
document.ondrop = (event) => {
  event.preventDefault();
  stage.classList.remove("dropping");
  open(event.dataTransfer?.files[0], event.dataTransfer?.files[0]?.name);
};
angle.onchange = () => shown && !stream && show(...shown);
backends.onchange = async () => {
  stopCamera();
  const backend = backends.value as Backend;
  say(`Starting ${BACKENDS[backend]}…`);
  await start([backend, "wasm"]);
  if (shown) await show(...shown);
};
onresize = () => space.hidden || drawSpace();

try {
  setWasmPaths(new URL("./", location.href).href);
  const response = await fetch("model.safetensors");
  bytes = new Uint8Array(await response.arrayBuffer());
  backends.append(...Object.entries(BACKENDS).map(([value, text]) => new Option(text, value)));
  const fast: Backend[] = [];
  for (const backend of Object.keys(BACKENDS) as Backend[]) if (await isFast(backend)) fast.push(backend);
  await start(fast);
  const { name, architecture, size, data, license, rig } = student!.info;
  find("model").textContent =
    `Network “${name}” (${architecture}, sees ${size.width} × ${size.height} px), trained on ` +
    `${data}; license: ${license}. It knows scenes like those and guesses elsewhere.`;
  if (rig) angle.placeholder = String(Math.round(2 * Math.atan(0.5 / rig.focal) * 180 / Math.PI));
  await openSample();
  // For the console.
  Object.assign(globalThis, {
    cyclops: {
      student,
      get depth() {
        return depth;
      },
    },
  });
} catch (error) {
  stage.ariaBusy = "false";
  say(`Cannot start: ${error instanceof Error ? error.message : error}.`);
}
