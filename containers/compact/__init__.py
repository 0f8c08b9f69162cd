"""Takes the rows that lie beside results into the catalogue of their bucket: once, then it ends."""
