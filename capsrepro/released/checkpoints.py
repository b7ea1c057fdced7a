"""Reads and writes the released code's checkpoints (TensorFlow 1, Saver V2), including Adam's state."""

import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from capsrepro.core import files
from capsrepro.core.errors import Error
from capsrepro.core.text import one_line

# Scope in a released checkpoint -> our layer. A CapsNet has the first six; a baseline has conv1 and the last three.
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
SLOTS = {"Adam": "momentum", "Adam_1": "velocity"}  # Adam's m and v: TF1's name -> Keras's name
BETAS = {"beta1_power": 0.9, "beta2_power": 0.999}

_MOST_STEPS = 2**31


def restore_released(model: keras.Model, prefix: Path | str) -> int:
    """Restores a model, and its optimizer if it is compiled, from a checkpoint of the released code (TF1 Saver, V2).

    Args:
        model: a `models.capsnet` or the released `models.multimnist_baseline`, with `recipe: released`.
        prefix: path of the checkpoint without `.index`, such as `model.ckpt-300000`.

    Returns:
        The checkpoint's `global_step`; 0 if it has none. If the model is compiled, training resumes after that step.
        Adam's moments start at zero if the checkpoint has no slots; unlike in TensorFlow 1, which counts its powers
        apart from the step, nothing corrects their bias then, so that the first updates are larger.

    Raises:
        Error: the checkpoint is missing or damaged, a number is not finite, or variables are missing, superfluous or of
            another shape. The message lists all of them, and the model does not change.
    """
    values = _read_released(str(prefix))
    weights = _released_variables(model)
    shapes = {name: _to_released(name, variable).shape for name, variable in weights.items()}
    slots = {f"{name}/{slot}": shape for name, shape in shapes.items() for slot in SLOTS}
    optimizer = slots | dict.fromkeys(("global_step", *BETAS), ())
    resumable = bool(values.keys() & optimizer.keys() - {"global_step"})  # if it has any slot, it must have all
    shapes |= optimizer if resumable else {name: () for name in values if name == "global_step"}
    faults = _faults(values, shapes)
    step = values.get("global_step", np.zeros(()))
    if not faults and not (0 <= step < _MOST_STEPS and step == np.floor(step)):
        faults.append(f"global_step is {step}")
    if faults:
        raise Error(f"{prefix}: not a checkpoint of this {model.name}: {'; '.join(faults)}")
    for name, variable in {**weights, **(_released_slots(model) if resumable else {})}.items():
        variable.assign(_from_released(name, values[name], variable))
    if model.compiled and "global_step" in values:  # without slots too: the learning rate and the next names need it
        model.optimizer.iterations.assign(int(step))
    return int(step)


def save_released(model: keras.Model, prefix: Path | str, step: int) -> Path:
    """Saves a checkpoint for `tf.compat.v1.train.Saver` of the released graph: `prefix-step.index` and `.data-...`.

    Args:
        model: see `restore_released`. If it is compiled, Adam's slots and beta powers are saved too.
        prefix: folder and name, such as `train/model.ckpt`; the folder is created.
        step: number of steps done; saved as `global_step`.

    Returns:
        The path of the checkpoint without `.index`. The index is written last, so that the checkpoint appears
        atomically.

    Raises:
        Error: TensorFlow failed to write it, for instance on a full disk; no partial file is left.
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
            message = one_line(fault.message.rpartition("; ")[2])  # the part after the path
            raise Error(f"{target}: not written ({message}); fix that and run it again") from fault
        for suffix in (".data-00000-of-00001", ".index"):
            with files.replacing(Path(f"{target}{suffix}")) as temporary:
                Path(f"{written}{suffix}").replace(temporary)
    return target


def _read_released(prefix: str) -> dict[str, np.ndarray]:
    import tensorflow as tf

    if not Path(f"{prefix}.index").is_file():
        existing = sorted(path.name.removesuffix(".index") for path in Path(prefix).parent.glob("*.index"))
        raise Error(f"{prefix}: no such checkpoint; in its folder: {', '.join(existing) or 'none'}")
    try:
        reader = tf.train.load_checkpoint(prefix)
        return {name: np.asarray(reader.get_tensor(name)) for name in reader.get_variable_to_shape_map()}
    except Exception as fault:  # TensorFlow raises many types on damaged files
        raise Error(f"{prefix}: damaged ({one_line(fault, 200)}); fetch or save it again") from fault


def _faults(values: dict[str, np.ndarray], shapes: dict[str, tuple[int, ...]]) -> list[str]:
    """All faults in the variables of a checkpoint, which must have exactly these names and shapes."""
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
    """The model's variables by their names in the released graph.

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
    """Adam's moments m and v by their names in the released graph; empty if the model is not compiled."""
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
    """A beta power as in TF1's Adam: multiplied step by step in float32, with subnormal results set to zero."""
    power = np.multiply.accumulate(np.full(exponent, beta, np.float32))[-1:]
    return np.where(power < np.finfo(np.float32).tiny, np.float32(0), power).reshape(())
