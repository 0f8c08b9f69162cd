"""The streaming server: raw lines in over a connection, images out."""
