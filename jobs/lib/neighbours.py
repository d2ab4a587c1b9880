"""Weighted k-nearest-neighbour votes (Wu et al. 2018), exact: as if everything were computed in float64."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

ROUNDING = 2.0**-24  # unit roundoff of float32
SPARE = 32  # neighbours beyond the k-th that float32 proposes to float64
STEP = 64  # queries settled at once: each brings its candidates' features along
SMALL = 64  # times the candidates: a bank up to this is quicker to search again than to gather candidates from


def predict(
    bank: Tensor | np.ndarray,
    bank_labels: Tensor | np.ndarray,
    queries: Tensor | np.ndarray,
    classes: int,
    ks: Sequence[int] = (10, 20, 100, 200),
    temperature: float = 0.07,
    *,
    device: str | torch.device = "cpu",
    rows: int = 1024,
    bank_rows: int = 16384,
) -> dict[int, Tensor]:
    """Votes for each k, queries x classes in float64: the k nearest by cosine, each weighing exp(cosine / temperature).

    bank N x D, queries M x D, any float type; bank_labels N class numbers, or N x K of 0/1. k is clipped to N.
    Ties: of equal similarities the lower bank index is nearer; of equal votes argmax takes the lower class.
    Neighbours and winner are those of float64. Votes are too where labels are N x K (their order over queries matters
    there) or the decision was close; elsewhere they carry float32's error, about 1e-6 / temperature of themselves.
    Needs float32 matrix products at torch's default ("highest") precision.
    """
    _check(bank, bank_labels, queries, ks)
    device = torch.device(device)
    labels = torch.as_tensor(bank_labels).to(device)
    counts = {k: min(k, len(bank)) for k in ks}
    largest = max(counts.values())
    bound = _bound(bank.shape[1])
    votes = {k: torch.empty(len(queries), classes, dtype=torch.float64) for k in ks}
    for start in range(0, len(queries), rows):
        block = _unit(queries[start : start + rows], device)
        near, index = _nearest(bank, block.float(), min(largest + SPARE, len(bank)), bank_rows)
        found = {k: _vote(near[:, :n], index[:, :n], labels, classes, temperature) for k, n in counts.items()}
        doubt = _unsettled(near, list(counts.values()), bound) | (labels.ndim == 2)
        for vote in found.values():
            doubt |= _close(vote, bound / temperature)
        again = doubt.nonzero()[:, 0]
        small = len(bank) <= SMALL * near.shape[1]
        for part in again.split(rows if small else STEP):
            if small:
                near64, index64 = _nearest(bank, block[part], largest, bank_rows)
            else:
                near64, index64 = _settle(bank, block[part], near[part], index[part], largest, bound, bank_rows)
            for k, n in counts.items():
                found[k][part] = _vote(near64[:, :n], index64[:, :n], labels, classes, temperature)
        for k, vote in found.items():
            votes[k][start : start + rows] = vote.cpu()
    return votes


def _check(
    bank: Tensor | np.ndarray, labels: Tensor | np.ndarray, queries: Tensor | np.ndarray, ks: Sequence[int]
) -> None:
    shapes = tuple(bank.shape), tuple(labels.shape), tuple(queries.shape)
    if len(bank) == 0 or len(labels) != len(bank) or bank.shape[1] != queries.shape[1]:
        raise ValueError("bank {}, labels {} and queries {} do not fit together".format(*shapes))
    if torch.get_float32_matmul_precision() != "highest":
        raise ValueError('the error bound needs torch.set_float32_matmul_precision("highest")')
    if not ks or min(ks) < 1:
        raise ValueError(f"k must be at least 1: {list(ks)}")


def _bound(dimension: int) -> float:
    """Error of a float32 cosine: sqrt(D) roundings and a few (a probabilistic bound: Higham and Mary 2019)."""
    return ROUNDING * (dimension**0.5 + 4)


def _unit(block: Tensor | np.ndarray, device: torch.device) -> Tensor:
    """Rows of unit length, float64; a row of zeros stays zero."""
    tensor = block if isinstance(block, Tensor) else torch.from_numpy(np.array(block))
    tensor = tensor.to(device, torch.float64)
    if not torch.isfinite(tensor).all():
        raise ValueError("the features hold NaN or infinite values")
    return torch.nn.functional.normalize(tensor, dim=-1, eps=1e-300)


def _nearest(bank: Tensor | np.ndarray, queries: Tensor, count: int, rows: int) -> tuple[Tensor, Tensor]:
    """Similarities and bank indices of the `count` nearest, nearest first; in float64 equal ones by index."""
    near = queries.new_empty(len(queries), 0)
    index = torch.empty(len(queries), 0, dtype=torch.long, device=queries.device)
    for start in range(0, len(bank), rows):
        similarity = queries @ _unit(bank[start : start + rows], queries.device).to(queries.dtype).T
        best, at = _top(similarity, count)
        near, kept = _top(torch.cat([near, best], 1), count)
        index = torch.cat([index, at + start], 1).gather(1, kept)
    return near, index


def _top(similarity: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` highest per row and their columns; in float64, where it decides ties, equal ones by column."""
    width = similarity.shape[1]
    if similarity.dtype == torch.float32:
        return similarity.topk(min(count, width), dim=1)
    values, at = similarity.topk(min(count + 1, width), dim=1)
    cut = (values[:, count - 1] == values[:, count]).nonzero()[:, 0] if count < width else at.new_empty(0)
    at = at[:, :count].sort(dim=1).values
    order = similarity.gather(1, at).sort(dim=1, descending=True, stable=True).indices
    at = at.gather(1, order)
    if len(cut):  # topk may have taken any of the equals
        at[cut] = similarity[cut].sort(dim=1, descending=True, stable=True).indices[:, :count]
    return similarity.gather(1, at), at


def _settle(
    bank: Tensor | np.ndarray, queries: Tensor, near: Tensor, index: Tensor, count: int, bound: float, rows: int
) -> tuple[Tensor, Tensor]:
    """The `count` nearest in float64, among float32's candidates, or the whole bank where these may not hold them."""
    index = index.sort(dim=1).values
    picked = index.flatten().cpu()
    candidates = _unit(bank[picked] if isinstance(bank, Tensor) else bank[picked.numpy()], queries.device)
    similarity = (candidates.view(*index.shape, candidates.shape[1]) @ queries[:, :, None])[:, :, 0]
    exact, at = _top(similarity, count)
    found = index.gather(1, at)
    if near.shape[1] < len(bank):
        missed = (near[:, -1] >= near[:, count - 1] - 2 * bound).nonzero()[:, 0]
        if len(missed):
            exact[missed], found[missed] = _nearest(bank, queries[missed], count, rows)
    return exact, found


def _unsettled(near: Tensor, ks: Sequence[int], bound: float) -> Tensor:
    """Rows where the k-th and the next similarity are too close for float32 to order."""
    doubt = torch.zeros(len(near), dtype=torch.bool, device=near.device)
    for k in ks:
        if k < near.shape[1]:
            doubt |= near[:, k - 1] - near[:, k] <= 2 * bound
    return doubt


def _vote(near: Tensor, index: Tensor, labels: Tensor, classes: int, temperature: float) -> Tensor:
    """Sum of weights per class."""
    weight = (near.double() / temperature).exp()
    if labels.ndim == 2:
        return torch.einsum("qn,qnk->qk", weight, labels[index].double())
    votes = torch.zeros(len(near), classes, dtype=torch.float64, device=near.device)
    return votes.scatter_add_(1, labels[index].long(), weight)


def _close(votes: Tensor, relative: float) -> Tensor:
    """Rows whose two highest votes differ by less than the weights' relative error can explain."""
    if votes.shape[1] < 2:
        return torch.zeros(len(votes), dtype=torch.bool, device=votes.device)
    best = votes.topk(2, dim=1).values
    return best[:, 0] - best[:, 1] <= 2 * relative * best.sum(1)
