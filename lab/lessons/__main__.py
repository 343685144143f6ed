"""`python -m lab.lessons [LESSON ...]` builds the notebooks of lessons/; `--run` also runs them and renders docs/lessons/.

Outputs stay where the code has not changed since: then words that were changed are on the page too.
"""

from foundation.command_line import Parser
from foundation.scripts import run_script


def main():
    parser = Parser(prog="python -m lab.lessons", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("lessons", nargs="*", metavar="LESSON", help="its name or number (default: all)")
    parser.add_argument(
        "--run", action="store_true", help="run them, at most 5 minutes each on two cores, and render their pages"
    )
    arguments = parser.parse_args()

    from lab.lessons.notebooks import chosen, notebook_of, run_notebooks, was_run, with_outputs, write_notebook, write_page

    for name in chosen(arguments.lessons):
        notebook = notebook_of(name)
        if arguments.run:
            print(f"running {name}", flush=True)
            run_notebooks({name: notebook})
        else:
            notebook = with_outputs(name, notebook)
        print(write_notebook(name, notebook))
        if was_run(notebook):
            print(write_page(name, notebook))


if __name__ == "__main__":
    run_script(main)
