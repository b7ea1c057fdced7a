"""The commands of the pipeline, one script each, and the shared parts of their command lines."""

import sys

# From the first import on, Ctrl-C ends a command without a traceback.
sys.excepthook = lambda kind, *told: None if kind is KeyboardInterrupt else sys.__excepthook__(kind, *told)

import argparse  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402

from capsrepro.core import console, params, paths, text  # noqa: E402
from capsrepro.core.errors import Error, Stopped  # noqa: E402
from capsrepro.core.validation import Name, validated  # noqa: E402

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
        console.flush()
    except BrokenPipeError:  # what reads the output has seen enough
        console.discard()
        sys.exit(128 + signal.SIGPIPE)
    except (Error, OSError) as fault:
        sys.exit(f"error: {text.message(fault)}")
    except MemoryError:
        sys.exit("error: not enough memory; close other programs, or ask for less at once")
    except ModuleNotFoundError as fault:
        if str(fault.name).partition(".")[0] not in {"tensorflow", "jax", "torch"}:
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
    parser.add_argument("--scale", type=NAME, default="quick", help="an entry under `scale_settings`, such as full")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="the parameter file")
    parser.add_argument("--data", type=Path, default=Path("data"), help="the folder of the data sets")
    return parser


def run_arguments(description: str | None) -> argparse.ArgumentParser:
    """The command line of scripts for one run: `RUN --scale quick --seed 0`."""
    parser = scale_arguments(description)
    parser.add_argument("run", type=NAME, help="an entry under `runs` in params.yaml, such as mnist-capsnet-r3-recon")
    parser.add_argument("--seed", type=SEED, default=0, help="seed of weights, data order, distortion and dropout")
    return parser


def at_least(least: float, most: float = 2**63 - 1) -> Callable[[str], float]:
    """An argparse type for numbers from `least` to `most`; whole numbers if `least` is an int."""

    def number(word: str) -> float:
        try:
            value = type(least)(word)
        except ValueError:
            kind = "whole number" if type(least) is int else "number"
            raise argparse.ArgumentTypeError(f"expected a {kind}, received {word!r}") from None
        if not least <= value <= most:
            bound = f"{'at most' if value > most else 'at least'} {min(max(least, value), most)}"
            raise argparse.ArgumentTypeError(f"expected {bound}, received {word}")
        return value

    return number


def _name(word: str) -> str:
    try:
        return str(validated(Name, word, "name"))
    except Error as fault:
        raise argparse.ArgumentTypeError(str(fault)) from None


SEED = at_least(0, params.MOST_SEED)  # an argparse type
NAME = _name  # another, for runs and scales, which become names of files and folders
