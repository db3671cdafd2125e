"""Settings of federated fits. Imports no numerical library."""

from typing import Literal

from pydantic import Field, model_validator

from vrec.core.config import BaseConfig


class FederatedConfig(BaseConfig):
    """Settings for `vrec federate`. See docs/federated.md for what is promised, and what is not."""

    secure: bool = True
    """Mask the clients' sums, so that the coordinator sees none of one client. False sends each client's sums
    to the coordinator as they are, which `aggregation` other than `mean` needs."""
    threshold: float = Field(default=0.6, gt=0.5, le=1)
    """Share of a round's clients that must stay to its end, above one half; with fewer the round is repeated.
    A high one protects against more clients that conspire with the coordinator, a low one lets more leave."""
    clients: float = Field(default=1.0, gt=0, le=1)
    """Share of the clients that is drawn for each round; at least 3."""
    deadline_s: float = Field(default=600.0, gt=0, allow_inf_nan=False)
    """Seconds that clients have for each step of a round; those that are later are left out of the round."""
    cpus_per_client: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """CPUs that Ray reserves per client. At 0 all clients run at once, on whatever CPUs there are."""
    retries: int = Field(default=2, ge=0)
    """Number of times that a round with too few clients is repeated before the fit ends with an error; the
    same command then continues from the last round."""
    fraction_bits: int = Field(default=24, ge=0, le=48)
    """Bits after the point of the numbers that are summed. More are more precise, and the greatest number
    that a client can send is halved by each."""
    rounds: int = Field(default=20, ge=1)
    """Rounds of the ranker. `als` takes one and `retrieval.als.iterations`, `ease` and `popular` take one."""
    method: Literal["fedavg", "fedprox", "fedadam"] = "fedavg"
    """Optimization of the ranker: averages of updates (McMahan et al. 2017), the same with a term that holds
    clients near the common weights (Li et al. 2020), or Adam on the averages (Reddi et al. 2021)."""
    local_epochs: int = Field(default=1, ge=1)
    """Passes of a client over its impressions in each round; more need fewer rounds and drift farther where
    clients differ."""
    proximal: float = Field(default=0.01, ge=0, allow_inf_nan=False)
    """Factor μ of the term of `fedprox`, half the squared distance to the round's first weights."""
    server_learning_rate: float = Field(default=1.0, gt=0, le=100)
    """Factor on the average update. With `fedadam`, its step size; then try 0.01."""
    weighting: Literal["examples", "equal"] = "examples"
    """Weights of clients in the average: their numbers of impressions, up to `most_examples`, or equal."""
    most_examples: int = Field(default=100_000, ge=1)
    """Greatest weight of a client by examples, so that none outweighs the others by a large number."""
    norm_bound: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Greatest Euclidean norm of a client's update; longer ones are shortened to it. None for no bound. In
    masked sums each client's own software enforces it."""
    aggregation: Literal["mean", "trimmed_mean", "median"] = "mean"
    """Average of updates. `trimmed_mean` and `median`, by coordinate, resist poisoned updates (Yin et al.
    2018), and need `secure` to be false: they compare single updates."""
    trim: float = Field(default=0.2, gt=0, lt=0.5)
    """Share of the clients that `trimmed_mean` leaves out at either end of each coordinate."""
    seed: int = Field(default=0, ge=0)
    """Seed of the clients drawn for each round, and of local training."""

    @model_validator(mode="after")
    def _robust_sums_are_not_masked(self) -> "FederatedConfig":
        if self.secure and self.aggregation != "mean":
            raise ValueError(
                f"aggregation {self.aggregation} compares single updates, which masked sums hide: set secure "
                "to false, or keep mean and set norm_bound"
            )
        return self
