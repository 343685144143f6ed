"""The notebooks of lessons/: built from their text in git, run, and rendered as pages of the manual."""

import base64
import os
import re
import tempfile
from pathlib import Path

from foundation.errors import RunFailure, UserError, unknown
from foundation.files import write_file

ROOT = Path(__file__).parents[2]
TEXTS, PAGES = ROOT / "lessons", ROOT / "docs/lessons"
SECONDS = 1800  # a cell may take on a slow machine


def names() -> list[str]:
    """Return the names of the lessons, in order."""
    return sorted(path.stem for path in TEXTS.glob("*.py"))


def chosen(wanted) -> list[str]:
    """Return the names of lessons that a person named, by the whole name or its number; all for none. Raises UserError."""
    found = []
    for word in wanted:
        fitting = [name for name in names() if name == word or name.split("_")[0] == word.zfill(2)]
        if not fitting:
            raise unknown("lesson", word, names())
        found += fitting
    return found or names()


def notebook_of(name):
    """Return the notebook of a lesson, without outputs. Raises UserError where what builds notebooks is not installed."""
    try:
        import jupytext
    except ImportError as error:
        raise UserError(
            "lessons are built by packages of requirements/lessons.txt: pip install -r requirements/lessons.txt"
        ) from error
    notebook = jupytext.read(TEXTS / f"{name}.py")
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"{name.replace('_', '-')[:56]}-{number}"  # jupytext draws them at random
    return notebook


def with_outputs(name, notebook):
    """Return the notebook with the outputs of the one that lies beside its text, if that ran the same code; else as it is."""
    import nbformat

    path = TEXTS / f"{name}.ipynb"
    if not path.is_file():
        return notebook
    kept = {cell.source: cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"}
    own = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if all(cell.source in kept and kept[cell.source].execution_count for cell in own):
        for cell in own:
            cell.outputs, cell.execution_count = kept[cell.source].outputs, kept[cell.source].execution_count
    return notebook


def was_run(notebook) -> bool:
    """Return whether all cells of a notebook were run."""
    return all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")


def write_notebook(name, notebook) -> Path:
    """Write a notebook beside its text; return the path."""
    import nbformat

    path = TEXTS / f"{name}.ipynb"
    write_file(path, nbformat.writes(notebook).encode())
    return path


def run_notebooks(notebooks, **environment):
    """Run notebooks one after the other in one process, which keeps what they trained; `environment` is added to ours.

    Raises RunFailure with the cell and the error where one fails.
    """
    from jupyter_client.manager import KernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    with tempfile.TemporaryDirectory() as folder:
        sockets = {"transport": "ipc", "ip": os.path.join(folder, "kernel")} if os.name == "posix" else {}
        manager = KernelManager(kernel_name="python3", **sockets)
        manager.start_kernel(cwd=str(TEXTS), env=os.environ | environment)
        try:
            for name, notebook in notebooks.items():
                client = NotebookClient(notebook, km=manager, timeout=SECONDS, startup_timeout=SECONDS)
                try:
                    client.execute(cleanup_kc=False)  # the kernel is for the next one too
                except CellExecutionError as error:
                    raise RunFailure(f"lesson {name} failed: {error}") from error
                if client.kc:
                    client.kc.stop_channels()
        finally:
            manager.shutdown_kernel(now=True)


def page_of(name, notebook):
    """Return (the page of a notebook that was run, in Markdown; {name of a picture: PNG})."""
    parts, pictures = [], {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/png" in data:
                picture = f"{name}-{len(pictures) + 1}.png"
                pictures[picture] = base64.b64decode(data["image/png"])
                parts.append(f"![{_alternative(data['text/plain'])}]({picture})")
            elif "text/markdown" in data:
                parts.append(data["text/markdown"])
            elif text := data.get("text/plain", output.get("text", "")).rstrip():
                parts.append(f"```text\n{text}\n```")
    return "\n\n".join(parts) + "\n", pictures


def _alternative(words):
    """Return words that may stand in the brackets of a picture."""
    return re.sub(r"[\[\]\n]", " ", words)


def write_page(name, notebook) -> Path:
    """Write the page of a notebook that was run and its pictures to docs/lessons; return the page's path."""
    text, pictures = page_of(name, notebook)
    for old in PAGES.glob(f"{name}-*.png"):
        old.unlink()
    for picture, png in pictures.items():
        write_file(PAGES / picture, png)
    write_file(PAGES / f"{name}.md", text.encode())
    return PAGES / f"{name}.md"
