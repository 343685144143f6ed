"""`python dashboard.py` shows runs, studies and networks in a browser on this machine. It only reads."""

import socket
import sys

from foundation.command_line import Parser
from foundation.errors import UserError
from foundation.paths import typed_path
from foundation.scripts import run_script

ADDRESS, LAST_PORT = "127.0.0.1", 65535
# Streamlit's settings. None of its own files is written, nothing is reported to anybody, uploads stay in memory.
SETTINGS = {
    "server.address": ADDRESS,
    "server.headless": True,
    "server.fileWatcherType": "none",
    "server.maxUploadSize": 10,  # MB
    "browser.gatherUsageStats": False,
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "logger.hideWelcomeMessage": True,
    "theme.base": "light",  # like the figures
    "theme.primaryColor": "#0072B2",
}


def main():
    arguments = _parse()
    _check_port(arguments.port)

    from streamlit import net_util
    from streamlit.web import bootstrap

    # By default Streamlit asks other hosts for the addresses of this machine, to allow requests from pages served there.
    net_util._internal_ip = net_util._external_ip = ADDRESS
    served = SETTINGS | {"server.port": arguments.port}
    flags = {name.replace(".", "_"): value for name, value in served.items()}
    bootstrap.load_config_options(flags)
    print(f"the dashboard is at http://{ADDRESS}:{arguments.port}; Ctrl-C ends it", flush=True)
    bootstrap.run(__file__, False, sys.argv[1:], flags)


def _parse():
    parser = Parser(description=__doc__)
    parser.add_argument(
        "--output-dir", type=typed_path, default="output", help="where runs and studies lie (default: %(default)s)"
    )
    parser.add_argument("--weights-dir", type=typed_path, help="where their weights lie (default: where each run's settings say)")
    parser.add_argument("--port", type=int, default=8501, help=f"port of {ADDRESS} to listen on (default: %(default)s)")
    return parser.parse_args()


def _check_port(port):
    """Raise a UserError if the port can't be used."""
    if not 1 <= port <= LAST_PORT:
        raise UserError(f"--port is {port}, allowed: 1 to {LAST_PORT}")
    try:
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind((ADDRESS, port))
    except OSError as error:
        raise UserError(f"port {port} can't be used ({error}): choose another with --port") from error


def _is_shown():
    """Return whether Streamlit runs this file for a browser, as opposed to a person at a terminal."""
    if "streamlit" not in sys.modules:
        return False
    from streamlit import runtime

    return runtime.exists()


if __name__ == "__main__":
    if _is_shown():
        from lab.panels.pages import show

        show(_parse())
    else:
        run_script(main)
