"""The job `vrec embed`, for `ray job submit --working-dir . -- python jobs/embed.py --videos … --out …`.

If some videos fail, the exit code is 3 and Ray calls the job FAILED; `--tolerate 5%` makes it 0 up to 5 %.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vrec.cli.main import run

if __name__ == "__main__":
    sys.exit(run(["embed", *sys.argv[1:]]))
