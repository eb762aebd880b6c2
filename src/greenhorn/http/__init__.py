"""HTTP/1.0 and HTTP/1.1 as bytes in, values out: no socket, clock, thread or setting is known here."""
