"""Converts the released code's flags to the settings of a run."""

import dataclasses
from typing import Any, Literal, get_args

from capsrepro.core.errors import Error
from capsrepro.core.params import RunConfig
from capsrepro.core.validation import validated

Model = Literal["capsule", "baseline"]
Loss = Literal["margin", "softmax", "sigmoid"]

TRAIN_BATCH, TEST_BATCH = 128, 100
_BOOLEANS = {"true": True, "True": True, "1": True, "false": False, "False": False, "0": False}
_PADDINGS = ("VALID", "SAME")


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Values of `--hparams_override`, with the released code's names and defaults."""

    decay_rate: float = 0.96
    decay_steps: int = 2000
    leaky: bool = False
    learning_rate: float = 0.001
    loss_type: Loss | None = None  # None: chosen by `settings`
    num_prime_capsules: int = 32
    padding: str = "VALID"
    remake: bool = True
    routing: int = 3
    verbose: bool = False

    @classmethod
    def read(cls, overrides: str) -> "Hparams":
        """Parses `key=value,key=value`; an empty text gives the defaults.

        Raises:
            Error: a key is unknown, or its value has a wrong type.
        """
        known = {field.name: field.default for field in dataclasses.fields(cls)}
        values = {}
        for entry in filter(None, (part.strip() for part in overrides.split(","))):
            key, equals, text = (part.strip() for part in entry.partition("="))
            if key not in known or not equals:
                raise Error(
                    f"--hparams_override: expected key=value with a key of {', '.join(known)}; received {entry!r}"
                )
            values[key] = _value(key, text, type(known[key]))
        return cls(**values)


def settings(model: Model, hparams: Hparams, *, targets: int, steps: int, save_steps: int) -> RunConfig:
    """The settings of the run that the flags describe, with the recipe `released`.

    The default loss of a baseline deviates from the released code, which uses the margin loss. That loss is for lengths
    below one, but a baseline's scores are unbounded. The default here is the softmax loss, or the sigmoid loss with two
    targets.

    Raises:
        Error: a value is out of the range of its setting.
    """
    shared: dict[str, Any] = {
        "data": "mnist",
        "recipe": "released",
        "padding": hparams.padding.lower(),
        "batch_size": TRAIN_BATCH,
        "learning_rate": hparams.learning_rate,
        "decay_rate": hparams.decay_rate,
        "decay_steps": hparams.decay_steps,
        "steps": steps,
        "checkpoint_steps": save_steps,
    }
    if model == "baseline":
        loss = hparams.loss_type or ("softmax" if targets == 1 else "sigmoid")
        own: dict[str, Any] = {
            "model": "multimnist_baseline",
            "conv_channels": (512, 256),
            "dense_units": (1024,),
            "loss": loss,
        }
    else:
        own = {
            "model": "capsnet",
            "routing": hparams.routing,
            "reconstruction": hparams.remake,
            "leaky": hparams.leaky,
            "primary_types": hparams.num_prime_capsules,
            "loss": hparams.loss_type or "margin",
        }
    run: RunConfig = validated(RunConfig, shared | own, "--hparams_override, --max_steps or --save_step")
    return run


def _value(key: str, text: str, kind: type) -> Any:
    choices = {"loss_type": get_args(Loss), "padding": _PADDINGS}.get(key) or (tuple(_BOOLEANS) if kind is bool else ())
    if choices and text not in choices:
        raise Error(f"--hparams_override: {key}: expected {', '.join(choices)}; received {text!r}")
    if choices:
        return _BOOLEANS[text] if kind is bool else text
    try:
        value = kind(text)
    except ValueError:
        wanted = {int: "a whole number", float: "a number"}[kind]
        raise Error(f"--hparams_override: {key}: expected {wanted}, received {text!r}") from None
    if not value > 0:
        raise Error(f"--hparams_override: {key}: expected more than 0, received {text!r}")
    return value
