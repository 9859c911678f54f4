"""The host around the device while runs train: packs, threads, one run's directory and end."""
