"""A check's finding: what was measured, and whether it is as it should be."""

from dataclasses import dataclass, field

from foundation.errors import printable

OK, FAILED, SKIPPED = "ok", "FAILED", "skipped"


@dataclass(frozen=True)
class Finding:
    """One line of `train.py --check`. `measured` holds the figures of its sentence by name, for the record."""

    name: str
    verdict: str  # OK, FAILED, or SKIPPED where the check does not apply
    sentence: str
    measured: dict = field(default_factory=dict)

    def line(self) -> str:
        return f"{self.verdict:8} {self.name:20} {printable(self.sentence)}"

    def record(self):
        return {"check": self.name, "verdict": self.verdict.lower(), "sentence": self.sentence} | self.measured


def finding(name, is_well, sentence, **measured) -> Finding:
    """Return the Finding of a check that applies."""
    return Finding(name, OK if is_well else FAILED, sentence, measured)


def skipped(name, why) -> Finding:
    return Finding(name, SKIPPED, why)
