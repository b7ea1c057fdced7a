"""What the backend computes on."""

import keras


def gpus() -> list[str]:
    """The GPUs that the backend sees, such as `gpu:0`; JAX raises where it is asked for them by name and has none."""
    return [name for name in keras.distribution.list_devices() if name.startswith("gpu")]
