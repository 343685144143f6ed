"""Studies that stop when they know: looks after so many seeds, at which questions are answered or go on."""

from dataclasses import dataclass, field

from foundation.grammar import counted, listed
from lab.reports.comparisons import ALPHA, PILOT, Comparison, adjusted
from lab.reports.looks import Looks
from lab.reports.power import POWER, power_of, seeds_needed

FIRST_LOOKS = (3, 5, 8, 12)
GROWTH = 1.5  # of the number of seeds between later looks


@dataclass(frozen=True)
class Question:
    """A comparison that a study makes: its value for each seed, and the arms whose runs it takes."""

    name: str
    other: str | None
    values: dict[int, float]
    arms: frozenset[str]


@dataclass(frozen=True)
class LookPlan:
    """The wish to detect a difference of so many points, and the looks that at most so many seeds allow."""

    detect: float
    most: int

    @property
    def seeds(self):
        """Numbers of seeds after which the study looks: 3, 5, 8, 12, then half as many more each time, up to the most."""
        looks: list[int] = [*FIRST_LOOKS]
        while looks[-1] < self.most:
            looks.append(round(looks[-1] * GROWTH))
        return (*(n for n in looks if n < self.most), self.most)

    def seeds_for(self, deviation, family) -> int | None:
        """Return the number of seeds at whose look the wish is fulfilled with a power of POWER; None if at none.

        `deviation` is that of the paired differences in points.
        """
        for place, seeds in enumerate(self.seeds):
            level = Looks(self.seeds[: place + 1], self.most).nominal(ALPHA / family)
            if power_of(self.detect / deviation, seeds, level) >= POWER:
                return seeds
        return None


@dataclass
class Course:
    """State of a study with looks after the runs that have finished."""

    plan: LookPlan
    comparisons: list[Comparison]
    open: list[Question] = field(default_factory=list)  # not answered yet
    looks: int = 0  # that are done

    @property
    def is_over(self) -> bool:
        return not self.open or self.looks == len(self.plan.seeds)

    @property
    def wanted(self):
        """The arms that go on, and the number of seeds which the next look takes; ((), 0) when all is over."""
        if self.is_over:
            return frozenset(), 0
        return frozenset().union(*(question.arms for question in self.open)), self.plan.seeds[self.looks]


def follow(questions, plan, margin, has_ended) -> Course:
    """Return the Course of a study by the runs that have ended; `has_ended(arm, seed)` tells of each.

    Each look takes the seeds that it plans for, of all questions that are open; what is answered keeps the seeds of its look. A
    look counts when all its runs have ended: a study that was killed between looks is followed to the same place again.

    The family's error. The p of a comparison is sequential: at most alpha with a probability of at most alpha, wherever its
    looks end. Holm's procedure on such p-values makes one false claim or more with a probability of at most ALPHA (Maurer & Bretz
    2013). The p-values only fall while looks come, so no later look takes back what one has claimed.
    """
    comparisons = adjusted([Comparison(one.name, one.other, (), looks=Looks((), plan.most)) for one in questions], margin)
    course = Course(plan, comparisons, list(questions))
    while not course.is_over:
        arms, seeds = course.wanted
        if not all(has_ended(arm, seed) for arm in arms for seed in range(seeds)):
            break
        _look(course, questions, seeds, margin)
    return course


def _look(course, questions, seeds, margin):
    """Take the values of so many seeds into the open comparisons, and close those that are answered or have no values."""
    taken = []
    for question, before in zip(questions, course.comparisons, strict=True):
        if question in course.open:
            values = tuple(value for seed, value in question.values.items() if seed < seeds)
            pairs = before.looks.pairs
            if len(values) > max(PILOT, *pairs, 0):
                pairs = (*pairs, len(values))
            before = Comparison(question.name, question.other, values, looks=Looks(pairs, course.plan.most))
        taken.append(before)
    course.comparisons = adjusted(taken, margin)
    course.looks += 1
    course.open = [
        question
        for question, comparison in zip(questions, course.comparisons, strict=True)
        if question in course.open and comparison.values and not comparison.is_answered
    ]


def pooled_deviation(comparisons):
    """Return the deviation of paired differences over all comparisons with a test, weighted by freedom; None if there is none."""
    tested = [(len(one.values) - 1, one.difference.deviation) for one in comparisons if one.has_test]
    freedom = sum(count for count, _ in tested)
    return (sum(count * deviation**2 for count, deviation in tested) / freedom) ** 0.5 if freedom else None


def forecast(course):
    """Yield sentences on how many seeds the wish will probably take."""
    plan, family = course.plan, len(course.comparisons)
    looks = listed(list(map(str, plan.seeds)))
    wish = f"{plan.detect:g} points with {100 * POWER:.0f} % power"
    yield f"looks after {looks} seeds; {wish}, among {counted(family, 'comparison')}:"
    measured = pooled_deviation(course.comparisons)
    shown = [measured] if measured else [share * plan.detect for share in (0.25, 0.5, 0.75, 1.0)]
    for deviation in shown:
        seeds = plan.seeds_for(deviation, family)
        answer = f"about {seeds} seeds" if seeds else f"more than {plan.most} seeds"
        known = "as measured so far" if measured else "if that is so; the first look measures it"
        yield f"  paired differences deviate by {deviation:.2f} points ({known}): {answer}"


def looks_in_words(course, runs):
    """Yield sentences on which look answered what, and on what it cost against plans whose number of seeds is fixed beforehand.

    `runs` are those that were begun, of every arm.
    """
    plan = course.plan
    so_far = "" if course.is_over else " so far"
    yield f"looks after {listed(list(map(str, plan.seeds)))} seeds, {course.looks} of them done{so_far}"
    still = {question.name for question in course.open}
    for one in course.comparisons:
        what = f"{one.name} against {one.other}" if one.other else one.name
        seeds = f"{counted(len(one.values), 'paired seed')}"
        if one.is_answered:
            yield f"{what}: answered at {one.looks}, with {seeds}"
        elif one.name in still:
            yield f"{what}: not answered with {seeds}"
        else:
            yield f"{what}: given up, since no run has a result"
    arms = len({planned.arm for planned in runs})
    yield _cost_in_words(course, arms, sum(planned.is_finished() for planned in runs))


def _cost_in_words(course, arms, runs):
    plan, deviation = course.plan, pooled_deviation(course.comparisons)
    text = f"{counted(runs, 'run')}{'' if course.is_over else ' so far'}; {plan.most} seeds of every arm are {arms * plan.most}."
    level = ALPHA / max(len(course.comparisons), 1)
    fixed = deviation and seeds_needed(plan.detect / deviation, level, least=PILOT + 1)
    if not fixed:
        return text
    return (
        f"{text} A fixed plan that detects {plan.detect:g} points with {100 * POWER:.0f} % power takes {counted(fixed, 'seed')}"
        f" of every arm, {counted(arms * fixed, 'run')}, if the differences deviate by {deviation:.2f} points as they do here,"
        " which such a plan would have to know beforehand."
    )
