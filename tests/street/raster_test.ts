import { assert, assertAlmostEquals, assertEquals } from "../_assert.ts";
import { Mesh, type Paint } from "../../lib/street/mesh.ts";
import { MASK } from "../../lib/street/noise.ts";
import { type CameraView, DepthBuffer, LightMap, lit, rasterize } from "../../lib/street/raster.ts";

const paint: Paint = { material: "plain", color: [0.5, 0.5, 0.5] };
/** Looks along +y from the origin. */
const view: CameraView = {
  center: [0, 0, 0],
  right: [1, 0, 0],
  down: [0, 0, -1],
  forward: [0, 1, 0],
  focal: 40,
  cx: 31.5,
  cy: 23.5,
};

function drawn(mesh: Mesh, step: 1 | 3 = 1): DepthBuffer {
  const buffer = new DepthBuffer(64 * step, 48 * step);
  buffer.clear(0);
  rasterize(mesh, view, buffer, step);
  return buffer;
}

Deno.test("a slanted wall has exactly the depth of its plane at every pixel's center", () => {
  const mesh = new Mesh();
  // The plane y = 8 + 0.5 x, far beyond the picture on all sides.
  mesh.face({ ...paint, twoSided: true }, [-12, 2, -30, 60, 38, -30, 60, 38, 30, -12, 2, 30]);
  for (const step of [1, 3] as const) {
    const { near, width } = drawn(mesh, step);
    for (let y = 0; y < 48; y++) {
      for (let x = 0; x < 64; x++) {
        const o = step === 1 ? y * width + x : (3 * y + 1) * width + 3 * x + 1;
        const X = (x - view.cx) / view.focal;
        assertAlmostEquals(near[o], (1 - 0.5 * X) / 8, 1e-7);
      }
    }
  }
});

Deno.test("a square covers the pixels whose centers it covers, and faces seen from behind are not drawn", () => {
  const mesh = new Mesh();
  mesh.face(paint, [-1, 10, -1, 1, 10, -1, 1, 10, 1, -1, 10, 1]);
  mesh.face(paint, [1, 9, -1, -1, 9, -1, -1, 9, 1, 1, 9, 1]);
  const { face } = drawn(mesh);
  // 40 px · ±1 m / 10 m around (31.5, 23.5): columns 28..35, rows 20..27.
  for (let y = 0; y < 48; y++) {
    for (let x = 0; x < 64; x++) {
      assertEquals(face[y * 64 + x], x >= 28 && x <= 35 && y >= 20 && y <= 27 ? 0 : -1, `pixel ${x}, ${y}`);
    }
  }
});

Deno.test("the nearer face wins in whatever order, also one with holes and one that begins behind the camera", () => {
  for (const swap of [false, true]) {
    const mesh = new Mesh();
    const far = () => mesh.face(paint, [-30, 20, -30, 30, 20, -30, 30, 20, 30, -30, 20, 30]);
    const leaves = () =>
      mesh.quad({ ...paint, mask: MASK.leaves, twoSided: true }, [
        -5,
        10,
        -5,
        5,
        10,
        -5,
        5,
        10,
        5,
        -5,
        10,
        5,
      ]);
    const ground = () => mesh.face(paint, [-30, -10, -2, 30, -10, -2, 30, 30, -2, -30, 30, -2]);
    for (const add of swap ? [ground, leaves, far] : [far, leaves, ground]) add();
    const { near, face } = drawn(mesh);
    const bottom = 47 * 64 + 31;
    assertEquals(face[bottom], swap ? 0 : 2);
    assertAlmostEquals(1 / near[bottom], 2 / ((47 - view.cy) / view.focal), 1e-4);
    let leafy = 0, through = 0;
    for (let y = 10; y < 30; y++) {
      for (let x = 20; x < 44; x++) {
        if (face[y * 64 + x] === 1) leafy++;
        else if (Math.abs(1 / near[y * 64 + x] - 20) < 1e-3) through++;
      }
    }
    assert(leafy > 100 && through > 10, `${leafy} leaves, ${through} holes`);
  }
});

Deno.test("a box throws its shadow where the sun says, and hides sky close to it", () => {
  const mesh = new Mesh();
  mesh.face(paint, [-50, -50, 0, 50, -50, 0, 50, 50, 0, -50, 50, 0]);
  mesh.box(paint, [-1, -1, 0], [1, 1, 2]);
  const s = Math.SQRT1_2;
  // The sun stands 45° high in the east: the shadow of 2 m lies from x = -1 to x = -3.
  const sun = new LightMap([s, 0, s], 256, 0.05);
  sun.draw(mesh, 0, 0, 0, true);
  const lightAt = (pointAndNormal: number[], bias: number) => {
    lit.set(pointAndNormal);
    return sun.lit(bias);
  };
  assertEquals(lightAt([-2, 0, 0, 0, 0, 1], 0.02), 0);
  assertEquals(lightAt([-2.9, 0.8, 0, 0, 0, 1], 0.02), 0);
  assertEquals(lightAt([-3.2, 0, 0, 0, 0, 1], 0.02), 1);
  assertEquals(lightAt([2, 0, 0, 0, 0, 1], 0.02), 1);
  assertEquals(lightAt([-2, 1.2, 0, 0, 0, 1], 0.02), 1);
  assertEquals(lightAt([1.05, 0, 1, 1, 0, 0], 0.02), 1, "the sunny side");
  assertEquals(lightAt([40, 0, 0, 0, 0, 1], 0.02), -1, "outside");
  const above = new LightMap([0, 0, 1], 128, 0.2);
  above.draw(mesh, 0, 0, 0, true);
  const skyAt = (point: number[]) => {
    lit.set(point);
    return above.openness();
  };
  assertEquals(skyAt([6, 0, 0]), 1);
  assert(skyAt([1.02, 0, 0]) < 0.85);
});
