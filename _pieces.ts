const root = "file:///tmp/w/engine/lib/";
const { selectBackend, currentBinding } = await import(root + "backend/select.ts");
const { tf } = await import(root + "backend/tf.ts");
const { compile } = await import(root + "backend/compile.ts");
const { warp } = await import(root + "geometry/warp.ts");
const { photometricLoss } = await import(root + "losses/photometric.ts");
const { smoothnessLoss, edgeWeights } = await import(root + "losses/smoothness.ts");
await selectBackend({ backend: "tensorflow" });
const B = 8, H = 64, W = 192;
const cpu = () => { const s = Deno.readTextFileSync("/proc/self/stat").split(") ")[1].split(" "); return (+s[11] + +s[12]) * 10; };
export function bench(name: string, fn: () => void, n = 30) {
  fn(); fn(); const ts: number[] = []; const c0 = cpu();
  for (let i = 0; i < n; i++) { const t = performance.now(); fn(); ts.push(performance.now() - t); }
  const c = (cpu() - c0) / n; ts.sort((a, b) => a - b);
  console.log(name.padEnd(40), "min", ts[0].toFixed(2), "median", ts[n >> 1].toFixed(2), "cpu", c.toFixed(2));
}
const rnd = (shape: number[], seed: number, lo = 0, hi = 1) => tf.randomUniform(shape, lo, hi, "float32", seed);
const I = rnd([B, H, W, 3], 1), J = rnd([B, H, W, 3], 2), D = rnd([B, H, W, 1], 3, 0, 0.2);
const run = (f: any) => () => tf.tidy(() => { const o = f(); (Array.isArray(o) ? o : [o]).map((t: any) => t.dataSync()); });
const nodes = (f: any) => Object.values(f.traces[0].operations).reduce((a: any, b: any) => a + b, 0);
function piece(name: string, f: any, inputs: any[]) {
  const g = (...x: any[]) => tf.tidy(() => { const { value, grads } = tf.valueAndGrads((...y: any[]) => tf.sum(f(...y)))(x); return [value, ...grads]; });
  const h = () => tf.tidy(() => { const o = g(...inputs); (o as any[]).map((t) => t.dataSync()); });
  bench(name + " eager host", h);
  const c = compile(g as any);
  const k = () => tf.tidy(() => { const o = (c as any)(...inputs); o.map((t: any) => t.dataSync()); });
  k();
  bench(name + ` compiled (${nodes(c)} nodes)`, k);
}
piece("warp d,I", (i: any, d: any) => warp(i, d, "left"), [I, D]);
piece("warp d", (d: any) => warp(I, d, "left"), [D]);
piece("photometric", (i: any) => photometricLoss(i, J), [I]);
const E = edgeWeights(I);
piece("smoothness", (d: any) => smoothnessLoss(d, E), [D]);
if (Deno.env.get("XLA")) {
  const b = currentBinding() as any; const real = b.executeOp; let on = false;
  b.executeOp = (n: string, a: any, i: any, o: any) => real(n, on && /_\d+$/.test(n) ? [...a, { name: "_XlaMustCompile", type: 3, value: true }] : a, i, o);
  const px = (name: string, f: any, inputs: any[]) => {
    const g = (...x: any[]) => tf.tidy(() => { const { value, grads } = tf.valueAndGrads((...y: any[]) => tf.sum(f(...y)))(x); return [value, ...grads]; });
    const c = compile(g as any); on = true;
    const k = () => tf.tidy(() => { const o = (c as any)(...inputs); o.map((t: any) => t.dataSync()); });
    try { const t = performance.now(); k(); console.log("xla compile", (performance.now() - t).toFixed(0)); bench(name + " XLA", k); } catch (e) { console.log(name, String(e).slice(0, 300)); } on = false;
  };
  px("warp d", (d: any) => warp(I, d, "left"), [D]);
  px("warp d,I", (i: any, d: any) => warp(i, d, "left"), [I, D]);
  px("photometric", (i: any) => photometricLoss(i, J), [I]);
  px("smoothness", (d: any) => smoothnessLoss(d, E), [D]);
  const wm = (x: any) => { const [b, h, w, c] = x.shape; const r = tf.add(tf.add(tf.slice(x, [0, 0, 0, 0], [b, h - 2, w, c]), tf.slice(x, [0, 1, 0, 0], [b, h - 2, w, c])), tf.slice(x, [0, 2, 0, 0], [b, h - 2, w, c])); return tf.div(tf.add(tf.add(tf.slice(r, [0, 0, 0, 0], [b, h - 2, w - 2, c]), tf.slice(r, [0, 0, 1, 0], [b, h - 2, w - 2, c])), tf.slice(r, [0, 0, 2, 0], [b, h - 2, w - 2, c])), 9); };
  const ss = (a: any, b: any) => { const ma = wm(a), mb = wm(b), mab = tf.mul(ma, mb), sq = tf.add(tf.square(ma), tf.square(mb)), cov = tf.sub(wm(tf.mul(a, b)), mab), va = tf.sub(wm(tf.add(tf.square(a), tf.square(b))), sq); return tf.div(tf.mul(tf.add(tf.mul(mab, 2), 1e-4), tf.add(tf.mul(cov, 2), 9e-4)), tf.mul(tf.add(sq, 1e-4), tf.add(va, 9e-4))); };
  px("photometric slices", (i: any) => tf.add(tf.mul(tf.mean(ss(i, J)), -0.425), tf.mul(tf.mean(tf.abs(tf.sub(i, J))), 0.15)), [I]);
  piece("photometric slices", (i: any) => tf.add(tf.mul(tf.mean(ss(i, J)), -0.425), tf.mul(tf.mean(tf.abs(tf.sub(i, J))), 0.15)), [I]);
}
