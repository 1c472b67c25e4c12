import { assert, assertEquals, assertNotMatch, assertRejects, assertStringIncludes } from "../_assert.ts";
import { CyclopsError } from "../../lib/base/errors.ts";
import { Chart } from "../../lib/charts/chart.ts";
import { JUPYTER_DISPLAY } from "../../lib/charts/display.ts";
import { decodeRgb } from "../../lib/data/image.ts";

function points(title: string): Chart {
  return new Chart({
    title,
    width: 200,
    height: 100,
    data: { values: [{ x: 1, y: 0.005, name: "a <b>" }, { x: 2, y: 0.0125, name: "c & d" }] },
    mark: "point",
    encoding: {
      x: { field: "x", type: "quantitative" },
      y: { field: "y", type: "quantitative" },
      color: { field: "name", type: "nominal" },
    },
  }, title);
}

Deno.test("the same specification gives the same SVG, drawn alone or among others", async () => {
  const alone = await points("one").svg();
  const [a, , c] = await Promise.all([points("one").svg(), points("two").png(), points("one").svg()]);
  assertEquals(a, alone);
  assertEquals(c, alone);
});

Deno.test("labels keep all their digits and are escaped", async () => {
  const svg = await points("x < y & z").svg();
  assertStringIncludes(svg, ">0.005<");
  assertStringIncludes(svg, ">a &lt;b&gt;<");
  assertStringIncludes(svg, 'aria-label="x &#60; y &#38; z"');
});

Deno.test("an inherited SVG takes the page's color and has no ground of its own", async () => {
  const own = await points("one").svg(), inherited = await points("one").svg({ inherit: true });
  assertStringIncludes(own, 'fill="white"');
  assertNotMatch(inherited, /fill="white"|#1c2028/);
  assertStringIncludes(inherited, "currentColor");
});

Deno.test("a chart's PNG has the SVG's size times its scale", async () => {
  const svg = await points("one").svg();
  const [width, height] = ["width", "height"].map((name) =>
    Number(svg.match(new RegExp(` ${name}="(\\d+)"`))![1])
  );
  const image = await decodeRgb(await points("one").png(2));
  assertEquals([image.width, image.height], [2 * width, 2 * height]);
  assert(image.data.some((value) => value < 60), "something is drawn");
});

Deno.test("a chart shows itself as Vega-Lite, PNG and plain text", async () => {
  const bundle = await points("one")[JUPYTER_DISPLAY]();
  assertEquals(Object.keys(bundle), ["application/vnd.vegalite.v5+json", "image/png", "text/plain"]);
  assertEquals(bundle["text/plain"], "one (chart)");
  const spec = bundle["application/vnd.vegalite.v5+json"] as Record<string, unknown>;
  assertStringIncludes(String(spec.$schema), "vega-lite/v5");
  assertEquals(spec, JSON.parse(JSON.stringify(spec)));
});

Deno.test("a specification that is none is refused by name, and the next chart is drawn all the same", async () => {
  const broken = new Chart({ mark: "point", data: { values: [] }, layer: 3 }, "broken");
  await assertRejects(() => broken.svg(), CyclopsError, 'Cannot draw the chart "broken"');
  assertStringIncludes(await points("after").svg(), "after");
});
