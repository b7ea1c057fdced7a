"""Writes TensorBoard summaries with the released code's tags."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from capsrepro.core.errors import Error
from capsrepro.core.text import one_line
from capsrepro.network.models import unflattened

TOWER = "tower_0"  # the released code has a tower for each GPU; here all devices are summed in one
_PICTURES = 10  # reconstructions shown
_BINS = 30


class Summaries:
    """Writer of one TensorBoard event file."""

    def __init__(self, folder: Path) -> None:
        """Creates the file in `folder`, which is created too if needed.

        Raises:
            Error: it cannot be written, for instance on a full disk; so do the other methods.
        """
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self.folder = folder
        with self._writing():
            self.writer = EventFileWriter(str(folder))

    def close(self) -> None:
        """Writes buffered events and closes the file."""
        with self._writing():
            self.writer.close()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Writes scalars by tag."""
        self._write(step, [{"tag": tag, "simple_value": value} for tag, value in values.items()])

    def pictures(self, step: int, viewer: keras.Model, inputs: Mapping[str, Any], truths: Mapping[str, Any]) -> None:
        """Writes the summaries of `verbose`: conv1's weights and output, and targets beside their reconstructions.

        Args:
            step: step of the batch.
            viewer: the model of the function `viewer`, after the batch's update.
            inputs: inputs of the batch, see `feeding.tensors`.
            truths: targets of the batch.
        """
        conv1 = viewer.get_layer("conv1")
        seen = viewer.predict_on_batch(dict(inputs))
        values = [{"tag": f"{TOWER}/conv1/activation", "histo": _histogram(seen["features"])}]
        for scope, variable in (("summaries", conv1.kernel), ("summaries_1", conv1.bias)):
            array = keras.ops.convert_to_numpy(variable)
            for name in ("mean", "std", "max", "min"):
                tag = f"{TOWER}/conv1/{scope}/{'stddev' if name == 'std' else name}_1"
                values.append({"tag": tag, "simple_value": float(getattr(array, name)())})
            values.append({"tag": f"{TOWER}/conv1/{scope}/histogram", "histo": _histogram(array)})
        if "reconstruction" in truths:
            shape = viewer.input["image"].shape[1:]
            pairs = zip(truths["reconstruction"][:_PICTURES, 0], seen["reconstruction"][:_PICTURES, 0], strict=True)
            for number, pair in enumerate(pairs):
                side_by_side = np.concatenate([unflattened(pixels, shape)[..., :1] for pixels in pair], axis=1)
                values.append({"tag": f"{TOWER}/reconstruction/image/{number}", "image": _image(side_by_side)})
        self._write(step, values)

    def _write(self, step: int, values: list[dict[str, Any]]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        summary = Summary(value=[Summary.Value(**value) for value in values])
        with self._writing():
            self.writer.add_event(Event(step=step, wall_time=time.time(), summary=summary))

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Turns TensorFlow's errors of the file system, which TensorBoard writes through, into ours."""
        import tensorflow as tf

        try:
            yield
        except tf.errors.OpError as fault:
            reason = one_line(fault.message.rpartition("; ")[2])  # the part after the path
            raise Error(f"{self.folder}: summaries not written ({reason}); fix that and run it again") from fault


def viewer(model: keras.Model) -> keras.Model:
    """The network with conv1's output `features` as additional output, for `Summaries.pictures`."""
    return keras.Model(model.input, {**model.output, "features": model.get_layer("conv1").output}, name="viewer")


def _histogram(array: np.ndarray) -> Any:
    from tensorboard.compat.proto.histogram_pb2 import HistogramProto

    values = np.asarray(array, np.float64).ravel()
    counts, edges = np.histogram(values, _BINS)
    return HistogramProto(
        min=values.min(),
        max=values.max(),
        num=values.size,
        sum=values.sum(),
        sum_squares=np.square(values).sum(),
        bucket_limit=edges[1:],
        bucket=counts,
    )


def _image(pixels: np.ndarray) -> Any:
    """Encodes `(H, W, 1)`, clipped to [0, 1], as a PNG."""
    import tensorflow as tf
    from tensorboard.compat.proto.summary_pb2 import Summary

    height, width, _ = pixels.shape
    encoded = tf.io.encode_png(np.uint8(np.clip(pixels, 0, 1) * 255)).numpy()
    return Summary.Image(height=height, width=width, colorspace=1, encoded_image_string=encoded)
