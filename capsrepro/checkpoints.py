"""What a training leaves: its weights, in our format and in that of the released code's TensorFlow 1 checkpoints."""

import hashlib
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from capsrepro import files
from capsrepro.errors import Error

# Scope in a released checkpoint -> our layer. A CapsNet has the first six, a baseline conv1 and the last three.
RELEASED_SCOPES = {
    "conv1": "conv1",
    "conv_capsule1": "primary_capsules",
    "capsule2": "digit_capsules",
    "recons/recons_1": "decoder1",
    "recons/recons_2": "decoder2",
    "recons/recons_3": "decoder3",
    "conv2": "conv2",
    "fc1": "fc1",
    "softmax_layer": "scores",
}
SLOTS = {"Adam": "momentum", "Adam_1": "velocity"}  # Adam's m and v: TF1's names, Keras's names
SEAL = b"sha256 of the bytes before: "  # ends our weights files, before 32 bytes; HDF5 ignores what follows its content
BETAS = {"beta1_power": 0.9, "beta2_power": 0.999}

_PIECE = 1 << 20  # bytes read at a time
_MOST_STEPS = 2**31
_ROOM = 1 << 20  # bytes that a weights file may have beside its numbers


def save_weights(model: keras.Model, path: Path, *, half: bool = False) -> None:
    """Writes the weights alone, no optimizer, as a Keras `.weights.h5`; the same weights give the same bytes.

    The SHA-256 of the file goes to its end: HDF5 has no checksum of the numbers.

    Args:
        model: whose weights; its own stay as they are.
        path: of the file.
        half: store each number in float16, of 11 bits, and so the file in half the size; they are loaded as float32.
    """
    with files.replacing(path) as temporary:
        # On a full disk HDF5 ends the process with a segmentation fault: whether there is room has to be known before.
        temporary.write_bytes(bytes(4 * model.count_params() + _ROOM))
        uncompiled(model).save_weights(temporary)
        if half:
            _halve(temporary)
        digest = bytes.fromhex(files.sha256(temporary))
        with temporary.open("ab") as file:
            file.write(SEAL + digest)


def load_weights(model: keras.Model, path: Path) -> None:
    """Fills a model of the same architecture with the weights of `save_weights`.

    Raises:
        Error: the file is missing, is damaged, is no weights file, belongs to another architecture, or holds a number
            that is not finite (which need not show: oneDNN's ReLU turns NaN into 0). The model is then not to be used.
    """
    if not path.is_file():
        raise Error(f"{path}: no such weights; train them with `dvc repro` or `python -m experiments.train`")
    if not _is_sealed(path) or not h5py.is_hdf5(path):
        raise Error(f"{path}: not a Keras weights file, or damaged; delete it and train again")
    try:
        _check_sizes(path)
        with warnings.catch_warnings():
            # Keras only warns of a layer that the file has no weights for, and leaves it as it was initialised.
            warnings.simplefilter("error", UserWarning)
            uncompiled(model).load_weights(path)
    except Exception as fault:  # of a damaged file HDF5 raises almost anything
        reason = " ".join(str(fault).split())[:300]
        raise Error(
            f"{path}: not the weights of this {model.name} of {model.count_params()} parameters ({reason})"
        ) from fault
    if not all(np.isfinite(keras.ops.convert_to_numpy(variable)).all() for variable in model.weights):
        raise Error(f"{path}: a weight is not finite; train again")


def _halve(path: Path) -> None:
    """Rewrites a weights file with its arrays in float16."""
    entries: list[tuple[str, np.ndarray | None, dict[str, Any]]] = []

    def add(name: str, entry: Any) -> None:
        entries.append((name, entry[()] if isinstance(entry, h5py.Dataset) else None, dict(entry.attrs)))

    with h5py.File(path, "r") as file:
        file.visititems(add)
    with h5py.File(path, "w") as file:
        for name, array, attributes in entries:
            entry = file.require_group(name) if array is None else file.create_dataset(name, data=np.float16(array))
            entry.attrs.update(attributes)


def _is_sealed(path: Path) -> bool:
    """Whether a file is what `save_weights` wrote, as its end says; one that says nothing, as Keras's do, passes."""
    content = path.stat().st_size - len(SEAL) - 32
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(max(0, content))
        seal = file.read()
        if content < 0 or not seal.startswith(SEAL):
            return True
        file.seek(0)
        for start in range(0, content, _PIECE):
            digest.update(file.read(min(_PIECE, content - start)))
    return digest.digest() == seal[len(SEAL) :]


def _check_sizes(path: Path) -> None:
    """Refuses a file whose arrays together claim to be larger than the file, before one of them is read."""
    sizes = [0]

    def add(_: str, entry: Any) -> None:
        if isinstance(entry, h5py.Dataset):
            sizes.append(entry.nbytes)

    with h5py.File(path, "r") as file:
        file.visititems(add)
    if sum(sizes) > path.stat().st_size:
        raise ValueError(f"its arrays claim to have {sum(sizes)} bytes")


def weights_sha256(model: keras.Model) -> str:
    """SHA-256 over the arrays with their names and shapes (a file also holds what is not weights)."""
    names = "".join(f"{variable.path} {variable.shape}" for variable in model.weights)
    return arrays_sha256(map(keras.ops.convert_to_numpy, model.weights), names)


def arrays_sha256(arrays: Iterable[np.ndarray], names: str = "") -> str:
    """SHA-256 over `names` and the bytes of the arrays."""
    digest = hashlib.sha256(names.encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def uncompiled(model: keras.Model) -> keras.Model:
    """The same layers without the optimizer and the metrics that `compile` adds to what is saved."""
    return keras.Model(model.input, model.output, name=model.name)


def restore_released(model: keras.Model, prefix: Path | str) -> int:
    """Fills a model, and the optimizer if it is compiled, from a checkpoint of the released code (TF1 Saver, V2).

    Args:
        model: a `models.capsnet` or the released `models.multimnist_baseline`, with `recipe: released`.
        prefix: the checkpoint's path without `.index`, such as `model.ckpt-300000`.

    Returns:
        The checkpoint's `global_step`; 0 where it holds none. With Adam's slots and a compiled model, training goes on
        after that step; without slots the optimizer stays as it is.

    Raises:
        Error: there is no such checkpoint, it is damaged, a number is not finite, or variables are missing, superfluous
            or of another shape: the message lists them all, and the model is as it was.
    """
    values = _read_released(str(prefix))
    weights = _released_variables(model)
    shapes = {name: _to_released(name, variable).shape for name, variable in weights.items()}
    slots = {f"{name}/{slot}": shape for name, shape in shapes.items() for slot in SLOTS}
    optimizer = slots | dict.fromkeys(("global_step", *BETAS), ())
    resumable = bool(values.keys() & optimizer.keys() - {"global_step"})  # there are slots: then all of them
    shapes |= optimizer if resumable else {name: () for name in values if name == "global_step"}
    faults = _faults(values, shapes)
    step = values.get("global_step", np.zeros(()))
    if not faults and not (0 <= step < _MOST_STEPS and step == np.floor(step)):
        faults.append(f"global_step is {step}")
    if faults:
        raise Error(f"{prefix}: not a checkpoint of this {model.name}: {'; '.join(faults)}")
    for name, variable in {**weights, **(_released_slots(model) if resumable else {})}.items():
        variable.assign(_from_released(name, values[name], variable))
    if resumable and model.compiled:
        model.optimizer.iterations.assign(int(step))
    return int(step)


def save_released(model: keras.Model, prefix: Path | str, step: int) -> Path:
    """Writes what `tf.compat.v1.train.Saver` of the released graph restores: `prefix-step.index` and `.data-...`.

    Args:
        model: as for `restore_released`. Compiled: Adam's slots and beta powers go with it.
        prefix: folder and name, such as `train/model.ckpt`; the folder is made.
        step: the number of steps behind the weights; becomes `global_step`.

    Returns:
        The checkpoint's path without `.index`. The index comes last, so that a checkpoint is there whole or not at all.

    Raises:
        Error: TensorFlow could not write it, as on a full disk; nothing is left of it then.
    """
    import tensorflow as tf

    target = Path(f"{prefix}-{step}")
    variables = {**_released_variables(model), **_released_slots(model)}
    values = {name: _to_released(name, variable) for name, variable in variables.items()}
    values["global_step"] = np.array(step, np.float32)
    if model.compiled:
        values |= {name: _power(beta, step + 1) for name, beta in BETAS.items()}
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
        written = Path(folder, target.name)
        try:
            tf.raw_ops.SaveV2(
                prefix=str(written),
                tensor_names=list(values),
                shape_and_slices=[""] * len(values),
                tensors=[*values.values()],
            )
        except tf.errors.OpError as fault:
            told = " ".join(fault.message.rpartition("; ")[2].split())  # where it tried, then why not
            raise Error(f"{target}: not written ({told}); mend that and run it again") from fault
        for suffix in (".data-00000-of-00001", ".index"):
            with files.replacing(Path(f"{target}{suffix}")) as temporary:
                Path(f"{written}{suffix}").replace(temporary)
    return target


def _read_released(prefix: str) -> dict[str, np.ndarray]:
    import tensorflow as tf

    if not Path(f"{prefix}.index").is_file():
        there = sorted(path.name.removesuffix(".index") for path in Path(prefix).parent.glob("*.index"))
        raise Error(f"{prefix}: no such checkpoint; in its folder: {', '.join(there) or 'none'}")
    try:
        reader = tf.train.load_checkpoint(prefix)
        return {name: np.asarray(reader.get_tensor(name)) for name in reader.get_variable_to_shape_map()}
    except Exception as fault:  # it raises what the fault looks like
        raise Error(f"{prefix}: damaged ({' '.join(str(fault).split())[:200]}); fetch or save it again") from fault


def _faults(values: dict[str, np.ndarray], shapes: dict[str, tuple[int, ...]]) -> list[str]:
    """All that is wrong with the variables of a checkpoint that must have exactly these shapes."""
    faults = [f"missing {name}" for name in sorted(shapes.keys() - values.keys())]
    faults += [f"superfluous {name}" for name in sorted(values.keys() - shapes.keys())]
    for name in sorted(values.keys() & shapes.keys()):
        value = values[name]
        if value.shape != shapes[name] or value.dtype != np.float32:
            received = f"{value.dtype} {list(value.shape)}"
            faults.append(f"misshapen {name}: expected float32 {list(shapes[name])}, received {received}")
        elif not np.isfinite(value).all():
            faults.append(f"not finite {name}")
    return faults


def _released_variables(model: keras.Model) -> dict[str, Any]:
    """Our variables by their names in the released graph.

    Raises:
        Error: the released code has no such network.
    """
    layers = {layer.name: layer for layer in model._flatten_layers() if layer.variables}
    variables = {
        f"{scope}/{name}": getattr(layers[layer], ours)
        for scope, layer in RELEASED_SCOPES.items()
        for name, ours in (("weights", "kernel"), ("biases", "bias"))
        if layer in layers
    }
    if len(variables) != len(model.trainable_variables):
        raise Error(f"{model.name}: the released code has no such network; use a capsnet or its multimnist_baseline")
    return variables


def _released_slots(model: keras.Model) -> dict[str, Any]:
    """Adam's moments m and v by their names in the released graph; none where the model is not compiled."""
    if not model.compiled:
        return {}
    kept = {variable.path.partition("/")[2]: variable for variable in model.optimizer.variables}
    return {
        f"{name}/{slot}": kept[f"{variable.path.replace('/', '_')}_{ours}"]
        for name, variable in _released_variables(model).items()
        for slot, ours in SLOTS.items()
    }


def _to_released(name: str, variable: Any) -> np.ndarray:
    value: np.ndarray = keras.ops.convert_to_numpy(variable)
    if name.startswith("capsule2/weights"):  # (C, I, a, D) to [I, a, C*D]
        value = value.transpose(1, 2, 0, 3).reshape(*value.shape[1:3], -1)
    if name.startswith("conv_capsule1/biases"):  # (P*8,) to [P, 8, 1, 1]
        value = value.reshape(-1, 8, 1, 1)
    return value


def _from_released(name: str, value: np.ndarray, variable: Any) -> np.ndarray:
    if name.startswith("capsule2/weights"):
        classes, inputs, atoms, out = variable.shape
        return value.reshape(inputs, atoms, classes, out).transpose(2, 0, 1, 3)
    return value.reshape(variable.shape)


def _power(beta: float, exponent: int) -> np.ndarray:
    """As TF1's Adam holds it: multiplied up in float32 step by step, what is below the normal range being zero."""
    power = np.multiply.accumulate(np.full(exponent, beta, np.float32))[-1:]
    return np.where(power < np.finfo(np.float32).tiny, np.float32(0), power).reshape(())
