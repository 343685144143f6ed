"""Published results with the scoreboard of claims, for RESULTS.md and the front page."""

import contextlib
import tempfile
from pathlib import Path

from foundation.files import write_file
from foundation.grammar import agreeing, counted
from lab.manual.markdown import table
from lab.reports.collection import Answer
from lab.reports.scoreboard import scores, short_board
from lab.studies.claims import CLAIMS
from lab.studies.published import FOLDER, measures_of, sessions

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def published_results(folder=ROOT / FOLDER, only=None):
    """Yield (Answers, Scores of all claims) of published results, or of `only` one study. Raises UserError.

    The records are unpacked for as long as the block runs.
    """
    with tempfile.TemporaryDirectory() as work:
        answers = [Answer.of(session, measures_of(folder, session)) for session in sessions(folder, work, only)]
        yield answers, scores(CLAIMS, answers)


def scoreboard_table(found=None):
    """Return the short scoreboard, in Markdown, of these Scores, or of the results of this repository."""
    if found is None:
        with published_results() as (_, found):
            return scoreboard_table(found)
    (head, *rows), opened = short_board(found)
    still = f"{counted(opened, 'claim')} {agreeing(opened, 'is', 'are')} still open."
    return f"{table(head, rows)}\n\n{still}" if rows else still


def write_scoreboard(found, page):
    """Write the scoreboard of Scores to a page that has a place for it; nothing happens to others."""
    from lab.manual.parts import renewed

    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    if (new := renewed(text, {"scoreboard": lambda: scoreboard_table(found)})) != text:
        write_file(page, new.encode())
