"""The parts of scripts/fleet: load, application, scenarios and report."""
