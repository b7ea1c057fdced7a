"""The layers of a CapsNet, in `keras.ops` alone.

Shapes: B batch, I input capsules, C classes (output capsules), D atoms (the length of a capsule's vector), P types of
primary capsules, H and W the grid.
"""

from typing import Any

import keras
from keras import ops

from capsrepro import convolution
from capsrepro.routing import route, route_from, squash


class _Convolution(keras.layers.Layer):
    """What layers share whose capsules come from a convolution with `types * atoms` channels."""

    def __init__(
        self,
        types: int,
        atoms: int,
        kernel_size: int,
        strides: int,
        padding: str,
        kernel_initializer: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.types = types
        self.atoms = atoms
        self.kernel_size = kernel_size
        self.strides = strides
        self.padding = padding
        self.kernel_initializer = keras.initializers.get(kernel_initializer or _initializer())

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Makes the kernel `(k, k, last axis of the inputs, types * atoms)`, channel = type * atoms + atom."""
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.kernel_size, self.kernel_size, input_shape[-1], self.types * self.atoms),
            initializer=self.kernel_initializer,
        )

    def grid(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """Height and width after the convolution."""
        reach = 0 if self.padding == "same" else self.kernel_size - 1
        return tuple(-(-(size - reach) // self.strides) for size in sizes)

    def get_config(self) -> dict[str, Any]:
        """What the layer was made with."""
        names = ("types", "atoms", "kernel_size", "strides", "padding")
        return {**super().get_config(), **_config(self, names)}


@keras.saving.register_keras_serializable("capsrepro")
class PrimaryCapsules(_Convolution):
    """A convolution whose channels are capsules: P types of `atoms` each, no ReLU before the squash (section 4)."""

    def __init__(
        self,
        types: int,
        atoms: int = 8,
        kernel_size: int = 9,
        strides: int = 2,
        padding: str = "valid",
        share: float = 1.0,
        convolution: str = "auto",
        kernel_initializer: Any = None,
        **kwargs: Any,
    ) -> None:
        """Sets up the layer.

        Args:
            types: P, of which each place of the grid has one capsule.
            atoms: the length of a capsule's vector.
            kernel_size: of the convolution, both ways.
            strides: of the convolution, both ways.
            padding: `valid` or `same`.
            share: what the convolution is multiplied by before the bias is added: 1 in the paper. The released code
                routes from one input capsule, and the softmax over its P zero logits makes it 1/P (leaky: 1/(P+1)).
            convolution: how it is computed: `direct` by the backend, `fast` by `convolution.convolve`, `auto`: fast
                where that pays. The weights are the same.
            kernel_initializer: as for `keras.layers.Conv2D`; by default the released code's truncated normal of 0.1.
            **kwargs: of `keras.layers.Layer`.
        """
        super().__init__(types, atoms, kernel_size, strides, padding, kernel_initializer, **kwargs)
        self.share = share
        self.convolution = convolution

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Makes the kernel `(k, k, channels, P * atoms)`, channel = type * atoms + atom, and a bias `(P * atoms,)`."""
        super().build(input_shape)
        self.bias = _bias(self, (self.types * self.atoms,))
        size, shape = input_shape[1:3], self.kernel.shape
        pays = convolution.pays(size, shape, self.strides, self.padding, self.compute_dtype)
        self._fast = self.convolution == "fast" or (self.convolution == "auto" and pays)

    def call(self, inputs: Any) -> Any:
        """Maps `(B, h, w, channels)` to capsules `(B, P*H*W, atoms)` in float32, type-major, then row, then column."""
        convolve = convolution.convolve if self._fast else ops.conv
        grid = convolve(inputs, self.kernel, strides=self.strides, padding=self.padding)  # (B, H, W, P*atoms)
        grid = ops.cast(grid, "float32") * self.share + self.bias
        _, height, width, _ = grid.shape
        grid = ops.reshape(grid, (-1, height, width, self.types, self.atoms))
        grid = ops.transpose(grid, (0, 3, 1, 2, 4))  # (B, P, H, W, atoms)
        return squash(ops.reshape(grid, (-1, self.types * height * width, self.atoms)))

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int | None, ...]:
        """`(B, P*H*W, atoms)`."""
        height, width = self.grid(input_shape[1:3])
        return (input_shape[0], self.types * height * width, self.atoms)

    def get_config(self) -> dict[str, Any]:
        """What the layer was made with."""
        return {**super().get_config(), "share": self.share, "convolution": self.convolution}


@keras.saving.register_keras_serializable("capsrepro")
class ConvolutionalCapsules(_Convolution):
    """Capsules that are routed place by place from a neighbourhood of the capsules below (the released `conv_slim`).

    All input types share one kernel. With one input type and one iteration this is the released code's primary layer;
    no network of the paper has more, so none of ours is made of it.
    """

    def __init__(
        self,
        types: int,
        atoms: int = 8,
        kernel_size: int = 9,
        strides: int = 2,
        padding: str = "valid",
        routing: int = 3,
        leaky: bool = False,
        kernel_initializer: Any = None,
        **kwargs: Any,
    ) -> None:
        """Sets up the layer; the arguments are those of `PrimaryCapsules` and `DigitCapsules`."""
        super().__init__(types, atoms, kernel_size, strides, padding, kernel_initializer, **kwargs)
        self.routing = routing
        self.leaky = leaky

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Makes the kernel `(k, k, atoms in, types * atoms)` and the bias `(types, atoms)`."""
        super().build(input_shape)
        self.bias = _bias(self, (self.types, self.atoms))

    def call(self, inputs: Any) -> Any:
        """Maps capsules `(B, h, w, I, atoms in)` to `(B, H, W, types, atoms)` in float32."""
        _, rows, columns, below, atoms_in = inputs.shape
        apart = ops.reshape(ops.transpose(inputs, (0, 3, 1, 2, 4)), (-1, rows, columns, atoms_in))  # (B*I, h, w, a)
        grid = ops.conv(apart, self.kernel, strides=self.strides, padding=self.padding)  # (B*I, H, W, C*D)
        _, height, width, _ = grid.shape
        votes = ops.reshape(grid, (-1, below, height, width, self.types, self.atoms))
        votes = ops.transpose(votes, (0, 2, 3, 4, 1, 5))  # (B, H, W, C, I, D)
        votes = ops.reshape(votes, (-1, self.types, below, self.atoms))
        capsules = route(votes, self.bias, self.routing, self.leaky)  # (B*H*W, C, D)
        return ops.reshape(capsules, (-1, height, width, self.types, self.atoms))

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int | None, ...]:
        """`(B, H, W, types, atoms)`."""
        return (input_shape[0], *self.grid(input_shape[1:3]), self.types, self.atoms)

    def get_config(self) -> dict[str, Any]:
        """What the layer was made with."""
        return {**super().get_config(), "routing": self.routing, "leaky": self.leaky}


@keras.saving.register_keras_serializable("capsrepro")
class DigitCapsules(keras.layers.Layer):
    """One capsule for each class, fed by routing from all input capsules (section 4)."""

    def __init__(
        self,
        classes: int = 10,
        atoms: int = 16,
        routing: int = 3,
        leaky: bool = False,
        kernel_initializer: Any = None,
        **kwargs: Any,
    ) -> None:
        """Sets up the layer.

        Args:
            classes: C.
            atoms: the length of an output capsule's vector.
            routing: iterations, see `route`.
            leaky: see `couplings_of`.
            kernel_initializer: as for `keras.layers.Dense`; by default the released code's truncated normal of 0.1.
            **kwargs: of `keras.layers.Layer`.
        """
        super().__init__(**kwargs)
        self.classes = classes
        self.atoms = atoms
        self.routing = routing
        self.leaky = leaky
        self.kernel_initializer = keras.initializers.get(kernel_initializer or _initializer())

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Makes a matrix for each class and input capsule, `(C, I, atoms in, atoms)`, and the bias `(C, atoms)`."""
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.classes, input_shape[1], input_shape[2], self.atoms),
            initializer=self.kernel_initializer,
        )
        self.bias = _bias(self, (self.classes, self.atoms))

    def call(self, inputs: Any) -> Any:
        """Maps capsules `(B, I, atoms in)` to capsules `(B, C, atoms)` in float32."""
        return route_from(inputs, self.kernel, self.bias, self.routing, self.leaky)

    def votes(self, inputs: Any) -> Any:
        """u_hat (Eq. 2), which routing does without: `(B, I, atoms in)` to `(B, C, I, atoms)`."""
        return ops.einsum("bia,ciad->bcid", inputs, self.kernel)

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int | None, ...]:
        """`(B, C, atoms)`."""
        return (input_shape[0], self.classes, self.atoms)

    def get_config(self) -> dict[str, Any]:
        """What the layer was made with."""
        names = ("classes", "atoms", "routing", "leaky")
        return {**super().get_config(), **_config(self, names)}


def _initializer() -> keras.initializers.Initializer:
    return keras.initializers.TruncatedNormal(stddev=0.1)


def _bias(layer: Any, shape: tuple[int, ...]) -> Any:
    """Starts at 0.1 and stays in float32 in mixed precision too, as all sums that end in a length do."""
    return layer.add_weight(name="bias", shape=shape, initializer=keras.initializers.Constant(0.1), autocast=False)


def _config(layer: Any, names: tuple[str, ...]) -> dict[str, Any]:
    initializer = keras.initializers.serialize(layer.kernel_initializer)
    return {name: getattr(layer, name) for name in names} | {"kernel_initializer": initializer}
