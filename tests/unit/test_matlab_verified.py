"""SciPy's reader of Matlab files can crash on a damaged one, so that no file reaches it before its hash was checked."""

from pathlib import Path

import pytest

from capsrepro.core.errors import Error
from capsrepro.core.params import RunConfig
from capsrepro.data import affnist, loading, svhn


def fail(path: Path) -> None:
    raise AssertionError(f"{path} was read unverified")


@pytest.mark.parametrize("split", ["train", "test"])
def test_svhn_is_verified_before_it_is_read(
    split: loading.Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(svhn, "matlab", fail)
    (tmp_path / "svhn").mkdir()
    for name in svhn.FILES.values():
        (tmp_path / "svhn" / name).write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(Error, match=r"32x32\.mat: wrong sha256"):
        loading.load(RunConfig("svhn", "capsnet", routing=3), split, tmp_path, "quick")


@pytest.mark.parametrize("recorded", [None, '{"affnist": {"test.mat": "' + "ab" * 32 + '"}}'])
def test_affnist_is_verified_before_it_is_read(
    recorded: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(affnist, "matlab", fail)
    (tmp_path / "affnist").mkdir()
    (tmp_path / "affnist" / "test.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    if recorded:
        (tmp_path / "affnist" / "sha256.json").write_text(recorded)
    with pytest.raises(Error, match=r"test\.mat: (wrong sha256|.* has no sha256 for it)"):
        loading.load(RunConfig("affnist", "capsnet", routing=3), "test", tmp_path, "quick")
