"""The host around the device: the only room with jit, donation, threads and signals."""
