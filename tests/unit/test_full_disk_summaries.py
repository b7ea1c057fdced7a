"""A disk that is full is told in one line by TensorBoard's summaries too, which write through TensorFlow."""

from pathlib import Path

import pytest

from capsrepro.core.errors import Error
from capsrepro.released.summaries import Summaries


def test_summaries_on_a_full_disk_are_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensorflow = pytest.importorskip("tensorflow")
    from tensorboard.summary.writer import record_writer

    def full(*_: object) -> None:
        raise tensorflow.errors.ResourceExhaustedError(None, None, f"{tmp_path}/events; No space left on device")

    monkeypatch.setattr(record_writer.RecordWriter, "flush", full)
    with pytest.raises(Error, match=r": summaries not written \(No space left on device\); fix that and run it again$"):
        Summaries(tmp_path)
