"""Trains or tests with the released code's command line; reads its record files and checkpoints as well as ours."""

import argparse
import sys
from pathlib import Path
from typing import Any

from capsrepro.core.errors import Error
from . import SEED, at_least, run_cli
from .mnist_shift import boolean_flag


def main(arguments: argparse.Namespace) -> None:
    """Trains a network, or tests a checkpoint, an ensemble, or the checkpoints of a running training."""
    from capsrepro.released import inputs
    from capsrepro.released.settings import Hparams, settings

    hparams = Hparams.read(arguments.hparams_override)
    targets, steps, save_steps = arguments.num_targets, arguments.max_steps, arguments.save_step
    wanted = settings(arguments.model, hparams, targets=targets, steps=steps, save_steps=save_steps)
    split = {"train": arguments.train, "validate": arguments.validate}
    dataset = inputs.load(arguments.dataset, arguments.data_dir, **split, targets=targets)
    from capsrepro.network import devices  # takes seconds, errors come before

    devices.share_gpus()
    size = "x".join(map(str, dataset.image_shape))
    print(f"{dataset.name}: {len(dataset)} images of {size}; {wanted.model} with {wanted.loss} loss", flush=True)
    if arguments.train:
        train(arguments, wanted, dataset, hparams.verbose)
    else:
        test(arguments, wanted, dataset)


def train(arguments: argparse.Namespace, wanted: Any, dataset: Any, pictures: bool) -> None:
    """Trains one network in `summary_dir/train`."""
    from capsrepro.released import training

    if arguments.num_trials > 1:
        raise Error("--num_trials: is for --train=false; train each member with its own --seed and --summary_dir")
    prefix = training.train(
        wanted,
        dataset,
        arguments.summary_dir / "train",
        seed=arguments.seed,
        replicas=arguments.num_gpus,
        start=arguments.checkpoint,
        pictures=pictures,
        verbose=1 if sys.stdout.isatty() else 2,
    )
    print(prefix)


def test(arguments: argparse.Namespace, wanted: Any, dataset: Any) -> None:
    """Tests `--checkpoint`; if it is not given, tests each new checkpoint in `summary_dir/train`."""
    from capsrepro.released import evaluation

    if arguments.checkpoint:
        rounds = iter([evaluation.members(arguments.checkpoint, arguments.num_trials)])
    elif arguments.num_trials > 1:
        raise Error("--num_trials: needs --checkpoint with a {} in it for the number of each member")
    else:
        folder = arguments.summary_dir / "train"
        newer = evaluation.follow(folder, seconds=arguments.poll_seconds, polls=arguments.polls)
        rounds = ([prefix] for prefix in newer)
    prefixes = None
    for prefixes in rounds:
        score = evaluation.evaluate(
            wanted,
            dataset,
            prefixes,
            folder=arguments.summary_dir / "test",
            examples=arguments.eval_size,
            predictions=arguments.predictions_file,
        )
        print(f"{prefixes[-1]}: {score.examples} images")
        print(f"Total wrong predictions: {score.wrong}, wrong percent: {score.error_pct:g}%", flush=True)
    if prefixes is None:
        raise Error(f"{arguments.summary_dir / 'train'}: no checkpoint came; give --checkpoint or start the training")


def flags() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.epilog = (
        "KEYs: decay_rate, decay_steps, leaky, learning_rate, loss_type (margin, softmax, sigmoid), routing, "
        "num_prime_capsules, padding (VALID, SAME), remake (the decoder), verbose (TensorBoard pictures)."
    )
    add = parser.add_argument
    add("--data_dir", required=True, help="folder of the data, or for MNIST a record file; path@N for N shards")
    add(
        "--summary_dir",
        type=Path,
        required=True,
        help="output folder: checkpoints go to its subfolder train, summaries to train and test",
    )
    add("--dataset", choices=("mnist", "norb", "cifar10"), default="mnist", help="the data set in data_dir")
    add("--model", choices=("capsule", "baseline"), default="capsule", help="the network")
    boolean_flag(parser, "train", True, "train; false: test")
    boolean_flag(parser, "validate", False, "train without the validation split, or test on it")
    add("--checkpoint", default="", help="checkpoint to test or start from, without .index; {}: number of a member")
    add("--max_steps", type=at_least(1, 10**9), default=1000, help="train up to this step")
    add("--save_step", type=at_least(1, 10**9), default=1500, help="steps between checkpoints; the last is saved too")
    add("--num_gpus", type=at_least(1), default=1, help="number of GPUs that share each training batch")
    add("--num_targets", type=int, choices=(1, 2), default=1, help="digits in an image")
    add("--num_trials", type=at_least(1, 1000), default=1, help="members of the ensemble to test")
    add("--eval_size", type=at_least(1), help="number of images to test, from the first; if not given: all")
    add("--hparams_override", default="", metavar="KEY=VALUE,...", help="settings, see below")
    add("--predictions_file", type=Path, metavar="F.npz", help="test: write scores [N, classes] and labels")
    add("--poll_seconds", type=at_least(0.0, 1e6), default=60, help="test during a training: seconds between two polls")
    add("--polls", type=at_least(1), default=360, help="test during a training: polls without a checkpoint to stop")
    add("--seed", type=SEED, default=0, help="training: seed of weights, data order and distortion")
    return parser


if __name__ == "__main__":
    run_cli(main, flags())
