"""Draws the paper's figures from trained networks into results/SCALE/figures, as PNG and PDF."""

import argparse
import functools
from pathlib import Path

from . import NAME, SEED, run_cli, scale_arguments

ONCE, THRICE, PAIRS = "mnist-capsnet-r1-recon", "mnist-capsnet-r3-recon", "multimnist-capsnet-r3-recon"
OF_RUN = {"3": "figure3", "4": "figure4", "a1": "figure-a1", "a2": "figure-a2"}
OF_RUN |= {"confusion": "confusion", "mistakes": "mistakes"}
FILES = OF_RUN | {"5": "figure5", "confusion-multimnist": "confusion-multimnist"}
PHOTOGRAPHS = ("cifar10-capsnet-r1", "cifar10-capsnet-r3")
MORE = {"a2-cifar10": "figure-a2-cifar10"}  # drawn only where it is asked for


def main(arguments: argparse.Namespace) -> None:
    """Draws all requested figures before writing any, and writes the numbers of Figures 5 and A.1 beside them."""
    from capsrepro.core import files, params, paths
    from capsrepro.figures import charts, drawing, mistakes, reconstructions, segmentation, trained

    once, run, both = (paths.RunPaths(arguments.scale, row, arguments.seed) for row in (ONCE, arguments.run, PAIRS))
    network = functools.cache(functools.partial(trained.restored, data=arguments.data))
    changes = functools.cache(lambda: trained.measured(network(run), run, arguments.data))
    errors = functools.cache(
        lambda: segmentation.measure(network(both).model, network(both).dataset, network(both).given)
    )
    losses = (charts.RATE, charts.LOSS)
    numbers = {"5": errors, "a1": changes}
    draw = {
        "3": lambda: reconstructions.figure3(
            network(run).model, network(run).dataset, network(run).given, network(run).title
        ),
        "4": lambda: reconstructions.figure4(network(run).model, network(run).dataset, network(run).title),
        "a1": lambda: charts.figure_a1(trained.history(run, *charts.CHANGES)[1], changes(), network(run).title),
        "a2": lambda: charts.figure_a2([trained.history(row, *losses) for row in (once, run)], params.TITLES["mnist"]),
        "a2-cifar10": lambda: charts.figure_a2(
            trained.histories(Path("results", arguments.scale), PHOTOGRAPHS, charts.RATE, charts.TOTAL_LOSS),
            params.TITLES["cifar10"],
            charts.TOTAL_LOSS,
        ),
        "confusion": lambda: charts.confusion(network(run).given, network(run).title, network(run).names),
        "mistakes": lambda: mistakes.mistakes(
            network(run).dataset, network(run).given, network(run).title, network(run).names
        ),
        "5": lambda: reconstructions.figure5(
            network(both).model,
            network(both).dataset,
            network(both).given,
            network(both).title,
            segmentation.summary(errors()),
        ),
        "confusion-multimnist": lambda: charts.confusion(network(both).given, network(both).title),
    }
    wanted = arguments.only or (FILES if run.run == THRICE else OF_RUN)
    trained.check(run, [figure for figure in OF_RUN if figure in wanted])
    drawn = {figure: draw[figure]() for figure in dict.fromkeys(wanted)}
    for figure, page in drawn.items():
        stem = f"{FILES[figure]}-{run.run}" if run.run != THRICE and figure in OF_RUN else (FILES | MORE)[figure]
        path = Path("results", arguments.scale, "figures", f"{stem}.png")
        drawing.save(page, path, path.with_suffix(".pdf"))
        if figure in numbers:
            files.write_text(path.with_suffix(".csv"), numbers[figure]().to_csv(index=False, float_format="%.4g"))
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB, and as PDF", flush=True)


if __name__ == "__main__":
    parser = scale_arguments(__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=FILES | MORE, metavar="FIGURE", help=f"some of {', '.join(FILES | MORE)}"
    )
    parser.add_argument("--run", type=NAME, default=THRICE, help="what is drawn; another than this names its files")
    parser.add_argument("--seed", type=SEED, default=0, help="seed of the trainings")
    run_cli(main, parser)
