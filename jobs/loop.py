"""The job `vrec loop`, for `ray job submit --working-dir . -- python jobs/loop.py --service … --out …`.

If the service was rolled back, or a leak was found, the exit code is 3 and Ray calls the job FAILED.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vrec.cli.main import run

if __name__ == "__main__":
    sys.exit(run(["loop", *sys.argv[1:]]))
