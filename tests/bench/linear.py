"""Our logistic-regression sweep beside scikit-learn's, on features of a real network.

    python tests/bench/linear.py --images IMAGENET/val --weights mobilenet_v2.pth --cache DIR  # extracts and measures
    python tests/bench/linear.py --features DIR                                                # measures again

The images are random resized crops and flips of the photos under --images: a folder a class, or files
CLASS_NUMBER.jpg, or CIFAR-10 batches. The crops are so small (0.4 to 2 % of a photo) that classes are hard to tell
apart, as they are on CIFAR-100: on easy features scikit-learn stops early, and the ratio says nothing. Test crops come
from the same photos, so accuracies compare solvers only. Features are MobileNetV2's pooled last layer (1,280), with
--dim 2048 followed by the pooled outputs of blocks 17, 16, 15, 13 and 0. scikit-learn takes minutes.
"""

import argparse
import os
import pickle
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from sklearn.linear_model import LogisticRegression
from torchvision.transforms import v2

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from jobs.lib import logistic

SEED = 0
SCALE = (0.004, 0.02)
SHARED = Path(os.environ.get("SHARED_DATA", Path(__file__).resolve().parents[3] / "shared/data"))
SPLITS = ("train", "val", "test")
CS = [10 ** (k / 4) for k in range(24, -21, -1)]
LAYERS = (18, 17, 16, 15, 13, 0)  # 1280 + 320 + 160 + 160 + 96 + 32 = 2048
Split = dict[str, tuple[np.ndarray, np.ndarray]]


def photos(folder: Path) -> Iterator[tuple[Image.Image, str]]:
    """Images with the names of their classes."""
    batches = sorted(folder.glob("data_batch_*")) + sorted(folder.glob("test_batch"))
    for path in batches:
        batch = pickle.loads(path.read_bytes(), encoding="latin1")
        pixels = np.asarray(batch["data"], np.uint8).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        yield from ((Image.fromarray(image), str(label)) for image, label in zip(pixels, batch["labels"], strict=True))
    for path in [] if batches else sorted(folder.rglob("*")):
        if path.suffix.lower() in (".jpg", ".jpeg", ".png"):
            named = path.parent == folder
            yield Image.open(path).convert("RGB"), path.stem.rsplit("_", 1)[0] if named else path.parent.name


def network(weights: Path) -> torch.nn.Module:
    net = torchvision.models.mobilenet_v2()
    state = torch.load(weights, map_location="cpu", weights_only=True)
    left = net.load_state_dict({name: value.float() for name, value in state.items()}, strict=False)
    wrong = [name for name in left.missing_keys if not name.endswith("num_batches_tracked")] + left.unexpected_keys
    if wrong:
        raise ValueError(f"{weights} is no MobileNetV2: {wrong[:5]}")
    return net.features.eval()


@torch.inference_mode()
def features(net: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Pooled outputs of LAYERS, side by side: N x 2048."""
    pooled = {}
    for number, layer in enumerate(net):
        images = layer(images)
        pooled[number] = images.mean((2, 3))
    return torch.cat([pooled[number] for number in LAYERS], 1)


def extract(images: Path, weights: Path, cache: Path, size: int, total: tuple[int, int, int]) -> None:
    """Write x, y and split (0 train, 1 val, 2 test) for about `total` crops of each split, drawn evenly over photos."""
    crop = v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=SCALE, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    torch.manual_seed(SEED)
    net, found = network(weights), list(photos(images))
    names = sorted({name for _, name in found})
    each = [max(1, round(number / len(found))) for number in total]
    x, y = [], []
    for photo, name in found:
        tensor = v2.functional.to_image(photo)
        x.append(features(net, torch.stack([crop(tensor) for _ in range(sum(each))])))
        y += [names.index(name)] * sum(each)
    split = np.tile(np.repeat(np.arange(3), each), len(found))
    cache.mkdir(parents=True, exist_ok=True)
    np.savez(cache / "features.npz", x=torch.cat(x).numpy(), y=np.array(y), split=split)


def load(folder: Path, dim: int) -> Split:
    stored = np.load(folder / "features.npz")
    x = stored["x"][:, :dim]
    return {
        name: (np.ascontiguousarray(x[stored["split"] == k]), stored["y"][stored["split"] == k])
        for k, name in enumerate(SPLITS)
    }


def both(data: Split) -> tuple[np.ndarray, np.ndarray]:
    """Training and validation rows together."""
    return tuple(np.concatenate([data["train"][k], data["val"][k]]) for k in range(2))


def clock() -> np.ndarray:
    """Wall and processor seconds: on a shared machine only the latter, with one thread, can be compared."""
    return np.array([time.perf_counter(), time.process_time()])


def peer(data: Split) -> tuple[np.ndarray, float, float, int]:
    """scikit-learn's sweep: seconds, test accuracy, chosen C, L-BFGS iterations."""
    warnings.simplefilter("ignore")
    began, best, iterations = clock(), (-1.0, 0.0), 0
    model = LogisticRegression(solver="lbfgs", warm_start=True, max_iter=100, tol=1e-4)
    for C in CS:
        model.C = C
        score = model.fit(*data["train"]).score(*data["val"])
        iterations += int(model.n_iter_[0])
        if score > best[0]:
            best = (score, C)
    model.C = best[1]
    accuracy = model.fit(*both(data)).score(*data["test"])
    return clock() - began, accuracy, best[1], iterations + int(model.n_iter_[0])


def ours(data: Split, classes: int, device: str, also: float) -> tuple[np.ndarray, float, float, int, float]:
    """Our sweep: seconds, test accuracy, chosen C, passes; and the test accuracy at another C."""

    def accuracy(fit: logistic.Fit, split: str) -> float:
        x, y = data[split]
        return float((fit.decision(x).argmax(1).cpu().numpy() == y).mean())

    began = clock()
    fits = logistic.path(*data["train"], classes, CS, device=device)
    best, _ = logistic.select(fits, lambda fit: accuracy(fit, "val"))
    final = logistic.fit(*both(data), classes, best.C, tolerance=1e-5, max_iterations=300, device=device)
    result, took = accuracy(final, "test"), clock() - began
    same = logistic.fit(*both(data), classes, also, tolerance=1e-5, max_iterations=300, device=device)
    return took, result, best.C, sum(fit.iterations for fit in [*fits, final]), accuracy(same, "test")


def objective(weight: np.ndarray, bias: np.ndarray, x: np.ndarray, y: np.ndarray, C: float) -> float:
    """By its definition, in float64; one weight row is scikit-learn's two-class form."""
    z = x.astype(np.float64) @ weight.T.astype(np.float64) + bias
    if z.shape[1] == 1:
        z = np.concatenate([np.zeros_like(z), z], 1)
    return (
        0.5 * np.square(weight.astype(np.float64)).sum()
        + C * (np.logaddexp.reduce(z, 1) - z[np.arange(len(y)), y]).sum()
    )


def check(data: Split, classes: int, C: float, device: str) -> str:
    """Both objectives at one C, scikit-learn's in float64 with tol=1e-8, as a line."""
    x, y = data["train"]
    began = time.perf_counter()
    exact = LogisticRegression(C=C, tol=1e-8, max_iter=5000).fit(x.astype(np.float64), y)
    middle = time.perf_counter()
    fit = logistic.fit(x, y, classes, C, device=device)
    end = time.perf_counter()
    weight, bias = fit.weight.cpu().numpy(), fit.bias.cpu().numpy()
    if classes == 2:
        weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
    theirs = objective(exact.coef_, exact.intercept_, x, y, C)
    relative = objective(weight, bias, x, y, C) / theirs - 1
    state = "converged" if exact.n_iter_[0] < 5000 else "NOT converged"
    return (
        f"{C:10.4g}  {theirs:12.6g} ({state}, {exact.n_iter_[0]} its, {middle - began:.1f} s)  {relative:+.1e}"
        f"  (limit +1e-05)  {fit.iterations} passes, {end - middle:.1f} s, converged={fit.converged}"
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=Path, help="folder with features.npz, as --cache leaves it")
    parser.add_argument("--images", type=Path, default=SHARED / "imagenet1k_mini/val")
    parser.add_argument(
        "--weights",
        type=Path,
        default=SHARED / "weights/mobilenet_v2_imagenet_fp16.pth",
        help="MobileNetV2, torchvision's key names",
    )
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "bench-linear")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--dim", type=int, default=1280, choices=(1280, 2048))
    parser.add_argument("--total", type=int, nargs=3, default=(4000, 1000, 2000), help="crops of train, val, test")
    parser.add_argument("--check", type=float, nargs="*", default=(1e-4, 1e-2), help="values of C to compare at")
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    folder = args.features
    if folder is None:
        folder = args.cache
        if not (args.images.is_dir() and args.weights.is_file()):
            sys.exit(f"no photos at {args.images}: name some with --images and --weights, or features with --features")
        if not (folder / "features.npz").exists():
            extract(args.images, args.weights, folder, args.size, tuple(args.total))
    data = load(folder, args.dim)
    classes = int(data["train"][1].max()) + 1
    sizes = ", ".join(f"{name} {len(data[name][1])}" for name in SPLITS)
    print(f"{sizes}; D={args.dim}, K={classes}; seed {SEED}, {torch.get_num_threads()} threads, {args.device}")
    theirs = peer(data)
    mine, again = (ours(data, classes, args.device, theirs[2]) for _ in range(2))
    for name, row in (("scikit-learn", theirs), ("ours", mine), ("ours, again", again)):
        seconds = f"{row[0][0]:8.2f} s, {row[0][1]:8.2f} s of processor"
        print(f"{name:14} {seconds}   test {100 * row[1]:6.2f} %   C {row[2]:10.4g}   {row[3]} passes")
    ratio = theirs[0] / np.maximum(mine[0], again[0])
    print(f"ratio          {ratio[0]:8.1f}    {ratio[1]:8.1f}     (target >= 10; the slower of our two)")
    print(f"difference     {100 * (mine[1] - theirs[1]):+8.2f} points (target within 0.3)")
    print(f"at their C     {100 * (mine[4] - theirs[1]):+8.2f} points")
    print("         C  scikit-learn's objective at tol=1e-8, float64; ours relative to it")
    for C in args.check:
        print(check(data, classes, C, args.device), flush=True)


if __name__ == "__main__":
    main()
