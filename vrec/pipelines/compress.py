"""`vrec compress`: smaller networks for the frames, measured beside the one in use; the best is written."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import yaml

from vrec.compression.config import STEPS, CompressConfig, Method
from vrec.compression.export import need_onnx
from vrec.compression.network import RUNTIMES, NetworkFacts, load_network, save_network
from vrec.core.errors import CompressError, ConfigError
from vrec.core.protocols import Vectors
from vrec.core.tables import Folder, absolute, join
from vrec.encoders.backbone import COMPRESSED
from vrec.encoders.cnn import CnnConfig, CnnEncoder, cnn_name
from vrec.pipelines.compress_catalogue import Catalogue, Labels, read_labels
from vrec.pipelines.compress_judge import Quality, quality, speeds
from vrec.pipelines.compress_networks import Networks, Say
from vrec.pipelines.tune.changes import differences, with_changes
from vrec.settings import Settings

EMBED_YAML = "embed.yaml"
ORIGINAL = "original"


@dataclass(frozen=True, slots=True)
class Row:
    """One network in the table."""

    method: str
    frame_px: int
    runtime: str
    megabytes: float
    """Size of its ONNX graph, 10^6 bytes."""
    frames_per_s: float
    """Frames a second on one core, by the time that it had the core."""
    speed: float
    """Times as fast as the original: the median over rounds in which both ran."""
    quality: Quality


@dataclass(frozen=True, slots=True)
class _Trial:
    """A network that has been made, with an encoder that runs it on each runtime."""

    uri: str
    frame_px: int
    encoders: dict[str, CnnEncoder]


def compress(videos: str, out: str, settings: Settings, *, say: Say | None = None) -> dict[str, Any]:
    """What was measured: `rows`, one a network with the original first, `failed`, and what was `chosen`.

    `videos` is a folder or a VIDEOS table. The chosen network is the fastest of those that lose no more than
    `settings.compress` allows; `out` gets it, with an embed.yaml for `vrec embed --config`. `chosen` is None,
    and nothing is written, where none is both faster than the original and good enough. `say` is told of
    progress. Raises SourceError, ConfigError, and CompressError where
    too few videos decode or no method works.
    """
    need_onnx()
    say = say or (lambda text: None)
    config, cnn, out = settings.compress, _network_of(settings), absolute(out)
    Folder(out).check_writable(".compress")
    catalogue = Catalogue(videos, settings, cnn.frame_px)
    labels = read_labels(config.labels, catalogue.ids) if config.labels else None
    say(f"{len(catalogue.ids):,} videos decoded, {len(catalogue.failed):,} left out")
    original = CnnEncoder(cnn)
    networks = Networks(cnn, original.features, catalogue, config, say)
    with tempfile.TemporaryDirectory(prefix="vrec-compress-") as folder:
        trials, failed = _trials(networks, cnn, config, folder, say)
        rows = _rows(original, trials, networks, catalogue=catalogue, labels=labels, config=config)
        chosen = choose(rows, config)
        done = {
            "videos": len(catalogue.ids),
            "left_out": catalogue.failed,
            "labelled": len(labels.rows) if labels else 0,
            "original": cnn_name(cnn),
            "rows": [_flat(row) for row in rows],
            "failed": failed,
            "chosen": chosen.method if chosen else None,
            "out": out if chosen else None,
        }
        if chosen:
            _write(chosen, trials[chosen.method].uri, out, done)
    if chosen:
        done["config"] = write_embed(out, chosen.frame_px, settings)
    return done


def choose(rows: Sequence[Row], config: CompressConfig) -> Row | None:
    """The fastest row that loses no more than allowed, None where none is; the first row is the original.

    With labels 1-NN accuracy over all labelled videos decides, else the neighbours of new videos.
    """
    first = rows[0].quality
    good = []
    for row in rows[1:]:
        if first.one_nn is not None and row.quality.one_nn is not None:
            fine = first.one_nn - row.quality.one_nn <= config.most_lost + 1e-9
        else:
            fine = row.quality.recall_new >= config.least_recall
        if fine and row.speed > 1:
            good.append(row)
    return max(good, key=lambda row: row.speed, default=None)


def write_embed(out: str, frame_px: int, settings: Settings) -> str:
    """The URI of the YAML file, now written, with which `vrec embed` takes the network in `out`."""
    changes = {
        "embed.decode.frame_px": frame_px,
        "embed.encoders.frames.frame_px": frame_px,
        "embed.encoders.frames.backend": "auto",
        "embed.encoders.frames.weights": COMPRESSED + out,
    }
    embed = {"embed": differences(with_changes(settings, changes))["embed"]}
    text = yaml.safe_dump(embed, sort_keys=False, allow_unicode=True)
    Folder(out).write(EMBED_YAML, text.encode())
    return join(out, EMBED_YAML)


def _network_of(settings: Settings) -> CnnConfig:
    frames = settings.embed.encoders.frames
    if not isinstance(frames, CnnConfig):
        what = "no encoder sees frames" if frames is None else f"embed.encoders.frames is {frames.kind}"
        raise ConfigError(
            f"nothing to compress: {what}",
            mend="give a config in which embed.encoders.frames is a cnn, and train heads on what comes of it",
        )
    if frames.weights.startswith(COMPRESSED):
        raise ConfigError(
            f"{frames.weights} is compressed already", mend="give the weights that it was made of"
        )
    return frames


def _trials(
    networks: Networks, cnn: CnnConfig, config: CompressConfig, folder: str, say: Say
) -> tuple[dict[str, _Trial], dict[str, str]]:
    """The methods that worked, and why the others did not."""
    trials: dict[str, _Trial] = {}
    failed: dict[str, str] = {}
    for method in dict.fromkeys(config.methods):
        try:
            onnx, px = networks.make(method)
        except CompressError as error:
            failed[method] = f"{error}. To mend it: {error.mend}"
            continue
        trials[method] = _trial(join(folder, method), method, onnx, cnn.model_copy(update={"frame_px": px}))
        say(f"{method}: {len(onnx) / 1e6:.1f} MB")
    if not trials:
        method, why = next(iter(failed.items()), ("compress.methods", "none is given"))
        raise CompressError(f"no method worked; {method}: {why}")
    return trials, failed


def _trial(uri: str, method: Method, onnx: bytes, cnn: CnnConfig) -> _Trial:
    rounded = STEPS[method][1] != "none"
    facts = NetworkFacts(method, cnn.frame_px, 0, "openvino", rounded, cnn.weights)
    encoders: dict[str, CnnEncoder] = {}
    save_network(uri, onnx, facts)
    for runtime in RUNTIMES:
        changes = {"weights": COMPRESSED + uri, "backend": runtime}
        encoders[runtime] = CnnEncoder(cnn.model_copy(update=changes))
    save_network(uri, onnx, replace(facts, dim=encoders["openvino"].dim))
    return _Trial(uri, cnn.frame_px, encoders)


def _rows(
    original: CnnEncoder,
    trials: dict[str, _Trial],
    networks: Networks,
    *,
    catalogue: Catalogue,
    labels: Labels | None,
    config: CompressConfig,
) -> list[Row]:
    clips = catalogue.clips(original.config.frame_px)
    encoders, shown = {ORIGINAL: original}, {ORIGINAL: clips}
    for method, trial in trials.items():
        for runtime, encoder in trial.encoders.items():
            encoders[f"{method} {runtime}"] = encoder
            shown[f"{method} {runtime}"] = catalogue.clips(trial.frame_px)
    taken = speeds(encoders, shown, config.rounds)
    truth = original.encode(clips)
    base = taken[ORIGINAL]
    size = len(networks.network("whole")) / 1e6
    same = quality(truth, truth, labels, None)
    runs = "openvino" if original.config.backend in ("auto", "openvino") else original.config.backend
    rows = [Row(ORIGINAL, original.config.frame_px, runs, size, _rate(base), 1.0, same)]
    for method, trial in trials.items():
        ratios = {name: float(np.median(base / taken[f"{method} {name}"])) for name in trial.encoders}
        runtime = max(ratios, key=ratios.__getitem__)
        vectors: Vectors = trial.encoders[runtime].encode(catalogue.clips(trial.frame_px))
        found = quality(vectors, truth, labels, networks.new_rows(_method(method)))
        rate, size = _rate(taken[f"{method} {runtime}"]), len(load_network(trial.uri)[0]) / 1e6
        rows.append(Row(method, trial.frame_px, runtime, size, rate, ratios[runtime], found))
    return rows


def _method(name: str) -> Method:
    return next(method for method in STEPS if method == name)


def _rate(seconds: np.ndarray) -> float:
    return float(1 / np.median(seconds))


def _flat(row: Row) -> dict[str, Any]:
    values = asdict(row)
    return {**values, **values.pop("quality")}


def _write(row: Row, uri: str, out: str, done: dict[str, Any]) -> None:
    onnx, facts = load_network(uri)
    runtime = next(name for name in RUNTIMES if name == row.runtime)
    measured = {name: value for name, value in _flat(row).items() if isinstance(value, float)}
    data = {"original": done["original"], "videos": done["videos"], "table": done["rows"]}
    save_network(out, onnx, replace(facts, runtime=runtime), data=data, metrics=measured)
