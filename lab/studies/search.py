"""Search for settings: Optuna proposes, trials of several seeds are measured on val, and the winner is repeated with fresh seeds.

Val chooses, test answers: a trial is judged by the mean val accuracy of its seeds, and gets no more seeds when a look shows it to
be worse than the best so far. A claim is made of the winner alone, on test, with seeds that no trial has used: the val accuracy
of the best of many trials is too high by the luck that made it the best.
"""

from dataclasses import dataclass
from typing import Any
from zlib import crc32

from foundation.errors import RunFailure, UserError
from foundation.escaping import csv_text
from foundation.files import write_file
from foundation.flags import read_setting
from foundation.grammar import counted, listed
from foundation.paths import short_name
from foundation.settings import SETTINGS
from lab.reports.comparisons import WORSE
from lab.reports.sequential import FIRST_LOOKS, LookPlan, Question, follow
from lab.reports.statistics import paired_values
from lab.studies.asked import ON_THE_COMMAND_LINE, SCALE, check_not_taken
from lab.studies.study import LONGEST, Arm, Scale, Study

OPTIONS = ("over", "trials", "trial_seeds")
TRIALS, TRIAL_SEEDS, SEEDS = 20, 5, 5
FRESH = 1000  # the first seed of the winner's repetitions
AS_IT_IS, FAILED = "as it is", "failed"


@dataclass(frozen=True)
class Range:
    """Values of a setting among which a search proposes: from `low` to `high`, or one of `choices`."""

    name: str
    low: float = 0
    high: float = 0
    is_log: bool = False
    choices: tuple = ()

    @classmethod
    def of(cls, text):
        """Return the Range of a text such as "init_lr=0.01:1:log" or "norm=batch,group". Raises UserError."""
        name, _, values = text.partition("=")
        name = name.strip().replace("-", "_")
        if "," in values:
            choices = tuple(read_setting(f"{name}={value.strip()}")[1] for value in values.split(","))
            check_not_taken(name)
            return cls(name, choices=choices)
        low, _, rest = values.partition(":")
        high, _, scale = rest.partition(":")
        ends: list[Any] = [read_setting(f"{name}={end}")[1] for end in (low, high)]
        check_not_taken(name)
        if SETTINGS[name].type not in (int, float) or not ends[0] < ends[1] or scale not in ("", "log"):
            raise UserError(f"--over '{text}' is no range, such as init_lr=0.01:1:log, n=1:5 or norm=batch,group")
        if scale and ends[0] <= 0:
            raise UserError(f"--over '{text}': a logarithmic range begins above 0")
        return cls(name, *ends, is_log=bool(scale))

    def suggest(self, trial):
        """Return what Optuna's trial proposes; of a float four digits, which a reader can type."""
        if self.choices:
            return trial.suggest_categorical(self.name, self.choices)
        if SETTINGS[self.name].type is int:
            return trial.suggest_int(self.name, self.low, self.high, log=self.is_log)
        return float(f"{trial.suggest_float(self.name, self.low, self.high, log=self.is_log):.4g}")


def add_arguments(group):
    group.add_argument(
        "--over",
        action="append",
        default=[],
        metavar="NAME=LOW:HIGH[:log]",
        help="a setting and its range, or its values (norm=batch,group), once for each; others as the shipped ones or --set",
    )
    group.add_argument("--trials", type=int, help=f"settings that are tried (default: {TRIALS})")
    group.add_argument("--trial-seeds", type=int, help=f"the most seeds of a trial (default: {TRIAL_SEEDS})")


def answer(arguments):
    """Search, then repeat the winner beside the settings as they are with fresh seeds. Returns the exit code."""
    from lab.studies.running import answer, folder_of, overrides_of, show

    ranges = [Range.of(text) for text in arguments.over]
    names = [each.name for each in ranges]
    if not ranges or len(set(names)) < len(names):
        raise UserError("a search takes --over for each setting once, such as: python study.py search --over init_lr=0.01:1:log")
    if arguments.engine == "slurm":
        raise UserError("a search waits for its trials: --engine local or ray")
    if arguments.publish or arguments.arms != ["*"]:
        raise UserError("a search takes neither --publish nor --arms: its arms are known when it is over")
    if both := sorted(overrides_of(arguments).keys() & set(names)):
        raise UserError(f"--over {both[0]} tries several values: leave it out of what all trials share (--set, --data, --epochs)")
    arguments.name, arguments.scale = short_name(f"search-{'-'.join(names)}", LONGEST), SCALE
    search = Search(ranges, folder_of(arguments), arguments)
    if arguments.dry_run:
        code = show(search.runs_of(AS_IT_IS, {}))
        trials, most = arguments.trials or TRIALS, search.plan.most
        print(f"at most {counted(trials + 1, 'trial')} of {FIRST_LOOKS[0]} to {most} seeds, then 2 arms of fresh seeds")
        return code
    rows = search.run(0 if arguments.report else arguments.trials or TRIALS)
    best = _best(rows)
    if best is None or len(rows) == 1:
        print("no trial is finished yet: there is nothing to report")
        return 0
    if not best[1]:
        print("no trial is better on val than the settings as they are: nothing is claimed, and nothing to repeat")
        return 0
    return answer(study_of_winner(best[1], search), arguments)


class Search:
    """Trials of a search; their record is Optuna's, in the study's folder, and a search that was killed goes on."""

    def __init__(self, ranges, folder, arguments):
        self.ranges, self.folder, self.arguments = ranges, folder, arguments
        self.plan = LookPlan(1.0, arguments.trial_seeds or TRIAL_SEEDS)
        self.optuna = _import_optuna()

    def run(self, trials):
        """Make trials until there are so many; return their rows (name, settings, ({seed: val accuracy}, state)).

        The first is of the settings as they are. Raises a RunFailure, after all trials, if some have failed.
        """
        from optuna.storages.journal import JournalFileBackend

        folder = self.folder
        folder.mkdir(parents=True, exist_ok=True)
        backend = JournalFileBackend(str(folder / "trials.log"))
        record = self.optuna.create_study(
            storage=self.optuna.storages.JournalStorage(backend), study_name="search", direction="maximize", load_if_exists=True
        )
        self._check_ranges(record)
        rows: list[tuple] = [(AS_IT_IS, {}, self._measure(AS_IT_IS, {}, None, trials > 0))]
        states = self.optuna.trial.TrialState
        for killed in record.get_trials(states=(states.RUNNING,)):
            record.tell(killed.number, state=states.FAIL)
            record.enqueue_trial(killed.params)  # its runs have names by their settings: what is finished is found again
        replayed = [trial for trial in record.get_trials() if trial.state in (states.COMPLETE, states.PRUNED)]
        for trial in replayed:
            settings = trial.user_attrs["settings"]
            rows.append((f"trial {len(rows)}", settings, self._measure(_arm_of(settings), settings, _best(rows), False)))
        while len(rows) <= trials:
            # A sampler of its own for each trial: a search that goes on proposes what it would have proposed.
            record.sampler = self.optuna.samplers.TPESampler(seed=len(rows))
            trial = record.ask()
            settings = {each.name: each.suggest(trial) for each in self.ranges}
            trial.set_user_attr("settings", settings)
            values, state = self._measure(_arm_of(settings), settings, _best(rows), True)
            rows.append((f"trial {len(rows)}", settings, (values, state)))
            if state == "complete":
                record.tell(trial, _mean(values))
            elif state != FAILED:  # one that failed stays as one that was killed, for the next command to try it again
                record.tell(trial, state=states.PRUNED)
            print(f"  {_line(rows[-1])}", flush=True)
            write_file(folder / "trials.csv", _as_csv(rows))
        failed = [name for name, _, (_, state) in rows if state == FAILED]
        if failed and trials:
            raise RunFailure(f"{listed(failed)} failed, see trials.csv and the runs in {folder}; the same command tries again")
        return rows

    def _check_ranges(self, record):
        """Raise a UserError if the search was begun over other ranges: its trials would be those of two searches."""
        begun = record.user_attrs.get("over", self.arguments.over)
        if set(map(Range.of, begun)) != set(self.ranges):
            raise UserError(
                f"the search in {self.folder} was begun over {', '.join(begun)}: give these, or choose another --output-dir"
            )
        record.set_user_attr("over", self.arguments.over)

    def _measure(self, arm, settings, best, may_train):
        """Return ({seed: val accuracy in percent}, state): of all seeds, or of those until a look shows it to be worse."""
        from lab.engines.fleet import run_all
        from lab.reports.live import ProgressLine
        from lab.studies.running import engine_of

        try:
            runs = self.runs_of(arm, settings)
        except UserError as error:
            if not settings:
                raise
            return {}, f"can't be: {error}"
        values = {}
        for seeds in self.plan.seeds:
            going = [planned for planned in runs if planned.seed < seeds]
            if may_train:
                run_all(going, engine_of(self.arguments, going), ProgressLine(arm), lambda: None)
            values = {one.seed: 100 * one.metrics()["val"]["accuracy"] for one in going if one.is_finished()}
            if len(values) < seeds:
                return values, FAILED
            if best and _is_worse(values, best[2][0], self.plan, seeds):
                return values, "worse than the best"
        return values, "complete"

    def runs_of(self, arm, settings):
        """Return the runs of a trial, all of its seeds."""
        from lab.studies.running import overrides_of

        study = Study("", "", (Arm(arm, settings),), arm, {SCALE: Scale({})})
        name = self.folder.name
        return study.plan(f"{name}-trial", SCALE, study.arms, self.plan.most, self.folder, overrides_of(self.arguments))


def study_of_winner(settings, search) -> Study:
    """Return the Study that repeats the winner beside the settings as they are, with seeds that no trial has used."""
    words = ", ".join(f"{name}={value}" for name, value in settings.items())
    names = listed([each.name for each in search.ranges])
    return Study(
        question=f"Are the settings that a search over {names} found better than those as they are?",
        source=f"{ON_THE_COMMAND_LINE}; chosen by val among the trials in trials.csv",
        arms=(Arm(AS_IT_IS, {}, first_seed=FRESH), Arm(words, settings, first_seed=FRESH)),
        reference=AS_IT_IS,
        scales={SCALE: Scale({}, seeds=SEEDS)},
        remarks=(f"The seeds are fresh, from {FRESH} on: no trial has used them. The search has seen val alone.",),
    )


def _is_worse(values, best, plan, seeds):
    """Return whether a look so far shows a trial to be worse than the best one; both are {seed: val accuracy}."""
    question = Question("trial", "best", paired_values(values, best), frozenset({"trial"}))
    return follow([question], plan, None, lambda arm, seed: seed < seeds).comparisons[0].verdict == WORSE


def _best(rows):
    """Return the row of the highest mean val accuracy among those with all their seeds; None if there is none."""
    return max((row for row in rows if row[2][1] == "complete"), key=lambda row: _mean(row[2][0]), default=None)


def _mean(values):
    return sum(values.values()) / len(values)


def _arm_of(settings):
    return f"trial-{crc32(repr(sorted(settings.items())).encode()):08x}"


def _line(row):
    name, settings, (values, state) = row
    words = ", ".join(f"{setting}={value}" for setting, value in settings.items()) or "the settings as they are"
    found = f"val {_mean(values):.2f} % over {counted(len(values), 'seed')}" if values else "no result"
    return f"{name}: {words}: {found}, {state}"


def _as_csv(rows):
    names = list(rows[-1][1])
    table = [["trial", *names, "val_accuracy_percent", "seeds", "state"]]
    for name, settings, (values, state) in rows:
        table.append(
            [name, *(settings.get(one, "") for one in names), f"{_mean(values):.4f}" if values else "", len(values), state]
        )
    return csv_text(table).encode()


def _import_optuna():
    try:
        import optuna
    except ImportError as error:
        raise UserError("a search needs the package optuna: pip install -r requirements/search.txt") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
