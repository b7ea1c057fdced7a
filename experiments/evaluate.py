"""Evaluates the trained weights of one run on the whole test split; writes metrics and predictions."""

import argparse
from typing import Any

from . import run_arguments, run_cli


def main(arguments: argparse.Namespace) -> None:
    """Evaluates the weights with the settings stored with them, and writes the results."""
    from capsrepro.core import not_run, params, paths

    now = params.read(arguments.params).settings(arguments.run, arguments.scale)  # unknown names fail at once
    where = paths.RunPaths(arguments.scale, arguments.run, arguments.seed)
    if arguments.unless_noted and not_run.because_of(where, arguments.data / now.data):
        print(f"{where.name}: not evaluated, {not_run.UNREACHABLE}")
        return

    from capsrepro.core import files
    from capsrepro.core.origin import origin_of
    from capsrepro.data import loading
    from capsrepro.data.affnist import AffNist
    from capsrepro.data.multimnist import MultiMnist
    from capsrepro.evidence import predictions, results
    from capsrepro.evidence.intervals import wilson

    origin = origin_of(where)
    settings = origin.for_evaluation
    dataset = loading.load(settings, "test", arguments.data, arguments.scale)
    from capsrepro.network import devices, environment, evaluation, ties  # takes seconds, errors come before
    from capsrepro.network.weights import weights_sha256

    devices.prepare(settings.threads)
    model, members, trained = ties.restored(where, origin, dataset)
    sha256 = weights_sha256(model)
    names: dict[str, Any] = {"run": arguments.run, "seed": arguments.seed, "scale": arguments.scale}
    if trained != sha256:
        names["rounded_from"] = trained
    given = evaluation.answers(model, dataset)
    score = evaluation.count([(given.scores, given.labels)], dataset)
    if isinstance(dataset, MultiMnist):
        names["pair_seed"] = dataset.seed
    if isinstance(dataset, AffNist):
        expanded = loading.load(settings, "stop", arguments.data, arguments.scale)
        stop = evaluation.answers(model, expanded)
        accuracy = 100.0 - evaluation.count([(stop.scores, stop.labels)], expanded).error_pct
        names |= {"built": dataset.built, "stop_accuracy_pct": accuracy, "stop_sha256": stop.sha256}
    steps = origin.steps // settings.members
    facts = results.metrics(settings, score, model.count_params() // settings.members, steps, sha256)
    if len(members) > 1:
        facts["members_wrong"] = {str(k): evaluation.evaluate(one, dataset).wrong for k, one in enumerate(members)}
    predictions.write(where.predictions, given.predicted, given.labels, given.scores)
    files.write_json(where.provenance, files.read_json(where.origin))
    files.write_json(where.evaluation, names | {"precision": settings.precision} | environment.describe())
    files.write_json(where.metrics, names | facts | {"counted_in": settings.precision, "test_sha256": given.sha256})
    low, high = wilson(score.wrong, score.examples)
    counted = f"{score.wrong} of {score.examples} wrong, {score.error_pct:.2f} %"
    print(f"{arguments.run}: {counted} ({low:.2f} to {high:.2f} %)")


if __name__ == "__main__":
    parser = run_arguments(__doc__)
    parser.add_argument("--unless-noted", action="store_true", help="if `fetch --note` noted the source, write that")
    run_cli(main, parser)
