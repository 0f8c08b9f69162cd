"""What runs where. Describes the code by path and imports none of it; `infra.local` runs the same thing on one machine."""
