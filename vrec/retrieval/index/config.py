"""What the vector index can be told: when it becomes approximate, and in how many bytes it keeps a vector."""

from typing import Annotated, Literal

from pydantic import Field

from vrec.core.config import BaseConfig


class Float32StorageConfig(BaseConfig):
    """Vectors as they come: 4 bytes a dimension, and with lists another byte and 8 bytes a vector."""

    kind: Literal["float32"] = "float32"
    """Nothing is lost."""


class Float16StorageConfig(BaseConfig):
    """Vectors in half precision: 2 bytes a dimension, and with lists 16 bytes a vector."""

    kind: Literal["float16"] = "float16"
    """Three digits are kept of each number; numbers beyond 65,504 are refused."""


class ScalarQuantizerConfig(BaseConfig):
    """Each number in so many bits, between its dimension's least and greatest when the codes were learned."""

    kind: Literal["scalar"] = "scalar"
    """faiss's scalar quantiser, without residuals."""
    bits: Literal[4, 6, 8] = 8
    """Bits a dimension: with 8 a byte, and with lists 16 bytes a vector."""
    learn_from: int = Field(default=1000, ge=1)
    """Vectors from which on the codes are learned, once; fewer are kept as float16."""


class ProductQuantizerConfig(BaseConfig):
    """Product quantisation (Jégou et al. 2011, "Product quantization for nearest neighbor search").

    A vector is cut into runs of `dims`, and each run is replaced by the nearest of 256 learned ones: one
    byte for `dims` dimensions, and with lists 16 bytes a vector.
    """

    kind: Literal["product"] = "product"
    """faiss's product quantiser, without residuals or rotation."""
    dims: int = Field(default=2, ge=1)
    """Dimensions a byte stands for; must divide the vectors' length."""
    learn_from: int = Field(default=10_000, ge=256)
    """Vectors from which on the codes are learned, once; fewer are kept as float16."""


CodesConfig = Float16StorageConfig | ScalarQuantizerConfig | ProductQuantizerConfig
StorageConfig = Annotated[Float32StorageConfig | CodesConfig, Field(discriminator="kind")]


class IndexConfig(BaseConfig):
    """When the search becomes approximate, how well it then finds, and how vectors are kept."""

    exact_up_to: int = Field(default=50_000, ge=1)
    """Vectors up to which every search is exact; with more, unfiltered ones go through inverted lists."""
    lists: int | None = Field(default=None, ge=1)
    """Inverted lists; twice the square root of the number of vectors by default."""
    probes: int = Field(default=16, ge=1)
    """Lists read for a query: more find more and take longer, in proportion."""
    rerank: int = Field(default=3, ge=1)
    """Candidates taken from the lists for each of the k asked for, and scored again by the exact vectors.

    Only with `float32`: of other storages the lists hold all there is."""
    retrain_growth: float = Field(default=2.0, gt=1)
    """How many times the vectors of the last training there must be before the lists are learned anew."""
    training_per_list: int = Field(default=64, ge=39)
    """Vectors that the lists are learned from, for each list; drawn at random."""
    seed: int = Field(default=0, ge=0)
    """Draws the training vectors and the first centres."""
    storage: StorageConfig = Field(default_factory=Float32StorageConfig)
    """How vectors are kept; with all but `float32`, what is searched and scored is what was kept of them."""
