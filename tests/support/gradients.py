"""Values and gradients in the same words on every backend."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops


def with_gradients(
    function: Callable[..., Any], *arrays: Any, cotangent: Any = 1.0, variables: Sequence[keras.Variable] = ()
) -> tuple[np.ndarray, list[np.ndarray]]:
    """What a function of tensors gives, and the gradients of its sum weighted by `cotangent`.

    Args:
        function: takes as many tensors as there are arrays.
        *arrays: what it is called with.
        cotangent: the weights, of the shape of its value or of one that fits.
        variables: of layers that it calls.

    Returns:
        Its value, and the gradients of the arrays and after them of the variables.
    """
    made = {"tensorflow": _with_tape, "jax": _with_jax}[keras.backend.backend()]

    def weighed(*tensors: Any) -> tuple[Any, Any]:
        value = function(*tensors)
        return ops.sum(value * ops.cast(cotangent, value.dtype)), value

    value, gradients = made(weighed, [ops.convert_to_tensor(array) for array in arrays], variables)
    return ops.convert_to_numpy(value), [ops.convert_to_numpy(gradient) for gradient in gradients]


def _with_tape(weighed: Callable[..., Any], tensors: list[Any], variables: Sequence[Any]) -> tuple[Any, list[Any]]:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(tensors)
        total, value = weighed(*tensors)
    return value, tape.gradient(total, [*tensors, *(variable.value for variable in variables)])


def _with_jax(weighed: Callable[..., Any], tensors: list[Any], variables: Sequence[Any]) -> tuple[Any, list[Any]]:
    import jax

    def stateless(tensors: list[Any], values: list[Any]) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return weighed(*tensors)

    values = [variable.value for variable in variables]
    (_, value), gradients = jax.value_and_grad(stateless, argnums=(0, 1), has_aux=True)(tensors, values)
    return value, [*gradients[0], *gradients[1]]
