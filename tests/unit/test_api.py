"""The functions of `capsrepro` itself."""

import shutil
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

import capsrepro
from capsrepro import api
from capsrepro.core import paths
from capsrepro.core.errors import Error
from capsrepro.data.mnist import Mnist
from capsrepro.data.smallnorb import SmallNorb
from capsrepro.data.svhn import Svhn
from tests.support import ROOT
from tests.support.commands import run_code
from tests.support.digits import Digits, few_of

PUBLISHED = paths.RunPaths("full", "mnist-capsnet-r3-recon", 0)


@pytest.fixture(scope="module")
def network() -> api.Network:
    return capsrepro.load("mnist-capsnet-r3-recon")


@pytest.fixture(scope="module")
def hundred(digits: Digits) -> Mnist:
    return few_of(digits, 100)


def test_import_is_lazy_and_names_all_that_there_is() -> None:
    code = "import sys, capsrepro; print(*[name for name in sys.modules if name.partition('.')[0] in {}])"
    answer = run_code(code.format("('keras', 'tensorflow', 'jax', 'numpy', 'pandas', 'pydantic', 'yaml', 'scipy')"))
    assert (answer.stdout, answer.stderr) == ("\n", "")
    assert set(capsrepro.__all__) <= set(dir(capsrepro))
    assert all(getattr(capsrepro, name) for name in capsrepro.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        capsrepro.nothing  # noqa: B018


def test_numbers_of_paper_and_results_load_no_framework() -> None:
    code = "import sys, capsrepro; capsrepro.paper(); capsrepro.results('full'); print('keras' in sys.modules)"
    answer = run_code(code)
    assert (answer.stdout, answer.stderr) == ("False\n", "")


def test_paper_is_a_table_of_its_numbers_and_results_one_of_ours() -> None:
    paper, results = capsrepro.paper(), capsrepro.results("full")
    assert list(paper.index) == list(results.index)
    assert paper.loc["mnist-capsnet-r3-recon", ["value", "std", "n"]].tolist() == [0.25, 0.005, 3]
    assert results.loc["mnist-capsnet-r3-recon", "wrong"] == 100  # of three seeds
    with pytest.raises(Error, match="unknown scale 'fool'"):
        capsrepro.results("fool")


def test_loaded_network_classifies_evaluates_and_draws(network: api.Network, hundred: Mnist) -> None:
    batch = hundred.batch(np.arange(100))
    assert (network.classify(batch.images) == batch.labels).all()
    score = capsrepro.evaluate(network, hundred)
    assert (score.wrong, score.examples) == (0, 100)
    assert capsrepro.evaluate(network.model, hundred, examples=10).examples == 10
    drawn = network.reconstruct(batch.images[:4])
    assert drawn.shape == (4, 1, 28, 28)
    assert np.square(drawn[:, 0] - batch.images[:4, ..., 0]).mean() < 0.02
    assert not np.allclose(network.reconstruct(batch.images[:4], batch.labels[:4] * 0), drawn)


def test_routing_passes_end_in_the_scores_of_as_many_iterations(network: api.Network, hundred: Mnist) -> None:
    images = hundred.batch(np.arange(4)).images
    lengths = network.routing_passes(images, passes=4)
    assert lengths.shape == (4, 4, 10)
    np.testing.assert_allclose(lengths[network.settings.routing - 1], network.scores(images), atol=1e-4)
    assert (lengths[-1].max(axis=1) > lengths[0].max(axis=1)).all()  # the agreement grows


def test_pictures_are_prepared_as_by_the_command(network: api.Network, tmp_path: Path, digits: Digits) -> None:
    for number in range(2):
        matplotlib.image.imsave(tmp_path / f"{number}.png", digits[0][number, ..., 0], cmap="gray")
    images = network.prepare([tmp_path / "0.png", str(tmp_path / "1.png")])
    assert images.shape == (2, 28, 28, 1)
    assert network.classify(images)[:, 0].tolist() == digits[1][:2].tolist()
    assert network.prepare(tmp_path / "0.png").shape == (1, 28, 28, 1)


def test_load_refuses_what_is_unknown_missing_or_not_what_was_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Error, match="unknown run 'resnet'; known: mnist-baseline, "):
        capsrepro.load("resnet")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Error, match=r"checkpoints/quick/mnist-baseline-seed0\.weights\.h5: no such weights"):
        capsrepro.load("mnist-baseline")
    PUBLISHED.published.parent.mkdir(parents=True)
    for path in (PUBLISHED.published, PUBLISHED.publication):
        shutil.copy(ROOT / path, path)
    PUBLISHED.publication.write_text(PUBLISHED.publication.read_text().replace('"sha256": "3', '"sha256": "4'))
    with pytest.raises(Error, match="its sha256 is not the one of mnist-capsnet-r3-recon-seed0.json"):
        capsrepro.load()


def test_load_takes_what_this_folder_trained_though_a_provenance_lies_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    PUBLISHED.weights.parent.mkdir(parents=True)
    shutil.copy(ROOT / PUBLISHED.published, PUBLISHED.weights)
    shutil.copy(ROOT / PUBLISHED.provenance, PUBLISHED.training)
    assert capsrepro.load().settings.routing == 3


def test_build_makes_the_papers_networks_and_variants_of_them() -> None:
    assert capsrepro.build().model.count_params() == 8_215_728
    assert capsrepro.build("mnist_baseline").model.count_params() == 35_445_522
    assert capsrepro.build("multimnist-baseline").model.count_params() == 24_563_978
    twice = capsrepro.build("capsnet", routing=2, reconstruction=False)
    assert (twice.model.count_params(), twice.settings.routing) == (6_804_384, 2)
    with pytest.raises(Error, match="has no decoder"):
        twice.reconstruct(np.zeros((1, 28, 28, 1), np.float32))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("resnet", {}, "unknown run 'resnet'"),
        ("capsnet", {"rooting": 2}, r"build\('capsnet'\), rooting: unknown key; known: data, model, .*; correct it"),
        ("capsnet", {"routing": 0}, r"build\('capsnet'\), routing: expected at least 1, received 0"),
    ],
)
def test_build_refuses_in_one_line(name: str, settings: dict[str, int], message: str) -> None:
    with pytest.raises(Error, match=message):
        capsrepro.build(name, **settings)


def test_a_baseline_has_no_capsules_and_a_network_for_pairs_no_pictures() -> None:
    images = np.zeros((1, 28, 28, 1), np.float32)
    with pytest.raises(Error, match="has no capsules to route"):
        capsrepro.build("mnist-baseline", scale="quick").routing_passes(images)
    pairs = capsrepro.build("multimnist-capsnet-r3-recon", scale="quick")
    with pytest.raises(Error, match="is for multimnist"):
        pairs.prepare("seven.png")
    assert pairs.classify(np.zeros((3, 36, 36, 1), np.float32)).shape == (3, 2)


def test_shapes_are_those_of_the_data_sets() -> None:
    assert (api.SHAPES["smallnorb"], api.SHAPES["svhn"]) == (SmallNorb.image_shape, Svhn.image_shape)
    assert capsrepro.build("smallnorb-capsnet", scale="quick").model.output["scores"].shape == (None, 5)


def test_data_sets_are_loaded_by_name_and_fetched_only_if_they_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAPSREPRO_OFFLINE", "1")
    with pytest.raises(Error, match=r"datasets\.load, data: expected one of mnist, .*, received 'nist'"):
        capsrepro.datasets.load("nist")
    with pytest.raises(Error, match=r"datasets\.load, shft: unknown key"):
        capsrepro.datasets.load("mnist", shft=1)
    with pytest.raises(Error, match="CAPSREPRO_OFFLINE"):
        capsrepro.datasets.load("multimnist", "test", tmp_path)
    (tmp_path / "svhn").mkdir()
    (tmp_path / "svhn" / "train_32x32.mat").touch()  # a fetch that was stopped left one of two files
    with pytest.raises(Error, match="CAPSREPRO_OFFLINE"):
        capsrepro.datasets.load("svhn", folder=tmp_path)
    (tmp_path / "svhn" / "test_32x32.mat").touch()
    with pytest.raises(Error, match="run `python -m experiments.fetch svhn`"):
        capsrepro.datasets.load("svhn", folder=tmp_path)
