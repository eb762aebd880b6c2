"""What scripts/conformance is made of: cases, deliveries, servers, conversations, verdicts, reports."""
