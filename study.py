"""`python study.py NAME` answers a question by runs and statistics; `python study.py` lists the questions."""

from foundation.errors import UserError
from foundation.paths import typed_path
from foundation.scripts import run_script
from lab import studies
from lab.studies.arguments import ASKED, read_arguments
from lab.studies.running import answer


def main():
    arguments = read_arguments()
    if arguments.results:
        if arguments.publish or arguments.report:
            raise UserError("--results collects what is published and trains nothing: leave out --publish and --report")
        return _collect(arguments)
    if arguments.name is None:
        return _list()
    if arguments.name in ASKED:
        return ASKED[arguments.name].answer(arguments)
    return answer(studies.find(arguments.name), arguments)


def _list():
    for name in studies.names():
        print(f"{name:24} {studies.find(name).question}")
    return 0


def _collect(arguments):
    """Write RESULTS.md, or another file, from published records, and the scoreboard of a README beside it."""
    if arguments.name:
        studies.find(arguments.name)
        if not any(typed_path(arguments.published_dir).glob(f"{arguments.name}/*/*.json")):
            raise UserError(
                f"study '{arguments.name}' has no published runs in {arguments.published_dir}; "
                f"python study.py {arguments.name} --publish makes some"
            )
    from lab.manual.results import published_results, write_scoreboard
    from lab.reports.collection import write_results

    target = typed_path(arguments.results)
    with published_results(arguments.published_dir, arguments.name) as (answers, scores):
        write_results(answers, scores, target)
        print(f"{arguments.results}: {', '.join(answer.title for answer in answers) or 'nothing published yet'}")
        if not arguments.name:
            write_scoreboard(scores, target.parent / "README.md")
    return 0


if __name__ == "__main__":
    run_script(main)
