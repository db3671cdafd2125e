import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.films import noise, write_video
from vrec.media.audio import AudioConfig
from vrec.media.decode import MediaConfig, decode
from vrec.media.fingerprint import MAX_DISTANCE, hamming_distance, near_duplicates, phash


def test_the_hash_survives_a_poorer_encoding_and_tells_videos_apart(tmp_path):
    pictures = [noise(i // 6, 1)[0] for i in range(48)]
    plain = MediaConfig(audio=AudioConfig(enabled=False))
    good = decode(write_video(tmp_path / "a.mp4", pictures, options={"crf": "18"}), plain)
    small = [picture[::2, ::2].copy() for picture in pictures]
    poor = decode(
        write_video(tmp_path / "b.webm", small, codec="libvpx-vp9", options={"crf": "45", "b": "0"}), plain
    )
    other = decode(write_video(tmp_path / "c.mp4", pictures[::-1]), plain)
    assert hamming_distance(good.phash, poor.phash) <= MAX_DISTANCE
    assert hamming_distance(good.phash, other.phash) > 2 * MAX_DISTANCE


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False))
def test_near_duplicates_are_found_whatever_the_order(order):
    hashes = {f"v{i}": np.random.default_rng(i).bytes(32).hex() for i in range(300)}
    for i in range(0, 60, 3):
        bits = int(hashes[f"v{i}"], 16)
        for bit in random.Random(i).sample(range(256), 8):
            bits ^= 1 << bit
        hashes[f"v{i + 1}"] = f"{bits:064x}"
    hashes["w"] = hashes["v200"]
    items = list(hashes.items())
    order.shuffle(items)
    want = sorted([sorted([f"v{i}", f"v{i + 1}"]) for i in range(0, 60, 3)] + [["v200", "w"]])
    assert near_duplicates([i for i, _ in items], [h for _, h in items]) == want


def test_near_duplicates_stay_quick_in_a_crowd_and_refuse_nonsense():
    crowd = [f"{i:064x}" for i in range(5_000)]
    assert len(near_duplicates([str(i) for i in range(5_000)], crowd)) == 1
    assert near_duplicates([], []) == []
    with pytest.raises(ValueError, match="hex digits"):
        near_duplicates(["a"], ["ff"])


def test_near_duplicates_of_the_chair_are_found_and_nothing_else(shared_data):
    names = [f"neardup_chair_0{i}.mp4" for i in (2, 3, 4, 5)] + [
        "animal_01.mp4",
        "cycling_01.mp4",
        "animal_08.mp4",
    ]
    plain = MediaConfig(audio=AudioConfig(enabled=False), decode={"decoder": "pyav"})
    hashes = [decode(shared_data / "videos" / name, plain).phash for name in names]
    assert near_duplicates(names, hashes) == [names[:4]]


def flipped(code, bits):
    value = int(code, 16)
    for bit in bits:
        value ^= 1 << bit
    return f"{value:064x}"


def test_a_distance_counts_bits():
    assert hamming_distance("0" * 64, "0" * 64) == 0
    assert hamming_distance("0" * 64, "f" * 64) == 256
    assert hamming_distance("0" * 63 + "5", "0" * 63 + "2") == 3


def test_the_distance_at_the_limit_joins_and_one_more_does_not():
    code = noise_code(1)
    # Changes within two bands only leave the other bands equal, so that the pair is certainly compared.
    near = flipped(code, [255 - 12 * i for i in range(12)] + [255 - 12 * i - 1 for i in range(12)])
    assert hamming_distance(code, near) == MAX_DISTANCE == 24
    assert near_duplicates(["a", "b"], [code, near]) == [["a", "b"]]
    far = flipped(near, [255 - 12 * 20])
    assert hamming_distance(code, far) == 25
    assert near_duplicates(["a", "b"], [code, far]) == []


def test_groups_are_joined_through_a_common_member():
    code = noise_code(2)
    middle = flipped(code, range(0, 240, 12))
    end = flipped(middle, range(1, 241, 12))
    assert hamming_distance(code, end) == 40
    assert near_duplicates(["x", "a", "m"], [code, end, middle]) == [["a", "m", "x"]]
    assert near_duplicates(["x", "a"], [code, end]) == []


def test_equal_hashes_are_one_group_and_lengths_must_agree():
    code = noise_code(3)
    assert near_duplicates(["b", "a", "c"], [code, code, noise_code(4)]) == [["a", "b"]]
    assert near_duplicates(["a"], [code]) == []
    with pytest.raises(ValueError, match="zip"):
        near_duplicates(["a", "b"], [code])


def noise_code(seed):
    return np.random.default_rng(seed).bytes(32).hex()


def test_a_hash_is_of_the_dct_of_four_moments():
    """Against scipy's cosine transform of the inner part of the frames."""
    from scipy.fft import dctn

    frames = noise(5, 8)
    code = phash(frames)
    assert len(code) == 64
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(code), np.uint8)).reshape(4, 8, 8).astype(bool)
    margin = 224 // 6
    side = (224 - 2 * margin) // 32 * 32
    for number, moment in enumerate((1, 3, 5, 7)):
        inner = frames[moment, margin : margin + side, margin : margin + side].astype(float)
        cells = inner.reshape(32, side // 32, 32, side // 32 * 3).mean(axis=(1, 3))
        low = dctn(cells, type=2)[1:9, 1:9]
        assert (bits[number] == (low > np.median(low))).mean() > 0.95


def test_short_and_small_videos_have_a_hash():
    one = noise(6, 1)
    assert phash(one) == phash(one.repeat(4, axis=0))
    assert len(phash(one[:, :16, :16])) == 64
    assert phash(noise(7, 4)) != phash(noise(7, 4)[::-1])
