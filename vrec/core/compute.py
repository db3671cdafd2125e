"""Arrow's compute functions, typed as Any for type checkers."""

from typing import Any

import pyarrow.compute

# pyarrow makes these functions when it is imported, so no type checker finds them in its module.
pc: Any = pyarrow.compute
