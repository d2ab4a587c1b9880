"""Metrics against hand-worked cases, scikit-learn and plain loops."""

import numpy as np
import pytest
import sklearn.metrics
import torch

from jobs.lib import metrics


def naive_ap11(score, label):
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(label[order])
    precision, recall = hits / np.arange(1, len(score) + 1), hits / label.sum()
    return np.mean([max(precision[recall >= t / 10 - 1e-12], default=0) for t in range(11)])


@pytest.fixture
def scored():
    random = np.random.default_rng(0)
    labels = random.choice(6, 400, p=[0.4, 0.3, 0.15, 0.1, 0.03, 0.02])
    return torch.from_numpy(2 * np.eye(6)[labels] + random.normal(size=(400, 6))), torch.from_numpy(labels)


def test_ap11_by_hand():
    """Ranked + - + - -: recall 1/2 at precision 1 (thresholds 0 to .5), recall 1 at 2/3 (.6 to 1)."""
    scores, labels = torch.tensor([[5.0], [4], [3], [2], [1]]), torch.tensor([[1], [0], [1], [0], [0]])
    assert metrics.map11(scores, labels)[0] == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)


def test_map11_equals_the_loop_and_counts_classes_without_positives():
    random = np.random.default_rng(1)
    labels = (random.random((300, 6)) < [0.5, 0.2, 0.1, 0.04, 0.01, 0]).astype(int)
    scores = random.normal(size=(300, 6)).round(1) + labels  # rounded: ties
    expected = np.mean([naive_ap11(scores[:, k], labels[:, k]) for k in range(5)])
    value, left_out = metrics.map11(torch.from_numpy(scores), torch.from_numpy(labels))
    assert (value, left_out) == (pytest.approx(expected), 1)


def test_map11_without_any_positive():
    with pytest.raises(ValueError, match="no class has a positive"):
        metrics.map11(torch.zeros(3, 2), torch.zeros(3, 2))


def test_recall_thresholds_are_reached_at_exact_tenths():
    """Ten positives: each reaches one threshold, which rounding must not lose."""
    labels = torch.tensor([1, 0] * 10)[:, None]
    scores = torch.arange(20, 0, -1.0)[:, None]
    expected = naive_ap11(scores[:, 0].numpy(), labels[:, 0].numpy())
    assert metrics.map11(scores, labels)[0] == pytest.approx(expected)


def naive_ap(score, label):
    """Area under the interpolated curve, its points wherever the score changes."""
    points = []
    for threshold in sorted(set(score.tolist()), reverse=True):
        found = label[score >= threshold]
        points.append((found.sum() / label.sum(), found.mean()))
    best = [max(precision for _, precision in points[n:]) for n in range(len(points))]
    recalls = [0.0, *(recall for recall, _ in points)]
    return sum((recalls[n + 1] - recalls[n]) * best[n] for n in range(len(points)))


def average_precision(scores, labels, **how):
    points, _ = metrics.average_precision(torch.tensor(scores)[:, None], torch.tensor(labels)[:, None], **how)
    return float(points[0])


def test_ap_by_hand():
    """Ranked + - - + +: precision 1 at recall 1/3, 2/4 at 2/3, 3/5 at 1; interpolated, 3/5 is the second one's, too."""
    scores, labels = [5.0, 4.0, 3.0, 2.0, 1.0], [1, 0, 0, 1, 1]
    assert average_precision(scores, labels) == pytest.approx((1 + 3 / 5 + 3 / 5) / 3)
    assert average_precision(scores, labels, interpolated=False) == pytest.approx((1 + 2 / 4 + 3 / 5) / 3)


@pytest.mark.parametrize("labels", [[1, 0, 0, 1], [0, 1, 1, 0]])
def test_ap_of_equal_scores_by_hand(labels):
    """The first two are one point, with recall 1/2 at precision 1/2, in whatever order they stand."""
    assert average_precision([2.0, 2.0, 1.0, 1.0], labels) == pytest.approx(1 / 2)
    assert average_precision([1.0, 1.0, 1.0, 1.0], labels) == pytest.approx(1 / 2)


def test_ap_without_what_is_difficult_by_hand():
    """Ranked + ? - +, the second one difficult: precision 1 at recall 1/2 and 2/3 at 1; as a negative, 2/4."""
    scores, labels, difficult = [4.0, 3.0, 2.0, 1.0], [1, 0, 0, 1], torch.tensor([[False], [True], [False], [False]])
    assert average_precision(scores, labels, ignored=difficult) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(scores, labels) == pytest.approx((1 + 2 / 4) / 2)


@pytest.mark.parametrize("digits", [8, 1], ids=["distinct", "ties"])
def test_ap_equals_the_loop_and_scikit_learn(digits):
    random = np.random.default_rng(2)
    labels = (random.random((200, 5)) < [0.5, 0.2, 0.05, 0.01, 0]).astype(int)
    labels[0] = [1, 1, 1, 1, 0]
    scores = (random.normal(size=(200, 5)) + labels).round(digits)
    away = random.random((200, 5)) < 0.1
    away[0] = False
    for ignored in (None, away):
        given = None if ignored is None else torch.from_numpy(ignored)
        ours, kept = metrics.average_precision(torch.from_numpy(scores), torch.from_numpy(labels), given)
        plain, _ = metrics.average_precision(
            torch.from_numpy(scores), torch.from_numpy(labels), given, interpolated=False
        )
        assert kept.tolist() == [True, True, True, True, False]
        for k in range(4):
            rows = np.ones(200, bool) if ignored is None else ~ignored[:, k]
            assert float(ours[k]) == pytest.approx(naive_ap(scores[rows, k], labels[rows, k]))
            theirs = sklearn.metrics.average_precision_score(labels[rows, k], scores[rows, k])
            assert float(plain[k]) == pytest.approx(theirs)
        assert float(ours[4]) == 0


def test_the_map_of_a_resample_is_that_of_its_images():
    random = np.random.default_rng(4)
    labels = torch.from_numpy((random.random((60, 3)) < [0.5, 0.2, 0.03]).astype(int))
    labels[0] = 1
    scores, away = (
        torch.from_numpy(random.normal(size=(60, 3)).round(1)),
        torch.from_numpy(random.random((60, 3)) < 0.2),
    )
    times = torch.from_numpy(random.multinomial(60, np.full(60, 1 / 60), size=20)).double()
    found = metrics.map_statistic(scores, labels, away)(times)
    for value, drawn in zip(found, times.long(), strict=True):
        rows = torch.repeat_interleave(torch.arange(60), drawn)
        points, kept = metrics.average_precision(scores[rows], labels[rows], away[rows])
        assert float(value) == pytest.approx(float(points[kept].mean()))
    nothing = metrics.map_statistic(scores, torch.zeros_like(labels), away)
    assert nothing(times).isnan().all()


def test_accuracies_equal_scikit_learn(scored):
    scores, labels = scored
    predicted = scores.argmax(1)
    assert metrics.top1(scores, labels) == pytest.approx(sklearn.metrics.accuracy_score(labels, predicted))
    balanced = sklearn.metrics.balanced_accuracy_score(labels, predicted)
    assert metrics.mean_per_class(scores, labels) == pytest.approx(balanced)


def test_mean_per_class_leaves_out_absent_classes():
    scores = torch.eye(5)[[0, 0, 3, 4]]
    assert metrics.mean_per_class(scores, torch.tensor([0, 0, 3, 3])) == pytest.approx((1 + 0.5) / 2)


def test_ece_equals_the_loop(scored):
    scores, labels = scored
    probability = scores.softmax(1).numpy()
    confidence, right = probability.max(1), probability.argmax(1) == labels.numpy()
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert metrics.ece(scores, labels) == pytest.approx(expected)
    assert metrics.ece(torch.tensor([[100.0, 0], [100.0, 0]]), torch.tensor([0, 1])) == pytest.approx(0.5)


def test_mean_interval():
    mean, low, high = metrics.mean_interval(torch.tensor([0.0, 1.0, 1.0, 0.0]))
    assert (mean, low, high) == pytest.approx((0.5, 0.5 - 1.96 * 0.25, 0.5 + 1.96 * 0.25))


def test_bootstrap_of_a_mean_is_the_binomial_interval():
    right = (torch.arange(2000) % 4 > 0).double()
    low, high = metrics.bootstrap(metrics.mean_statistic(right), 2000)
    half = 1.96 * (0.75 * 0.25 / 2000) ** 0.5
    assert (low, high) == pytest.approx((0.75 - half, 0.75 + half), abs=0.1 * half)
    assert (low, high) == metrics.bootstrap(metrics.mean_statistic(right), 2000)
    assert (low, high) != metrics.bootstrap(metrics.mean_statistic(right), 2000, seed=1)


def test_weighted_statistics_equal_repeated_rows(scored):
    scores, labels = scored
    random = np.random.default_rng(3)
    drawn = random.multinomial(400, np.full(400, 1 / 400), size=5)
    weights = torch.from_numpy(drawn).double()
    hot = torch.nn.functional.one_hot(labels, 6)
    per_class = metrics.mean_per_class_statistic(metrics.correct(scores, labels), labels)(weights)
    precision = metrics.map11_statistic(scores, hot)(weights)
    for row, counts in enumerate(drawn):
        rows = torch.from_numpy(np.repeat(np.arange(400), counts))
        assert float(per_class[row]) == pytest.approx(metrics.mean_per_class(scores[rows], labels[rows]))
        assert float(precision[row]) == pytest.approx(metrics.map11(scores[rows], hot[rows])[0])


def test_bootstrap_of_map11_covers_it():
    random = torch.Generator().manual_seed(0)
    labels = (torch.rand(5000, 20, generator=random) < 0.07).long()
    scores = labels + torch.randn(5000, 20, generator=random)
    low, high = metrics.bootstrap(metrics.map11_statistic(scores, labels), 5000, resamples=200)
    assert low < metrics.map11(scores, labels)[0] < high
    assert high - low < 0.05


@pytest.mark.parametrize("measure", [metrics.top1, metrics.mean_per_class, metrics.ece])
def test_nan_is_refused(measure):
    with pytest.raises(ValueError, match="1 of 4 scores are NaN"):
        measure(torch.tensor([[0.0, float("nan")], [1, 2]]), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="NaN"):
        metrics.map11(torch.tensor([[float("nan")]]), torch.tensor([[1]]))
    with pytest.raises(ValueError, match="NaN"):
        metrics.mean_interval(torch.tensor([float("nan")]))
    with pytest.raises(ValueError, match="no values"):
        measure(torch.empty(0, 3), torch.empty(0, dtype=torch.long))
