"""Types of a run's configuration, and the one way from YAML values to them."""

from pydantic import ConfigDict

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
