"""File descriptors: listening, connections, waiting, buffers. Knows no HTTP, setting or log; returns facts."""
