"""The job `vrec shard`, for `ray job submit --working-dir . -- python jobs/shard.py …`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vrec.cli.main import run

if __name__ == "__main__":
    sys.exit(run(["shard", *sys.argv[1:]]))
