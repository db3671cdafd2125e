"""Settings of consents."""

from typing import Literal

from vrec.core.config import BaseConfig


class ConsentConfig(BaseConfig):
    """Consents of shoppers."""

    default: Literal["given", "refused"] = "given"
    """Consent of a shopper who has not answered, for every purpose. `refused` keeps and uses nothing of a
    shopper before a consent."""

    @property
    def is_given(self) -> bool:
        """Flag that is set if a shopper who has not answered counts as one who has agreed."""
        return self.default == "given"
