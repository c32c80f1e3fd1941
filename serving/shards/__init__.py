"""Work that is cut into shards, done by any engine, and put together to the bits of one process."""
