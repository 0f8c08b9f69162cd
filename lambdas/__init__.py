"""The Lambdas: each reads, asks a pure function, acts."""
