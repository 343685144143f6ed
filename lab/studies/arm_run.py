"""A run of a study, as the engines take it."""

from dataclasses import dataclass, field

from lab.engines.fleet import Planned


@dataclass
class ArmRun(Planned):
    """A planned run of a study's arm, or of the source that arms start from."""

    arm: str = field(kw_only=True)
    seed: int = field(kw_only=True)  # the study's; runs of one seed are compared in pairs
