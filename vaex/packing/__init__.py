"""What `vaex data pack` does: any source of images, a part at a time, into a folder that `dataset=shards` reads."""
