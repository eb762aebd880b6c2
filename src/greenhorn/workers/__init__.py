"""Worker processes: one way of waiting each, over the same parsing, serving and logging."""
