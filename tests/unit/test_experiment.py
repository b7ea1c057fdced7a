"""`experiments.experiment`: the released code's command line from end to end."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from capsrepro.core.errors import Error
from capsrepro.core.params import RunConfig
from capsrepro.network import evaluation, models
from capsrepro.released import checkpoints, records
from experiments import experiment, mnist_shift
from tests.support import ROOT
from tests.support.digits import Digits, idx, needs_tensorflow
from tests.support.photographs import FOLDER as PHOTOGRAPHS
from tests.support.photographs import needs_photographs, photographs

RELEASED = ROOT / "tests" / "golden" / "data" / "released"
TAGS = json.loads((ROOT / "tests" / "golden" / "data" / "summary_tags.json").read_text())
SMALL = "num_prime_capsules=1,remake=false"


@pytest.fixture(scope="module")
def data(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Record files in the published layout, of 150 test digits."""
    pytest.importorskip("tensorflow", reason="needs TensorFlow to run the released code's commands")
    folder = tmp_path_factory.mktemp("data")
    images, labels = (array[:150] for array in digits)
    for name, shift in (("train_2shifted", 1), ("test_0shifted", 0)):
        part = slice(20) if shift else slice(150)
        features = records.every_shift(images[part], labels[part], shift=shift, pad=0)
        records.write(folder / f"{name}_mnist.tfrecords", records.SINGLE, features)
    return folder


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """8 channels in place of 256 and more, and 16 units of 1,024: what is not about the widths takes seconds."""
    from capsrepro.released import settings

    def narrowed(model: str, *flags: object, **others: object) -> RunConfig:
        widths = {"conv_channels": (8, 8), "dense_units": (16,)} if model == "baseline" else {"conv_channels": (8,)}
        return dataclasses.replace(known(model, *flags, **others), **widths)

    known = settings.settings
    monkeypatch.setattr(settings, "settings", narrowed)


def command(*flags: str) -> None:
    """Runs it in this process."""
    experiment.main(experiment.flags().parse_args(flags))


def trained(data: Path, folder: Path, *flags: str, steps: int = 2, hparams: str = SMALL) -> Path:
    hparams_flag = f"--hparams_override={hparams}"
    command(f"--data_dir={data}", f"--summary_dir={folder}", f"--max_steps={steps}", hparams_flag, *flags)
    return folder / "train" / f"model.ckpt-{steps}"


def evaluated(data: Path, folder: Path, *flags: str, hparams: str = SMALL) -> None:
    command(f"--data_dir={data}", f"--summary_dir={folder}", "--train=false", f"--hparams_override={hparams}", *flags)


def events(folder: Path) -> dict[str, dict[str, list]]:
    """Tag -> kind and steps, in the form of summary_tags.json, of all event files in a folder."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    found: dict[str, dict[str, list]] = {}
    for path in sorted(folder.glob("events.*")):
        for event in LegacyEventFileLoader(str(path)).Load():
            for value in event.summary.value:
                entry = found.setdefault(value.tag, {"kind": value.WhichOneof("value"), "steps": []})
                entry["steps"].append(event.step)
    return found


def released_tags(case: str) -> dict[str, dict[str, list]]:
    return {tag: entry for tag, entry in TAGS[case].items() if not tag.startswith("input/")}


@pytest.mark.usefixtures("narrow")
def test_training_leaves_its_last_step_and_goes_on(data: Path, tmp_path: Path) -> None:
    """The released code saves only multiples of save_step: with its defaults a training leaves nothing."""
    trained(data, tmp_path, "--save_step=2", steps=3)
    assert sorted(path.name for path in (tmp_path / "train").glob("*.index")) == [
        "model.ckpt-2.index",
        "model.ckpt-3.index",
    ]
    assert 'model_checkpoint_path: "model.ckpt-3"' in (tmp_path / "train" / "checkpoint").read_text()
    went_on = trained(data, tmp_path, steps=4)
    whole = trained(data, tmp_path / "whole", steps=4)
    ours, expected = (checkpoints._read_released(str(prefix)) for prefix in (went_on, whole))
    assert all(np.array_equal(ours[name], expected[name]) for name in expected)


@pytest.mark.usefixtures("narrow")
def test_a_users_folder_is_left_alone(data: Path, tmp_path: Path) -> None:
    """The released code deletes a training folder that has no checkpoint; here only old checkpoints go."""
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "notes.txt").write_text("mine")
    trained(data, tmp_path, "--save_step=1", steps=7)
    assert (tmp_path / "train" / "notes.txt").read_text() == "mine"
    kept = {path.with_suffix("").name for path in (tmp_path / "train").glob("model.ckpt-*.index")}
    assert kept == {f"model.ckpt-{step}" for step in (3, 4, 5, 6, 7)}


def test_a_checkpoint_gives_the_count_that_the_library_gives(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Any --eval_size: 150 and 70 are no multiples of the batch of 100."""
    prefix = trained(data, tmp_path)
    network = models.build(RunConfig("mnist", "capsnet", routing=3, primary_types=1), (28, 28, 1))
    checkpoints.restore_released(network, prefix)
    digits = records.load(data / "test_0shifted_mnist.tfrecords", name="")
    for flags, size in ((), 150), (("--eval_size=70",), 70):
        evaluated(data, tmp_path, f"--checkpoint={prefix}", f"--predictions_file={tmp_path / 'p.npz'}", *flags)
        score = evaluation.evaluate(network, digits, examples=size)
        line = f"Total wrong predictions: {score.wrong}, wrong percent: {100 * score.wrong / size:g}%"
        assert capsys.readouterr().out.splitlines()[-1] == line
        with np.load(tmp_path / "p.npz") as kept:
            assert (kept["scores"].shape, kept["scores"].dtype, kept["labels"].shape) == (
                (size, 10),
                np.float32,
                (size,),
            )
            assert int((kept["scores"].argmax(axis=1) != kept["labels"]).sum()) == score.wrong
            assert np.array_equal(kept["labels"], digits.batch(np.arange(size)).labels[:, 0])


@pytest.mark.usefixtures("narrow")
def test_an_ensemble_adds_up_its_members_scores(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On MNIST the released code's ensemble fails on shape."""
    scores = []
    for member in range(2):
        prefix = trained(data, tmp_path / f"member{member}", f"--seed={member}")
        evaluated(data, tmp_path, f"--checkpoint={prefix}", f"--predictions_file={tmp_path / 'one.npz'}")
        scores.append(np.load(tmp_path / "one.npz")["scores"])
    both = f"--checkpoint={tmp_path}/member{{}}/train/model.ckpt-2"
    evaluated(data, tmp_path, both, "--num_trials=2", f"--predictions_file={tmp_path / 'both.npz'}")
    kept = np.load(tmp_path / "both.npz")
    assert np.allclose(kept["scores"], scores[0] + scores[1], rtol=1e-6)
    wrong = int((kept["scores"].argmax(axis=1) != kept["labels"]).sum())
    assert (
        capsys.readouterr().out.splitlines()[-1] == f"Total wrong predictions: {wrong}, wrong percent: {wrong / 1.5:g}%"
    )
    (tmp_path / "member0").rename(tmp_path / "member2")  # numbered from one, too
    evaluated(data, tmp_path, both, "--num_trials=2", f"--predictions_file={tmp_path / 'again.npz'}")
    assert np.allclose(np.load(tmp_path / "again.npz")["scores"], kept["scores"], rtol=1e-6)


@pytest.mark.usefixtures("narrow")
def test_a_missing_member_is_named(data: Path, tmp_path: Path) -> None:
    """The released code skips it and then fails to reshape."""
    trained(data, tmp_path / "member0")
    both = f"--checkpoint={tmp_path}/member{{}}/train/model.ckpt-2"
    with pytest.raises(
        Error, match=r"--num_trials=3: missing \S+member1/train/model.ckpt-2, \S+member2/train/model.ckpt-2"
    ):
        evaluated(data, tmp_path, both, "--num_trials=3")
    with pytest.raises(Error, match="needs a {} in it"):
        evaluated(data, tmp_path, f"--checkpoint={tmp_path}/member0/train/model.ckpt-2", "--num_trials=2")


@pytest.mark.usefixtures("narrow")
@pytest.mark.slow
@needs_photographs
def test_seven_checkpoints_give_the_librarys_count_on_the_real_photographs(
    narrow: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the flags of the released README, but for the widths; the networks are not trained."""
    pytest.importorskip("tensorflow", reason="needs TensorFlow to run the released code's commands")
    hparams = "num_prime_capsules=4,padding=SAME,leaky=true,remake=false"
    run = RunConfig(
        "cifar10", "capsnet", routing=3, leaky=True, padding="same", conv_channels=(8,), primary_types=4, members=7
    )
    members = [models.build(run, (24, 24, 3), seed=number) for number in range(7)]
    for number, member in enumerate(members):
        checkpoints.save_released(member, tmp_path / f"cifar{number}" / "model.ckpt", 600_000)
    checkpoint = f"--checkpoint={tmp_path}/cifar{{}}/model.ckpt-600000"
    flags = ("--dataset=cifar10", checkpoint, "--num_trials=7", "--eval_size=1000")
    evaluated(PHOTOGRAPHS.parent, tmp_path / "summaries", *flags, hparams=hparams)
    score = evaluation.evaluate(models.ensemble(members), photographs("test"), examples=1000)
    assert f"Total wrong predictions: {score.wrong}, wrong percent: {score.error_pct:g}%" in capsys.readouterr().out
    assert 800 < score.wrong < 1000


@pytest.mark.usefixtures("narrow")
def test_pairs_are_trained_and_tested_by_an_ensemble(data: Path, tmp_path: Path) -> None:
    """From generated records at @10, then two members on two targets, which the released code never feeds."""
    digits = tmp_path / "digits"
    idx_mnist(digits, data)
    for split in ("train", "test"):
        flags = (
            f"--data_dir={digits} --split={split} --shift=6 --pad=4 --num_pairs=2 --max_shard=30 --multi_targets=true"
        )
        mnist_shift.main(mnist_shift.flags().parse_args(flags.split()))
    spec = "6shifted_mnist.tfrecords@10"
    for member in range(2):
        trained(
            Path(f"{digits}/multitrain_{spec}"),
            tmp_path / f"m{member}",
            "--num_targets=2",
            f"--seed={member}",
            steps=4,
        )
    members = f"--checkpoint={tmp_path}/m{{}}/train/model.ckpt-4"
    predictions = f"--predictions_file={tmp_path / 'pairs.npz'}"
    evaluated(Path(f"{digits}/multitest_{spec}"), tmp_path, "--num_targets=2", members, "--num_trials=2", predictions)
    kept = np.load(tmp_path / "pairs.npz")
    assert (kept["scores"].shape, kept["labels"].shape) == ((300, 10), (300, 2))
    assert (kept["labels"][:, 0] != kept["labels"][:, 1]).all()


@pytest.fixture(autouse=True)
def small_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    from capsrepro.data import mnist

    monkeypatch.setattr(mnist, "COUNTS", {"train": 150, "test": 150})


def idx_mnist(folder: Path, data: Path) -> None:
    from capsrepro.data import mnist

    folder.mkdir()
    features = records.Records(data / "test_0shifted_mnist.tfrecords").read(np.arange(150))
    for split in ("train", "test"):
        images, labels = mnist.FILES[split]
        (folder / images).write_bytes(idx(features["image_raw"][..., 0]))
        (folder / labels).write_bytes(idx(features["label"].astype(np.uint8)))


@pytest.mark.usefixtures("narrow")
def test_summaries_have_the_released_tags_kinds_and_steps(data: Path, tmp_path: Path) -> None:
    hparams = "num_prime_capsules=1"
    trained(data, tmp_path, hparams=f"{hparams},verbose=true")
    assert events(tmp_path / "train") == released_tags("mnist_caps_train_and_resume/0")
    for path in (tmp_path / "train").glob("events.*"):
        path.unlink()
    prefix = trained(data, tmp_path, steps=3, hparams=hparams)
    assert events(tmp_path / "train") == released_tags("mnist_caps_train_and_resume/1")
    evaluated(data, tmp_path, f"--checkpoint={prefix}", hparams=hparams)
    found = events(tmp_path / "test")
    assert {tag: entry["kind"] for tag, entry in found.items()} == {
        tag: entry["kind"] for tag, entry in released_tags("mnist_eval/0").items()
    }
    assert all(entry["steps"] == [3] for entry in found.values())


@pytest.mark.usefixtures("narrow")
@needs_tensorflow("run the released code's commands")
def test_summaries_of_pairs_and_of_smallnorb_have_the_released_tags(tmp_path: Path) -> None:
    pairs = Path(f"{RELEASED}/mnist/multitrain_4shifted_mnist.tfrecords@3")
    trained(pairs, tmp_path / "pairs", "--num_targets=2", steps=1, hparams="num_prime_capsules=1,verbose=true")
    assert events(tmp_path / "pairs" / "train") == released_tags("multimnist_caps_verbose/0")
    trained(RELEASED / "norb", tmp_path / "norb", "--dataset=norb", steps=1, hparams="num_prime_capsules=1")
    assert events(tmp_path / "norb" / "train") == released_tags("norb_caps/0")


@pytest.mark.usefixtures("narrow")
def test_the_baseline_trains_and_is_tested(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prefix = trained(data, tmp_path, "--model=baseline", steps=1, hparams="padding=VALID")
    evaluated(data, tmp_path, "--model=baseline", f"--checkpoint={prefix}", "--eval_size=5", hparams="padding=VALID")
    assert re.match(r"Total wrong predictions: [0-5], wrong percent: ", capsys.readouterr().out.splitlines()[-1])


def run_beside(*flags: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.experiment", *flags],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_testing_beside_a_training_sees_its_checkpoints(data: Path, tmp_path: Path) -> None:
    """Two real processes (S7)."""
    shared = (f"--data_dir={data}", f"--summary_dir={tmp_path}", f"--hparams_override={SMALL}")
    tester = run_beside(*shared, "--train=false", "--poll_seconds=0.1", "--polls=100000")
    trainer = run_beside(*shared, "--max_steps=12", "--save_step=4")
    try:
        lines = []
        while not (len(lines) > 1 and "model.ckpt-12" in lines[-2]):
            line = tester.stdout.readline()
            assert line, tester.communicate()[1]
            lines.append(line)
        assert trainer.wait(timeout=300) == 0, trainer.communicate()[1]
    finally:
        tester.kill()
        trainer.kill()
    seen = [int(line.split("model.ckpt-")[1].split(":")[0]) for line in lines if "model.ckpt-" in line]
    assert seen == sorted(set(seen))
    assert sum(line.startswith("Total wrong predictions: ") for line in lines) == len(seen)


def test_testing_a_training_that_never_comes_ends_with_one_line(data: Path, tmp_path: Path) -> None:
    with pytest.raises(Error, match="no checkpoint came"):
        evaluated(data, tmp_path, "--poll_seconds=0", "--polls=3")


DEVICES = """
import sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 4)
from experiments import experiment
for devices in "14":
    summaries = [f"--summary_dir={sys.argv[1]}/{devices}", f"--num_gpus={devices}"]
    experiment.main(experiment.flags().parse_args([*sys.argv[2:], *summaries]))
"""


@pytest.mark.slow
def test_four_devices_average_their_gradients(data: Path, tmp_path: Path) -> None:
    """Adam hides a doubled gradient from the weights, so the first moment, a tenth of it, is compared."""
    flags = (f"--data_dir={data}", "--max_steps=1", "--hparams_override=num_prime_capsules=1")
    subprocess.run([sys.executable, "-c", DEVICES, str(tmp_path), *flags], cwd=ROOT, check=True)
    one, four = (checkpoints._read_released(str(tmp_path / d / "train" / "model.ckpt-1")) for d in "14")
    moments = [name for name in one if name.endswith("/Adam")]
    assert len(moments) == 12
    for name in moments:
        assert np.linalg.norm(four[name] - one[name]) <= 1e-5 * np.linalg.norm(one[name]), name


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--num_gpus=9"], "--num_gpus=9: this machine has "),
        (["--num_trials=2"], "--num_trials: is for --train=false"),
        (["--train=false", "--num_trials=2"], "--num_trials: needs --checkpoint"),
        (["--train=false", "--checkpoint=none/model.ckpt-1"], "none/model.ckpt-1: no such checkpoint"),
        (["--train=false", "--checkpoint=x", "--eval_size=151"], "mnist-test has 150 images; choose 1 to that"),
    ],
)
def test_a_wrong_flag_is_named(flags: list[str], message: str, data: Path, tmp_path: Path) -> None:
    with pytest.raises(Error, match=message):
        command(f"--data_dir={data}", f"--summary_dir={tmp_path}", *flags)


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--train", True), ("--train=true", True), ("--notrain", False), ("--train=false", False), ("--train=0", False)],
)
def test_booleans_parse_as_the_released_code_parses_them(flag: str, value: bool) -> None:
    assert experiment.flags().parse_args(["--data_dir=d", "--summary_dir=s", flag]).train is value


@pytest.mark.parametrize(
    "flag", ["--max_steps=0", "--eval_size=0", "--num_targets=3", "--num_trials=-1", "--poll_seconds=nan"]
)
def test_a_number_out_of_range_is_named(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        experiment.flags().parse_args(["--data_dir=d", "--summary_dir=s", flag])
    assert f"error: argument {flag.partition('=')[0]}: " in capsys.readouterr().err.splitlines()[-1]
