import errno
import os

import pytest

from vrec.core import errors
from vrec.core.errors import (
    DecodeTimeout,
    EmptyVideo,
    EncodeFailed,
    TooShort,
    UnreachableVideo,
    VanishedVideo,
    VideoError,
    VrecError,
    fix_for,
    os_error_reason,
    video_errors,
)


def test_a_fix_is_the_class_s_unless_the_caller_gives_one():
    assert TooShort("short").fix == TooShort.fix
    assert TooShort("short", fix="wait").fix == "wait"
    assert TooShort.fix != "wait"
    assert VrecError("x").fix == "see the message"


def test_a_failure_s_fix_is_found_by_name_and_an_unknown_one_has_the_general_fix():
    assert fix_for("EmptyVideo") == EmptyVideo.fix
    assert fix_for("EncodeFailed") == EncodeFailed.fix
    assert fix_for("NoSuchError") == VideoError.fix


def test_video_errors_are_all_subclasses_and_the_base():
    expected = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, VideoError)
    }
    kinds = video_errors()
    assert expected <= kinds.keys()
    assert all(kind.__name__ == name for name, kind in kinds.items())
    assert "SchemaError" not in kinds


def test_only_failures_that_may_pass_are_transient():
    transient = {name for name, kind in video_errors().items() if kind.transient and hasattr(errors, name)}
    assert transient == {
        *("VanishedVideo", "UnreachableVideo", "DecodeTimeout"),
        *("UnlistedVideo", "ReadFailed", "DecodeFailed"),
        *("PlaylistError", "PlaylistStalled", "SourceRefused"),
    }
    assert (VanishedVideo.stage, UnreachableVideo.stage) == ("read", "read")
    assert (DecodeTimeout.stage, EncodeFailed.stage) == ("decode", "encode")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "no space left on device"),
        (OSError("Bucket is gone"), "Bucket is gone"),
    ],
)
def test_an_os_error_s_reason_is_the_system_s_or_its_own_text(error, reason):
    assert os_error_reason(error) == reason
