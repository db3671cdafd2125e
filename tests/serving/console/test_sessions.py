"""Signed sessions: only those that were signed here for a key that still exists."""

import threading

from hypothesis import given
from hypothesis import strategies as st

from vrec.serving.console.sessions import SIGNING_KEY, ConsoleSession, SessionSigner
from vrec.serving.http.keys import ApiKey

KEYS = {name: ApiKey(name, frozenset({"manage"}), name.encode() * 4) for name in ("ann", "bob")}


def test_a_session_comes_back_from_its_cookie_in_every_replica(tmp_path):
    one, other = (SessionSigner(str(tmp_path), KEYS.get) for _ in range(2))
    for name in ("ann", ""):
        session = ConsoleSession.begin(name)
        assert other.session(one.cookie(session)) == session
        assert other.fits(one.form_token(session), session)
    assert one.session(SessionSigner(str(tmp_path / "other"), KEYS.get).cookie(session)) is None


def test_a_token_fits_its_session_alone(tmp_path):
    signer = SessionSigner(str(tmp_path), KEYS.get)
    ann, again, bob = (ConsoleSession.begin(name) for name in ("ann", "ann", "bob"))
    assert [signer.fits(signer.form_token(ann), one) for one in (ann, again, bob)] == [True, False, False]


@given(cookie=st.text(max_size=80))
def test_no_text_is_a_session(tmp_path_factory, cookie):
    assert SessionSigner(str(tmp_path_factory.getbasetemp() / "any"), KEYS.get).session(cookie) is None


@given(place=st.integers(0, 300), letter=st.sampled_from("aZ0_-.="))
def test_no_changed_cookie_is_another_session(tmp_path_factory, place, letter):
    signer = SessionSigner(str(tmp_path_factory.getbasetemp() / "any"), KEYS.get)
    session = ConsoleSession("ann", 2**40, "nonce")
    cookie = signer.cookie(session)
    changed = cookie[:place] + letter + cookie[place + 1 :]
    assert signer.session(changed) in (None, session)


def test_many_signers_that_begin_at_once_end_with_one_key(tmp_path):
    signers = [SessionSigner(str(tmp_path), KEYS.get) for _ in range(8)]
    threads = [threading.Thread(target=one.cookie, args=(ConsoleSession.begin("ann"),)) for one in signers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    latest = SessionSigner(str(tmp_path), KEYS.get)
    session = ConsoleSession.begin("ann")
    cookie = latest.cookie(session)
    for one in signers:
        one._read_at = 0.0  # a second later
        assert one.session(cookie) == session
    assert len((tmp_path / SIGNING_KEY).read_bytes()) == 32
