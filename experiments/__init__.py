"""One thin script per stage of the pipeline. `run` turns what a user can mend into one line and exit code 1."""

import argparse
import errno
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from capsrepro.errors import Error


def run(main: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser) -> None:
    """Parses the command line and calls `main`; an `Error` or a fault of the system is one line and exit code 1."""
    arguments = parser.parse_args()
    logging.basicConfig(format="%(levelname)s: %(message)s")
    try:
        main(arguments)
    except Error as fault:
        sys.exit(f"error: {fault}")
    except OSError as fault:
        remedy = "free some space and run it again" if fault.errno == errno.ENOSPC else "mend that and run it again"
        sys.exit(f"error: {fault}; {remedy}")
    except KeyboardInterrupt:
        sys.exit(130)


def run_arguments(description: str | None) -> argparse.ArgumentParser:
    """The command line of the stages that handle one run: `RUN --scale quick --seed 0`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("run", help="an entry under `runs` of the parameter file, such as mnist-capsnet-r3-recon")
    parser.add_argument("--scale", default="quick", help="an entry under `scale_settings`: quick, full or paper")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order, distortion and dropout")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="the parameter file")
    parser.add_argument("--data", type=Path, default=Path("data"), help="where experiments.fetch put the data sets")
    return parser
