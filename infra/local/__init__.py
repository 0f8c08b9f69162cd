"""The whole service on one machine: the synthesised templates, run against moto."""
