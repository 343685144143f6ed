"""Results of the runs of a study: one record for each arm."""

from collections import Counter
from dataclasses import dataclass

from foundation.grammar import listed
from lab.reports.comparisons import Comparison, adjusted
from lab.reports.sequential import Question, follow
from lab.reports.statistics import Estimate, exact_interval, paired_difference, paired_values, weighted_values
from lab.runs.same_settings import settings_of_all_seeds
from lab.training.evaluation import accuracy_interval

SPLITS = ("train", "val", "test")


@dataclass
class Result:
    """One arm: its values by seed, their statistics, and its comparison with another arm."""

    name: str
    claimed: float | None
    versus: str | None
    accuracies: dict[int, float]  # test, in percent, by seed
    metrics: dict[int, dict]  # the contents of metrics.json, by seed
    failures: dict[int, str]
    comparison: Comparison | None = None
    total: Estimate | None = None  # the difference from the study's reference, where `versus` is another arm
    config: object = None  # the config of one of its runs

    @property
    def accuracy(self) -> Estimate | None:
        """Test accuracy in percent, an Estimate over seeds; None if no run finished."""
        return Estimate.of(list(self.accuracies.values()), within=(0.0, 100.0)) if self.accuracies else None

    def mean(self, *path) -> float | None:
        """Return the mean over seeds of a number in metrics.json, such as ("val", "f1_macro"); None without runs."""
        values = []
        for metrics in self.metrics.values():
            for name in path:
                metrics = metrics[name]
            values.append(metrics)
        return sum(values) / len(values) if values else None

    @property
    def difference(self) -> Estimate | None:
        """Difference from the arm that it is compared with, an Estimate in points; None if they share no seed."""
        return self.comparison and self.comparison.difference

    @property
    def image_interval(self):
        """95 % interval in percent of the mean accuracy, for the sampling of test images alone: no number of seeds narrows it."""
        accuracy = self.accuracy
        if not accuracy:
            return None
        images = min(metrics["test"]["images"] for metrics in self.metrics.values())
        return tuple(100 * bound for bound in exact_interval(accuracy.mean / 100, images))


def repetitions(runs):
    """Return {label: runs that differ only in their seed}, in order. Runs of one network that differ in training are separate.

    So are two of the same seed: they are of other data or another backend, which settings do not tell.
    """
    groups, seen = {}, Counter()
    for run in runs:
        settings = settings_of_all_seeds(run.config)
        groups.setdefault((settings, seen[settings, run.config.seed]), []).append(run)
        seen[settings, run.config.seed] += 1
    firsts = [(group[0], len(group) > 1) for group in groups.values()]
    labels = [first.name.removesuffix(f"-{first.config.seed}") if is_repeated else first.name for first, is_repeated in firsts]
    if len(set(labels)) < len(labels):
        labels = [first.name for first, _ in firsts]
    return dict(zip(labels, groups.values(), strict=True))


def results_of_runs(runs):
    """Return a Result for every network and data set among finished runs, over their seeds."""
    found = []
    for label, group in repetitions(runs).items():
        metrics = {run.config.seed: run.metrics for run in group}
        accuracies = {seed: 100 * m["test"]["accuracy"] for seed, m in metrics.items()}
        found.append(Result(label, None, None, accuracies, metrics, {}, config=group[0].config))
    return found


def pareto_front(results, cost):
    """Return the results that no other result beats.

    A result beats another if it is at most as costly (by a number in metrics.json) and at least as accurate, but not the same
    in both.
    """
    points = [(result, result.mean(cost), result.accuracy.mean) for result in results if result.accuracies]
    return [
        result
        for result, own, accuracy in points
        if not any(other <= own and better >= accuracy and (other, better) != (own, accuracy) for _, other, better in points)
    ]


def notes_on_chance(results, classes):
    """Yield a sentence on the arms of which no run is better than guessing, judged by the 95 % interval of its test images.

    `classes` is None if it is not known how many there are.
    """
    measured = [result for result in results if result.metrics] if classes else []
    names = [result.name for result in measured if not any(_is_above(1 / classes, m["test"]) for m in result.metrics.values())]
    if names:
        who = "No arm" if len(names) == len(measured) else f"{listed(names)}: no run"
        yield f"{who} is above chance ({100 / classes:.3g} % with {classes} classes): such accuracies compare nothing."


def _is_above(share, metrics):
    low, _ = accuracy_interval(metrics["accuracy"], metrics["images"])
    return low > share


def results_of(study, runs, plan=None):
    """Return a Result for every arm of the planned runs, in their order, and the Comparisons of the study's contrasts.

    The comparisons of arms and the contrasts are one family, whose p-values are adjusted together; with a LookPlan they are those
    of its looks so far.
    """
    results = accuracies_of(study, runs)
    if plan is None:
        asked = questions_of(study, results)
        family = adjusted([Comparison(one.name, one.other, tuple(one.values.values())) for one in asked], study.margin)
    else:
        family = course_of(study, runs, plan).comparisons
    compared = [result for result in results if result.versus]
    for result, comparison in zip(compared, family, strict=False):
        result.comparison = comparison if comparison.values else None
    return results, [contrast for contrast in family[len(compared) :] if contrast.values]


def accuracies_of(study, runs):
    """Return a Result for every arm of the planned runs, without comparisons."""
    among = {planned.arm for planned in runs}
    arms = [arm for arm in study.arms if arm.name in among]
    results = [_result_of(arm, study.other(arm, arms), [planned for planned in runs if planned.arm == arm.name]) for arm in arms]
    found = {result.name: result for result in results}
    for result in results:
        if study.reference in found and study.reference not in (result.name, result.versus):
            result.total = paired_difference(result.accuracies, found[study.reference].accuracies)
    return results


def questions_of(study, results):
    """Return the Questions of a study: each arm against another, and the contrasts whose arms all take part."""
    accuracies = {result.name: result.accuracies for result in results}
    asked = []
    for result in results:
        if result.versus:
            values = paired_values(result.accuracies, accuracies[result.versus])
            asked.append(Question(result.name, result.versus, values, frozenset({result.name, result.versus})))
    for contrast in study.contrasts:
        if accuracies.keys() >= contrast.weights.keys():
            values = weighted_values(contrast.weights, accuracies)
            asked.append(Question(contrast.name, None, values, frozenset(contrast.weights)))
    return asked


def course_of(study, runs, plan):
    """Return the Course of a study with looks, by the runs that have ended, with a result or without."""
    ended = {(planned.arm, planned.seed) for planned in runs if planned.is_finished() or planned.failure}
    asked = questions_of(study, accuracies_of(study, runs))
    return follow(asked, plan, study.margin, lambda arm, seed: (arm, seed) in ended)


def _result_of(arm, other, own):
    metrics = {planned.seed: planned.metrics() for planned in own if planned.is_finished()}
    accuracies = {seed: 100 * m["test"]["accuracy"] for seed, m in metrics.items()}
    failures = {planned.seed: planned.failure for planned in own if planned.failure}
    return Result(arm.name, arm.claimed, other and other.name, accuracies, metrics, failures, config=own[0].config)


def notes_on_precision(runs):
    """Yield a line with the precision of finished runs, and if they differ, which runs have which."""
    found = {}
    for planned in runs:
        if planned.is_finished():
            found.setdefault(planned.run.read_settings().precision, []).append(f"{planned.arm} with seed {planned.seed}")
    if len(found) == 1:
        yield f"precision: {next(iter(found))}"
    elif found:
        yield f"precision differs: {'; '.join(f'{precision} in {listed(where)}' for precision, where in found.items())}"
