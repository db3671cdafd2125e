"""A catalog in parts within this process."""

from vrec.bundle.bundle import ServingBundle
from vrec.bundle.cutting import cut_bundle
from vrec.config.serve import ServeConfig
from vrec.serving.messages import CatalogChange
from vrec.serving.rules.book import NO_BOOK
from vrec.serving.scatter.gather import ScatterGather
from vrec.serving.scatter.part_engine import PartEngine
from vrec.serving.streams.states import NO_STREAMS


class LocalPart:
    """A part's engine, called as a part in another process is; `gone` answers nothing."""

    def __init__(self, engine: PartEngine, *, book=NO_BOOK, streams=NO_STREAMS) -> None:
        self.engine, self.book, self.streams, self.gone = engine, book, streams, False

    async def facts(self, ask):
        return None if self.gone else self.engine.facts(ask, streams=self.streams)

    async def look(self, ask):
        return None if self.gone else self.engine.look(ask, self.book, streams=self.streams)

    async def records(self, video_ids):
        return None if self.gone else self.engine.records(video_ids)

    async def popular_before(self, keys):
        return None if self.gone else self.engine.popular_before(keys)


class LocalCatalog:
    """A bundle in parts, with what gathers their lists."""

    def __init__(self, bundle: ServingBundle, count: int, config: ServeConfig | None = None) -> None:
        config = config or ServeConfig()
        self.gather = ScatterGather(cut_bundle(bundle, count, None), config)
        self.engines = [PartEngine(cut_bundle(bundle, count, number), config) for number in range(count)]

    def set_video_counts(self, video_ids, counts) -> None:
        for engine in self.engines:
            engine.set_video_counts(video_ids, counts)

    def parts(
        self, changes: list[CatalogChange] = (), *, book=NO_BOOK, streams=NO_STREAMS
    ) -> list[LocalPart]:
        """The parts after changes, each of which reaches the part that owns the video."""
        engines = [
            engine.with_changes([one for one in changes if engine.part.owns(one.video_id)])
            for engine in self.engines
        ]
        return [LocalPart(engine, book=book, streams=streams) for engine in engines]
