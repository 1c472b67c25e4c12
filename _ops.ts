const root = "file:///tmp/w/engine/lib/";
const { selectBackend } = await import(root + "backend/select.ts");
const { tf } = await import(root + "backend/tf.ts");
const { attr, execute } = await import(root + "backend/native.ts");
await selectBackend({ backend: "tensorflow" });
const cpu = () => { const s = Deno.readTextFileSync("/proc/self/stat").split(") ")[1].split(" "); return (+s[11] + +s[12]) * 10; };
function bench(name: string, fn: () => any, n = 60) {
  const one = () => tf.tidy(() => { fn(); return 0; }) as any;
  for (let i = 0; i < 5; i++) tf.tidy(() => { fn(); }); const ts: number[] = []; const c0 = cpu();
  for (let i = 0; i < n; i++) { const t = performance.now(); tf.tidy(() => { fn(); }); ts.push(performance.now() - t); }
  const c = (cpu() - c0) / n; ts.sort((a, b) => a - b);
  console.log(name.padEnd(40), "min", ts[0].toFixed(3), "median", ts[n >> 1].toFixed(3), "cpu", c.toFixed(2));
}
const rnd = (s: number[], k = 1) => tf.randomUniform(s, 0, 1, "float32", k);
const B = 8, H = 64, W = 192;
const a = rnd([B, H, W, 3]), b = rnd([B, H, W, 3], 2), c12 = rnd([B, H, W, 12], 3), c1 = rnd([B, H, W, 1], 4);
const p3 = rnd([B, 3, H, W], 5);
bench("mul 3ch", () => tf.mul(a, b));
bench("mul scalar", () => tf.mul(a, 2));
bench("mul 1ch", () => tf.mul(c1, c1));
bench("mul 3ch broadcast 1ch", () => tf.mul(a, c1));
bench("abs", () => tf.abs(a));
bench("sign", () => tf.sign(a));
bench("div", () => tf.div(a, b));
bench("mean all", () => tf.mean(a));
bench("mean ch", () => tf.mean(a, 3, true));
bench("sum hw", () => tf.sum(a, [1, 2]));
bench("sum ch", () => tf.sum(a, 3, true));
bench("concat 4x3ch axis3", () => tf.concat([a, b, a, b], 3));
bench("concat 4x3ch axis0", () => tf.concat([a, b, a, b], 0));
bench("split 12 ->4x3 axis3", () => tf.split(c12, 4, 3));
bench("slice h", () => tf.slice(a, [0, 1, 0, 0], [B, H - 2, W, 3]));
bench("slice w", () => tf.slice(a, [0, 0, 1, 0], [B, H, W - 2, 3]));
bench("pad", () => tf.pad(a, [[0, 0], [2, 2], [2, 2], [0, 0]]));
bench("avgpool3 3ch", () => tf.avgPool(a, 3, 1, "valid"));
bench("avgpool3 12ch", () => tf.avgPool(c12, 3, 1, "valid"));
bench("avgpool3 1ch", () => tf.avgPool(c1, 3, 1, "valid"));
bench("avgpool2/2 3ch", () => tf.avgPool(a, 2, 2, "valid"));
const F = attr.type("T", "float32");
const pool = (x: any, k: number[], s: number[], df = "NHWC", pad = "VALID") => execute("AvgPool", [F, attr.int("ksize", k), attr.int("strides", s), attr.string("padding", pad), attr.string("data_format", df)], [x])[0];
bench("avgpool NCHW", () => pool(p3, [1, 1, 3, 3], [1, 1, 1, 1], "NCHW"));
// channels-last view with W*C... treat [B*H? ] rows: [B, H, W*3, 1]: vertical window via pool [3,1]
const v = tf.reshape(a, [B, H, 1, W * 3]);
bench("avgpool [3,1] on [B,H,1,W*C]", () => pool(v, [1, 3, 1, 1], [1, 1, 1, 1]));
const k3 = tf.ones([3, 3, 3, 1]);
bench("depthwise 3x3 3ch", () => tf.depthwiseConv2d(a as any, k3 as any, 1, "valid"));
const k33 = tf.randomUniform([3, 3, 3, 3]);
bench("conv2d 3x3 3->3", () => tf.conv2d(a as any, k33 as any, 1, "valid"));
const k12 = tf.randomUniform([3, 3, 12, 12]);
bench("conv2d 3x3 12->12", () => tf.conv2d(c12 as any, k12 as any, 1, "valid"));
const ga = rnd([B, H - 2, W - 2, 3]);
bench("avgpoolgrad 3ch", () => execute("AvgPoolGrad", [F, attr.int("ksize", [1, 3, 3, 1]), attr.int("strides", [1, 1, 1, 1]), attr.string("padding", "VALID"), attr.string("data_format", "NHWC")], [tf.tensor1d([B, H, W, 3], "int32"), ga]));
const mat = rnd([W, W], 9);

bench("matmul W band", () => tf.matMul(tf.reshape(p3, [B * H * 3, W]) as any, mat as any));
bench("transpose NHWC->NCHW", () => tf.transpose(a, [0, 3, 1, 2]));
const idx = tf.randomUniform([B * H * W], 0, B * H * W, "int32"), ordered = tf.range(0, B * H * W, 1, "int32");
const flat = tf.reshape(a, [B * H * W, 3]);
bench("gather rows 3ch", () => tf.gather(flat, ordered));
bench("gather rows 1ch", () => tf.gather(tf.reshape(c1, [B * H * W, 1]), ordered));
bench("segsum 3ch", () => tf.unsortedSegmentSum(flat, ordered as any, B * H * W));
bench("segsum 1ch", () => tf.unsortedSegmentSum(tf.reshape(c1, [B * H * W, 1]), ordered as any, B * H * W));
bench("cast f->i", () => tf.cast(c1, "int32"));
bench("floor", () => tf.floor(c1));
bench("exp 1ch", () => tf.exp(c1));
bench("sqdiff", () => tf.squaredDifference(a, b));
bench("fill", () => tf.fill([B, H, W, 3], 0));
const d1 = rnd([B, H - 2, W - 2, 3]);
bench("pad+pool instead of grad", () => tf.avgPool(tf.pad(d1 as any, [[0, 0], [2, 2], [2, 2], [0, 0]]) as any, 3, 1, "valid"));
const l = rnd([1, H, W, B * 3]);
bench("avgpool [1,H,W,24]", () => tf.avgPool(l as any, 3, 1, "valid"));

var rnd48 = rnd([1, H, W, 48]);

var rnd96 = rnd([1, H, W, 96]);
bench("transpose BHW3 -> HWB3", () => tf.transpose(tf.reshape(a, [B, H * W, 3]), [1, 0, 2]));
bench("transpose BHW -> HWB", () => tf.transpose(tf.reshape(c1, [B, H * W]), [1, 0]));
bench("avgpool [1,H,W,48]", () => tf.avgPool(rnd48 as any, 3, 1, "valid"));
bench("avgpool [1,H,W,96]", () => tf.avgPool(rnd96 as any, 3, 1, "valid"));
