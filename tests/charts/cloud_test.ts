import { assert, assertAlmostEquals, assertEquals, assertNotMatch, assertThrows } from "../_assert.ts";
import { JUPYTER_DISPLAY } from "../../lib/charts/display.ts";
import { PointCloud, pointCloud } from "../../lib/charts/cloud.ts";
import { DepthProbe } from "../../lib/charts/probe.ts";
import { decodeRgb } from "../../lib/data/image.ts";

const camera = {
  focalPx: 100,
  baselineM: 0.5,
  centerPx: { x: 31.5, y: 15.5 },
  imageSize: { width: 64, height: 32 },
};
const image = {
  width: 64,
  height: 32,
  data: Uint8Array.from({ length: 64 * 32 * 3 }, (_, i) => i % 3 * 80 + 40),
};

/** 100 · 0.5 / (0.078125 · 64) = 10 m. */
const TEN_METRES = 0.078125;

function constant(value: number) {
  return { width: 64, height: 32, data: new Float32Array(64 * 32).fill(value) };
}

Deno.test("each pixel lies where its depth and the camera put it", () => {
  const cloud = pointCloud(image, constant(TEN_METRES), camera, { points: 1e6 });
  assertEquals(cloud.count, 64 * 32);
  assertAlmostEquals(cloud.positions[0], (0 - 31.5) * 10 / 100, 1e-5);
  assertAlmostEquals(cloud.positions[1], (0 - 15.5) * 10 / 100, 1e-5);
  assertAlmostEquals(cloud.positions[2], 10, 1e-5);
  assertEquals([...cloud.colors.subarray(0, 3)], [40, 120, 200]);
});

Deno.test("a thinned cloud covers the same space, and maps of other sizes are fine", () => {
  const cloud = pointCloud(
    image,
    { width: 16, height: 8, data: new Float32Array(128).fill(TEN_METRES) },
    camera,
    {
      points: 500,
    },
  );
  assert(cloud.count > 350 && cloud.count < 650, `${cloud.count} points`);
  const x = cloud.positions.filter((_, i) => i % 3 === 0);
  assert(Math.abs(Math.min(...x) + 3.1) < 0.15 && Math.abs(Math.max(...x) - 3.1) < 0.15);
});

Deno.test("points too far away, without depth or hanging between two things are left out", () => {
  const map = constant(TEN_METRES);
  map.data.fill(0, 0, 64); // no depth
  map.data.fill(0.001, 64, 128); // 781 m
  for (let v = 2; v < 32; v++) map.data.fill(2 * TEN_METRES, v * 64 + 32, v * 64 + 64); // a step at column 32
  const cloud = pointCloud(image, map, camera, { points: 1e6 });
  assertEquals(cloud.count, 30 * 63);
});

Deno.test("PLY holds every point with y up, and nothing else", () => {
  const bytes = new PointCloud(Float32Array.from([1, 2, 3, 4, 5, 6]), Uint8Array.from([1, 2, 3, 4, 5, 6]))
    .ply();
  const end = "end_header\n";
  const head = new TextDecoder("latin1").decode(bytes);
  const at = head.indexOf(end) + end.length;
  assert(head.startsWith("ply\nformat binary_little_endian 1.0\n"));
  assert(head.includes("element vertex 2\n"));
  assertEquals(bytes.length - at, 30);
  const view = new DataView(bytes.buffer, at);
  assertEquals([0, 4, 8].map((k) => view.getFloat32(15 + k, true)), [4, -5, -6]);
  assertEquals([...bytes.subarray(at + 27)], [4, 5, 6]);
  assertThrows(() => new PointCloud(new Float32Array(6), new Uint8Array(3)), RangeError, "3 color values");
});

Deno.test("the picture shows a near point before a far one, and turns with the view", () => {
  const cloud = new PointCloud(
    Float32Array.from([0, 0, 10, 0, 0, 20, 0, 0, 15]),
    Uint8Array.from([255, 0, 0, 0, 255, 0, 0, 0, 255]),
    "three",
    0.1,
  );
  const front = cloud.picture({ yaw: 0, pitch: 0 }, { width: 200, height: 100 }).image;
  const at = (x: number, y: number) => [...front.data.subarray((y * 200 + x) * 3, (y * 200 + x) * 3 + 3)];
  assertEquals(at(100, 50), [255, 0, 0]);
  const has = (yaw: number, color: readonly number[]) => {
    const { data } = cloud.picture({ yaw, pitch: 0 }, { width: 200, height: 100 }).image;
    for (let i = 0; i < data.length; i += 3) {
      if (color.every((value, c) => data[i + c] === value)) return i / 3 % 200;
    }
    return undefined;
  };
  assertEquals(has(0, [0, 255, 0]), undefined);
  // Seen from the right, what is far stands to the right of what is near.
  assert(has(40, [0, 255, 0])! > has(40, [255, 0, 0])!);
});

Deno.test("cloud and probe show themselves interactively, load nothing and bring a still picture", async () => {
  const cloud = pointCloud(image, constant(TEN_METRES), camera, { title: "a </script> <b>" });
  const probe = new DepthProbe({ image, disparity: constant(TEN_METRES), camera, title: "a </script> <b>" });
  for (const shown of [cloud, probe]) {
    const bundle = await shown[JUPYTER_DISPLAY]();
    assertEquals(Object.keys(bundle), ["text/html", "image/png", "text/plain"]);
    const html = bundle["text/html"] as string;
    assertNotMatch(html, /https?:\/\/|<link|@import|<b>/i);
    assertEquals(html.match(/<script>/g)?.length, html.match(/<\/script>/g)?.length);
    assertEquals(html, (await shown[JUPYTER_DISPLAY]())["text/html"]);
    const still = await decodeRgb(Uint8Array.fromBase64(bundle["image/png"] as string));
    assert(still.width > 300);
    // The script is written as text: it must at least be one function.
    const script = html.match(/<script>\((function[\s\S]*)\)\("/)![1];
    assertEquals(typeof new Function(`return ${script}`)(), "function");
  }
});

Deno.test("the probe's depth is the camera's, and its packed values give it back", async () => {
  const disparity = constant(TEN_METRES);
  disparity.data[0] = TEN_METRES / 2;
  const probe = new DepthProbe({ image, disparity, camera, width: 64 });
  assertAlmostEquals(probe.depthAt(0, 0), 20, 1e-4);
  assertAlmostEquals(probe.depthAt(40.7, 20.2), 10, 1e-4);
  const html = await probe.html();
  const data = JSON.parse(html.match(/\)\("probe-[0-9a-f]+",(\{.*\})\)<\/script>/)![1]);
  const packed = await decodeRgb(Uint8Array.fromBase64(data.values.split(",")[1]));
  const value = (i: number) => (packed.data[i * 3] * 256 + packed.data[i * 3 + 1]) * data.top;
  assertAlmostEquals(data.meters / value(0), 20, 0.02);
  assertAlmostEquals(data.meters / value(5), 10, 0.01);
});
