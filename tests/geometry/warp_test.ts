import { assert, assertEquals, assertLess, assertThrows } from "../_assert.ts";
import { selectBackend, type Tensor4D, tf } from "../../lib/backend/mod.ts";
import { mirror, warp } from "../../lib/geometry/warp.ts";
import { checkGradients } from "../_finite_differences.ts";
import { distance, uniform } from "../_tensors.ts";

await selectBackend();

const row = (values: number[]) => tf.tensor4d(values, [1, 1, values.length, 1]);
const constant = (value: number, width: number) => tf.fill([1, 1, width, 1], value) as Tensor4D;

Deno.test("left(x) is right(x - d W), right(x) is left(x + d W)", () => {
  tf.tidy(() => {
    const image = row([10, 20, 30, 40]);
    assertEquals([...warp(image, constant(1 / 4, 4), "left").dataSync()], [10, 10, 20, 30]);
    assertEquals([...warp(image, constant(1 / 4, 4), "right").dataSync()], [20, 30, 40, 40]);
  });
});

Deno.test("a fraction of a pixel mixes two neighbours, zero disparity changes nothing", () => {
  tf.tidy(() => {
    const image = row([0, 8, 16, 4]);
    assertEquals([...warp(image, constant(0.25 / 4, 4), "right").dataSync()], [2, 10, 13, 4]);
    assertEquals([...warp(image, constant(0, 4), "left").dataSync()], [0, 8, 16, 4]);
  });
});

Deno.test("beyond the image there is the edge pixel, or black", () => {
  tf.tidy(() => {
    const image = row([10, 20, 30, 40]);
    assertEquals([...warp(image, constant(0.5, 4), "left", { border: "zero" }).dataSync()], [0, 0, 10, 20]);
    assertEquals([...warp(image, constant(0.5, 4), "left", { border: "edge" }).dataSync()], [10, 10, 10, 20]);
    const half = warp(image, constant(0.5 / 4, 4), "left", { border: "zero" });
    assertEquals([...half.dataSync()], [5, 15, 25, 35]);
  });
});

Deno.test("rows and images of a batch do not mix", () => {
  tf.tidy(() => {
    const image = uniform([2, 3, 5, 2], 1);
    const disparity = uniform([2, 3, 5, 1], 2, 0, 0.6);
    const whole = warp(image, disparity, "left").dataSync();
    const parts = [0, 1].flatMap((b) =>
      [0, 1, 2].flatMap((y) => {
        const cut = (t: Tensor4D) => tf.slice4d(t, [b, y, 0, 0], [1, 1, 5, t.shape[3]]);
        return [...warp(cut(image), cut(disparity), "left").dataSync()];
      })
    );
    assertEquals([...whole], parts);
  });
});

Deno.test("mirroring and swapping the views mirrors the synthesised view", () => {
  tf.tidy(() => {
    const image = uniform([2, 4, 7, 3], 3);
    const disparity = uniform([2, 4, 7, 1], 4, 0, 0.3);
    const direct = mirror(warp(image, disparity, "left"));
    const swapped = warp(mirror(image), mirror(disparity), "right");
    assertLess(distance(direct.dataSync(), swapped.dataSync()), 1e-5);
  });
});

for (const border of ["edge", "zero"] as const) {
  Deno.test(`gradients for image and disparity, border ${border}`, () => {
    tf.tidy(() => {
      const image = uniform([2, 3, 8, 3], 5);
      // Fractional shifts from 0.3 to 0.7 px around whole ones, some beyond the edge: away from the kinks.
      const whole = tf.floor(uniform([2, 3, 8, 1], 6, 0, 5));
      const disparity = tf.div(tf.add(whole, uniform([2, 3, 8, 1], 7, 0.3, 0.7)), 8) as Tensor4D;
      for (const view of ["left", "right"] as const) {
        checkGradients(
          (i, d) => warp(i as Tensor4D, d as Tensor4D, view, { border }),
          [image, disparity],
          { step: 5e-3 },
        );
      }
    });
  });

  Deno.test(`values by definition, far beyond the edges too, border ${border}`, () => {
    tf.tidy(() => {
      const [height, width] = [5, 9];
      const image = uniform([2, height, width, 3], 8);
      const disparity = uniform([2, height, width, 1], 9, -0.2, 2);
      const [pixels, shifts] = [image.arraySync(), disparity.arraySync()];
      const at = (b: number, y: number, x: number, c: number) =>
        border === "zero" && (x < 0 || x >= width) ? 0 : pixels[b][y][Math.min(Math.max(x, 0), width - 1)][c];
      const expected = pixels.flatMap((rows, b) =>
        rows.flatMap((row, y) =>
          row.flatMap((pixel, column) =>
            pixel.map((_, c) => {
              const x = column - width * shifts[b][y][column][0];
              const left = Math.floor(x);
              return at(b, y, left, c) * (1 - x + left) + at(b, y, left + 1, c) * (x - left);
            })
          )
        )
      );
      assertLess(distance(warp(image, disparity, "left", { border }).dataSync(), expected), 1e-5);
    });
  });
}

Deno.test("a disparity that is not a number gives values that are not, instead of an error", () => {
  tf.tidy(() => {
    const disparity = tf.tensor4d([0, NaN, Infinity, -Infinity], [1, 1, 4, 1]);
    const values = warp(uniform([1, 1, 4, 3], 8), disparity, "left").dataSync();
    assert(values.slice(3, 6).every(Number.isNaN));
  });
});

Deno.test("a disparity of another shape is refused, naming both", () => {
  const error = assertThrows(
    () => warp(uniform([1, 2, 4, 3], 1), uniform([1, 2, 3, 1], 1), "left"),
    RangeError,
  );
  assert(error.message.includes("[1,2,4,3]") && error.message.includes("[1,2,3,1]"));
});
