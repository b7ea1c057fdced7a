"""Batches reach TensorFlow without an autotuner, whose end a training would wait for, up to a minute."""

import ast
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from capsrepro.data.batches import Stream
from capsrepro.data.mnist import Mnist
from capsrepro.network import evaluation, models
from capsrepro.training import feeding, loop
from tests.support import ROOT
from tests.support.runs import CAPSNET

with_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="needs KERAS_BACKEND=tensorflow, which has tf.data"
)


@with_tensorflow
def test_no_pipeline_of_training_evaluation_or_prediction_has_an_autotuner(
    few: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked of each iterator that TensorFlow creates, since Keras wraps what it is given."""
    from tensorflow.python.data.ops import iterator_ops

    tuned: list[bool] = []
    create = iterator_ops.OwnedIterator._create_iterator

    def note(self: Any, dataset: Any) -> Any:
        tuned.append(dataset.options().autotune.enabled is not False)
        return create(self, dataset)

    monkeypatch.setattr(iterator_ops.OwnedIterator, "_create_iterator", note)
    trained = loop.train(CAPSNET, few, 0, state=tmp_path, watch={"watched": few}, verbose=0)
    assert tuned
    assert not any(tuned)
    trainings = len(tuned)
    evaluation.evaluate(trained.model, few)
    evaluation.answers(trained.model, few)
    evaluation.scores_of(models.ensemble([trained.model]), few.batch(np.arange(9)).images, "some")
    assert len(tuned) == trainings  # a batch is given to the network itself
    trained.model.fit(*feeding.tensors(few.batch(np.arange(8)), 10, decoder=True), verbose=0)
    assert any(tuned)  # of the pipeline that Keras makes of arrays, which shows that this test can fail


def test_nothing_uses_a_pipeline_that_keras_makes_itself() -> None:
    """`fit` is given ours, and the networks are asked with `predict_on_batch`."""
    found = set()
    for folder in ("capsrepro", "experiments", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
            names = {(ast.unparse(call.value), call.attr) for call in calls if isinstance(call, ast.Attribute)}
            found |= {
                (path.relative_to(ROOT).as_posix(), owner, name)
                for owner, name in names
                if name in ("fit", "predict", "evaluate") and owner not in ("fitting", "evaluation")
            }
    makers = "capsrepro/training/fitting.py", "benchmarks/steps.py", "benchmarks/training.py"
    assert found == {(path, "model", "fit") for path in makers}


@with_tensorflow
def test_a_pipeline_has_the_batches_of_its_steps_in_their_order(few: Mnist) -> None:
    steps = feeding.Steps(Stream(few, 8, 3), 4, 9, decoder=True)
    given = list(feeding.pipeline(steps))
    assert len(given) == len(steps) == 5
    for number, batch in enumerate(given):
        made = feeding.tensors(steps.stream.batch(4 + number), 10, decoder=True)
        for ours, expected in zip(batch, made, strict=True):
            assert ours.keys() == expected.keys()
            assert all(np.array_equal(ours[name], array) for name, array in expected.items())
