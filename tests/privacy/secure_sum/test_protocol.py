"""Masked sums of clients of whom some leave at each step."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vrec.core.errors import FederatedError
from vrec.privacy.secure_sum import client as client_module
from vrec.privacy.secure_sum.client import SumClient, check_threshold
from vrec.privacy.secure_sum.coordinator import SumCoordinator
from vrec.privacy.secure_sum.keys import mask_words, shared_key
from vrec.privacy.secure_sum.shamir import join_secret

SESSION = b"session"


def run_sum(vectors, threshold, leaving=None, record=lambda *_: None):
    """Run one sum; `leaving` is by client the step (1 to 4) before which it leaves. Return the coordinator's
    sum, and the clients."""
    leaving = leaving or {}
    length = len(next(iter(vectors.values())))

    def there(step, names):
        return [name for name in names if leaving.get(name, 9) > step]

    clients = {name: SumClient(name, SESSION) for name in vectors}
    hub = SumCoordinator(SESSION, length, threshold, record)
    keys = hub.take_keys({name: clients[name].advertise() for name in there(1, clients)})
    shares = hub.take_shares({name: clients[name].share(keys, threshold) for name in there(2, keys)})
    masked = {name: clients[name].mask(vectors[name], shares[name]) for name in there(3, shares)}
    survivors = hub.take_vectors(masked)
    reveals = {name: clients[name].reveal(survivors) for name in there(4, masked)}
    return hub.take_reveals(reveals), clients


def words(rng, length=5):
    return rng.integers(0, 2**64, length, dtype=np.uint64)


@given(st.data(), st.integers(3, 9), st.integers(0, 2**32))
@settings(max_examples=60)
def test_the_sum_of_those_who_stay_is_exact_or_nothing_comes_out(data, count, seed):
    rng = np.random.default_rng(seed)
    vectors = {f"shop-{number}": words(rng) for number in range(count)}
    threshold = data.draw(st.integers(count // 2 + 1, count))
    leaving = data.draw(st.dictionaries(st.sampled_from(sorted(vectors)), st.integers(1, 4)))
    stay = [name for name in vectors if leaving.get(name, 9) > 3]
    to_the_end = [name for name in vectors if name not in leaving]
    began = [name for name in vectors if leaving.get(name, 9) > 1]
    if len(to_the_end) < threshold or len(began) // 2 >= threshold or len(began) < 3:
        with pytest.raises(FederatedError):
            run_sum(vectors, threshold, leaving)
        return
    total, _ = run_sum(vectors, threshold, leaving)
    assert (total == np.add.reduce([vectors[name] for name in stay])).all()


def test_an_error_names_who_is_missing():
    vectors = {name: words(np.random.default_rng(0)) for name in "abcde"}
    with pytest.raises(FederatedError, match=r"2 of 5 clients have sent a vector.*missing: c, d, e"):
        run_sum(vectors, 3, {"c": 3, "d": 3, "e": 3})


def test_what_the_coordinator_gets_is_uniform_whatever_the_numbers_are():
    got = []
    vectors = {name: np.full(20_000, value, np.uint64) for name, value in zip("abc", (0, 1, 7), strict=True)}
    run_sum(vectors, 2, record=lambda step, name, message: got.append((step, name, message)))
    masked = {name: message for step, name, message in got if step == "vector"}
    for vector in masked.values():
        counts = np.bincount(vector.view(np.uint8), minlength=256)
        assert stats.chisquare(counts).pvalue > 1e-6
    for one, other in pairwise(masked.values()):
        counts = np.bincount((one - other).view(np.uint8), minlength=256)
        assert stats.chisquare(counts).pvalue > 1e-6


def test_other_numbers_look_the_same_under_other_masks(monkeypatch):
    # With all randomness fixed, a mask of a and b that is moved by the difference, and is as likely, makes
    # the messages about other numbers of the same sum equal to those about the first ones.
    rng = np.random.default_rng(2)
    first, moved = {name: words(rng) for name in "abc"}, words(rng)
    second = first | {"a": first["a"] + moved, "b": first["b"] - moved}

    def messages(vectors, shift):
        stream = np.random.default_rng(3)
        monkeypatch.setattr(client_module, "new_private_key", lambda: stream.bytes(32))
        monkeypatch.setattr(client_module.os, "urandom", stream.bytes)
        clients = {name: SumClient(name, SESSION) for name in "abc"}
        between = shared_key(
            clients["a"]._mask_key, client_module.public_key(clients["b"]._mask_key), SESSION, "mask"
        )
        monkeypatch.setattr(
            client_module,
            "mask_words",
            lambda seed, length: mask_words(seed, length) - (shift if seed == between else np.uint64(0)),
        )
        hub = SumCoordinator(SESSION, 5, 2)
        keys = hub.take_keys({name: one.advertise() for name, one in clients.items()})
        shares = hub.take_shares({name: one.share(keys, 2) for name, one in clients.items()})
        return {name: one.mask(vectors[name], shares[name]).tolist() for name, one in clients.items()}

    assert messages(first, np.uint64(0)) == messages(second, moved)
    assert messages(first, np.uint64(0)) != messages(second, np.uint64(0))


def test_a_late_vector_stays_hidden():
    # The coordinator gets c's vector after the sum was made without it, and with it all shares of c's key.
    rng = np.random.default_rng(4)
    vectors = {name: words(rng) for name in "abcd"}
    clients = {name: SumClient(name, SESSION) for name in vectors}
    hub = SumCoordinator(SESSION, 5, 3)
    keys = hub.take_keys({name: one.advertise() for name, one in clients.items()})
    shares = hub.take_shares({name: one.share(keys, 3) for name, one in clients.items()})
    masked = {name: one.mask(vectors[name], shares[name]) for name, one in clients.items()}
    late = masked.pop("c")
    survivors = hub.take_vectors(masked)
    reveals = {name: clients[name].reveal(survivors) for name in survivors}
    assert (hub.take_reveals(reveals) == np.add.reduce([vectors[name] for name in "abd"])).all()
    for one in reveals.values():
        assert (set(one.seeds), set(one.keys)) == ({"a", "b", "d"}, {"c"}), "never both secrets of a client"
    # With its pairs' masks off, c's own mask is still on.
    key = join_secret({point: reveals[name].keys["c"] for point, name in ((1, "a"), (2, "b"), (4, "d"))}, 32)
    bare = late.copy()
    for name in "abd":
        pair = mask_words(shared_key(key, keys[name].mask, SESSION, "mask"), 5)
        bare = bare + pair if name < "c" else bare - pair
    assert (bare != vectors["c"]).all()
    assert (bare - mask_words(clients["c"]._seed, 5) == vectors["c"]).all()


def test_no_client_reveals_both_secrets_of_another():
    vectors = {name: words(np.random.default_rng(5)) for name in "abcd"}
    _, clients = run_sum(vectors, 3, {"d": 3})
    for name in "abc":
        with pytest.raises(FederatedError, match="step 4 of a masked sum after step 4"):
            clients[name].reveal(["a", "b", "c", "d"])


def test_clients_refuse_what_would_uncover_them():
    with pytest.raises(FederatedError, match="2 clients are too few"):
        check_threshold(2, 2)
    for threshold in (2, 5):
        with pytest.raises(FederatedError, match="not above half"):
            check_threshold(threshold, 4)
    one, other, third = (SumClient(name, SESSION) for name in "abc")
    keys = {"a": one.advertise(), "b": other.advertise(), "c": third.advertise()}
    with pytest.raises(FederatedError, match="the same key"):
        one.share(keys | {"c": keys["b"]}, 2)
    with pytest.raises(FederatedError, match="not among those"):
        other.share(keys | {"b": keys["c"]}, 2)
    third.share(keys, 2)
    with pytest.raises(FederatedError, match="1 of 3 clients are left, and 2 are needed"):
        third.mask(words(np.random.default_rng(6)), {})


def test_a_vector_of_another_shape_is_left_out_and_named():
    rng = np.random.default_rng(7)
    vectors = {name: words(rng) for name in "abcd"}
    clients = {name: SumClient(name, SESSION) for name in vectors}
    hub = SumCoordinator(SESSION, 5, 3)
    keys = hub.take_keys({name: one.advertise() for name, one in clients.items()})
    shares = hub.take_shares({name: one.share(keys, 3) for name, one in clients.items()})
    masked = {name: one.mask(vectors[name], shares[name]) for name, one in clients.items()}
    survivors = hub.take_vectors(masked | {"b": masked["b"][:3]})
    assert survivors == ["a", "c", "d"]
    assert hub.refused == {"b": "its vector is (3,) uint64, want (5,) uint64"}
    total = hub.take_reveals({name: clients[name].reveal(survivors) for name in survivors})
    assert (total == np.add.reduce([vectors[name] for name in survivors])).all()
