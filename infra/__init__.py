"""What runs where. Describes code by path; `infra.local` runs the same on one machine.

Of what it describes it imports `raki.options` alone, so that a setting is refused before it is deployed; `infra.local`
may import all of it.
"""
