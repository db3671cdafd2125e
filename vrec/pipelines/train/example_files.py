"""Ranking examples as Parquet files, in parts by shopper that are read one after the other."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from vrec.core.tables import MANIFEST, StorageFolder
from vrec.core.uris import join_uri
from vrec.pipelines.task_runner import BASE_BYTES, Payload, TaskCall, TaskRunner
from vrec.pipelines.train.impressions import ImpressionExamples, PartedLog, merge_examples, replay
from vrec.ranking.example_parts import Examples, Outcomes
from vrec.ranking.example_tables import ExampleTable, read_examples
from vrec.ranking.features.arrays import CatalogFeatureArrays, FeatureShape
from vrec.ranking.features.catalog import CatalogFeatures
from vrec.ranking.features.space import FeatureSpace

EXAMPLES = "examples"
"""The subfolder of `--out` for the files while a ranker is trained."""
KIND = "ranking_examples"
"""The kind of their manifest."""
EXAMPLE_BYTES = 5_000
"""Memory of an example while its part is put together and written, with history 50 and one a request."""

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class ExampleFile:
    """Parquet file of one part of a split, with a row per request."""

    name: str
    requests: int
    sha256: str
    outcomes: Outcomes


@dataclass(frozen=True, slots=True)
class ExampleFiles:
    """Examples of a log in a folder."""

    uri: str
    splits: Mapping[Split, tuple[ExampleFile, ...]]
    """Files with examples, by number."""
    fitted: Payload
    """The feature space and what belongs to it, as `replay` returns it."""

    def parts(self, split: Split, space: FeatureSpace, catalog: CatalogFeatures) -> "FileParts":
        """Return the parts of a split."""
        return FileParts(self.uri, split, self.splits[split], catalog.arrays, space.shape)


@dataclass(frozen=True, slots=True)
class FileParts:
    """Examples of a split that are read from files, a part at a time; implements `ExampleParts`."""

    uri: str
    split: Split
    files: tuple[ExampleFile, ...]
    catalog: CatalogFeatureArrays
    shape: FeatureShape

    @property
    def outcomes(self) -> Outcomes:
        """Counts over all parts."""
        return Outcomes.merge([file.outcomes for file in self.files])

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of impressions of each part."""
        return tuple(file.outcomes.impressions for file in self.files)

    def arrow_tables(self) -> Iterator[pa.Table]:
        """Yield the table of each part."""
        folder = StorageFolder(self.uri)
        for file in self.files:
            yield folder.read_parquet(file.name)

    def tables(self) -> Iterator[ExampleTable]:
        """Yield the examples of each part, with the baseline's predictions."""
        for table in self.arrow_tables():
            yield read_examples(table, self.catalog, self.shape)

    def __iter__(self) -> Iterator[Examples]:
        """Yield the features and labels of each part."""
        for part in self.tables():
            yield part.features, part.labels


def write_examples(parted: PartedLog, out: str, most: int, tasks: TaskRunner) -> ExampleFiles:
    """Build the examples of a log and write them below the folder `out`, at most about `most` in a part.

    The parts are by the hash of the shopper, so that each is a random sample of the shoppers, and their rows
    are in the order of that hash: they depend on the log and on `most` alone, and not on how the events were
    sharded. Nothing but counts comes to this process.
    """
    uri, places = join_uri(out, EXAMPLES), -(-parted.impressions // most)
    fitted, made = replay(parted.parts, parted.log, tasks, places)
    memory = BASE_BYTES + EXAMPLE_BYTES * -(-parted.impressions // places)
    calls = [TaskCall(_write, (uri, place, *(one[place] for one in made)), memory) for place in range(places)]
    written: Sequence[Sequence[ExampleFile]] = [files for files, _ in tasks.run(calls)]
    splits: dict[Split, tuple[ExampleFile, ...]] = {
        split: tuple(files[number] for files in written if files[number].requests)
        for number, split in enumerate(SPLITS)
    }
    files: dict[str, Any] = {name: [asdict(file) for file in files] for name, files in splits.items()}
    StorageFolder(uri).write_json(MANIFEST, {"kind": KIND, "files": files})
    return ExampleFiles(uri, splits, fitted)


def _write(uri: str, number: int, *parts: list[ImpressionExamples]) -> list[ExampleFile]:
    """Write a part of each split; a part without examples has no file."""
    folder, files = StorageFolder(uri), list[ExampleFile]()
    for split, own in zip(SPLITS, zip(*parts, strict=True), strict=True):
        merged = merge_examples(own)
        name, table = f"{split}/{number:05d}.parquet", _table(merged)
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        data = sink.getvalue()
        if table.num_rows:
            folder.write(name, data)
        sha = hashlib.sha256(data).hexdigest()
        files.append(ExampleFile(name, table.num_rows, sha, Outcomes.of(merged.labels)))
    return files


def _table(examples: ImpressionExamples) -> pa.Table:
    return ExampleTable(examples.features, examples.labels, examples.rates, examples.cold).to_arrow()
