"""Connectors of the assistant to the shop's own systems, over HTTP."""
