"""Encrypted connections: certificates, contexts, and a socket that speaks TLS without waiting."""
