"""The job `vrec fit`, for `ray job submit --working-dir . -- python jobs/fit.py …`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vrec.cli.main import run

if __name__ == "__main__":
    sys.exit(run(["fit", *sys.argv[1:]]))
