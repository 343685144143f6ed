"""Studies: the report of each, and how far those are that have none yet."""

import streamlit as st

from panels.elements import guarded, verbatim
from panels.records import find_records

# A report needs styles and pictures of its own and nothing else: scripts and addresses in it stay dead.
ALLOWED = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
POLICY = f'<!doctype html><meta http-equiv="Content-Security-Policy" content="{ALLOWED}">'


@guarded
def show(folders):
    st.title("Studies")
    names = sorted(path.parent.name for path in folders.studies.glob("*/runs"))
    if not names:
        st.info(f"No study in {verbatim(folders.studies)} yet: `python study.py` lists what there is to ask.")
        return
    name = st.selectbox("Study", names, key="study", bind="query-params")
    records = [record for record in find_records(folders) if record.name.startswith(f"{name}/")]
    counts = {state: sum(record.state == state for record in records) for state in ("finished", "training", "stopped", "broken")}
    st.caption(", ".join(f"{count} {state}" for state, count in counts.items() if count) or "no run has begun")
    report, curves = (folders.studies / name / file for file in ("report.html", "curves.png"))
    if report.is_file():
        st.iframe(POLICY + report.read_text(), height=1000)
    else:
        st.info("The report is written when the study's last run has ended.")
        if curves.is_file():
            st.image(curves.read_bytes(), width="stretch", alt=f"curves of {name} so far")
