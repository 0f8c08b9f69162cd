"""What runs where. Describes code by path, imports none of it; `infra.local` runs the same on one machine."""
