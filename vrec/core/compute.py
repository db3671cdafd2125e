"""Arrow's compute functions as type checkers can take them."""

from typing import Any

import pyarrow.compute

# pyarrow makes these functions when it is imported, so no type checker finds them in its module.
pc: Any = pyarrow.compute
