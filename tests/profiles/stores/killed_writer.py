"""A process to be killed: applies events from several threads and prints each id once it is acknowledged.

python killed_writer.py CONFIG_AS_JSON NAME THREADS EVENTS_A_CALL
"""

import json
import sys
import threading

import pyarrow as pa
from pydantic import TypeAdapter

from vrec.core.errors import StoreError
from vrec.profiles.stores.factory import StoreConfig, open_store
from vrec.testing.store_profiles import CONFIG, facts, world


def main() -> None:
    config = TypeAdapter(StoreConfig).validate_python(json.loads(sys.argv[1]))
    name, threads, size = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    store, said, events = open_store(config, facts, CONFIG), threading.Lock(), world()[0]

    def write(thread: int) -> None:
        for turn in range(10_000):
            part = events.slice(turn * size % (events.num_rows - size), size)
            ids = [f"{name}-{thread}-{turn}-{row}" for row in range(size)]
            try:
                store.apply(part.set_column(0, "event_id", pa.array(ids)))
            except StoreError:
                return
            with said:
                sys.stdout.write("\n".join(ids) + "\n")
                sys.stdout.flush()

    workers = [threading.Thread(target=write, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


if __name__ == "__main__":
    main()
