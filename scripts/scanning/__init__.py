"""What scripts/scan is made of: the scanners, what they complain about, and what of it counts."""
