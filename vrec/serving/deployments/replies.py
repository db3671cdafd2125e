"""Replies of other deployments."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import RayServeException

from vrec.serving.deployments.handles import DeploymentHandle
from vrec.serving.deployments.protocol import BackendUnavailable

T = TypeVar("T")


async def await_reply(call: Awaitable[T], timeout_s: float) -> T:
    """Await the reply of another deployment.

    Raises:
        BackendUnavailable: There is no reply in time, or no replica can answer.
        Exception: The error of the method, as it was raised there.
    """
    try:
        # Not `wait_for`: before Python 3.12 it forgets a cancellation that comes with the reply.
        async with asyncio.timeout(timeout_s):
            return await call
    except RayTaskError as error:
        raise error.cause from None
    except TimeoutError:
        raise BackendUnavailable(f"no answer in {timeout_s:g} s") from None
    except (RayError, RayServeException) as error:
        raise BackendUnavailable(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}") from None


async def readiness_error(handle: DeploymentHandle | None, timeout_s: float) -> str | None:
    """Return why a deployment is not ready; None if it is ready, or not part of the service."""
    if handle is None:
        return None
    try:
        await await_reply(handle.ready.remote(), timeout_s)
    except Exception as error:  # whatever it is, the deployment is not ready
        return str(error)
    return None
