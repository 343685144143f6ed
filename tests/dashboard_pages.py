"""Pages of the dashboard without a browser."""

from processes import PATIENCE
from streamlit.testing.v1 import AppTest


def page(name, folder, **query):
    """A page as a browser asks for it, on the runs of a folder: run once, without an exception."""

    def script(name, output, weights):
        from importlib import import_module

        from lab.panels.records import Folders

        import_module(f"lab.panels.{name}").show(Folders(output, weights))

    app = AppTest.from_function(script, args=(name, str(folder / "output"), str(folder / "weights")), default_timeout=PATIENCE)
    for key, value in query.items():
        app.query_params[key] = value
    return checked(app.run())


def checked(app):
    assert not app.exception, app.exception
    return app
