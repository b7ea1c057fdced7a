"""The layers of a CapsNet, in `keras.ops` alone.

Shapes: B batch, I input capsules, C classes (output capsules), D atoms (the length of a capsule's vector), P types of
primary capsules, H and W the grid.
"""

from typing import Any

import keras
from keras import ops

from capsrepro.core.params import RoutingUpdate
from capsrepro.network import convolution
from capsrepro.network.routing import ProductVotes, StoredVotes, route, squash


@keras.saving.register_keras_serializable("capsrepro")
class PrimaryCapsules(keras.layers.Layer):
    """Primary capsules: a convolution with P types of `atoms` channels, squashed without a ReLU (section 4)."""

    def __init__(
        self,
        types: int,
        atoms: int = 8,
        kernel_size: int = 9,
        strides: int = 2,
        padding: str = "valid",
        kernel_scale: float = 1.0,
        convolution: str = "auto",
        kernel_initializer: Any = None,
        **kwargs: Any,
    ) -> None:
        """Sets up the layer.

        Args:
            types: P; each position of the grid has one capsule of each type.
            atoms: length of a capsule's vector.
            kernel_size: height and width of the kernel.
            strides: stride in both directions.
            padding: `valid` or `same`.
            kernel_scale: factor of the convolution before the bias is added, 1 in the paper. In the released code it is
                1/P (leaky: 1/(P+1)), the softmax over P zero logits in its routing from one input capsule.
            convolution: `direct` uses the backend's convolution, `fast` uses `convolution.convolve`, and `auto` uses
                the faster one. The weights are the same.
            kernel_initializer: as for `keras.layers.Conv2D`; by default the released code's truncated normal with
                standard deviation 0.1.
            **kwargs: passed to `keras.layers.Layer`.
        """
        super().__init__(**kwargs)
        self.types = types
        self.atoms = atoms
        self.kernel_size = kernel_size
        self.strides = strides
        self.padding = padding
        self.kernel_scale = kernel_scale
        self.convolution = convolution
        self.kernel_initializer = keras.initializers.get(kernel_initializer or _initializer())

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Creates a kernel `(k, k, channels, P * atoms)`, channel = type * atoms + atom, and a bias `(P * atoms,)`."""
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.kernel_size, self.kernel_size, input_shape[-1], self.types * self.atoms),
            initializer=self.kernel_initializer,
        )
        self.bias = _bias(self, (self.types * self.atoms,))
        size, shape = input_shape[1:3], self.kernel.shape
        faster = convolution.is_faster(size, shape, self.strides, self.padding, self.compute_dtype)
        self._fast = self.convolution == "fast" or (self.convolution == "auto" and faster)

    def call(self, inputs: Any) -> Any:
        """Maps `(B, h, w, channels)` to capsules `(B, P*H*W, atoms)` in float32, type-major, then row, then column."""
        convolve = convolution.convolve if self._fast else ops.conv
        grid = convolve(inputs, self.kernel, strides=self.strides, padding=self.padding)  # (B, H, W, P*atoms)
        grid = ops.cast(grid, "float32") * self.kernel_scale + self.bias
        _, height, width, _ = grid.shape
        grid = ops.reshape(grid, (-1, height, width, self.types, self.atoms))
        grid = ops.transpose(grid, (0, 3, 1, 2, 4))  # (B, P, H, W, atoms)
        return squash(ops.reshape(grid, (-1, self.types * height * width, self.atoms)))

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int | None, ...]:
        """`(B, P*H*W, atoms)`."""
        lost = 0 if self.padding == "same" else self.kernel_size - 1
        height, width = (-(-(size - lost) // self.strides) for size in input_shape[1:3])
        return (input_shape[0], self.types * height * width, self.atoms)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the layer."""
        names = ("types", "atoms", "kernel_size", "strides", "padding", "kernel_scale", "convolution")
        return {**super().get_config(), **_config(self, names)}


@keras.saving.register_keras_serializable("capsrepro")
class DigitCapsules(keras.layers.Layer):
    """Digit capsules: one capsule per class, routed from all input capsules (section 4)."""

    def __init__(
        self,
        classes: int = 10,
        atoms: int = 16,
        routing: int = 3,
        leaky: bool = False,
        update: RoutingUpdate = "accumulate",
        kernel_initializer: Any = None,
        **kwargs: Any,
    ) -> None:
        """Sets up the layer.

        Args:
            classes: C.
            atoms: length of an output capsule's vector.
            routing: number of iterations, see `route`.
            leaky: see `couplings_of`.
            update: how the logits are updated, `accumulate` or `replace`, see `passes`.
            kernel_initializer: as for `keras.layers.Dense`; by default the released code's truncated normal with
                standard deviation 0.1.
            **kwargs: passed to `keras.layers.Layer`.
        """
        super().__init__(**kwargs)
        self.classes = classes
        self.atoms = atoms
        self.routing = routing
        self.leaky = leaky
        self.update = update
        self.kernel_initializer = keras.initializers.get(kernel_initializer or _initializer())

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Creates a matrix for each class and input capsule, `(C, I, atoms in, atoms)`, and the bias `(C, atoms)`."""
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.classes, input_shape[1], input_shape[2], self.atoms),
            initializer=self.kernel_initializer,
        )
        self.bias = _bias(self, (self.classes, self.atoms))

    def call(self, inputs: Any) -> Any:
        """Maps capsules `(B, I, atoms in)` to capsules `(B, C, atoms)` in float32."""
        return route(ProductVotes(inputs, self.kernel), self.bias, self.routing, self.leaky, self.update)

    def votes(self, inputs: Any) -> StoredVotes:
        """The votes of capsules `(B, I, atoms in)` (Eq. 2) in float32, as a tensor `(B, C, I, atoms)`."""
        return StoredVotes(ops.cast(ops.einsum("bia,ciad->bcid", inputs, self.kernel), "float32"))

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int | None, ...]:
        """`(B, C, atoms)`."""
        return (input_shape[0], self.classes, self.atoms)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the layer."""
        names = ("classes", "atoms", "routing", "leaky", "update")
        return {**super().get_config(), **_config(self, names)}


def _initializer() -> keras.initializers.Initializer:
    return keras.initializers.TruncatedNormal(stddev=0.1)


def _bias(layer: Any, shape: tuple[int, ...]) -> Any:
    """Adds a bias of initially 0.1; it stays in float32 in mixed precision, like all sums that lengths depend on."""
    return layer.add_weight(name="bias", shape=shape, initializer=keras.initializers.Constant(0.1), autocast=False)


def _config(layer: Any, names: tuple[str, ...]) -> dict[str, Any]:
    initializer = keras.initializers.serialize(layer.kernel_initializer)
    return {name: getattr(layer, name) for name in names} | {"kernel_initializer": initializer}
