"""Settings of the vector index: exact or approximate search, and storage of the vectors."""

from typing import Annotated, Literal

from pydantic import Field

from vrec.core.config import BaseConfig


class Float32StorageConfig(BaseConfig):
    """Uncompressed storage: 4 bytes per dimension; with lists 1 byte more per dimension and 8 per vector."""

    kind: Literal["float32"] = "float32"
    """Lossless storage as float32."""


class Float16StorageConfig(BaseConfig):
    """Half-precision storage: 2 bytes per dimension; with lists 16 bytes more per vector."""

    kind: Literal["float16"] = "float16"
    """Storage as float16, with three significant digits; numbers beyond 65,504 are rejected."""


class ScalarQuantizerConfig(BaseConfig):
    """Scalar quantization: `bits` per number, between its dimension's minimum and maximum in the training."""

    kind: Literal["scalar"] = "scalar"
    """Storage as faiss's scalar quantizer codes, without residuals."""
    bits: Literal[4, 6, 8] = 8
    """Bits per dimension; with lists, each vector takes 16 bytes more."""
    learn_from: int = Field(default=1000, ge=1)
    """Number of vectors at which the codes are trained, once; fewer are stored as float16."""


class ProductQuantizerConfig(BaseConfig):
    """Product quantisation (Jégou et al. 2011, "Product quantization for nearest neighbor search").

    A vector is split into subvectors of `dims` dimensions, each replaced by the nearest of 256 learned ones:
    one byte per `dims` dimensions; with lists 16 bytes more per vector.
    """

    kind: Literal["product"] = "product"
    """Storage as faiss's product quantizer codes, without residuals or rotation."""
    dims: int = Field(default=2, ge=1)
    """Dimensions per byte; must divide the vectors' length."""
    learn_from: int = Field(default=10_000, ge=256)
    """Number of vectors at which the codes are trained, once; fewer are stored as float16."""


CodesConfig = Float16StorageConfig | ScalarQuantizerConfig | ProductQuantizerConfig
StorageConfig = Annotated[Float32StorageConfig | CodesConfig, Field(discriminator="kind")]


class IndexConfig(BaseConfig):
    """Settings of exact and approximate search, and of the storage of vectors."""

    exact_up_to: int = Field(default=50_000, ge=1)
    """Number of vectors up to which every search is exact; with more, searches without a filter use inverted
    lists."""
    lists: int | None = Field(default=None, ge=1)
    """Number of inverted lists; None means twice the square root of the number of vectors."""
    probes: int = Field(default=16, ge=1)
    """Minimum number of lists searched per query; more raise recall and take proportionally longer."""
    min_recall: float = Field(default=0.98, ge=0, lt=1)
    """Share of the 10 nearest vectors that searches must find. When lists are trained, as many more than
    `probes` are searched as stored vectors need to find their neighbors, and with storage `float32` all
    vectors, exactly, if that is more than a sixth of the lists. 0 searches `probes` lists."""
    rerank: int = Field(default=3, ge=1)
    """Candidates from the lists per result, which are scored again by the exact vectors.

    For storage `float32` only: with any other, the lists hold the stored vectors themselves."""
    retrain_growth: float = Field(default=2.0, gt=1)
    """Growth of the number of vectors since the last training, as a factor, after which the lists are trained
    again."""
    training_per_list: int = Field(default=64, ge=39)
    """Training vectors per list; drawn at random."""
    seed: int = Field(default=0, ge=0)
    """Seed of the draws of training vectors and initial centroids."""
    storage: StorageConfig = Field(default_factory=Float32StorageConfig)
    """Storage of vectors; with any but `float32`, searches and scores are those of the compressed vectors."""
