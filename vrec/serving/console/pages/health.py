"""Health: the parts of the service and their replicas."""

from fastapi import Response

from vrec.serving.console.requests import ConsoleRequest


async def show_health(page: ConsoleRequest) -> Response:
    """Show which parts can answer now."""
    ready, state = await page.backend.ready(), await page.backend.service_state()
    return page.page("health.html", ready=ready, state=state)


ROUTES = (("GET", "/health", show_health),)
