"""The state of every question that studies ask, and the scoreboard of published results."""

import streamlit as st

from foundation.grammar import agreeing, counted
from lab import studies
from lab.panels.records import find_records
from lab.reports import cells
from lab.reports.comparisons import PILOT
from lab.reports.scoreboard import OPEN


def show_questions(folders):
    """Show each study with its question, its runs in this folder, and what was published of it."""
    st.subheader("Every question", anchor=False)
    records, (answers, _) = find_records(folders), published(_version())
    rows = [
        _row(name, folders, records, [answer for answer in answers if answer.session.name == name]) for name in studies.names()
    ]
    st.dataframe({head: [row[head] for row in rows] for head in rows[0]}, hide_index=True)


def _row(name, folders, records, answers):
    own = [record for record in records if record.name.startswith(f"{name}/")]
    done = sum(record.state == "finished" for record in own)
    here = f"{done} of {counted(len(own), 'run')} finished" if own else "not begun"
    here += ", report written" if (folders.studies / name / "report.html").exists() else ""
    return {
        "study": name,
        "question": studies.find(name).question,
        "here": here,
        "published": "; ".join(map(_state, answers)) or "nothing yet",
    }


def _state(answer):
    seeds = max((len(values) for values in answer.accuracies.values()), default=0)
    if seeds <= PILOT:
        return f"{answer.session.scale}: a pilot of {counted(seeds, 'seed')}"
    decided = sum(one.is_answered for one in answer.comparisons)
    total = len(answer.comparisons)
    answered = f"{decided} of {counted(total, 'comparison')} {agreeing(total, 'is', 'are')} answered"
    return f"{answer.session.scale}: {answered}, {counted(seeds, 'seed')}"


def show_scoreboard():
    """Show what became of claims of papers in the results that this version was published with."""
    st.subheader("Scoreboard", anchor=False)
    _, scores = published(_version())
    opened = sum(score.verdict == OPEN for score in scores)
    st.caption(f"Claims of papers in our published results; {opened} of {len(scores)} are still open. Differences are in points.")
    rows = [_score(score) for score in scores]
    st.dataframe({head: [row[head] for row in rows] for head in rows[0]}, hide_index=True)


def _score(score):
    one = score.comparison
    found = {"claim": score.claim.sentence, "source": score.claim.source, "here": score.verdict}
    found |= {"takes": score.takes.replace("`", ""), "difference": f"{one.difference.mean:+.2f}" if one else ""}
    found |= {"all together 95 %": cells.interval(one.simultaneous, "+") if one else "", "seeds": len(one.values) if one else 0}
    return found | {"where": score.answer.title if score.answer else ""}


@st.cache_resource(max_entries=1, show_spinner="reading published results")
def published(version):
    """Return (Answers, Scores of all claims) of the results in this repository, whose newest record is of this `version`."""
    from lab.manual.results import published_results

    with published_results() as found:
        return found


def _version():
    from lab.manual.results import ROOT
    from lab.studies.published import FOLDER

    times = [path.stat().st_mtime_ns for path in (ROOT / FOLDER).rglob("*.json")]
    return len(times), max(times, default=0)
