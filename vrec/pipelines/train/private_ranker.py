"""`vrec train ranker --privacy.epsilon`: a private ranker, charged to the ledger of its data set."""

import logging
import time
from typing import Any

from vrec.config.settings import Settings
from vrec.core.tables import StorageFolder
from vrec.core.types import CatalogContent
from vrec.core.uris import absolute_uri
from vrec.pipelines.fit.private import ledger_path, privacy_promise, require_no_defence
from vrec.pipelines.inputs import InputPaths, consent_report, input_fingerprint, read_inputs
from vrec.pipelines.train.data_parallel import CHECKPOINTS
from vrec.privacy.ledger import PrivacyLedger
from vrec.ranking.private.fit import check_private_ranker, fit_private_ranker, private_ranker_costs
from vrec.ranking.private.space import catalog_ids
from vrec.ranking.registry import TEST_REPORT

_log = logging.getLogger(__name__)

MODEL = "ranker"
"""Name of the model in the ledger."""


def train_private_ranker(inputs: InputPaths, out: str, settings: Settings) -> dict[str, Any]:
    """Train a ranker privately in this process, and write it to the folder `out`.

    All impressions are trained on: nothing is validated or tested. The training is charged to the ledger
    before any noise is drawn, and charged again if it is run again.

    Raises:
        PrivacyError: The budget is spent, or the ledger is damaged.
        ConfigError: A head has no private form, or a defence is on.
        EventsError, SchemaError, SourceError, RankError: The input cannot be used.
        OutputError: The folder or the ledger cannot be written.
    """
    require_no_defence(settings)
    out, privacy, config = absolute_uri(out), settings.privacy, settings.train.ranker
    check_private_ranker(config)
    folder, ledger = StorageFolder(out), PrivacyLedger(ledger_path(inputs.events, settings))
    folder.check_writable()
    data = read_inputs(inputs, settings.events, settings.fit.modality)
    content = data.content or CatalogContent()
    catalog_ids(content)
    costs = private_ranker_costs(config.private, privacy.epsilon or 0.0, privacy.delta)
    receipt = ledger.charge(MODEL, costs, input_fingerprint(data), delta=privacy.delta, budget=privacy.budget)
    _log.info(
        "training a ranker with ε = %g; %.3g of %g spent", privacy.epsilon, receipt.spent, receipt.budget
    )
    begun = time.perf_counter()
    ranker = fit_private_ranker(
        config.model,
        config.private,
        costs,
        events=data.events,
        content=content,
        profiles=config.profiles,
    )
    train_s = time.perf_counter() - begun
    ranker.promise = privacy_promise(privacy, costs, receipt)
    ranker.save(out)
    # An earlier ranker's metrics are those of shoppers, without noise.
    folder.remove(TEST_REPORT)
    folder.remove_folder(CHECKPOINTS)
    return {
        "model": f"{ranker.name}, a ranker,",
        "out": out,
        "videos": len(ranker.catalog) - 1,
        "fit_s": round(train_s, 3),
        **ranker.promise,
        **consent_report(data),
    }
