"""Publishes trained weights in half precision with a model card, to be committed; `--restore` does the reverse."""

import argparse
import tempfile
from pathlib import Path

from capsrepro.core import files, params, paths
from capsrepro.core.errors import Error
from capsrepro.core.origin import evaluation_settings, origin_of, read_origin
from . import run_arguments, run_cli

FIRST = 1000  # test images in the quick test of published weights
MOST_BYTES = 20_000_000  # a limit, since the repository keeps every version


def main(arguments: argparse.Namespace) -> None:
    """Publishes the weights of a run, or restores them from the published ones."""
    known, where = params.read(arguments.params), paths.RunPaths(arguments.scale, arguments.run, arguments.seed)
    configured = known.settings(arguments.run, arguments.scale)
    if configured.data != "mnist" or configured.members > 1:
        raise Error(f"{arguments.run}: only single networks of MNIST are published; choose one of those")
    (restore if arguments.restore else publish)(arguments, known, where)


def publish(arguments: argparse.Namespace, known: params.Params, where: paths.RunPaths) -> None:
    """Evaluates the rounded weights, and publishes them if their number of errors equals that in the metrics."""
    from capsrepro.data import loading
    from capsrepro.evidence import model_card

    origin, measured = origin_of(where), files.read_json(where.metrics).get("wrong")
    dataset = loading.load(origin.settings, "test", arguments.data, arguments.scale)
    from capsrepro.network import devices, evaluation, ties  # takes seconds, errors come before
    from capsrepro.network.weights import load_weights, save_weights

    devices.share_gpus()
    model, _, trained = ties.restored(where, origin, dataset)
    as_trained = evaluation.evaluate(model, dataset).wrong
    with tempfile.TemporaryDirectory() as folder:
        save_weights(model, halved := Path(folder, where.published.name), origin=origin, half=True)
        size, sha256 = halved.stat().st_size, files.sha256(halved)
        load_weights(model, halved)
    if size > MOST_BYTES:
        raise Error(f"{where.weights}: {size} bytes in half precision; at most {MOST_BYTES} are committed")
    wrong = evaluation.evaluate(model, dataset).wrong
    print(f"{where.name}: {as_trained} of {len(dataset)} wrong as trained, {wrong} in half precision", flush=True)
    if wrong != measured:
        raise Error(f"{where.metrics}, wrong: is {measured}, in half precision {wrong}; nothing published; evaluate it")
    counts = {"wrong": wrong, f"wrong_of_first_{FIRST}": evaluation.evaluate(model, dataset, examples=FIRST).wrong}
    publication = counts | {"bytes": size, "sha256": sha256, "note": arguments.note, **ties.hashes(trained, model)}
    with files.exclusive(where.card.parent):  # the card is about all published weights of the scale
        card = model_card.render(known, Path("results"), where.scale, {where.publication.stem: publication})
        save_weights(model, where.published, origin=origin, half=True)  # already rounded: the same bytes
        files.write_json(where.publication, publication)
        files.write_text(where.card, card)
    print(f"{where.published}: {size / 1e6:.1f} MB; {where.card}")


def restore(arguments: argparse.Namespace, known: params.Params, where: paths.RunPaths) -> None:
    """Writes published weights and their provenance where a training does; the bytes match the hashes in dvc.lock."""
    if where.weights.exists():
        raise Error(f"{where.weights}: is there already, perhaps not rounded; delete it to restore {where.published}")
    settings = evaluation_settings(where.published, known.settings(where.run, where.scale), where)
    from capsrepro.network import devices, models
    from capsrepro.network.weights import load_weights, save_weights

    devices.share_gpus()
    model = models.build(settings, (28, 28, 1))
    load_weights(model, where.published)
    save_weights(model, where.weights, origin=read_origin(where.published))
    files.write_text(where.training, files.read_text(paths.found(where.provenance)))
    print(f"{where.weights}: restored from {where.published}")


if __name__ == "__main__":
    parser = run_arguments(__doc__)
    parser.add_argument("--restore", action="store_true", help="restore the pipeline's weights from the published ones")
    parser.add_argument("--note", default="", help="a remark on the training for the model card")
    run_cli(main, parser)
