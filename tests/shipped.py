"""Settings as they are shipped, whatever config.py's user edited: for tests, and for the processes that they start."""

import os

from processes import TEMPORARY


def forget_edits():
    """Lets the scripts read a config.py with the shipped values; the user's file stays as it is.

    All but one: numbers of trainings are compared, on processors that compute in bfloat16 and on others.
    """
    if "RESLAB_CONFIG" not in os.environ:
        from foundation import config_file

        (TEMPORARY / "config.py").write_text(config_file.render({"precision": "float32"}))
        os.environ["RESLAB_CONFIG"] = str(TEMPORARY / "config.py")
