"""What the outside gets to see: the error log and the access log."""
