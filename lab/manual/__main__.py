"""`python -m lab.manual [PART ...]` writes the generated parts of docs/ anew, and names the pages that changed."""

import argparse
from pathlib import Path

from foundation.errors import unknown
from foundation.scripts import run_script

DOCS = Path(__file__).parents[2] / "docs"


def main():
    from foundation.files import write_whole
    from lab.manual.parts import PARTS, renewed

    parser = argparse.ArgumentParser(prog="python -m lab.manual", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all, in about a minute)")
    names = parser.parse_args().parts or list(PARTS)
    for name in names:
        if name not in PARTS:
            raise unknown("part", name, PARTS)

    for page in sorted(DOCS.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if (new := renewed(text, names)) != text:
            write_whole(page.parent, page.name, new.encode())
            print(f"{page.name} changed")


if __name__ == "__main__":
    run_script(main)
