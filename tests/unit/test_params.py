"""params.yaml: what is right is read, what is wrong is named in one line."""

from pathlib import Path

import pytest

from capsrepro.core import params
from capsrepro.core.errors import Error

GOOD = """
trainings:
  quick:
    rows: [caps]
    seeds: [0, 1]
runs:
  caps: {data: mnist, model: capsnet, routing: 3, reconstruction: true}
scale_settings:
  quick:
    caps: {steps: 5, primary_types: 8, conv_channels: [16]}
"""


def read(tmp_path: Path, text: str) -> params.Params:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    return params.read(path)


def test_settings_of_a_scale_replace_those_of_the_run(tmp_path: Path) -> None:
    run = read(tmp_path, GOOD).settings("caps", "quick")
    assert (run.steps, run.primary_types, run.conv_channels, run.routing, run.primary_atoms) == (5, 8, (16,), 3, 8)


FURTHER = GOOD.replace(
    "runs:", "sources: [cifar10]\nfurther: [{scale: quick, run: far, seed: 0, source: cifar10}]\nruns:"
).replace("scale_settings:", "  far: {data: cifar10, model: capsnet, routing: 3}\nscale_settings:")


def test_a_further_row_needs_settings_its_own_source_and_that_it_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(Error, match=r"unknown run 'far' in scale_settings\.quick"):
        read(tmp_path, FURTHER)
    good = f"{FURTHER}    far: {{steps: 5}}\n"
    assert read(tmp_path, good).further == (params.Further(scale="quick", run="far", seed=0, source="cifar10"),)
    with pytest.raises(Error, match="further, far: expected 'cifar10', its data, as source, received 'svhn'"):
        read(tmp_path, good.replace("source: cifar10", "source: svhn"))
    with pytest.raises(Error, match="further, far: cifar10 is not fetched; add it to `sources`"):
        read(tmp_path, good.replace("sources: [cifar10]", "sources: [svhn]"))


def test_a_part_of_the_recipe_may_be_set_alone_or_left_open(tmp_path: Path) -> None:
    text = GOOD.replace("routing: 3", "routing: 3, loss_recipe: paper, layers_recipe: null")
    run = read(tmp_path, text).settings("caps", "quick")
    assert (run.recipe, run.loss_recipe, run.layers_recipe) == ("released", "paper", None)


def test_the_projects_own_file_has_every_selected_row_at_every_scale() -> None:
    known = params.read()
    rows = known.trainings["quick"].rows
    assert len(rows) == 10
    for scale in ("quick", "medium", "full", "paper"):
        assert all(known.settings(row, scale).steps > 0 for row in rows)
    assert known.settings("mnist-capsnet-r3-recon", "paper").primary_types == 32


def test_the_mnist_rows_of_medium_must_be_trained_on_equally_many_images() -> None:
    """Else a claim between two of them would compare lengths of training."""
    known = params.read()
    rows = [known.settings(row, "medium") for row in known.trainings["quick"].rows if row.startswith("mnist-")]
    assert len(rows) == 5
    assert len({(row.steps * row.batch_size, row.decay_steps, row.average) for row in rows}) == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("routing: 3", "rooting: 3", "runs.caps.rooting: unknown key"),
        ("routing: 3", "routing: three", "runs.caps.routing: expected a whole number, received 'three'"),
        ("routing: 3", "routing: 0", "runs.caps.routing: expected at least 1, received 0"),
        ("routing: 3", "routing: true", "runs.caps.routing: expected a whole number, received True"),
        ("routing: 3, ", "", "a capsnet needs a number of iterations"),
        ("routing: 3", "routing: 3, routing_update: add", "expected one of accumulate, replace, received 'add'"),
        (
            "model: capsnet, routing: 3, reconstruction: true",
            "model: mnist_baseline, routing_update: replace",
            "runs.caps.routing_update: a baseline has no routing, received replace; remove it",
        ),
        ("steps: 5", "steps: 5, routing_update: replace", "scale_settings.quick.caps.routing_update: unknown key"),
        ("model: capsnet", "model: capsule", "expected one of capsnet, mnist_baseline, multimnist_baseline"),
        ("model: capsnet, ", "", "runs.caps.model: missing"),
        (
            "routing: 3",
            "routing: 3, loss_recipe: ours",
            "loss_recipe: expected one of paper, released, received 'ours'",
        ),
        ("steps: 5", "steps: 5, layers_recipe: paper", "scale_settings.quick.caps.layers_recipe: unknown key"),
        ("steps: 5", "steps: 5, routing: 1", "scale_settings.quick.caps.routing: unknown key"),
        ("steps: 5", "steps: 5.5", "expected a whole number, received 5.5"),
        ("[16]", "16", "expected a list, received 16"),
        ("[16]", "[x]", "conv_channels[0]: expected a whole number"),
        ("true}", "true, learning_rate: 1e-3}", "write 1.0e-5"),
        ("seeds: [0, 1]", "seeds: []", "seeds: expected a list"),
        ("seeds: [0, 1]", "", "seeds: missing"),
        ("rows: [caps]", "rows: [none]", "unknown run 'none'"),
        (
            "data: mnist",
            "data: svhn",
            "trainings.quick.rows: caps needs svhn, which is not made from MNIST; use `sources`",
        ),
        ("    caps: {steps", "    cups: {steps", "unknown run 'cups'"),
        ("seeds: [0, 1]", "seeds: [0, 1]\n    seeds: [2]", "the key 'seeds' stands twice"),
        ("seeds: [0, 1]", "seeds: [-1]", "seeds[0]: expected at least 0, received -1"),
        ("runs:\n", "runs: [\n", "not YAML"),
        ("seeds: [0, 1]", "seeds: [0, 1, 0]", "trainings.quick.seeds: 0 stands twice; name it once"),
        ("rows: [caps]", "rows: [caps, caps]", "trainings.quick.rows: caps stands twice"),
        ("runs:\n", "sources: [svhn, svhn]\nruns:\n", "sources: svhn stands twice"),
        ("runs:\n", "built: [none]\nruns:\n", "unknown scale 'none' in built and scale_settings; known: quick"),
        ("runs:\n", "figures: [none]\nruns:\n", "unknown scale 'none' in figures and scale_settings; known: quick"),
        ("true}", "true, like: caps}", "runs.caps.like: the run itself; name the one that it derives from"),
    ],
)
def test_a_fault_is_named_in_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(Error) as fault:
        read(tmp_path, GOOD.replace(old, new))
    assert message in str(fault.value)
    assert "params.yaml" in str(fault.value) or "unknown run" in str(fault.value)
    assert "\n" not in str(fault.value)


def test_merges_that_double_the_keys_with_each_link_are_refused(tmp_path: Path) -> None:
    """A file of a kilobyte, for half a million keys; the next link would take minutes."""
    links = [f"a{link}: &a{link} {{<<: [*a{link - 1}, *a{link - 1}]}}" for link in range(1, 13)]
    bomb = "\n".join(["a0: &a0 {" + ", ".join(f"k{key}: 1" for key in range(100)) + "}", *links])
    with pytest.raises(Error, match=r"params\.yaml: not YAML \(merges more than 10000 keys in .*line \d+"):
        read(tmp_path, bomb)
    merged = GOOD.replace("caps: {data", "caps: {<<: {digit_atoms: 8}, data")
    assert read(tmp_path, merged).runs["caps"].digit_atoms == 8


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Error, match="nowhere.yaml: not readable"):
        params.read(tmp_path / "nowhere.yaml")


def test_an_unknown_run_or_scale_lists_the_known_ones(tmp_path: Path) -> None:
    known = read(tmp_path, GOOD)
    with pytest.raises(Error, match="unknown run 'x' in runs; known: caps"):
        known.settings("x", "quick")
    with pytest.raises(Error, match="unknown scale 'x'.*known: quick"):
        known.settings("caps", "x")
