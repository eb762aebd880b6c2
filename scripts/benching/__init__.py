"""What scripts/bench is made of: servers, workloads, wrk, rounds, and the report."""
