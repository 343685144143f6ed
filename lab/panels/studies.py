"""Studies: the report of each, how far those are that have none yet, the state of each question, and the scoreboard."""

import streamlit as st

from datasets.images import BrokenImage, read_picture
from foundation import files
from foundation.errors import UserError
from foundation.escaping import for_html
from lab.panels.elements import begin, check_address, guarded, shown_text, verbatim
from lab.panels.questions import show_questions, show_scoreboard
from lab.panels.records import find_records

# A report needs styles and pictures of its own and nothing else. The policy keeps it from fetching anything, also by a link that
# somebody clicks; the inner frame's empty sandbox from scripts, forms, and from leaving for another page.
ALLOWED = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
POLICY = f'<!doctype html><meta http-equiv="Content-Security-Policy" content="{ALLOWED}">'
FRAME = '<iframe sandbox="" title="report" style="position: fixed; inset: 0; width: 100%; height: 100%; border: 0" srcdoc="{}">'
LARGEST = 64 << 20  # bytes of a report, which has its pictures in itself


@guarded
def show(folders):
    begin("Studies")
    _show_runs(folders)
    show_questions(folders)
    show_scoreboard()


def _show_runs(folders):
    """Show the report of one study that was begun here, and how far it is."""
    names = sorted(path.parent.name for path in folders.studies.glob("*/runs"))
    if not names:
        st.info(f"No study in {verbatim(folders.studies)} yet: `python study.py` lists what there is to ask.")
        return
    check_address("study", names)
    name = st.selectbox("Study", names, key="study", bind="query-params")
    records = [record for record in find_records(folders) if record.name.startswith(f"{name}/")]
    counts = {state: sum(record.state == state for record in records) for state in ("finished", "training", "stopped", "broken")}
    st.caption(", ".join(f"{count} {state}" for state, count in counts.items() if count) or "no run has begun")
    report, curves, progress = (folders.studies / name / file for file in ("report.html", "curves.png", "progress.json"))
    if progress.exists():
        st.dataframe(_progress(progress), hide_index=True)
    if report.exists():
        st.iframe(framed(_report(report)), height=1000)
    else:
        st.info("The report is written when the study's last run has ended.")
        if curves.exists():
            st.image(_picture(curves), width="stretch", alt=f"curves of {name} so far")


def framed(report) -> str:
    """A page that shows the report of a stranger and lets it do nothing."""
    return POLICY + FRAME.format(for_html(report))


def _report(path):
    try:
        return files.read_text(path, LARGEST)
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}") from error


def _progress(path):
    """Return what a study that trains says of its arms, rows of text."""
    rows = files.read_json(path)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{path} is damaged: it holds no rows")
    return [{shown_text(name): shown_text(text) for name, text in row.items()} for row in rows]


def _picture(path):
    try:
        return read_picture(path)
    except (BrokenImage, OSError) as error:
        raise UserError(f"{path} can't be read: {error}") from error
