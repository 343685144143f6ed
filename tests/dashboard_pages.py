"""Pages of the dashboard without a browser."""

import functools

import streamlit
from processes import PATIENCE
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

# For every page, Streamlit reads what all installed packages say of themselves, to find components, and afterwards looks for
# garbage: both take longer than the page.
manifest_scanner.scan_component_manifests = functools.cache(manifest_scanner.scan_component_manifests)
streamlit.config.set_option("runner.postScriptGC", False)


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
