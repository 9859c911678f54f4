"""The device, opened; programs compiled for it and kept; data in its memory: the only room with jit, donation
and sharding."""
