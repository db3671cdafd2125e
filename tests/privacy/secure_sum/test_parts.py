"""Parts of secure sums against published vectors and by their properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrec.core.errors import FederatedError
from vrec.privacy.secure_sum.fixed_point import FixedPoint
from vrec.privacy.secure_sum.keys import mask_words, new_private_key, public_key, seal, shared_key, unseal
from vrec.privacy.secure_sum.shamir import PRIME, SHARE_BYTES, join_secret, split_secret


def test_masks_are_the_key_stream_of_rfc_8439():
    # Appendix A.1, test vector 1: key, nonce and counter of zeros.
    stream = bytes.fromhex("76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7")
    assert mask_words(bytes(32), 4).astype("<u8").tobytes() == stream


def test_shares_are_values_of_the_polynomial():
    # 1234 + 166 x + 94 x², the example of many texts on Shamir's scheme.
    draws = iter([166, 94])
    shares = split_secret((1234).to_bytes(2, "big"), 3, 6, lambda below: next(draws))
    assert shares == [1494, 1942, 2578, 3402, 4414, 5614]
    assert join_secret({2: 1942, 4: 3402, 5: 4414}, 2) == (1234).to_bytes(2, "big")


@given(st.data(), st.binary(min_size=32, max_size=32), st.integers(1, 12))
def test_any_shares_above_the_threshold_give_the_secret_and_fewer_do_not(data, secret, count):
    threshold = data.draw(st.integers(1, count))
    shares = dict(enumerate(split_secret(secret, threshold, count), 1))
    points = data.draw(st.permutations(sorted(shares)))
    assert join_secret({point: shares[point] for point in points[:threshold]}, 32) == secret
    assert join_secret(shares, 32) == secret
    assert all(share < PRIME <= 1 << 8 * SHARE_BYTES for share in shares.values())
    if threshold > 1:
        with pytest.raises(FederatedError, match="do not belong together"):
            join_secret({point: shares[point] for point in points[: threshold - 1]}, 32)


def test_fewer_shares_fit_every_secret():
    # For two of three: whatever the secret is, some polynomial has a given first share.
    for secret in (bytes(32), b"a" * 32):
        value = int.from_bytes(secret, "big")
        slope = (12345 - value) % PRIME
        assert split_secret(secret, 2, 3, lambda below, slope=slope: slope)[0] == 12345


def test_shared_keys_are_equal_on_both_sides_and_differ_by_session_and_purpose():
    mine, yours = new_private_key(), new_private_key()
    key = shared_key(mine, public_key(yours), b"s", "mask")
    assert key == shared_key(yours, public_key(mine), b"s", "mask")
    others = [
        shared_key(mine, public_key(yours), b"t", "mask"),
        shared_key(mine, public_key(yours), b"s", "seal"),
    ]
    assert len({key, *others}) == 3
    with pytest.raises(FederatedError, match="not valid"):
        shared_key(mine, bytes(32), b"s", "mask")


def test_sealed_messages_open_only_whole_and_for_whom_they_are():
    sealed = seal(bytes(32), b"share", b"a to b")
    assert unseal(bytes(32), sealed, b"a to b") == b"share"
    for key, data, about in (
        (bytes(31) + b"1", sealed, b"a to b"),
        (bytes(32), sealed[:-1], b"a to b"),
        (bytes(32), sealed, b"a to c"),
        (bytes(32), b"", b"a to b"),
    ):
        with pytest.raises(FederatedError, match="cannot be opened"):
            unseal(key, data, about)


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=9), st.integers(0, 20))
def test_sums_of_multiples_are_exact(numbers, bits):
    codec = FixedPoint(bits, len(numbers))
    words = [codec.encode(np.array([number / 2**bits])) for number in numbers]
    total = np.add.reduce(words)
    assert codec.decode(total)[0] == sum(numbers) / 2**bits


@given(st.floats(allow_nan=True, allow_infinity=True), st.integers(1, 1000))
def test_a_number_is_rounded_within_half_a_step_or_refused(number, clients):
    codec = FixedPoint(24, clients)
    if abs(number) <= codec.limit:
        assert abs(codec.decode(codec.encode(np.array([number])))[0] - number) <= 2.0**-25
        assert abs(codec.decode(codec.encode(np.array([number]), truncate=True))[0]) <= abs(number)
    else:
        with pytest.raises(FederatedError, match="not finite or above"):
            codec.encode(np.array([0.0, number]))


def test_as_many_of_the_greatest_number_do_not_overflow():
    codec = FixedPoint(24, 7)
    for sign in (1, -1):
        words = codec.encode(np.array([sign * codec.limit]))
        total = codec.decode(np.add.reduce([words] * 7))[0]
        assert total == pytest.approx(sign * 7 * codec.limit)
