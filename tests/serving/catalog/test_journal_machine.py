"""Nodes with wrong clocks, bundles, compactions, crashes and restarts: all come to one, right catalog.

The model knows the order of acknowledgement and nothing of clocks, stamps or files.
"""

import asyncio
import os
import shutil
import tempfile
import time
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from tests.serving.catalog.journals import Cards, added, bundle_of, removed, updated
from tests.serving.catalog.small import video
from vrec.serving.catalog.live import LiveCatalog

MINUTE_US = 60_000_000
SKEWS = (0, MINUTE_US, -5 * MINUTE_US, 60 * MINUTE_US, 3 * 525_600 * MINUTE_US, -10 * 525_600 * MINUTE_US)
TICK_S = 0.011
"""Longer than a tick of the filesystem's clock."""
VIDEOS = "abcdef"
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "title": st.one_of(st.none(), st.sampled_from("xyz")),
        "available": st.booleans(),
        "price": st.one_of(st.none(), st.sampled_from([1.0, 2.5])),
        "tags": st.lists(st.sampled_from("pq"), max_size=2),
    },
)


def now_us():
    return time.time_ns() // 1000


class Refused(Exception):
    """Edit of a video that is not there, or addition of one that is."""


class CatalogMachine(RuleBasedStateMachine):
    """Three nodes over one data folder."""

    bundles = Bundle("bundles")

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.loop = asyncio.new_event_loop()
        self.made, self.rows, self.made_at, self.cuts = {}, {}, {}, {}
        self.log, self.times, self.dropped = [], [], set()
        """Acknowledged edits in their order, their times, and those that a compaction may have dropped."""
        self.served = self.previous = None
        self.exact = set()

    def run(self, call):
        return self.loop.run_until_complete(call)

    def node_of(self, skew, version):
        def load(uri):
            bundle = self.made[uri]
            return bundle, Cards.of(bundle)

        live = LiveCatalog(str(self.folder), load, remembers=True, now=lambda: now_us() + skew)
        self.move(live, version)
        return live

    def move(self, live, version):
        self.run(live.move(f"/bundles/{version}"))
        # The first node that loads a bundle fixes which edits were made before it.
        before = [index for index, at in enumerate(self.times) if at < self.made_at[version]]
        self.cuts.setdefault(version, max(before, default=-1))
        if self.served != version:
            self.served, self.previous = version, self.served

    @initialize(skews=st.tuples(*[st.sampled_from(SKEWS)] * 3), target=bundles)
    def start(self, skews):
        version = self.make_bundle({name: {} for name in "abc"}, 0)
        self.nodes = [self.node_of(skew, version) for skew in skews]
        return version

    def make_bundle(self, rows, skew):
        version = f"b{len(self.made)}"
        time.sleep(TICK_S)
        self.made_at[version] = now_us() + skew
        time.sleep(TICK_S)
        self.rows[version] = {name: video(name, **fields) for name, fields in rows.items()}
        bundle = bundle_of(self.rows[version].values(), version, self.made_at[version])
        self.made[bundle.uri] = bundle
        self.exact.add(version)
        return version

    @rule(
        target=bundles,
        rows=st.dictionaries(st.sampled_from(VIDEOS), FIELDS, max_size=5),
        skew=st.sampled_from([0, 0, 0, MINUTE_US, -MINUTE_US]),
    )
    def new_bundle(self, rows, skew):
        version = self.make_bundle(rows, skew)
        if skew < 0 and self.dropped:
            self.exact.discard(version)
        return version

    @rule(node=st.integers(0, 2), version=bundles)
    def serve(self, node, version):
        self.move(self.nodes[node], version)

    @rule(
        edits=st.lists(
            st.tuples(st.integers(0, 2), st.sampled_from(VIDEOS), FIELDS, st.sampled_from("auur")),
            min_size=1,
            max_size=5,
        )
    )
    def edit(self, edits):
        for one in edits:
            self.edit_once(*one)

    def edit_once(self, node, name, fields, kind):
        edit = {"a": added, "u": updated, "r": removed}[kind](name, **({} if kind == "r" else fields))

        def check(state):
            if (kind == "a") == (name in state.cards):
                raise Refused

        try:
            self.run(self.nodes[node].edit(edit, check))
        except Refused:
            return
        self.log.append(edit)
        self.times.append(now_us())
        own = self.nodes[node]
        # Read your writes, at once, at the replica that answered.
        card = own.value.plain().get(name)
        assert (card is None) == (kind == "r")
        assert kind == "r" or {key: card[key] for key in fields} == fields

    @rule(node=st.integers(0, 2))
    def follow(self, node):
        self.run(self.nodes[node].follow())

    @rule(node=st.integers(0, 2), skew=st.sampled_from(SKEWS), version=bundles)
    def restart(self, node, skew, version):
        self.nodes[node] = self.node_of(skew, version)

    @rule(node=st.integers(0, 2), left=st.sets(st.integers(0, 9)))
    def compact(self, node, left):
        """Compact, and die in the middle of it if any files are left."""
        folder = self.folder / "changes"
        copy = Path(tempfile.mkdtemp())
        before = sorted(os.listdir(folder))
        for name in before:
            shutil.copy2(folder / name, copy / name)
        live = self.nodes[node]
        if self.run(live.compact(force=True)):
            self.note_dropped({live.served.bundle.version, self.served, self.previous} - {None})
            for index in sorted(left):
                if index < len(before):
                    shutil.copy2(copy / before[index], folder / before[index])
            if not left:
                assert len(os.listdir(folder)) == 1
        shutil.rmtree(copy)

    def note_dropped(self, versions):
        floor = min(self.cuts[version] for version in versions)
        for name in VIDEOS:
            _, indices = self.registers(name, -1)
            added_now = "present" in indices and self.log[indices["present"]].kind == "add"
            if added_now and not all(name in self.rows[version] for version in versions):
                continue
            gone = {i for i, edit in enumerate(self.log) if edit.video_id == name and i <= floor}
            self.dropped |= gone
        if self.dropped:
            self.exact &= versions

    def registers(self, name, after):
        """Values and indices of the last edit of each field after an index."""
        values, indices = {}, {}
        for index, edit in enumerate(self.log):
            if edit.video_id != name or index <= after or index in self.dropped:
                continue
            named = dict(edit.fields)
            if edit.kind == "add":
                named = {key: value for key, value in video(name, **edit.fields).items() if key != "video_id"}
                named = {"title": None, "price": None} | named
            if edit.kind != "update":
                named["present"] = edit.kind == "add"
            values |= named
            indices |= dict.fromkeys(named, index)
        return values, indices

    def expected(self, version):
        cards = {}
        for name in VIDEOS:
            row = self.rows[version].get(name)
            values, _ = self.registers(name, -1 if row is None else self.cuts[version])
            if values.pop("present", row is not None):
                cards[name] = {"title": None, "price": None} | (row or {}) | values
        return cards

    @invariant()
    def all_nodes_have_the_right_catalog(self):
        seen = {}
        for live in self.nodes:
            self.run(live.follow(force=True))
            version = live.served.bundle.version
            found = {
                name: {key: card[key] for key in ("title", "price", "available", "tags")}
                for name, card in live.value.plain().items()
            }
            # Whatever happened: nodes with one bundle have one catalog.
            assert seen.setdefault(version, found) == found
            if version in self.exact:
                want = {
                    name: {key: card[key] for key in ("title", "price", "available", "tags")}
                    for name, card in self.expected(version).items()
                }
                assert found == want
        assert not any(live.journal.damaged for live in self.nodes)

    def teardown(self):
        self.loop.close()
        shutil.rmtree(self.folder)


CatalogMachine.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
test_any_interleaving_of_edits_bundles_restarts_and_compactions = pytest.mark.slow(CatalogMachine.TestCase)
