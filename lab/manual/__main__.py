"""`python -m lab.manual [PART ...]` writes the generated parts of README.md and docs/ anew, and names the pages that changed."""

from pathlib import Path

from foundation.command_line import Parser
from foundation.errors import unknown
from foundation.scripts import run_script

ROOT = Path(__file__).parents[2]


def main():
    from foundation.files import write_whole
    from lab.manual.parts import PARTS, renewed

    parser = Parser(prog="python -m lab.manual", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all, in about a minute)")
    names = parser.parse_args().parts or list(PARTS)
    for name in names:
        if name not in PARTS:
            raise unknown("part", name, PARTS)

    chosen = {name: PARTS[name] for name in names}
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = page.read_text(encoding="utf-8")
        if (new := renewed(text, chosen)) != text:
            write_whole(page.parent, page.name, new.encode())
            print(f"{page.name} changed")


if __name__ == "__main__":
    run_script(main)
