"""Definition of a study, and the runs that it plans."""

import re
from dataclasses import dataclass, field, replace

import dispatcher
from datasets import catalog
from foundation.checks import check
from foundation.errors import UserError, unknown
from foundation.paths import short_name
from foundation.settings import Config
from lab.reports.factorial import Factor
from lab.reports.sequential import LookPlan
from lab.studies.arm_run import ArmRun
from lab.studies.protocol import PROTOCOL

SCALES = ("smoke", "cpu", "full")
SOURCE = "source"
LONGEST = 40  # letters of an arm in the name of a run, which may have 100
# Settings of cpu scales: 20,000 of 45,000 images, so that networks have learned and seeds are affordable. Chosen by val on
# ResNet-20 alone, on 26 November 2026, before any comparison was looked at: 77.9 % of val at rate 0.1 and batch 128.
CIFAR10_IN_AN_EVENING = {"dataset": "cifar10", "images_per_class": 2000, "epochs": 10}
# Settings that a study gives its runs itself.
TAKEN = {"preset", "seed", "run", "output_dir", "weights_dir", "resume", "start_epoch", "max_minutes", "find_lr", "check"}


@dataclass(frozen=True)
class Arm:
    """One of the things compared: settings in addition to those that all arms share."""

    name: str
    settings: dict
    claimed: float | None = None  # test accuracy in percent, as the source states it
    versus: str | None = None  # the arm that it is compared with, if that is not the study's reference
    first_seed: int = 0  # added to the study's seeds: an arm can be compared with itself only with other random numbers


@dataclass(frozen=True)
class Contrast:
    """Weighted sum of arms, which is zero if what it is named by has no effect."""

    name: str
    weights: dict[str, float]  # {arm: weight}, which sum to zero

    @classmethod
    def of_gains(cls, name, gain, over):
        """Return the contrast that asks whether `gain`, the difference of two arms, is larger than that of the pair `over`."""
        return cls(name, {gain[0]: 1.0, gain[1]: -1.0, over[0]: -1.0, over[1]: 1.0})


@dataclass(frozen=True)
class Scale:
    """Size of a study: "smoke" takes minutes on two cores, "cpu" an evening; "full" is as in its source."""

    settings: dict
    arms: tuple[str, ...] = ()  # names of the arms that take part; none: all
    seeds: int = 3


@dataclass(frozen=True)
class Study:
    """A question, and the plan to answer it."""

    question: str
    source: str  # whose protocol and figures
    arms: tuple[Arm, ...]
    reference: str  # the name of the arm that others are compared with
    scales: dict[str, Scale]  # of SCALES
    source_run: dict | None = None  # settings of a run that is trained first, for arms whose init_from is SOURCE
    shared: dict = field(default_factory=dict)  # settings that all arms have in common
    contrasts: tuple[Contrast, ...] = ()
    factors: tuple[Factor, ...] = ()  # of a factorial study, whose arms are their combinations and are not compared by themselves
    is_half: bool = False  # of all combinations of the factors
    margin: float | None = None  # points of test accuracy: arms that are shown to differ by less are called the same
    measures: tuple[str, ...] = ()  # of `lab.reports.measures`: what the report says of each network beside accuracy
    remarks: tuple[str, ...] = ()  # what a reader should know of the comparison

    @property
    def usual_scale(self) -> str:
        """Scale that is used if the user names none."""
        return next(iter(self.scales)) if len(self.scales) == 1 else "cpu"

    def arms_at(self, scale):
        """Return the arms at a scale. Raises UserError for a scale that the study does not have."""
        if scale not in self.scales:
            raise unknown("scale", scale, self.scales)
        names = self.scales[scale].arms or tuple(arm.name for arm in self.arms)
        return [arm for arm in self.arms if arm.name in names]

    def plan(self, name, scale, arms, seeds, folder, overrides):
        """Return every run, seed by seed so that all arms have a result early. Raises UserError for settings that can't be.

        An arm's settings win over the user's `overrides`, those over the scale's, those over the shared ones.
        """
        _check_overrides(overrides, arms)
        runs = []
        for seed in range(seeds or self.scales[scale].seeds):
            configs = {arm.name: self._config(name, scale, arm, seed, folder, overrides) for arm in arms}
            source = None
            if self.source_run and any(config.init_from == SOURCE for config in configs.values()):
                config = self._config(name, scale, Arm(SOURCE, self.source_run), seed, folder, overrides)
                source = ArmRun(config, arm=SOURCE, seed=seed)
                runs.append(source)
            for arm, config in configs.items():
                needs = source if config.init_from == SOURCE else None
                if needs:
                    config = replace(config, init_from=str(needs.run.output))
                runs.append(ArmRun(config, needs, arm=arm, seed=seed))
        return runs

    def _config(self, name, scale, arm, seed, folder, overrides):
        plain = short_name(re.sub(r"[^A-Za-z0-9.]+", "-", arm.name).strip("-"), LONGEST)
        settings = PROTOCOL | self.shared | self.scales[scale].settings | overrides | arm.settings
        place = {"run": f"{name}-{scale}-{plain}-{seed}", "output_dir": f"{folder}/runs", "weights_dir": f"{folder}/weights"}
        whole = {"preset": "none", "resume": "auto", "start_epoch": None, "max_minutes": 0.0, "find_lr": False, "check": False}
        config = replace(Config(), **settings, **place, **whole, seed=seed + arm.first_seed)
        check(config)
        dispatcher.check_model(config)
        catalog.check_name(config.dataset, config.group_by)
        return config

    def other(self, arm, among):
        """Return the arm that an arm is compared with, or None if that arm takes no part, or the study compares factors."""
        if self.factors:
            return None
        name = arm.versus or self.reference
        return next((other for other in among if other.name == name and other is not arm), None)


def _check_overrides(overrides, arms):
    """Raise a UserError for a setting that would make the arms something else than they are called."""
    if taken := overrides.keys() & TAKEN:
        raise UserError(f"--set can't change {taken.pop()}: --seeds, --arms and --output-dir choose what runs, and where")
    for name in overrides:
        compared = [arm.name for arm in arms if name in arm.settings]
        if compared:
            raise UserError(f"--set can't change {name}, in which arms differ ({', '.join(compared)}): choose arms by --arms")


@dataclass(frozen=True)
class Session:
    """One use of `study.py`: the runs of a study at a scale, as a command asked for them."""

    study: Study
    name: str
    scale: str
    runs: list[ArmRun]  # those that are compared
    command: str
    look_plan: LookPlan | None = None  # None: the number of seeds was fixed beforehand

    @property
    def title(self) -> str:
        return f"{self.name} ({self.scale})"

    def compared(self):
        """Yield (name, settings of its own) of each arm, after those of the run that arms start from, if there is one."""
        if any(planned.needs for planned in self.runs):
            yield "trained first, for those that start from it", self.study.source_run
        among = {planned.arm for planned in self.runs}
        for arm in self.study.arms:
            if arm.name in among:
                yield arm.name, arm.settings | ({"seeds from": arm.first_seed} if arm.first_seed else {})

    def held_equal(self):
        """Yield names and values that all runs share: what the study sets, and what the user set against the protocol."""
        set_by_study = self.study.shared | self.study.scales[self.scale].settings
        for name in PROTOCOL:
            values = {getattr(planned.config, name) for planned in self.runs}
            is_told = name in (
                "dataset",
                "image_size",
                "images_per_class",
                "epochs",
                "monitor",
                "precision",
            )  # elsewhere in the report
            if len(values) == 1 and not is_told and (name in set_by_study or values != {PROTOCOL[name]}):
                yield name, values.pop()
