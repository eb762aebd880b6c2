"""The master process: one thread that spawns workers, watches them and stops them. It knows no HTTP."""
