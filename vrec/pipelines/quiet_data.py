"""Ray Data without its own progress; apart from the connection, as few commands need Ray Data."""

import logging
import sys

import ray.data


def quiet_ray_data() -> None:
    """Hide the progress bars and start-up lines of datasets that are made from now on: vrec shows its own."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.WARNING if sys.stderr.isatty() else logging.ERROR)
