"""The commands of the pipeline, one script each, and the shared parts of their command lines."""

import argparse
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from capsrepro.core import console, params, paths, text
from capsrepro.core.errors import Error, Stopped

BACKENDS = ("tensorflow", "jax", "torch")
FETCHED = ("cifar10", "smallnorb", "svhn")  # fetched when a run needs them; all others are MNIST or made from it


def run_cli(
    main: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser, *, intermixed: bool = False
) -> None:
    """Parses the command line and calls `main`; a user-correctable error is one line and exit code 1.

    `intermixed` allows options between the words of one list.
    """
    text.encode_anything(sys.stdout, sys.stderr)
    parser.add_argument("--verbose", action="store_true", help="show what TensorFlow logs, too")
    arguments = parser.parse_intermixed_args() if intermixed else parser.parse_args()
    if arguments.verbose:
        os.environ[console.LEVEL] = "0"
    logging.basicConfig(format="%(levelname)s: %(message)s")
    if "params" in arguments and paths.found(arguments.params) != arguments.params:
        print(f"no {arguments.params} here: what is not in this folder is read from the package", file=sys.stderr)
    try:
        main(arguments)
    except (Error, OSError) as fault:
        sys.exit(f"error: {text.message(fault)}")
    except ModuleNotFoundError as fault:
        if str(fault.name).partition(".")[0] not in BACKENDS:
            raise
        sys.exit(f"error: {fault}; install it, or set KERAS_BACKEND to one that is installed")
    except Stopped as stop:
        print(f"stopped: {text.message(stop)}", file=sys.stderr)
        sys.exit(128 + stop.signal)  # 130 after Ctrl-C, 143 after SIGTERM, as in shells
    except KeyboardInterrupt:
        sys.exit(130)


def scale_arguments(description: str | None) -> argparse.ArgumentParser:
    """The command line of scripts for one scale: `--scale quick --params params.yaml --data data`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--scale", default="quick", help="an entry under `scale_settings`, such as full")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="the parameter file")
    parser.add_argument("--data", type=Path, default=Path("data"), help="the folder of the data sets")
    return parser


def run_arguments(description: str | None) -> argparse.ArgumentParser:
    """The command line of scripts for one run: `RUN --scale quick --seed 0`."""
    parser = scale_arguments(description)
    parser.add_argument("run", help="an entry under `runs` of the parameter file, such as mnist-capsnet-r3-recon")
    parser.add_argument("--seed", type=SEED, default=0, help="seed of weights, data order, distortion and dropout")
    return parser


def boolean_flag(parser: argparse.ArgumentParser, name: str, default: bool, help: str) -> None:  # noqa: A002
    """Adds a flag that is parsed as in the released code: `--name`, `--noname`, `--name=false`, `--name false`."""
    parser.add_argument(
        f"--{name}", type=_boolean, nargs="?", const=True, default=default, metavar="true|false", help=help
    )
    same = f"the same as --{name}=false"
    parser.add_argument(f"--no{name}", dest=name, action="store_false", default=argparse.SUPPRESS, help=same)


def at_least(least: float, most: float = 2**63 - 1) -> Callable[[str], float]:
    """An argparse type for numbers from `least` to `most`; whole numbers if `least` is an int."""

    def number(word: str) -> float:
        if not least <= (value := type(least)(word)) <= most:
            bound = f"{'at most' if value > most else 'at least'} {min(max(least, value), most)}"
            raise argparse.ArgumentTypeError(f"expected {bound}, received {word}")
        return value

    return number


def _boolean(word: str) -> bool:
    if (value := {"true": True, "1": True, "false": False, "0": False}.get(word.lower())) is None:
        raise argparse.ArgumentTypeError(f"expected true or false, received {word!r}")
    return value


SEED = at_least(0, params.MOST_SEED)  # an argparse type
