"""What a network is trained with: batches as tensors, and the pipeline that feeds them to Keras's `fit`."""

from typing import Any

import keras
import numpy as np

from capsrepro.data.batches import Batch, Stream
from capsrepro.network import models

PREFETCHED = 8  # batches computed in advance


def tensors(batch: Batch, classes: int, *, decoder: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Converts a batch of NumPy or JAX arrays for `models.capsnet`.

    Returns:
        Inputs `image` and `mask`, and targets `scores` and `reconstruction`; the second of each only with a decoder.
    """
    one_hot = batch.labels.__array_namespace__().eye(classes, dtype="float32")[batch.labels]  # (B, T, C)
    # Not the sum, which would be 2 for two digits of one class and make the loss negative, as in the released code.
    inputs, truths = {"image": batch.images}, {"scores": one_hot.max(axis=1)}
    if decoder:
        inputs["mask"] = one_hot
        truths["reconstruction"] = models.flattened(batch.targets)
    return inputs, truths


class Steps(keras.utils.PyDataset):
    """The training batches `start` to `stop` for Keras, prefetched by a thread; item i is batch `start` + i."""

    def __init__(self, stream: Stream, start: int, stop: int, *, decoder: bool) -> None:
        super().__init__(workers=1, max_queue_size=PREFETCHED)
        self.stream, self.start, self.stop, self.decoder = stream, start, stop, decoder

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, item: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Inputs and targets of a batch."""
        return tensors(self.stream.batch(self.start + item), self.stream.dataset.classes, decoder=self.decoder)


def pipeline(steps: Steps) -> Any:
    """Training batches as `fit` takes them: the same ones, prefetched.

    With TensorFlow it is a tf.data pipeline that differs from Keras's own in two points. It has no autotuner: the
    destructor of a pipeline waits until the autotuner wakes, whose period doubles from 10 ms to 60 s, and about half of
    all calls of `fit` ended in such a wait. And it is no generator: TensorFlow 2.21 then has every freed block of
    128 kB returned to the system, and 120 steps of the quick CapsNet took 11 million page faults and 103 s in place of
    0.7 million and 71 s.
    """
    if keras.backend.backend() != "tensorflow":
        return steps
    import tensorflow as tf

    first = steps[0]
    arrays = tf.nest.flatten(first)

    def batch(item: Any) -> list[np.ndarray]:
        return [np.ascontiguousarray(array) for array in tf.nest.flatten(steps[int(item)])]

    def fetch(item: Any) -> Any:
        tensors = tf.numpy_function(batch, [item], [array.dtype for array in arrays])
        for tensor, array in zip(tensors, arrays, strict=True):
            tensor.set_shape((None, *array.shape[1:]))
        return tf.nest.pack_sequence_as(first, tensors)

    options = tf.data.Options()
    options.autotune.enabled = False
    return tf.data.Dataset.range(len(steps)).map(fetch).prefetch(PREFETCHED).with_options(options)
