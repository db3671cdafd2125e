"""`vrec fit --privacy.epsilon`: private fits, charged to the ledger of their data set, and its report."""

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from vrec.config.settings import Settings
from vrec.core.artifact import read_artifact
from vrec.core.errors import ConfigError, PrivacyError
from vrec.core.tables import StorageFolder
from vrec.core.uris import absolute_uri
from vrec.pipelines.gates import GateOptions
from vrec.pipelines.inputs import InputPaths, consent_report, input_fingerprint, read_inputs
from vrec.privacy.accounting import MechanismCost, composed_epsilon
from vrec.privacy.config import PrivacyConfig
from vrec.privacy.ledger import LEDGER_ENDING, LedgerReceipt, PrivacyLedger
from vrec.retrieval.private_fit import check_private_fit, fit_private, private_costs

_log = logging.getLogger(__name__)

UNIT = "one shopper added or removed"
"""Neighboring data sets, between which ε holds."""


def ledger_path(events: str, settings: Settings) -> str:
    """Return the path of a data set's ledger: that of the settings, or one beside the events."""
    return settings.privacy.ledger or events.rstrip("/") + LEDGER_ENDING


def require_no_defence(settings: Settings) -> None:
    """Check that a private fit has no defence by which a shopper counts as others' events say.

    The noise covers what one shopper's own interactions add. A weight, a cut or a median that depends on the
    events of all would let one shopper change how much others count, which no noise here covers. That a table
    of weights was made of other events cannot be told from the table. `clip_videos` would be sound, and is
    refused since private fits limit shoppers in their own way.

    Raises:
        ConfigError: One of these settings is on.
    """
    defence = settings.robustness.defence
    on = {
        "robustness.defence.drop_promoted": defence.drop_promoted,
        "robustness.defence.clip_videos": defence.clip_videos is not None,
        "robustness.defence.shopper_weights": defence.shopper_weights is not None,
        "retrieval.ease.median_groups": settings.retrieval.ease.median_groups > 1,
        "events.quarantine": settings.events.quarantine is not None,
        "events.gates.policy=cut": settings.events.gates.policy == "cut",
    }
    if settings.privacy.epsilon is None or not any(on.values()):
        return
    names = ", ".join(name for name, is_on in on.items() if is_on)
    raise ConfigError(
        f"privacy.epsilon is {settings.privacy.epsilon:g}, and a private fit cannot have {names}",
        fix=f"leave {names} out; a private fit limits what each shopper counts by privacy.count_videos and "
        "privacy.pair_videos. Or leave privacy.epsilon out",
    )


def fit_with_privacy(inputs: InputPaths, out: str, settings: Settings, *, model: str) -> dict[str, Any]:
    """Fit the recommender named `model` privately in this process, and write it to the folder `out`.

    The fit is charged to the ledger before its noise is drawn. The model holds neither histories nor ids of
    shoppers, and its manifest what was promised and spent.

    Raises:
        PrivacyError: The budget is spent, or the ledger is damaged.
        ConfigError: The model has no private form, or needs the catalog, or a defence is on.
        EventsError, SchemaError, SourceError, FitError: The input cannot be used.
        OutputError: The folder or the ledger cannot be written.
    """
    require_no_defence(settings)
    out, privacy = absolute_uri(out), settings.privacy
    ledger = PrivacyLedger(ledger_path(inputs.events, settings))
    StorageFolder(out).check_writable()
    # No good days are saved: they are exact counts.
    data = read_inputs(inputs, settings.events, settings.fit.modality, GateOptions())
    content = data.content
    videos = (
        None if content is None or content.videos is None else content.videos.column("video_id").to_pylist()
    )
    check_private_fit(model, settings.retrieval, privacy, videos)
    costs = private_costs(model, privacy, public_catalog=bool(videos))
    receipt = ledger.charge(model, costs, input_fingerprint(data), delta=privacy.delta, budget=privacy.budget)
    _log.info(
        "fitting %s with ε = %g; %.3g of %g spent", model, privacy.epsilon, receipt.spent, receipt.budget
    )
    begun = time.perf_counter()
    fitted = fit_private(model, settings.retrieval, privacy, data.interactions, videos)
    fit_s = time.perf_counter() - begun
    promise = privacy_promise(privacy, costs, receipt)
    fitted.report |= {"privacy": promise} | consent_report(data)
    fitted.save(out)
    return {
        "model": model,
        "out": out,
        "videos": len(fitted.videos),
        "fit_s": round(fit_s, 3),
        **promise,
        **consent_report(data),
    }


def privacy_promise(
    privacy: PrivacyConfig, costs: Sequence[MechanismCost], receipt: LedgerReceipt
) -> dict[str, Any]:
    """Return what a manifest says of a private fit: the promise, its mechanisms and the ledger's receipt."""
    return {
        "epsilon": privacy.epsilon,
        "delta": privacy.delta,
        "unit": UNIT,
        "mechanisms": [cost.as_json() for cost in costs],
        "ledger": asdict(receipt),
    }


def privacy_report(ledger: str, models: list[str]) -> dict[str, Any]:
    """Return what the fits of a ledger have spent, and whether it has those of some models or bundles.

    Args:
        ledger: Path of the ledger.
        models: Folders of models or bundles.

    Raises:
        PrivacyError: There is no ledger, it is damaged, or lacks the fit of one of the models.
        ModelError: A folder holds no model.
    """
    state = PrivacyLedger(ledger).read()
    fits, costs = [], []
    for entry in state.entries:
        costs += entry.costs
        fits.append(
            {
                "entry": entry.number,
                "at": entry.at,
                "model": entry.model,
                "data": entry.data,
                "epsilon": composed_epsilon(entry.costs, state.delta),
                "spent": composed_epsilon(costs, state.delta),
            }
        )
    digests = {entry.number: entry.digest for entry in state.entries}
    return {
        "ledger": state.ledger,
        "path": ledger,
        "unit": UNIT,
        "delta": state.delta,
        "budget": state.budget,
        "spent": state.spent(),
        "fits": fits,
        "models": [fit for uri in models for fit in _check_receipts(uri, state.ledger, digests)],
    }


def _check_receipts(uri: str, ledger: str, digests: dict[int, str]) -> list[dict[str, Any]]:
    """Return the private fits of a model or of a bundle's parts."""
    metrics = read_artifact(uri, blobs=False).metrics
    parts = {"": metrics, **{name: metrics.get(name, {}) for name in ("recommender", "ranker")}}
    found = {name: part["privacy"] for name, part in parts.items() if part.get("privacy")}
    if not found:
        raise PrivacyError(f"{uri}: was fitted without privacy", fix="fit it with --privacy.epsilon")
    return [_check_receipt(uri, name, promise, ledger, digests) for name, promise in found.items()]


def _check_receipt(
    uri: str, part: str, promise: dict[str, Any], ledger: str, digests: dict[int, str]
) -> dict[str, Any]:
    receipt, named = promise["ledger"], f"{uri}: its {part}" if part else uri
    if isinstance(receipt, str):
        raise PrivacyError(
            f"{named}: a federated fit, whose ledgers are {receipt}", fix="ask the clients for their reports"
        )
    if receipt["ledger"] != ledger:
        raise PrivacyError(f"{named}: was charged to another ledger", fix="give the ledger of its data set")
    if digests.get(receipt["entry"]) != receipt["digest"]:
        raise PrivacyError(
            f"{named}: its fit, entry {receipt['entry']}, is not in the ledger, which was cut or put back",
            fix="put back the ledger's last copy; without one, count the budget of this data set as spent",
        )
    return {"model": uri, "part": part, "entry": receipt["entry"], "epsilon": promise["epsilon"]}
