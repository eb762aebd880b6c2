"""PEP 3333 between a parsed request and a place to send bytes to: no socket, clock, thread or setting is known here."""
