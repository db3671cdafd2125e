"""Health: the parts of the service and their replicas, and the model's figures of the last hour."""

from fastapi import Response

from vrec.core.errors import VrecError
from vrec.serving.console.requests import ConsoleRequest
from vrec.serving.health.hours import HOUR_US


async def show_health(page: ConsoleRequest) -> Response:
    """Show which parts can answer now."""
    ready, state = await page.backend.ready(), await page.backend.service_state()
    try:
        model = await page.backend.model_health()
    except (VrecError, TimeoutError):  # the page is wanted most where a part is away
        model = None
    return page.page("health.html", ready=ready, state=state, model=model, hour_us=HOUR_US)


ROUTES = (("GET", "/health", show_health),)
